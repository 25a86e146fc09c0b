"""The log and the records that it tells of, read for whoever checks them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

from sqlalchemy import String, or_, select, type_coerce
from sqlalchemy.orm import Session

from medr1_pacs.audit.events import Event
from medr1_pacs.db.audit import canonical_event
from medr1_pacs.db.past import KEPT_BY, hash_past
from medr1_pacs.db.rows import iterate_chunks
from medr1_pacs.db.sealing import UNREADABLE, Head, iterate_heads, read_events
from medr1_pacs.db.tables import (
    Account,
    AuditEvent,
    AuditHead,
    AuditLeaf,
    PastValue,
    Project,
    ProjectMember,
    ProjectStudy,
    ReadingProtocol,
    ReferenceStandard,
    Study,
)
from medr1_pacs.errors import ProtocolRefused
from medr1_pacs.reviews.protocols import hash_definition, restore_protocol

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


_BEFORE_ALL = -(2**63)
_NEVER = datetime.min.replace(tzinfo=UTC)


def _place(row: Any) -> Place:
    event = None if row.id is None else canonical_event(row, row.study_id, row.project_id)
    return Place(row.seq, row.event_id, _hash(row.sha256), event)


def _hash(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except (ValueError, TypeError):
        return b""


def iterate_unsealed(session: Session) -> Iterator[Event]:
    """Yield the events without a place that can be read, in the order of their ids."""
    for event_id in _unsealed_ids(session):
        if (event := _read_event(session, event_id)) is not None:
            yield event


def list_unreadable(session: Session) -> list[int]:
    """Return the events without a place that cannot be read."""
    return [each for each in _unsealed_ids(session) if _read_event(session, each) is None]


def _unsealed_ids(session: Session) -> Sequence[int]:
    return session.scalars(
        select(AuditEvent.id)
        .outerjoin(AuditLeaf, AuditLeaf.event_id == AuditEvent.id)
        .where(AuditLeaf.seq.is_(None))
        .order_by(AuditEvent.id)
    ).all()


def _read_event(session: Session, event_id: int) -> Event | None:
    for row in read_events(session, [event_id]):
        try:
            event = canonical_event(row)
            datetime.fromisoformat(event.at)
        except UNREADABLE:
            return None
        return event
    return None


def list_heads(session: Session) -> list[Head]:
    """Return every recorded head, the first first; one that cannot be read says nothing."""
    try:
        return list(iterate_heads(session))
    except UNREADABLE:
        columns = (AuditHead.origin, AuditHead.size, AuditHead.note)
        rows = session.execute(
            select(*(type_coerce(each, String) for each in columns)).order_by(AuditHead.id)
        )
        return [Head(str(row[0]), 0, b"", (), str(row[2]), _NEVER) for row in rows]


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


def list_uses(session: Session) -> dict[tuple[int, str], bool]:
    """Return (study, project) of all that projects use, or used -> whether it has ended."""
    rows = session.execute(
        select(ProjectStudy.study_id, Project.name, ProjectStudy.withdrawn_at.is_not(None))
        .join(Project, Project.id == ProjectStudy.project_id)
        .order_by(ProjectStudy.id)
    )
    return {(study_id, project): bool(has_ended) for study_id, project, has_ended in rows}


def hash_past_values(session: Session, event_ids: Collection[int]) -> dict[int, str]:
    """Return event -> the hash of what it kept of rows as they were until then, if it did."""
    found = {}
    for chunk in iterate_chunks(event_ids):
        rows = session.execute(
            select(PastValue.event_id, PastValue.object_id, PastValue.was)
            .where(PastValue.event_id.in_(chunk))
            .order_by(PastValue.event_id, PastValue.object_id)
        )
        for event_id, of_event in groupby(rows, key=lambda row: row.event_id):
            found[event_id] = hash_past((row.object_id, row.was) for row in of_event)
    return found


def list_past_without_event(session: Session) -> list[int]:
    """Return the events by which something is kept as it was, and which are none that keep it."""
    rows = session.scalars(
        select(PastValue.event_id)
        .outerjoin(AuditEvent, AuditEvent.id == PastValue.event_id)
        .where(or_(AuditEvent.id.is_(None), AuditEvent.action.not_in(KEPT_BY)))
        .distinct()
        .order_by(PastValue.event_id)
    )
    return list(rows)


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


def list_protocols(session: Session) -> dict[int, tuple[str, str]]:
    """Return reading protocol -> the hash of its definition, and its state.

    A definition of which no hash can be made has none, and neither has one whose hash is another.
    """
    columns = (
        ReadingProtocol.id,
        type_coerce(ReadingProtocol.state, String).label("state"),  # whatever stands there
        ReadingProtocol.definition,
        ReadingProtocol.definition_sha256,
    )
    found = {}
    for row in session.execute(select(*columns).order_by(ReadingProtocol.id)):
        try:
            restore_protocol(row.definition)
            digest = hash_definition(row.definition)
        except (ProtocolRefused, *UNREADABLE):
            digest = ""
        found[row.id] = digest if digest == row.definition_sha256 else "", row.state
    return found


def see_one_moment(session: Session) -> None:
    """Let all that a session reads be as of one moment; on SQLite it is anyway."""
    if session.get_bind().dialect.name != "sqlite":
        session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
