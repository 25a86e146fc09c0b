"""What the readers of a reference panel say is true."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from medr1_pacs.db.assignments import final_reviews
from medr1_pacs.db.protocols import lock_protocol
from medr1_pacs.db.references import NewImport, add_import, examine
from medr1_pacs.db.tables import (
    Account,
    Assignment,
    Instance,
    Project,
    Question,
    ReadingCase,
    ReadingProtocol,
    Rendering,
    Review,
    Study,
)
from medr1_pacs.records.references import ReferenceKey, ReferenceLine
from medr1_pacs.records.review_words import CaseKind, Phase, ProtocolState
from medr1_pacs.records.words import Certainty, TruthSource
from medr1_pacs.references import ParsedReferences
from medr1_pacs.reviews.phases import panel_choice


def find_unstated_panel(session: Session) -> int | None:
    """Return a protocol whose readers are done, and whose panel has not said what is true."""
    rows = session.execute(
        select(ReadingProtocol.id, ReadingProtocol.definition)
        .where(
            ReadingProtocol.state == ProtocolState.FINISHED,
            ReadingProtocol.panel_stated_at.is_(None),
        )
        .order_by(ReadingProtocol.id)
    )
    return next((row.id for row in rows if row.definition.get("reference")), None)


def state_panel(session: Session, protocol_id: int, now: datetime) -> int:
    """Let what the readers of a protocol agreed on become a reference standard; returns of how many
    cases. A second time changes nothing."""
    row = session.get_one(ReadingProtocol, protocol_id)
    project = session.get_one(Project, row.project_id)
    stated_by = f"panel {row.name} {row.version}"[:64]
    lines = _lines(session, protocol_id, stated_by, now)
    options = dict(_options(session, protocol_id))
    # Studies are locked before the protocol, as by a withdrawal.
    examined = examine(
        session,
        project.id,
        TruthSource.READER_PANEL,
        ParsedReferences(tuple(lines), {}),
        options,
        (),
        lock=True,
    )
    row = lock_protocol(session, protocol_id)
    if row.panel_stated_at is not None:
        return 0
    add_import(
        session,
        NewImport(
            project_id=project.id,
            source=TruthSource.READER_PANEL,
            lines=len(lines),
            statements=examined.statements,
            unchanged=examined.unchanged,
            study_ids=examined.study_ids,
            stated_by=stated_by,
            imported_by=row.started_by,
            imported_at=now,
        ),
    )
    row.panel_stated_at = now
    return len(examined.statements)


def _options(session: Session, protocol_id: int) -> list[tuple[str, tuple[str, ...]]]:
    rows = session.execute(
        select(Question.question_id, Question.definition)
        .join(ReadingCase, ReadingCase.question_id == Question.id)
        .where(ReadingCase.protocol_id == protocol_id)
    )
    return [(row.question_id, tuple(row.definition["options"])) for row in rows]


def _lines(
    session: Session, protocol_id: int, stated_by: str, now: datetime
) -> list[ReferenceLine]:
    cases = session.execute(
        select(
            ReadingCase.id,
            Study.study_instance_uid,
            Instance.sop_instance_uid,
            Question.question_id,
        )
        .join(Study, Study.id == ReadingCase.study_id)
        .join(Question, Question.id == ReadingCase.question_id)
        .outerjoin(Rendering, Rendering.id == ReadingCase.rendering_id)
        .outerjoin(Instance, Instance.id == Rendering.instance_id)
        .where(
            ReadingCase.protocol_id == protocol_id,
            ReadingCase.kind == CaseKind.CASE,
            ReadingCase.withdrawn_at.is_(None),
        )
        .order_by(ReadingCase.number)
    ).all()
    lines = []
    for number, case in enumerate(cases, start=1):
        finals = final_reviews(session, case.id)
        choice = panel_choice([each.choice_text for each in finals], _adjudicated(session, case.id))
        if choice is None:
            continue
        key = (
            ReferenceKey(sop_instance_uid=case.sop_instance_uid)
            if case.sop_instance_uid
            else ReferenceKey(study_instance_uid=case.study_instance_uid)
        )
        certainty = Certainty.CONSENSUS if len(finals) > 1 else Certainty.SINGLE
        lines.append(
            ReferenceLine(number, key, case.question_id, choice, certainty, stated_by, now)
        )
    return lines


def _adjudicated(session: Session, case_id: int) -> str | None:
    """Return what the adjudicator of a case chose last."""
    return session.scalar(
        select(Review.choice_text)
        .join(Assignment, Assignment.id == Review.assignment_id)
        .join(Account, Account.id == Review.account_id)
        .where(Review.case_id == case_id, Review.phase == Phase.ADJUDICATION)
        .order_by(Review.id.desc())
        .limit(1)
    )
