"""Withdrawals: their rows, what they take from the rows of studies, and what is withheld since.

    withdrawal <- withdrawn_key -> study

Row ids, hashes, letters and numbers stay; names, UIDs, dates, texts go. Who withdraws is the one
process that also records arrivals: nothing of a study comes in while it goes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
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
from medr1_pacs.db.facets import lock_patients
from medr1_pacs.db.rows import find_or_add
from medr1_pacs.db.studies import get_locked, set_state
from medr1_pacs.db.tables import (
    Answer,
    AnswerFacet,
    Generation,
    Instance,
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
    Withdrawal,
    WithdrawnKey,
)
from medr1_pacs.records.withdrawals import (
    RequestedKey,
    UnfinishedWithdrawal,
    WithdrawalRecord,
    WithdrawnEntry,
)
from medr1_pacs.records.words import (
    GenerationState,
    JsonObject,
    RenderingState,
    StudyState,
)

_UNCLAIMED: dict[str, Any] = {"claimed_by": None, "claim_token": None, "claimed_until": None}
TOMBSTONE = "withdrawn:"
"""What stands where a UID stood, with the hash or the row id behind it: no UID begins so."""


# -- asking for one --------------------------------------------------------------------------------


def request_withdrawal(
    session: Session,
    keys: Collection[RequestedKey],
    *,
    project: str | None,
    reason: str,
    actor: str,
    now: datetime,
) -> int:
    """Ask that studies go; the sweep does it. Arrivals of keys that are known are withheld at once.

    `project`: its use alone, else that of every project. Returns the withdrawal's id.
    """
    project_id = None
    if project is not None:
        row, _ = find_or_add(session, Project, {"name": project}, created_at=now)
        project_id = row.id
    withdrawal = Withdrawal(
        project_id=project_id, reason=reason, requested_by=actor, requested_at=now
    )
    session.add(withdrawal)
    session.flush()
    session.add_all(
        WithdrawnKey(
            withdrawal_id=withdrawal.id, kind=each.kind, key=each.key, study_id=each.study_id
        )
        for each in keys
    )
    add_event(
        session,
        "withdrawal.requested",
        "withdrawal",
        withdrawal.id,
        actor=actor,
        new={"project": project, "keys": len(keys)},
        reason=reason,
    )
    session.flush()
    return withdrawal.id


def list_unfinished(session: Session) -> list[UnfinishedWithdrawal]:
    """Return what is asked for or under way, the first first."""
    rows = session.execute(
        select(Withdrawal, Project.name)
        .outerjoin(Project, Withdrawal.project_id == Project.id)
        .where(Withdrawal.finished_at.is_(None))
        .order_by(Withdrawal.id)
    )
    return [
        UnfinishedWithdrawal(
            row.Withdrawal.id,
            row.name,
            row.Withdrawal.reason,
            row.Withdrawal.requested_by,
            row.Withdrawal.began_at,
            row.Withdrawal.certificate or {},
        )
        for row in rows
    ]


@dataclass(frozen=True, slots=True)
class NamedStudies:
    """A study that somebody names, and whose it is."""

    study_id: int
    patient_key: str
    projects: tuple[str, ...]
    """That use it."""
    is_patient: bool = False
    """It was the patient who was named, and this is one study of several perhaps."""


def find_by_study_uid(session: Session, study_instance_uid: str) -> NamedStudies | None:
    """Return a study that was not withdrawn; None: there is no such one."""
    return _named(session, Study.study_instance_uid == study_instance_uid)


def find_by_pseudonym(session: Session, project: str, pseudonym: str) -> NamedStudies | None:
    """Return what a project knows by a pseudonym of a patient or a study; None: nothing."""
    of_project = (ProjectStudy.withdrawn_at.is_(None), Project.name == project)
    for column, is_patient in (
        (ProjectStudy.patient_pseudonym, True),
        (ProjectStudy.pseudonymous_uid, False),
    ):
        uses = select(ProjectStudy.study_id).join(Project).where(*of_project, column == pseudonym)
        if (found := _named(session, Study.id.in_(uses))) is not None:
            return replace(found, is_patient=is_patient)
    return None


def _named(session: Session, which: ColumnElement[bool]) -> NamedStudies | None:
    row = session.execute(
        select(Study.id, Patient.patient_key)
        .join(Patient, Study.patient_id == Patient.id)
        .where(which, Study.state != StudyState.WITHDRAWN)
        .order_by(Study.id)
        .limit(1)
    ).first()
    if row is None:
        return None
    projects = session.scalars(
        select(Project.name)
        .join(ProjectStudy)
        .where(ProjectStudy.study_id == row.id, ProjectStudy.withdrawn_at.is_(None))
        .order_by(Project.name)
    )
    return NamedStudies(row.id, row.patient_key, tuple(projects))


# -- which studies are meant -----------------------------------------------------------------------


def list_keys(session: Session, withdrawal_id: int) -> list[RequestedKey]:
    """Return what a withdrawal names."""
    rows = session.scalars(
        select(WithdrawnKey)
        .where(WithdrawnKey.withdrawal_id == withdrawal_id)
        .order_by(WithdrawnKey.id)
    )
    return [RequestedKey(kind=row.kind, key=row.key, study_id=row.study_id) for row in rows]


def iterate_study_uids(session: Session) -> Iterator[tuple[int, str]]:
    """Yield (row id, Study Instance UID) of every study that was not withdrawn; streaming."""
    rows = session.execute(
        select(Study.id, Study.study_instance_uid)
        .where(Study.state != StudyState.WITHDRAWN)
        .execution_options(yield_per=5_000)
    )
    for row in rows:
        yield row.id, row.study_instance_uid


def find_study_uids(session: Session, study_ids: Collection[int]) -> dict[int, str]:
    """Return row id -> Study Instance UID, of those that were not withdrawn."""
    found: dict[int, str] = {}
    for chunk in _chunks(study_ids):
        rows = session.execute(
            select(Study.id, Study.study_instance_uid).where(
                Study.id.in_(chunk), Study.state != StudyState.WITHDRAWN
            )
        )
        found |= {row.id: row.study_instance_uid for row in rows}
    return found


def find_live(session: Session, study_instance_uids: Collection[str]) -> set[str]:
    """Return which of these studies are there and were not withdrawn."""
    live: set[str] = set()
    for chunk in _chunks(study_instance_uids):
        live |= set(
            session.scalars(
                select(Study.study_instance_uid).where(Study.study_instance_uid.in_(chunk))
            )
        )
    return live


def find_project_id(session: Session, project: str) -> int:
    """Return the row of a project that is there."""
    return session.scalars(select(Project.id).where(Project.name == project)).one()


def find_studies_of_patients(session: Session, patient_keys: Collection[str]) -> set[int]:
    """Return the row ids of patients' studies."""
    return set(
        session.scalars(
            select(Study.id)
            .join(Patient, Study.patient_id == Patient.id)
            .where(Patient.patient_key.in_(patient_keys))
        )
    )


def begin(
    session: Session,
    withdrawal_id: int,
    keys: Sequence[RequestedKey],
    certificate: JsonObject,
    now: datetime,
) -> None:
    """Write what a withdrawal takes, before it takes any of it: its keys, its certificate."""
    session.execute(delete(WithdrawnKey).where(WithdrawnKey.withdrawal_id == withdrawal_id))
    session.add_all(
        WithdrawnKey(
            withdrawal_id=withdrawal_id, kind=each.kind, key=each.key, study_id=each.study_id
        )
        for each in keys
    )
    session.execute(
        update(Withdrawal)
        .where(Withdrawal.id == withdrawal_id)
        .values(began_at=now, certificate=certificate)
    )


def finish(session: Session, withdrawal_id: int, more: JsonObject, now: datetime) -> None:
    """Note that nothing is left of what a withdrawal takes."""
    row = session.get_one(Withdrawal, withdrawal_id, with_for_update=True)
    row.finished_at = now
    row.certificate = (row.certificate or {}) | more
    add_event(session, "withdrawal.finished", "withdrawal", row.id, new=more)


# -- what goes -------------------------------------------------------------------------------------


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
    for chunk in _chunks(study_ids):
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
    _resolve_quarantined(session, instances, now)
    session.execute(
        update(Instance)
        .where(Instance.id.in_(instances))
        .values(
            sop_instance_uid=literal(TOMBSTONE) + cast(Instance.id, String),
            attributes={},
            superseded_at=func.coalesce(Instance.superseded_at, now),
            hold=None,
        )
    )
    session.execute(
        update(Series)
        .where(Series.study_id == study_id)
        .values(
            series_instance_uid=literal(TOMBSTONE) + cast(Series.id, String),
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
    study.study_instance_uid = f"{TOMBSTONE}{key}"
    study.age_years = study.study_date = None
    session.flush()
    _take_sex(session, study.patient_id)


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
    project_id = find_project_id(session, withdrawal.project)
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
    renderings = _renderings(study_id)
    session.execute(
        update(Rendering)
        .where(Rendering.id.in_(renderings))
        .values(state=RenderingState.WITHDRAWN, error=None, **_UNCLAIMED)
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
            **_UNCLAIMED,
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
    session.execute(
        update(ReferenceStandard)
        .where(ReferenceStandard.instance_id.in_(instances))
        .values(truth=None, certainty=None)
    )
    stated = ReferenceStatement.study_id == study.id
    if not _has_others(session, study):
        stated = or_(stated, ReferenceStatement.patient_id == study.patient_id)
    session.execute(update(ReferenceStatement).where(stated).values(truth=None, certainty=None))


def _has_others(session: Session, study: Study) -> bool:
    other = exists().where(
        Study.patient_id == study.patient_id,
        Study.id != study.id,
        Study.state != StudyState.WITHDRAWN,
    )
    return bool(session.scalar(select(other)))


def _take_sex(session: Session, patient_id: int) -> None:
    """Forget the sex of a patient of whom no study is left."""
    left = exists().where(Study.patient_id == patient_id, Study.state != StudyState.WITHDRAWN)
    session.execute(update(Patient).where(Patient.id == patient_id, ~left).values(sex=None))


def _resolve_quarantined(session: Session, instances: Select[int], now: datetime) -> None:
    """Empty the rows of files that were sent in an unusable form before a usable one came."""
    uids = select(Instance.sop_instance_uid).where(Instance.id.in_(instances))
    drop_quarantined(session, QuarantinedInstance.sop_instance_uid.in_(uids), now)


def drop_quarantined(session: Session, which: ColumnElement[bool], now: datetime) -> None:
    """Say of files in quarantine that their bytes are deleted, and of whom they were no more."""
    session.execute(
        update(QuarantinedInstance)
        .where(which)
        .values(
            sop_instance_uid=literal(TOMBSTONE) + cast(QuarantinedInstance.id, String),
            detail="",
            dropped_at=func.coalesce(QuarantinedInstance.dropped_at, now),
            resolved_at=func.coalesce(QuarantinedInstance.resolved_at, now),
        )
    )


def drop_quarantined_files(session: Session, stored_names: Collection[str], now: datetime) -> None:
    """As `drop_quarantined`, of files by their names."""
    for chunk in _chunks(stored_names):
        drop_quarantined(session, QuarantinedInstance.stored_name.in_(chunk), now)


def forget_words(session: Session) -> None:
    """Let the index of words forget those of texts that are gone: until its parts are merged, FTS5
    keeps them beside a note that they are deleted. PostgreSQL's index goes with its row."""
    if session.get_bind().dialect.name == "sqlite":
        session.execute(text("INSERT INTO answer_words (answer_words) VALUES ('optimize')"))


# -- files -----------------------------------------------------------------------------------------


def list_files(session: Session, study_ids: Collection[int]) -> set[str]:
    """Return the stored names of studies' files, and of unusable ones sent before them."""
    names: set[str] = set()
    for chunk in _chunks(study_ids):
        names |= set(
            session.scalars(
                select(Instance.stored_name).join(Series).where(Series.study_id.in_(chunk))
            )
        )
        names |= set(
            session.scalars(
                select(QuarantinedInstance.stored_name)
                .join(Instance, Instance.sop_instance_uid == QuarantinedInstance.sop_instance_uid)
                .join(Series)
                .where(Series.study_id.in_(chunk))
            )
        )
    return names


def list_withdrawn_studies(session: Session) -> dict[int, str]:
    """Return row id -> key of every study that was withdrawn."""
    rows = session.execute(
        select(Study.id, Study.study_instance_uid).where(Study.state == StudyState.WITHDRAWN)
    )
    return {row.id: row.study_instance_uid.removeprefix(TOMBSTONE) for row in rows}


def list_withdrawn_pictures(session: Session, study_ids: Collection[int]) -> tuple[set[str], int]:
    """Return the pictures of withdrawn studies that no other study stands on, and how many do
    both: equal pictures are one file."""
    own: set[str] = set()
    for chunk in _chunks(study_ids):
        own |= set(
            session.scalars(
                select(Rendering.png_sha256)
                .join(Instance)
                .join(Series)
                .where(Series.study_id.in_(chunk), Rendering.png_sha256.is_not(None))
            )
        )
        own |= set(
            session.scalars(
                select(Generation.png_sha256).where(
                    Generation.id.in_(_generations(*chunk)), Generation.png_sha256.is_not(None)
                )
            )
        )
    shared = _in_use(session, own)
    return own - shared, len(shared)


def find_orphans(session: Session, png_sha256s: Collection[str]) -> set[str]:
    """Return which of these pictures no row stands on."""
    return set(png_sha256s) - _in_use(session, png_sha256s)


def _in_use(session: Session, png_sha256s: Collection[str]) -> set[str]:
    used: set[str] = set()
    for chunk in _chunks(png_sha256s):
        used |= set(
            session.scalars(
                select(Rendering.png_sha256).where(
                    Rendering.png_sha256.in_(chunk),
                    Rendering.state != RenderingState.WITHDRAWN,
                )
            )
        )
        used |= set(
            session.scalars(
                select(Generation.png_sha256).where(
                    Generation.png_sha256.in_(chunk),
                    Generation.state != GenerationState.WITHDRAWN,
                )
            )
        )
    return used


# -- what is withheld ------------------------------------------------------------------------------


def has_keys(session: Session) -> bool:
    """Whether anything was ever withdrawn."""
    return session.scalar(select(WithdrawnKey.id).limit(1)) is not None


def find_withheld(
    session: Session, keys: Collection[str]
) -> dict[str, list[tuple[int, str | None]]]:
    """Return key -> its withdrawals, each as (id, project or None for all), of those withdrawn."""
    found: dict[str, list[tuple[int, str | None]]] = {}
    for chunk in _chunks(keys):
        rows = session.execute(
            select(WithdrawnKey.key, WithdrawnKey.withdrawal_id, Project.name)
            .join(Withdrawal, WithdrawnKey.withdrawal_id == Withdrawal.id)
            .outerjoin(Project, Withdrawal.project_id == Project.id)
            .where(WithdrawnKey.key.in_(chunk))
            .order_by(WithdrawnKey.id)
        )
        for row in rows:
            found.setdefault(row.key, []).append((row.withdrawal_id, row.name))
    return found


def note_turned_away(
    session: Session,
    withdrawal_id: int | None,
    *,
    sha256: str,
    calling_ae_title: str,
    reason: str,
) -> None:
    """Note that an arrival was deleted; `withdrawal_id` None: its patient opted out."""
    add_event(
        session,
        "instance.turned_away",
        "withdrawal",
        withdrawal_id,
        new={"sha256": sha256, "calling_ae_title": calling_ae_title},
        reason=reason,
    )


def list_entries(session: Session) -> list[WithdrawnEntry]:
    """Return every key as the list in the file has it."""
    rows = session.execute(
        select(WithdrawnKey.kind, WithdrawnKey.key, Project.name)
        .join(Withdrawal, WithdrawnKey.withdrawal_id == Withdrawal.id)
        .outerjoin(Project, Withdrawal.project_id == Project.id)
        .where(WithdrawnKey.key.is_not(None))
        .order_by(WithdrawnKey.id)
    )
    return list(dict.fromkeys(WithdrawnEntry(row.kind, row.key, row.name) for row in rows))


# -- reading of them -------------------------------------------------------------------------------


def list_withdrawals(
    session: Session, *, project: str | None = None, newest: int | None = None
) -> list[WithdrawalRecord]:
    """Return the withdrawals, the latest first: all, or those from one project alone."""
    records = _records() if project is None else _records().where(Project.name == project)
    return [
        _record(row)
        for row in session.execute(records.order_by(Withdrawal.id.desc()).limit(newest))
    ]


def get_withdrawal(session: Session, withdrawal_id: int) -> WithdrawalRecord | None:
    """Return one withdrawal."""
    row = session.execute(_records().where(Withdrawal.id == withdrawal_id)).first()
    return None if row is None else _record(row)


def _records() -> Any:
    return select(Withdrawal, Project.name).outerjoin(Project, Withdrawal.project_id == Project.id)


def _record(row: Any) -> WithdrawalRecord:
    withdrawal = row.Withdrawal
    return WithdrawalRecord(
        withdrawal.id,
        row.name,
        withdrawal.reason,
        withdrawal.requested_by,
        withdrawal.requested_at,
        withdrawal.began_at,
        withdrawal.finished_at,
        withdrawal.certificate or {},
    )


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


def _chunks(values: Collection[Any], size: int = 500) -> Iterator[list[Any]]:
    ordered = sorted(values)
    for first in range(0, len(ordered), size):
        yield ordered[first : first + size]
