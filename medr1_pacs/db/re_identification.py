"""Whom a pseudonym of a project stands for, and who asked; nothing of the vault."""

from __future__ import annotations

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from medr1_pacs.db.audit import add_event
from medr1_pacs.db.tables import (
    AuditEvent,
    Instance,
    Patient,
    Project,
    ProjectInstance,
    ProjectSeries,
    ProjectStudy,
    Series,
    Study,
)
from medr1_pacs.records.re_identification import NamedPatient, NamedStudy, TryListing, TryOutcome
from medr1_pacs.records.words import StudyState

SHOWN_ACTION = "patient.re_identified"
FAILED_ACTION = "patient.re_identification_failed"


def find_named(session: Session, project: str, name: str) -> list[NamedPatient]:
    """Return whom a pseudonym of a project stands for; nobody: this project knows none by it.

    Where an archive moved a picture from one patient's study to another's, both have it: then it
    stands for the one whose study has it now, and for several where none or both have.

    Parameters
    ----------
    name
        A patient's pseudonym stands for all of their studies in the project; a pseudonymous UID of
        a study, series or instance for the one study that it is of.
    """
    project_id = session.scalar(select(Project.id).where(Project.name == project))
    of_series = (
        select(Series.study_id)
        .join(ProjectSeries, ProjectSeries.series_id == Series.id)
        .where(ProjectSeries.project_id == project_id, ProjectSeries.pseudonymous_uid == name)
    )
    of_instance = (
        select(Series.study_id)
        .join(Instance, Instance.series_id == Series.id)
        .join(ProjectInstance, ProjectInstance.instance_id == Instance.id)
        .where(ProjectInstance.project_id == project_id, ProjectInstance.pseudonymous_uid == name)
    )
    rows = session.execute(
        select(
            Patient.id,
            Patient.patient_key,
            Study.id.label("study_id"),
            Study.study_instance_uid,
            or_(Study.state == StudyState.WITHDRAWN, ProjectStudy.withdrawn_at.is_not(None)).label(
                "is_withdrawn"
            ),
        )
        .select_from(ProjectStudy)
        .join(Study, ProjectStudy.study_id == Study.id)
        .join(Patient, Study.patient_id == Patient.id)
        .where(
            ProjectStudy.project_id == project_id,
            or_(
                ProjectStudy.patient_pseudonym == name,
                ProjectStudy.pseudonymous_uid == name,
                ProjectStudy.study_id.in_(of_series),
                ProjectStudy.study_id.in_(of_instance),
            ),
        )
        .order_by(Study.id)
    ).all()
    if len({row.id for row in rows}) > 1:
        is_current = Instance.superseded_at.is_(None)
        current = {
            *session.scalars(of_series.join(Instance).where(is_current)),
            *session.scalars(of_instance.where(is_current)),
        }
        rows = [row for row in rows if row.study_id in current] or rows
    studies: dict[tuple[int, str], list[NamedStudy]] = {}
    for row in rows:
        named = NamedStudy(row.study_instance_uid, bool(row.is_withdrawn))
        studies.setdefault((row.id, row.patient_key), []).append(named)
    return [NamedPatient(*patient, tuple(named)) for patient, named in studies.items()]


def add_try(
    session: Session,
    project: str,
    outcome: TryOutcome,
    patient_row_id: int | None,
    *,
    actor: str,
    reason: str,
) -> None:
    """Record that somebody asks, by nothing that the vault would have to explain."""
    is_shown = outcome is TryOutcome.SHOWN
    add_event(
        session,
        SHOWN_ACTION if is_shown else FAILED_ACTION,
        "patient",
        patient_row_id,
        actor=actor,
        new={"project": project} if is_shown else {"project": project, "outcome": outcome.value},
        reason=reason,
    )


def list_tries(session: Session, project: str, *, newest: int) -> list[TryListing]:
    """Return who asked in a project, when and why, the latest first; not about whom."""
    rows = session.scalars(
        select(AuditEvent)
        .where(
            and_(
                AuditEvent.object_type == "patient",
                AuditEvent.action.in_((SHOWN_ACTION, FAILED_ACTION)),
                AuditEvent.new_value["project"].as_string() == project,
            )
        )
        .order_by(AuditEvent.id.desc())
        .limit(newest)
    )
    return [
        TryListing(
            row.occurred_at,
            row.actor,
            TryOutcome((row.new_value or {}).get("outcome", TryOutcome.SHOWN)),
            row.reason or "",
        )
        for row in rows
    ]
