"""The log and the records that it tells of, read for whoever checks them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import String, select, type_coerce
from sqlalchemy.orm import Session

from medr1_pacs.audit.events import Event
from medr1_pacs.db.audit import canonical_event
from medr1_pacs.db.sealing import Head, iterate_heads
from medr1_pacs.db.tables import (
    Account,
    AuditEvent,
    AuditLeaf,
    Project,
    ProjectMember,
    ProjectStudy,
    ReferenceStandard,
    Study,
)

_CHUNK = 5_000


@dataclass(frozen=True, slots=True)
class Place:
    """A place of the log, and the event that is there."""

    seq: int
    event_id: int
    leaf: bytes
    event: Event | None
    """None: it is gone, or cannot be read."""
    is_readable: bool = True


def iterate_places(session: Session) -> Iterator[Place]:
    """Yield the places of the log in their order; streaming."""
    leaf: Sequence[Any] = (AuditLeaf.seq, AuditLeaf.event_id, AuditLeaf.sha256)
    scope: Sequence[Any] = (AuditLeaf.study_id, AuditLeaf.project_id)
    places = (
        select(*leaf, *scope, *AuditEvent.__table__.columns)
        .outerjoin(AuditEvent, AuditEvent.id == AuditLeaf.event_id)
        .order_by(AuditLeaf.seq)
    )
    last = _BEFORE_ALL
    while True:
        following = places.where(AuditLeaf.seq > last)
        try:
            for row in session.execute(following.execution_options(yield_per=_CHUNK)):
                last = row.seq
                yield _place(row)
        except UNREADABLE:
            # SQLite keeps any value in any column: one by one until past what is none of its type.
            alone = select(*leaf).where(AuditLeaf.seq > last).order_by(AuditLeaf.seq)
            for row in session.execute(alone.limit(_CHUNK)).all():
                last = row.seq
                try:
                    yield _place(session.execute(places.where(AuditLeaf.seq == last)).one())
                except UNREADABLE:
                    yield Place(row.seq, row.event_id, _hash(row.sha256), None, is_readable=False)
        else:
            return


UNREADABLE = (ValueError, LookupError, TypeError, AttributeError)
"""What reading a row raises that has a value which is none of its column's type."""
_BEFORE_ALL = -(2**63)


def _place(row: Any) -> Place:
    event = None if row.id is None else canonical_event(row, row.study_id, row.project_id)
    return Place(row.seq, row.event_id, _hash(row.sha256), event)


def _hash(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except (ValueError, TypeError):
        return b""


def iterate_unsealed(session: Session) -> Iterator[Event]:
    """Yield the events without a place, in the order of their ids."""
    rows = session.scalars(
        select(AuditEvent)
        .outerjoin(AuditLeaf, AuditLeaf.event_id == AuditEvent.id)
        .where(AuditLeaf.seq.is_(None))
        .order_by(AuditEvent.id)
    )
    yield from map(canonical_event, rows)


def list_heads(session: Session) -> list[Head]:
    """Return every recorded head, the first first."""
    return list(iterate_heads(session))


@dataclass(frozen=True, slots=True)
class HeldRole:
    """A role as an account has it now."""

    account_id: int
    role: str
    project: str | None
    """None: of the site."""
    member_id: int | None


def list_held_roles(session: Session) -> list[HeldRole]:
    """Return every role that somebody has."""
    members = session.execute(
        select(
            ProjectMember.account_id,
            type_coerce(ProjectMember.role, String).label("role"),  # whatever stands there
            Project.name,
            ProjectMember.id,
        )
        .join(Project, Project.id == ProjectMember.project_id)
        .order_by(ProjectMember.id)
    )
    held = [HeldRole(row.account_id, row.role, row.name, row.id) for row in members]
    administrators = select(Account.id).where(Account.is_administrator).order_by(Account.id)
    held += [
        HeldRole(account_id, "administrator", None, None)
        for account_id in session.scalars(administrators)
    ]
    return held


def list_ended_uses(session: Session) -> list[tuple[int, str]]:
    """Return (study, project) of what a project uses no more."""
    rows = session.execute(
        select(ProjectStudy.study_id, Project.name)
        .join(Project, Project.id == ProjectStudy.project_id)
        .where(ProjectStudy.withdrawn_at.is_not(None))
        .order_by(ProjectStudy.id)
    )
    return [(row.study_id, row.name) for row in rows]


def list_studies(session: Session, patient_id: int) -> set[int]:
    """Return the studies of a patient, withdrawn ones too."""
    return set(session.scalars(select(Study.id).where(Study.patient_id == patient_id)))


def list_closed(session: Session) -> set[int]:
    """Return the accounts that let nobody in."""
    return set(session.scalars(select(Account.id).where(Account.closed_at.is_not(None))))


def list_superseded(session: Session) -> set[int]:
    """Return the reference standards that count no more."""
    return set(
        session.scalars(
            select(ReferenceStandard.id).where(ReferenceStandard.superseded_at.is_not(None))
        )
    )


def see_one_moment(session: Session) -> None:
    """Let all that a session reads be as of one moment; on SQLite it is anyway."""
    if session.get_bind().dialect.name != "sqlite":
        session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
