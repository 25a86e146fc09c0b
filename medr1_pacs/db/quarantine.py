"""Received bytes that cannot be used: their rows, and what a person decides about them.

A row is open until a usable instance of its UID came, its own bytes were read anew and proved
usable, or a person dropped it. The row of a dropped one stays: it says that its bytes are gone, who
wanted it and why.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, fields
from datetime import datetime

from sqlalchemy import exists, select, update
from sqlalchemy.orm import Session

from medr1_pacs.db.audit import add_event, list_events
from medr1_pacs.db.rows import find_or_add
from medr1_pacs.db.tables import AuditEvent, Instance, QuarantinedInstance
from medr1_pacs.errors import NotInQuarantine
from medr1_pacs.records.listed import QuarantineListing, QuarantineRecord
from medr1_pacs.records.received import RejectedInstance

_TABLE = "quarantined_instance"
_RETRIED = "quarantine.retried"


def record_rejected(session: Session, item: RejectedInstance, now: datetime) -> None:
    """Make the row of an instance in quarantine; a second time changes nothing.

    One that a person let be read anew is back: its row says why it cannot be used today.
    """
    values = asdict(item)
    key = {"stored_name": values.pop("stored_name")}
    row, is_new = find_or_add(session, QuarantinedInstance, key, **values, quarantined_at=now)
    if is_new or _was_retried(session, row):
        row.reason, row.detail, row.quarantined_at = item.reason, item.detail, now
        add_event(session, "instance.quarantined", _TABLE, row.id, reason=item.reason)
    is_there = exists().where(
        Instance.sop_instance_uid == item.sop_instance_uid, Instance.superseded_at.is_(None)
    )
    if session.scalar(select(is_there)):
        resolve_quarantined(session, item.sop_instance_uid, now)


def _was_retried(session: Session, row: QuarantinedInstance) -> bool:
    retried = exists().where(
        AuditEvent.object_type == _TABLE,
        AuditEvent.object_id == row.id,
        AuditEvent.action == _RETRIED,
        AuditEvent.occurred_at > row.quarantined_at,
    )
    return bool(session.scalar(select(retried)))


def resolve_quarantined(session: Session, sop_instance_uid: str, now: datetime) -> None:
    """Note that a usable instance came under the UID that unusable bytes were sent with."""
    session.execute(
        update(QuarantinedInstance)
        .where(
            QuarantinedInstance.sop_instance_uid == sop_instance_uid,
            QuarantinedInstance.resolved_at.is_(None),
        )
        .values(resolved_at=now)
    )


def resolve_usable(session: Session, stored_names: Collection[str], now: datetime) -> list[str]:
    """Note of these files that they are usable after all; returns those that were in quarantine."""
    rows = session.scalars(
        select(QuarantinedInstance).where(QuarantinedInstance.stored_name.in_(stored_names))
    ).all()
    for row in rows:
        # What its UID came to may have been noted before, or be another UID than it was sent with.
        if row.resolved_at is None or _was_retried(session, row):
            row.resolved_at = row.resolved_at or now
            row.quarantined_at = now
            add_event(session, "quarantine.usable", _TABLE, row.id)
    return [row.stored_name for row in rows]


def begin_retry(session: Session, stored_name: str, *, actor: str) -> None:
    """Note that a file is read anew, and lock its row until the transaction ends.

    Raises `NotInQuarantine`.
    """
    row = _get_open(session, stored_name)
    add_event(session, _RETRIED, _TABLE, row.id, actor=actor)


def record_drop(
    session: Session, stored_name: str, now: datetime, *, actor: str, reason: str
) -> None:
    """Note that a file's bytes are deleted, and lock its row until the transaction ends.

    Raises `NotInQuarantine`.
    """
    row = _get_open(session, stored_name)
    row.dropped_at = row.resolved_at = now
    add_event(session, "quarantine.dropped", _TABLE, row.id, actor=actor, reason=reason)


def _get_open(session: Session, stored_name: str) -> QuarantinedInstance:
    row = session.scalar(
        select(QuarantinedInstance)
        .where(QuarantinedInstance.stored_name == stored_name)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    if row is None:
        raise NotInQuarantine(f"{stored_name} is not in quarantine; see `quarantine list`")
    if row.dropped_at is not None:
        raise NotInQuarantine(f"{stored_name} was dropped at {row.dropped_at:%Y-%m-%d %H:%M} UTC")
    if row.resolved_at is not None:
        raise NotInQuarantine(
            f"{stored_name} needs nothing: a usable instance came at "
            f"{row.resolved_at:%Y-%m-%d %H:%M} UTC"
        )
    return row


def list_quarantined(
    session: Session, *, reason: str = "", limit: int | None = None
) -> list[QuarantineListing]:
    """Return what is in quarantine and was not sent again in a usable form, the first first.

    `reason`: only those whose reason or detail holds this text.
    """
    found = select(QuarantinedInstance).where(QuarantinedInstance.resolved_at.is_(None))
    if reason:
        found = found.where(
            QuarantinedInstance.reason.contains(reason, autoescape=True)
            | QuarantinedInstance.detail.contains(reason, autoescape=True)
        )
    rows = session.scalars(found.order_by(QuarantinedInstance.id).limit(limit))
    names = [column.name for column in fields(QuarantineListing)]
    return [QuarantineListing(**{name: getattr(row, name) for name in names}) for row in rows]


def find_quarantined(session: Session, stored_name: str) -> QuarantineRecord | None:
    """Return all that the rows say of one file in quarantine, open or not."""
    row = session.scalar(
        select(QuarantinedInstance).where(QuarantinedInstance.stored_name == stored_name)
    )
    if row is None:
        return None
    current = session.scalar(
        select(Instance.stored_name).where(
            Instance.sop_instance_uid == row.sop_instance_uid, Instance.superseded_at.is_(None)
        )
    )
    names = {column.name for column in fields(QuarantineRecord)} - {"current", "events"}
    return QuarantineRecord(
        **{name: getattr(row, name) for name in names},
        current=current,
        events=tuple(list_events(session, _TABLE, row.id)),
    )


def list_dropped(session: Session, stored_names: Collection[str]) -> set[str]:
    """Return which of these files a person had deleted."""
    return set(
        session.scalars(
            select(QuarantinedInstance.stored_name).where(
                QuarantinedInstance.stored_name.in_(stored_names),
                QuarantinedInstance.dropped_at.is_not(None),
            )
        )
    )
