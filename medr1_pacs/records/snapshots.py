"""Snapshots: answers as they were when somebody gave them a name to cite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from medr1_pacs.records.words import JsonObject

FROZEN = (
    "is_current",
    "study_version",
    "study_date",
    "sex",
    "age_years",
    "age_band",
    "modality",
    "anatomy",
    "plane",
    "weighting",
    "stain",
    "scanner_key",
    "pixels_sha256",
    "truth",
    "is_correct",
    "answered_on",
)
"""The fields of an answer that can change: by a study's next version, a truth, a route, or a
project's policy of dates. A snapshot keeps them; everything else is evidence and stays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What a snapshot says of itself."""

    project: str
    name: str
    description: str
    filters: Mapping[str, Sequence[str]]
    """As `filters.parse_filters` takes them."""
    fields: Sequence[str]
    """Of each of its answers, in order; later versions of the program may know more."""
    made_by: str
    made_at: datetime
    program_version: str
    answers: int
    sha256: str
    """Of its answers as JSON Lines: `sha256sum` of the download says the same."""

    def to_json(self) -> JsonObject:
        """Return plain JSON values in the order of the fields; the time as ISO 8601."""
        return asdict(self) | {"made_at": self.made_at.isoformat()}
