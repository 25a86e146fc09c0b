"""What the events of a project say of its reading protocols, by which their tables are checked.

    protocol.started -> case.frozen -> read.opened -> review.locked -> review.amended
                                                   -> protocol.finished, protocol.stopped
                     -> adjudication.planned, read.planned, read.released, read.dropped

Rows of assignments change while readers read; what they were at a head follows from the events
until then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

PHASES_OF: Mapping[str, tuple[str, ...]] = {
    "blind": ("blind",),
    "sequential": ("blind", "assisted"),
    "assisted": ("assisted",),
    "adjudication": ("adjudication",),
}
"""Arm of a read -> the phases that are locked when it is done."""


@dataclass
class ToldProtocol:
    """A protocol as events tell of it."""

    told: Mapping[str, Any]
    """What was said when it was started."""
    state: str = "started"
    first_read: int | None = None
    """Place in the log of the event by which the first of its cases was opened."""
    unblinded: dict[int, int] = field(default_factory=dict)
    """Account -> place in the log of the event by which it saw the answers."""
    planned_later: int = 0
    """Adjudications, and reads that are planned once more since their reader was unblinded."""

    def people(self) -> list[tuple[int, str, str]]:
        """Return (account, part, label) of its people, in the order of their labels."""
        return [
            (account_id, part, f"{part.capitalize()} {_letters(place)}")
            for part in ("reader", "adjudicator")
            for place, account_id in enumerate(self.told[f"{part}s"])
        ]


@dataclass(frozen=True)
class ToldCase:
    """A case as the event by which it was frozen tells of it."""

    protocol_id: int
    number: int
    seq: int


@dataclass(frozen=True)
class ToldRead:
    """A read as the last event by which it was opened tells of it."""

    case_id: int
    account_id: int | None
    place: int
    seq: int


@dataclass(frozen=True)
class ToldReview:
    """A review as the event by which it was locked tells of it."""

    assignment_id: int
    case_id: int
    account_id: int | None
    phase: str
    version: int
    is_amendment: bool
    seq: int


@dataclass(frozen=True)
class ReadState:
    """Whose a read is, and where."""

    account_id: int | None
    place: int | None
    state: str


class ReadingEvents:
    """Follows the events of a project in the order of the log."""

    def __init__(self) -> None:
        self.protocols: dict[int, ToldProtocol] = {}
        self.cases: dict[int, ToldCase] = {}
        self.withdrawn: set[int] = set()
        """Cases."""
        self.first_opened: dict[int, ToldRead] = {}
        """Read -> as it was opened first."""
        self.opened: dict[int, ToldRead] = {}
        """Read -> as it was opened last."""
        self.reviews: dict[int, ToldReview] = {}
        self._locked: dict[int, set[str]] = {}
        self._dropped: set[int] = set()

    def follow(
        self, action: str, object_id: Any, account_id: Any, told: Mapping[str, Any], seq: int
    ) -> None:
        """Take an event; raises what reading a value raises that has not the form of its action."""
        new: Any = told.get("new")
        if action == "protocol.started":
            self.protocols[object_id] = ToldProtocol(dict(new))
        elif action == "protocol.finished":
            self.protocols[object_id].state = "finished"
        elif action == "protocol.stopped":
            self.protocols[object_id].state = "stopped"
        elif action == "protocol.unblinded":
            self.protocols[object_id].unblinded[new["account_id"]] = seq
        elif action == "case.frozen":
            self.cases.setdefault(object_id, ToldCase(new["protocol_id"], new["number"], seq))
        elif action == "case.withdrawn":
            self.withdrawn.add(object_id)
        elif action in ("adjudication.planned", "read.planned"):
            self._protocol_of(new["case_id"]).planned_later += 1
        elif action == "read.released":
            self.opened.pop(object_id, None)
        elif action == "read.dropped":
            self._dropped.add(object_id)
        elif action == "read.opened":
            read = ToldRead(new["case_id"], account_id, new["place"], seq)
            self.opened[object_id] = read
            self.first_opened.setdefault(object_id, read)
            protocol = self._protocol_of(read.case_id)
            if protocol.first_read is None:
                protocol.first_read = seq
        elif action in ("review.locked", "review.amended"):
            review = ToldReview(
                new["assignment_id"],
                new["case_id"],
                account_id,
                new["phase"],
                new["version"],
                action == "review.amended",
                seq,
            )
            self.reviews[object_id] = review
            self._locked.setdefault(review.assignment_id, set()).add(review.phase)

    def _protocol_of(self, case_id: int) -> ToldProtocol:
        return self.protocols[self.cases[case_id].protocol_id]

    def state_of(
        self, assignment_id: int, case_id: int, arm: str, *, planned_for: int | None
    ) -> ReadState:
        """Return whose a read is and where, as of the last event.

        A read that somebody opened is theirs until it is released: that a claim has expired is
        told by no event, until another one would read it.

        Parameters
        ----------
        planned_for
            The account that it was planned for; None: whoever comes first.
        """
        opened = self.opened.get(assignment_id)
        locked = self._locked.get(assignment_id, set())
        account_id = opened.account_id if opened else planned_for
        place = opened.place if opened else None
        protocol = self._protocol_of(case_id)
        if locked >= set(PHASES_OF[arm]):
            return ReadState(account_id, place, "done")
        if assignment_id in self._dropped:
            return ReadState(account_id, place, "dropped")
        if case_id in self.withdrawn or protocol.state == "stopped":
            return ReadState(account_id, place, "dropped")
        unblinded = protocol.unblinded.get(account_id) if account_id is not None else None
        if unblinded is not None and (opened is None or unblinded > opened.seq):
            if planned_for is None and not locked:
                return ReadState(None, None, "planned")
            return ReadState(account_id, place, "dropped")
        return ReadState(account_id, place, "open" if opened else "planned")


_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def _letters(place: int) -> str:
    """Return the letters of a place from 0: A to Z, then AA."""
    before, letter = divmod(place, len(_LETTERS))
    return (_letters(before - 1) if before else "") + _LETTERS[letter]
