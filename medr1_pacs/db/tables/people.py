"""Who uses the answers, and for what."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import String, Text
from sqlalchemy.orm import Mapped, mapped_column

from medr1_pacs.db.tables.base import Base


class Project(Base):
    """A research project: what was approved, for which purpose."""

    __tablename__ = "project"

    name: Mapped[str] = mapped_column(String(64), unique=True)
    title: Mapped[str] = mapped_column(Text, default="")
    approval_number: Mapped[str] = mapped_column(Text, default="")
    purpose: Mapped[str] = mapped_column(Text, default="")
    retention_days: Mapped[int | None]
    ends_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
