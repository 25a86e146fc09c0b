"""Withdrawals: what is asked for, which studies are meant, and what is withheld since.

    withdrawal <- withdrawn_key -> study

Who carries them out is the one process that also records arrivals: nothing of a study comes in
while it goes. What goes is said in `taking`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    delete,
    or_,
    select,
    update,
)
from sqlalchemy.orm import Session

from medr1_pacs.db.audit import add_event
from medr1_pacs.db.rows import find_or_add, iterate_chunks, select_among
from medr1_pacs.db.tables import (
    Patient,
    Project,
    ProjectStudy,
    Study,
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
    JsonObject,
    StudyState,
)

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
    for chunk in iterate_chunks(study_ids):
        rows = session.execute(
            select(Study.id, Study.study_instance_uid).where(
                Study.id.in_(chunk), Study.state != StudyState.WITHDRAWN
            )
        )
        found |= {row.id: row.study_instance_uid for row in rows}
    return found


def find_live(session: Session, study_instance_uids: Collection[str]) -> set[str]:
    """Return which of these studies are there and were not withdrawn."""
    return select_among(
        session,
        study_instance_uids,
        lambda chunk: select(Study.study_instance_uid).where(Study.study_instance_uid.in_(chunk)),
    )


def find_project_id(session: Session, project: str) -> int:
    """Return the row of a project that is there."""
    return session.scalars(select(Project.id).where(Project.name == project)).one()


def find_studies_of_patients(session: Session, patient_keys: Collection[str]) -> set[int]:
    """Return the row ids of patients' studies."""
    return select_among(
        session,
        patient_keys,
        lambda chunk: (
            select(Study.id)
            .join(Patient, Study.patient_id == Patient.id)
            .where(Patient.patient_key.in_(chunk))
        ),
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


# -- what is withheld ------------------------------------------------------------------------------


def has_keys(session: Session) -> bool:
    """Whether anything was ever withdrawn."""
    return session.scalar(select(WithdrawnKey.id).limit(1)) is not None


def find_withheld(
    session: Session, keys: Collection[str]
) -> dict[str, list[tuple[int, str | None]]]:
    """Return key -> its withdrawals, each as (id, project or None for all), of those withdrawn."""
    found: dict[str, list[tuple[int, str | None]]] = {}
    for chunk in iterate_chunks(keys):
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


def find_withheld_projects(session: Session, study: Study) -> set[str]:
    """Return the projects that a study, or all of its patient, was withdrawn from."""
    patient_key = select(Patient.patient_key).where(Patient.id == study.patient_id)
    return set(
        session.scalars(
            select(Project.name)
            .join(Withdrawal, Withdrawal.project_id == Project.id)
            .join(WithdrawnKey, WithdrawnKey.withdrawal_id == Withdrawal.id)
            .where(
                or_(
                    WithdrawnKey.study_id == study.id,
                    WithdrawnKey.key == patient_key.scalar_subquery(),
                )
            )
        )
    )


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
