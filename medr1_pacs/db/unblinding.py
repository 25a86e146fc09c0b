"""Somebody of a protocol sees the answers before it is over, and reads no more of it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import and_, select, update
from sqlalchemy.orm import Session

from medr1_pacs.db.audit import add_event
from medr1_pacs.db.claiming import give_back
from medr1_pacs.db.locking import plan_adjudication
from medr1_pacs.db.protocols import finish_if_done, lock_protocol
from medr1_pacs.db.reads import UNFINISHED
from medr1_pacs.db.rows import iterate_chunks
from medr1_pacs.db.tables import (
    Account,
    Assignment,
    ReadingCase,
    ReadingPerson,
    ReadingProtocol,
)
from medr1_pacs.errors import ProtocolRefused
from medr1_pacs.records.review_words import AssignmentState, Part, ProtocolState, ReadKind


def unblind(
    session: Session, protocol_id: int, account: str, *, reason: str, actor: str, now: datetime
) -> None:
    """Let somebody of a protocol see the answers before it is over; they read no more of it.

    What others can read in their place they read; of what nobody can any more nothing is left to be
    waited for.

    Raises
    ------
    ProtocolRefused
        They are not in it, see them already, or no reason is given.
    """
    row = lock_protocol(session, protocol_id)
    person = session.scalar(
        select(ReadingPerson)
        .join(Account, Account.id == ReadingPerson.account_id)
        .where(ReadingPerson.protocol_id == protocol_id, Account.name == account)
    )
    if person is None:
        raise ProtocolRefused(f"the protocol {row.name} {row.version} has nobody {account!r}")
    if row.state is not ProtocolState.STARTED or person.unblinded_at is not None:
        raise ProtocolRefused(f"nothing of {row.name} {row.version} is hidden from {account}")
    if not reason.strip():
        raise ProtocolRefused("say why: the reason is kept in the log")
    person.unblinded_at = now
    add_event(
        session,
        "protocol.unblinded",
        "reading_protocol",
        row.id,
        actor=actor,
        new={"account_id": person.account_id},
        reason=reason.strip(),
    )
    left = _take_reads(session, row, person.account_id)
    session.flush()
    left |= _drop_unreadable(session, row)
    # Whom their readers waited for reads them no more: they may disagree as they are.
    for case_id in sorted(left):
        plan_adjudication(session, row, session.get_one(ReadingCase, case_id))
    session.flush()
    finish_if_done(session, row, now)


def _take_reads(session: Session, row: ReadingProtocol, account_id: int) -> set[int]:
    """Let others read what somebody will not; what was planned for them alone is dropped.

    Returns the cases of which a read was dropped.
    """
    own = and_(
        Assignment.protocol_id == row.id,
        Assignment.account_id == account_id,
        Assignment.state.in_(UNFINISHED),
    )
    # Of the pool they have what is open, one at most.
    for read in session.scalars(select(Assignment).where(own, Assignment.is_pooled)).all():
        give_back(session, read)
    session.flush()
    found = session.execute(select(Assignment.id, Assignment.case_id).where(own)).all()
    _drop(session, [each.id for each in found])
    return {each.case_id for each in found}


def _drop(session: Session, assignment_ids: Collection[int]) -> None:
    for chunk in iterate_chunks(assignment_ids):
        session.execute(
            update(Assignment)
            .where(Assignment.id.in_(chunk))
            .values(state=AssignmentState.DROPPED, claimed_until=None, draft=None)
            .execution_options(synchronize_session=False)
        )


def _drop_unreadable(session: Session, row: ReadingProtocol) -> set[int]:
    """Drop the reads in the pool that nobody is left for; returns their cases."""
    pool: dict[tuple[int, bool], list[int]] = {}
    planned = session.execute(
        select(Assignment.case_id, Assignment.id, Assignment.kind)
        .where(
            Assignment.protocol_id == row.id,
            Assignment.state == AssignmentState.PLANNED,
            Assignment.account_id.is_(None),
        )
        .order_by(Assignment.id)
    )
    for each in planned:
        key = each.case_id, each.kind is ReadKind.ADJUDICATION
        pool.setdefault(key, []).append(each.id)
    people = _list_active(session, row.id)
    met = _list_met(session, row.id)
    dropped: list[tuple[int, int]] = []
    for (case_id, is_adjudication), reads in pool.items():
        part = Part.ADJUDICATOR if is_adjudication else Part.READER
        free = people.get(part, set()) - met.get(case_id, set())
        dropped += [(each, case_id) for each in reads[len(free) :]]
    _drop(session, [assignment_id for assignment_id, _ in dropped])
    for assignment_id, case_id in dropped:
        add_event(session, "read.dropped", "assignment", assignment_id, new={"case_id": case_id})
    return {case_id for _, case_id in dropped}


def _list_active(session: Session, protocol_id: int) -> dict[Part, set[int]]:
    """Return part -> the accounts that still read."""
    rows: Sequence[Any] = session.execute(
        select(ReadingPerson.part, ReadingPerson.account_id).where(
            ReadingPerson.protocol_id == protocol_id, ReadingPerson.unblinded_at.is_(None)
        )
    ).all()
    people: dict[Part, set[int]] = {}
    for row in rows:
        people.setdefault(row.part, set()).add(row.account_id)
    return people


def _list_met(session: Session, protocol_id: int) -> dict[int, set[int]]:
    """Return case -> the accounts that have a read of it, or had."""
    rows = session.execute(
        select(Assignment.case_id, Assignment.account_id).where(
            Assignment.protocol_id == protocol_id, Assignment.account_id.is_not(None)
        )
    )
    met: dict[int, set[int]] = {}
    for row in rows:
        met.setdefault(row.case_id, set()).add(row.account_id)
    return met
