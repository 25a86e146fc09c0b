"""The series of a case, frozen when its protocol starts: what a reader pages through."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.orm import Session

from medr1_pacs.db.rows import iterate_chunks
from medr1_pacs.db.tables import (
    Instance,
    Question,
    ReadingCase,
    ReadingProtocol,
    Rendering,
    Selection,
    Series,
    Study,
)
from medr1_pacs.errors import ProtocolRefused, ReadNotOpen
from medr1_pacs.questions.bank import restore_question
from medr1_pacs.questions.schema import TruthKind
from medr1_pacs.records.planned import InstanceFacts, WindowRequest
from medr1_pacs.records.review_words import ProtocolState
from medr1_pacs.records.reviews import UNNAMED, CaseSeries, SeriesShown
from medr1_pacs.records.shown import ShownFrame
from medr1_pacs.records.words import Modality
from medr1_pacs.selection import order_instances


def freeze_pictures(session: Session, versions: Mapping[int, int]) -> dict[int, list[Any]]:
    """Return study -> what its readers page through: the instances that are current.

    `versions`: study -> the version of it that is read. As `ReadingCase.pictures` has it, in the
    order of row ids: in which order it is shown follows from the instances, which never change.

    Raises
    ------
    ProtocolRefused
        Something arrived since the version was looked at: another one is current by now.
    """
    found: dict[int, dict[int, list[list[int]]]] = {}
    for chunk in iterate_chunks(versions):
        # One statement a study: its version and its instances are of the same moment.
        for row in session.execute(_instances(chunk, Instance.superseded_at.is_(None))):
            if row.version == versions[row.study_id]:
                of_series = found.setdefault(row.study_id, {}).setdefault(row.series_id, [])
                of_series.append([row.id, max(row.number_of_frames, 1)])
    if changed := len(versions) - len(found):
        what = "1 study" if changed == 1 else f"{changed} studies"
        raise ProtocolRefused(f"cases: {what} changed meanwhile, as more arrived: start it again")
    return {study_id: [list(each) for each in series.items()] for study_id, series in found.items()}


def _instances(study_ids: Sequence[int], is_meant: ColumnElement[bool]) -> Any:
    return (
        select(
            Series.study_id,
            Study.version,
            Instance.series_id,
            Instance.id,
            Instance.number_of_frames,
        )
        .join(Series, Instance.series_id == Series.id)
        .join(Study, Series.study_id == Study.id)
        .where(Series.study_id.in_(study_ids), Instance.hold.is_(None), is_meant)
        .order_by(Series.study_id, Instance.series_id, Instance.id)
    )


def list_case_series(session: Session, case_id: int) -> CaseSeries:
    """Return the series of a case in the order in which they are offered.

    Raises
    ------
    ReadNotOpen
        Nothing of it can be shown.
    """
    case = session.get_one(ReadingCase, case_id)
    asked = _asked(session, case)
    shown = [
        _shown(session, series_id, dict(instances))
        for series_id, instances in _frozen(session, case)
    ]
    if not shown:
        raise ReadNotOpen("no picture of this case is left to be shown: tell who leads the reading")
    shown.sort(key=lambda each: (each.series_id not in asked, each.series_id))
    middle = CaseSeries(series=tuple(shown), start=(0, shown[0].frames // 2), is_about_start=False)
    if case.rendering_id is None:
        return middle
    picture = session.get_one(Rendering, case.rendering_id)
    found = middle.find(picture.instance_id, picture.frame_number)
    return middle if found is None else replace(middle, start=found, is_about_start=True)


def _frozen(session: Session, case: ReadingCase) -> list[Any]:
    if case.pictures is not None:
        return case.pictures
    # Of a protocol that an earlier release started: what was current then, as far as it is known.
    at = session.scalars(
        select(ReadingProtocol.started_at).where(ReadingProtocol.id == case.protocol_id)
    ).one()
    was_current = or_(Instance.superseded_at.is_(None), Instance.superseded_at > at)
    series: dict[int, list[list[int]]] = {}
    for row in session.execute(
        _instances([case.study_id], and_(Instance.indexed_at <= at, was_current))
    ):
        series.setdefault(row.series_id, []).append([row.id, max(row.number_of_frames, 1)])
    return [list(each) for each in series.items()]


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


def _shown(session: Session, series_id: int, frames: Mapping[int, int]) -> SeriesShown:
    """`frames`: instance -> number of its frames."""
    rows: list[Any] = []
    for chunk in iterate_chunks(frames):
        rows += session.execute(
            select(Instance.id, Instance.sop_instance_uid, Instance.attributes).where(
                Instance.id.in_(chunk)
            )
        ).all()
    facts = [
        InstanceFacts(row.id, row.sop_instance_uid, frames[row.id], row.attributes) for row in rows
    ]
    instances = tuple(
        (each.instance_id, frames[each.instance_id]) for each in order_instances(facts)
    )
    series = session.get_one(Series, series_id)
    words = [series.route_modality or series.modality, series.anatomy, series.plane]
    words += [series.weighting, series.stain]
    if series.slice_thickness_mm:
        words.append(f"{series.slice_thickness_mm:g} mm")
    return SeriesShown(
        series_id=series_id,
        label=", ".join(word for word in words if word) or UNNAMED,
        instances=instances,
    )


def names_answer(session: Session, case_id: int) -> bool:
    """Whether the label of a series could be the answer to what somebody is asked of this study.

    What the header says is the truth of some questions, and a running protocol, this one or
    another, has the study under one of them.
    """
    study_id = select(ReadingCase.study_id).where(ReadingCase.id == case_id).scalar_subquery()
    definitions = session.scalars(
        select(Question.definition)
        .join(ReadingCase, ReadingCase.question_id == Question.id)
        .join(ReadingProtocol, ReadingProtocol.id == ReadingCase.protocol_id)
        .where(
            ReadingCase.study_id == study_id,
            or_(ReadingProtocol.state == ProtocolState.STARTED, ReadingCase.id == case_id),
        )
        .distinct()
    )
    return any(
        restore_question(each).truth.kind in (TruthKind.HEADER, TruthKind.FUNCTION)
        for each in definitions
    )


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
