"""Audit events, in the transaction of the change they tell; values never hold identities."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time
from typing import Any, cast

from sqlalchemy import Table, event, func, insert, or_, select
from sqlalchemy.orm import Session

from medr1_pacs.audit.canonical import SALT_BYTES, canonical_json
from medr1_pacs.audit.events import Event
from medr1_pacs.db.tables import Account, AuditEvent
from medr1_pacs.records.audit import EventFilters, LoggedEvent
from medr1_pacs.records.listed import EventListing
from medr1_pacs.records.reading import Reading
from medr1_pacs.records.words import JsonObject

SERVICE = "service"
"""The actor of what happens by itself."""
OPERATOR = "operator"
"""The actor of what somebody does on the command line."""


def new_salt() -> str:
    """Return 16 random bytes as hex digits: without them no hash of the log can be guessed."""
    return secrets.token_hex(SALT_BYTES)


def add_event(
    session: Session,
    action: str,
    object_type: str,
    object_id: int | None,
    *,
    actor: str = SERVICE,
    old: JsonObject | None = None,
    new: JsonObject | None = None,
    reason: str | None = None,
    record_sha256: str | None = None,
) -> None:
    """Add one event to the running transaction, at whose end all of its events are written.

    `record_sha256`: of the record that it tells of, where the object is one that is hashed.
    """
    canonical_json([old, new])  # what cannot be hashed must not get in
    _waiting(session).append(
        {
            "occurred_at": datetime.now(UTC),
            "actor": actor,
            "action": action,
            "object_type": object_type,
            "object_id": object_id,
            "old_value": old,
            "new_value": new,
            "reason": reason,
            "account_id": _account_id(session, actor),
            "salt": new_salt(),
            "record_sha256": record_sha256,
        }
    )


def add_event_now(session: Session, *what: Any, **more: Any) -> int:
    """Add one event as `add_event` does, behind those before it; returns its id."""
    add_event(session, *what, **more)
    *before, last = _waiting(session)
    _waiting(session)[:] = before
    write_events(session)
    row_id: int = session.scalars(insert(AuditEvent).returning(AuditEvent.id), [last]).one()
    return row_id


_WAITING = "audit events"
_INSERT = insert(cast(Table, AuditEvent.__table__))


def _waiting(session: Session) -> list[dict[str, Any]]:
    waiting: list[dict[str, Any]] = session.info.setdefault(_WAITING, [])
    return waiting


@event.listens_for(Session, "before_commit")
def write_events(session: Session) -> None:
    """Write the events of a transaction: all at once, since each by itself would cost a round trip
    while others wait for the rows that it has locked."""
    if waiting := session.info.pop(_WAITING, None):
        session.flush()
        # Past the mapper, which takes as long again for each row.
        session.connection().execute(_INSERT, waiting)


@event.listens_for(Session, "after_rollback")
def _forget_events(session: Session) -> None:
    session.info.pop(_WAITING, None)


@dataclass(frozen=True, slots=True)
class RecordTold:
    """A record that was written, and the hash of its canonical form."""

    object_id: int
    record_sha256: str
    new: JsonObject


def add_record_events(
    session: Session,
    action: str,
    object_type: str,
    told: Sequence[RecordTold],
    *,
    actor: str = SERVICE,
) -> None:
    """Add the events of many records at once."""
    for each in told:
        add_event(
            session,
            action,
            object_type,
            each.object_id,
            actor=actor,
            new=each.new,
            record_sha256=each.record_sha256,
        )


def _account_id(session: Session, actor: str) -> int | None:
    if actor in (SERVICE, OPERATOR):
        return None
    known: dict[str, int | None] = session.info.setdefault(_ACTORS, {})
    if actor not in known:
        known[actor] = session.scalar(select(Account.id).where(Account.name == actor))
    return known[actor]


_ACTORS = "ids of actors"


def canonical_time(moment: datetime) -> str:
    """Return a time as events are hashed with it: ISO 8601, UTC, microseconds."""
    # Not by strftime, which writes the year 476 in three digits.
    return f"{moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='microseconds')}Z"


def canonical_event(row: Any, study_id: int | None = None, project_id: int | None = None) -> Event:
    """Return an event as it is hashed, with the scope that its place gives it.

    `row` has the columns of `audit_event`.
    """
    told = {"old": row.old_value, "new": row.new_value}
    return Event(
        event_id=row.id,
        action=row.action,
        object_type=row.object_type,
        object_id=row.object_id,
        study_id=study_id,
        project_id=project_id,
        account_id=row.account_id,
        record=row.record_sha256,
        salt=row.salt,
        actor=row.actor,
        at=canonical_time(row.occurred_at),
        told={name: value for name, value in told.items() if value is not None},
        reason=row.reason,
    )


def list_events(
    session: Session, object_type: str, object_id: int, *, newest: int = 100
) -> list[EventListing]:
    """Return what happened to one object, the latest first; not who looked at it."""
    rows = session.scalars(
        select(AuditEvent)
        .where(
            AuditEvent.object_type == object_type,
            AuditEvent.object_id == object_id,
            AuditEvent.action.not_in([*Reading]),
        )
        .order_by(AuditEvent.id.desc())
        .limit(newest)
    )
    return [
        EventListing(
            row.occurred_at,
            row.actor,
            row.action,
            row.old_value or {},
            row.new_value or {},
            row.reason or "",
        )
        for row in rows
    ]


def find_events(
    session: Session, filters: EventFilters, *, before: int | None, limit: int
) -> list[LoggedEvent]:
    """Return a page of the log, the latest first: the events with a number below `before`."""
    found = select(AuditEvent).order_by(AuditEvent.id.desc()).limit(limit)
    if before is not None:
        found = found.where(AuditEvent.id < before)
    if filters.object_type:
        found = found.where(AuditEvent.object_type == filters.object_type)
    if filters.object_id is not None:
        found = found.where(AuditEvent.object_id == filters.object_id)
    if filters.actor:
        found = found.where(AuditEvent.actor == filters.actor)
    if filters.action:
        of_kind = AuditEvent.action.startswith(f"{filters.action}.", autoescape=True)
        found = found.where(or_(AuditEvent.action == filters.action, of_kind))
    if filters.since is not None:
        first = datetime.combine(filters.since, time.min, UTC)
        found = found.where(AuditEvent.occurred_at >= first)
    if filters.until is not None:
        last = datetime.combine(filters.until, time.max, UTC)
        found = found.where(AuditEvent.occurred_at <= last)
    return [
        LoggedEvent(
            event_id=row.id,
            occurred_at=row.occurred_at,
            actor=row.actor,
            action=row.action,
            object_type=row.object_type,
            object_id=row.object_id,
            old_value=row.old_value or {},
            new_value=row.new_value or {},
            reason=row.reason or "",
        )
        for row in session.scalars(found)
    ]


def list_object_types(session: Session) -> list[str]:
    """Return what events are about, each found from the last one: there are few among millions."""
    types: list[str] = []
    following = select(func.min(AuditEvent.object_type))
    found = session.scalar(following)
    while found is not None:
        types.append(found)
        found = session.scalar(following.where(AuditEvent.object_type > found))
    return types
