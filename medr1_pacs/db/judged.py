"""All that was said of a reading protocol's cases, in a few queries however many there are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import Session

from medr1_pacs.db.reads import judgement_of
from medr1_pacs.db.tables import (
    Assignment,
    AuditEvent,
    ProjectInstance,
    ProjectStudy,
    Question,
    ReadingCase,
    ReadingPerson,
    ReadingProtocol,
    Rendering,
    Review,
    StudyAnswer,
)
from medr1_pacs.questions.bank import restore_question
from medr1_pacs.questions.schema import Aggregate
from medr1_pacs.questions.schema import Question as AskedQuestion
from medr1_pacs.records.judged import JudgedCase, JudgedProtocol, JudgedRead, JudgedReview
from medr1_pacs.records.review_words import Arm, AssignmentState, Part, ReadKind
from medr1_pacs.records.reviews import Judgement
from medr1_pacs.records.words import JsonObject

_ORDER = tuple(ReadKind)
_NOTHING_SAID = Judgement()


def get_judged_protocol(session: Session, protocol_id: int) -> JudgedProtocol:
    """Return a protocol with its cases, their reads and reviews, amendments and practice too."""
    row = session.get_one(ReadingProtocol, protocol_id)
    people = {
        person.account_id: person
        for person in session.scalars(
            select(ReadingPerson)
            .where(ReadingPerson.protocol_id == protocol_id)
            .order_by(ReadingPerson.id)
        )
    }
    reads = _list_reads(session, protocol_id, people)
    states = dict(
        session.execute(
            select(Assignment.state, func.count())
            .where(Assignment.protocol_id == protocol_id)
            .group_by(Assignment.state)
        ).all()
    )
    return JudgedProtocol(
        protocol_id=row.id,
        name=row.name,
        version=row.version,
        title=row.title,
        state=row.state,
        started_at=row.started_at,
        ended_at=row.ended_at,
        arms=_list_arms(session, protocol_id),
        readers=[each.label for each in people.values() if each.part is Part.READER],
        cases=_list_cases(session, row, reads),
        planned_reads=sum(states.values()),
        done_reads=states.get(AssignmentState.DONE, 0),
    )


def _list_arms(session: Session, protocol_id: int) -> list[Arm]:
    """Return the arms in which cases are read, by what was planned at the start."""
    found = session.scalars(
        select(Assignment.arm)
        .where(
            Assignment.protocol_id == protocol_id,
            Assignment.kind.in_((ReadKind.FIRST, ReadKind.SECOND)),
        )
        .distinct()
    )
    return sorted(found, key=tuple(Arm).index)


def _list_cases(
    session: Session, row: ReadingProtocol, reads: Mapping[int, list[JudgedRead]]
) -> list[JudgedCase]:
    found = session.execute(
        select(
            ReadingCase,
            ProjectStudy.pseudonymous_uid,
            ProjectStudy.patient_pseudonym,
            ProjectInstance.pseudonymous_uid.label("picture_uid"),
            Rendering.frame_number,
            StudyAnswer.score,
        )
        .outerjoin(
            ProjectStudy,
            and_(
                ProjectStudy.study_id == ReadingCase.study_id,
                ProjectStudy.project_id == row.project_id,
            ),
        )
        .outerjoin(Rendering, Rendering.id == ReadingCase.rendering_id)
        .outerjoin(
            ProjectInstance,
            and_(
                ProjectInstance.instance_id == Rendering.instance_id,
                ProjectInstance.project_id == row.project_id,
            ),
        )
        .outerjoin(StudyAnswer, StudyAnswer.id == ReadingCase.study_answer_id)
        .where(ReadingCase.protocol_id == row.id)
        .order_by(ReadingCase.number)
    ).all()
    questions = _get_questions(session, row.id)
    return [_case(each, questions[each.ReadingCase.question_id], reads) for each in found]


def _get_questions(session: Session, protocol_id: int) -> dict[int, AskedQuestion]:
    used = select(ReadingCase.question_id).where(ReadingCase.protocol_id == protocol_id)
    rows = session.execute(select(Question.id, Question.definition).where(Question.id.in_(used)))
    return {row.id: restore_question(row.definition) for row in rows}


def _case(found: Any, question: AskedQuestion, reads: Mapping[int, list[JudgedRead]]) -> JudgedCase:
    case = found.ReadingCase
    side: JsonObject = case.model_side or {}
    picture = f"{found.picture_uid} {found.frame_number}" if found.picture_uid else ""
    return JudgedCase(
        case_id=case.id,
        number=case.number,
        kind=case.kind,
        study=found.pseudonymous_uid or "",
        # Not named yet, or no more: a patient of its own is the least that is known.
        patient=found.patient_pseudonym or f"study-{case.study_id}",
        picture=picture,
        question_id=question.id,
        question_version=question.version,
        options=question.options,
        positive=question.positive,
        is_grade=question.aggregate is Aggregate.WORST_GRADE,
        truth=case.truth,
        model=case.model_side["choice_text"] if case.model_side else None,
        has_model=case.model_side is not None,
        model_score=_score(case.model_side, found.score) if case.model_side else None,
        checkpoint=side.get("checkpoint", ""),
        checkpoint_revision=side.get("checkpoint_revision", ""),
        is_demo=side.get("is_demo", False),
        is_withdrawn=case.withdrawn_at is not None,
        reads=reads.get(case.id, []),
    )


def _score(side: JsonObject, kept: float | None) -> float | None:
    """Return the model's score as it is frozen under the case's hash; earlier releases kept it
    beside the case alone."""
    if "score" not in side:
        return kept
    return None if side["score"] is None else float(side["score"])


def _list_reads(
    session: Session, protocol_id: int, people: Mapping[int, ReadingPerson]
) -> dict[int, list[JudgedRead]]:
    """Return case -> the reads of which anything is locked."""
    reviews: dict[int, list[JudgedReview]] = defaultdict(list)
    hashes = _get_hashes(session, protocol_id)
    for review, withdrawn_at in session.execute(
        select(Review, ReadingCase.withdrawn_at)
        .join(ReadingCase, ReadingCase.id == Review.case_id)
        .where(ReadingCase.protocol_id == protocol_id)
        .order_by(Review.id)
    ):
        reviews[review.assignment_id].append(
            JudgedReview(
                review_id=review.id,
                phase=review.phase,
                version=review.version,
                judgement=judgement_of(review) if withdrawn_at is None else _NOTHING_SAID,
                reason=review.reason,
                is_after_reveal=review.is_after_reveal,
                place=review.place,
                active_ms=review.active_ms,
                wall_ms=review.wall_ms,
                locked_at=review.locked_at,
                record_sha256=hashes.get(review.id),
            )
        )
    rows = session.execute(
        select(
            Assignment.id,
            Assignment.case_id,
            Assignment.kind,
            Assignment.arm,
            Assignment.account_id,
            Assignment.shown_reviews,
        ).where(Assignment.protocol_id == protocol_id, Assignment.account_id.is_not(None))
    ).all()
    reads: dict[int, list[JudgedRead]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: (people[row.account_id].id, _ORDER.index(row.kind))):
        if row.id in reviews:
            reads[row.case_id].append(
                JudgedRead(
                    reader=people[row.account_id].label,
                    account_id=row.account_id,
                    kind=row.kind,
                    arm=row.arm,
                    reviews=reviews[row.id],
                    shown_reviews=row.shown_reviews,
                )
            )
    return reads


def _get_hashes(session: Session, protocol_id: int) -> dict[int, str]:
    """Return review -> hash of its record, by the event that tells of it."""
    rows = session.execute(
        select(AuditEvent.object_id, AuditEvent.record_sha256)
        .join(Review, Review.id == AuditEvent.object_id)
        .join(ReadingCase, ReadingCase.id == Review.case_id)
        .where(
            ReadingCase.protocol_id == protocol_id,
            AuditEvent.object_type == "review",
            or_(AuditEvent.action == "review.locked", AuditEvent.action == "review.amended"),
        )
    )
    return {row.object_id: row.record_sha256 for row in rows if row.object_id and row.record_sha256}
