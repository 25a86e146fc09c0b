"""What an engineer sees: where studies are, what waits for what, and who works on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from medr1_pacs.records.listed import EventListing, OpenMatters, WorkerListing
from medr1_pacs.records.words import (
    GenerationState,
    InstanceHold,
    JsonObject,
    Modality,
    StudyState,
)


class StudySort(StrEnum):
    """What studies are listed by."""

    RECEIVED = "received"  #: when their latest instance came
    STATE = "state"
    INSTANCES = "instances"
    ANSWERS = "answers"


@dataclass(frozen=True, slots=True)
class StudyQuery:
    """Which studies, in which order, and which page of them."""

    search: str = ""
    """A part of the Study Instance UID."""
    state: StudyState | None = None
    modality: Modality | None = None
    sort: StudySort = StudySort.RECEIVED
    is_ascending: bool = False
    page: int = 1


@dataclass(frozen=True, slots=True)
class WaitingPrompts:
    """Prompts of one study, or of all, that wait for one checkpoint."""

    checkpoint: str
    ready: int
    """Their picture is drawn: they wait for the checkpoint alone."""
    not_ready: int
    since: datetime

    @property
    def count(self) -> int:
        return self.ready + self.not_ready


@dataclass(frozen=True, slots=True)
class StudyRow:
    """Where a study is, and the facts that say why it waits."""

    study_instance_uid: str
    modality: str
    """As in `StudyListing`."""
    state: StudyState
    reason: str
    version: int
    instances: int
    answers: int
    last_received_at: datetime
    completed_at: datetime | None
    """When its latest version became complete."""
    set_aside: int
    """Files that are known to belong to it and cannot be recorded at the moment."""
    is_being_sent: bool
    """A living association sent it last."""
    prompts: tuple[WaitingPrompts, ...]


@dataclass(frozen=True, slots=True)
class StudyPage:
    """One page of studies, and whether there is another."""

    rows: tuple[StudyRow, ...]
    has_more: bool


@dataclass(frozen=True, slots=True)
class SeriesDetail:
    """A series, and where it was routed."""

    series_instance_uid: str
    modality: str | None
    route_modality: str | None
    route_reason: str
    anatomy: str | None
    instances: int


@dataclass(frozen=True, slots=True)
class VersionDetail:
    """A study as it was when it became complete."""

    version: int
    instances: int
    completed_at: datetime
    planned_at: datetime | None
    missing: str


@dataclass(frozen=True, slots=True)
class InstanceDetail:
    """A received instance."""

    sop_instance_uid: str
    sop_class_uid: str
    calling_ae_title: str
    called_ae_title: str
    stored_name: str
    study_version: int
    received_at: datetime
    is_current: bool
    hold: InstanceHold | None


@dataclass(frozen=True, slots=True)
class SelectionDetail:
    """What stands for a series under a question, or why nothing does."""

    question_id: str
    series_instance_uid: str
    reason: str
    frames: int
    skipped: JsonObject
    """Reason -> number of frames that were not chosen."""


@dataclass(frozen=True, slots=True)
class PromptCount:
    """How many prompts of the latest version are where."""

    checkpoint: str
    state: GenerationState
    error: str
    count: int


@dataclass(frozen=True, slots=True)
class StudyDetail:
    """One study in detail; long lists are cut, and say so by being as long as they may."""

    row_id: int
    """What events of it name it by."""
    row: StudyRow
    series: tuple[SeriesDetail, ...]
    versions: tuple[VersionDetail, ...]
    instances: tuple[InstanceDetail, ...]
    selections: tuple[SelectionDetail, ...]
    prompts: tuple[PromptCount, ...]
    events: tuple[EventListing, ...]
    projects: tuple[str, ...]
    """That use it."""


@dataclass(frozen=True, slots=True)
class RenderingQueue:
    """Pictures that wait to be drawn."""

    planned: int
    """With those that a worker draws just now."""
    claimed: int
    due_since: datetime | None


@dataclass(frozen=True, slots=True)
class OperationsStatus:
    """What the page shows again every few seconds; counts end at `COUNTED_MAX`."""

    states: Mapping[StudyState, int]
    renderings: RenderingQueue
    prompts: tuple[WaitingPrompts, ...]
    prompts_claimed: int
    workers: tuple[WorkerListing, ...]
    matters: OpenMatters
    refused_lately: int
    """Associations of the last day that were refused a presentation context."""
    backlog: int | None
    """Received files without a row; None: the storage folder does not say."""


COUNTED_MAX = 10_000
"""More than this is not counted: `10,001` stands for whatever is above."""
MATTERS_MAX = 20
"""How many open matters of a kind are shown; one more is fetched, to know that there are."""
