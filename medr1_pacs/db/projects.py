"""Projects, and which of them may use a study."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime, time, timedelta
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from medr1_pacs.db.audit import add_event
from medr1_pacs.db.facets import refresh_facets
from medr1_pacs.db.naming import unname_project
from medr1_pacs.db.rows import find_or_add
from medr1_pacs.db.standards import derive_for_study
from medr1_pacs.db.tables import Instance, Project, ProjectStudy, Study
from medr1_pacs.projects import Project as DeclaredProject
from medr1_pacs.projects import ProjectRules
from medr1_pacs.records.projects import ProjectListing
from medr1_pacs.records.received import IndexedInstance


def arrival_of(item: IndexedInstance | Instance) -> dict[str, str]:
    """Return what project rules ask of how an instance arrived."""
    return {
        "called_ae_title": item.called_ae_title,
        "calling_ae_title": item.calling_ae_title,
        "modality": str(item.attributes.get("Modality", "")),
    }


_DECLARED = ("title", "approval_number", "purpose", "dates", "retention_days", "ends_at")


def _declared(project: DeclaredProject) -> dict[str, Any]:
    """Return what a row of a project says; it ends with its last day, in UTC."""
    values = {name: getattr(project, name) for name in _DECLARED if name != "ends_at"}
    end = project.ends_on
    after = datetime.combine(end + timedelta(days=1), time(), UTC) if end else None
    return values | {"ends_at": after}


def _told(values: Mapping[str, Any]) -> dict[str, Any]:
    ends_at = values["ends_at"]
    return dict(values) | {"ends_at": ends_at.isoformat() if ends_at else None}


def declare_projects(session: Session, rules: ProjectRules, now: datetime) -> None:
    """Make or change the rows of declared projects; one that is declared no more stays."""
    for declared in rules.projects:
        values = _declared(declared)
        row, is_new = find_or_add(
            session, Project, {"name": declared.name}, **values, created_at=now
        )
        old = {name: getattr(row, name) for name in _DECLARED}
        if not is_new and old == values:
            continue
        if old["dates"] != values["dates"]:
            unname_project(session, row.id)
        for name, value in values.items():
            setattr(row, name, value)
        add_event(
            session,
            "project.declared",
            "project",
            row.id,
            old=None if is_new else _told(old),
            new={"name": declared.name, **_told(values)},
        )


def find_or_add_project(
    session: Session, name: str, rules: ProjectRules, now: datetime
) -> Project | None:
    """Return the row of a project, added when the site declares it; None: there is no such one."""
    declared = {project.name: project for project in rules.projects}.get(name)
    if declared is None:
        return session.scalar(select(Project).where(Project.name == name))
    project, _ = find_or_add(
        session,
        Project,
        {"name": name},
        **_declared(declared),
        created_at=now,
    )
    return project


def list_projects(session: Session, names: Collection[str]) -> list[ProjectListing]:
    """Return projects by their names, in order."""
    studies = (
        select(func.count(ProjectStudy.id))
        .where(ProjectStudy.project_id == Project.id, ProjectStudy.withdrawn_at.is_(None))
        .scalar_subquery()
    )
    rows = session.execute(
        select(Project, studies.label("studies"))
        .where(Project.name.in_(names))
        .order_by(Project.name)
    )
    return [
        ProjectListing(
            name=row.Project.name,
            title=row.Project.title,
            approval_number=row.Project.approval_number,
            purpose=row.Project.purpose,
            dates=row.Project.dates,
            studies=row.studies,
        )
        for row in rows
    ]


def list_project_names(session: Session, rules: ProjectRules) -> list[str]:
    """Return every project that is declared, or once was."""
    return sorted({*session.scalars(select(Project.name)), *(p.name for p in rules.projects)})


def add_to_projects(
    session: Session,
    study: Study,
    arrival: Mapping[str, str],
    rules: ProjectRules,
    now: datetime,
) -> None:
    """Add a study to the projects that an instance of it brings by the way it arrived."""
    for name, rule in rules.match(arrival).items():
        project = find_or_add_project(session, name, rules, now)
        assert project is not None, "rules name declared projects alone"
        key = {"project_id": project.id, "study_id": study.id}
        _, is_new = find_or_add(session, ProjectStudy, key, rule=rule, added_at=now)
        if is_new:
            add_event(
                session,
                "study.project_added",
                "study",
                study.id,
                new={"project": name},
                reason=rule,
            )
            # What was stated of its patient before does not know it yet.
            session.flush()
            derive_for_study(session, study)
            refresh_facets(session, study.id)
