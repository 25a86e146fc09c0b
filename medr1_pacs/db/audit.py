"""Audit events, in the transaction of the change they tell; values never hold identities."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from medr1_pacs.db.tables import AuditEvent
from medr1_pacs.records.listed import EventListing
from medr1_pacs.records.words import JsonObject

SERVICE = "service"
"""The actor of what happens by itself."""
OPERATOR = "operator"
"""The actor of what somebody does on the command line."""


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
) -> None:
    """Add one event to the running transaction."""
    session.add(
        AuditEvent(
            occurred_at=datetime.now(UTC),
            actor=actor,
            action=action,
            object_type=object_type,
            object_id=object_id,
            old_value=old,
            new_value=new,
            reason=reason,
        )
    )


def list_events(
    session: Session, object_type: str, object_id: int, *, newest: int = 100
) -> list[EventListing]:
    """Return what happened to one object, the latest first."""
    rows = session.scalars(
        select(AuditEvent)
        .where(AuditEvent.object_type == object_type, AuditEvent.object_id == object_id)
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
