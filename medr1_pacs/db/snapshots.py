"""Snapshots: which answers, and what could change of them as it was."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import fields

from sqlalchemy import select
from sqlalchemy.orm import Session

from medr1_pacs.db.audit import add_event
from medr1_pacs.db.research import read_answers
from medr1_pacs.db.rows import insert_into
from medr1_pacs.db.sessions import Database
from medr1_pacs.db.tables import Project, SnapshotAnswer
from medr1_pacs.db.tables import Snapshot as SnapshotRow
from medr1_pacs.errors import RowExists, SnapshotNotFound
from medr1_pacs.records.research import ResearchAnswer
from medr1_pacs.records.snapshots import Snapshot
from medr1_pacs.records.words import JsonObject

_CHUNK = 1_000


def add_snapshot(
    session: Session, snapshot: Snapshot, frozen: Sequence[tuple[int, bytes]], *, actor: str
) -> None:
    """Write a snapshot with its answers: the id of each, and its frozen fields as JSON.

    Raises
    ------
    RowExists
        The project has a snapshot of this name.
    """
    if has_snapshot(session, snapshot.project, snapshot.name):
        raise RowExists(f"the project {snapshot.project} has a snapshot {snapshot.name!r} already")
    project_id = session.scalars(select(Project.id).where(Project.name == snapshot.project)).one()
    values = {field.name: getattr(snapshot, field.name) for field in fields(Snapshot)}
    del values["project"]
    values["filters"] = {name: list(given) for name, given in snapshot.filters.items()}
    values["fields"] = list(snapshot.fields)
    row = SnapshotRow(project_id=project_id, **values)
    session.add(row)
    session.flush()
    for first in range(0, len(frozen), _CHUNK):
        session.execute(
            insert_into(session, SnapshotAnswer),
            [
                {"snapshot_id": row.id, "answer_id": answer_id, "frozen": json.loads(values)}
                for answer_id, values in frozen[first : first + _CHUNK]
            ],
        )
    add_event(
        session,
        "snapshot.made",
        "snapshot",
        row.id,
        actor=actor,
        new={"name": snapshot.name, "answers": snapshot.answers, "sha256": snapshot.sha256},
    )


def has_snapshot(session: Session, project: str, name: str) -> bool:
    """Whether a name is taken."""
    return _find(session, project, name) is not None


def list_snapshots(session: Session, project: str) -> list[Snapshot]:
    """Return the snapshots of a project, the latest first."""
    rows = session.scalars(
        select(SnapshotRow)
        .join(Project, SnapshotRow.project_id == Project.id)
        .where(Project.name == project)
        .order_by(SnapshotRow.id.desc())
    )
    return [_snapshot(project, row) for row in rows]


def get_snapshot(session: Session, project: str, name: str) -> Snapshot:
    """Return a snapshot of a project.

    Raises
    ------
    SnapshotNotFound
        The project has none of this name.
    """
    return _snapshot(project, _row(session, project, name))


def iterate_snapshot(database: Database, project: str, name: str) -> Iterator[JsonObject]:
    """Yield the answers of a snapshot as they were, in order; each thousand in a transaction."""
    with database.read() as session:
        row = _row(session, project, name)
    last = 0
    while True:
        with database.read() as session:
            chunk = session.execute(
                select(SnapshotAnswer.answer_id, SnapshotAnswer.frozen)
                .where(SnapshotAnswer.snapshot_id == row.id, SnapshotAnswer.answer_id > last)
                .order_by(SnapshotAnswer.answer_id)
                .limit(_CHUNK)
            ).all()
            frozen = {found.answer_id: found.frozen for found in chunk}
            answers = read_answers(session, project, frozen.keys())
        for answer in answers:
            yield restore(answer, frozen[answer.answer_id], row.fields)
        if len(chunk) < _CHUNK:
            return
        last = chunk[-1].answer_id


def restore(answer: ResearchAnswer, frozen: JsonObject, names: Sequence[str]) -> JsonObject:
    """Return an answer as it was: the fields that there were, and the frozen ones as kept."""
    values = answer.to_json() | frozen
    return {name: values[name] for name in names}


def _find(session: Session, project: str, name: str) -> SnapshotRow | None:
    return session.scalar(
        select(SnapshotRow)
        .join(Project, SnapshotRow.project_id == Project.id)
        .where(Project.name == project, SnapshotRow.name == name)
    )


def _row(session: Session, project: str, name: str) -> SnapshotRow:
    row = _find(session, project, name)
    if row is None:
        raise SnapshotNotFound(f"the project {project} has no snapshot {name!r}")
    return row


def _snapshot(project: str, row: SnapshotRow) -> Snapshot:
    names = [field.name for field in fields(Snapshot) if field.name != "project"]
    return Snapshot(project=project, **{name: getattr(row, name) for name in names})
