"""store: what the header of a received instance says of it.

    Dataset, file -> IndexedInstance, or why not

Pure. Who the patient is goes into `PatientIdentity`, everything else into values that research may
see.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

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


def index_header(header: Dataset, received: ReceivedFile, site_key: bytes) -> IndexedInstance:
    """Return an instance as its header and its file describe it.

    Raises
    ------
    HeaderUnusable
        A UID is missing, or is not the one that the sender announced.
    """
    uids = {
        keyword: str(header.get(keyword) or "").strip("\x00 ")
        for keyword in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
    }
    for keyword, uid in uids.items():
        if not is_uid(uid):
            raise HeaderUnusable(QuarantineReason.UID_MISSING, f"{keyword} is absent or not a UID")
    if uids["SOPInstanceUID"] != received.meta.sop_instance_uid:
        raise HeaderUnusable(
            QuarantineReason.UID_MISMATCH,
            "the data set's SOPInstanceUID differs from the command's Affected SOP Instance UID",
        )
    attributes = read_attributes(header)
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
        number_of_frames=_number_of_frames(attributes.get("NumberOfFrames")),
        attributes=attributes,
        identity=_identity(header, uids["StudyInstanceUID"], site_key),
        sex=_one_of(header, "PatientSex", ("M", "F", "O")),
        age_years=_age_years(header),
        study_date=_date(header, "StudyDate"),
    )


def _identity(header: Dataset, study_instance_uid: str, site_key: bytes) -> PatientIdentity:
    values = {keyword: _clean(header, keyword) for keyword in _IDENTITY_KEYWORDS}
    # Without a patient ID nothing links two studies to one patient, so each is its own.
    person = f"{values['IssuerOfPatientID']}\x00{values['PatientID']}"
    if not values["PatientID"]:
        person = f"study\x00{study_instance_uid}"
    everything = "\x00".join([study_instance_uid, *values.values()])
    return PatientIdentity(
        identity_key=pseudonym(site_key, "identity", everything),
        patient_key=pseudonym(site_key, "patient", person),
        study_instance_uid=study_instance_uid,
        patient_name=values["PatientName"],
        patient_id=values["PatientID"],
        issuer_of_patient_id=values["IssuerOfPatientID"],
        patient_birth_date=values["PatientBirthDate"],
        accession_number=values["AccessionNumber"],
    )


def _clean(header: Dataset, keyword: str) -> str:
    value: Any = header.get(keyword)
    return str(value).replace("\x00", "").strip() if value is not None else ""


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
