"""Withdrawals: what is asked for, what the list keeps of it, and what went."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from medr1_pacs.records.words import JsonObject, WithdrawnKind


@dataclass(frozen=True, slots=True)
class WithdrawnEntry:
    """A line of the list: a study or a patient by a keyed hash, and from which project."""

    kind: WithdrawnKind
    key: str
    project: str | None
    """None: from every project."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestedKey:
    """A study or a patient that is to go: by its hash, or the row of a study."""

    kind: WithdrawnKind
    key: str | None = None
    study_id: int | None = None


@dataclass(frozen=True, slots=True)
class UnfinishedWithdrawal:
    """A withdrawal that is asked for, or under way."""

    withdrawal_id: int
    project: str | None
    reason: str
    requested_by: str
    began_at: datetime | None
    certificate: JsonObject


@dataclass(frozen=True, slots=True)
class WithdrawalRecord:
    """A withdrawal as people read of it."""

    withdrawal_id: int
    project: str | None
    reason: str
    requested_by: str
    requested_at: datetime
    began_at: datetime | None
    finished_at: datetime | None
    certificate: Mapping[str, Any]
    """What went; empty before it began. Row ids, hashes and counts alone."""

    def to_json(self) -> JsonObject:
        """Return plain JSON values; times as ISO 8601."""
        return {
            "withdrawal": self.withdrawal_id,
            "project": self.project,
            "reason": self.reason,
            "requested_by": self.requested_by,
            "requested_at": self.requested_at.isoformat(),
            "began_at": self.began_at.isoformat() if self.began_at else None,
            "finished_at": self.finished_at.isoformat() if self.finished_at else None,
            **self.certificate,
        }


@dataclass(frozen=True, slots=True)
class Withheld:
    """Why an arrival may not be kept, or not for some projects."""

    reason: str = ""
    """Empty: it may be kept."""
    projects: frozenset[str] = frozenset()
    """That may not use it."""
    withdrawal_id: int | None = None
    """None for a patient who opted out."""
