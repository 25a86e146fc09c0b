"""What the readers of a reference panel say is true.

A truth of a picture is of an SOP instance: of one whose frames are cases of their own, nothing is
stated. Nor is anything by a panel of which no reader was left to the end: what one of them had said
when all saw the answers is not what a panel agreed on.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ScalarSelect, func, select
from sqlalchemy.orm import Session, aliased

from medr1_pacs.db.protocols import lock_protocol
from medr1_pacs.db.reads import final_reviews
from medr1_pacs.db.references import NewImport, add_import, examine
from medr1_pacs.db.tables import (
    Instance,
    Project,
    Question,
    ReadingCase,
    ReadingPerson,
    ReadingProtocol,
    Rendering,
    Review,
    Selection,
    Study,
)
from medr1_pacs.records.references import ReferenceKey, ReferenceLine
from medr1_pacs.records.review_words import CaseKind, Part, Phase, ProtocolState
from medr1_pacs.records.words import Certainty, TruthSource
from medr1_pacs.references import ParsedReferences
from medr1_pacs.reviews.phases import panel_choice

_STATED_BY_MAX = 64


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
    stated_by = _name_panel(row)
    has_readers = _has_readers(session, protocol_id)
    lines = _lines(session, protocol_id, stated_by, now) if has_readers else []
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


def _name_panel(row: ReadingProtocol) -> str:
    """Return who states what a panel says; a long name loses its end, and never the version."""
    version = f" {row.version}"
    return f"panel {row.name}"[: _STATED_BY_MAX - len(version)] + version


def _has_readers(session: Session, protocol_id: int) -> bool:
    """Whether a reader is left who was not let see the answers."""
    found = session.scalar(
        select(ReadingPerson.id)
        .where(
            ReadingPerson.protocol_id == protocol_id,
            ReadingPerson.part == Part.READER,
            ReadingPerson.unblinded_at.is_(None),
        )
        .limit(1)
    )
    return found is not None


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
            _count_frames().label("frames"),
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
        if case.frames > 1:
            continue
        finals = final_reviews(session, case.id, Phase.BLIND)
        decided = _find_adjudication(session, case.id)
        if decided is not None and decided.choice_text is None:
            continue  # whoever decides could not, whatever readers amended since
        choice = panel_choice(
            [each.choice_text for each in finals], decided.choice_text if decided else None
        )
        if choice is None:
            continue
        key = (
            ReferenceKey(sop_instance_uid=case.sop_instance_uid)
            if case.sop_instance_uid
            else ReferenceKey(study_instance_uid=case.study_instance_uid)
        )
        lines.append(
            ReferenceLine(
                number,
                key,
                case.question_id,
                choice,
                _certainty(len(finals), is_adjudicated=decided is not None),
                stated_by,
                now,
            )
        )
    return lines


def _certainty(readers: int, *, is_adjudicated: bool) -> Certainty:
    if is_adjudicated:
        return Certainty.ADJUDICATED
    return Certainty.CONSENSUS if readers > 1 else Certainty.SINGLE


def _count_frames() -> ScalarSelect[int]:
    """Build how many frames of the picture of a case its question is asked about; 0 of a study."""
    chosen = aliased(Rendering)
    return (
        select(func.count(chosen.frame_number.distinct()))
        .select_from(Selection)
        .join(chosen, chosen.id == Selection.rendering_id)
        .where(
            Selection.study_version_id == ReadingCase.study_version_id,
            Selection.question_id == ReadingCase.question_id,
            chosen.instance_id == Rendering.instance_id,
        )
        .correlate(ReadingCase, Rendering)
        .scalar_subquery()
    )


def _find_adjudication(session: Session, case_id: int) -> Review | None:
    """Return what the adjudicator of a case said last; None: nobody was asked, or answered."""
    return session.scalar(
        select(Review)
        .where(
            Review.case_id == case_id,
            Review.phase == Phase.ADJUDICATION,
            ~Review.is_after_reveal,
        )
        .order_by(Review.id.desc())
        .limit(1)
    )
