"""Planned reads: claimed, drafted, locked, amended.

A claim is on a case that several readers could read, so that no two read it at once; once a phase
of it is locked the read is its reader's for good. Who claims or locks holds the protocol's row.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, exists, func, or_, select, update
from sqlalchemy.orm import Session, aliased

from medr1_pacs.db.audit import add_event, new_salt
from medr1_pacs.db.protocols import find_part, finish_if_done, label_of, lock_protocol
from medr1_pacs.db.recording import tell_records
from medr1_pacs.db.tables import (
    Account,
    Assignment,
    Question,
    ReadingCase,
    ReadingPerson,
    ReadingProtocol,
    Review,
)
from medr1_pacs.errors import ReadNotOpen, ReviewRefused
from medr1_pacs.questions.bank import restore_question
from medr1_pacs.records.review_words import (
    Arm,
    AssignmentState,
    CaseKind,
    Part,
    Phase,
    ProtocolState,
    ReadKind,
    ReasoningError,
    ReviewFlag,
)
from medr1_pacs.records.reviews import (
    Judgement,
    LockedReview,
    ModelSide,
    OpenRead,
    OtherReader,
    ReaderProgress,
)
from medr1_pacs.records.words import JsonObject
from medr1_pacs.reviews.judgements import check_judgement
from medr1_pacs.reviews.order import NextRead, WaitingRead, choose_next
from medr1_pacs.reviews.phases import (
    needs_adjudication,
    running_phase,
    shows_model,
    shows_readers,
)
from medr1_pacs.reviews.protocols import ReadingProtocol as Protocol
from medr1_pacs.reviews.protocols import restore_protocol

_UNFINISHED = (AssignmentState.PLANNED, AssignmentState.OPEN)
_EVALUATED = (ReadKind.FIRST, ReadKind.SECOND)
"""The reads whose readers may disagree; a repeat is of somebody who has read the case before."""


# -- which one is next ---------------------------------------------------------------------------


def claim_next(session: Session, protocol_id: int, account_id: int, *, now: datetime) -> NextRead:
    """Open the next read of somebody, or the one that they have open already."""
    row, person = _enter(session, protocol_id, account_id)
    if row.state is not ProtocolState.STARTED or person.unblinded_at is not None:
        return NextRead(None)
    protocol = restore_protocol(row.definition)
    _release_expired(session, protocol_id, now)
    until = now + timedelta(minutes=protocol.claim_minutes)
    opened = session.scalar(
        select(Assignment).where(
            Assignment.protocol_id == protocol_id,
            Assignment.account_id == account_id,
            Assignment.state == AssignmentState.OPEN,
        )
    )
    if opened is not None:
        opened.claimed_until = until
        return NextRead(opened.id)
    found = _choose(
        session, protocol, account_id, _waiting(session, protocol_id, account_id, person), now
    )
    if found.assignment_id is None:
        return found
    read = session.get_one(Assignment, found.assignment_id)
    read.state, read.account_id, read.claimed_until = AssignmentState.OPEN, account_id, until
    read.opened_at = read.phase_opened_at = now
    read.place = _next_place(session, protocol_id, account_id)
    add_event(
        session,
        "read.opened",
        "assignment",
        read.id,
        actor=_name_of(session, account_id),
        new={"case_id": read.case_id, "place": read.place},
    )
    return found


def preview_next(session: Session, protocol_id: int, account_id: int, *, now: datetime) -> NextRead:
    """Return what somebody would open after the read that they have open, without opening it."""
    row = session.get_one(ReadingProtocol, protocol_id)
    person = find_part(session, protocol_id, account_id)
    if person is None or row.state is not ProtocolState.STARTED or person.unblinded_at is not None:
        return NextRead(None)
    protocol = restore_protocol(row.definition)
    return _choose(
        session, protocol, account_id, _waiting(session, protocol_id, account_id, person), now
    )


def _enter(
    session: Session, protocol_id: int, account_id: int
) -> tuple[ReadingProtocol, ReadingPerson]:
    row = lock_protocol(session, protocol_id)
    person = find_part(session, protocol_id, account_id)
    if person is None:
        raise ReadNotOpen("you are no reader of this protocol")
    return row, person


def _release_expired(session: Session, protocol_id: int, now: datetime) -> None:
    """Give back to all what somebody has kept open too long without locking anything of it."""
    begun = exists().where(Review.assignment_id == Assignment.id)
    session.execute(
        update(Assignment)
        .where(
            Assignment.protocol_id == protocol_id,
            Assignment.state == AssignmentState.OPEN,
            Assignment.is_pooled,
            Assignment.claimed_until < now,
            ~begun,
        )
        .values(
            state=AssignmentState.PLANNED,
            account_id=None,
            claimed_until=None,
            place=None,
            opened_at=None,
            phase_opened_at=None,
            active_ms=0,
            draft=None,
            drafted_at=None,
        )
        .execution_options(synchronize_session=False)
    )


def _choose(
    session: Session,
    protocol: Protocol,
    account_id: int,
    waiting: Sequence[WaitingRead],
    now: datetime,
) -> NextRead:
    return choose_next(
        waiting,
        seed=protocol.order_seed,
        reader=_name_of(session, account_id),
        washout=timedelta(days=protocol.washout_days),
        now=now,
    )


def _waiting(
    session: Session, protocol_id: int, account_id: int, person: ReadingPerson
) -> list[WaitingRead]:
    """Return the planned reads that somebody could open, each case once."""
    rows = session.execute(
        select(
            Assignment.id,
            Assignment.kind,
            Assignment.account_id,
            ReadingCase.number,
            ReadingCase.study_id,
            ReadingCase.rendering_id,
            Question.question_id,
        )
        .join(ReadingCase, ReadingCase.id == Assignment.case_id)
        .join(Question, Question.id == ReadingCase.question_id)
        .where(*_could_be_opened(protocol_id, account_id, person))
        .order_by(Assignment.id)
    ).all()
    last = _last_reads(session, account_id)
    waiting: dict[tuple[int, ReadKind], WaitingRead] = {}
    for row in rows:
        key = (row.study_id, row.question_id, row.rendering_id)
        waiting.setdefault(
            (row.number, row.kind), WaitingRead(row.id, row.number, row.kind, last.get(key))
        )
    firsts = {number for number, kind in waiting if kind is ReadKind.FIRST}
    firsts |= _open_firsts(session, protocol_id, account_id)
    # A second read or a repeat waits for the first one of its case.
    return [
        read
        for (number, kind), read in waiting.items()
        if kind in (ReadKind.FIRST, ReadKind.PRACTICE, ReadKind.ADJUDICATION)
        or number not in firsts
    ]


def _could_be_opened(
    protocol_id: int, account_id: int, person: ReadingPerson
) -> list[ColumnElement[bool]]:
    """Return what holds of the planned reads that are somebody's, or anybody's."""
    own = aliased(Assignment)
    has_read = exists().where(own.case_id == Assignment.case_id, own.account_id == account_id)
    is_adjudication = Assignment.kind == ReadKind.ADJUDICATION
    return [
        Assignment.protocol_id == protocol_id,
        Assignment.state == AssignmentState.PLANNED,
        is_adjudication if person.part is Part.ADJUDICATOR else ~is_adjudication,
        or_(
            Assignment.account_id == account_id,
            and_(Assignment.account_id.is_(None), ~has_read),
        ),
    ]


def _open_firsts(session: Session, protocol_id: int, account_id: int) -> set[int]:
    """Return the numbers of the cases that somebody has open for the first time."""
    return set(
        session.scalars(
            select(ReadingCase.number)
            .join(Assignment, Assignment.case_id == ReadingCase.id)
            .where(
                Assignment.protocol_id == protocol_id,
                Assignment.account_id == account_id,
                Assignment.kind == ReadKind.FIRST,
                Assignment.state == AssignmentState.OPEN,
            )
        )
    )


def _last_reads(session: Session, account_id: int) -> dict[tuple[Any, ...], datetime]:
    """Return case -> when somebody last locked a read of it, in whatever protocol."""
    rows = session.execute(
        select(
            ReadingCase.study_id,
            Question.question_id,
            ReadingCase.rendering_id,
            func.max(Assignment.done_at).label("last"),
        )
        .join(ReadingCase, ReadingCase.id == Assignment.case_id)
        .join(Question, Question.id == ReadingCase.question_id)
        .where(Assignment.account_id == account_id, Assignment.done_at.is_not(None))
        .group_by(ReadingCase.study_id, Question.question_id, ReadingCase.rendering_id)
    )
    return {(row.study_id, row.question_id, row.rendering_id): row.last for row in rows}


def _next_place(session: Session, protocol_id: int, account_id: int) -> int:
    last = session.scalar(
        select(func.max(Assignment.place)).where(
            Assignment.protocol_id == protocol_id, Assignment.account_id == account_id
        )
    )
    return (last or 0) + 1


def _name_of(session: Session, account_id: int) -> str:
    return session.scalars(select(Account.name).where(Account.id == account_id)).one()


# -- one read ------------------------------------------------------------------------------------


def get_read(session: Session, assignment_id: int, account_id: int) -> OpenRead:
    """Return a read that somebody has open, or had: with what its phase shows, and nothing else.

    Raises
    ------
    ReadNotOpen
        It is not theirs, or not open yet: which of the two is told to nobody.
    """
    read, case = _get_shown(session, assignment_id, account_id)
    definition = session.get_one(Question, case.question_id).definition
    question = restore_question(definition)
    locked = _locked(session, read.id)
    phase = running_phase(read.arm, [each.phase for each in locked])
    last = phase or (locked[-1].phase if locked else None)
    shown = shows_model(last) and case.model_side is not None
    return OpenRead(
        assignment_id=read.id,
        protocol_id=read.protocol_id,
        case_id=case.id,
        study_id=case.study_id,
        study_version_id=case.study_version_id,
        rendering_id=case.rendering_id,
        kind=read.kind,
        arm=read.arm,
        phase=phase,
        question_id=question.id,
        stem=question.stem,
        options=question.options,
        draft=read.draft,
        active_ms=read.active_ms,
        locked=tuple(locked),
        model=ModelSide.from_json(case.model_side) if shown and case.model_side else None,
        others=_others(session, case.id) if shows_readers(last) else (),
        truth=case.truth if read.kind is ReadKind.PRACTICE and phase is None else None,
        place=read.place or 0,
    )


def _get_shown(
    session: Session, assignment_id: int, account_id: int
) -> tuple[Assignment, ReadingCase]:
    found = session.execute(
        select(Assignment, ReadingCase)
        .join(ReadingCase, ReadingCase.id == Assignment.case_id)
        .where(Assignment.id == assignment_id, Assignment.account_id == account_id)
    ).first()
    if found is None or found.Assignment.state not in (AssignmentState.OPEN, AssignmentState.DONE):
        raise ReadNotOpen("this case is not open for you: go on with the next one")
    if found.ReadingCase.withdrawn_at is not None:
        raise ReadNotOpen("the study of this case was withdrawn: go on with the next one")
    return found.Assignment, found.ReadingCase


def get_open_case(session: Session, protocol_id: int, assignment_id: int, account_id: int) -> int:
    """Return the case of a read that somebody has open, or had; raises as `get_read`."""
    read, case = _get_shown(session, assignment_id, account_id)
    if read.protocol_id != protocol_id:
        raise ReadNotOpen("this case is of another protocol")
    return case.id


def get_case_id(session: Session, assignment_id: int) -> int:
    """Return the case of a planned read."""
    return session.scalars(select(Assignment.case_id).where(Assignment.id == assignment_id)).one()


def _locked(session: Session, assignment_id: int) -> list[LockedReview]:
    """Return the latest review of each phase, in the order of the phases."""
    latest: dict[Phase, LockedReview] = {}
    for row in session.scalars(
        select(Review).where(Review.assignment_id == assignment_id).order_by(Review.id)
    ):
        latest[row.phase] = LockedReview(
            review_id=row.id,
            phase=row.phase,
            version=row.version,
            judgement=judgement_of(row),
            reason=row.reason,
            locked_at=row.locked_at,
        )
    return list(latest.values())


def judgement_of(row: Review) -> Judgement:
    """Return what a review says."""
    error = row.reasoning_error
    return Judgement(
        choice_text=row.choice_text,
        cannot_assess=row.cannot_assess,
        confidence=row.confidence,
        flags=tuple(map(ReviewFlag, row.flags)),
        reasoning_grade=row.reasoning_grade,
        reasoning_error=ReasoningError(error) if error is not None else None,
        comment=row.comment,
    )


def _others(session: Session, case_id: int) -> tuple[OtherReader, ...]:
    """Return what the readers of a case said last, in an order that tells nobody who is who."""
    finals = sorted(
        final_reviews(session, case_id), key=lambda row: (row.record_salt or "", row.id)
    )
    return tuple(
        OtherReader(
            f"Reader {label_of(place)}",
            row.choice_text,
            row.cannot_assess,
            row.confidence,
            row.comment,
        )
        for place, row in enumerate(finals)
    )


def final_reviews(session: Session, case_id: int) -> list[Review]:
    """Return what counts of each reader of a case: the last phase of their last evaluated read."""
    latest: dict[int, Review] = {}
    rows = session.execute(
        select(Review, Assignment.kind)
        .join(Assignment, Assignment.id == Review.assignment_id)
        .where(
            Review.case_id == case_id,
            Assignment.kind.in_(_EVALUATED),
            ~Review.is_after_reveal,
        )
        .order_by(Assignment.kind == ReadKind.SECOND, Review.id)
    )
    for row in rows:
        latest[row.Review.account_id] = row.Review
    return list(latest.values())


def save_draft(
    session: Session,
    assignment_id: int,
    account_id: int,
    draft: JsonObject,
    *,
    active_ms: int,
    now: datetime,
) -> None:
    """Keep what somebody has filled in so far, and their claim alive.

    Raises
    ------
    ReadNotOpen
        Somebody else was given the case since, or it is locked.
    """
    protocol_id = _protocol_of(session, assignment_id, account_id)
    row, _ = _enter(session, protocol_id, account_id)
    read = _get_open(session, assignment_id, account_id)
    minutes = restore_protocol(row.definition).claim_minutes
    read.draft, read.drafted_at = draft, now
    read.active_ms = _bounded(read, active_ms, now)
    read.claimed_until = now + timedelta(minutes=minutes)


def lock_review(
    session: Session,
    assignment_id: int,
    account_id: int,
    phase: Phase,
    judgement: Judgement,
    *,
    active_ms: int,
    now: datetime,
) -> bool:
    """Lock what somebody says of a case in its running phase; returns whether the protocol is over
    by that.

    The same said twice, as by a double click, is locked once.

    Raises
    ------
    ReadNotOpen
        Somebody else was given the case since.
    ReviewRefused
        Something is missing, or the phase was locked already with something else.
    """
    protocol_id = _protocol_of(session, assignment_id, account_id)
    row, person = _enter(session, protocol_id, account_id)
    if row.state is not ProtocolState.STARTED or person.unblinded_at is not None:
        raise ReadNotOpen("nothing is locked any more: the protocol is over for you")
    read = session.get_one(Assignment, assignment_id)
    locked = _locked(session, assignment_id)
    running = running_phase(read.arm, [each.phase for each in locked])
    if phase is not running:
        repeated = [each for each in locked if each.phase is phase and each.version == 1]
        if repeated and repeated[0].judgement == judgement:
            return finish_if_done(session, row, now)
        raise ReviewRefused("this answer is locked already; an amendment changes it, with a reason")
    read = _get_open(session, assignment_id, account_id)
    case = session.get_one(ReadingCase, read.case_id)
    if case.withdrawn_at is not None:
        raise ReadNotOpen("the study of this case was withdrawn: go on with the next one")
    question = restore_question(session.get_one(Question, case.question_id).definition)
    check_judgement(
        judgement, question.options, phase, has_reasoning=_has_reasoning(case.model_side)
    )
    assert read.phase_opened_at is not None, "who has it open opened it"
    review = _add_review(
        session,
        read,
        phase,
        judgement,
        version=1,
        active_ms=_bounded(read, active_ms, now),
        now=now,
    )
    tell_records(
        session, "review.locked", "review", [review.id], actor=_name_of(session, account_id)
    )
    read.draft, read.drafted_at, read.active_ms = None, None, 0
    read.phase_opened_at = now
    is_done = running_phase(read.arm, [*(each.phase for each in locked), phase]) is None
    if is_done:
        read.state, read.done_at, read.claimed_until = AssignmentState.DONE, now, None
        session.flush()
        plan_adjudication(session, row, case)
    session.flush()
    return finish_if_done(session, row, now)


def amend_review(
    session: Session,
    assignment_id: int,
    account_id: int,
    phase: Phase,
    judgement: Judgement,
    *,
    reason: str,
    now: datetime,
) -> None:
    """Put another answer in the place of a locked one; both are kept.

    One that is made after the reader saw more than its phase shows, as the model's side, does not
    count in any result, and says so.

    Raises
    ------
    ReviewRefused
        Nothing is locked in this phase, no reason is given, or the protocol is over.
    """
    protocol_id = _protocol_of(session, assignment_id, account_id)
    row, person = _enter(session, protocol_id, account_id)
    if row.state is not ProtocolState.STARTED or person.unblinded_at is not None:
        raise ReviewRefused("the protocol is over for you: what was locked stays as it is")
    if not reason.strip():
        raise ReviewRefused("say why the answer changes")
    read = session.get_one(Assignment, assignment_id)
    case = session.get_one(ReadingCase, read.case_id)
    if case.withdrawn_at is not None:
        raise ReadNotOpen("the study of this case was withdrawn")
    locked = {each.phase: each for each in _locked(session, assignment_id)}
    if phase not in locked:
        raise ReviewRefused("nothing is locked in this phase yet")
    question = restore_question(session.get_one(Question, case.question_id).definition)
    check_judgement(
        judgement, question.options, phase, has_reasoning=_has_reasoning(case.model_side)
    )
    latest_phase = max(locked.values(), key=lambda each: each.review_id).phase
    running = running_phase(read.arm, list(locked))
    review = _add_review(
        session,
        read,
        phase,
        judgement,
        version=locked[phase].version + 1,
        active_ms=0,
        now=now,
        reason=reason.strip(),
        is_after_reveal=(running or latest_phase) is not phase or read.kind is ReadKind.PRACTICE,
    )
    tell_records(
        session, "review.amended", "review", [review.id], actor=_name_of(session, account_id)
    )
    if read.state is AssignmentState.DONE:
        plan_adjudication(session, row, case)


def _add_review(
    session: Session,
    read: Assignment,
    phase: Phase,
    judgement: Judgement,
    *,
    version: int,
    active_ms: int,
    now: datetime,
    reason: str | None = None,
    is_after_reveal: bool = False,
) -> Review:
    opened_at = read.phase_opened_at if version == 1 else now
    assert opened_at is not None, "what is locked was opened"
    assert read.account_id is not None, "and by somebody"
    review = Review(
        assignment_id=read.id,
        case_id=read.case_id,
        account_id=read.account_id,
        phase=phase,
        version=version,
        reason=reason,
        is_after_reveal=is_after_reveal,
        choice_text=judgement.choice_text,
        cannot_assess=_text(judgement.cannot_assess),
        confidence=judgement.confidence,
        flags=sorted(judgement.flags),
        reasoning_grade=judgement.reasoning_grade,
        reasoning_error=judgement.reasoning_error,
        comment=_text(judgement.comment),
        place=read.place or 0,
        active_ms=active_ms,
        wall_ms=_milliseconds(now - opened_at),
        opened_at=opened_at,
        locked_at=now,
        record_salt=new_salt(),
    )
    session.add(review)
    session.flush()
    return review


def plan_adjudication(session: Session, row: ReadingProtocol, case: ReadingCase) -> None:
    """Ask an adjudicator about a case whose readers are done and disagree."""
    if case.kind is not CaseKind.CASE or case.withdrawn_at is not None:
        return
    if not restore_protocol(row.definition).adjudicators:
        return
    states = session.execute(
        select(Assignment.kind, Assignment.state).where(Assignment.case_id == case.id)
    ).all()
    if any(kind is ReadKind.ADJUDICATION for kind, _ in states):
        return
    if any(kind in _EVALUATED and state in _UNFINISHED for kind, state in states):
        return
    if not needs_adjudication([each.choice_text for each in final_reviews(session, case.id)]):
        return
    planned = Assignment(
        protocol_id=row.id,
        case_id=case.id,
        kind=ReadKind.ADJUDICATION,
        arm=Arm.ADJUDICATION,
        account_id=None,
        is_pooled=True,
        state=AssignmentState.PLANNED,
        active_ms=0,
    )
    session.add(planned)
    session.flush()
    add_event(session, "adjudication.planned", "assignment", planned.id, new={"case_id": case.id})


def _protocol_of(session: Session, assignment_id: int, account_id: int) -> int:
    found = session.scalar(
        select(Assignment.protocol_id).where(
            Assignment.id == assignment_id, Assignment.account_id == account_id
        )
    )
    if found is None:
        raise ReadNotOpen("this case is not open for you any more; go on with the next one")
    return found


def _get_open(session: Session, assignment_id: int, account_id: int) -> Assignment:
    read = session.scalars(
        select(Assignment)
        .where(Assignment.id == assignment_id)
        .execution_options(populate_existing=True)
    ).one()
    if read.account_id != account_id or read.state is not AssignmentState.OPEN:
        raise ReadNotOpen("this case is not open for you any more; go on with the next one")
    return read


def _has_reasoning(model_side: JsonObject | None) -> bool:
    pictures: Sequence[JsonObject] = (model_side or {}).get("pictures", ())
    return any(each["reasoning"] for each in pictures)


def _bounded(read: Assignment, active_ms: int, now: datetime) -> int:
    """Return how long a reader was at it: never less than was known, nor more than passed."""
    assert read.phase_opened_at is not None, "who has it open opened it"
    wall_ms = _milliseconds(now - read.phase_opened_at)
    return min(max(active_ms, read.active_ms), wall_ms)


def _milliseconds(span: timedelta) -> int:
    return max(0, span // timedelta(milliseconds=1))


def _text(text: str | None) -> str | None:
    return (text or "").strip() or None


# -- progress ------------------------------------------------------------------------------------


def measure_progress(session: Session, protocol_id: int, account_id: int) -> ReaderProgress:
    """Return how far somebody is, themselves alone: what others did or said changes nothing but
    how many pooled reads are left."""
    person = find_part(session, protocol_id, account_id)
    if person is None:
        raise ReadNotOpen("you are no reader of this protocol")
    counted = session.execute(
        select(Assignment.state, func.count())
        .where(Assignment.protocol_id == protocol_id, Assignment.account_id == account_id)
        .group_by(Assignment.state)
    )
    states: dict[AssignmentState, int] = {row[0]: row[1] for row in counted}
    pooled = session.scalar(
        select(func.count(Assignment.case_id.distinct())).where(
            *_could_be_opened(protocol_id, account_id, person), Assignment.account_id.is_(None)
        )
    )
    active_ms = session.scalar(
        select(func.coalesce(func.sum(Review.active_ms), 0))
        .join(Assignment, Assignment.id == Review.assignment_id)
        .where(Assignment.protocol_id == protocol_id, Review.account_id == account_id)
    )
    opened = states.get(AssignmentState.OPEN, 0)
    done = states.get(AssignmentState.DONE, 0)
    return ReaderProgress(
        done=done,
        left=opened + states.get(AssignmentState.PLANNED, 0) + (pooled or 0),
        place=done + opened,
        active_ms=int(active_ms or 0),
    )
