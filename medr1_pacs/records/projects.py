"""Projects as those in them see them."""

from __future__ import annotations

from dataclasses import dataclass

from medr1_pacs.records.words import DatePolicy


@dataclass(frozen=True, slots=True)
class ProjectListing:
    """A project: what was approved, and how it shows dates."""

    name: str
    title: str
    approval_number: str
    purpose: str
    dates: DatePolicy
    studies: int
