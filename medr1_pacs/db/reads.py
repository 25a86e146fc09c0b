"""A read as its reader sees it: with what its phase shows, and nothing else."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import exists, or_, select
from sqlalchemy.orm import Session

from medr1_pacs.db.protocols import label_of
from medr1_pacs.db.tables import Assignment, Question, ReadingCase, ReadingPerson, Review
from medr1_pacs.db.tables import ReadingProtocol as ProtocolRow
from medr1_pacs.errors import ReadNotOpen
from medr1_pacs.questions.bank import restore_question
from medr1_pacs.records.review_words import (
    Arm,
    AssignmentState,
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
    Reader,
)
from medr1_pacs.reviews.phases import (
    ReadSoFar,
    adjudicated_phase,
    is_closed,
    running_phase,
    shows_model,
    shows_readers,
)
from medr1_pacs.reviews.protocols import restore_protocol

EVALUATED = (ReadKind.FIRST, ReadKind.SECOND)
"""The reads whose readers may disagree; a repeat is of somebody who has read the case before."""
UNFINISHED = (AssignmentState.PLANNED, AssignmentState.OPEN)


def get_read(session: Session, reader: Reader, assignment_id: int, *, now: datetime) -> OpenRead:
    """Return a read that somebody has open, or had and may still look at.

    Raises
    ------
    ReadNotOpen
        It is not theirs, not open yet, or closed: which of them is told to nobody.
    """
    read, case = get_shown(session, reader, assignment_id, now=now)
    definition = session.get_one(Question, case.question_id).definition
    question = restore_question(definition)
    locked = list_locked(session, read.id)
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
        others=_others(session, read, case) if shows_readers(last) else (),
        truth=case.truth if read.kind is ReadKind.PRACTICE and phase is None else None,
        place=read.place or 0,
    )


def get_shown(
    session: Session, reader: Reader, assignment_id: int, *, now: datetime
) -> tuple[Assignment, ReadingCase]:
    """Return a read and its case, whose pictures its reader may see; raises as `get_read`."""
    found = session.execute(
        select(Assignment, ReadingCase)
        .join(ReadingCase, ReadingCase.id == Assignment.case_id)
        .where(
            Assignment.id == assignment_id,
            Assignment.protocol_id == reader.protocol_id,
            Assignment.account_id == reader.account_id,
        )
    ).first()
    if found is None or found.Assignment.state not in (AssignmentState.OPEN, AssignmentState.DONE):
        raise ReadNotOpen("this case is not open for you: go on with the next one")
    if found.ReadingCase.withdrawn_at is not None:
        raise ReadNotOpen("the study of this case was withdrawn: go on with the next one")
    if found.Assignment.state is AssignmentState.DONE and _is_closed(
        session, found.Assignment, found.ReadingCase, now
    ):
        raise ReadNotOpen("this case is closed for you by now: go on with the next one")
    return found.Assignment, found.ReadingCase


def _is_closed(session: Session, read: Assignment, case: ReadingCase, now: datetime) -> bool:
    """Whether what somebody locked is closed to them: see `reviews.phases.is_closed`."""
    assert read.done_at is not None, "what is done was done at a time"
    row = session.get_one(ProtocolRow, read.protocol_id)
    protocol = restore_protocol(row.definition)
    is_met_again = bool(protocol.repeats) or protocol.crossover is not None
    return is_closed(
        age=now - read.done_at,
        washout=timedelta(days=protocol.washout_days),
        is_met_again=is_met_again and row.state is ProtocolState.STARTED,
        is_read_again=_is_open_again(session, read, case),
        is_hidden_elsewhere=_is_hidden_elsewhere(session, read, case),
        shows_more=_so_far(session, read.id, read.kind, read.arm).shows_more,
    )


def _is_open_again(session: Session, read: Assignment, case: ReadingCase) -> bool:
    again = (
        select(Assignment.id)
        .join(ReadingCase, ReadingCase.id == Assignment.case_id)
        .where(
            ReadingCase.case_key == case.case_key,
            Assignment.id != read.id,
            Assignment.account_id == read.account_id,
            Assignment.state == AssignmentState.OPEN,
        )
        .limit(1)
    )
    return session.scalar(again) is not None


def _is_hidden_elsewhere(session: Session, read: Assignment, case: ReadingCase) -> bool:
    """Whether something of the study, under whatever question, is hidden from the reader of a read
    by another protocol that runs: whether or not they have a read of it there, or will have."""
    others = session.execute(
        select(ProtocolRow.definition, ReadingPerson.part)
        .join(ReadingPerson, ReadingPerson.protocol_id == ProtocolRow.id)
        .where(
            ProtocolRow.id != read.protocol_id,
            ProtocolRow.state == ProtocolState.STARTED,
            ReadingPerson.account_id == read.account_id,
            ReadingPerson.unblinded_at.is_(None),
            exists().where(
                ReadingCase.protocol_id == ProtocolRow.id, ReadingCase.study_id == case.study_id
            ),
        )
    )
    return any(
        row.part is Part.ADJUDICATOR
        or adjudicated_phase(restore_protocol(row.definition).arms) is Phase.BLIND
        for row in others
    )


def list_locked(session: Session, assignment_id: int) -> list[LockedReview]:
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


def _others(session: Session, read: Assignment, case: ReadingCase) -> tuple[OtherReader, ...]:
    """Return what an adjudication is about, in an order that tells nobody who is who."""
    if read.shown_reviews is not None:
        rows = session.scalars(select(Review).where(Review.id.in_(read.shown_reviews))).all()
    else:  # opened by a release that did not fix it
        protocol = restore_protocol(session.get_one(ProtocolRow, read.protocol_id).definition)
        rows = final_reviews(session, case.id, adjudicated_phase(protocol.arms))
    return tuple(
        OtherReader(
            f"Reader {label_of(place)}",
            row.choice_text,
            row.cannot_assess,
            row.confidence,
            row.comment,
        )
        for place, row in enumerate(sorted(rows, key=lambda row: (row.record_salt or "", row.id)))
    )


def final_reviews(session: Session, case_id: int, phase: Phase) -> list[Review]:
    """Return what counts of each reader of a case in a phase: of the first of their evaluated reads
    that has it, and is done, the last answer that was locked before anything more was seen."""
    rows = session.execute(
        select(Review)
        .join(Assignment, Assignment.id == Review.assignment_id)
        .where(
            Review.case_id == case_id,
            Review.phase == phase,
            Assignment.kind.in_(EVALUATED),
            Assignment.state == AssignmentState.DONE,
            ~Review.is_after_reveal,
        )
        .order_by(Review.id)
    ).scalars()
    latest: dict[int, Review] = {}
    for row in rows:
        first = latest.setdefault(row.account_id, row)
        if row.assignment_id == first.assignment_id:
            latest[row.account_id] = row
    return list(latest.values())


def list_other_reads(session: Session, read: Assignment, case: ReadingCase) -> list[ReadSoFar]:
    """Return the other reads of its case that the reader of a read has opened, and those of its
    study by other protocols, where what is shown under one question may tell of another."""
    rows = session.execute(
        select(Assignment.id, Assignment.kind, Assignment.arm)
        .join(ReadingCase, ReadingCase.id == Assignment.case_id)
        .where(
            ReadingCase.study_id == case.study_id,
            or_(
                ReadingCase.case_key == case.case_key,
                Assignment.protocol_id != read.protocol_id,
            ),
            Assignment.account_id == read.account_id,
            Assignment.opened_at.is_not(None),
            Assignment.id != read.id,
        )
    ).all()
    return [_so_far(session, row.id, row.kind, row.arm) for row in rows]


def _so_far(session: Session, assignment_id: int, kind: ReadKind, arm: Arm) -> ReadSoFar:
    locked = session.scalars(select(Review.phase).where(Review.assignment_id == assignment_id))
    return ReadSoFar(kind=kind, arm=arm, locked=frozenset(locked))
