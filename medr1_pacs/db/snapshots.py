"""Snapshots: which answers, and what could change of them as it was."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from medr1_pacs.db.audit import add_event
from medr1_pacs.db.research import read_answers
from medr1_pacs.db.rows import insert_into
from medr1_pacs.db.sessions import Database
from medr1_pacs.db.tables import AnswerFacet, Project, SnapshotAnswer
from medr1_pacs.db.tables import Snapshot as SnapshotRow
from medr1_pacs.errors import RowExists, SnapshotNotFound
from medr1_pacs.records.research import ResearchAnswer
from medr1_pacs.records.snapshots import Snapshot
from medr1_pacs.records.words import JsonObject

_CHUNK = 1_000
WITHDRAWN = "withdrawn"
"""The field that an answer has, beside its id alone, when it was withdrawn."""


@dataclass(frozen=True, slots=True)
class FrozenAnswer:
    """An answer of a snapshot that is being made."""

    answer_id: int
    frozen: bytes
    """Its frozen fields, as JSON."""
    sha256: str
    """Of its line of JSON."""


@dataclass(frozen=True, slots=True)
class CitedAnswer:
    """An answer of a snapshot: as it was, or what is left of one that was withdrawn."""

    answer_id: int
    values: JsonObject | None
    """None: it was withdrawn, or removed behind our back."""
    is_withdrawn: bool
    sha256: str | None
    """Of its line of JSON when the snapshot was made; None in one of an earlier schema."""

    def to_json(self) -> JsonObject:
        """Return its fields, or that it was withdrawn."""
        return self.values or {"answer_id": self.answer_id, WITHDRAWN: True}


def add_snapshot(
    session: Session, snapshot: Snapshot, frozen: Sequence[FrozenAnswer], *, actor: str
) -> None:
    """Write a snapshot with its answers.

    Raises
    ------
    RowExists
        The project has a snapshot of this name, or an answer was withdrawn since it was read.
    """
    if has_snapshot(session, snapshot.project, snapshot.name):
        raise RowExists(f"the project {snapshot.project} has a snapshot {snapshot.name!r} already")
    # Shared with nobody who withdraws a study from it: all of its answers go, or none came.
    project_id = session.scalars(
        select(Project.id).where(Project.name == snapshot.project).with_for_update(read=True)
    ).one()
    _refuse_withdrawn(session, project_id, [each.answer_id for each in frozen])
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
                {
                    "snapshot_id": row.id,
                    "answer_id": each.answer_id,
                    "frozen": json.loads(each.frozen),
                    "sha256": each.sha256,
                }
                for each in frozen[first : first + _CHUNK]
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


def _refuse_withdrawn(session: Session, project_id: int, answer_ids: Sequence[int]) -> None:
    for first in range(0, len(answer_ids), _CHUNK):
        chunk = answer_ids[first : first + _CHUNK]
        found = session.scalar(
            select(func.count())
            .select_from(AnswerFacet)
            .where(AnswerFacet.project_id == project_id, AnswerFacet.answer_id.in_(chunk))
        )
        if found != len(chunk):
            raise RowExists("an answer was withdrawn while the snapshot was made; make it again")


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


def iterate_snapshot(database: Database, project: str, name: str) -> Iterator[CitedAnswer]:
    """Yield the answers of a snapshot as they were, in order; each thousand in a transaction."""
    with database.read() as session:
        row = _row(session, project, name)
    last = 0
    while True:
        with database.read() as session:
            chunk = session.execute(
                select(
                    SnapshotAnswer.answer_id,
                    SnapshotAnswer.frozen,
                    SnapshotAnswer.sha256,
                    SnapshotAnswer.withdrawn_at,
                )
                .where(SnapshotAnswer.snapshot_id == row.id, SnapshotAnswer.answer_id > last)
                .order_by(SnapshotAnswer.answer_id)
                .limit(_CHUNK)
            ).all()
            frozen = {found.answer_id: found.frozen for found in chunk if not found.withdrawn_at}
            answers = {
                answer.answer_id: restore(answer, frozen[answer.answer_id], row.fields)
                for answer in read_answers(session, project, frozen.keys())
            }
        for found in chunk:
            yield CitedAnswer(
                found.answer_id,
                answers.get(found.answer_id),
                found.withdrawn_at is not None,
                found.sha256,
            )
        if len(chunk) < _CHUNK:
            return
        last = chunk[-1].answer_id


def list_columns(session: Session, project: str, name: str) -> list[str]:
    """Return the fields of a snapshot's answers; with `withdrawn` where some were."""
    row = _row(session, project, name)
    withdrawn = select(SnapshotAnswer.answer_id).where(
        SnapshotAnswer.snapshot_id == row.id, SnapshotAnswer.withdrawn_at.is_not(None)
    )
    has_withdrawn = session.scalar(withdrawn.limit(1)) is not None
    return [*row.fields, *([WITHDRAWN] if has_withdrawn else [])]


def iterate_rows(database: Database, project: str, name: str) -> Iterator[JsonObject]:
    """Yield the answers of a snapshot as files have them."""
    for answer in iterate_snapshot(database, project, name):
        if answer.values is not None or answer.is_withdrawn:
            yield answer.to_json()


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
