"""Retention: which studies a project may no longer keep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from medr1_pacs.db.tables import Project, ProjectStudy, Study, Withdrawal, WithdrawnKey


@dataclass(frozen=True, slots=True)
class Retention:
    """How long a project keeps its studies."""

    project: str
    retention_days: int
    ends_at: datetime | None
    """When the project ends; None: days count from when a study was added."""

    @property
    def due_at(self) -> datetime | None:
        """When all that the project has is due; None: each study by itself."""
        return self.ends_at + timedelta(days=self.retention_days) if self.ends_at else None

    def describe(self) -> str:
        """Say why something is due."""
        since = "its end" if self.ends_at else "the study was added"
        return f"{self.retention_days} days of retention in {self.project} since {since} are over"


def list_retentions(session: Session) -> list[Retention]:
    """Return the projects of which something goes by itself."""
    rows = session.execute(
        select(Project.name, Project.retention_days, Project.ends_at)
        .where(Project.retention_days.is_not(None))
        .order_by(Project.name)
    )
    return [Retention(row.name, row.retention_days, row.ends_at) for row in rows]


def count_due(session: Session, retention: Retention, at: datetime) -> int:
    """Return how many studies a project may no longer keep at a time."""
    due = _due(retention, at)
    if due is None:
        return 0
    found = select(func.count(ProjectStudy.id)).join(Project).where(*due)
    return session.scalar(found) or 0


def find_due(session: Session, retention: Retention, at: datetime, *, limit: int) -> Sequence[int]:
    """Return studies that a project may no longer keep, and that nobody asked to withdraw yet; the
    first added first."""
    due = _due(retention, at)
    if due is None:
        return []
    asked = (
        select(WithdrawnKey.study_id)
        .join(Withdrawal, WithdrawnKey.withdrawal_id == Withdrawal.id)
        .where(Withdrawal.finished_at.is_(None), WithdrawnKey.study_id.is_not(None))
    )
    return session.scalars(
        select(ProjectStudy.study_id)
        .join(Project)
        .join(Study, ProjectStudy.study_id == Study.id)
        .where(*due, ProjectStudy.study_id.not_in(asked))
        .order_by(ProjectStudy.id)
        .limit(limit)
    ).all()


def _due(retention: Retention, at: datetime) -> list[ColumnElement[bool]] | None:
    uses = [Project.name == retention.project, ProjectStudy.withdrawn_at.is_(None)]
    if retention.due_at is not None:
        return uses if retention.due_at <= at else None
    return [*uses, ProjectStudy.added_at <= at - timedelta(days=retention.retention_days)]
