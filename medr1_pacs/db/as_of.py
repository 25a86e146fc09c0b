"""What is different between a head of the log and now, of one project.

Rows are read as they are now: what changed since is put back, and what came since is left out.
Which studies are a project's is a matter of sealed events: no hash is of the rows that say so.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Select,
    func,
    or_,
    select,
)
from sqlalchemy.orm import Session

from medr1_pacs.db.audit import canonical_event
from medr1_pacs.db.past import KEPT_BY, PastValues, hash_past
from medr1_pacs.db.rows import iterate_chunks
from medr1_pacs.db.tables import (
    AuditEvent,
    AuditLeaf,
    PastValue,
    Project,
)
from medr1_pacs.errors import ExportRefused
from medr1_pacs.records.words import JsonObject

BIRTHS: Mapping[str, Sequence[str]] = {
    "answer": ("answer.parsed", "answer.adopted"),
    "reference_standard": ("reference.derived", "reference_standard.adopted"),
    "superseded": ("reference.superseded",),
    "plan": ("study.planned",),
    "reading_protocol": ("protocol.started",),
    "reading_case": ("case.frozen", "reading_case.adopted"),
    "planned_later": ("adjudication.planned", "read.planned"),
    "review": ("review.locked", "review.amended", "review.adopted"),
}
"""What must have happened for a row to be shown -> the events that tell of it."""
_GIVEN = "study.project_added"
_TAKEN = ("study.withdrawn", "study.project_withdrawn")
_CHUNK = 10_000


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
    given: IdSet
    """Studies that the project was given until the head."""
    lost: Mapping[int, int]
    """Study -> the place at which it was withdrawn from the project, or from all; after the head,
    too, since its texts are gone."""
    was: PastValues
    unborn: Mapping[str, IdSet]
    """Rows of which nobody knew yet, by the keys of `BIRTHS`."""
    unplanned: frozenset[tuple[int, int]]
    """(study, version) without a plan yet."""

    def has(self, study_id: int) -> bool:
        """Whether a study was the project's, and is not withdrawn from it by now."""
        return study_id in self.given and study_id not in self.lost

    def is_told(self, study_id: int, seq: int) -> bool:
        """Whether what happened to a study at a place is the project's to know: it is another's
        after it was withdrawn from this one."""
        return study_id in self.given and seq <= self.lost.get(study_id, seq)


def look_back(session: Session, project_id: int, size: int) -> AsOf:
    """Find out what changed since a head.

    Raises
    ------
    ExportRefused
        What rows were is not what the log says of it, or a study is being withdrawn.
    """
    given = IdSet()
    for study_id in session.scalars(given_studies(project_id, size).execution_options(**_STREAM)):
        given.add(study_id)
    lost = _find_lost(session, project_id, given)
    _check_past(session, size, given)
    kinds = {action: kind for kind, actions in BIRTHS.items() for action in actions}
    unborn = {kind: IdSet() for kind in BIRTHS}
    unplanned: set[tuple[int, Any]] = set()
    for found in _later_events(session, size, tuple(kinds)):
        kind = kinds[found.action]
        if found.object_id is None:
            continue
        if kind == "plan":
            unplanned.add((found.object_id, (found.new_value or {}).get("version")))
        else:
            unborn[kind].add(found.object_id)
    was = _read_past(session, project_id, size)
    return AsOf(project_id, size, given, lost, was, unborn, frozenset(unplanned))


_STREAM: Mapping[str, Any] = {"yield_per": _CHUNK}


def given_studies(project_id: int, size: int) -> Select[Any]:
    """Build the studies that a project was given until a head, as events say."""
    return (
        select(AuditEvent.object_id)
        .join(AuditLeaf, AuditLeaf.event_id == AuditEvent.id)
        .where(
            AuditLeaf.project_id == project_id,
            AuditLeaf.seq < size,
            AuditEvent.action == _GIVEN,
            AuditEvent.object_type == "study",
            AuditEvent.object_id.is_not(None),
        )
    )


def _find_lost(session: Session, project_id: int, given: IdSet) -> dict[int, int]:
    project = session.scalar(select(Project.name).where(Project.id == project_id))
    rows = session.execute(
        select(
            AuditEvent.id,
            AuditEvent.action,
            AuditEvent.object_id,
            AuditEvent.old_value,
            AuditLeaf.seq,
            AuditLeaf.project_id,
        )
        .outerjoin(AuditLeaf, AuditLeaf.event_id == AuditEvent.id)
        .where(
            AuditEvent.object_type == "study",
            AuditEvent.object_id.is_not(None),
            AuditEvent.action.in_(_TAKEN),
        )
        .execution_options(**_STREAM)
    )
    lost: dict[int, int] = {}
    waiting: dict[int, int] = {}
    for row in rows:
        if row.object_id not in given:
            continue
        if row.seq is None:
            if row.action == "study.withdrawn" or (row.old_value or {}).get("project") == project:
                waiting[row.object_id] = row.id
        elif row.action == "study.withdrawn" or row.project_id == project_id:
            lost[row.object_id] = min(row.seq, lost.get(row.object_id, row.seq))
    for study_id, event_id in waiting.items():
        if study_id not in lost:
            # What no head can say happened is no reason to leave anything out.
            raise ExportRefused(
                f"study {study_id} was withdrawn by event {event_id}, which has no place in the "
                f"log yet: export again when it has. Where it never gets one, {_OTHERWISE}"
            )
    return lost


def list_remains(session: Session, as_of: AsOf, kind: str) -> list[int]:
    """Return the records of studies that a project lost which were told of until it did, in the
    order of ids: what is said of such a study later is another project's."""
    found: set[int] = set()
    for chunk in iterate_chunks(as_of.lost):
        rows = session.execute(
            select(AuditEvent.object_id, AuditLeaf.study_id, func.min(AuditLeaf.seq).label("seq"))
            .join(AuditLeaf, AuditLeaf.event_id == AuditEvent.id)
            .where(
                AuditLeaf.study_id.in_(chunk),
                AuditLeaf.seq < as_of.size,
                AuditEvent.object_type == kind,
                AuditEvent.object_id.is_not(None),
                AuditEvent.action.in_(BIRTHS[kind]),
            )
            .group_by(AuditEvent.object_id, AuditLeaf.study_id)
        )
        found |= {row.object_id for row in rows if as_of.is_told(row.study_id, row.seq)}
    return sorted(found)


def _later_events(session: Session, size: int, actions: tuple[str, ...]) -> Iterator[Any]:
    columns = (AuditEvent.id, AuditEvent.action, AuditEvent.object_id, AuditEvent.new_value)
    sealed = (
        select(*columns)
        .join(AuditLeaf, AuditLeaf.event_id == AuditEvent.id)
        .where(AuditLeaf.seq >= size, AuditEvent.action.in_(actions))
    )
    unsealed = (
        select(*columns)
        .outerjoin(AuditLeaf, AuditLeaf.event_id == AuditEvent.id)
        .where(AuditLeaf.seq.is_(None), AuditEvent.action.in_(actions))
    )
    yield from session.execute(sealed.execution_options(**_STREAM))
    yield from session.execute(unsealed.execution_options(**_STREAM))


# -- what was --------------------------------------------------------------------------------------


_OTHERWISE = "the audit log says otherwise: see `medr1-pacs audit verify --database`"


def past_rows(project_id: int, size: int, *columns: Any) -> Select[Any]:
    """Build these columns of what was different of rows until an event after a head."""
    return (
        select(*columns)
        .select_from(PastValue)
        .outerjoin(AuditLeaf, AuditLeaf.event_id == PastValue.event_id)
        .where(_is_later(size), _is_of(project_id))
    )


def _is_later(size: int) -> ColumnElement[bool]:
    return or_(AuditLeaf.seq.is_(None), AuditLeaf.seq >= size)


def _is_of(project_id: int) -> ColumnElement[bool]:
    return or_(PastValue.project_id.is_(None), PastValue.project_id == project_id)


def _read_past(session: Session, project_id: int, size: int) -> PastValues:
    past = PastValues()
    rows = session.execute(
        past_rows(project_id, size, PastValue.object_type, PastValue.object_id, PastValue.was)
        .order_by(PastValue.object_type, PastValue.object_id, PastValue.id.desc())
        .execution_options(**_STREAM)
    )
    for (kind, row_id), changes in groupby(rows, lambda row: (row.object_type, row.object_id)):
        was: JsonObject = {}
        for change in changes:  # the earliest change comes last, and tells how it was
            was |= change.was
        past.add(kind, row_id, was)
    return past


def _check_past(session: Session, size: int, given: IdSet) -> None:
    """Refuse what was where it is not what events say of it: rows that were put in, changed, or
    taken out."""
    is_gone = AuditEvent.action == "study.withdrawn"
    gone = select(AuditEvent.object_id).where(AuditEvent.object_type == "study", is_gone)
    withdrawn = set(session.scalars(gone))
    told = (
        select(*AuditEvent.__table__.columns, *_LEAF)
        .outerjoin(AuditLeaf, AuditLeaf.event_id == AuditEvent.id)
        .where(_is_later(size), AuditEvent.object_type == "study", AuditEvent.action.in_(KEPT_BY))
        .order_by(AuditEvent.id)
    )
    kept = (
        select(
            PastValue.event_id,
            PastValue.project_id,
            PastValue.object_type,
            PastValue.object_id,
            PastValue.was,
        )
        .outerjoin(AuditLeaf, AuditLeaf.event_id == PastValue.event_id)
        .where(_is_later(size))
        .order_by(PastValue.event_id)
    )
    with (
        closing(session.execute(told.execution_options(**_STREAM))) as events,
        closing(session.execute(kept.execution_options(**_STREAM))) as rows,
    ):
        for event_id, event, was in _join(events, groupby(rows, lambda row: row.event_id)):
            if was:
                is_told = event is not None and _is_what_was(event, was)
            else:  # of a study that was withdrawn it is gone; earlier versions told no hash
                study_id = event.object_id
                is_kept = study_id in given and study_id not in withdrawn
                is_told = not (is_kept and "sha256" in (event.new_value or {}))
            if not is_told:
                raise ExportRefused(f"of what was shown until event {event_id}, {_OTHERWISE}")


_LEAF = (
    AuditLeaf.sha256.label("leaf"),
    AuditLeaf.study_id.label("of_study"),
    AuditLeaf.project_id.label("of_project"),
)


def _join(
    events: Iterable[Any], rows: Iterable[tuple[int, Iterable[Any]]]
) -> Iterator[tuple[int, Any, list[Any]]]:
    """Yield each event with the rows that are kept by it, both in the order of its id; one of the
    two may be missing."""
    groups = iter(rows)
    event_id, of_event = next(groups, (None, ()))
    for event in events:
        while event_id is not None and event_id < event.id:
            yield event_id, None, list(of_event)
            event_id, of_event = next(groups, (None, ()))
        if event_id == event.id:
            yield event.id, event, list(of_event)
            event_id, of_event = next(groups, (None, ()))
        else:
            yield event.id, event, []
    while event_id is not None:
        yield event_id, None, list(of_event)
        event_id, of_event = next(groups, (None, ()))


def _is_what_was(event: Any, rows: Sequence[Any]) -> bool:
    """Whether what rows were is what their event says; those of an earlier version say no hash."""
    if {row.object_type for row in rows} != {KEPT_BY[event.action]}:
        return False
    try:
        if event.leaf is not None:
            leaf = canonical_event(event, event.of_study, event.of_project).leaf()
            if leaf.hex() != event.leaf:
                return False
        new = event.new_value or {}
        if "sha256" not in new:
            return all(isinstance(row.was, dict) for row in rows)
        if {row.project_id for row in rows} != {new.get("project_id")}:
            return False
        told: str = new["sha256"]
        return told == hash_past((row.object_id, row.was) for row in rows)
    except (ValueError, TypeError, AttributeError):
        return False
