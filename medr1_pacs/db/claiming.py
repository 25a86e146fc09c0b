"""Planned reads: which comes next for somebody, claimed so that no two read one at once.

A read that any of several could read is held until its claim expires; once a phase of it is locked
it is its reader's for good. Who claims holds the protocol's row.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from functools import partial

from sqlalchemy import ColumnElement, and_, exists, func, or_, select
from sqlalchemy.orm import Session, aliased

from medr1_pacs.db.audit import add_event
from medr1_pacs.db.protocols import find_part, lock_protocol
from medr1_pacs.db.reads import final_reviews
from medr1_pacs.db.tables import (
    Account,
    Assignment,
    ReadingCase,
    ReadingPerson,
    ReadingProtocol,
    Review,
)
from medr1_pacs.errors import ReadNotOpen
from medr1_pacs.records.review_words import (
    Arm,
    AssignmentState,
    Part,
    ProtocolState,
    ReadKind,
)
from medr1_pacs.records.reviews import Reader, ReaderProgress
from medr1_pacs.records.words import JsonObject
from medr1_pacs.reviews.order import NextRead, WaitingRead, choose_next, iterate_order
from medr1_pacs.reviews.phases import adjudicated_phase, shows_more
from medr1_pacs.reviews.protocols import ReadingProtocol as Protocol
from medr1_pacs.reviews.protocols import restore_protocol

_RELEASED = {
    "state": AssignmentState.PLANNED,
    "account_id": None,
    "claimed_until": None,
    "place": None,
    "opened_at": None,
    "phase_opened_at": None,
    "active_ms": 0,
    "draft": None,
    "drafted_at": None,
    "shown_reviews": None,
}
"""What a read is again that goes back to all."""


def enter_protocol(session: Session, reader: Reader) -> tuple[ReadingProtocol, ReadingPerson]:
    """Return a protocol's row, locked, and what somebody is in it.

    Raises
    ------
    ReadNotOpen
        They are nobody in it.
    """
    row = lock_protocol(session, reader.protocol_id)
    return row, _get_part(session, reader)


def _get_part(session: Session, reader: Reader) -> ReadingPerson:
    person = find_part(session, reader.protocol_id, reader.account_id)
    if person is None:
        raise ReadNotOpen("you are no reader of this protocol")
    return person


def is_reading(row: ReadingProtocol, person: ReadingPerson) -> bool:
    """Whether somebody still reads by a protocol."""
    return row.state is ProtocolState.STARTED and person.unblinded_at is None


def claim_next(session: Session, reader: Reader, *, now: datetime) -> NextRead:
    """Open the next read of somebody, or the one that they have open already.

    What follows it in their order is noted, so that its pictures may be loaded ahead.
    """
    row, person = enter_protocol(session, reader)
    if not is_reading(row, person):
        return NextRead(None)
    protocol = restore_protocol(row.definition)
    until = now + timedelta(minutes=protocol.claim_minutes)
    opened = session.scalar(
        select(Assignment).where(
            Assignment.protocol_id == reader.protocol_id,
            Assignment.account_id == reader.account_id,
            Assignment.state == AssignmentState.OPEN,
        )
    )
    if opened is not None:
        opened.claimed_until = until
        return NextRead(opened.id)
    found = _choose(session, protocol, reader, person, now)
    person.upcoming_id = found.following_id
    if found.assignment_id is None:
        return found
    read = _take(session, session.get_one(Assignment, found.assignment_id))
    _open(session, read, protocol, reader, now, until)
    return NextRead(read.id, found.following_id)


def _open(
    session: Session,
    read: Assignment,
    protocol: Protocol,
    reader: Reader,
    now: datetime,
    until: datetime,
) -> None:
    read.state, read.account_id, read.claimed_until = AssignmentState.OPEN, reader.account_id, until
    read.opened_at = read.phase_opened_at = now
    read.place = _next_place(session, reader)
    told: JsonObject = {"case_id": read.case_id, "place": read.place}
    if read.kind is ReadKind.ADJUDICATION:
        # What readers amend from now on is no more what this is about.
        finals = final_reviews(session, read.case_id, adjudicated_phase(protocol.arms))
        read.shown_reviews = [each.id for each in finals]
        told["shown"] = read.shown_reviews
    actor = name_of(session, reader.account_id)
    add_event(session, "read.opened", "assignment", read.id, actor=actor, new=told)


def _take(session: Session, read: Assignment) -> Assignment:
    """Return a read that nobody has: the same, or another of its case and kind."""
    if read.state is AssignmentState.PLANNED:
        return read
    return session.get_one(Assignment, give_back(session, read))


def give_back(session: Session, read: Assignment) -> int:
    """Give back to all what somebody has open and will not end; returns the read that is planned.

    What they locked, or saw beside the case, stays told of: the case is then read from its
    beginning by another read.
    """
    begun = exists().where(Review.assignment_id == read.id)
    if not shows_more(read.arm) and not session.scalar(select(begun)):
        for name, value in _RELEASED.items():
            setattr(read, name, value)
        session.flush()
        add_event(session, "read.released", "assignment", read.id)
        return read.id
    read.state, read.claimed_until, read.draft = AssignmentState.DROPPED, None, None
    planned = add_to_pool(session, read.protocol_id, read.case_id, read.kind, read.arm)
    told = {"case_id": read.case_id}
    add_event(session, "read.dropped", "assignment", read.id, new=told)
    add_event(session, "read.planned", "assignment", planned, new=told)
    return planned


def add_to_pool(session: Session, protocol_id: int, case_id: int, kind: ReadKind, arm: Arm) -> int:
    """Plan a read of a case for whoever comes first; returns its row id."""
    planned = Assignment(
        protocol_id=protocol_id,
        case_id=case_id,
        kind=kind,
        arm=arm,
        account_id=None,
        is_pooled=True,
        state=AssignmentState.PLANNED,
        active_ms=0,
    )
    session.add(planned)
    session.flush()
    return planned.id


def _is_left(reader: Reader, now: datetime) -> ColumnElement[bool]:
    """Return whether somebody else has a read open that goes back to all."""
    return and_(
        Assignment.state == AssignmentState.OPEN,
        Assignment.is_pooled,
        Assignment.account_id != reader.account_id,
        Assignment.claimed_until < now,
        ~exists().where(Review.assignment_id == Assignment.id),
    )


def _choose(
    session: Session,
    protocol: Protocol,
    reader: Reader,
    person: ReadingPerson,
    now: datetime,
) -> NextRead:
    ordered = iterate_order(
        _waiting(session, reader, person, now),
        seed=protocol.order_seed,
        reader=name_of(session, reader.account_id),
    )
    return choose_next(
        ordered,
        partial(_find_last_reads, session, reader.account_id),
        washout=timedelta(days=protocol.washout_days),
        now=now,
    )


def _waiting(
    session: Session, reader: Reader, person: ReadingPerson, now: datetime
) -> list[WaitingRead]:
    """Return the planned reads that somebody could open, each case once."""
    rows = session.execute(
        select(
            Assignment.id,
            ReadingCase.number,
            Assignment.kind,
            ReadingCase.case_key,
        )
        .join(ReadingCase, ReadingCase.id == Assignment.case_id)
        .where(*_could_be_opened(reader, person, now))
        .order_by(Assignment.id)
    ).all()
    waiting: dict[tuple[int, ReadKind], WaitingRead] = {}
    for assignment_id, number, kind, case_key in rows:
        waiting.setdefault((number, kind), WaitingRead(assignment_id, number, kind, case_key))
    firsts = {number for number, kind in waiting if kind is ReadKind.FIRST}
    firsts |= _open_firsts(session, reader)
    # A second read or a repeat waits for the first one of its case.
    return [
        read
        for (number, kind), read in waiting.items()
        if kind in (ReadKind.FIRST, ReadKind.PRACTICE, ReadKind.ADJUDICATION)
        or number not in firsts
    ]


def _could_be_opened(
    reader: Reader, person: ReadingPerson, now: datetime
) -> list[ColumnElement[bool]]:
    """Return what holds of the reads that are somebody's and not open, or anybody's."""
    own = aliased(Assignment)
    has_read = exists().where(
        own.case_id == Assignment.case_id, own.account_id == reader.account_id
    )
    is_adjudication = Assignment.kind == ReadKind.ADJUDICATION
    is_planned = Assignment.state == AssignmentState.PLANNED
    return [
        Assignment.protocol_id == reader.protocol_id,
        is_adjudication if person.part is Part.ADJUDICATOR else ~is_adjudication,
        or_(
            and_(is_planned, Assignment.account_id == reader.account_id),
            and_(is_planned, Assignment.account_id.is_(None), ~has_read),
            and_(_is_left(reader, now), ~has_read),
        ),
    ]


def _open_firsts(session: Session, reader: Reader) -> set[int]:
    """Return the numbers of the cases that somebody has open for the first time."""
    return set(
        session.scalars(
            select(ReadingCase.number)
            .join(Assignment, Assignment.case_id == ReadingCase.id)
            .where(
                Assignment.protocol_id == reader.protocol_id,
                Assignment.account_id == reader.account_id,
                Assignment.kind == ReadKind.FIRST,
                Assignment.state == AssignmentState.OPEN,
            )
        )
    )


def _find_last_reads(
    session: Session, account_id: int, case_keys: Collection[str]
) -> dict[str, datetime]:
    """Return case -> when somebody last had a read of it open, in whatever protocol."""
    left_at = func.coalesce(Assignment.done_at, Assignment.phase_opened_at)
    rows = session.execute(
        select(ReadingCase.case_key, func.max(left_at).label("last"))
        .join(ReadingCase, ReadingCase.id == Assignment.case_id)
        .where(
            ReadingCase.case_key.in_(case_keys),
            Assignment.account_id == account_id,
            Assignment.opened_at.is_not(None),
        )
        .group_by(ReadingCase.case_key)
    )
    return {row.case_key: row.last for row in rows}


def _next_place(session: Session, reader: Reader) -> int:
    last = session.scalar(
        select(func.max(Assignment.place)).where(
            Assignment.protocol_id == reader.protocol_id,
            Assignment.account_id == reader.account_id,
        )
    )
    return (last or 0) + 1


def name_of(session: Session, account_id: int) -> str:
    """Return the name of an account."""
    return session.scalars(select(Account.name).where(Account.id == account_id)).one()


# -- what is left --------------------------------------------------------------------------------


def find_upcoming(session: Session, reader: Reader) -> tuple[int, int] | None:
    """Return (read, case) of what was next in somebody's order when they last opened a read.

    It is not claimed: another reader may come first, and then there is none.
    """
    person = _get_part(session, reader)
    if person.upcoming_id is None or not _still_reads(session, reader, person):
        return None
    own = aliased(Assignment)
    has_read = exists().where(
        own.case_id == Assignment.case_id, own.account_id == reader.account_id
    )
    row = session.execute(
        select(Assignment.id, Assignment.case_id).where(
            Assignment.id == person.upcoming_id,
            Assignment.state == AssignmentState.PLANNED,
            or_(
                Assignment.account_id == reader.account_id,
                and_(Assignment.account_id.is_(None), ~has_read),
            ),
        )
    ).first()
    return (row.id, row.case_id) if row else None


def find_due(session: Session, reader: Reader, *, now: datetime) -> datetime | None:
    """Return when somebody goes on, where all that is left for them waits for its washout."""
    person = _get_part(session, reader)
    if not _still_reads(session, reader, person):
        return None
    protocol = restore_protocol(session.get_one(ReadingProtocol, reader.protocol_id).definition)
    return _choose(session, protocol, reader, person, now).due_at


def _still_reads(session: Session, reader: Reader, person: ReadingPerson) -> bool:
    return is_reading(session.get_one(ReadingProtocol, reader.protocol_id), person)


def measure_progress(session: Session, reader: Reader, *, now: datetime) -> ReaderProgress:
    """Return how far somebody is, themselves alone: what others did or said changes nothing but
    how many pooled reads are left.

    Raises
    ------
    ReadNotOpen
        They are nobody in the protocol.
    """
    person = _get_part(session, reader)
    is_own = Assignment.account_id == reader.account_id
    counted = session.execute(
        select(Assignment.state, func.count())
        .where(Assignment.protocol_id == reader.protocol_id, is_own)
        .group_by(Assignment.state)
    )
    states: dict[AssignmentState, int] = {row[0]: row[1] for row in counted}
    pooled = session.scalar(
        select(func.count(Assignment.case_id.distinct())).where(
            *_could_be_opened(reader, person, now), or_(Assignment.account_id.is_(None), ~is_own)
        )
    )
    active_ms = session.scalar(
        select(func.coalesce(func.sum(Review.active_ms), 0))
        .join(Assignment, Assignment.id == Review.assignment_id)
        .where(Assignment.protocol_id == reader.protocol_id, Review.account_id == reader.account_id)
    )
    opened = states.get(AssignmentState.OPEN, 0)
    done = states.get(AssignmentState.DONE, 0)
    return ReaderProgress(
        done=done,
        left=opened + states.get(AssignmentState.PLANNED, 0) + (pooled or 0),
        place=done + opened,
        active_ms=int(active_ms or 0),
    )
