"""What a check of the log or of an export found, and how it is said."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

CLOCK_BACK_S = 60
"""How much earlier than its predecessor an event may be: clocks are set, and changes take a while
between what they note and when they are committed."""
FINDINGS_MAX = 1_000
"""Faults, and as many remarks, after which a check goes on counting, and says no more of each."""


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be."""

    where: str
    """The record, the place in the log, the file and line, or the interval between two heads."""
    what: str
    """A sentence."""
    is_fault: bool = True
    """False: it is reported, and proves nothing by itself."""

    def __str__(self) -> str:
        return f"{'FAULT' if self.is_fault else 'remark'}: {self.where}: {self.what}"


class Report:
    """What was found, and whether a trusted key signed it."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.is_signed = False
        self.faults = 0
        self.remarks = 0

    @property
    def is_sound(self) -> bool:
        """Whether a trusted key signed it and nothing speaks against it."""
        return self.is_signed and not self.faults

    def add(self, where: str, what: str, *, is_fault: bool = True) -> None:
        """Note what is not as it should be."""
        self.faults += is_fault
        self.remarks += not is_fault
        if (self.faults if is_fault else self.remarks) <= FINDINGS_MAX:
            self.findings.append(Finding(where, what, is_fault))

    def lines_of_findings(self) -> list[str]:
        """Return the findings, a line each."""
        lines = [str(finding) for finding in self.findings]
        for number, what in ((self.faults, "faults"), (self.remarks, "remarks")):
            if number > FINDINGS_MAX:
                lines.append(f"and {number - FINDINGS_MAX} more {what}")
        return lines


class Clock:
    """Looks at the times of events, each after the other."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._last: tuple[str, datetime] | None = None

    def look_at(self, where: str, at: str) -> None:
        """Remark a time that is earlier than its predecessor by more than a minute."""
        try:
            now = datetime.fromisoformat(at)
            if now.tzinfo is None:
                raise ValueError("it has no zone")
            back_s = (self._last[1] - now).total_seconds() if self._last else 0.0
        except (ValueError, TypeError):
            self._report.add(where, f"its time {at!r} is none")
            return
        if self._last is not None and back_s > CLOCK_BACK_S:
            what = f"its time {at} is {back_s:.0f} s before that of {self._last[0]}"
            self._report.add(where, what, is_fault=False)
        self._last = (where, now)


def printable(line: str) -> str:
    """Return a line in which nothing acts on a terminal: what is checked may be written by
    somebody who wants to be believed."""
    if line.isprintable():
        return line
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in line
    )
