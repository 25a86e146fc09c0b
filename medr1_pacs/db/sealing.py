"""The log as rows: events that wait for their place, leaves in theirs, and heads."""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, and_, func, insert, select, text
from sqlalchemy.orm import Session

from medr1_pacs.audit.merkle import Frontier
from medr1_pacs.audit.notes import Checkpoint
from medr1_pacs.db.audit import canonical_event
from medr1_pacs.db.rows import iterate_chunks
from medr1_pacs.db.tables import (
    Answer,
    AuditEvent,
    AuditHead,
    AuditLeaf,
    Generation,
    Instance,
    Project,
    ProjectMember,
    Prompt,
    ReferenceImport,
    ReferenceStandard,
    ReferenceStatement,
    Rendering,
    Series,
    Snapshot,
    Withdrawal,
)
from medr1_pacs.errors import LogInconsistent

_CHUNK = 10_000


@dataclass(frozen=True, slots=True)
class Moment:
    """What was running when the database was looked at."""

    oldest_running: int
    next_to_run: int


def look_at_moment(session: Session) -> Moment | None:
    """Return which transactions run at this moment; None on SQLite, where one at a time writes."""
    if session.get_bind().dialect.name == "sqlite":
        return None
    row = session.execute(
        text(
            "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS oldest, "
            "pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS next"
        )
    ).one()
    return Moment(row.oldest, row.next)


def list_unsealed(session: Session, *, after: int, limit: int) -> Sequence[Any]:
    """Return committed events without a place, in the order of their ids.

    Of one moment: whoever depends on another's commit comes behind it, here or in a later call.
    """
    # Columns: to make objects of rows takes longer than to hash them.
    return (
        session.execute(
            select(*AuditEvent.__table__.columns)
            # The bound on both: PostgreSQL goes through both from the start otherwise.
            .outerjoin(
                AuditLeaf,
                and_(AuditLeaf.event_id == AuditEvent.id, AuditLeaf.event_id > after),
            )
            .where(AuditEvent.id > after, AuditLeaf.seq.is_(None))
            .order_by(AuditEvent.id)
            .limit(limit)
        )
    ).all()


def count_unsealed(session: Session) -> tuple[int, datetime | None]:
    """Return how many events have no place yet, and since when the oldest of them waits."""
    row = session.execute(
        select(func.count(), func.min(AuditEvent.occurred_at))
        .select_from(AuditEvent)
        .outerjoin(AuditLeaf, AuditLeaf.event_id == AuditEvent.id)
        .where(AuditLeaf.seq.is_(None))
    ).one()
    return row[0], row[1]


def count_leaves(session: Session) -> int:
    """Return how many events have their place."""
    last = session.scalar(select(func.max(AuditLeaf.seq)))
    return 0 if last is None else last + 1


def add_leaves(session: Session, events: Sequence[Any], edge: Frontier) -> None:
    """Give events their places behind the tree, which grows by them."""
    scopes = _find_scopes(session, events)
    rows = []
    for event in events:
        study_id, project_id = scopes.get(event.id, (None, None))
        leaf = canonical_event(event, study_id, project_id).leaf()
        rows.append(
            {
                "seq": edge.size,
                "event_id": event.id,
                "sha256": leaf.hex(),
                "study_id": study_id,
                "project_id": project_id,
            }
        )
        edge.add(leaf)
    if rows:
        session.execute(insert(AuditLeaf), rows)


def grow(session: Session, edge: Frontier, size: int | None = None) -> None:
    """Let a tree grow by the leaves that follow it, up to a size or to the last one."""
    bound = () if size is None else (AuditLeaf.seq < size,)
    for leaf in iterate_leaves(session, edge.size, *bound):
        edge.add(leaf)


def iterate_leaves(session: Session, first: int, *bounds: Any) -> Generator[bytes, None, None]:
    """Yield the hashes of leaves from a place on; stops where one is missing."""
    rows = session.execute(
        select(AuditLeaf.seq, AuditLeaf.sha256)
        .where(AuditLeaf.seq >= first, *bounds)
        .order_by(AuditLeaf.seq)
        .execution_options(yield_per=_CHUNK)
    )
    with closing(rows):  # whoever reads may stop early
        for place, row in enumerate(rows, first):
            if row.seq != place:
                return
            yield bytes.fromhex(row.sha256)


@dataclass(frozen=True, slots=True)
class Head:
    """A head as it is recorded in the database."""

    origin: str
    size: int
    root: bytes
    frontier: tuple[bytes, ...]
    note: str
    signed_at: datetime


def add_head(session: Session, origin: str, edge: Frontier, note: str, now: datetime) -> None:
    """Record a head that was signed."""
    session.add(
        AuditHead(
            origin=origin,
            size=edge.size,
            root_sha256=edge.root().hex(),
            frontier=[each.hex() for each in edge.hashes],
            note=note,
            signed_at=now,
        )
    )


def find_head(session: Session, origin: str, *, at_most: int | None = None) -> Head | None:
    """Return the recorded head of the largest size, or of the largest up to one; None: none."""
    bound = () if at_most is None else (AuditHead.size <= at_most,)
    row = session.scalar(
        select(AuditHead)
        .where(AuditHead.origin == origin, *bound)
        .order_by(AuditHead.size.desc())
        .limit(1)
    )
    return None if row is None else _head(row)


def iterate_heads(session: Session) -> Iterator[Head]:
    """Yield the recorded heads of every log, the first first.

    One whose hashes are none has no root and no frontier: whoever looks at it sees that.
    """
    for row in session.scalars(select(AuditHead).order_by(AuditHead.id)):
        try:
            yield _head(row)
        except (ValueError, TypeError):
            yield Head(row.origin, row.size, b"", (), row.note, row.signed_at)


def is_signed(session: Session) -> bool:
    """Whether any log was ever signed, as far as the database knows."""
    return session.scalar(select(AuditHead.id).limit(1)) is not None


def has_heads(session: Session, origin: str) -> bool:
    """Whether a log was ever signed, as far as the database knows."""
    return (
        session.scalar(select(AuditHead.id).where(AuditHead.origin == origin).limit(1)) is not None
    )


def find_edge(session: Session, origin: str, head: Checkpoint | None) -> Frontier:
    """Return the tree of all leaves, which begins with what a head says.

    Raises
    ------
    LogInconsistent
        It does not, or a leaf is missing.
    """
    size = count_leaves(session)
    if head is not None and size < head.size:
        raise LogInconsistent(
            f"the audit log has {size} events, and its last head says {head.size}: {_WHY}"
        )
    edge = Frontier() if head is None else _edge_of(session, origin, head)
    grow(session, edge)
    if edge.size != size:
        raise LogInconsistent(
            f"the audit log has {size} places, of which the one numbered {edge.size} is empty: "
            "leaves were deleted. Nothing is signed; see `medr1-pacs audit verify --database`"
        )
    return edge


def _edge_of(session: Session, origin: str, head: Checkpoint) -> Frontier:
    """Return the tree of a head, from what was recorded of it: checked, whoever wrote that."""
    recorded = find_head(session, origin, at_most=head.size)
    edge = Frontier()
    if recorded is not None:
        edge = Frontier(recorded.size, recorded.frontier)
    grow(session, edge, head.size)
    if (edge.size, edge.root()) != (head.size, head.root):
        raise LogInconsistent(
            f"the audit log does not begin with what its last head says, of {head.size} events: "
            f"{_WHY}"
        )
    return edge


_WHY = (
    "an older backup was restored, or the log was changed. Nothing is signed; see "
    "`medr1-pacs audit verify --database`, and docs/operating.md for what to do after a restore"
)


def _head(row: AuditHead) -> Head:
    frontier = tuple(bytes.fromhex(each) for each in row.frontier)
    return Head(
        row.origin, row.size, bytes.fromhex(row.root_sha256), frontier, row.note, row.signed_at
    )


# -- what an event is about ------------------------------------------------------------------------


def _find_scopes(
    session: Session, events: Sequence[Any]
) -> dict[int, tuple[int | None, int | None]]:
    """Return event id -> its study and its project, of those that have one."""
    by_type: dict[str, set[int]] = {}
    for event in events:
        if event.object_id is not None:
            by_type.setdefault(event.object_type, set()).add(event.object_id)
    studies = {
        kind: _look_up(session, _STUDY_OF[kind](), ids)
        for kind, ids in by_type.items()
        if kind in _STUDY_OF
    }
    projects = {
        kind: _look_up(session, _PROJECT_OF[kind](), ids)
        for kind, ids in by_type.items()
        if kind in _PROJECT_OF
    }
    named = {
        name for event in events if (name := (event.new_value or {}).get("project")) is not None
    } | {name for event in events if (name := (event.old_value or {}).get("project")) is not None}
    ids_of_names = _project_ids(session, named) if named else {}
    scopes = {}
    for event in events:
        study_id = project_id = None
        told = {**(event.old_value or {}), **(event.new_value or {})}
        if event.object_type == "study":
            study_id = event.object_id
        elif event.object_id is not None:
            study_id = studies.get(event.object_type, {}).get(event.object_id)
            project_id = projects.get(event.object_type, {}).get(event.object_id)
        if event.object_type == "prompt" and study_id is None:
            study_id = told.get("study")  # a prompt that was withdrawn has no row any more
        if event.object_type == "project":
            project_id = event.object_id
        if told.get("project") is not None:
            # It is told of one project, whoever else uses the study.
            study_id, project_id = None, ids_of_names.get(told["project"])
        if study_id is not None or project_id is not None:
            scopes[event.id] = (study_id, project_id)
    return scopes


def _project_ids(session: Session, names: Collection[str]) -> dict[str, int]:
    rows = session.execute(select(Project.name, Project.id).where(Project.name.in_(names)))
    return {row.name: row.id for row in rows}


def _look_up(session: Session, statement: Select[Any], ids: Collection[int]) -> dict[int, int]:
    """Return the second column by the first, which is among ids."""
    key = statement.selected_columns[0]
    found = {}
    for chunk in iterate_chunks(ids):
        for object_id, scope in session.execute(statement.where(key.in_(chunk))):
            if scope is not None:
                found[object_id] = scope
    return found


def _by_series(table: Any) -> Select[Any]:
    return select(table.id, Series.study_id).join(Series, Series.id == table.series_id)


def _by_instance(table: Any) -> Select[Any]:
    return (
        select(table.id, Series.study_id)
        .join(Instance, Instance.id == table.instance_id)
        .join(Series, Series.id == Instance.series_id)
    )


def _prompts(*joined: tuple[Any, Any], key: Any) -> Select[Any]:
    statement = select(key, Series.study_id).select_from(Prompt)
    for table, condition in joined:
        statement = statement.join(table, condition)
    return (
        statement.join(Rendering, Rendering.id == Prompt.rendering_id)
        .join(Instance, Instance.id == Rendering.instance_id)
        .join(Series, Series.id == Instance.series_id)
    )


_RUN = (Generation, Generation.prompt_id == Prompt.id)
_STUDY_OF: Mapping[str, Any] = {
    "instance": lambda: _by_series(Instance),
    "rendering": lambda: _by_instance(Rendering),
    "prompt": lambda: _prompts(key=Prompt.id),
    "generation": lambda: _prompts(_RUN, key=Generation.id),
    "answer": lambda: _prompts(
        _RUN, (Answer, Answer.generation_id == Generation.id), key=Answer.id
    ),
    "reference_standard": lambda: _by_instance(ReferenceStandard),
    "reference_statement": lambda: select(ReferenceStatement.id, ReferenceStatement.study_id),
}
_PROJECT_OF: Mapping[str, Any] = {
    "snapshot": lambda: select(Snapshot.id, Snapshot.project_id),
    "reference_import": lambda: select(ReferenceImport.id, ReferenceImport.project_id),
    "reference_statement": lambda: select(ReferenceStatement.id, ReferenceImport.project_id).join(
        ReferenceImport, ReferenceImport.id == ReferenceStatement.import_id
    ),
    "withdrawal": lambda: select(Withdrawal.id, Withdrawal.project_id),
    "project_member": lambda: select(ProjectMember.id, ProjectMember.project_id),
}
