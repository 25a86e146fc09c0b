"""Exports that people ask for on a page: what is asked for, and where each is."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from medr1_pacs.records.words import ExportRemoval, ExportState, JsonObject, TableFormat

UNFINISHED = (ExportState.REQUESTED, ExportState.RUNNING)
TABLES_IN_ORDER = (
    "answers",
    "answers_wide",
    "left_out",
    "selections",
    "references",
    "questions",
    "checkpoints",
    "withdrawn.jsonl",
    "events.jsonl",
    "accounts",
    "counts",
)
"""As they are written."""
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_WHY_REMOVED = {
    ExportRemoval.EXPIRED: "it was kept as long as exports are: ask again",
    ExportRemoval.PERSON: "somebody of the project removed it",
    ExportRemoval.WITHDRAWAL: "a study was withdrawn: ask again",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportWish:
    """What somebody wants exported."""

    filters: Mapping[str, Sequence[str]]
    """As `filters.parse_filters` takes them."""
    is_everything: bool
    """Earlier, control and demo answers too; then there are no filters."""
    formats: Sequence[str]
    as_of: int | None
    """Number of events of the audit log; None: as of when it is made."""
    has_pictures: bool

    def to_json(self) -> JsonObject:
        """Return plain JSON values, as the constructor takes them."""
        return asdict(self)

    def describe_formats(self) -> str:
        """Say how the tables are to be written."""
        return ", ".join(TableFormat(each).label for each in self.formats)


@dataclass(frozen=True, slots=True)
class TakenExport:
    """An export that is carried out now."""

    export_id: int
    project: str
    requested_by: str
    wish: ExportWish
    folder: str
    """Under which name this attempt works."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectExport:
    """An export as people read of it."""

    export_id: int
    project: str
    requested_by: str
    requested_at: datetime
    wish: ExportWish
    state: ExportState
    attempts: int
    folder: str | None
    progress: Mapping[str, int]
    expected_answers: int | None
    head_size: int | None
    size_bytes: int | None
    error: str | None
    finished_at: datetime | None
    removed_at: datetime | None
    removed_because: ExportRemoval | None

    @property
    def is_unfinished(self) -> bool:
        return self.state in UNFINISHED

    @property
    def name(self) -> str:
        """What its folder and its download are called."""
        return export_name(self.project, self.head_size or 0)

    @property
    def why_removed(self) -> str:
        return _WHY_REMOVED[self.removed_because] if self.removed_because else ""

    def describe_progress(self) -> str:
        """Say how far it is: the answers, and what is written after them."""
        done = [table for table in TABLES_IN_ORDER if table in self.progress]
        if not done:
            return "looks at what there is"
        answers = self.progress.get("answers", 0)
        text = f"answers {answers:,}"
        if self.expected_answers and self.expected_answers >= answers:
            text += f" of {self.expected_answers:,}"
        latest = done[-1]
        if latest != "answers":
            text += f"; {latest.removesuffix('.jsonl').replace('_', ' ')} "
            text += f"{self.progress[latest]:,}"
        return text


def export_name(project: str, head_size: int) -> str:
    """Return what an export is called, as a name of a file may be."""
    return f"{_UNSAFE.sub('-', project).strip('.-') or 'project'}-{head_size}"
