"""Somebody of a protocol sees the answers before it is over, and reads no more of it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import and_, exists, select, update
from sqlalchemy.orm import Session

from medr1_pacs.db.assignments import plan_adjudication
from medr1_pacs.db.audit import add_event
from medr1_pacs.db.protocols import finish_if_done, lock_protocol
from medr1_pacs.db.tables import Account, Assignment, ReadingCase, ReadingPerson, Review
from medr1_pacs.errors import ProtocolRefused
from medr1_pacs.records.review_words import AssignmentState, ProtocolState

_UNFINISHED = (AssignmentState.PLANNED, AssignmentState.OPEN)


def unblind(
    session: Session, protocol_id: int, account: str, *, reason: str, actor: str, now: datetime
) -> None:
    """Let somebody of a protocol see the answers before it is over; they read no more of it.

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
    left = _take_reads(session, protocol_id, person.account_id)
    # Whom their readers waited for reads them no more: they may disagree as they are.
    for case_id in sorted(left):
        plan_adjudication(session, row, session.get_one(ReadingCase, case_id))
    session.flush()
    finish_if_done(session, row, now)


def _take_reads(session: Session, protocol_id: int, account_id: int) -> set[int]:
    """Let others read what somebody will not; what was planned for them alone is dropped.

    Returns the cases of which a read was dropped.
    """
    own = and_(
        Assignment.protocol_id == protocol_id,
        Assignment.account_id == account_id,
        Assignment.state.in_(_UNFINISHED),
    )
    begun = exists().where(Review.assignment_id == Assignment.id)
    session.execute(
        update(Assignment)
        .where(own, Assignment.is_pooled, ~begun)
        .values(
            account_id=None,
            state=AssignmentState.PLANNED,
            claimed_until=None,
            draft=None,
            phase_opened_at=None,
            active_ms=0,
        )
        .execution_options(synchronize_session=False)
    )
    dropped = set(session.scalars(select(Assignment.case_id).where(own)))
    session.execute(
        update(Assignment)
        .where(own)
        .values(state=AssignmentState.DROPPED, claimed_until=None)
        .execution_options(synchronize_session=False)
    )
    return dropped
