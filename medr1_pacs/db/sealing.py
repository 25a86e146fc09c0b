"""The log as rows: events that wait for their place, leaves in theirs, and heads."""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

from sqlalchemy import Select, Table, and_, func, insert, select, text
from sqlalchemy.exc import DataError, OperationalError
from sqlalchemy.orm import Session

from medr1_pacs.audit.merkle import Frontier
from medr1_pacs.audit.notes import TreeHead
from medr1_pacs.db.audit import canonical_event
from medr1_pacs.db.rows import iterate_chunks
from medr1_pacs.db.tables import (
    Answer,
    Assignment,
    AuditEvent,
    AuditHead,
    AuditLeaf,
    Generation,
    Instance,
    Project,
    ProjectMember,
    Prompt,
    ReadingCase,
    ReadingProtocol,
    ReferenceImport,
    ReferenceStandard,
    ReferenceStatement,
    Rendering,
    Review,
    Series,
    Snapshot,
    Withdrawal,
)
from medr1_pacs.errors import LogInconsistent

_CHUNK = 10_000
_ID_MAX = 2**63 - 1
_EVER = datetime.min.replace(tzinfo=UTC)
UNREADABLE = (
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    OverflowError,  # a time near the first or the last that there is
    RecursionError,  # JSON in JSON in JSON
    DataError,  # PostgreSQL has times that Python has not
)
"""What reading or hashing a row raises that has a value which none of ours has."""


@dataclass(frozen=True, slots=True)
class Moment:
    """Which ids were drawn when the database was looked at, and who may have drawn them."""

    last_drawn: int | None
    """The last id of an event; None: none was drawn, or they are drawn in no order."""
    oldest_running: int | None
    """The transaction that has been running longest; None: none runs beside who looks."""


def look_at_moment(session: Session) -> Moment:
    """Return which ids of events were drawn, and which transactions run that may have drawn them.

    For who writes: on SQLite that is one at a time.
    """
    if session.get_bind().dialect.name == "sqlite":
        last = session.scalar(select(func.max(AuditEvent.id)))
        return Moment(None if last == _ID_MAX else last, None)  # behind it SQLite draws lots
    row = session.execute(
        text(
            "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS oldest, "
            "pg_sequence_last_value(pg_get_serial_sequence('audit_event', 'id')::regclass) AS last"
        )
    ).one()
    return Moment(row.last, row.oldest)


def number_transaction(session: Session) -> int:
    """Return the number of the running transaction, above those of all that began to write."""
    if session.get_bind().dialect.name == "sqlite":
        return 0
    # Its own: the xmax of a snapshot is one above the last that has ended, and others run above it.
    number = session.execute(text("SELECT pg_current_xact_id()::text::bigint")).scalar_one()
    return int(number)


def list_unsealed(
    session: Session, *, after: int | None, limit: int, but_not: Collection[int] = ()
) -> list[int]:
    """Return the ids of committed events without a place, in their order.

    As of one moment where the session sees one: whoever depends on another's commit comes behind
    it, here or in a later call.

    Parameters
    ----------
    after
        An id below theirs; None: from the first on, whatever its id.
    but_not
        What can have no place.
    """
    found: list[int] = []
    while True:
        page = session.scalars(_unsealed(after).limit(limit)).all()
        found += [event_id for event_id in page if event_id not in but_not]
        if len(page) < limit or len(found) >= limit:
            return found[:limit]
        after = page[-1]


def _unsealed(after: int | None) -> Select[int]:
    # The bound on both: PostgreSQL goes through both from the start otherwise.
    leaf_bound = () if after is None else (AuditLeaf.event_id > after,)
    bound = () if after is None else (AuditEvent.id > after,)
    return (
        select(AuditEvent.id)
        .outerjoin(AuditLeaf, and_(AuditLeaf.event_id == AuditEvent.id, *leaf_bound))
        .where(AuditLeaf.seq.is_(None), *bound)
        .order_by(AuditEvent.id)
    )


def read_events(session: Session, ids: Collection[int]) -> list[Any]:
    """Return events in the order of their ids, without those that cannot be read."""
    # Columns: to make objects of rows takes longer than to hash them.
    statement = select(*AuditEvent.__table__.columns).order_by(AuditEvent.id)
    return [row for chunk in iterate_chunks(ids) for row in _read(session, statement, chunk)]


def _read(session: Session, statement: Select[Any], ids: Sequence[int]) -> Iterable[Any]:
    """Read rows by halves where one among them cannot be read, until it is alone."""
    try:
        return session.execute(statement.where(AuditEvent.id.in_(ids))).all()
    except (*UNREADABLE, OperationalError) as error:
        if not _is_of_a_value(error):
            raise
    if len(ids) == 1:
        return ()
    middle = len(ids) // 2
    halves = ids[:middle], ids[middle:]
    return [row for half in halves for row in _read(session, statement, half)]


def _is_of_a_value(error: Exception) -> bool:
    """Whether a row cannot be read for what it holds, rather than since the database is away."""
    # SQLite keeps any bytes as a text.
    return isinstance(error, UNREADABLE) or "decode to UTF-8" in str(error)


def find_told(session: Session, object_type: str, action: str) -> list[Any]:
    """Return the events of a kind that can be read, the last first."""
    ids = session.scalars(
        select(AuditEvent.id).where(
            AuditEvent.object_type == object_type, AuditEvent.action == action
        )
    ).all()
    return read_events(session, ids)[::-1]


def count_unsealed(session: Session) -> tuple[int, datetime | None]:
    """Return how many events have no place yet, and since when the oldest of them waits.

    Since ever, where that cannot be read.
    """
    number = func.count()
    unsealed = (
        select(number, func.min(AuditEvent.occurred_at))
        .select_from(AuditEvent)
        .outerjoin(AuditLeaf, AuditLeaf.event_id == AuditEvent.id)
        .where(AuditLeaf.seq.is_(None))
    )
    try:
        row = session.execute(unsealed).one()
        return row[0], row[1]
    except UNREADABLE:
        return session.execute(unsealed.with_only_columns(number)).scalar_one(), _EVER


_INSERT_LEAVES = insert(cast(Table, AuditLeaf.__table__))


def count_leaves(session: Session) -> int:
    """Return how many events have their place."""
    last = session.scalar(select(func.max(AuditLeaf.seq)))
    return 0 if last is None else last + 1


def add_leaves(session: Session, events: Sequence[Any], edge: Frontier) -> list[int]:
    """Give events their places behind the tree, which grows by them.

    Returns the ids of those that have one now: what cannot be hashed can have none.
    """
    scopes = _find_scopes(session, events)
    rows: list[dict[str, Any]] = []
    for event in events:
        study_id, project_id = scopes.get(event.id, (None, None))
        try:
            leaf = canonical_event(event, study_id, project_id).leaf()
        except UNREADABLE:
            continue
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
        session.connection().execute(_INSERT_LEAVES, rows)
    return [row["event_id"] for row in rows]


def grow(session: Session, edge: Frontier, size: int | None = None) -> None:
    """Let a tree grow by the leaves that follow it, up to a size or to the last one."""
    for leaf in iterate_leaves(session, edge.size, end=size):
        edge.add(leaf)


def iterate_leaves(
    session: Session, first: int, *, end: int | None = None
) -> Generator[bytes, None, None]:
    """Yield the hashes of leaves from a place on, up to an end or to the last one.

    Stops where one is missing.
    """
    bound = () if end is None else (AuditLeaf.seq < end,)
    rows = session.execute(
        select(AuditLeaf.seq, AuditLeaf.sha256)
        .where(AuditLeaf.seq >= first, *bound)
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


def has_heads(session: Session, origin: str | None = None) -> bool:
    """Whether a log was ever signed, as far as the database knows; None: any log."""
    of_log = () if origin is None else (AuditHead.origin == origin,)
    return session.scalar(select(AuditHead.id).where(*of_log).limit(1)) is not None


def find_edge(session: Session, origin: str, head: TreeHead | None) -> Frontier:
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


def _edge_of(session: Session, origin: str, head: TreeHead) -> Frontier:
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
    """Return event id -> its study and its project, of those that have one.

    Whoever writes the database can let an event tell anything: what has not its form names nothing.
    """
    by_type: dict[str, set[int]] = {}
    for event in events:
        if (object_id := _row_id(event.object_id)) is not None:
            by_type.setdefault(event.object_type, set()).add(object_id)
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
    told = {event.id: {**_told(event.old_value), **_told(event.new_value)} for event in events}
    ids_of_names = _project_ids(session) if any("project" in each for each in told.values()) else {}
    scopes = {}
    for event in events:
        study_id = project_id = None
        object_id, project = _row_id(event.object_id), told[event.id].get("project")
        if event.object_type == "study":
            study_id = object_id
        elif object_id is not None:
            study_id = studies.get(event.object_type, {}).get(object_id)
            project_id = projects.get(event.object_type, {}).get(object_id)
        if event.object_type == "prompt" and study_id is None:
            # A prompt that was withdrawn has no row any more.
            study_id = _row_id(told[event.id].get("study"))
        if event.object_type == "project":
            project_id = object_id
        if isinstance(project, str):
            # It is told of one project, whoever else uses the study.
            study_id, project_id = None, ids_of_names.get(project)
        if study_id is not None or project_id is not None:
            scopes[event.id] = (study_id, project_id)
    return scopes


def _told(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _row_id(value: Any) -> int | None:
    """Return what can be the id of a row; True is none."""
    return value if type(value) is int and -_ID_MAX <= value <= _ID_MAX else None


def _project_ids(session: Session) -> dict[str, int]:
    # All of them, since they are few, and a name that somebody put in may be no text to ask for.
    return {row.name: row.id for row in session.execute(select(Project.name, Project.id))}


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


def _by_protocol(table: Any, protocol_id: Any, *through: Any) -> Select[Any]:
    statement = select(table.id, ReadingProtocol.project_id).select_from(table)
    for each in through:
        statement = statement.join(each, each.id == table.case_id)
    return statement.join(ReadingProtocol, ReadingProtocol.id == protocol_id)


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
    "reading_protocol": lambda: select(ReadingProtocol.id, ReadingProtocol.project_id),
    "reading_case": lambda: _by_protocol(ReadingCase, ReadingCase.protocol_id),
    "assignment": lambda: _by_protocol(Assignment, Assignment.protocol_id),
    "review": lambda: _by_protocol(Review, ReadingCase.protocol_id, ReadingCase),
}
