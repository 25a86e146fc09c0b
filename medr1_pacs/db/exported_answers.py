"""Answers as an export has them: long as cells, wide, and which are left out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import islice
from typing import Any

from sqlalchemy import (
    ColumnElement,
    and_,
    case,
    collate,
    func,
    null,
    or_,
    select,
    type_coerce,
)
from sqlalchemy.orm import Session
from sqlalchemy.types import String

from medr1_pacs.db.as_of import AsOf, IdSet, past_rows
from medr1_pacs.db.cells import iterate_cells
from medr1_pacs.db.past import PastValues
from medr1_pacs.db.research import answer_columns, joined_answers, narrow_rows
from medr1_pacs.db.tables import (
    Answer,
    AnswerFacet,
    AnswerOutcome,
    Checkpoint,
    Generation,
    Instance,
    PastValue,
    Project,
    ProjectInstance,
    ProjectSeries,
    ProjectStudy,
    Prompt,
    Question,
    Rendering,
    Series,
    Study,
)
from medr1_pacs.disclosure import AGE_MAX
from medr1_pacs.exports.cells import cell
from medr1_pacs.filters import UNKNOWN, AnswerFilters, Demo, Versions
from medr1_pacs.records.dictionary import describe_fields
from medr1_pacs.records.exported import ExportedAnswer
from medr1_pacs.records.planned import Decoding
from medr1_pacs.records.words import Correctness, DatePolicy, JsonObject, PromptKind

_CHUNK = 1_000
_RECORD_COLUMNS: Mapping[str, Any] = {
    "generation_id": Generation.id,
    "prompt_id": Prompt.id,
    "rendering_id": Rendering.id,
    "instance_id": Instance.id,
    "series_id": Series.id,
    "study_id": Series.study_id,
    "question_row": Question.id,
    "checkpoint_row": Checkpoint.id,
    "prompt_sha256": Prompt.prompt_sha256,
    "decoding_sha256": Prompt.decoding_sha256,
    "record_salt": Answer.record_salt,
}
_COLUMNS = {entry.name: entry.type for entry in describe_fields(ExportedAnswer)}
_PLACE = {name: place for place, name in enumerate(_COLUMNS)}
"""Column of an exported answer -> its place among the cells."""
_PATCHED = {"route_modality": "modality"}


def answers_statement(session: Session, project: str, filters: AnswerFilters, as_of: AsOf) -> Any:
    """Build the whole answers that filters find now, and those that they may have found then."""
    is_sqlite = session.get_bind().dialect.name == "sqlite"
    year = (
        func.strftime("%Y", Answer.answered_at)
        if is_sqlite
        else func.to_char(func.timezone("UTC", Answer.answered_at), "YYYY")
    )
    columns = answer_columns() | dict(_RECORD_COLUMNS)
    columns |= {
        "age_years": case((Study.age_years <= AGE_MAX, Study.age_years)),
        "is_correct": null(),  # by the truth as it was
        "answered_on": case((Project.dates == DatePolicy.YEAR, year)),
    }
    conditions = [] if filters == EVERYTHING else [_found(session, project, filters, as_of)]
    return (
        joined_answers(project, {name: columns[name] for name in _COLUMNS})
        .where(*conditions)
        .order_by(AnswerFacet.answer_id)
    )


EVERYTHING = AnswerFilters(versions=Versions.ALL, demo=Demo.YES, kind=())
"""Filters that leave nothing out."""


def _found(
    session: Session, project: str, filters: AnswerFilters, as_of: AsOf
) -> ColumnElement[bool]:
    found = select(narrow_rows(session, project, filters).subquery().c.answer_id)
    condition: ColumnElement[bool] = AnswerFacet.answer_id.in_(found)
    if as_of.was:
        steady = replace(filters, versions=Versions.ALL, truth=(), modality=(), anatomy=())
        might = select(narrow_rows(session, project, steady).subquery().c.answer_id)
        condition = or_(condition, and_(AnswerFacet.answer_id.in_(might), _was_other(as_of)))
    return condition


def _was_other(as_of: AsOf) -> ColumnElement[bool]:
    # Looked up by the database: there may be more ids than a statement takes.
    others = past_rows(as_of.project_id, as_of.size, PastValue.object_id)
    return or_(
        AnswerFacet.answer_id.in_(others.where(PastValue.object_type == "answer")),
        Series.id.in_(others.where(PastValue.object_type == "series")),
    )


def iterate_answers(
    session: Session, project: str, filters: AnswerFilters, as_of: AsOf
) -> Iterator[list[str | None]]:
    """Yield the cells of the answers that filters found as of a head, in the order of ids."""
    statement = answers_statement(session, project, filters, as_of)
    unborn, was = as_of.unborn["answer"], as_of.was
    answer_id, study_id, decoding, versions = (
        _PLACE[name] for name in ("answer_id", "study_id", "decoding", "versions")
    )
    truth, choice_text, is_correct = (
        _PLACE[name] for name in ("truth", "choice_text", "is_correct")
    )
    for cells in iterate_cells(session, statement, _COLUMNS):
        if int(cells[answer_id] or 0) in unborn or not as_of.has(int(cells[study_id] or 0)):
            continue
        if was and _put_back(cells, was) and not _finds(filters, cells):
            continue
        cells[decoding] = _in_order(cells[decoding] or "{}")
        cells[versions] = _by_name(cells[versions])
        if cells[truth] is not None:
            cells[is_correct] = "true" if cells[choice_text] == cells[truth] else "false"
        yield cells


@lru_cache(maxsize=64)
def _in_order(decoding: str) -> str:
    """Return what an engine was told in the order of its fields, whatever a database keeps."""
    return json.dumps(Decoding.from_json(json.loads(decoding)).to_json())


@lru_cache(maxsize=64)
def _by_name(versions: str | None) -> str | None:
    """Return an object in the order of its names: PostgreSQL keeps the shortest first."""
    return None if versions is None else cell(json.loads(versions))


def _put_back(cells: list[str | None], was: PastValues) -> bool:
    """Let an answer be as it was; whether anything of it was different."""
    answer_id, series_id = (int(cells[_PLACE[n]] or 0) for n in ("answer_id", "series_id"))
    values = was.get("series", series_id) | was.get("answer", answer_id)
    for name, value in values.items():
        cells[_PLACE[_PATCHED.get(name, name)]] = cell(value)
    return bool(values)


def _finds(filters: AnswerFilters, cells: Sequence[str | None]) -> bool:
    """Whether filters find an answer by what can change of it."""
    if filters.versions == Versions.CURRENT and cells[_PLACE["is_current"]] != "true":
        return False
    for name in ("modality", "anatomy"):
        wanted = getattr(filters, name)
        if wanted and (cells[_PLACE[name]] or UNKNOWN) not in wanted:
            return False
    if filters.truth:
        truth = cells[_PLACE["truth"]]
        if truth is None:
            return Correctness.UNKNOWN in filters.correctness
        is_right = cells[_PLACE["choice_text"]] == truth
        return (Correctness.RIGHT if is_right else Correctness.WRONG) in filters.correctness
    return True


def iterate_left_out(
    session: Session, project: str, exported: IdSet, filters: AnswerFilters, as_of: AsOf
) -> Iterator[JsonObject]:
    """Yield the answers of a project that are not among the exported, and why.

    One that is not whole, since rows of it are gone, was left out by no filter: it is missing.
    """
    left_out = _left_out(session, exported, filters, as_of)
    while chunk := list(islice(left_out, _CHUNK)):
        whole = joined_answers(project, {"answer_id": AnswerFacet.answer_id}).where(
            AnswerFacet.answer_id.in_([row["answer_id"] for row in chunk]),
            # Of another study by what it stands on, it is not whole either.
            AnswerFacet.study_id == Series.study_id,
        )
        there = set(session.scalars(whole))
        yield from (row for row in chunk if row["answer_id"] in there)


def _left_out(
    session: Session, exported: IdSet, filters: AnswerFilters, as_of: AsOf
) -> Iterator[JsonObject]:
    rows = session.execute(
        select(
            AnswerFacet.answer_id,
            AnswerFacet.study_id,
            AnswerFacet.is_current,
            AnswerOutcome.kind,
            AnswerOutcome.is_demo,
        )
        .join(AnswerOutcome, AnswerOutcome.id == AnswerFacet.outcome_id)
        .where(AnswerFacet.project_id == as_of.project_id)
        .order_by(AnswerFacet.answer_id)
        .execution_options(yield_per=10_000)
    )
    unborn = as_of.unborn["answer"]
    for answer_id, study_id, is_current, kind, is_demo in rows:
        if answer_id in exported or answer_id in unborn or not as_of.has(study_id):
            continue
        was_current = as_of.was.get("answer", answer_id).get("is_current", is_current)
        if is_demo and filters.demo == Demo.NO:
            reason = "demo"
        elif kind is not PromptKind.PROTOCOL and kind not in filters.kind and filters.kind:
            reason = "control"
        elif not was_current and filters.versions == Versions.CURRENT:
            reason = "not_current"
        else:
            reason = "filter"
        yield {"answer_id": answer_id, "reason": reason}


def _by_bytes(session: Session, text: Any) -> Any:
    """Build a text to order by as SQLite does, whatever the language of the database."""
    return text if session.get_bind().dialect.name == "sqlite" else collate(text, "C")


def iterate_wide(
    session: Session, project_id: int, exported: IdSet
) -> Iterator[tuple[JsonObject, dict[str, str | None]]]:
    """Yield each picture that was answered about with its answers, question id -> choice text.

    In the order of instance, frame, checkpoint and kind; of run 1 and exported answers alone.
    """
    rows = session.execute(
        select(
            Answer.id,
            Rendering.instance_id,
            Rendering.frame_number,
            Prompt.kind,
            Checkpoint.name.label("checkpoint"),
            Question.question_id,
            Answer.choice_text,
            ProjectStudy.patient_pseudonym,
            ProjectStudy.pseudonymous_uid.label("study_instance_uid"),
            ProjectSeries.pseudonymous_uid.label("series_instance_uid"),
            ProjectInstance.pseudonymous_uid.label("sop_instance_uid"),
        )
        .select_from(AnswerFacet)
        .join(Answer, Answer.id == AnswerFacet.answer_id)
        .join(Generation, Generation.id == Answer.generation_id)
        .join(Prompt, Prompt.id == Generation.prompt_id)
        .join(Question, Question.id == Prompt.question_id)
        .join(Rendering, Rendering.id == Prompt.rendering_id)
        .join(Instance, Instance.id == Rendering.instance_id)
        .join(Checkpoint, Checkpoint.id == Generation.checkpoint_id)
        .join(
            ProjectStudy,
            and_(
                ProjectStudy.study_id == AnswerFacet.study_id,
                ProjectStudy.project_id == project_id,
            ),
        )
        .join(
            ProjectSeries,
            and_(
                ProjectSeries.series_id == Instance.series_id,
                ProjectSeries.project_id == project_id,
            ),
        )
        .join(
            ProjectInstance,
            and_(
                ProjectInstance.instance_id == Instance.id,
                ProjectInstance.project_id == project_id,
            ),
        )
        .where(AnswerFacet.project_id == project_id, Generation.run == 1)
        .order_by(
            Rendering.instance_id,
            Rendering.frame_number,
            _by_bytes(session, Checkpoint.name),
            _by_bytes(session, type_coerce(Prompt.kind, String)),
            Answer.id,
        )
        .execution_options(yield_per=_CHUNK)
    )
    key: tuple[Any, ...] | None = None
    head: JsonObject = {}
    chosen: dict[str, str | None] = {}
    for row in rows:
        if row.id not in exported:
            continue
        now = (row.instance_id, row.frame_number, row.checkpoint, row.kind)
        if now != key:
            if key is not None:
                yield head, chosen
            key, chosen = now, {}
            head = {
                "patient_pseudonym": row.patient_pseudonym,
                "study_instance_uid": row.study_instance_uid,
                "series_instance_uid": row.series_instance_uid,
                "sop_instance_uid": row.sop_instance_uid,
                "frame_number": row.frame_number,
                "checkpoint": row.checkpoint,
                "kind": row.kind,
            }
        chosen[row.question_id] = row.choice_text  # of several wordings the latest answer
    if key is not None:
        yield head, chosen
