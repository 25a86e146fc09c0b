"""What is right, and who says so.

    reference_import -> reference_statement -> reference_standard

A statement is about a patient, a study, a side or a picture, and stays as it was made; the standard
says what it means for each instance that is asked about.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from medr1_pacs.db.tables.base import Base, Recorded
from medr1_pacs.records.words import Certainty, TruthSource, TruthUnit


class ReferenceImport(Base):
    """A file of truths that somebody brought; by what its lines were keyed is kept nowhere."""

    __tablename__ = "reference_import"

    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"), index=True)
    source: Mapped[TruthSource]
    lines: Mapped[int]
    """Of truths that the file has."""
    statements: Mapped[int]
    """Of them that said something new."""
    imported_by: Mapped[str] = mapped_column(String(128))
    imported_at: Mapped[datetime]


class ReferenceStatement(Recorded, Base):
    """What a line of an import says; a later version supersedes it, and it stays."""

    __tablename__ = "reference_statement"
    __table_args__ = (
        Index(None, "study_id", "question_id"),
        Index(None, "patient_id", "question_id"),
        Index(None, "instance_id", "question_id"),
    )

    import_id: Mapped[int] = mapped_column(ForeignKey("reference_import.id"), index=True)
    unit: Mapped[TruthUnit]
    patient_id: Mapped[int | None] = mapped_column(ForeignKey("patient.id"))
    """Of a unit that is a patient; the others name a study, a picture its instance too."""
    study_id: Mapped[int | None] = mapped_column(ForeignKey("study.id"))
    instance_id: Mapped[int | None] = mapped_column(ForeignKey("instance.id"))
    side: Mapped[str | None] = mapped_column(String(1))
    """`L` or `R` (PS3.3 C.7.3.1, Laterality)."""
    question_id: Mapped[str] = mapped_column(String(64))
    """As in the bank: it holds for every wording that offers the truth."""
    truth: Mapped[str | None] = mapped_column(Text)
    """The text of an option; None: it was withdrawn."""
    certainty: Mapped[Certainty | None]
    stated_by: Mapped[str] = mapped_column(String(64))
    stated_at: Mapped[datetime]
    version: Mapped[int]


class ReferenceStandard(Recorded, Base):
    """The truth of a question for an instance, and who says so. The model never sees it."""

    __tablename__ = "reference_standard"
    __table_args__ = (UniqueConstraint("instance_id", "question_id", "source", "unit", "version"),)

    instance_id: Mapped[int] = mapped_column(ForeignKey("instance.id"))
    question_id: Mapped[int] = mapped_column(ForeignKey("question.id"), index=True)
    truth: Mapped[str | None] = mapped_column(Text)
    """None: it was withdrawn with its study."""
    source: Mapped[TruthSource]
    unit: Mapped[TruthUnit] = mapped_column(default=TruthUnit.PICTURE)
    certainty: Mapped[Certainty | None]
    stated_by: Mapped[str] = mapped_column(String(64))
    version: Mapped[int] = mapped_column(default=1)
    stated_at: Mapped[datetime]
    statement_id: Mapped[int | None] = mapped_column(ForeignKey("reference_statement.id"))
    """Of an import."""
    superseded_at: Mapped[datetime | None]
    """When the source said something else of the same unit: it counts no more."""
