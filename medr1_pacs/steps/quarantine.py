"""Quarantine: look at a file that cannot be used, have it read anew, or delete it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from medr1_pacs.db.quarantine import begin_retry, find_quarantined, record_drop
from medr1_pacs.db.sessions import Database
from medr1_pacs.errors import (
    InstanceDamaged,
    InstanceUnreadable,
    NotInQuarantine,
    StillInBacklog,
)
from medr1_pacs.part10 import read_file_meta
from medr1_pacs.records.listed import QuarantineRecord
from medr1_pacs.storage.instances import InstanceStore, StoredName, sha256_from


@dataclass(frozen=True, slots=True)
class QuarantinedFile:
    """What the rows and the file say. Of the data set nothing is told: it names a patient."""

    record: QuarantineRecord
    is_in_backlog: bool
    """It is about to be read, for the first time or anew."""
    size_bytes: int | None
    """None: it is not in quarantine, or cannot be read."""
    finding: str
    """What the file itself shows, in a sentence."""


def describe(store: InstanceStore, database: Database, name: str) -> QuarantinedFile:
    """Tell all that is known of a file in quarantine, or that was there.

    Raises
    ------
    NotInQuarantine
        It never was.
    """
    stored = _parse(name)
    with database.read() as session:
        record = find_quarantined(session, stored.name)
    if record is None:
        raise NotInQuarantine(f"{stored.name} is not in quarantine; see `quarantine list`")
    size_bytes, finding = _look(store, stored, record)
    return QuarantinedFile(record, store.is_incoming(stored), size_bytes, finding)


def _look(
    store: InstanceStore, stored: StoredName, record: QuarantineRecord
) -> tuple[int | None, str]:
    if record.dropped_at is not None:
        return None, "its bytes were deleted"
    try:
        with store.quarantine_path(stored).open("rb") as file:
            try:
                meta, offset = read_file_meta(file)
            except InstanceUnreadable:
                return file.seek(0, 2), "it is not in the DICOM file format"
            file.seek(offset)
            is_whole = sha256_from(file) == record.sha256
            size_bytes = file.tell()
    except FileNotFoundError:
        is_usable = record.resolved_at is not None
        return None, "it left quarantine as usable" if is_usable else "it is missing"
    except OSError as error:
        return None, f"it cannot be read at the moment: {error.strerror}"
    if not is_whole:
        return size_bytes, "its bytes are not those that were received"
    if meta.sop_instance_uid != record.sop_instance_uid:
        return size_bytes, "its file meta names another instance than its row"
    return size_bytes, "its file meta can be read, and its bytes are those that were received"


def retry(store: InstanceStore, database: Database, name: str, *, actor: str) -> None:
    """Put a file back into the backlog, where the sweep reads it anew; it keeps its quarantine name
    until it has proved usable.

    Raises
    ------
    NotInQuarantine
        There is nothing to decide about it.
    InstanceDamaged
        Its bytes are gone.
    StorageUnavailable
        The backlog cannot be written.
    """
    stored = _parse(name)
    with database.write() as session:
        begin_retry(session, stored.name, actor=actor)
        if not store.quarantine_path(stored).exists():
            raise InstanceDamaged(stored.name, "is missing in quarantine")
        # Before the commit: no event tells of a retry that never began. A crash between the two
        # lets the file be read once more, which changes nothing.
        store.return_to_incoming(stored, store.quarantine_path(stored))


def drop(store: InstanceStore, database: Database, name: str, *, actor: str, reason: str) -> None:
    """Delete the bytes of a file in quarantine; its row stays, with who wanted it and why.

    Raises
    ------
    NotInQuarantine
        There is nothing to decide about it.
    StillInBacklog
        It is about to be read: what becomes of it is not known yet.
    StorageUnavailable
        It cannot be deleted at the moment; `db reconcile` does it later.
    """
    stored = _parse(name)
    with database.write() as session:
        record_drop(session, stored.name, datetime.now(UTC), actor=actor, reason=reason)
        # Under the lock of the row, which a retry takes too.
        if store.is_incoming(stored):
            raise StillInBacklog(
                f"{stored.name} waits in the backlog to be read; drop it when the sweep has done so"
            )
    # After the commit: bytes are never gone without a row that says why.
    store.leave_quarantine(stored)


def _parse(name: str) -> StoredName:
    stored = StoredName.parse(name)
    if stored is None:
        raise NotInQuarantine("this is not the name of a stored file; see `quarantine list`")
    return stored
