"""Plans: the selections, renderings, prompts and generations of a study version."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any

from sqlalchemy import and_, delete, exists, or_, select
from sqlalchemy.orm import Session

from medr1_pacs.db.audit import add_event, new_salt
from medr1_pacs.db.evidence import keep_answers
from medr1_pacs.db.facets import lock_patients, refresh_facets
from medr1_pacs.db.naming import unname_study
from medr1_pacs.db.past import keep_past
from medr1_pacs.db.recording import tell_records
from medr1_pacs.db.rows import AS_PARENT, find_or_add
from medr1_pacs.db.standards import derive_for_study
from medr1_pacs.db.studies import reopen, set_state
from medr1_pacs.db.tables import (
    Generation,
    Instance,
    Prompt,
    Question,
    ReferenceStandard,
    Rendering,
    Selection,
    Series,
    Study,
    StudyVersion,
)
from medr1_pacs.records.planned import (
    AskedPrompt,
    Decoding,
    InstanceFacts,
    KnownTruth,
    PlannedPrompt,
    PlannedQuestion,
    QuestionIdentity,
    Route,
    SeriesFacts,
    StudyFacts,
    StudyPlan,
    WindowRequest,
)
from medr1_pacs.records.words import (
    Certainty,
    GenerationState,
    PromptKind,
    RenderingState,
    StudyState,
    TruthUnit,
)


def find_due_plan(session: Session) -> StudyFacts | None:
    """Return the oldest complete study that has no plan yet: its current instances, and what
    earlier versions of it asked."""
    due = session.execute(
        select(Study, StudyVersion)
        .join(
            StudyVersion,
            and_(StudyVersion.study_id == Study.id, StudyVersion.version == Study.version),
        )
        .where(Study.state == StudyState.COMPLETE, StudyVersion.planned_at.is_(None))
        .order_by(Study.id)
        .limit(1)
    ).first()
    if due is None:
        return None
    study, version = due
    return StudyFacts(
        study_id=study.id,
        study_version_id=version.id,
        study_instance_uid=study.study_instance_uid,
        version=study.version,
        series=_current_series(session, study),
        asked=_asked_prompts(session, study),
    )


def _current_series(session: Session, study: Study) -> tuple[SeriesFacts, ...]:
    rows = session.execute(
        select(Instance, Series.series_instance_uid)
        .join(Series)
        .where(Series.study_id == study.id, Instance.superseded_at.is_(None))
        .order_by(Series.id, Instance.id)
    )
    instances: dict[tuple[int, str], list[InstanceFacts]] = {}
    for instance, series_instance_uid in rows:
        instances.setdefault((instance.series_id, series_instance_uid), []).append(
            InstanceFacts(
                instance_id=instance.id,
                sop_instance_uid=instance.sop_instance_uid,
                number_of_frames=instance.number_of_frames,
                attributes=instance.attributes,
            )
        )
    return tuple(
        SeriesFacts(series_id, uid, tuple(facts)) for (series_id, uid), facts in instances.items()
    )


def _asked_prompts(session: Session, study: Study) -> tuple[AskedPrompt, ...]:
    if study.version == 1:
        return ()  # most studies: nothing was asked before
    rows = session.execute(
        select(Prompt, Rendering)
        .join(Rendering, Prompt.rendering_id == Rendering.id)
        .join(Instance, Rendering.instance_id == Instance.id)
        .join(Series, Instance.series_id == Series.id)
        .where(Series.study_id == study.id)
        .order_by(Prompt.id)
    ).all()
    # The kind is looked at here: its index would lead through every prompt that there is.
    asked = [row for row in rows if row.Prompt.kind is PromptKind.PROTOCOL]
    ids = {row.Prompt.question_id for row in asked}
    questions = session.scalars(select(Question).where(Question.id.in_(ids)))
    identities = {question.id: _identity_of(question) for question in questions}
    return tuple(
        AskedPrompt(
            question=identities[row.Prompt.question_id],
            rendering_id=row.Rendering.id,
            instance_id=row.Rendering.instance_id,
            frame_number=row.Rendering.frame_number,
            window_request=WindowRequest.from_json(row.Rendering.window_request),
            checkpoint=row.Prompt.checkpoint,
            decoding=Decoding.from_json(row.Prompt.decoding),
        )
        for row in asked
    )


def _identity_of(question: Question) -> QuestionIdentity:
    names = [field.name for field in fields(QuestionIdentity)]
    return QuestionIdentity(**{name: getattr(question, name) for name in names})


def record_plan(session: Session, study: StudyFacts, plan: StudyPlan, now: datetime) -> None:
    """Write a plan; what an earlier version asked is selected again, not asked again."""
    lock_patients(session, select(Study.patient_id).where(Study.id == study.study_id))
    row = session.get_one(Study, study.study_id, with_for_update=AS_PARENT)
    version = session.get_one(StudyVersion, study.study_version_id, with_for_update=AS_PARENT)
    if version.planned_at is not None or row.version != study.version:
        return  # planned by somebody else, or reopened meanwhile
    if not _lock_asked(session, row, study):
        return  # a prompt moved to another picture meanwhile: it is planned again
    for series_id, route in plan.routes.items():
        _record_route(session, series_id, route, is_planned_again=row.version > 1)
    for planned in plan.questions:
        _record_question(session, study, planned, now)
    version.planned_at = now
    session.flush()
    derive_for_study(session, row)  # before: an answer is kept where the truths are equal
    for rendering in _drawn_already(session, study):
        keep_answers(session, rendering)
    new = {"version": row.version, "questions": len(plan.questions)}
    add_event(session, "study.planned", "study", row.id, new=new)
    state = StudyState.ASKED if plan.asks else StudyState.NOTHING_TO_ASK
    set_state(session, row, state, plan.reason)
    unname_study(session, row.id)
    refresh_facets(session, row.id)


def _lock_asked(session: Session, row: Study, study: StudyFacts) -> bool:
    """Whether earlier prompts are still as the plan saw them; none moves from now on."""
    ids = {asked.rendering_id for asked in study.asked}
    locked = select(Rendering.id).where(Rendering.id.in_(ids)).order_by(Rendering.id)
    session.execute(locked.with_for_update())
    return _asked_prompts(session, row) == study.asked


def _drawn_already(session: Session, study: StudyFacts) -> list[Rendering]:
    return list(
        session.scalars(
            select(Rendering)
            .join(Selection, Selection.rendering_id == Rendering.id)
            .where(
                Selection.study_version_id == study.study_version_id,
                Rendering.state == RenderingState.RENDERED,
            )
            .distinct()
        )
    )


def _record_route(
    session: Session, series_id: int, route: Route, *, is_planned_again: bool
) -> None:
    series = session.get_one(Series, series_id)
    new = {
        "route_modality": route.modality,
        "anatomy": route.anatomy,
        "plane": route.plane,
        "weighting": route.weighting,
        "stain": route.stain,
    }
    was = {name: getattr(series, name) for name in new if getattr(series, name) != new[name]}
    if was and is_planned_again:
        keep_past(session, "study.routed_otherwise", series.study_id, "series", {series_id: was})
    for name, value in new.items():
        setattr(series, name, value)
    series.route_reason = route.reason


def _record_question(
    session: Session, study: StudyFacts, planned: PlannedQuestion, now: datetime
) -> None:
    identities = [planned.question, *(kept.question for kept in planned.kept)]
    wordings = {
        sha256: _question_row(session, identity, now)
        for sha256, identity in {each.question_sha256: each for each in identities}.items()
    }
    question = wordings[planned.question.question_sha256]
    chosen: dict[tuple[int, int], None] = {}  # a set in the order of choice
    for kept in planned.kept:
        chosen[wordings[kept.question.question_sha256].id, kept.rendering_id] = None
    for prompt in planned.prompts:
        rendering = _rendering_row(session, prompt, now)
        chosen[question.id, rendering.id] = None
        _record_prompt(session, prompt, rendering, question, study.study_id, now)
    for known in planned.truths:
        _record_truth(session, known, wordings[known.question.question_sha256], now)
    skipped = dict(planned.skipped)
    for question_id, rendering_id in chosen:
        _add_selection(session, study, planned, question_id, rendering_id, skipped)
    if not chosen:
        _add_selection(session, study, planned, question.id, None, skipped or None)


def _add_selection(
    session: Session,
    study: StudyFacts,
    planned: PlannedQuestion,
    question_id: int,
    rendering_id: int | None,
    skipped: dict[str, int] | None,
) -> None:
    session.add(
        Selection(
            study_version_id=study.study_version_id,
            question_id=question_id,
            series_id=planned.series_id,
            rendering_id=rendering_id,
            reason=planned.reason,
            skipped=skipped,
        )
    )


def _question_row(session: Session, question: QuestionIdentity, now: datetime) -> Question:
    values = asdict(question)
    key = {name: values.pop(name) for name in ("question_id", "version", "question_sha256")}
    row, is_new = find_or_add(
        session, Question, key, **values, first_used_at=now, record_salt=new_salt()
    )
    if is_new:
        tell_records(session, "question.registered", "question", [row.id])
    return row


def _rendering_row(session: Session, prompt: PlannedPrompt, now: datetime) -> Rendering:
    row = session.scalar(
        select(Rendering)
        .where(
            Rendering.instance_id == prompt.instance_id,
            Rendering.frame_number == prompt.frame_number,
            Rendering.recipe == prompt.recipe,
            # One that was drawn and lost has a successor, with the pixels of today.
            or_(Rendering.state != RenderingState.LOST, Rendering.png_sha256.is_(None)),
        )
        .order_by(Rendering.id.desc())
        .limit(1)
        # Locked: it may be drawn at this moment, and whoever draws it looks for who waits.
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    if row is None:
        row = Rendering(
            instance_id=prompt.instance_id,
            frame_number=prompt.frame_number,
            recipe=prompt.recipe,
            window_request=prompt.window_request.to_json(),
            state=RenderingState.PLANNED,
            due_at=now,
            created_at=now,
        )
        session.add(row)
        session.flush()
    if row.state is RenderingState.LOST:
        row.state, row.due_at = RenderingState.PLANNED, now
    return row


def _record_prompt(
    session: Session,
    planned: PlannedPrompt,
    rendering: Rendering,
    question: Question,
    study_id: int,
    now: datetime,
) -> None:
    decoding = planned.decoding.to_json()
    prompt = Prompt(
        kind=PromptKind.PROTOCOL,
        rendering_id=rendering.id,
        question_id=question.id,
        requested_checkpoint=planned.requested_checkpoint,
        checkpoint=planned.checkpoint,
        coverage=planned.coverage,
        options=list(planned.options),
        option_order=list(planned.option_order),
        prompt_text=planned.prompt_text,
        prompt_sha256=planned.prompt_sha256,
        decoding=decoding,
        decoding_sha256=_sha256_of(decoding),
        created_at=now,
    )
    session.add(prompt)
    session.flush()
    is_unusable = rendering.state is RenderingState.FAILED
    session.add(
        Generation(
            prompt_id=prompt.id,
            run=1,
            waits_for=prompt.checkpoint,
            is_ready=rendering.state is RenderingState.RENDERED,
            state=GenerationState.FAILED if is_unusable else GenerationState.WAITING,
            error=rendering.error if is_unusable else None,
            due_at=now,
            created_at=now,
        )
    )
    session.flush()
    # The study: by the time that the event gets its place, the prompt may be taken back.
    new = {"sha256": planned.prompt_sha256, "study": study_id}
    add_event(session, "prompt.created", "prompt", prompt.id, new=new)


def _record_truth(session: Session, known: KnownTruth, question: Question, now: datetime) -> None:
    row, is_new = find_or_add(
        session,
        ReferenceStandard,
        {
            "instance_id": known.instance_id,
            "question_id": question.id,
            "source": known.source,
            "unit": TruthUnit.PICTURE,
            "version": 1,
        },
        truth=known.truth,
        certainty=Certainty.PROVEN,
        stated_by=known.source,
        stated_at=now,
        record_salt=new_salt(),
    )
    if is_new:
        tell_records(session, "reference.derived", "reference_standard", [row.id])


def withdraw_prompts(session: Session, checkpoint: str, *, studies_max: int) -> int:
    """Withdraw prompts that wait for a checkpoint which stands in no longer; plan their studies
    again, as a new version. What was answered stays.

    Returns how many studies that were, at most `studies_max`; call it again until it is 0.
    """
    for count in range(studies_max):
        study_id = session.scalar(
            select(Series.study_id)
            .join(Instance, Instance.series_id == Series.id)
            .join(Rendering, Rendering.instance_id == Instance.id)
            .join(Prompt, Prompt.rendering_id == Rendering.id)
            .join(Generation, Generation.prompt_id == Prompt.id)
            .where(Generation.state == GenerationState.WAITING, Generation.waits_for == checkpoint)
            .limit(1)
        )
        if study_id is None:
            return count
        _withdraw_from_study(session, study_id, checkpoint)
    return studies_max


def _withdraw_from_study(session: Session, study_id: int, checkpoint: str) -> None:
    study = session.get_one(Study, study_id, with_for_update=AS_PARENT)
    prompts = (
        select(Prompt.id)
        .join(Rendering, Prompt.rendering_id == Rendering.id)
        .join(Instance, Rendering.instance_id == Instance.id)
        .join(Series, Instance.series_id == Series.id)
        .where(Series.study_id == study_id, Prompt.checkpoint == checkpoint)
    )
    session.execute(
        delete(Generation).where(
            Generation.state == GenerationState.WAITING, Generation.prompt_id.in_(prompts)
        )
    )
    without_run = prompts.where(~exists().where(Generation.prompt_id == Prompt.id))
    deleted: Any = session.execute(delete(Prompt).where(Prompt.id.in_(without_run)))
    add_event(
        session,
        "study.prompts_withdrawn",
        "study",
        study.id,
        # `withdrawn`: earlier versions said `prompts`, of which a part was never told of as made.
        new={"checkpoint": checkpoint, "withdrawn": deleted.rowcount},
        reason=f"the checkpoint {checkpoint} stands in no longer",
    )
    if study.state is StudyState.ASKED:
        reopen(session, study, "asked again with other checkpoints")
    session.flush()


def _sha256_of(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
