"""Whether cases were frozen before anybody read them, and readers' tables are what events say."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from medr1_pacs.audit.findings import Report
from medr1_pacs.audit.reading_events import PHASES_OF, ReadingEvents, ReadState
from medr1_pacs.verifier.files import DAMAGED, describe_damage
from medr1_pacs.verifier.record_rows import is_true

Rows = Iterator[tuple[str, dict[str, Any]]]


class ReadingCheck:
    """Takes the events of a project and rows of its reviews, then checks one by the other."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self.events = ReadingEvents()
        self._arms: dict[int, tuple[str, str]] = {}

    def look_at_review(self, where: str, row: Mapping[str, Any]) -> None:
        """Compare a review, whose hash is right or is said to be wrong, with what its event tells
        besides."""
        told = self.events.reviews.get(int(row["review_id"]))
        self._arms[int(row["assignment_id"])] = row["read_kind"], row["arm"]
        if told is not None and (
            told.assignment_id,
            told.case_id,
            told.account_id,
            told.phase,
            told.version,
        ) != (
            int(row["assignment_id"]),
            int(row["case_id"]),
            int(row["account_id"]),
            row["phase"],
            int(row["version"]),
        ):
            self._report.add(where, "its event tells of another read, phase, version or reader")

    # -- the order of the log --------------------------------------------------------------------

    def check_order(self) -> None:
        """Say of cases that were frozen after a read began, and of reviews out of their turn."""
        self._check_cases()
        events, report = self.events, self._report
        for assignment_id, read in events.first_opened.items():
            if (case := events.cases.get(read.case_id)) is None or case.seq > read.seq:
                report.add(
                    f"assignment {assignment_id}", "it was opened before its case was frozen"
                )
        versions: dict[tuple[int, str], int] = {}
        for review_id, review in sorted(events.reviews.items(), key=lambda item: item[1].seq):
            name = f"review {review_id}"
            case = events.cases.get(review.case_id)
            if case is None or case.seq > review.seq:
                report.add(name, "it was locked before its case was frozen")
            opened = events.first_opened.get(review.assignment_id)
            if opened is None or opened.seq > review.seq or opened.case_id != review.case_id:
                report.add(name, "nobody had opened its read when it was locked")
            key = review.assignment_id, review.phase
            follows = versions.get(key, 0) + 1
            if review.version != follows or review.is_amendment is not (follows > 1):
                what = "an amendment" if review.is_amendment else "an answer"
                report.add(name, f"it is {what} of version {review.version}, and {follows} follows")
            versions[key] = review.version

    def _check_cases(self) -> None:
        numbers: dict[int, list[int]] = {each: [] for each in self.events.protocols}
        for case_id, case in self.events.cases.items():
            protocol = self.events.protocols.get(case.protocol_id)
            name = f"reading_case {case_id}"
            if protocol is None:
                self._report.add(name, "it was frozen for a protocol that nobody had started")
                continue
            numbers[case.protocol_id].append(case.number)
            if protocol.first_read is not None and case.seq > protocol.first_read:
                self._report.add(
                    name,
                    "it was frozen after a case of its protocol was opened: nothing says that the "
                    "model's side was not chosen by then",
                )
        for protocol_id, found in numbers.items():
            count = self.events.protocols[protocol_id].told["cases"]
            if sorted(found) != list(range(1, count + 1)):
                what = f"it was started with {count} cases, and not these were frozen"
                self._report.add(f"reading_protocol {protocol_id}", what)

    # -- tables ----------------------------------------------------------------------------------

    def check_protocols(self, file: str, rows: Rows) -> None:
        """Compare protocols with the events by which they were started and ended."""
        left = {*self.events.protocols}

        def look_at(where: str, row: dict[str, Any]) -> None:
            protocol_id = int(row["protocol_id"])
            name = f"{where}, reading_protocol {protocol_id}"
            protocol = self.events.protocols.get(protocol_id)
            if protocol is None:
                self._report.add(name, "no event tells of it: put in")
                return
            if protocol_id not in left:
                self._report.add(name, "it is there twice")
            left.discard(protocol_id)
            digest = hashlib.sha256(row["definition"].encode("utf-8", "surrogatepass")).hexdigest()
            if digest != row["definition_sha256"]:
                self._report.add(name, "`definition` is not what `definition_sha256` says")
            told = protocol.told
            if (row["name"], int(row["version"]), row["definition_sha256"], row["state"]) != (
                told["name"],
                told["version"],
                told["definition_sha256"],
                protocol.state,
            ):
                self._report.add(name, "it is not what its events say: changed")

        self._take(rows, look_at)
        for protocol_id in sorted(left):
            what = "an event tells of it, and the export has it not: deleted"
            self._report.add(f"{file}, reading_protocol {protocol_id}", what)

    def check_people(self, file: str, rows: Rows) -> None:
        """Compare who reads by which protocol with the events by which they were started."""
        left = {
            (protocol_id, *person)
            for protocol_id, protocol in self.events.protocols.items()
            for person in protocol.people()
        }

        def look_at(where: str, row: dict[str, Any]) -> None:
            ids = int(row["protocol_id"]), int(row["account_id"])
            person = (*ids, row["part"], row["label"])
            if person not in left:
                self._report.add(where, "no event says so, or it is there twice")
            left.discard(person)

        self._take(rows, look_at)
        for protocol_id, account_id, *_ in sorted(left):
            what = f"account {account_id} is in reading protocol {protocol_id}: deleted"
            self._report.add(file, what)

    def check_assignments(self, file: str, rows: Rows) -> None:
        """Compare planned reads with the events by which they were opened and locked."""
        counts = dict.fromkeys(self.events.protocols, 0)
        left, last = {*self.events.first_opened, *self._arms}, 0

        def look_at(where: str, row: dict[str, Any]) -> None:
            nonlocal last
            assignment_id, case_id = int(row["assignment_id"]), int(row["case_id"])
            name = f"{where}, assignment {assignment_id}"
            if assignment_id <= last:
                self._report.add(name, "it is there twice, or out of order")
            last = assignment_id
            left.discard(assignment_id)
            case = self.events.cases.get(case_id)
            if case is None:
                self._report.add(name, "no event tells of its case: put in")
                return
            counts[case.protocol_id] = counts.get(case.protocol_id, 0) + 1
            self._check_assignment(name, row, assignment_id, case_id)

        self._take(rows, look_at)
        for protocol_id, protocol in self.events.protocols.items():
            planned = protocol.told["reads"] + protocol.planned_later
            if counts[protocol_id] != planned:
                what = f"of reading protocol {protocol_id} it has {counts[protocol_id]} reads, "
                self._report.add(file, what + f"and events tell of {planned}")
        for assignment_id in sorted(left):
            what = "somebody opened it or locked something of it, and it is not there: deleted"
            self._report.add(f"{file}, assignment {assignment_id}", what)

    def _check_assignment(
        self, name: str, row: Mapping[str, Any], assignment_id: int, case_id: int
    ) -> None:
        opened = self.events.opened.get(assignment_id)
        if opened is not None and opened.case_id != case_id:
            self._report.add(name, "the event by which it was opened tells of another case")
        ours = row["read_kind"], row["arm"]
        if self._arms.get(assignment_id, ours) != ours or row["arm"] not in PHASES_OF:
            self._report.add(name, "its kind or arm is not that of its reviews: changed")
            return
        given = ReadState(_number_in(row["account_id"]), _number_in(row["place"]), row["state"])
        planned_for = None if is_true(row["is_pooled"]) else given.account_id
        told = self.events.state_of(assignment_id, case_id, row["arm"], planned_for=planned_for)
        if given != told:
            self._report.add(name, "whose it is, and where, is not what events say")

    def _take(self, rows: Rows, look_at: Callable[[str, dict[str, Any]], None]) -> None:
        """Look at each row, and say of one that is none that it is damaged."""
        for where, row in rows:
            try:
                look_at(where, row)
            except DAMAGED as error:
                self._report.add(where, f"it is damaged: {describe_damage(error)}")


def _number_in(value: Any) -> int | None:
    """Return the number in a cell, which may be empty."""
    return None if value in ("", None) else int(value)
