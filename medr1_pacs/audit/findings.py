"""What a check of the log or of an export found."""

from __future__ import annotations

from dataclasses import dataclass

CLOCK_BACK_S = 60
"""How much earlier than its predecessor an event may be: clocks are set, and changes take a while
between what they note and when they are committed."""


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
