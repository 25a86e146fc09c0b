"""What research knows studies, series and instances by, kept beside them: a view needs no key."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from sqlalchemy import and_, select, update
from sqlalchemy.orm import Session

from medr1_pacs.db.facets import lock_studies, refresh_facets
from medr1_pacs.db.rows import insert_into
from medr1_pacs.db.tables import (
    Instance,
    Patient,
    Project,
    ProjectInstance,
    ProjectSeries,
    ProjectStudy,
    Rendering,
    Selection,
    Series,
    Study,
    StudyVersion,
)
from medr1_pacs.disclosure import shown_date
from medr1_pacs.pseudonyms import date_shift_days, patient_pseudonym, pseudonymous_uid

_MAY_BE_UNNAMED = and_(ProjectStudy.is_named, ProjectStudy.withdrawn_at.is_(None))


def unname_study(session: Session, study_id: int) -> None:
    """Note that more of a study was selected than has its pseudonyms."""
    session.execute(
        update(ProjectStudy)
        .where(ProjectStudy.study_id == study_id, _MAY_BE_UNNAMED)
        .values(is_named=False)
    )


def unname_project(session: Session, project_id: int) -> None:
    """Note that a project shows its studies otherwise from now on."""
    session.execute(
        update(ProjectStudy)
        .where(ProjectStudy.project_id == project_id, _MAY_BE_UNNAMED)
        .values(is_named=False)
    )


def has_unnamed(session: Session) -> bool:
    """Whether a study waits for its pseudonyms."""
    return (
        session.scalar(select(ProjectStudy.id).where(~ProjectStudy.is_named).limit(1)) is not None
    )


def name_studies(session: Session, site_key: bytes, *, limit: int) -> int:
    """Write the pseudonyms and shown dates that are missing, the oldest first; returns how many
    times a project uses a study that was."""
    waiting = session.execute(
        select(ProjectStudy.id, ProjectStudy.study_id)
        .where(~ProjectStudy.is_named)
        .order_by(ProjectStudy.id)
        .limit(limit)
    ).all()
    # Before anything of them is read: who selects more of a study meanwhile says so afterwards.
    lock_studies(session, {row.study_id for row in waiting})
    rows = session.execute(
        select(ProjectStudy, Project, Study, Patient.patient_key)
        .join(Project, ProjectStudy.project_id == Project.id)
        .join(Study, ProjectStudy.study_id == Study.id)
        .join(Patient, Study.patient_id == Patient.id)
        .where(ProjectStudy.id.in_([row.id for row in waiting]), ~ProjectStudy.is_named)
        .order_by(ProjectStudy.id)
        .with_for_update(of=ProjectStudy)
    ).all()
    for use, project, study, patient_key in rows:
        use.pseudonymous_uid = pseudonymous_uid(site_key, project.name, study.study_instance_uid)
        use.patient_pseudonym = patient_pseudonym(site_key, project.name, patient_key)
        use.date_shift_days = date_shift_days(site_key, project.name, patient_key)
        use.shown_study_date = shown_date(study.study_date, project.dates, use.date_shift_days)
        name = partial(pseudonymous_uid, site_key, project.name)
        _name_selected(session, project, study.id, name)
        use.is_named = True
    if rows:
        refresh_facets(session, *{row.Study.id for row in rows})
    return len(rows)


def _name_selected(
    session: Session, project: Project, study_id: int, name: Callable[[str], str]
) -> None:
    selected = session.execute(
        select(Series.id, Series.series_instance_uid, Instance.id, Instance.sop_instance_uid)
        .join(Instance, Instance.series_id == Series.id)
        .join(Rendering, Rendering.instance_id == Instance.id)
        .join(Selection, Selection.rendering_id == Rendering.id)
        .join(StudyVersion, Selection.study_version_id == StudyVersion.id)
        .where(StudyVersion.study_id == study_id)
        .distinct()
    ).all()
    series = {row[0]: row[1] for row in selected}
    instances = {row[2]: row[3] for row in selected}
    _add(session, ProjectSeries, "series_id", project.id, series, name)
    _add(session, ProjectInstance, "instance_id", project.id, instances, name)


def _add(
    session: Session,
    table: type[ProjectSeries] | type[ProjectInstance],
    column: str,
    project_id: int,
    uids: dict[int, str],
    name: Callable[[str], str],
) -> None:
    if not uids:
        return
    rows = [
        {"project_id": project_id, column: row_id, "pseudonymous_uid": name(uid)}
        for row_id, uid in sorted(uids.items())
    ]
    session.execute(insert_into(session, table).on_conflict_do_nothing(), rows)
