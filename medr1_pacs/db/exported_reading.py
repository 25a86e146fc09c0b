"""Reading protocols as an export has them: frozen cases, planned reads, and what readers said."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from medr1_pacs.audit.canonical import commit, field_salt
from medr1_pacs.audit.reading_events import ReadingEvents, ReadState
from medr1_pacs.audit.records import FORMS
from medr1_pacs.db.as_of import AsOf, IdSet
from medr1_pacs.db.audit import canonical_time
from medr1_pacs.db.judged import get_judged_protocol
from medr1_pacs.db.recording import Record, read_records
from medr1_pacs.db.sealing import UNREADABLE
from medr1_pacs.db.tables import (
    Assignment,
    ProjectStudy,
    Question,
    ReadingCase,
    ReadingPerson,
    ReadingProtocol,
    Review,
)
from medr1_pacs.records.judged import JudgedCase, JudgedProtocol
from medr1_pacs.records.words import JsonObject
from medr1_pacs.reviews.protocols import without_names

READ_KINDS = ("reading_case", "review")
"""Kinds of records that reading protocols have."""


def iterate_read(session: Session, as_of: AsOf, kind: str) -> Iterator[Record]:
    """Yield the records of a kind of the project's reading protocols, in the order of row ids."""
    ids = [each for each in session.scalars(_ids(kind, as_of)) if each not in as_of.unborn[kind]]
    yield from read_records(session, kind, ids)


def _ids(kind: str, as_of: AsOf) -> Any:
    if kind == "review":
        return _of_project(
            select(Review.id).join(ReadingCase, ReadingCase.id == Review.case_id), as_of
        ).order_by(Review.id)
    return _of_project(select(ReadingCase.id), as_of).order_by(ReadingCase.id)


def _of_project(statement: Any, as_of: AsOf) -> Any:
    """Keep of a select of cases those of the project's protocols."""
    return statement.join(ReadingProtocol, ReadingProtocol.id == ReadingCase.protocol_id).where(
        ReadingProtocol.project_id == as_of.project_id
    )


def _is_shown(record: Record, as_of: AsOf) -> bool:
    return record.salt is not None and as_of.has(record.values["study_id"])


def iterate_cases(session: Session, as_of: AsOf) -> Iterator[JsonObject]:
    """Yield the frozen cases of which no study was withdrawn."""
    uids: dict[int, str | None] = {
        row.study_id: row.pseudonymous_uid
        for row in session.execute(
            select(ProjectStudy.study_id, ProjectStudy.pseudonymous_uid).where(
                ProjectStudy.project_id == as_of.project_id,
                ProjectStudy.study_id.in_(_of_project(select(ReadingCase.study_id), as_of)),
            )
        )
    }
    asked = select(Question.id, Question.question_id).where(
        Question.id.in_(_of_project(select(ReadingCase.question_id), as_of))
    )
    questions = {row.id: row.question_id for row in session.execute(asked)}
    for record in iterate_read(session, as_of, "reading_case"):
        if _is_shown(record, as_of):
            yield dict(record.values) | {
                "study_instance_uid": uids.get(record.values["study_id"]),
                "question_id": questions.get(record.values["question_row"]),
                "record_salt": record.salt,
            }


def iterate_reviews(
    session: Session, as_of: AsOf, *, hidden: Collection[str]
) -> Iterator[JsonObject]:
    """Yield what readers locked of the cases of which no study was withdrawn.

    `hidden`: fields of which the commitment is shown in the place of what they say.
    """
    form = FORMS["review"]
    for record in iterate_read(session, as_of, "review"):
        if not _is_shown(record, as_of):
            continue
        salt, row = record.salt or "", dict(record.values)
        covered = [name for name in form.committed if name in hidden and row[name] is not None]
        row["salts"] = {
            name: field_salt(salt, name) for name in form.committed if name not in covered
        }
        row["commitments"] = {name: commit(salt, name, row[name]) for name in covered}
        yield row | dict.fromkeys(covered)


def iterate_protocols(
    session: Session, as_of: AsOf, events: ReadingEvents, *, shows_times: bool
) -> Iterator[JsonObject]:
    """Yield the reading protocols of the project, in the states that events say."""
    for row in _protocols(session, as_of):
        told = events.protocols.get(row.id)
        definition = json.dumps(
            without_names(row.definition),
            sort_keys=True,
            separators=(",", ":"),
            ensure_ascii=False,
        )
        yield {
            "protocol_id": row.id,
            "name": row.name,
            "version": row.version,
            "title": row.title,
            "definition": definition,
            "definition_sha256": row.definition_sha256,
            "state": told.state if told else row.state,
            "started_at": canonical_time(row.started_at) if shows_times else None,
        }


def iterate_people(session: Session, as_of: AsOf) -> Iterator[JsonObject]:
    """Yield who reads by the protocols of the project, and who adjudicates."""
    protocols = [row.id for row in _protocols(session, as_of)]
    rows = session.scalars(
        select(ReadingPerson)
        .where(ReadingPerson.protocol_id.in_(protocols))
        .order_by(ReadingPerson.protocol_id, ReadingPerson.id)
    )
    for row in rows:
        yield {
            "protocol_id": row.protocol_id,
            "account_id": row.account_id,
            "part": row.part,
            "label": row.label,
        }


def _protocols(session: Session, as_of: AsOf) -> list[ReadingProtocol]:
    rows = session.scalars(
        select(ReadingProtocol)
        .where(ReadingProtocol.project_id == as_of.project_id)
        .order_by(ReadingProtocol.id)
    )
    return [row for row in rows if row.id not in as_of.unborn["reading_protocol"]]


def iterate_judged(session: Session, as_of: AsOf) -> Iterator[JudgedProtocol]:
    """Yield what was said of each protocol's cases until the head, but of one that has a value
    which none of ours has: the verifier says of its records which."""
    unborn = as_of.unborn["review"]
    for row in _protocols(session, as_of):
        try:
            judged = get_judged_protocol(session, row.id)
        except UNREADABLE:
            continue
        yield replace(judged, cases=[_until(case, unborn) for case in judged.cases])


def _until(case: JudgedCase, unborn: IdSet) -> JudgedCase:
    """Return a case without the reviews that were not there yet."""
    reads = [
        replace(read, reviews=[each for each in read.reviews if each.review_id not in unborn])
        for read in case.reads
    ]
    return replace(case, reads=[read for read in reads if read.reviews])


def iterate_assignments(
    session: Session, as_of: AsOf, events: ReadingEvents
) -> Iterator[JsonObject]:
    """Yield the planned reads of the project, as far as events say that they are."""
    rows = session.execute(
        _of_project(
            select(
                Assignment.id,
                Assignment.case_id,
                Assignment.kind,
                Assignment.arm,
                Assignment.account_id,
                Assignment.is_pooled,
                Assignment.place,
                Assignment.state,
                ReadingProtocol.id.label("protocol_id"),
            ).join(ReadingCase, ReadingCase.id == Assignment.case_id),
            as_of,
        ).order_by(Assignment.id)
    )
    for row in rows:
        unborn = as_of.unborn
        if row.protocol_id in unborn["reading_protocol"] or row.id in unborn["planned_later"]:
            continue
        now = ReadState(row.account_id, row.place, row.state)
        with suppress(KeyError):  # of what events tell nothing of, the row has to speak
            planned_for = None if row.is_pooled else row.account_id
            now = events.state_of(row.id, row.case_id, row.arm, planned_for=planned_for)
        yield {
            "assignment_id": row.id,
            "case_id": row.case_id,
            "read_kind": row.kind,
            "arm": row.arm,
            "is_pooled": row.is_pooled,
            "account_id": now.account_id,
            "place": now.place,
            "state": now.state,
        }
