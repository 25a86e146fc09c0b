"""The order in which a reader meets the cases, and which of them comes next.

Each reader has an order of their own, by a hash of the protocol, its seed, the reader and the case:
the same protocol gives everybody the same order everywhere, and it tells nothing of the cases.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from medr1_pacs.records.review_words import ReadKind

_TURN = {
    ReadKind.PRACTICE: 0,
    ReadKind.FIRST: 1,
    ReadKind.ADJUDICATION: 1,
    ReadKind.SECOND: 2,
    ReadKind.REPEAT: 3,
}
"""What is read before what."""


@dataclass(frozen=True, slots=True)
class WaitingRead:
    """A planned read that a reader could open."""

    assignment_id: int
    case_number: int
    kind: ReadKind
    last_read_at: datetime | None
    """When the reader last locked this case, in whatever protocol; None: never."""


@dataclass(frozen=True, slots=True)
class NextRead:
    """What a reader opens next."""

    assignment_id: int | None
    """None: nothing at the moment."""
    due_at: datetime | None = None
    """When something will be, where all that is left waits for its washout."""


def reader_order(seed: str, reader: str, case_numbers: Iterable[int]) -> list[int]:
    """Return cases in a reader's order. `seed`: names protocol, version and its seed."""
    return sorted(case_numbers, key=lambda number: order_key(seed, reader, number))


def order_key(seed: str, reader: str, case_number: int) -> bytes:
    """Return what a reader's cases are sorted by."""
    return hashlib.sha256(f"{seed}\n{reader}\n{case_number}".encode()).digest()


def choose_next(
    waiting: Sequence[WaitingRead],
    *,
    seed: str,
    reader: str,
    washout: timedelta,
    now: datetime,
) -> NextRead:
    """Return the first read of a reader's order whose washout is over."""
    ordered = sorted(
        waiting,
        key=lambda read: (
            _TURN[read.kind],
            order_key(f"{seed}\n{_TURN[read.kind]}", reader, read.case_number),
        ),
    )
    due: list[datetime] = []
    for read in ordered:
        if read.last_read_at is None or read.last_read_at + washout <= now:
            return NextRead(read.assignment_id)
        due.append(read.last_read_at + washout)
    return NextRead(None, min(due, default=None))
