"""Rows of a list, as commands and pages show them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from medr1_pacs.part10 import uid_name
from medr1_pacs.records.received import SetAsideFile
from medr1_pacs.records.words import JsonObject, QuarantineReason, StudyState


@dataclass(frozen=True, slots=True)
class StudyListing:
    """Where a study is, and why: a row of `medr1-pacs studies`."""

    study_instance_uid: str
    modality: str
    """The Med-R1 modalities of its series, joined by `/`; DICOM's own where there is none."""
    state: StudyState
    reason: str
    version: int
    instances: int
    answers: int
    last_received_at: datetime

    def to_json(self) -> JsonObject:
        """Return plain JSON values in the order of the fields; the time as ISO 8601."""
        return asdict(self) | {"last_received_at": self.last_received_at.isoformat()}


@dataclass(frozen=True, slots=True)
class HeldInstance:
    """An instance that waits for a person, who accepts or refuses it."""

    sop_instance_uid: str
    study_instance_uid: str
    calling_ae_title: str
    called_ae_title: str
    received_at: datetime


@dataclass(frozen=True, slots=True)
class QuarantineListing:
    """Received bytes that cannot be used, and why."""

    stored_name: str
    reason: QuarantineReason
    detail: str
    calling_ae_title: str
    called_ae_title: str
    received_at: datetime


@dataclass(frozen=True, slots=True)
class RefusalListing:
    """What a sender asked for and was not given: a SOP class, or transfer syntaxes of it."""

    calling_ae_title: str
    called_ae_title: str
    peer_address: str
    sop_class_uid: str
    transfer_syntax_uids: tuple[str, ...]
    first_at: datetime
    latest_at: datetime
    times: int
    """In how many associations, of those that were looked at."""

    @property
    def sop_class(self) -> str:
        """The name of the standard, or the UID where that has none."""
        return uid_name(self.sop_class_uid)

    @property
    def transfer_syntaxes(self) -> tuple[str, ...]:
        return tuple(map(uid_name, self.transfer_syntax_uids))


@dataclass(frozen=True, slots=True)
class EventListing:
    """What happened to one object: a row of its history."""

    occurred_at: datetime
    actor: str
    action: str
    old_value: JsonObject
    new_value: JsonObject
    reason: str


@dataclass(frozen=True, slots=True)
class QuarantineRecord:
    """All that the rows say of received bytes that cannot be used, or could not."""

    stored_name: str
    sop_instance_uid: str
    """As the command named it; the data set may say otherwise."""
    sop_class_uid: str
    transfer_syntax_uid: str
    sha256: str
    calling_ae_title: str
    called_ae_title: str
    reason: QuarantineReason
    detail: str
    received_at: datetime
    quarantined_at: datetime
    """When it was last found unusable."""
    resolved_at: datetime | None
    dropped_at: datetime | None
    current: str | None
    """Stored name of the usable instance of its UID, where there is one."""
    events: tuple[EventListing, ...]

    @property
    def is_open(self) -> bool:
        return self.resolved_at is None


@dataclass(frozen=True, slots=True)
class OpenMatters:
    """What waits for a person beside failed studies."""

    set_aside: tuple[SetAsideFile, ...] = ()
    held: tuple[HeldInstance, ...] = ()
    quarantined: tuple[QuarantineListing, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.set_aside or self.held or self.quarantined)


@dataclass(frozen=True, slots=True)
class WorkerListing:
    """A process of ours, and its latest heartbeat."""

    name: str
    """See `medr1_pacs.processes.ProcessName`."""
    kind: str
    queues: Sequence[str]
    started_at: datetime
    heartbeat_at: datetime
    last_claim_at: datetime | None = None
    tokens_per_second: float | None = None
    trouble: str | None = None
    """What it cannot do at the moment, as load a checkpoint; a sentence."""
