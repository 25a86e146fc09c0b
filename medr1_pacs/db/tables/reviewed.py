"""What readers judge, who reads what, and what they said.

    reading_protocol -> reading_case -> assignment -> review
                     -> reading_person

A case is a study under a question, or a picture of it where the question is about each picture;
the model's side of it is its `study_answer`, frozen into the case when the protocol starts.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from medr1_pacs.db.tables.base import Base, BigId, Recorded, Sha256
from medr1_pacs.db.types import AnyText
from medr1_pacs.records.review_words import (
    Arm,
    AssignmentState,
    CaseKind,
    Part,
    Phase,
    ProtocolState,
    ReadKind,
)
from medr1_pacs.records.words import TruthSource


class OptionScore(Base):
    """How likely an engine held an option to be, where it says so."""

    __tablename__ = "option_score"
    __table_args__ = (UniqueConstraint("generation_id", "letter"),)

    generation_id: Mapped[int] = mapped_column(ForeignKey("generation.id"))
    letter: Mapped[str] = mapped_column(String(1))
    score: Mapped[float]
    """0 to 1; over the options of a prompt they sum up to 1."""


class StudyAnswer(Base):
    """What the model says of a study: the answers of its chosen frames, put together."""

    __tablename__ = "study_answer"
    __table_args__ = (Index(None, "study_version_id", "question_id"),)

    study_version_id: Mapped[int] = mapped_column(ForeignKey("study_version.id"))
    question_id: Mapped[int] = mapped_column(ForeignKey("question.id"), index=True)
    rendering_id: Mapped[int | None] = mapped_column(ForeignKey("rendering.id"))
    """The picture, where the question's answers are not put together."""
    checkpoint_id: Mapped[int | None] = mapped_column(ForeignKey("checkpoint.id"))
    """None: several, and then it is mixed."""
    aggregate: Mapped[str] = mapped_column(String(16))
    choice_text: Mapped[str | None] = mapped_column(Text)
    """None: no picture has a choice, or it is mixed."""
    answers: Mapped[int]
    parsed: Mapped[int]
    """Of these answers, those with a choice."""
    is_mixed: Mapped[bool]
    """Of several question versions or checkpoints: no case."""
    score: Mapped[float | None]
    """How likely a positive option is, 0 to 1, by `option_score`."""
    made_at: Mapped[datetime]


class StudyAnswerPart(Base):
    """An answer that a study's answer was put together from."""

    __tablename__ = "study_answer_part"

    id = None  # type: ignore[assignment] # - its key is made of two others
    study_answer_id: Mapped[int] = mapped_column(ForeignKey("study_answer.id"), primary_key=True)
    answer_id: Mapped[int] = mapped_column(
        BigId, ForeignKey("answer.id"), primary_key=True, index=True
    )


class ReadingProtocol(Base):
    """Which cases are read by whom and how; it never changes once it is started."""

    __tablename__ = "reading_protocol"
    __table_args__ = (UniqueConstraint("project_id", "name", "version"),)

    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))
    name: Mapped[str] = mapped_column(String(64))
    version: Mapped[int]
    title: Mapped[str] = mapped_column(Text)
    definition: Mapped[dict[str, Any]]
    definition_sha256: Mapped[str] = mapped_column(Sha256)
    state: Mapped[ProtocolState] = mapped_column(index=True)
    started_by: Mapped[str] = mapped_column(String(128))
    started_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    """When its last read was locked, or it was stopped."""
    panel_stated_at: Mapped[datetime | None]
    """When what its readers agreed on became a reference standard."""


class ReadingPerson(Base):
    """What somebody is in a protocol; who is one sees no answer of it until it is over."""

    __tablename__ = "reading_person"
    __table_args__ = (UniqueConstraint("protocol_id", "account_id"),)

    protocol_id: Mapped[int] = mapped_column(ForeignKey("reading_protocol.id"))
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"), index=True)
    part: Mapped[Part]
    label: Mapped[str] = mapped_column(String(16))
    """`Reader A`: as others know them."""
    unblinded_at: Mapped[datetime | None]
    """When somebody let them see the answers before the protocol was over: they read no more."""
    upcoming_id: Mapped[int | None] = mapped_column(BigId)
    """The planned read that followed in their order when they last opened one: its pictures may be
    loaded ahead."""


class ReadingCase(Recorded, Base):
    """A case of a protocol as it was when that started: what arrives later changes nothing."""

    __tablename__ = "reading_case"
    __table_args__ = (
        UniqueConstraint("protocol_id", "number"),
        Index(None, "study_id", "question_id"),
        Index(None, "case_key"),
    )

    protocol_id: Mapped[int] = mapped_column(ForeignKey("reading_protocol.id"))
    number: Mapped[int]
    """From 1, in the order of their studies; readers meet them in orders of their own."""
    case_key: Mapped[str] = mapped_column(String(160))
    """The same for the same case in another protocol: see `records.reviews.make_case_key`."""
    kind: Mapped[CaseKind]
    study_id: Mapped[int] = mapped_column(ForeignKey("study.id"))
    study_version_id: Mapped[int] = mapped_column(ForeignKey("study_version.id"))
    question_id: Mapped[int] = mapped_column(ForeignKey("question.id"))
    rendering_id: Mapped[int | None] = mapped_column(ForeignKey("rendering.id"))
    """The picture, where each is a case."""
    study_answer_id: Mapped[int | None] = mapped_column(ForeignKey("study_answer.id"))
    """None: no model answered; blind reading needs none."""
    model_side: Mapped[dict[str, Any] | None]
    """What is shown of the model: its choice, and choice, reasoning and picture of each frame.
    The record's hash, which is in the log before anybody reads, commits to it."""
    truth: Mapped[str | None] = mapped_column(Text)
    """By the reference standard that counted when the protocol started."""
    truth_source: Mapped[TruthSource | None]
    pictures: Mapped[list[Any] | None]
    """What its readers page through, as `[[series id, [[instance id, frames], ...]], ...]` in the
    order in which it is shown. None: of a release that did not freeze it."""
    withdrawn_at: Mapped[datetime | None]


class Assignment(Base):
    """A planned read of a case, and its draft while somebody has it open."""

    __tablename__ = "assignment"
    __table_args__ = (
        Index(None, "protocol_id", "account_id", "state"),
        Index(None, "protocol_id", "state"),
        Index(None, "account_id", "case_id"),
    )

    protocol_id: Mapped[int] = mapped_column(ForeignKey("reading_protocol.id"))
    case_id: Mapped[int] = mapped_column(ForeignKey("reading_case.id"), index=True)
    kind: Mapped[ReadKind]
    arm: Mapped[Arm]
    account_id: Mapped[int | None] = mapped_column(ForeignKey("account.id"))
    """Who reads it; None: whoever of the readers comes first."""
    is_pooled: Mapped[bool]
    """It goes back to the others when its claim expires before anything is locked."""
    state: Mapped[AssignmentState]
    claimed_until: Mapped[datetime | None]
    place: Mapped[int | None]
    """How many reads of the protocol the reader had opened when this was, itself included."""
    opened_at: Mapped[datetime | None]
    """When its reader first had it open."""
    phase_opened_at: Mapped[datetime | None]
    active_ms: Mapped[int] = mapped_column(BigId, default=0)
    """Of the running phase: how long the reader was at it, by their browser."""
    draft: Mapped[dict[str, Any] | None]
    """What is filled in so far; it stays with its reader."""
    drafted_at: Mapped[datetime | None]
    done_at: Mapped[datetime | None]
    shown_reviews: Mapped[list[Any] | None]
    """Of an adjudication: the reviews that it is about, fixed when it is opened."""


class Review(Recorded, Base):
    """What a reader said of a case, locked; another one with a reason may take its place."""

    __tablename__ = "review"
    __table_args__ = (
        UniqueConstraint("assignment_id", "phase", "version"),
        Index(None, "account_id", "case_id"),
    )

    assignment_id: Mapped[int] = mapped_column(ForeignKey("assignment.id"))
    case_id: Mapped[int] = mapped_column(ForeignKey("reading_case.id"), index=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"))
    phase: Mapped[Phase]
    version: Mapped[int]
    """From 1; a higher one is an amendment."""
    reason: Mapped[str | None] = mapped_column(AnyText)
    """Of an amendment."""
    is_after_reveal: Mapped[bool]
    """An amendment by somebody who had seen more than its phase shows: kept, and not evaluated."""
    choice_text: Mapped[str | None] = mapped_column(Text)
    """None: it cannot be assessed."""
    cannot_assess: Mapped[str | None] = mapped_column(AnyText)
    """Why; None: there is a choice."""
    confidence: Mapped[int | None]
    """0 to 100."""
    flags: Mapped[list[Any]]
    reasoning_grade: Mapped[int | None]
    """Of the model's reasoning, 1 (wrong) to 5 (as a colleague would write it)."""
    reasoning_error: Mapped[str | None] = mapped_column(String(16))
    comment: Mapped[str | None] = mapped_column(AnyText)
    place: Mapped[int]
    active_ms: Mapped[int] = mapped_column(BigId)
    wall_ms: Mapped[int] = mapped_column(BigId)
    """Somebody may come back to a case after months, which 32 bits do not hold."""
    opened_at: Mapped[datetime]
    locked_at: Mapped[datetime]
