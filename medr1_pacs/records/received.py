"""What arrives: associations, instances, and who the patient is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from medr1_pacs.attributes.values import Attributes
from medr1_pacs.records.words import QuarantineReason


@dataclass(frozen=True, slots=True)
class RefusedContext:
    """A presentation context that was asked for and not accepted."""

    sop_class_uid: str
    transfer_syntax_uids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AssociationRecord:
    """An association as the listener sees it."""

    token: str
    calling_ae_title: str
    called_ae_title: str
    peer_address: str
    opened_at: datetime
    instances: int = 0
    closed_at: datetime | None = None
    ending: str | None = None
    """`released`, `aborted` or `lost`."""
    refused_contexts: tuple[RefusedContext, ...] = ()
    times: int = 1
    """How many associations it stands for: those of a day that brought nothing and were refused the
    same are one, which opened as the first and closed as the latest of them."""


@dataclass(frozen=True, slots=True)
class PatientIdentity:
    """What a study's headers say of who the patient is; goes to the vault and nowhere else."""

    identity_key: str
    patient_key: str
    study_instance_uid: str
    patient_name: str
    patient_id: str
    issuer_of_patient_id: str
    patient_birth_date: str
    accession_number: str

    def __repr__(self) -> str:  # a traceback or a log line must not name a patient
        return f"PatientIdentity(patient_key={self.patient_key!r})"


@dataclass(frozen=True, slots=True)
class IndexedInstance:
    """One received instance as its header, its file name and its bytes describe it."""

    stored_name: str
    received_at: datetime
    association_token: str
    calling_ae_title: str
    called_ae_title: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    sha256: str
    size_bytes: int
    study_instance_uid: str
    series_instance_uid: str
    number_of_frames: int
    attributes: Attributes
    identity: PatientIdentity
    sex: str | None
    age_years: int | None
    study_date: str | None
    scanner_key: str | None = None


@dataclass(frozen=True, slots=True)
class SetAsideFile:
    """A file of the backlog that cannot be recorded at the moment."""

    name: str
    """Its stored name; of a file that nobody received, which may name a patient, its inode."""
    reason: str
    study_instance_uid: str | None
    """The study that its header says, where that could be read."""
    association_token: str | None
    set_aside_at: datetime


@dataclass(frozen=True, slots=True)
class RejectedInstance:
    """Received bytes that cannot be indexed."""

    stored_name: str
    received_at: datetime
    calling_ae_title: str
    called_ae_title: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    sha256: str
    reason: QuarantineReason
    detail: str
