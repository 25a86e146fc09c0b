"""What a reading protocol could be of, and comes to, on what the database has at the moment."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from medr1_pacs.db.protocols import find_people, refuse_started
from medr1_pacs.db.reading_conflicts import find_earlier
from medr1_pacs.db.study_answers import list_candidates
from medr1_pacs.db.tables import (
    Account,
    Project,
    ProjectMember,
    ProjectStudy,
    Question,
    Selection,
    Study,
    StudyVersion,
)
from medr1_pacs.errors import ProtocolRefused
from medr1_pacs.filters import Demo, parse_filters
from medr1_pacs.records.reviews import ReadingPlan
from medr1_pacs.records.words import Role
from medr1_pacs.reviews.conflicts import find_conflicts
from medr1_pacs.reviews.planning import plan_reading, warn_of_models
from medr1_pacs.reviews.protocols import ReadingProtocol


@dataclass(frozen=True, slots=True)
class PlannedProtocol:
    """What a protocol comes to, and nothing stands against."""

    plan: ReadingPlan
    people: Mapping[str, int]
    """Account name -> row id."""
    warnings: tuple[str, ...]


def plan_protocol(
    session: Session, project: str, protocol: ReadingProtocol, *, now: datetime
) -> PlannedProtocol:
    """Return a protocol's cases and reads, its people, and what should be thought of before.

    Raises
    ------
    ProtocolRefused
        It cannot be started, and why.
    """
    refuse_started(session, project, protocol)
    people = find_people(session, project, protocol)
    filters = None
    if protocol.filters:
        given = {name: list(values) for name, values in protocol.filters.items()}
        filters = parse_filters(given | {"demo": [Demo.YES]})
    candidates = list_candidates(session, project, protocol.questions, filters)
    if not candidates:
        raise ProtocolRefused(
            f"questions: no study of the project {project} is asked any of these at the moment"
        )
    plan = plan_reading(protocol, candidates)
    studies = {case.candidate.study_id for case in plan.cases}
    earlier = find_earlier(session, people, studies)
    conflicts = find_conflicts(protocol, plan, earlier, now=now)
    if conflicts.refusals:
        raise ProtocolRefused("\n".join(f"readers: {each}" for each in conflicts.refusals))
    versions = _find_versions(session, {case.candidate.question_row for case in plan.cases})
    return PlannedProtocol(plan, people, (*conflicts.warnings, *warn_of_models(plan, versions)))


def _find_versions(session: Session, question_rows: Collection[int]) -> dict[int, int]:
    """Return row of a question -> its version."""
    rows = session.execute(
        select(Question.id, Question.version).where(Question.id.in_(question_rows))
    )
    return {row.id: row.version for row in rows}


def list_readers(session: Session, project: str) -> list[str]:
    """Return the open accounts that may read in a project, by name."""
    return list(
        session.scalars(
            select(Account.name)
            .join(ProjectMember, ProjectMember.account_id == Account.id)
            .join(Project, ProjectMember.project_id == Project.id)
            .where(
                Project.name == project,
                ProjectMember.role == Role.READER,
                Account.closed_at.is_(None),
            )
            .order_by(Account.name)
        )
    )


def count_asked(session: Session, project: str) -> dict[str, int]:
    """Return question id -> number of a project's studies that it is asked of, the most first."""
    studies = func.count(Study.id.distinct())
    rows: Sequence[Any] = session.execute(
        select(Question.question_id, studies)
        .select_from(Selection)
        .join(StudyVersion, Selection.study_version_id == StudyVersion.id)
        .join(Study, StudyVersion.study_id == Study.id)
        .join(ProjectStudy, ProjectStudy.study_id == Study.id)
        .join(Project, ProjectStudy.project_id == Project.id)
        .join(Question, Selection.question_id == Question.id)
        .where(
            Project.name == project,
            ProjectStudy.withdrawn_at.is_(None),
            StudyVersion.version == Study.version,
            Selection.rendering_id.is_not(None),
        )
        .group_by(Question.question_id)
        .order_by(studies.desc(), Question.question_id)
    ).all()
    return dict(rows)
