"""store -> rows: read the header of what was received, and record it or quarantine it.

Runs after the acknowledgement, in the sweep. Every order of crash is safe: the file gets its final
name first, its identity goes to the vault, its rows are committed, and only then does it leave the
backlog; doing any of it again changes nothing.
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pydicom

from medr1_pacs.attributes import read_attributes
from medr1_pacs.db.instances import Recorded, has_row, record_instance, record_rejected
from medr1_pacs.db.sessions import Database
from medr1_pacs.db.vault import record_identities
from medr1_pacs.errors import InstanceUnreadable, ValueRefused
from medr1_pacs.part10 import FileMeta, is_uid, read_file_meta
from medr1_pacs.projects import ProjectRules
from medr1_pacs.pseudonyms import pseudonym
from medr1_pacs.records import (
    IndexedInstance,
    PatientIdentity,
    QuarantineReason,
    RejectedInstance,
)
from medr1_pacs.storage import InstanceStore, StoredName, sha256_from

logger = logging.getLogger(__name__)

_UNKNOWN_META = FileMeta("", "", "", "", "")
_IDENTITY_KEYWORDS = [
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "PatientBirthDate",
    "AccessionNumber",
]
_AGE = re.compile(r"^(\d{3})([DWMY])$")  # PS3.5 Table 6.2-1, VR AS
_DAYS_A_YEAR = {"D": 365, "W": 52, "M": 12, "Y": 1}


@dataclass(frozen=True, slots=True)
class IndexReport:
    """How many instances became rows, were known already, or went to quarantine."""

    new: int = 0
    duplicate: int = 0
    quarantined: int = 0
    unreadable: frozenset[str] = frozenset()
    """Names of files that the disk does not give at the moment; they stay in the backlog."""

    @property
    def total(self) -> int:
        return self.new + self.duplicate + self.quarantined


def index_instances(
    store: InstanceStore,
    database: Database,
    vault: Database,
    *,
    site_key: bytes,
    rules: ProjectRules,
    limit: int = 100,
) -> IndexReport:
    """Record the oldest instances of the backlog; call again until `total` is 0.

    Raises
    ------
    TransientError
        The database or the storage is away, or another process records the same instance. Nothing
        is lost: what was not recorded stays in the backlog.
    """
    names = store.incoming(limit)
    try:
        return _index(store, database, vault, site_key, rules, names)
    except ValueRefused as error:
        # One instance of the batch cannot be recorded; alone, the others can.
        logger.warning("a batch could not be recorded, going on one by one: %s", error)
    reports = [_index_alone(store, database, vault, site_key, rules, name) for name in names]
    return IndexReport(
        sum(report.new for report in reports),
        sum(report.duplicate for report in reports),
        sum(report.quarantined for report in reports),
        frozenset().union(*(report.unreadable for report in reports)),
    )


def _index_alone(
    store: InstanceStore,
    database: Database,
    vault: Database,
    site_key: bytes,
    rules: ProjectRules,
    stored: StoredName,
) -> IndexReport:
    try:
        return _index(store, database, vault, site_key, rules, [stored])
    except ValueRefused as error:
        detail = f"its header could not be recorded: {error}"
        rejected = _rejected(store, stored, QuarantineReason.UNREADABLE, detail)
        store.quarantine(stored)
        with database.write() as session:
            record_rejected(session, rejected, datetime.now(UTC))
        store.instance_path(stored).unlink(missing_ok=True)
        store.forget(stored)
        return IndexReport(quarantined=1)


def _index(
    store: InstanceStore,
    database: Database,
    vault: Database,
    site_key: bytes,
    rules: ProjectRules,
    names: Sequence[StoredName],
) -> IndexReport:
    read: dict[StoredName, IndexedInstance | RejectedInstance] = {}
    for stored in names:
        try:
            read[stored] = _read(store, stored, site_key)
        except OSError as error:
            # One file that the disk does not give must not hold up the others.
            logger.error("%s cannot be read: %s", stored.name, error.strerror)
    for stored, item in read.items():
        (store.keep if isinstance(item, IndexedInstance) else store.quarantine)(stored)
    now = datetime.now(UTC)
    record_identities(
        vault, [item.identity for item in read.values() if isinstance(item, IndexedInstance)], now
    )
    recorded: dict[StoredName, Recorded] = {}
    with database.write() as session:
        for stored, item in read.items():
            if isinstance(item, IndexedInstance):
                recorded[stored] = record_instance(session, item, rules, now)
            else:
                record_rejected(session, item, now)
    for stored in read:
        if recorded.get(stored) is Recorded.DUPLICATE:
            store.discard_duplicate(stored)
        else:
            store.forget(stored)
    new = sum(outcome is Recorded.NEW for outcome in recorded.values())
    unreadable = frozenset(stored.name for stored in names if stored not in read)
    return IndexReport(new, len(recorded) - new, len(read) - len(recorded), unreadable)


def _read(
    store: InstanceStore, stored: StoredName, site_key: bytes
) -> IndexedInstance | RejectedInstance:
    path = store.incoming_path(stored)
    try:
        return _read_instance(path, stored, site_key)
    except _Unusable as error:
        return _rejected(store, stored, error.reason, str(error))
    except InstanceUnreadable as error:
        return _rejected(store, stored, QuarantineReason.UNREADABLE, str(error))
    except OSError:
        raise
    except Exception as error:
        # Whatever a parser makes of hostile bytes; its message may quote them, so it is not kept.
        detail = f"the data set does not parse ({type(error).__name__})"
        return _rejected(store, stored, QuarantineReason.UNREADABLE, detail)


class _Unusable(Exception):
    def __init__(self, reason: QuarantineReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def _read_instance(path: Path, stored: StoredName, site_key: bytes) -> IndexedInstance:
    meta, offset = read_file_meta(path)
    header = pydicom.dcmread(path, stop_before_pixels=True)
    uids = {
        keyword: str(header.get(keyword) or "").strip("\x00 ")
        for keyword in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
    }
    for keyword, uid in uids.items():
        if not is_uid(uid):
            raise _Unusable(QuarantineReason.UID_MISSING, f"{keyword} is absent or not a UID")
    if uids["SOPInstanceUID"] != meta.sop_instance_uid:
        raise _Unusable(
            QuarantineReason.UID_MISMATCH,
            "the data set's SOPInstanceUID differs from the command's Affected SOP Instance UID",
        )
    attributes = read_attributes(header)
    with path.open("rb") as file:
        file.seek(offset)
        sha256 = sha256_from(file)
        size_bytes = file.tell() - offset
    return IndexedInstance(
        stored_name=stored.name,
        received_at=stored.received_at,
        association_token=stored.association_token,
        calling_ae_title=meta.calling_ae_title,
        called_ae_title=meta.called_ae_title,
        sop_instance_uid=uids["SOPInstanceUID"],
        sop_class_uid=meta.sop_class_uid,
        transfer_syntax_uid=meta.transfer_syntax_uid,
        sha256=sha256,
        size_bytes=size_bytes,
        study_instance_uid=uids["StudyInstanceUID"],
        series_instance_uid=uids["SeriesInstanceUID"],
        number_of_frames=_number_of_frames(attributes.get("NumberOfFrames")),
        attributes=attributes,
        identity=_identity(header, uids["StudyInstanceUID"], site_key),
        sex=_one_of(header, "PatientSex", ("M", "F", "O")),
        age_years=_age_years(header),
        study_date=_date(header, "StudyDate"),
    )


def _rejected(
    store: InstanceStore, stored: StoredName, reason: QuarantineReason, detail: str
) -> RejectedInstance:
    path = store.incoming_path(stored)
    meta, offset = _UNKNOWN_META, 0
    with contextlib.suppress(InstanceUnreadable):
        meta, offset = read_file_meta(path)
    with path.open("rb") as file:
        file.seek(offset)
        sha256 = sha256_from(file)
    return RejectedInstance(
        stored_name=stored.name,
        received_at=stored.received_at,
        calling_ae_title=meta.calling_ae_title,
        called_ae_title=meta.called_ae_title,
        sop_instance_uid=meta.sop_instance_uid,
        sop_class_uid=meta.sop_class_uid,
        transfer_syntax_uid=meta.transfer_syntax_uid,
        sha256=sha256,
        reason=reason,
        detail=detail,
    )


def _identity(header: pydicom.Dataset, study_instance_uid: str, site_key: bytes) -> PatientIdentity:
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


def _clean(header: pydicom.Dataset, keyword: str) -> str:
    value: Any = header.get(keyword)
    return str(value).replace("\x00", "").strip() if value is not None else ""


def _one_of(header: pydicom.Dataset, keyword: str, values: Sequence[str]) -> str | None:
    value = _clean(header, keyword)
    return value if value in values else None


def _date(header: pydicom.Dataset, keyword: str) -> str | None:
    value = _clean(header, keyword)
    return value if re.fullmatch(r"\d{8}", value) else None


def _age_years(header: pydicom.Dataset) -> int | None:
    if match := _AGE.match(_clean(header, "PatientAge")):
        return int(match[1]) // _DAYS_A_YEAR[match[2]]
    born, studied = _date(header, "PatientBirthDate"), _date(header, "StudyDate")
    if born is None or studied is None or studied < born:
        return None
    return int(studied[:4]) - int(born[:4]) - (studied[4:] < born[4:])


def _number_of_frames(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 1


def reconcile(store: InstanceStore, database: Database) -> int:
    """Put every stored file without a row back into the backlog; returns how many.

    After a database was lost or restored from an older backup, the files are the truth.
    """
    returned = 0
    for stored, path in store.settled():
        with database.read() as session:
            known = has_row(session, stored.name)
        if not known:
            store.return_to_incoming(stored, path)
            returned += 1
    return returned


def restore_identities(store: InstanceStore, vault: Database, site_key: bytes) -> int:
    """Write the identities of every stored file to the vault; returns how many files were read.

    After the vault was lost or restored from an older backup. What it knows already is left alone.
    """
    count = 0
    for stored, path in store.settled():
        try:
            item = _read_instance(path, stored, site_key)
        except Exception:  # quarantined for the same reason when it was received
            logger.debug("no identity in %s", stored.name)
            continue
        record_identities(vault, [item.identity], datetime.now(UTC))
        count += 1
    return count
