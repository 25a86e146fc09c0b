"""Answered studies by the hundred, as rows alone: for who looks at no picture of them."""

from __future__ import annotations

from factories import NOON, make_identity, make_indexed_instance, make_uid
from sqlalchemy.orm import Session

from medr1_pacs.db.audit import new_salt
from medr1_pacs.db.instances import record_instance
from medr1_pacs.db.tables import (
    Answer,
    Checkpoint,
    Generation,
    Instance,
    ProjectStudy,
    Prompt,
    Question,
    Rendering,
    Selection,
    Series,
    Study,
    StudyVersion,
)
from medr1_pacs.projects import ProjectRules
from medr1_pacs.questions.bank import PACKAGED_BANK, load_bank
from medr1_pacs.records.planned import Decoding, WindowRequest
from medr1_pacs.records.words import (
    Coverage,
    GenerationState,
    ParseStatus,
    PromptKind,
    RenderingState,
    StudyState,
)

QUESTION = "xr-chest-finding"


def add_answered_studies(session: Session, count: int) -> None:
    """Add so many studies of the project `default`, a picture and an answer each."""
    question = _question(session)
    checkpoint = Checkpoint(
        name="xray",
        revision="a" * 40,
        sha256="c" * 64,
        is_demo=False,
        first_used_at=NOON,
        record_salt=new_salt(),
    )
    session.add(checkpoint)
    session.flush()
    for number in range(count):
        _add_study(session, question, checkpoint, number)


def _question(session: Session) -> Question:
    found = load_bank(PACKAGED_BANK).find(QUESTION)
    row = Question(
        question_id=found.id,
        version=found.version,
        question_sha256=found.question_sha256,
        modality=found.modality,
        task=found.task,
        role=found.role,
        definition=found.definition(),
        first_used_at=NOON,
        record_salt=new_salt(),
    )
    session.add(row)
    session.flush()
    return row


def _add_study(session: Session, question: Question, checkpoint: Checkpoint, number: int) -> None:
    uid = make_uid()
    item = make_indexed_instance(
        study_instance_uid=uid,
        series_instance_uid=f"{uid}.1",
        sop_instance_uid=f"{uid}.1.1",
        attributes={"Modality": "DX", "Rows": 8, "Columns": 8, "InstanceNumber": 1},
        identity=make_identity(patient_key=f"{number:032x}"),
    )
    record_instance(session, item, ProjectRules(), NOON)
    study = session.query(Study).filter_by(study_instance_uid=uid).one()
    study.state = StudyState.ANSWERED
    use = session.query(ProjectStudy).filter_by(study_id=study.id).one()
    use.pseudonymous_uid, use.patient_pseudonym, use.is_named = (
        f"2.25.{number + 1}",
        uid[-32:],
        True,
    )
    series = session.query(Series).filter_by(study_id=study.id).one()
    series.route_modality = "X-Ray"
    instance = session.query(Instance).filter_by(series_id=series.id).one()
    version = StudyVersion(
        study_id=study.id, version=study.version, instances=1, completed_at=NOON, planned_at=NOON
    )
    rendering = Rendering(
        instance_id=instance.id,
        frame_number=1,
        recipe="r" * 64,
        window_request=WindowRequest().to_json(),
        state=RenderingState.RENDERED,
        png_sha256=f"{number:064x}",
        pixels_sha256=f"{number:064x}",
        due_at=NOON,
        created_at=NOON,
    )
    session.add_all([version, rendering])
    session.flush()
    options = question.definition["options"]
    prompt = Prompt(
        kind=PromptKind.PROTOCOL,
        rendering_id=rendering.id,
        question_id=question.id,
        requested_checkpoint="xray",
        checkpoint="xray",
        coverage=Coverage.NEAR,
        options=options,
        option_order=list(range(len(options))),
        prompt_text="Which?",
        prompt_sha256="p" * 64,
        decoding=Decoding(think=True, max_new_tokens=256).to_json(),
        decoding_sha256="d" * 64,
        created_at=NOON,
    )
    selection = Selection(
        study_version_id=version.id,
        question_id=question.id,
        series_id=series.id,
        rendering_id=rendering.id,
        reason="",
    )
    session.add_all([prompt, selection])
    session.flush()
    generation = Generation(
        prompt_id=prompt.id,
        state=GenerationState.ANSWERED,
        waits_for="xray",
        is_ready=True,
        png_sha256=rendering.png_sha256,
        checkpoint_id=checkpoint.id,
        due_at=NOON,
        created_at=NOON,
    )
    session.add(generation)
    session.flush()
    place = number % len(options)
    session.add(
        Answer(
            generation_id=generation.id,
            parse_status=ParseStatus.PARSED,
            reasoning="It is seen.",
            choice="ABCD"[place],
            choice_text=options[place],
            answered_at=NOON,
            record_salt=new_salt(),
        )
    )
