"""Audit events, in the transaction of the change they tell; values never hold identities."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy.orm import Session

from medr1_pacs.db.tables import AuditEvent
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
