"""What research asks for: a narrow row an answer, what it is counted by, snapshots and exports.

    answer_facet -> answer_outcome    what was asked, and what came out
                 -> answer_origin     of whom, where in the body, by which scanner, when

The nine tables of an answer joined are too slow to filter a million of (seconds); one row of
numbers is not. Combinations of values are few and are rows of their own, so that a filter is looked
up among thousands, and one pass over the numbers counts every facet.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from medr1_pacs.db.tables.base import Base, BigId, Sha256
from medr1_pacs.db.types import AnyText
from medr1_pacs.records.words import (
    Correctness,
    Coverage,
    ExportRemoval,
    ExportState,
    ParseStatus,
    PromptKind,
)


class AnswerOutcome(Base):
    """A combination of what was asked and what came out; absent values are empty texts."""

    __tablename__ = "answer_outcome"
    __table_args__ = (
        UniqueConstraint(
            "question_id",
            "checkpoint",
            "choice",
            "parse_status",
            "correctness",
            "task",
            "kind",
            "coverage",
            "is_demo",
            name="uq_answer_outcome",
        ),
    )

    question_id: Mapped[str] = mapped_column(String(64))
    task: Mapped[str] = mapped_column(String(64))
    kind: Mapped[PromptKind]
    coverage: Mapped[Coverage]
    checkpoint: Mapped[str] = mapped_column(String(32))
    is_demo: Mapped[bool]
    parse_status: Mapped[ParseStatus]
    choice: Mapped[str] = mapped_column(String(1))
    correctness: Mapped[Correctness]


class AnswerOrigin(Base):
    """A combination of what an answer is about; absent values are empty texts."""

    __tablename__ = "answer_origin"
    __table_args__ = (
        UniqueConstraint(
            "scanner_key",
            "anatomy",
            "study_year",
            "age_band",
            "sex",
            "modality",
            name="uq_answer_origin",
        ),
    )

    modality: Mapped[str] = mapped_column(String(16))
    anatomy: Mapped[str] = mapped_column(String(64))
    scanner_key: Mapped[str] = mapped_column(String(32))
    study_year: Mapped[str] = mapped_column(String(4))
    """By the project's policy."""
    sex: Mapped[str] = mapped_column(String(16))
    age_band: Mapped[str] = mapped_column(String(8))


class AnswerFacet(Base):
    """An answer as a project may find it, written in the transaction of what it tells."""

    __tablename__ = "answer_facet"
    __table_args__ = (
        Index("ix_answer_facet_date", "project_id", "study_date", "answer_id"),
        # Each has all that counting looks at, so that it is counted from the index alone.
        Index(
            "ix_answer_facet_outcome",
            "project_id",
            "outcome_id",
            "origin_id",
            "is_current",
            "answer_id",
        ),
        Index(
            "ix_answer_facet_origin",
            "project_id",
            "origin_id",
            "outcome_id",
            "is_current",
            "answer_id",
        ),
    )

    id = None  # type: ignore[assignment] # - its key is made of two others
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"), primary_key=True)
    answer_id: Mapped[int] = mapped_column(BigId, ForeignKey("answer.id"), primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("study.id"), index=True)
    outcome_id: Mapped[int] = mapped_column(ForeignKey("answer_outcome.id"))
    origin_id: Mapped[int] = mapped_column(ForeignKey("answer_origin.id"))
    is_current: Mapped[bool]
    study_version: Mapped[int | None]
    study_date: Mapped[str | None] = mapped_column(String(10))
    """As `project_study.shown_study_date`."""
    truth: Mapped[str | None] = mapped_column(Text)
    """By the reference standard that counts; None: none is known."""


class Snapshot(Base):
    """Answers as they were when somebody gave them a name to cite."""

    __tablename__ = "snapshot"
    __table_args__ = (UniqueConstraint("project_id", "name"),)

    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))
    name: Mapped[str] = mapped_column(String(64))
    description: Mapped[str] = mapped_column(Text, default="")
    filters: Mapped[dict[str, Any]]
    fields: Mapped[list[Any]]
    made_by: Mapped[str] = mapped_column(String(128))
    made_at: Mapped[datetime]
    program_version: Mapped[str] = mapped_column(String(32))
    answers: Mapped[int]
    sha256: Mapped[str] = mapped_column(Sha256)
    """Of its answers as JSON Lines."""


class SnapshotAnswer(Base):
    """An answer of a snapshot, with what can change of an answer as it was."""

    __tablename__ = "snapshot_answer"

    id = None  # type: ignore[assignment] # - its key is made of two others
    snapshot_id: Mapped[int] = mapped_column(ForeignKey("snapshot.id"), primary_key=True)
    answer_id: Mapped[int] = mapped_column(
        BigId, ForeignKey("answer.id"), primary_key=True, index=True
    )
    frozen: Mapped[dict[str, Any]]
    """Empty once the answer was withdrawn."""
    sha256: Mapped[str | None] = mapped_column(Sha256)
    """Of the answer as a line of JSON, so that the others can be checked when one was withdrawn."""
    withdrawn_at: Mapped[datetime | None]


class ProjectExport(Base):
    """An export that somebody asked for on a page; the command line has no rows."""

    __tablename__ = "project_export"
    __table_args__ = (Index("ix_project_export_state", "state", "id"),)

    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"), index=True)
    requested_by: Mapped[str] = mapped_column(String(128))
    requested_at: Mapped[datetime]
    request: Mapped[dict[str, Any]]
    """As `records.project_exports.ExportWish`."""
    state: Mapped[ExportState]
    due_at: Mapped[datetime]
    attempts: Mapped[int] = mapped_column(default=0)
    folder: Mapped[str | None] = mapped_column(String(32), unique=True)
    """Random, another one each attempt: who carries it out works under this name or not at all."""
    claimed_by: Mapped[str | None] = mapped_column(String(128))
    heartbeat_at: Mapped[datetime | None]
    progress: Mapped[dict[str, Any] | None]
    """Table -> rows that are written."""
    expected_answers: Mapped[int | None] = mapped_column(BigInteger)
    head_size: Mapped[int | None] = mapped_column(BigInteger)
    """As of how many events of the audit log it is."""
    size_bytes: Mapped[int | None] = mapped_column(BigInteger)
    error: Mapped[str | None] = mapped_column(AnyText)
    finished_at: Mapped[datetime | None]
    removed_at: Mapped[datetime | None]
    removed_because: Mapped[ExportRemoval | None]
