"""What is right, and who says so."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from medr1_pacs.db.tables.base import Base
from medr1_pacs.records.words import TruthSource


class ReferenceStandard(Base):
    """The truth of a question for an instance, and who says so. The model never sees it."""

    __tablename__ = "reference_standard"
    __table_args__ = (UniqueConstraint("instance_id", "question_id", "source", "version"),)

    instance_id: Mapped[int] = mapped_column(ForeignKey("instance.id"))
    question_id: Mapped[int] = mapped_column(ForeignKey("question.id"), index=True)
    truth: Mapped[str] = mapped_column(Text)
    source: Mapped[TruthSource]
    stated_by: Mapped[str] = mapped_column(String(64))
    version: Mapped[int] = mapped_column(default=1)
    stated_at: Mapped[datetime]
