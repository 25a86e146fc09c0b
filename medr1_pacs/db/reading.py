"""Reading -> audit event: who looks at what, committed before anything of it is shown.

What cannot be recorded is not shown; of what was not shown in the end, as a file that nobody
fetched, a trace may remain.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from medr1_pacs.db.audit import add_event
from medr1_pacs.db.research import ORIGIN_OF, OUTCOME_OF
from medr1_pacs.db.sessions import Database
from medr1_pacs.db.tables import (
    AnswerOrigin,
    AnswerOutcome,
    AuditEvent,
    Project,
    ProjectStudy,
    Snapshot,
)
from medr1_pacs.errors import SnapshotNotFound
from medr1_pacs.filters import CHOICES, UNKNOWN, AnswerFilters
from medr1_pacs.records.accuracy import Grouping
from medr1_pacs.records.audit import EventFilters
from medr1_pacs.records.reading import How, Reading
from medr1_pacs.records.words import JsonObject

NOT_KEPT = "(not kept)"
"""Stands for a value that nothing has: it may be anything that somebody typed, as a name."""
_DATES = ("since", "until")
_TYPED = ("object_type", "actor", "action")


def record_query(
    database: Database, project: str, filters: AnswerFilters, how: How, *, actor: str
) -> None:
    """Record that somebody looks for answers of a project."""
    _record_of_project(database, Reading.ANSWERS_QUERIED, project, filters, how, actor=actor)


def record_accuracy(
    database: Database,
    project: str,
    filters: AnswerFilters,
    by: Iterable[Grouping],
    how: How,
    *,
    actor: str,
) -> None:
    """Record that somebody asks how often answers of a project are right."""
    more = {"by": [grouping.value for grouping in by]}
    _record_of_project(
        database, Reading.ACCURACY_QUERIED, project, filters, how, actor=actor, more=more
    )


def record_answer(
    database: Database, project: str, answer_id: int, how: How, *, actor: str
) -> None:
    """Record that somebody looks at an answer in a project, where whoever calls has found it.

    The project is told: another one that uses the study is not to know who looks at it.
    """
    with database.write() as session:
        new = {"how": how.value, "project": project}
        add_event(session, Reading.ANSWER_VIEWED, "answer", answer_id, actor=actor, new=new)


def record_snapshot(database: Database, project: str, name: str, how: How, *, actor: str) -> None:
    """Record that somebody looks at a snapshot.

    Raises
    ------
    SnapshotNotFound
        The project has none of this name.
    """
    with database.write() as session:
        row_id = session.scalar(
            select(Snapshot.id)
            .join(Project, Snapshot.project_id == Project.id)
            .where(Project.name == project, Snapshot.name == name)
        )
        if row_id is None:
            raise SnapshotNotFound(f"the project {project} has no snapshot {name!r}")
        new = {"how": how.value}
        add_event(session, Reading.SNAPSHOT_VIEWED, "snapshot", row_id, actor=actor, new=new)


def record_results(
    database: Database, protocol_id: int, how: How, *, file: str | None = None, actor: str
) -> None:
    """Record that somebody looks at the results of a reading protocol; `file`: a name of ours."""
    with database.write() as session:
        new = {"how": how.value} | ({"file": file} if file is not None else {})
        add_event(
            session, Reading.RESULTS_VIEWED, "reading_protocol", protocol_id, actor=actor, new=new
        )


def record_study(database: Database, study_id: int, *, actor: str) -> None:
    """Record that somebody looks at the page of a study."""
    with database.write() as session:
        add_event(session, Reading.STUDY_VIEWED, "study", study_id, actor=actor)


def has_viewed_study(session: Session, study_id: int, *, actor: str) -> bool:
    """Whether somebody looked at a study before: a page of theirs shows itself again."""
    found = select(AuditEvent.id).where(
        AuditEvent.object_type == "study",
        AuditEvent.object_id == study_id,
        AuditEvent.action == Reading.STUDY_VIEWED,
        AuditEvent.actor == actor,
    )
    return session.scalar(found.limit(1)) is not None


def record_listing(database: Database, what: Reading, how: How, *, actor: str) -> None:
    """Record that somebody lists something of the whole site."""
    with database.write() as session:
        add_event(session, what, "site", None, actor=actor, new={"how": how.value})


def record_audit(database: Database, filters: EventFilters, *, is_found: bool, actor: str) -> None:
    """Record that somebody looks at the log.

    Where nothing is found, a text of the filters may be anything that somebody typed.
    """
    kept = {
        name: value if is_found or name not in _TYPED else NOT_KEPT
        for name, value in filters.to_query().items()
    }
    with database.write() as session:
        add_event(session, Reading.AUDIT_VIEWED, "audit", None, actor=actor, new={"filters": kept})


def _record_of_project(
    database: Database,
    action: Reading,
    project: str,
    filters: AnswerFilters,
    how: How,
    *,
    actor: str,
    more: JsonObject | None = None,
) -> None:
    with database.write() as session:
        # None: there is no such project, and nothing to find in it.
        project_id = session.scalar(select(Project.id).where(Project.name == project))
        new = {"how": how.value, "filters": describe_filters(session, project_id, filters)}
        add_event(session, action, "project", project_id, actor=actor, new=new | (more or {}))


def describe_filters(
    session: Session, project_id: int | None, filters: AnswerFilters
) -> JsonObject:
    """Return filters as an event may keep them: without what a person may have been named by.

    Of words, how many there were. A value of an open set is kept where something has it, which is
    all that it can have found.
    """
    kept: JsonObject = {}
    for name, given in filters.to_query().items():
        if name == "words":
            kept[name] = len(filters.word_list)
        elif name in CHOICES or name in _DATES:
            kept[name] = given
        else:
            known = {UNKNOWN, *session.scalars(_values_that_are_there(name, given, project_id))}
            kept[name] = [value if value in known else NOT_KEPT for value in given]
    return kept


def _values_that_are_there(
    name: str, values: Collection[str], project_id: int | None
) -> Select[tuple[str]]:
    column: Any = _OPEN_SETS[name]
    found = select(column).where(column.in_(values)).distinct()
    return found.where(ProjectStudy.project_id == project_id) if name in _NAMES else found


_NAMES = {
    "patient": ProjectStudy.patient_pseudonym,
    "study": ProjectStudy.pseudonymous_uid,
}
"""What only one project knows somebody by."""
_OPEN_SETS = {
    **{name: getattr(AnswerOutcome, column) for name, column in OUTCOME_OF.items()},
    **{name: getattr(AnswerOrigin, column) for name, column in ORIGIN_OF.items()},
    **_NAMES,
}
"""Filter -> the column that has its values."""
