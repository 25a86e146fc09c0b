"""What research was shown before: an export as of an earlier day puts it back."""

from __future__ import annotations

import hashlib
import json
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy.orm import Session

from medr1_pacs.audit.canonical import canonical_json
from medr1_pacs.db.audit import add_event_now
from medr1_pacs.db.tables import PastValue
from medr1_pacs.records.words import JsonObject

KEPT_BY: Mapping[str, str] = {
    "study.answers_changed": "answer",
    "study.routed_otherwise": "series",
    "study.selected_otherwise": "selection",
}
"""Action of the event that tells of a change -> the kind of rows that were otherwise until then."""
_NAMES: Mapping[str, Sequence[str]] = {
    "answer": ("is_current", "study_version", "truth"),
    "series": ("route_modality", "anatomy", "plane", "weighting", "stain"),
    "selection": (
        "study_version_id", "question_id", "series_id", "rendering_id", "reason", "skipped",
        "is_absent",
    ),
}  # fmt: skip
"""Kind -> what can be put back of it."""


def keep_past(
    session: Session,
    action: str,
    study_id: int,
    object_type: str,
    was: Mapping[int, JsonObject],
    *,
    project_id: int | None = None,
) -> None:
    """Keep what rows of a study said until now, by their ids, and tell that it changed.

    The event tells the hash of it: what was can be neither put in nor taken out unnoticed.
    """
    new: JsonObject = {object_type: len(was), "sha256": hash_past(was.items())}
    if project_id is not None:
        new["project_id"] = project_id
    event_id = add_event_now(session, action, "study", study_id, new=new)
    session.add_all(
        PastValue(
            event_id=event_id,
            project_id=project_id,
            object_type=object_type,
            object_id=object_id,
            was=values,
        )
        for object_id, values in sorted(was.items())
    )


def hash_past(was: Iterable[tuple[int, JsonObject]]) -> str:
    """Return the SHA-256 of what rows said, in the order of their ids.

    Raises
    ------
    ValueError
        There is a float in it, which is never kept.
    """
    pairs = [[object_id, values] for object_id, values in sorted(was, key=lambda pair: pair[0])]
    return hashlib.sha256(canonical_json(pairs)).hexdigest()


class PastValues:
    """(kind, row id) -> what was shown of it; 12 bytes each, since there may be a million."""

    def __init__(self) -> None:
        self._ids: dict[str, array[int]] = {}
        self._places: dict[str, array[int]] = {}
        self._values: list[JsonObject] = []
        self._place_of: dict[str, int] = {}

    def add(self, kind: str, row_id: int, was: JsonObject) -> None:
        """Add what was different of a row; those of a kind in the order of ids."""
        known = {name: was[name] for name in _NAMES.get(kind, ()) if name in was}
        text = json.dumps(known)
        place = self._place_of.setdefault(text, len(self._values))
        if place == len(self._values):
            self._values.append(known)
        self._ids.setdefault(kind, array("q")).append(row_id)
        self._places.setdefault(kind, array("i")).append(place)

    def get(self, kind: str, row_id: int) -> JsonObject:
        """Return what was different of a row: nothing, of most."""
        ids = self._ids.get(kind)
        if ids is None:
            return {}
        at = bisect_left(ids, row_id)
        if at == len(ids) or ids[at] != row_id:
            return {}
        return self._values[self._places[kind][at]]

    def ids(self, kind: str) -> Sequence[int]:
        """Return the rows of a kind of which anything was different."""
        return self._ids.get(kind, array("q"))

    def __len__(self) -> int:
        return sum(map(len, self._ids.values()))
