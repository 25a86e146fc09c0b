"""What is different between a head of the log and now.

Rows are read as they are now: what changed since is put back, and what came since is left out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    or_,
    select,
)
from sqlalchemy.orm import Session

from medr1_pacs.db.tables import (
    AuditEvent,
    AuditLeaf,
    PastValue,
)
from medr1_pacs.records.words import JsonObject

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
