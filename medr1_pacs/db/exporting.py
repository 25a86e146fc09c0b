"""What an export holds, as of a head of the log.

Rows are read as they are now; what changed since the head is put back, and what came since is left
out. What was withdrawn since is gone, and said.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Select,
    and_,
    case,
    exists,
    false,
    func,
    literal,
    null,
    or_,
    select,
    type_coerce,
)
from sqlalchemy.orm import Session
from sqlalchemy.types import String

from medr1_pacs.audit.canonical import commit, field_salt
from medr1_pacs.audit.events import Event
from medr1_pacs.audit.records import FORMS
from medr1_pacs.db.audit import add_event
from medr1_pacs.db.cells import iterate_cells
from medr1_pacs.db.reading import describe_filters
from medr1_pacs.db.recording import read_records
from medr1_pacs.db.research import answer_columns, joined_answers, narrow_rows
from medr1_pacs.db.sealing import find_head, iterate_leaves
from medr1_pacs.db.sessions import Database
from medr1_pacs.db.tables import (
    Answer,
    AnswerFacet,
    AnswerOutcome,
    AuditEvent,
    AuditLeaf,
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
    ReferenceStandard,
    Rendering,
    Selection,
    Series,
    Study,
    StudyVersion,
)
from medr1_pacs.db.verifying import see_one_moment
from medr1_pacs.disclosure import AGE_MAX
from medr1_pacs.errors import ExportRefused
from medr1_pacs.exports.cells import cell
from medr1_pacs.filters import UNKNOWN, AnswerFilters, Demo, Versions
from medr1_pacs.records.dictionary import describe_fields
from medr1_pacs.records.exported import ExportedAnswer
from medr1_pacs.records.planned import Decoding
from medr1_pacs.records.words import Correctness, DatePolicy, JsonObject, PromptKind

_CHUNK = 1_000
_BIRTHS = {
    "answer": ("answer.parsed", "answer.adopted"),
    "reference_standard": ("reference.derived", "reference_standard.adopted"),
    "superseded": ("reference.superseded",),
    "plan": ("study.planned",),
    "use": ("study.project_added",),
}
"""What must have happened for a row to be shown -> the events that tell of it."""


class IdSet:
    """Row ids, a bit each."""

    def __init__(self, ids: Collection[int] = ()) -> None:
        self._bits = bytearray()
        for each in ids:
            self.add(each)

    def add(self, row_id: int) -> None:
        byte = row_id >> 3
        if byte >= len(self._bits):
            self._bits.extend(bytes(byte + 1 - len(self._bits) + 4096))
        self._bits[byte] |= 1 << (row_id & 7)

    def __contains__(self, row_id: int) -> bool:
        byte = row_id >> 3
        return byte < len(self._bits) and bool(self._bits[byte] >> (row_id & 7) & 1)


@dataclass(frozen=True, slots=True)
class AsOf:
    """What is different between a head of the log and now, of one project."""

    project_id: int
    size: int
    """Of the head: events with a lower place had happened."""
    was: Mapping[tuple[str, int], JsonObject]
    """(object type, id) -> what was shown of it."""
    unborn: Mapping[str, IdSet]
    """Rows of which nobody knew yet, by the keys of `_BIRTHS`."""
    unplanned: frozenset[tuple[int, int]]
    """(study, version) without a plan yet."""


def look_back(session: Session, project_id: int, size: int) -> AsOf:
    """Find out what changed since a head."""
    later = or_(AuditLeaf.seq.is_(None), AuditLeaf.seq >= size)
    was: dict[tuple[str, int], JsonObject] = {}
    rows = session.execute(
        select(PastValue.object_type, PastValue.object_id, PastValue.was)
        .outerjoin(AuditLeaf, AuditLeaf.event_id == PastValue.event_id)
        .where(later, or_(PastValue.project_id.is_(None), PastValue.project_id == project_id))
        .order_by(PastValue.id.desc())
    )
    for row in rows:  # the earliest change comes last, and tells how it was
        was.setdefault((row.object_type, row.object_id), {}).update(row.was)
    kinds = {action: kind for kind, actions in _BIRTHS.items() for action in actions}
    unborn = {kind: IdSet() for kind in _BIRTHS}
    unplanned = set()
    for found in _later_events(session, size, tuple(kinds)):
        kind = kinds[found.action]
        if kind == "plan":
            unplanned.add((found.object_id, found.new_value["version"]))
        elif kind != "use" or found.project_id in (None, project_id):
            unborn[kind].add(found.object_id)
    return AsOf(project_id, size, was, unborn, frozenset(unplanned))


def _later_events(session: Session, size: int, actions: tuple[str, ...]) -> Iterator[Any]:
    columns = (AuditEvent.action, AuditEvent.object_id, AuditEvent.new_value)
    sealed = (
        select(*columns, AuditLeaf.project_id)
        .join(AuditLeaf, AuditLeaf.event_id == AuditEvent.id)
        .where(AuditLeaf.seq >= size, AuditEvent.action.in_(actions))
    )
    unsealed = (
        select(*columns, AuditLeaf.project_id)
        .outerjoin(AuditLeaf, AuditLeaf.event_id == AuditEvent.id)
        .where(AuditLeaf.seq.is_(None), AuditEvent.action.in_(actions))
    )
    yield from session.execute(sealed)
    yield from session.execute(unsealed)


# -- answers ---------------------------------------------------------------------------------------

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
    answers = [row_id for kind, row_id in as_of.was if kind == "answer"]
    series = [row_id for kind, row_id in as_of.was if kind == "series"]
    return or_(AnswerFacet.answer_id.in_(answers), Series.id.in_(series))


def iterate_answers(
    session: Session, project: str, filters: AnswerFilters, as_of: AsOf
) -> Iterator[list[str | None]]:
    """Yield the cells of the answers that filters found as of a head, in the order of ids."""
    statement = answers_statement(session, project, filters, as_of)
    unborn, was = as_of.unborn["answer"], as_of.was
    answer_id, decoding = _PLACE["answer_id"], _PLACE["decoding"]
    truth, choice_text, is_correct = (
        _PLACE[name] for name in ("truth", "choice_text", "is_correct")
    )
    for cells in iterate_cells(session, statement, _COLUMNS):
        if int(cells[answer_id] or 0) in unborn:
            continue
        if was and _put_back(cells, was) and not _finds(filters, cells):
            continue
        cells[decoding] = _in_order(cells[decoding] or "{}")
        if cells[truth] is not None:
            cells[is_correct] = "true" if cells[choice_text] == cells[truth] else "false"
        yield cells


@lru_cache(maxsize=64)
def _in_order(decoding: str) -> str:
    """Return what an engine was told in the order of its fields, whatever a database keeps."""
    return json.dumps(Decoding.from_json(json.loads(decoding)).to_json())


def _put_back(cells: list[str | None], was: Mapping[tuple[str, int], JsonObject]) -> bool:
    """Let an answer be as it was; whether anything of it was different."""
    answer_id, series_id = (int(cells[_PLACE[n]] or 0) for n in ("answer_id", "series_id"))
    values = {**was.get(("series", series_id), {}), **was.get(("answer", answer_id), {})}
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
            AnswerFacet.answer_id.in_([row["answer_id"] for row in chunk])
        )
        there = set(session.scalars(whole))
        yield from (row for row in chunk if row["answer_id"] in there)


def _left_out(
    session: Session, exported: IdSet, filters: AnswerFilters, as_of: AsOf
) -> Iterator[JsonObject]:
    rows = session.execute(
        select(
            AnswerFacet.answer_id,
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
    for answer_id, is_current, kind, is_demo in rows:
        if answer_id in exported or answer_id in unborn:
            continue
        was_current = as_of.was.get(("answer", answer_id), {}).get("is_current", is_current)
        if is_demo and filters.demo == Demo.NO:
            reason = "demo"
        elif kind is not PromptKind.PROTOCOL and kind not in filters.kind and filters.kind:
            reason = "control"
        elif not was_current and filters.versions == Versions.CURRENT:
            reason = "not_current"
        else:
            reason = "filter"
        yield {"answer_id": answer_id, "reason": reason}


# -- the other tables ------------------------------------------------------------------------------


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


# -- what was withdrawn ----------------------------------------------------------------------------


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


# -- events ----------------------------------------------------------------------------------------

_OF_ACCOUNTS = ("account.added", "account.adopted", "account.closed", "account.reopened")


def iterate_events(
    session: Session,
    as_of: AsOf,
    *,
    questions: Collection[int],
    checkpoints: Collection[int],
    accounts: Collection[int],
) -> Iterator[tuple[int, Event]]:
    """Yield the events of a project until the head, in their order.

    Its own, those of its studies, of the questions and checkpoints that it used, of the accounts
    that had a role in it, and of the log itself.

    Raises
    ------
    ExportRefused
        One of them is gone, or cannot be read.
    """
    studies = select(ProjectStudy.study_id).where(ProjectStudy.project_id == as_of.project_id)
    kind = AuditEvent.object_type
    columns: Sequence[Any] = (
        AuditLeaf.seq,
        AuditLeaf.event_id,
        AuditLeaf.study_id,
        AuditLeaf.project_id,
        AuditEvent.id,
        AuditEvent.action,
        AuditEvent.object_type,
        AuditEvent.object_id,
        AuditEvent.account_id,
        AuditEvent.record_sha256,
        AuditEvent.salt,
        AuditEvent.actor,
        _canonical_time(session),
        AuditEvent.old_value,
        AuditEvent.new_value,
        AuditEvent.reason,
    )
    statement = (
        select(*columns)
        .outerjoin(AuditEvent, AuditEvent.id == AuditLeaf.event_id)
        .where(
            AuditLeaf.seq < as_of.size,
            or_(
                AuditLeaf.project_id == as_of.project_id,
                AuditLeaf.study_id.in_(studies),
                and_(kind == "question", _among(AuditEvent.object_id, questions)),
                and_(kind == "checkpoint", _among(AuditEvent.object_id, checkpoints)),
                and_(
                    kind == "account",
                    AuditEvent.action.in_(_OF_ACCOUNTS),
                    _among(AuditEvent.object_id, accounts),
                ),
                and_(kind == "audit", AuditEvent.action.startswith("log.")),
            ),
        )
        .order_by(AuditLeaf.seq)
    )
    for seq, event_id, study_id, project_id, own_id, *rest in iterate_cells(
        session, statement, _EVENT_COLUMNS
    ):
        action, object_type, object_id, account_id, record, salt, *committed = rest
        actor, at, old, new, reason = committed
        try:
            row_id = int(own_id or "")
            values = {"old": old, "new": new}
            told = {name: json.loads(text) for name, text in values.items() if text is not None}
        except ValueError as error:
            raise ExportRefused(
                f"event {event_id} (place {seq} of the audit log) was deleted or damaged: see "
                "`medr1-pacs audit verify --database`"
            ) from error
        yield (
            int(seq or 0),
            Event(
                event_id=row_id,
                action=action or "",
                object_type=object_type or "",
                object_id=None if object_id is None else int(object_id),
                study_id=None if study_id is None else int(study_id),
                project_id=None if project_id is None else int(project_id),
                account_id=None if account_id is None else int(account_id),
                record=record,
                salt=salt or "",
                actor=actor or "",
                at=at or "",
                told=told,
                reason=reason,
            ),
        )


_EVENT_COLUMNS = {
    "seq": "int",
    "event_id": "int",
    "study_id": "int",
    "project_id": "int",
    "own_id": "int",
    "action": "str",
    "object_type": "str",
    "object_id": "int",
    "account_id": "int",
    "record": "str",
    "salt": "str",
    "actor": "str",
    "at": "str",
    "old": "dict",
    "new": "dict",
    "reason": "str",
}


def _canonical_time(session: Session) -> Any:
    """Build what `canonical_time` makes of when an event happened."""
    if session.get_bind().dialect.name == "sqlite":
        stored = type_coerce(AuditEvent.occurred_at, String)
        return func.replace(stored, " ", "T").op("||")("Z")
    moment = func.timezone("UTC", AuditEvent.occurred_at)
    return func.to_char(moment, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')


def _among(column: Any, ids: Collection[int]) -> ColumnElement[bool]:
    return column.in_(ids) if ids else false()


def list_members(session: Session, as_of: AsOf) -> set[int]:
    """Return the accounts that had a role in the project until the head."""
    rows = session.execute(
        select(AuditEvent.action, AuditEvent.object_id, AuditEvent.new_value)
        .join(AuditLeaf, AuditLeaf.event_id == AuditEvent.id)
        .where(
            AuditLeaf.seq < as_of.size,
            AuditLeaf.project_id == as_of.project_id,
            AuditEvent.action.in_(("account.role_given", "project_member.adopted")),
        )
    )
    return {
        row.new_value["account_id"] if row.action == "project_member.adopted" else row.object_id
        for row in rows
    }


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
            Checkpoint.name,
            Prompt.kind,
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


# -- one reader of all that -----------------------------------------------------------------------


class ExportReader:
    """What an export of a project holds, all as of one head, read in one transaction."""

    def __init__(
        self, session: Session, project: str, project_id: int, filters: AnswerFilters, size: int
    ) -> None:
        self._session = session
        self._project = project
        self._filters = filters
        self._as_of = look_back(session, project_id, size)

    def answers(self) -> Iterator[list[str | None]]:
        return iterate_answers(self._session, self._project, self._filters, self._as_of)

    def left_out(self, exported: IdSet) -> Iterator[JsonObject]:
        return iterate_left_out(self._session, self._project, exported, self._filters, self._as_of)

    def wide(self, exported: IdSet) -> Iterator[tuple[JsonObject, dict[str, str | None]]]:
        return iterate_wide(self._session, self._as_of.project_id, exported)

    def questions(self, rows: Collection[int]) -> Iterator[JsonObject]:
        return iterate_questions(self._session, rows)

    def checkpoints(self, rows: Collection[int]) -> Iterator[JsonObject]:
        return iterate_checkpoints(self._session, rows)

    def references(self) -> Iterator[JsonObject]:
        return iterate_references(self._session, self._as_of)

    def selections(self) -> Iterator[JsonObject]:
        return iterate_selections(self._session, self._as_of)

    def withdrawn(self) -> Iterator[JsonObject]:
        return iterate_withdrawn(self._session, self._as_of)

    def members(self) -> set[int]:
        return list_members(self._session, self._as_of)

    def events(
        self, *, questions: Collection[int], checkpoints: Collection[int], accounts: Collection[int]
    ) -> Iterator[tuple[int, Event]]:
        """Yield each event with its place."""
        return iterate_events(
            self._session,
            self._as_of,
            questions=questions,
            checkpoints=checkpoints,
            accounts=accounts,
        )

    def leaves(self) -> Iterator[bytes]:
        """Yield the hashes of all leaves up to the head."""
        return iterate_leaves(self._session, 0, AuditLeaf.seq < self._as_of.size)


@contextmanager
def open_export(
    database: Database, project: str, filters: AnswerFilters, size: int
) -> Iterator[ExportReader]:
    """Read a project as of a head of the log.

    Raises
    ------
    ExportRefused
        There is no such project.
    """
    with database.read() as session:
        see_one_moment(session)
        project_id = session.scalar(select(Project.id).where(Project.name == project))
        if project_id is None:
            raise ExportRefused(f"there is no project {project!r}")
        yield ExportReader(session, project, project_id, filters, size)


def find_recorded_head(session: Session, origin: str, at_most: int) -> str | None:
    """Return the note of the last recorded head of at most so many events."""
    head = find_head(session, origin, at_most=at_most)
    return None if head is None else head.note


def tell_export(
    session: Session, project: str, filters: AnswerFilters, *, actor: str, **more: Any
) -> None:
    """Note that somebody exports a project.

    Raises
    ------
    ExportRefused
        There is no such project.
    """
    project_id = session.scalar(select(Project.id).where(Project.name == project))
    if project_id is None:
        raise ExportRefused(f"there is no project {project!r}")
    add_event(
        session,
        "project.exported",
        "project",
        project_id,
        actor=actor,
        new={"filters": describe_filters(session, project_id, filters)} | more,
    )
