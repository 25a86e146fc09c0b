"""What answers stand on as an export has it, and what is left of what was withdrawn."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from sqlalchemy import (
    Select,
    and_,
    exists,
    literal,
    select,
)
from sqlalchemy.orm import Session

from medr1_pacs.audit.canonical import commit, field_salt
from medr1_pacs.audit.records import FORMS
from medr1_pacs.db.as_of import AsOf, list_remains
from medr1_pacs.db.exported_reading import READ_KINDS, iterate_read
from medr1_pacs.db.recording import Record, read_records
from medr1_pacs.db.tables import (
    Instance,
    ProjectStudy,
    Question,
    ReferenceStandard,
    Rendering,
    Selection,
    Series,
    StudyVersion,
)
from medr1_pacs.records.words import JsonObject

_CHUNK = 1_000


def iterate_questions(session: Session, rows: Collection[int]) -> Iterator[JsonObject]:
    """Yield the wordings among these rows."""
    for record in read_records(session, "question", rows):
        yield dict(record.values) | {"record_salt": record.salt}


def iterate_checkpoints(session: Session, rows: Collection[int]) -> Iterator[JsonObject]:
    """Yield the checkpoints among these rows."""
    for record in read_records(session, "checkpoint", rows):
        yield dict(record.values)


def iterate_references(session: Session, as_of: AsOf) -> Iterator[JsonObject]:
    """Yield what sources say of the instances of the project, in the order of row numbers."""
    rows = session.execute(
        select(ReferenceStandard, Question.question_id, Series.study_id)
        .join(Question, Question.id == ReferenceStandard.question_id)
        .join(Instance, Instance.id == ReferenceStandard.instance_id)
        .join(Series, Series.id == Instance.series_id)
        .join(ProjectStudy, ProjectStudy.study_id == Series.study_id)
        .where(
            # Only to read fewer: events say which studies are the project's.
            ProjectStudy.project_id == as_of.project_id,
            ReferenceStandard.record_salt.is_not(None),
        )
        .order_by(ReferenceStandard.id)
        .execution_options(yield_per=_CHUNK)
    )
    for row, question_id, study_id in rows:
        if as_of.has(study_id) and row.id not in as_of.unborn["reference_standard"]:
            salt = row.record_salt
            assert salt is not None, "of what is not withdrawn"
            is_superseded = (
                row.superseded_at is not None and row.id not in as_of.unborn["superseded"]
            )
            yield {
                "reference_id": row.id,
                "instance_id": row.instance_id,
                "question_row": row.question_id,
                "question_id": question_id,
                "source": row.source,
                "unit": row.unit,
                "version": row.version,
                "statement_id": row.statement_id,
                "truth": row.truth,
                "certainty": row.certainty,
                "is_superseded": is_superseded,
                "truth_salt": field_salt(salt, "truth"),
                "certainty_salt": field_salt(salt, "certainty"),
                "stated_by_sha256": commit(salt, "stated_by", row.stated_by),
            }
        session.expunge(row)


def iterate_selections(session: Session, as_of: AsOf) -> Iterator[JsonObject]:
    """Yield what was selected in the studies of the project, in the order of row numbers."""
    statement = (
        _selections(as_of, Selection)
        # Only to read fewer: events say which studies are the project's.
        .where(ProjectStudy.id.is_not(None))
        .order_by(Selection.id)
    )
    rows = session.execute(statement.execution_options(yield_per=_CHUNK))
    gone = iter(_gone_selections(session, as_of))
    following = next(gone, None)
    for chunk in rows.partitions(_CHUNK):
        frames = _frames(session, {_rendering_of(row, as_of) for row in chunk})
        for row in chunk:
            while following is not None and following["selection_id"] < row.id:
                yield following
                following = next(gone, None)
            if (selection := _selection(row, as_of, frames)) is not None:
                yield selection
    while following is not None:
        yield following
        following = next(gone, None)


def _selections(as_of: AsOf, source: Any) -> Select[Any]:
    """Build selections with what they are known by in a project; `source` has their columns."""
    return (
        select(
            source.id,
            source.question_id,
            source.series_id,
            source.rendering_id,
            source.reason,
            source.skipped,
            StudyVersion.study_id,
            StudyVersion.version,
            Question.question_id.label("question"),
            ProjectStudy.pseudonymous_uid.label("study_uid"),
        )
        .join(StudyVersion, StudyVersion.id == source.study_version_id)
        .join(Question, Question.id == source.question_id)
        .outerjoin(
            ProjectStudy,
            and_(
                ProjectStudy.study_id == StudyVersion.study_id,
                ProjectStudy.project_id == as_of.project_id,
            ),
        )
    )


def _gone_selections(session: Session, as_of: AsOf) -> list[JsonObject]:
    """Return selections that were there and were replaced by an equal one since."""
    found = []
    for row_id in as_of.was.ids("selection"):
        was = as_of.was.get("selection", row_id)
        if not was.keys() >= _WHOLE or was.get("is_absent"):
            continue
        there = exists().where(Selection.id == row_id)
        if session.scalar(select(there)):
            continue
        columns = {name: literal(was[name]).label(name) for name in _WHOLE - {"skipped"}}
        gone = select(
            literal(row_id).label("id"), literal(None).label("skipped"), *columns.values()
        )
        statement = _selections(as_of, gone.subquery().c)
        for row in session.execute(statement):
            frames = _frames(session, {was["rendering_id"]})
            if (selection := _selection(row, as_of, frames)) is not None:
                found.append(selection | {"skipped": was["skipped"]})
    return found


_WHOLE = {"study_version_id", "question_id", "series_id", "rendering_id", "reason", "skipped"}
"""What is kept of a selection that is gone."""


def _rendering_of(row: Any, as_of: AsOf) -> int | None:
    was = as_of.was.get("selection", row.id)
    rendering_id: int | None = was.get("rendering_id", row.rendering_id)
    return rendering_id


def _selection(
    row: Any, as_of: AsOf, frames: Mapping[int | None, tuple[int, int]]
) -> JsonObject | None:
    """Return a selection as it was; None: there was none yet."""
    if (row.study_id, row.version) in as_of.unplanned or not as_of.has(row.study_id):
        return None
    if as_of.was.get("selection", row.id).get("is_absent"):
        return None
    instance_id, frame = frames.get(_rendering_of(row, as_of), (None, None))
    return {
        "selection_id": row.id,
        "study_instance_uid": row.study_uid,
        "study_version": row.version,
        "series_id": row.series_id,
        "question_row": row.question_id,
        "question_id": row.question,
        "instance_id": instance_id,
        "frame_number": frame,
        "reason": row.reason,
        "skipped": row.skipped,
    }


def _frames(session: Session, rendering_ids: set[int | None]) -> dict[int | None, tuple[int, int]]:
    rows = session.execute(
        select(Rendering.id, Rendering.instance_id, Rendering.frame_number).where(
            Rendering.id.in_(rendering_ids - {None})
        )
    )
    return {row.id: (row.instance_id, row.frame_number) for row in rows}


def iterate_withdrawn(session: Session, as_of: AsOf) -> Iterator[JsonObject]:
    """Yield what is left of the records whose studies the project lost: ids, letters, hashes, by
    which the hash of the record can still be checked."""
    for kind in ("answer", "reference_standard"):
        for record in read_records(session, kind, list_remains(session, as_of, kind)):
            if record.object_id not in as_of.unborn[kind]:
                yield _remains(kind, record)
    for kind in READ_KINDS:
        for record in iterate_read(session, as_of, kind):
            if record.values["study_id"] in as_of.lost:
                yield _remains(kind, record)


def _remains(kind: str, record: Record) -> JsonObject:
    form, line = FORMS[kind], {"kind": kind, "id": record.object_id}
    commitments = record.commit(kind)
    if commitments is not None:
        line["record"] = {name: record.values[name] for name in form.shown}
        # In the order of the form: those that were kept come in one of the database.
        line["commitments"] = {
            name: commitments[name] for name in form.committed if name in commitments
        }
    return line
