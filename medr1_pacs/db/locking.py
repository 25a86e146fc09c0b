"""What somebody says of a case: drafted, locked, amended; and asked of an adjudicator.

Who locks holds the protocol's row.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from medr1_pacs.db.audit import add_event, new_salt
from medr1_pacs.db.claiming import add_to_pool, enter_protocol, is_reading, name_of
from medr1_pacs.db.protocols import finish_if_done
from medr1_pacs.db.reads import (
    EVALUATED,
    UNFINISHED,
    final_reviews,
    get_shown,
    list_locked,
    list_other_reads,
)
from medr1_pacs.db.recording import tell_records
from medr1_pacs.db.tables import Assignment, Question, ReadingCase, ReadingPerson, Review
from medr1_pacs.db.tables import ReadingProtocol as ProtocolRow
from medr1_pacs.errors import ReadNotOpen, ReviewRefused
from medr1_pacs.questions.bank import restore_question
from medr1_pacs.records.review_words import (
    Arm,
    AssignmentState,
    CaseKind,
    Part,
    Phase,
    ReadKind,
)
from medr1_pacs.records.reviews import Judgement, Reader
from medr1_pacs.records.words import JsonObject
from medr1_pacs.reviews.judgements import check_judgement
from medr1_pacs.reviews.phases import (
    ReadSoFar,
    adjudicated_phase,
    knows_more,
    needs_adjudication,
    running_phase,
)
from medr1_pacs.reviews.protocols import restore_protocol


def save_draft(
    session: Session,
    reader: Reader,
    assignment_id: int,
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
    ReviewRefused
        It is of a phase that is locked.
    """
    row, _ = enter_protocol(session, reader)
    read = _get_open(session, reader, assignment_id)
    running = running_phase(read.arm, [each.phase for each in list_locked(session, read.id)])
    if draft.get("phase") not in (None, running):
        raise ReviewRefused("this phase is locked already, as in another tab: open the page anew")
    minutes = restore_protocol(row.definition).claim_minutes
    read.draft, read.drafted_at = draft, now
    read.active_ms = _bounded(read, active_ms, now)
    read.claimed_until = now + timedelta(minutes=minutes)


def lock_review(
    session: Session,
    reader: Reader,
    assignment_id: int,
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
    row, person = enter_protocol(session, reader)
    read = _get_own(session, reader, assignment_id)
    locked = list_locked(session, assignment_id)
    if any((each.phase, each.version, each.judgement) == (phase, 1, judgement) for each in locked):
        return finish_if_done(session, row, now)
    if not is_reading(row, person):
        raise ReadNotOpen("nothing is locked any more: the protocol is over for you")
    if phase is not running_phase(read.arm, [each.phase for each in locked]):
        raise ReviewRefused("this answer is locked already; an amendment changes it, with a reason")
    read = _get_open(session, reader, assignment_id)
    case = session.get_one(ReadingCase, read.case_id)
    if case.withdrawn_at is not None:
        raise ReadNotOpen("the study of this case was withdrawn: go on with the next one")
    _check(session, case, phase, judgement)
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
    _tell(session, "review.locked", review)
    read.draft, read.drafted_at, read.active_ms = None, None, 0
    read.phase_opened_at = now
    if running_phase(read.arm, [*(each.phase for each in locked), phase]) is None:
        read.state, read.done_at, read.claimed_until = AssignmentState.DONE, now, None
        session.flush()
        plan_adjudication(session, row, case)
    session.flush()
    return finish_if_done(session, row, now)


def amend_review(
    session: Session,
    reader: Reader,
    assignment_id: int,
    phase: Phase,
    judgement: Judgement,
    *,
    reason: str,
    now: datetime,
) -> None:
    """Put another answer in the place of a locked one; both are kept.

    One that is made after the reader saw more than its phase shows, as the model's side, in this
    read of the case or in another, does not count in any result, and says so. The same said twice
    is kept once.

    Raises
    ------
    ReadNotOpen
        It is not theirs, or closed to them.
    ReviewRefused
        Nothing is locked in this phase, no reason is given, or the protocol is over.
    """
    row, person = enter_protocol(session, reader)
    if not is_reading(row, person):
        raise ReviewRefused("the protocol is over for you: what was locked stays as it is")
    if not (reason := reason.strip()):
        raise ReviewRefused("say why the answer changes")
    read, case = get_shown(session, reader, assignment_id, now=now)
    locked = {each.phase: each for each in list_locked(session, assignment_id)}
    if phase not in locked:
        raise ReviewRefused("nothing is locked in this phase yet")
    latest = locked[phase]
    if latest.version > 1 and (latest.judgement, latest.reason) == (judgement, reason):
        return
    _check(session, case, phase, judgement)
    own = ReadSoFar(kind=read.kind, arm=read.arm, locked=frozenset(locked))
    review = _add_review(
        session,
        read,
        phase,
        judgement,
        version=latest.version + 1,
        active_ms=0,
        now=now,
        reason=reason,
        is_after_reveal=knows_more(phase, [own, *list_other_reads(session, read, case)]),
    )
    _tell(session, "review.amended", review)
    if read.state is AssignmentState.DONE:
        plan_adjudication(session, row, case)


def _check(session: Session, case: ReadingCase, phase: Phase, judgement: Judgement) -> None:
    question = restore_question(session.get_one(Question, case.question_id).definition)
    has_reasoning = _has_reasoning(case.model_side)
    check_judgement(judgement, question.options, phase, has_reasoning=has_reasoning)


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
        cannot_assess=judgement.cannot_assess,
        confidence=judgement.confidence,
        flags=sorted(judgement.flags),
        reasoning_grade=judgement.reasoning_grade,
        reasoning_error=judgement.reasoning_error,
        comment=judgement.comment,
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


def _tell(session: Session, action: str, review: Review) -> None:
    actor = name_of(session, review.account_id)
    tell_records(session, action, "review", [review.id], actor=actor)


def _get_own(session: Session, reader: Reader, assignment_id: int) -> Assignment:
    read = session.scalars(
        select(Assignment)
        .where(
            Assignment.id == assignment_id,
            Assignment.protocol_id == reader.protocol_id,
            Assignment.account_id == reader.account_id,
        )
        .execution_options(populate_existing=True)
    ).one_or_none()
    if read is None:
        raise ReadNotOpen("this case is not open for you any more: go on with the next one")
    return read


def _get_open(session: Session, reader: Reader, assignment_id: int) -> Assignment:
    read = _get_own(session, reader, assignment_id)
    if read.state is not AssignmentState.OPEN:
        raise ReadNotOpen("this case is not open for you any more: go on with the next one")
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


# -- adjudication --------------------------------------------------------------------------------


def plan_adjudication(session: Session, row: ProtocolRow, case: ReadingCase) -> None:
    """Ask an adjudicator, where there is still one, about a case whose readers are done and
    disagree."""
    if case.kind is not CaseKind.CASE or case.withdrawn_at is not None:
        return
    is_there = exists().where(
        ReadingPerson.protocol_id == row.id,
        ReadingPerson.part == Part.ADJUDICATOR,
        ReadingPerson.unblinded_at.is_(None),
    )
    if not session.scalar(select(is_there)):
        return
    states = session.execute(
        select(Assignment.kind, Assignment.state).where(Assignment.case_id == case.id)
    ).all()
    if any(kind is ReadKind.ADJUDICATION for kind, _ in states):
        return
    if any(kind in EVALUATED and state in UNFINISHED for kind, state in states):
        return
    phase = adjudicated_phase(restore_protocol(row.definition).arms)
    if not needs_adjudication(
        [each.choice_text for each in final_reviews(session, case.id, phase)]
    ):
        return
    planned = add_to_pool(session, row.id, case.id, ReadKind.ADJUDICATION, Arm.ADJUDICATION)
    add_event(session, "adjudication.planned", "assignment", planned, new={"case_id": case.id})
