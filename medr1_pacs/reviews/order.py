"""The order in which a reader meets the cases, and which of them comes next.

Each reader has an order of their own, by a hash of the protocol, its seed, the reader and the case:
the same protocol gives everybody the same order everywhere, and it tells nothing of the cases.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from heapq import heapify, heappop
from itertools import islice
from typing import NamedTuple

from medr1_pacs.records.review_words import ReadKind

_TURN = {
    ReadKind.PRACTICE: 0,
    ReadKind.FIRST: 1,
    ReadKind.ADJUDICATION: 1,
    ReadKind.REPEAT: 1,
    ReadKind.SECOND: 2,
}
"""What is read before what. A repeat is among the others as soon as its washout is over: one that
always came last would be known as one."""
_ORDERS = _TURN | {ReadKind.REPEAT: "repeat"}
"""What names the order of a kind: a repeat's place tells nothing of where its case was first."""
_LOOKED_UP = 64
"""Cases whose last reads are looked for at a time."""


class WaitingRead(NamedTuple):
    """A planned read that a reader could open."""

    assignment_id: int
    case_number: int
    kind: ReadKind
    case_key: str
    """Of its case in every protocol: see `records.reviews.make_case_key`."""


@dataclass(frozen=True, slots=True)
class NextRead:
    """What a reader opens next."""

    assignment_id: int | None
    """None: nothing at the moment."""
    following_id: int | None = None
    """What would follow at this moment."""
    due_at: datetime | None = None
    """When something will be there, where all that is left waits for its washout."""


def reader_order(seed: str, reader: str, case_numbers: Iterable[int]) -> list[int]:
    """Return cases in a reader's order. `seed`: names protocol, version and its seed."""
    return sorted(case_numbers, key=lambda number: order_key(seed, reader, number))


def order_key(seed: str, reader: str, case_number: int) -> bytes:
    """Return what a reader's cases are sorted by."""
    return hashlib.sha256(f"{seed}\n{reader}\n{case_number}".encode()).digest()


def iterate_order(
    waiting: Sequence[WaitingRead], *, seed: str, reader: str
) -> Iterator[WaitingRead]:
    """Yield reads in a reader's order; who takes the first few of many pays for no more."""
    heap = [
        (
            _TURN[read.kind],
            order_key(f"{seed}\n{_ORDERS[read.kind]}", reader, read.case_number),
            place,
        )
        for place, read in enumerate(waiting)
    ]
    heapify(heap)
    while heap:
        yield waiting[heappop(heap)[-1]]


def choose_next(
    ordered: Iterable[WaitingRead],
    find_last_reads: Callable[[Collection[str]], Mapping[str, datetime]],
    *,
    washout: timedelta,
    now: datetime,
) -> NextRead:
    """Return the first read of a reader's order whose washout is over, and the second.

    `find_last_reads`: of these cases, when the reader last locked them, in whatever protocol; those
    that they never did are not there.
    """
    ready: list[int] = []
    due: list[datetime] = []
    left = iter(ordered)
    while chunk := list(islice(left, _LOOKED_UP)):
        last_reads = find_last_reads([read.case_key for read in chunk])
        for read in chunk:
            last = last_reads.get(read.case_key)
            if last is not None and last + washout > now:
                due.append(last + washout)
                continue
            ready.append(read.assignment_id)
            if len(ready) == 2:
                return NextRead(ready[0], ready[1])
    if ready:
        return NextRead(ready[0])
    return NextRead(None, due_at=min(due, default=None))
