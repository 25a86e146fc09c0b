"""The series of a case, as they were when its protocol started: what a reader pages through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from medr1_pacs.db.tables import (
    Instance,
    Question,
    ReadingCase,
    ReadingProtocol,
    Rendering,
    Selection,
    Series,
    StudyVersion,
)
from medr1_pacs.errors import ReadNotOpen
from medr1_pacs.questions.bank import restore_question
from medr1_pacs.questions.schema import TruthKind
from medr1_pacs.records.planned import InstanceFacts, WindowRequest
from medr1_pacs.records.reviews import CaseSeries, SeriesShown
from medr1_pacs.records.shown import ShownFrame
from medr1_pacs.records.words import Modality
from medr1_pacs.selection import order_instances


def list_case_series(session: Session, case_id: int) -> CaseSeries:
    """Return the series of a case in the order in which they are offered.

    Raises
    ------
    ReadNotOpen
        Nothing of it can be shown any more.
    """
    case = session.get_one(ReadingCase, case_id)
    started_at = session.scalars(
        select(ReadingProtocol.started_at).where(ReadingProtocol.id == case.protocol_id)
    ).one()
    version = session.get_one(StudyVersion, case.study_version_id)
    asked = _asked(session, case)
    question = restore_question(session.get_one(Question, case.question_id).definition)
    # What the header says can be the very answer.
    is_told = question.truth.kind not in (TruthKind.HEADER, TruthKind.FUNCTION)
    shown = [
        each
        for series, instances in _instances(session, version, started_at)
        if (each := _shown(series, instances, is_told=is_told)).instances
    ]
    if not shown:
        raise ReadNotOpen("no picture of this case is left to be shown")
    shown.sort(key=lambda each: (each.series_id not in asked, each.series_id))
    middle = CaseSeries(series=tuple(shown), start=(0, shown[0].frames // 2), is_about_start=False)
    if case.rendering_id is None:
        return middle
    picture = session.get_one(Rendering, case.rendering_id)
    found = middle.find(picture.instance_id, picture.frame_number)
    return middle if found is None else replace(middle, start=found, is_about_start=True)


def _asked(session: Session, case: ReadingCase) -> set[int]:
    """Return the series that stand for the study under the question."""
    return set(
        session.scalars(
            select(Selection.series_id).where(
                Selection.study_version_id == case.study_version_id,
                Selection.question_id == case.question_id,
                Selection.rendering_id.is_not(None),
            )
        )
    )


def _instances(
    session: Session, version: StudyVersion, started_at: datetime
) -> list[tuple[Series, list[Instance]]]:
    """Return the instances that were current when the protocol started, by series."""
    rows: Sequence[Any] = session.execute(
        select(Series, Instance)
        .join(Instance, Instance.series_id == Series.id)
        .where(
            Series.study_id == version.study_id,
            Instance.study_version <= version.version,
            Instance.indexed_at <= started_at,
            Instance.hold.is_(None),
            or_(Instance.superseded_at.is_(None), Instance.superseded_at > started_at),
        )
        .order_by(Series.id, Instance.id)
    ).all()
    found: dict[int, tuple[Series, list[Instance]]] = {}
    for row in rows:
        found.setdefault(row.Series.id, (row.Series, []))[1].append(row.Instance)
    return list(found.values())


def _shown(series: Series, rows: Sequence[Instance], *, is_told: bool) -> SeriesShown:
    """`is_told`: whether its label says what is known of it."""
    facts = [
        InstanceFacts(each.id, each.sop_instance_uid, each.number_of_frames, each.attributes)
        for each in rows
    ]
    words = [series.route_modality or series.modality, series.anatomy, series.plane]
    words += [series.weighting, series.stain]
    if series.slice_thickness_mm:
        words.append(f"{series.slice_thickness_mm:g} mm")
    label = ", ".join(word for word in words if word) if is_told else ""
    instances = tuple(
        (each.instance_id, max(each.number_of_frames, 1)) for each in order_instances(facts)
    )
    return SeriesShown(series_id=series.id, label=label or "Series", instances=instances)


def get_shown_frame(
    session: Session, case_id: int, instance_id: int, frame_number: int
) -> ShownFrame:
    """Return where a frame of a case is stored, and the window that its reader begins with: the one
    that the question is asked through."""
    row = session.execute(
        select(Instance.stored_name, Instance.sha256, Series.id, Series.route_modality)
        .join(Series, Series.id == Instance.series_id)
        .where(Instance.id == instance_id)
    ).one()
    window_request = session.scalar(
        select(Rendering.window_request)
        .join(Selection, Selection.rendering_id == Rendering.id)
        .join(ReadingCase, ReadingCase.study_version_id == Selection.study_version_id)
        .where(
            ReadingCase.id == case_id,
            Selection.question_id == ReadingCase.question_id,
            Selection.series_id == row.id,
        )
        .order_by(Selection.id)
        .limit(1)
    )
    return ShownFrame(
        stored_name=row.stored_name,
        sha256=row.sha256,
        frame_number=frame_number,
        modality=Modality(row.route_modality) if row.route_modality else None,
        window_request=(
            WindowRequest.from_json(window_request) if window_request else WindowRequest()
        ),
    )
