"""What must go: who asked for it, what went, and by which hashes it is known if it comes again."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from medr1_pacs.db.tables.base import Base
from medr1_pacs.records.words import WithdrawnKind


class Withdrawal(Base):
    """Studies that go: by a person's word, a project's retention, or the list of withdrawals."""

    __tablename__ = "withdrawal"
    __table_args__ = (
        Index(
            "ix_withdrawal_unfinished",
            "id",
            postgresql_where=text("finished_at IS NULL"),
            sqlite_where=text("finished_at IS NULL"),
        ),
    )

    project_id: Mapped[int | None] = mapped_column(ForeignKey("project.id"))
    """None: from every project; else this one stops using them."""
    reason: Mapped[str] = mapped_column(Text)
    requested_by: Mapped[str] = mapped_column(String(128))
    requested_at: Mapped[datetime]
    began_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    certificate: Mapped[dict[str, Any] | None]
    """What went, written before it does."""


class WithdrawnKey(Base):
    """A study or a patient of a withdrawal, as a keyed hash."""

    __tablename__ = "withdrawn_key"

    withdrawal_id: Mapped[int] = mapped_column(ForeignKey("withdrawal.id"), index=True)
    kind: Mapped[WithdrawnKind]
    key: Mapped[str | None] = mapped_column(String(32), index=True)
    """None: whoever has the site key writes it, before anything goes."""
    study_id: Mapped[int | None] = mapped_column(ForeignKey("study.id"), index=True)
    """None: none of that key was here."""
