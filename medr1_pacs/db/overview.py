"""Lists and counts, as commands and pages show them."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import ColumnElement, ScalarSelect, func, select
from sqlalchemy.orm import Session

from medr1_pacs.db.instances import list_held
from medr1_pacs.db.quarantine import list_quarantined
from medr1_pacs.db.set_aside import list_set_aside
from medr1_pacs.db.tables import (
    Answer,
    Generation,
    Instance,
    Patient,
    Prompt,
    Rendering,
    Series,
    Study,
    StudyVersion,
)
from medr1_pacs.records.listed import OpenMatters, StudyListing
from medr1_pacs.records.words import GenerationState


def has_patients(session: Session) -> bool:
    """Whether a patient is known."""
    return session.scalar(select(Patient.id).limit(1)) is not None


def count_prompts(session: Session) -> tuple[int, int]:
    """Return how many generations there are, and how many of them have come to an end."""
    total = session.scalar(select(func.count(Generation.id))) or 0
    waiting = session.scalar(
        select(func.count(Generation.id)).where(Generation.state == GenerationState.WAITING)
    )
    return total, total - (waiting or 0)


def list_open_matters(session: Session, *, first: int | None = None) -> OpenMatters:
    """Return what waits for a person beside failed studies, of each kind so many."""
    return OpenMatters(
        set_aside=tuple(list_set_aside(session, limit=first)),
        held=tuple(list_held(session, limit=first)),
        quarantined=tuple(list_quarantined(session, limit=first)),
    )


def list_studies(session: Session, *, newest: int | None = None) -> list[StudyListing]:
    """Return where each study is, oldest first.

    With `newest`, only so many of the latest, and the latest first.
    """
    missing = (
        select(StudyVersion.missing)
        .where(StudyVersion.study_id == Study.id, StudyVersion.version == Study.version)
        .scalar_subquery()
    )
    wide = select(
        Study,
        instances_of_study().label("instances"),
        answers_of_study().label("answers"),
        missing.label("missing"),
    )
    wide = wide.order_by(Study.id) if newest is None else wide.order_by(Study.id.desc())
    studies = session.execute(wide.limit(newest)).all()
    lowest = min((row.Study.id for row in studies), default=0)
    modalities = _modalities(session, Series.study_id >= lowest)
    return [
        StudyListing(
            study_instance_uid=row.Study.study_instance_uid,
            modality="/".join(modalities.get(row.Study.id, [])),
            state=row.Study.state,
            reason="; ".join(filter(None, (row.Study.state_reason, row.missing))),
            version=row.Study.version,
            instances=row.instances,
            answers=row.answers,
            last_received_at=row.Study.last_received_at,
        )
        for row in studies
    ]


def instances_of_study() -> ScalarSelect[int]:
    """Count the current instances of the study of the query around it."""
    return (
        select(func.count(Instance.id))
        .join(Series, Instance.series_id == Series.id)
        .where(Series.study_id == Study.id, Instance.superseded_at.is_(None))
        .scalar_subquery()
    )


def answers_of_study() -> ScalarSelect[int]:
    """Count the answers of the study of the query around it, current ones and others."""
    return (
        select(func.count(Answer.id))
        .join(Generation, Answer.generation_id == Generation.id)
        .join(Prompt, Generation.prompt_id == Prompt.id)
        .join(Rendering, Prompt.rendering_id == Rendering.id)
        .join(Instance, Rendering.instance_id == Instance.id)
        .join(Series, Instance.series_id == Series.id)
        .where(Series.study_id == Study.id)
        .scalar_subquery()
    )


def find_modalities(session: Session, study_ids: Collection[int]) -> dict[int, list[str]]:
    """Return study id -> the modalities of its series, each once."""
    return _modalities(session, Series.study_id.in_(study_ids))


def _modalities(session: Session, which: ColumnElement[bool]) -> dict[int, list[str]]:
    modalities: dict[int, list[str]] = {}
    rows = session.execute(
        select(Series.study_id, Series.route_modality, Series.modality)
        .where(which)
        .order_by(Series.id)
    )
    for row in rows:
        names = modalities.setdefault(row.study_id, [])
        if (name := row.route_modality or row.modality or "unknown") not in names:
            names.append(name)
    return modalities
