"""The events of a project as an export has them."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    and_,
    false,
    func,
    or_,
    select,
    type_coerce,
)
from sqlalchemy.orm import Session
from sqlalchemy.types import String

from medr1_pacs.audit.events import Event
from medr1_pacs.db.as_of import AsOf, IdSet, given_studies, list_remains
from medr1_pacs.db.cells import iterate_cells
from medr1_pacs.db.tables import (
    AuditEvent,
    AuditLeaf,
)
from medr1_pacs.errors import ExportRefused
from medr1_pacs.records.reading import Reading

_OF_ACCOUNTS = ("account.added", "account.adopted", "account.closed", "account.reopened")


_ADOPTED = {"answer.adopted": "answer", "reference_standard.adopted": "reference_standard"}
"""What was there before there was a log is told of with a hash when the log begins, even if its
study was withdrawn before."""


def iterate_events(
    session: Session,
    as_of: AsOf,
    *,
    questions: Collection[int],
    checkpoints: Collection[int],
    accounts: Collection[int],
) -> Iterator[tuple[int, Event]]:
    """Yield the events of a project until the head, in their order.

    Its own, those of its studies while they were its own, of the questions and checkpoints that it
    used, of the accounts that had a role in it, and of the log itself. Who read something of a
    study is told to the project that they read it in.

    Raises
    ------
    ExportRefused
        One of them is gone, or cannot be read.
    """
    kind = AuditEvent.object_type
    of_a_study = and_(
        AuditLeaf.project_id.is_(None),
        AuditLeaf.study_id.in_(given_studies(as_of.project_id, as_of.size)),
        # One that is gone is of no action.
        func.coalesce(AuditEvent.action, "").not_in([*Reading]),
    )
    remains = {kind: IdSet(list_remains(session, as_of, kind)) for kind in _ADOPTED.values()}
    columns: Sequence[Any] = (
        AuditLeaf.seq,
        AuditLeaf.event_id,
        AuditLeaf.study_id,
        AuditLeaf.project_id,
        AuditEvent.id,
        AuditEvent.action,
        AuditEvent.object_type,
        AuditEvent.object_id,
        AuditEvent.account_id,
        AuditEvent.record_sha256,
        AuditEvent.salt,
        AuditEvent.actor,
        _canonical_time(session),
        AuditEvent.old_value,
        AuditEvent.new_value,
        AuditEvent.reason,
    )
    statement = (
        select(*columns)
        .outerjoin(AuditEvent, AuditEvent.id == AuditLeaf.event_id)
        .where(
            AuditLeaf.seq < as_of.size,
            or_(
                AuditLeaf.project_id == as_of.project_id,
                of_a_study,
                and_(kind == "question", _among(AuditEvent.object_id, questions)),
                and_(kind == "checkpoint", _among(AuditEvent.object_id, checkpoints)),
                and_(
                    kind == "account",
                    AuditEvent.action.in_(_OF_ACCOUNTS),
                    _among(AuditEvent.object_id, accounts),
                ),
                and_(kind == "audit", AuditEvent.action.startswith("log.")),
            ),
        )
        .order_by(AuditLeaf.seq)
    )
    for seq, event_id, study_id, project_id, own_id, *rest in iterate_cells(
        session, statement, _EVENT_COLUMNS
    ):
        action, object_type, object_id, account_id, record, salt, *committed = rest
        actor, at, old, new, reason = committed
        if project_id is None and study_id is not None:
            was_there = action in _ADOPTED and int(object_id or 0) in remains[_ADOPTED[action]]
            if not was_there and not as_of.is_told(int(study_id), int(seq or 0)):
                continue
        try:
            row_id = int(own_id or "")
            values = {"old": old, "new": new}
            told = {name: json.loads(text) for name, text in values.items() if text is not None}
        except ValueError as error:
            raise ExportRefused(
                f"event {event_id} (place {seq} of the audit log) was deleted or damaged: see "
                "`medr1-pacs audit verify --database`"
            ) from error
        yield (
            int(seq or 0),
            Event(
                event_id=row_id,
                action=action or "",
                object_type=object_type or "",
                object_id=None if object_id is None else int(object_id),
                study_id=None if study_id is None else int(study_id),
                project_id=None if project_id is None else int(project_id),
                account_id=None if account_id is None else int(account_id),
                record=record,
                salt=salt or "",
                actor=actor or "",
                at=at or "",
                told=told,
                reason=reason,
            ),
        )


_EVENT_COLUMNS = {
    "seq": "int",
    "event_id": "int",
    "study_id": "int",
    "project_id": "int",
    "own_id": "int",
    "action": "str",
    "object_type": "str",
    "object_id": "int",
    "account_id": "int",
    "record": "str",
    "salt": "str",
    "actor": "str",
    "at": "str",
    "old": "dict",
    "new": "dict",
    "reason": "str",
}


def _canonical_time(session: Session) -> Any:
    """Build what `canonical_time` makes of when an event happened."""
    if session.get_bind().dialect.name == "sqlite":
        stored = type_coerce(AuditEvent.occurred_at, String)
        return func.replace(stored, " ", "T").op("||")("Z")
    moment = func.timezone("UTC", AuditEvent.occurred_at)
    return func.to_char(moment, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')


def _among(column: Any, ids: Collection[int]) -> ColumnElement[bool]:
    return column.in_(ids) if ids else false()


def list_members(session: Session, as_of: AsOf) -> set[int]:
    """Return the accounts that had a role in the project until the head."""
    rows = session.execute(
        select(AuditEvent.action, AuditEvent.object_id, AuditEvent.new_value)
        .join(AuditLeaf, AuditLeaf.event_id == AuditEvent.id)
        .where(
            AuditLeaf.seq < as_of.size,
            AuditLeaf.project_id == as_of.project_id,
            AuditEvent.action.in_(("account.role_given", "project_member.adopted")),
        )
    )
    members = set()
    for row in rows:
        account_id = row.object_id
        if row.action == "project_member.adopted" and isinstance(row.new_value, dict):
            account_id = row.new_value.get("account_id")
        if isinstance(account_id, int):  # what has not the form of its action says nothing
            members.add(account_id)
    return members
