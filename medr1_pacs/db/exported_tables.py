"""What answers stand on as an export has it, and what is left of what was withdrawn."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Select,
    and_,
    exists,
    literal,
    or_,
    select,
)
from sqlalchemy.orm import Session

from medr1_pacs.audit.canonical import commit, field_salt
from medr1_pacs.audit.records import FORMS
from medr1_pacs.db.as_of import AsOf
from medr1_pacs.db.recording import read_records
from medr1_pacs.db.tables import (
    Answer,
    AuditEvent,
    Generation,
    Instance,
    Project,
    ProjectInstance,
    ProjectSeries,
    ProjectStudy,
    Prompt,
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
        select(ReferenceStandard, Question.question_id, ProjectInstance.pseudonymous_uid)
        .join(Question, Question.id == ReferenceStandard.question_id)
        .join(Instance, Instance.id == ReferenceStandard.instance_id)
        .join(Series, Series.id == Instance.series_id)
        .join(ProjectStudy, ProjectStudy.study_id == Series.study_id)
        .outerjoin(
            ProjectInstance,
            and_(
                ProjectInstance.instance_id == Instance.id,
                ProjectInstance.project_id == as_of.project_id,
            ),
        )
        .where(
            ProjectStudy.project_id == as_of.project_id,
            ProjectStudy.withdrawn_at.is_(None),
            ReferenceStandard.record_salt.is_not(None),
        )
        .order_by(ReferenceStandard.id)
        .execution_options(yield_per=_CHUNK)
    )
    for row, question_id, uid in rows:
        if row.id not in as_of.unborn["reference_standard"]:
            salt = row.record_salt
            assert salt is not None, "of what is not withdrawn"
            is_superseded = (
                row.superseded_at is not None and row.id not in as_of.unborn["superseded"]
            )
            yield {
                "reference_id": row.id,
                "instance_id": row.instance_id,
                "question_row": row.question_id,
                "sop_instance_uid": uid,
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
        _selections(as_of.project_id, Selection)
        .where(ProjectStudy.project_id == as_of.project_id, ProjectStudy.withdrawn_at.is_(None))
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


def _selections(project_id: int, source: Any) -> Select[Any]:
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
            ProjectSeries.pseudonymous_uid.label("series_uid"),
        )
        .join(StudyVersion, StudyVersion.id == source.study_version_id)
        .join(Question, Question.id == source.question_id)
        .join(ProjectStudy, ProjectStudy.study_id == StudyVersion.study_id)
        .outerjoin(
            ProjectSeries,
            and_(
                ProjectSeries.series_id == source.series_id,
                ProjectSeries.project_id == project_id,
            ),
        )
    )


def _gone_selections(session: Session, as_of: AsOf) -> list[JsonObject]:
    """Return selections that were there and were replaced by an equal one since."""
    found = []
    for (kind, row_id), was in sorted(as_of.was.items()):
        if kind != "selection" or "study_version_id" not in was or was.get("is_absent"):
            continue
        there = exists().where(Selection.id == row_id)
        if session.scalar(select(there)):
            continue
        columns = {
            name: literal(value).label(name) for name, value in was.items() if name != "skipped"
        }
        gone = select(
            literal(row_id).label("id"), literal(None).label("skipped"), *columns.values()
        )
        statement = _selections(as_of.project_id, gone.subquery().c).where(
            ProjectStudy.project_id == as_of.project_id, ProjectStudy.withdrawn_at.is_(None)
        )
        for row in session.execute(statement):
            frames = _frames(session, {was["rendering_id"]})
            if (selection := _selection(row, as_of, frames)) is not None:
                found.append(selection | {"skipped": was["skipped"]})
    return found


def _rendering_of(row: Any, as_of: AsOf) -> int | None:
    was = as_of.was.get(("selection", row.id), {})
    rendering_id: int | None = was.get("rendering_id", row.rendering_id)
    return rendering_id


def _selection(
    row: Any, as_of: AsOf, frames: Mapping[int | None, tuple[int, int]]
) -> JsonObject | None:
    """Return a selection as it was; None: there was none yet."""
    if (row.study_id, row.version) in as_of.unplanned or row.study_id in as_of.unborn["use"]:
        return None
    if as_of.was.get(("selection", row.id), {}).get("is_absent"):
        return None
    instance_id, frame = frames.get(_rendering_of(row, as_of), (None, None))
    return {
        "selection_id": row.id,
        "study_instance_uid": row.study_uid,
        "study_version": row.version,
        "series_id": row.series_id,
        "series_instance_uid": row.series_uid,
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
    """Yield what is left of answers and references whose studies the project lost: ids, letters,
    hashes, by which the hash of the record can still be checked."""
    for kind, statement in (
        ("answer", _withdrawn_answers(as_of.project_id)),
        ("reference_standard", _withdrawn_references(as_of.project_id)),
    ):
        form = FORMS[kind]
        for chunk in _partition(session, statement):
            for record in read_records(session, kind, chunk):
                if record.object_id in as_of.unborn[kind]:
                    continue
                line: JsonObject = {"kind": kind, "id": record.object_id}
                commitments = record.commit(kind)
                if commitments is not None:
                    line["record"] = {name: record.values[name] for name in form.in_the_open}
                    line["commitments"] = dict(commitments)
                yield line


def _partition(session: Session, statement: Any) -> Iterator[list[int]]:
    ids = list(session.scalars(statement))
    for first in range(0, len(ids), _CHUNK):
        yield ids[first : first + _CHUNK]


def _withdrawn_answers(project_id: int) -> Any:
    return (
        select(Answer.id)
        .join(Generation, Generation.id == Answer.generation_id)
        .join(Prompt, Prompt.id == Generation.prompt_id)
        .join(Rendering, Rendering.id == Prompt.rendering_id)
        .join(Instance, Instance.id == Rendering.instance_id)
        .join(Series, Series.id == Instance.series_id)
        .join(ProjectStudy, ProjectStudy.study_id == Series.study_id)
        .where(*_is_withdrawn(project_id))
        .order_by(Answer.id)
    )


def _withdrawn_references(project_id: int) -> Any:
    return (
        select(ReferenceStandard.id)
        .join(Instance, Instance.id == ReferenceStandard.instance_id)
        .join(Series, Series.id == Instance.series_id)
        .join(ProjectStudy, ProjectStudy.study_id == Series.study_id)
        .where(*_is_withdrawn(project_id))
        .order_by(ReferenceStandard.id)
    )


def _is_withdrawn(project_id: int) -> list[ColumnElement[bool]]:
    """Build the conditions for a study that was withdrawn from a project, as events say, too."""
    project = select(Project.name).where(Project.id == project_id).scalar_subquery()
    from_it = AuditEvent.old_value["project"].as_string() == project
    told = select(AuditEvent.object_id).where(
        AuditEvent.object_type == "study",
        or_(
            AuditEvent.action == "study.withdrawn",
            and_(AuditEvent.action == "study.project_withdrawn", from_it),
        ),
    )
    return [
        ProjectStudy.project_id == project_id,
        ProjectStudy.withdrawn_at.is_not(None),
        ProjectStudy.study_id.in_(told),
    ]
