"""Withdrawals: what is asked for, what the list keeps of it, and what went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from medr1_pacs.records.words import JsonObject, WithdrawnKind

REASON_MIN, REASON_MAX = 3, 500
"""Characters of the reason that a person gives; it goes to the event and the certificate."""


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

    @property
    def studies(self) -> Sequence[Mapping[str, Any]]:
        """What went of each study."""
        studies: Sequence[Mapping[str, Any]] = self.certificate.get("studies", ())
        return studies

    @property
    def patient_pseudonyms(self) -> tuple[str, ...]:
        """By which projects knew the patients, each once."""
        names = (use["patient_pseudonym"] for study in self.studies for use in study["uses"])
        return tuple(dict.fromkeys(name for name in names if name))

    def describe(self) -> str:
        """Say where it is."""
        if self.finished_at is not None:
            return "finished"
        return "under way" if self.began_at is not None else "asked for"

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
class NamedIn:
    """Whom a file names, as keyed hashes."""

    keys: frozenset[str]
    is_certain: bool
    """By its header, which says whose it is; else by everything in it that looks like a UID."""


@dataclass(frozen=True, slots=True)
class Withheld:
    """Why an arrival may not be kept, or not for some projects."""

    reason: str = ""
    """Empty: it may be kept."""
    projects: frozenset[str] = frozenset()
    """That may not use it."""
    withdrawal_id: int | None = None
    """None for a patient who opted out."""
