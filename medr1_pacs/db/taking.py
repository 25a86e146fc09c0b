"""What a withdrawal takes: from the rows of studies, and which files and pictures go with them.

Row ids, hashes, letters and numbers stay; names, UIDs, dates, texts go. Each function does its part
once more without harm.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Select,
    String,
    cast,
    delete,
    exists,
    func,
    literal,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.orm import Session

from medr1_pacs.db.audit import add_event
from medr1_pacs.db.claims import UNCLAIMED
from medr1_pacs.db.facets import lock_patients
from medr1_pacs.db.recording import keep_commitments
from medr1_pacs.db.rows import Value, iterate_chunks, select_among
from medr1_pacs.db.studies import get_locked, set_state
from medr1_pacs.db.tables import (
    Answer,
    AnswerFacet,
    AuditEvent,
    Generation,
    Instance,
    PastValue,
    Patient,
    Project,
    ProjectStudy,
    Prompt,
    QuarantinedInstance,
    ReferenceStandard,
    ReferenceStatement,
    Rendering,
    Selection,
    Series,
    SetAside,
    Snapshot,
    SnapshotAnswer,
    Study,
    StudyVersion,
)
from medr1_pacs.db.taking_reads import take_reads
from medr1_pacs.records.withdrawals import UnfinishedWithdrawal
from medr1_pacs.records.words import (
    GenerationState,
    JsonObject,
    RenderingState,
    StudyState,
)

TOMBSTONE = "withdrawn:"
"""What stands where a UID stood, with hash and row id behind it: no UID begins so."""


# -- rows -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StudyInventory:
    """What there is of a study: counts and hashes."""

    study_id: int
    is_whole: bool
    """Nobody uses it any more; else one project stops to."""
    renderings_in_work: int
    values: JsonObject
    """For the certificate."""


def take_inventory(session: Session, study_id: int, project_id: int | None) -> StudyInventory:
    """Count what a withdrawal takes of a study, from every project or from one."""
    of_study = Series.study_id == study_id
    instances, size_bytes = session.execute(
        select(func.count(Instance.id), func.coalesce(func.sum(Instance.size_bytes), 0))
        .join(Series)
        .where(of_study)
    ).one()
    by_state: dict[RenderingState, int] = {}
    for state, number in session.execute(
        select(Rendering.state, func.count())
        .join(Instance)
        .join(Series)
        .where(of_study)
        .group_by(Rendering.state)
    ):
        by_state[state] = number
    answers = session.scalar(select(func.count()).select_from(_answers(study_id).subquery()))
    truths = session.scalar(
        select(func.count(ReferenceStandard.id))
        .join(Instance, ReferenceStandard.instance_id == Instance.id)
        .join(Series)
        .where(of_study)
    )
    uses = session.execute(
        select(ProjectStudy, Project.name)
        .join(Project)
        .where(
            ProjectStudy.study_id == study_id,
            ProjectStudy.withdrawn_at.is_(None),
            *([ProjectStudy.project_id == project_id] if project_id is not None else []),
        )
        .order_by(Project.name)
    ).all()
    is_whole = project_id is None or not _is_used_by_others(session, study_id, project_id)
    values: JsonObject = {
        "study_id": study_id,
        "goes": "whole" if is_whole else "use",
        "uses": [
            {
                "project": row.name,
                "study_pseudonym": row.ProjectStudy.pseudonymous_uid,
                "patient_pseudonym": row.ProjectStudy.patient_pseudonym,
            }
            for row in uses
        ],
        "answers": answers or 0,
    }
    if is_whole:
        values |= {
            "instances": instances,
            "bytes": int(size_bytes),
            "pictures": by_state.get(RenderingState.RENDERED, 0),
            "truths": truths or 0,
        }
    in_work = by_state.get(RenderingState.PLANNED, 0) if is_whole else 0
    return StudyInventory(study_id, is_whole, in_work, values)


def _is_used_by_others(session: Session, study_id: int, project_id: int) -> bool:
    other = exists().where(
        ProjectStudy.study_id == study_id,
        ProjectStudy.project_id != project_id,
        ProjectStudy.withdrawn_at.is_(None),
    )
    return bool(session.scalar(select(other)))


def is_used(session: Session, study_id: int, project: str) -> bool:
    """Whether a project uses a study."""
    use = (
        select(ProjectStudy.id)
        .join(Project)
        .where(
            ProjectStudy.study_id == study_id,
            ProjectStudy.withdrawn_at.is_(None),
            Project.name == project,
        )
    )
    return session.scalar(use) is not None


def count_snapshot_answers(
    session: Session, study_ids: Collection[int], project_id: int | None
) -> list[JsonObject]:
    """Return which snapshots lose answers, and how many."""
    counts: dict[tuple[str, str], int] = {}
    for chunk in iterate_chunks(study_ids):
        found = (
            select(Project.name.label("project"), Snapshot.name, func.count().label("answers"))
            .select_from(SnapshotAnswer)
            .join(Snapshot, SnapshotAnswer.snapshot_id == Snapshot.id)
            .join(Project, Snapshot.project_id == Project.id)
            .where(
                SnapshotAnswer.answer_id.in_(_answers(*chunk)),
                SnapshotAnswer.withdrawn_at.is_(None),
                *([Snapshot.project_id == project_id] if project_id is not None else []),
            )
            .group_by(Project.name, Snapshot.name)
        )
        for row in session.execute(found):
            counts[row.project, row.name] = counts.get((row.project, row.name), 0) + row.answers
    return [
        {"project": project, "name": name, "answers": answers}
        for (project, name), answers in sorted(counts.items())
    ]


def take_study(
    session: Session,
    study_id: int,
    key: str,
    withdrawal: UnfinishedWithdrawal,
    now: datetime,
) -> None:
    """Take a study's identity and texts out of its rows, and let nothing work on it again.

    A second time changes nothing.
    """
    lock_patients(session, select(Study.patient_id).where(Study.id == study_id))
    study = get_locked(session, study_id)
    if study.state is StudyState.WITHDRAWN:
        return
    uses = session.scalars(
        select(ProjectStudy.project_id).where(
            ProjectStudy.study_id == study_id, ProjectStudy.withdrawn_at.is_(None)
        )
    ).all()
    for project_id in sorted(uses):
        _take_use(session, study_id, project_id, now)
    _take_work(session, study_id)
    _take_truths(session, study)
    session.execute(delete(SetAside).where(SetAside.study_instance_uid == study.study_instance_uid))
    instances = select(Instance.id).join(Series).where(Series.study_id == study_id)
    _unname_resolved(session, instances)
    session.execute(
        update(Instance)
        .where(Instance.id.in_(instances))
        .values(
            sop_instance_uid=_tombstone_of(Instance.id),
            attributes={},
            superseded_at=func.coalesce(Instance.superseded_at, now),
            hold=None,
        )
    )
    session.execute(
        update(Series)
        .where(Series.study_id == study_id)
        .values(
            series_instance_uid=_tombstone_of(Series.id),
            route_reason="",
            **dict.fromkeys(_OF_SERIES),
        )
    )
    versions = select(StudyVersion.id).where(StudyVersion.study_id == study_id)
    session.execute(
        update(Selection)
        .where(Selection.study_version_id.in_(versions))
        .values(reason="", skipped=None)
    )
    session.execute(
        update(StudyVersion).where(StudyVersion.study_id == study_id).values(missing="")
    )
    add_event(
        session,
        "study.withdrawn",
        "study",
        study_id,
        actor=withdrawal.requested_by,
        new={"withdrawal": withdrawal.withdrawal_id, "key": key},
        reason=withdrawal.reason,
    )
    set_state(session, study, StudyState.WITHDRAWN, "")
    # The same study may come again for another project, and go again: the row id tells them apart.
    study.study_instance_uid = f"{TOMBSTONE}{key}:{study_id}"
    study.age_years = study.study_date = None
    session.flush()
    _take_sex(session, study.patient_id)
    _take_past(session, study_id)


_OF_SERIES = (
    "anatomy",
    "plane",
    "weighting",
    "stain",
    "manufacturer",
    "manufacturer_model_name",
    "kvp",
    "slice_thickness_mm",
    "scanner_key",
)


def take_use(
    session: Session, study_id: int, key: str, withdrawal: UnfinishedWithdrawal, now: datetime
) -> bool:
    """Let the withdrawal's project use a study no more; False when no other project does."""
    assert withdrawal.project is not None
    get_locked(session, study_id)
    project_id = session.scalars(select(Project.id).where(Project.name == withdrawal.project)).one()
    if _take_use(session, study_id, project_id, now):
        add_event(
            session,
            "study.project_withdrawn",
            "study",
            study_id,
            actor=withdrawal.requested_by,
            old={"project": withdrawal.project},
            new={"withdrawal": withdrawal.withdrawal_id, "key": key},
            reason=withdrawal.reason,
        )
    return _is_used_by_others(session, study_id, project_id)


def _take_use(session: Session, study_id: int, project_id: int, now: datetime) -> bool:
    """Take a study out of a project: its narrow rows, dates, and what snapshots froze of it."""
    # Whoever makes a snapshot of the project holds this too: it has all of its answers, or none.
    session.scalar(
        select(Project.id).where(Project.id == project_id).with_for_update(key_share=True)
    )
    taken: Any = session.execute(
        update(ProjectStudy)
        .where(
            ProjectStudy.study_id == study_id,
            ProjectStudy.project_id == project_id,
            ProjectStudy.withdrawn_at.is_(None),
        )
        # Its pseudonyms stay: whoever has an older export finds by them what to delete.
        .values(withdrawn_at=now, shown_study_date=None, date_shift_days=None, is_named=True)
    )
    take_reads(session, study_id, project_id, now)
    session.execute(
        delete(AnswerFacet).where(
            AnswerFacet.project_id == project_id, AnswerFacet.study_id == study_id
        )
    )
    snapshots = select(Snapshot.id).where(Snapshot.project_id == project_id)
    session.execute(
        update(SnapshotAnswer)
        .where(
            SnapshotAnswer.snapshot_id.in_(snapshots),
            SnapshotAnswer.answer_id.in_(_answers(study_id)),
        )
        .values(frozen={}, withdrawn_at=now)
    )
    return bool(taken.rowcount)


def _take_work(session: Session, study_id: int) -> None:
    """Empty prompts, generations and answers; whoever holds a claim on one records nothing."""
    keep_commitments(session, "answer", set(session.scalars(_answers(study_id))))
    renderings = _renderings(study_id)
    session.execute(
        update(Rendering)
        .where(Rendering.id.in_(renderings))
        .values(state=RenderingState.WITHDRAWN, error=None, **UNCLAIMED)
    )
    session.execute(
        update(Generation)
        .where(Generation.id.in_(_generations(study_id)))
        .values(
            state=GenerationState.WITHDRAWN,
            is_ready=False,
            chat_text=None,
            raw_output=None,
            error=None,
            **UNCLAIMED,
        )
    )
    session.execute(
        update(Prompt).where(Prompt.rendering_id.in_(renderings)).values(prompt_text="", options=[])
    )
    session.execute(
        update(Answer)
        .where(Answer.id.in_(_answers(study_id)))
        .values(reasoning=None, choice_text=None)
    )


def _take_truths(session: Session, study: Study) -> None:
    instances = select(Instance.id).join(Series).where(Series.study_id == study.id)
    standards = select(ReferenceStandard.id).where(ReferenceStandard.instance_id.in_(instances))
    keep_commitments(session, "reference_standard", set(session.scalars(standards)))
    session.execute(
        update(ReferenceStandard)
        .where(ReferenceStandard.instance_id.in_(instances))
        .values(truth=None, certainty=None)
    )
    stated = ReferenceStatement.study_id == study.id
    if not _has_others(session, study):
        stated = or_(stated, ReferenceStatement.patient_id == study.patient_id)
    statements = select(ReferenceStatement.id).where(stated)
    keep_commitments(session, "reference_statement", set(session.scalars(statements)))
    session.execute(update(ReferenceStatement).where(stated).values(truth=None, certainty=None))


def _has_others(session: Session, study: Study) -> bool:
    other = exists().where(
        Study.patient_id == study.patient_id,
        Study.id != study.id,
        Study.state != StudyState.WITHDRAWN,
    )
    return bool(session.scalar(select(other)))


def _take_past(session: Session, study_id: int) -> None:
    """Forget what research was shown of a study before."""
    events = select(AuditEvent.id).where(
        AuditEvent.object_type == "study", AuditEvent.object_id == study_id
    )
    session.execute(delete(PastValue).where(PastValue.event_id.in_(events)))


def _take_sex(session: Session, patient_id: int) -> None:
    """Forget the sex of a patient of whom no study is left."""
    left = exists().where(Study.patient_id == patient_id, Study.state != StudyState.WITHDRAWN)
    session.execute(update(Patient).where(Patient.id == patient_id, ~left).values(sex=None))


def _unname_resolved(session: Session, instances: Select[int]) -> None:
    """Take the UID out of rows of what was sent unusable before a usable instance of it came."""
    uids = select(Instance.sop_instance_uid).where(Instance.id.in_(instances))
    session.execute(
        update(QuarantinedInstance)
        .where(
            QuarantinedInstance.sop_instance_uid.in_(uids),
            QuarantinedInstance.resolved_at.is_not(None),
        )
        .values(sop_instance_uid=_tombstone_of(QuarantinedInstance.id), detail="")
    )


def drop_quarantined_files(session: Session, stored_names: Collection[str], now: datetime) -> None:
    """Say of files in quarantine that their bytes are deleted, and of whom they were no more."""
    for chunk in iterate_chunks(stored_names):
        session.execute(
            update(QuarantinedInstance)
            .where(QuarantinedInstance.stored_name.in_(chunk))
            .values(
                sop_instance_uid=_tombstone_of(QuarantinedInstance.id),
                detail="",
                dropped_at=func.coalesce(QuarantinedInstance.dropped_at, now),
                resolved_at=func.coalesce(QuarantinedInstance.resolved_at, now),
            )
        )


def forget_words(session: Session) -> None:
    """Let the index of words forget those of texts that are gone: until its parts are merged, FTS5
    keeps them beside a note that they are deleted. PostgreSQL's index goes with its row."""
    if session.get_bind().dialect.name == "sqlite":
        session.execute(text("INSERT INTO answer_words (answer_words) VALUES ('optimize')"))


def _tombstone_of(row_id: Any) -> ColumnElement[str]:
    return literal(TOMBSTONE) + cast(row_id, String)


# -- files -----------------------------------------------------------------------------------------


def list_files(session: Session, study_ids: Collection[int]) -> set[str]:
    """Return the stored names of studies' files."""
    return select_among(
        session,
        study_ids,
        lambda chunk: select(Instance.stored_name).join(Series).where(Series.study_id.in_(chunk)),
    )


def list_quarantined_as(session: Session, study_ids: Collection[int]) -> set[str]:
    """Return the files in quarantine that were sent under the UID of an instance of studies."""
    return select_among(
        session,
        study_ids,
        lambda chunk: (
            select(QuarantinedInstance.stored_name)
            .join(Instance, Instance.sop_instance_uid == QuarantinedInstance.sop_instance_uid)
            .join(Series)
            .where(Series.study_id.in_(chunk))
        ),
    )


def find_withdrawn_files(session: Session, stored_names: Collection[str]) -> set[str]:
    """Return which of these files are of studies that were withdrawn."""
    return select_among(
        session,
        stored_names,
        lambda chunk: (
            select(Instance.stored_name)
            .join(Series, Instance.series_id == Series.id)
            .join(Study, Series.study_id == Study.id)
            .where(Instance.stored_name.in_(chunk), Study.state == StudyState.WITHDRAWN)
        ),
    )


def list_withdrawn_studies(session: Session) -> dict[int, str]:
    """Return row id -> key of every study that was withdrawn."""
    rows = session.execute(
        select(Study.id, Study.study_instance_uid).where(Study.state == StudyState.WITHDRAWN)
    )
    return {row.id: row.study_instance_uid.split(":")[1] for row in rows}


def list_withdrawn_pictures(session: Session, study_ids: Collection[int]) -> tuple[set[str], int]:
    """Return the pictures of withdrawn studies that no other study stands on, and how many do
    both: equal pictures are one file."""
    own = _pictures(
        session,
        study_ids,
        lambda chunk: select(Rendering.png_sha256).where(Rendering.id.in_(_renderings(*chunk))),
        lambda chunk: select(Generation.png_sha256).where(Generation.id.in_(_generations(*chunk))),
    )
    shared = _in_use(session, own)
    return own - shared, len(shared)


def find_orphans(session: Session, png_sha256s: Collection[str]) -> set[str]:
    """Return which of these pictures no row stands on."""
    return set(png_sha256s) - _in_use(session, png_sha256s)


def _in_use(session: Session, png_sha256s: Collection[str]) -> set[str]:
    return _pictures(
        session,
        png_sha256s,
        lambda chunk: select(Rendering.png_sha256).where(
            Rendering.png_sha256.in_(chunk), Rendering.state != RenderingState.WITHDRAWN
        ),
        lambda chunk: select(Generation.png_sha256).where(
            Generation.png_sha256.in_(chunk), Generation.state != GenerationState.WITHDRAWN
        ),
    )


def _pictures(
    session: Session,
    values: Collection[Value],
    *statements: Callable[[Sequence[Value]], Select[str | None]],
) -> set[str]:
    return {
        png_sha256
        for statement in statements
        for png_sha256 in select_among(session, values, statement)
        if png_sha256 is not None
    }


# -- which rows ------------------------------------------------------------------------------------


def _renderings(*study_ids: int) -> Select[Any]:
    return (
        select(Rendering.id)
        .join(Instance, Rendering.instance_id == Instance.id)
        .join(Series, Instance.series_id == Series.id)
        .where(Series.study_id.in_(study_ids))
    )


def _generations(*study_ids: int) -> Select[int]:
    return (
        select(Generation.id)
        .join(Prompt, Generation.prompt_id == Prompt.id)
        .where(Prompt.rendering_id.in_(_renderings(*study_ids)))
    )


def _answers(*study_ids: int) -> Select[int]:
    return select(Answer.id).where(Answer.generation_id.in_(_generations(*study_ids)))
