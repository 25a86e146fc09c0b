"""Studies for the person who looks after the service: page by page, and one in detail."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from medr1_pacs.db.associations import list_open_associations
from medr1_pacs.db.audit import list_events
from medr1_pacs.db.overview import answers_of_study, find_modalities, instances_of_study
from medr1_pacs.db.set_aside import find_studies_of, list_set_aside
from medr1_pacs.db.tables import (
    Generation,
    Instance,
    Project,
    ProjectStudy,
    Prompt,
    Question,
    Selection,
    Series,
    Study,
    StudyVersion,
)
from medr1_pacs.processes import ASSOCIATION_SILENT_S
from medr1_pacs.records.operating import (
    InstanceDetail,
    PromptCount,
    SelectionDetail,
    SeriesDetail,
    StudyDetail,
    StudyPage,
    StudyQuery,
    StudyRow,
    StudySort,
    VersionDetail,
    WaitingPrompts,
)
from medr1_pacs.records.words import GenerationState, StudyState

STUDIES_A_PAGE = 50
COUNTED_STUDIES = 1000
"""Of how many studies, the latest that match, instances or answers are counted to sort by them."""
DETAILS_MAX = 200
"""How many rows of a kind the page of one study has."""

_PENDING = (GenerationState.WAITING, GenerationState.GENERATED)


def list_study_page(session: Session, query: StudyQuery, now: datetime) -> StudyPage:
    """Return one page of the studies that a query names."""
    skip = (query.page - 1) * STUDIES_A_PAGE
    ids = session.scalars(_sorted(query).offset(skip).limit(STUDIES_A_PAGE + 1)).all()
    shown = ids[:STUDIES_A_PAGE]
    return StudyPage(tuple(_rows(session, shown, now)), has_more=len(ids) > len(shown))


def _sorted(query: StudyQuery) -> Select[int]:
    matching = select(Study.id).where(*_conditions(query))
    if query.sort in (StudySort.INSTANCES, StudySort.ANSWERS):
        latest = matching.order_by(Study.last_received_at.desc()).limit(COUNTED_STUDIES)
        matching = select(Study.id).where(Study.id.in_(latest.scalar_subquery()))
    keys: dict[StudySort, InstrumentedAttribute[Any] | ColumnElement[Any]] = {
        StudySort.RECEIVED: Study.last_received_at,
        StudySort.STATE: Study.state,
        StudySort.INSTANCES: instances_of_study(),
        StudySort.ANSWERS: answers_of_study(),
    }
    key = keys[query.sort]
    order = key.asc() if query.is_ascending else key.desc()
    return matching.order_by(order, Study.id.asc() if query.is_ascending else Study.id.desc())


def _conditions(query: StudyQuery) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if query.search:
        conditions.append(Study.study_instance_uid.contains(query.search, autoescape=True))
    if query.state is not None:
        conditions.append(Study.state == query.state)
    if query.modality is not None:
        conditions.append(
            select(Series.id)
            .where(Series.study_id == Study.id, Series.route_modality == query.modality.value)
            .exists()
        )
    return conditions


def _rows(session: Session, study_ids: Sequence[int], now: datetime) -> list[StudyRow]:
    """Return these studies in this order, each with what says why it waits."""
    found = session.execute(
        select(
            Study,
            instances_of_study().label("instances"),
            answers_of_study().label("answers"),
            StudyVersion.missing,
            StudyVersion.completed_at,
        )
        .outerjoin(
            StudyVersion,
            and_(StudyVersion.study_id == Study.id, StudyVersion.version == Study.version),
        )
        .where(Study.id.in_(study_ids))
    ).all()
    by_id = {row.Study.id: row for row in found}
    modalities = find_modalities(session, study_ids)
    asked = [row.Study.id for row in found if row.Study.state is StudyState.ASKED]
    prompts = _waiting_prompts(session, asked)
    is_receiving = any(row.Study.state is StudyState.RECEIVING for row in found)
    being_sent = _being_sent(session, now) if is_receiving else frozenset()
    set_aside = find_studies_of(session, list_set_aside(session)) if is_receiving else {}
    return [
        StudyRow(
            study_instance_uid=row.Study.study_instance_uid,
            modality="/".join(modalities.get(study_id, [])),
            state=row.Study.state,
            reason="; ".join(filter(None, (row.Study.state_reason, row.missing))),
            version=row.Study.version,
            instances=row.instances,
            answers=row.answers,
            last_received_at=row.Study.last_received_at,
            completed_at=row.completed_at,
            set_aside=len(set_aside.get(study_id, [])),
            is_being_sent=study_id in being_sent,
            prompts=prompts.get(study_id, ()),
        )
        for study_id, row in ((study_id, by_id[study_id]) for study_id in study_ids)
    ]


def _being_sent(session: Session, now: datetime) -> frozenset[int]:
    since = now - timedelta(seconds=ASSOCIATION_SILENT_S)
    return frozenset(
        association.study_id
        for association in list_open_associations(session)
        if association.heartbeat_at >= since
    )


def _waiting_prompts(
    session: Session, study_ids: Collection[int]
) -> Mapping[int, tuple[WaitingPrompts, ...]]:
    """Return study id -> what its latest version waits for, of studies that are asked."""
    if not study_ids:
        return {}
    # Not in WHERE: SQLite would begin with all the generations that are in these states.
    is_pending = Generation.state.in_(_PENDING)
    rows = session.execute(
        _prompts_of_latest_version(
            Study.id,
            Prompt.checkpoint,
            func.count(Generation.id).filter(is_pending, Generation.is_ready.is_(True)),
            func.count(Generation.id).filter(is_pending, Generation.is_ready.is_(False)),
            func.min(Generation.created_at).filter(is_pending),
        )
        .where(Study.id.in_(study_ids))
        .group_by(Study.id, Prompt.checkpoint)
        .having(func.count(Generation.id).filter(is_pending) > 0)
        .order_by(Study.id, Prompt.checkpoint)
    )
    found: dict[int, tuple[WaitingPrompts, ...]] = {}
    for study_id, *waiting in rows:
        found[study_id] = (*found.get(study_id, ()), WaitingPrompts(*waiting))
    return found


def _prompts_of_latest_version(*columns: Any) -> Select[Any]:
    """Select from studies, joined with the generations that their latest version has selected."""
    return (
        select(*columns)
        .select_from(Study)
        .join(
            StudyVersion,
            and_(StudyVersion.study_id == Study.id, StudyVersion.version == Study.version),
        )
        .join(Selection, Selection.study_version_id == StudyVersion.id)
        .join(
            Prompt,
            and_(
                Prompt.rendering_id == Selection.rendering_id,
                Prompt.question_id == Selection.question_id,
            ),
        )
        .join(Generation, Generation.prompt_id == Prompt.id)
    )


def find_study_detail(
    session: Session, study_instance_uid: str, now: datetime
) -> StudyDetail | None:
    """Return all that is known of a study but who the patient is."""
    study_id = session.scalar(
        select(Study.id).where(Study.study_instance_uid == study_instance_uid)
    )
    if study_id is None:
        return None
    [row] = _rows(session, [study_id], now)
    return StudyDetail(
        row_id=study_id,
        row=row,
        series=_series(session, study_id),
        versions=_versions(session, study_id),
        instances=_instances(session, study_id),
        selections=_selections(session, study_id, row.version),
        prompts=_prompts(session, study_id),
        events=tuple(list_events(session, "study", study_id)),
        projects=tuple(
            session.scalars(
                select(Project.name)
                .join(ProjectStudy)
                .where(ProjectStudy.study_id == study_id, ProjectStudy.withdrawn_at.is_(None))
                .order_by(Project.name)
            )
        ),
    )


def _series(session: Session, study_id: int) -> tuple[SeriesDetail, ...]:
    instances = (
        select(func.count(Instance.id))
        .where(Instance.series_id == Series.id, Instance.superseded_at.is_(None))
        .scalar_subquery()
    )
    rows = session.execute(
        select(Series, instances.label("instances"))
        .where(Series.study_id == study_id)
        .order_by(Series.id)
        .limit(DETAILS_MAX)
    )
    return tuple(
        SeriesDetail(
            series_instance_uid=row.Series.series_instance_uid,
            modality=row.Series.modality,
            route_modality=row.Series.route_modality,
            route_reason=row.Series.route_reason,
            anatomy=row.Series.anatomy,
            instances=row.instances,
        )
        for row in rows
    )


def _versions(session: Session, study_id: int) -> tuple[VersionDetail, ...]:
    rows = session.scalars(
        select(StudyVersion)
        .where(StudyVersion.study_id == study_id)
        .order_by(StudyVersion.version.desc())
        .limit(DETAILS_MAX)
    )
    return tuple(
        VersionDetail(row.version, row.instances, row.completed_at, row.planned_at, row.missing)
        for row in rows
    )


def _instances(session: Session, study_id: int) -> tuple[InstanceDetail, ...]:
    rows = session.scalars(
        select(Instance)
        .join(Series, Instance.series_id == Series.id)
        .where(Series.study_id == study_id)
        .order_by(Instance.hold.is_(None), Instance.id.desc())  # what a person decides on, first
        .limit(DETAILS_MAX)
    )
    return tuple(
        InstanceDetail(
            sop_instance_uid=row.sop_instance_uid,
            sop_class_uid=row.sop_class_uid,
            calling_ae_title=row.calling_ae_title,
            called_ae_title=row.called_ae_title,
            stored_name=row.stored_name,
            study_version=row.study_version,
            received_at=row.received_at,
            is_current=row.superseded_at is None,
            hold=row.hold,
        )
        for row in rows
    )


def _selections(session: Session, study_id: int, version: int) -> tuple[SelectionDetail, ...]:
    """Return what the latest version chose, one row a question and series."""
    rows = session.execute(
        select(Question.question_id, Series.series_instance_uid, Selection)
        .select_from(StudyVersion)
        .join(Selection, Selection.study_version_id == StudyVersion.id)
        .join(Question, Selection.question_id == Question.id)
        .join(Series, Selection.series_id == Series.id)
        .where(StudyVersion.study_id == study_id, StudyVersion.version == version)
        .order_by(Selection.id)
    )
    found: dict[tuple[str, str], SelectionDetail] = {}
    for question_id, series_instance_uid, chosen in rows:
        known = found.get((question_id, series_instance_uid))
        found[question_id, series_instance_uid] = SelectionDetail(
            question_id=question_id,
            series_instance_uid=series_instance_uid,
            reason=known.reason if known else chosen.reason,
            frames=(known.frames if known else 0) + (chosen.rendering_id is not None),
            skipped=(known.skipped if known else None) or chosen.skipped or {},
        )
    return tuple(found.values())[:DETAILS_MAX]


def _prompts(session: Session, study_id: int) -> tuple[PromptCount, ...]:
    error = func.coalesce(Generation.error, "")
    rows = session.execute(
        _prompts_of_latest_version(
            Prompt.checkpoint, Generation.state, error, func.count(Generation.id)
        )
        .where(Study.id == study_id)
        .group_by(Prompt.checkpoint, Generation.state, error)
        .order_by(Prompt.checkpoint, Generation.state)
        .limit(DETAILS_MAX)
    )
    return tuple(PromptCount(*row) for row in rows)
