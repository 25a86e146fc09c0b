"""What a withdrawal takes of reading: the texts of cases and reviews, and reads that are planned.

Row ids, numbers, hashes and times stay, so that it can be counted what was withdrawn.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from medr1_pacs.db.audit import add_event
from medr1_pacs.db.protocols import finish_if_done, lock_protocol
from medr1_pacs.db.reads import UNFINISHED
from medr1_pacs.db.recording import keep_commitments
from medr1_pacs.db.tables import Assignment, ReadingCase, ReadingProtocol, Review, StudyAnswer
from medr1_pacs.records.review_words import AssignmentState


def take_reads(session: Session, study_id: int, project_id: int, now: datetime) -> None:
    """Take a study out of a project's reading protocols; a second time changes nothing."""
    cases = session.execute(
        select(ReadingCase.id, ReadingCase.protocol_id, ReadingCase.study_answer_id)
        .join(ReadingProtocol, ReadingProtocol.id == ReadingCase.protocol_id)
        .where(
            ReadingCase.study_id == study_id,
            ReadingProtocol.project_id == project_id,
            ReadingCase.withdrawn_at.is_(None),
        )
    ).all()
    for protocol_id in sorted({case.protocol_id for case in cases}):
        row = lock_protocol(session, protocol_id)
        ids = {case.id for case in cases if case.protocol_id == protocol_id}
        _take_cases(session, ids, now)
        for case_id in sorted(ids):
            add_event(session, "case.withdrawn", "reading_case", case_id)
        finish_if_done(session, row, now)
    answers = {case.study_answer_id for case in cases}
    session.execute(
        update(StudyAnswer).where(StudyAnswer.id.in_(answers)).values(choice_text=None, score=None)
    )


def _take_cases(session: Session, case_ids: set[int], now: datetime) -> None:
    keep_commitments(session, "reading_case", case_ids)
    reviews = set(session.scalars(select(Review.id).where(Review.case_id.in_(case_ids))))
    keep_commitments(session, "review", reviews)
    session.execute(
        update(ReadingCase)
        .where(ReadingCase.id.in_(case_ids))
        .values(model_side=None, truth=None, withdrawn_at=now)
    )
    session.execute(
        update(Review)
        .where(Review.case_id.in_(case_ids))
        .values(choice_text=None, cannot_assess=None, comment=None, reason=None, flags=[])
    )
    session.execute(
        update(Assignment)
        .where(Assignment.case_id.in_(case_ids), Assignment.state.in_(UNFINISHED))
        .values(state=AssignmentState.DROPPED, claimed_until=None)
    )
    session.execute(update(Assignment).where(Assignment.case_id.in_(case_ids)).values(draft=None))
