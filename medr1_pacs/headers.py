"""store: what the header of a received instance says of it.

    Dataset -> HeaderValues; with the file -> IndexedInstance, or why not

Pure. Who the patient is goes into `PatientIdentity`, everything else into values that research may
see. The first half runs where hostile bytes are parsed (`parsing`), the second where the site key
is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset

from medr1_pacs.attributes.reading import read_attributes
from medr1_pacs.part10 import FileMeta, is_uid
from medr1_pacs.pseudonyms import pseudonym
from medr1_pacs.records.received import IndexedInstance, PatientIdentity, RejectedInstance
from medr1_pacs.records.words import QuarantineReason

_IDENTITY_KEYWORDS = (
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "PatientBirthDate",
    "AccessionNumber",
)
_UID_KEYWORDS = ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "SOPClassUID")
_DEVICE_KEYWORDS = (
    "DeviceSerialNumber",
    "StationName",
    "SoftwareVersions",
    "Manufacturer",
    "ManufacturerModelName",
)
_AFFECTED = {"SOPInstanceUID": "SOP Instance UID", "SOPClassUID": "SOP Class UID"}
_UID_KEPT = 128  # a UID has 64 characters: longer ones are seen to be none
_TEXT_MAX = 1024
"""Characters kept of what names a patient; LO and PN have 64 a component group."""

IDENTITY_TAGS: tuple[int, ...] = tuple(
    tag
    for keyword in (
        *_UID_KEYWORDS,
        *_IDENTITY_KEYWORDS,
        *_DEVICE_KEYWORDS,
        "PatientSex",
        "PatientAge",
        "StudyDate",
    )
    if (tag := tag_for_keyword(keyword)) is not None
)
"""The elements that are read beside the attributes."""

_AGE = re.compile(r"^(\d{3})([DWMY])$")  # PS3.5 Table 6.2-1, VR AS
_UNITS_A_YEAR = {"D": 365, "W": 52, "M": 12, "Y": 1}


class HeaderUnusable(Exception):
    """An instance goes to quarantine; the message says why, and quotes no value."""

    def __init__(self, reason: QuarantineReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class ReceivedFile:
    """What a received file says without its data set being parsed."""

    stored_name: str
    received_at: datetime
    association_token: str
    meta: FileMeta
    sha256: str
    """Over the data set's bytes, without file meta."""
    size_bytes: int

    def reject(self, reason: QuarantineReason, detail: str) -> RejectedInstance:
        """Return it as an instance that cannot be used."""
        return RejectedInstance(
            stored_name=self.stored_name,
            received_at=self.received_at,
            calling_ae_title=self.meta.calling_ae_title,
            called_ae_title=self.meta.called_ae_title,
            sop_instance_uid=self.meta.sop_instance_uid,
            sop_class_uid=self.meta.sop_class_uid,
            transfer_syntax_uid=self.meta.transfer_syntax_uid,
            sha256=self.sha256,
            reason=reason,
            detail=detail,
        )


@dataclass(frozen=True, slots=True)
class HeaderValues:
    """What is kept of a header: JSON values."""

    uids: dict[str, str]
    """Of SOP instance, study and series, by keyword; checked by nobody yet."""
    identity: dict[str, str]
    """Who the patient is, by keyword."""
    device: dict[str, str]
    """Which scanner it was, by keyword; nothing of it is kept but `scanner_key`."""
    attributes: dict[str, Any]
    sex: str | None
    age_years: int | None
    study_date: str | None

    def __repr__(self) -> str:  # a traceback or a log line must not name a patient
        return f"HeaderValues(uids={self.uids!r})"


def read_header_values(header: Dataset) -> HeaderValues:
    """Take what is kept out of a header."""
    return HeaderValues(
        uids={k: str(header.get(k) or "").strip("\x00 ")[:_UID_KEPT] for k in _UID_KEYWORDS},
        identity={keyword: _clean(header, keyword) for keyword in _IDENTITY_KEYWORDS},
        device={keyword: _clean(header, keyword) for keyword in _DEVICE_KEYWORDS},
        attributes=read_attributes(header),
        sex=_one_of(header, "PatientSex", ("M", "F", "O")),
        age_years=_age_years(header),
        study_date=_date(header, "StudyDate"),
    )


def index_header(header: HeaderValues, received: ReceivedFile, site_key: bytes) -> IndexedInstance:
    """Return an instance as its header and its file describe it.

    Raises
    ------
    HeaderUnusable
        A UID is missing, or is not the one that the sender announced.
    """
    uids = header.uids
    for keyword, uid in uids.items():
        if not is_uid(uid):
            raise HeaderUnusable(QuarantineReason.UID_MISSING, f"{keyword} is absent or not a UID")
    for keyword, announced in (
        ("SOPInstanceUID", received.meta.sop_instance_uid),
        ("SOPClassUID", received.meta.sop_class_uid),
    ):
        if uids[keyword] != announced:
            raise HeaderUnusable(
                QuarantineReason.UID_MISMATCH,
                f"the data set's {keyword} differs from the command's Affected "
                f"{_AFFECTED[keyword]}",
            )
    return IndexedInstance(
        stored_name=received.stored_name,
        received_at=received.received_at,
        association_token=received.association_token,
        calling_ae_title=received.meta.calling_ae_title,
        called_ae_title=received.meta.called_ae_title,
        sop_instance_uid=uids["SOPInstanceUID"],
        sop_class_uid=received.meta.sop_class_uid,
        transfer_syntax_uid=received.meta.transfer_syntax_uid,
        sha256=received.sha256,
        size_bytes=received.size_bytes,
        study_instance_uid=uids["StudyInstanceUID"],
        series_instance_uid=uids["SeriesInstanceUID"],
        number_of_frames=_number_of_frames(header.attributes.get("NumberOfFrames")),
        attributes=header.attributes,
        identity=identify(header, site_key),
        sex=header.sex,
        age_years=header.age_years,
        study_date=header.study_date,
        scanner_key=_scanner_key(header.device, site_key),
    )


def _scanner_key(device: Mapping[str, str], site_key: bytes) -> str | None:
    """Return the pseudonym of a device and its software; None where nothing tells it from others.

    Two equal scanners have two, and an update gives another: drift has a subject (PS3.3 C.7.5.1).
    """
    if not (which := device["DeviceSerialNumber"] or device["StationName"]):
        return None
    maker = (device["Manufacturer"], device["ManufacturerModelName"])
    return pseudonym(site_key, "scanner", "\x00".join([*maker, which, device["SoftwareVersions"]]))


def patient_key(site_key: bytes, patient_id: str, issuer_of_patient_id: str) -> str:
    """Return what research may know a patient by."""
    return pseudonym(site_key, "patient", f"{issuer_of_patient_id}\x00{patient_id}")


def identify(header: HeaderValues, site_key: bytes) -> PatientIdentity:
    """Say who a header names."""
    values, study_instance_uid = header.identity, header.uids["StudyInstanceUID"]
    key = patient_key(site_key, values["PatientID"], values["IssuerOfPatientID"])
    if not values["PatientID"]:
        # Nothing links two studies to one patient, so each is its own.
        key = pseudonym(site_key, "patient", f"study\x00{study_instance_uid}")
    everything = "\x00".join([study_instance_uid, *(values[k] for k in _IDENTITY_KEYWORDS)])
    return PatientIdentity(
        identity_key=pseudonym(site_key, "identity", everything),
        patient_key=key,
        study_instance_uid=study_instance_uid,
        patient_name=values["PatientName"],
        patient_id=values["PatientID"],
        issuer_of_patient_id=values["IssuerOfPatientID"],
        patient_birth_date=values["PatientBirthDate"],
        accession_number=values["AccessionNumber"],
    )


def _clean(header: Dataset, keyword: str) -> str:
    value: Any = header.get(keyword)
    return str(value).replace("\x00", "").strip()[:_TEXT_MAX] if value is not None else ""


def _one_of(header: Dataset, keyword: str, values: Sequence[str]) -> str | None:
    value = _clean(header, keyword)
    return value if value in values else None


def _date(header: Dataset, keyword: str) -> str | None:
    value = _clean(header, keyword)
    return value if re.fullmatch(r"\d{8}", value) else None


def _age_years(header: Dataset) -> int | None:
    if match := _AGE.match(_clean(header, "PatientAge")):
        return int(match[1]) // _UNITS_A_YEAR[match[2]]
    born, studied = _date(header, "PatientBirthDate"), _date(header, "StudyDate")
    if born is None or studied is None or studied < born:
        return None
    return int(studied[:4]) - int(born[:4]) - (studied[4:] < born[4:])


def _number_of_frames(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 1
