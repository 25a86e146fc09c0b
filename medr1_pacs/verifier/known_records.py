"""What events and references say of records, in little memory: there are millions."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from medr1_pacs.audit.export_form import CERTAINTIES, UNITS
from medr1_pacs.audit.merkle import HASH_BYTES


class RecordHashes:
    """Row id -> the hash that its event carries, its place and the study; 56 bytes each."""

    def __init__(self) -> None:
        self._ids = array("q")
        self._studies = array("q")
        self._places = array("q")
        self._hashes = bytearray()
        self._seen = bytearray()
        self._next = 0

    def add(self, object_id: int, digest: bytes, study_id: int | None, place: int) -> None:
        """Take what an event says of a record; raises what a value raises that is none."""
        if len(digest) != HASH_BYTES:
            raise ValueError(f"the hash of a record has {HASH_BYTES} bytes")
        # As one, so that none of them is taken when another one is no number of 64 bits.
        one = array("q", (object_id, study_id or 0, place))
        self._ids.append(one[0])
        self._studies.append(one[1])
        self._places.append(one[2])
        self._hashes += digest

    def sort(self) -> None:
        """Put them in order, of one record as they were added."""
        ids = self._ids
        order: Sequence[int] = range(len(ids))
        if any(ids[n] > ids[n + 1] for n in range(len(ids) - 1)):
            order = sorted(order, key=ids.__getitem__)
            hashes = bytearray()
            for n in order:
                hashes += self._hashes[HASH_BYTES * n : HASH_BYTES * (n + 1)]
            self._ids, self._hashes = array("q", (ids[n] for n in order)), hashes
            self._studies = array("q", (self._studies[n] for n in order))
            self._places = array("q", (self._places[n] for n in order))
        self._seen = bytearray(len(self._ids))

    def differing(self) -> Iterator[int]:
        """Yield the records of which two events say different things."""
        for place in range(1, len(self._ids)):
            if self._ids[place] == self._ids[place - 1] and self._at(place) != self._at(place - 1):
                yield self._ids[place]

    def get(self, object_id: int) -> bytes | None:
        """Return the hash of the last event of a record."""
        place = self._find(object_id)
        return None if place is None else self._at(place)

    def place_of(self, object_id: int) -> int | None:
        """Return the place in the log of the last event of a record."""
        place = self._find(object_id)
        return None if place is None else self._places[place]

    def study_of(self, object_id: int) -> int | None:
        """Return the study that a record is about, by the last event of it."""
        place = self._find(object_id)
        return None if place is None else self._studies[place]

    def _at(self, place: int) -> bytes:
        return bytes(self._hashes[HASH_BYTES * place : HASH_BYTES * (place + 1)])

    def note(self, object_id: int) -> bool:
        """Note that a record was looked at; False where no event tells of it."""
        place = self._find(object_id)
        if place is None:
            return False
        self._seen[place] = 1
        return True

    def unseen(self) -> Iterator[int]:
        """Yield the records that nobody looked at."""
        for place, seen in enumerate(self._seen):
            is_last = place + 1 == len(self._ids) or self._ids[place + 1] != self._ids[place]
            if not seen and is_last:
                yield self._ids[place]

    def _find(self, object_id: int) -> int | None:
        ids, at = self._ids, self._next
        # Rows come in the order of ids, so the next one is nearly always where it is looked first.
        if not (at < len(ids) and ids[at] == object_id):
            at = bisect_left(ids, object_id)
        while at + 1 < len(ids) and ids[at + 1] == object_id:
            at += 1
        if at >= len(ids) or ids[at] != object_id:
            return None
        self._next = at + 1 if at + 1 < len(ids) else at
        return at


class Truths:
    """(instance, wording) -> the truth, of what references say; 20 bytes each.

    Of those that no later version supersedes the narrowest, then the most certain, then the last.
    """

    def __init__(self) -> None:
        self._keys = array("Q")
        self._ranks = array("Q")
        self._truths = array("I")
        self._texts: dict[str, int] = {}
        self._said: list[str] = []

    def add(self, row: Mapping[str, Any]) -> None:
        """Take a row of `references` that is not superseded."""
        unit, certainty = _rank(UNITS, row["unit"]), _rank(CERTAINTIES, row["certainty"])
        # The last one of equal ones: its number counts down.
        rank = (unit << 8 | certainty) << 48 | (1 << 48) - 1 - int(row["reference_id"])
        one = array("Q", (_key(row["instance_id"], row["question_row"]), rank))
        self._keys.append(one[0])
        self._ranks.append(one[1])
        self._truths.append(self._texts.setdefault(row["truth"], len(self._texts)))

    def sort(self) -> None:
        """Put them in order, the one that counts first."""
        order = sorted(range(len(self._keys)), key=lambda n: (self._keys[n], self._ranks[n]))
        self._truths = array("I", (self._truths[n] for n in order))
        self._keys = array("Q", (self._keys[n] for n in order))
        self._ranks = array("Q")
        self._said = list(self._texts)

    def get(self, instance_id: Any, question_row: Any) -> str | None:
        """Return the truth of a wording for an instance; None: none is known."""
        key = _key(instance_id, question_row)
        at = bisect_left(self._keys, key)
        if at == len(self._keys) or self._keys[at] != key:
            return None
        return self._said[self._truths[at]]


def _rank(order: Sequence[str], value: str) -> int:
    return order.index(value) if value in order else len(order)


def _key(instance_id: Any, question_row: Any) -> int:
    return int(instance_id) << 24 | int(question_row)
