"""Projects, and which of them may use a study."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from medr1_pacs.db.audit import add_event
from medr1_pacs.db.rows import find_or_add
from medr1_pacs.db.tables import Instance, Project, ProjectStudy, Study
from medr1_pacs.projects import ProjectRules
from medr1_pacs.records.received import IndexedInstance


def arrival_of(item: IndexedInstance | Instance) -> dict[str, str]:
    """Return what project rules ask of how an instance arrived."""
    return {
        "called_ae_title": item.called_ae_title,
        "calling_ae_title": item.calling_ae_title,
        "modality": str(item.attributes.get("Modality", "")),
    }


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
        title=declared.title,
        approval_number=declared.approval_number,
        purpose=declared.purpose,
        created_at=now,
    )
    return project


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
