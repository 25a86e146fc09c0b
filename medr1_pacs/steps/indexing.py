"""store -> rows: read the header of what was received, and record it or quarantine it.

Runs after the acknowledgement, in the sweep. Every order of crash is safe: the file gets its final
name first, its identity goes to the vault, its rows are committed, and only then does it leave the
backlog; doing any of it again changes nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import BinaryIO

import pydicom

from medr1_pacs.db.instances import Recorded, record_instance, record_rejected
from medr1_pacs.db.sessions import Database
from medr1_pacs.db.vault import record_identities
from medr1_pacs.errors import InstanceUnreadable, ValueRefused
from medr1_pacs.headers import HeaderUnusable, ReceivedFile, index_header
from medr1_pacs.part10 import UNKNOWN_META, read_file_meta
from medr1_pacs.projects import ProjectRules
from medr1_pacs.records.received import IndexedInstance, RejectedInstance
from medr1_pacs.records.words import QuarantineReason
from medr1_pacs.storage.instances import InstanceStore, StoredName, sha256_from

logger = logging.getLogger(__name__)


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

    def __add__(self, other: IndexReport) -> IndexReport:
        return IndexReport(
            self.new + other.new,
            self.duplicate + other.duplicate,
            self.quarantined + other.quarantined,
            self.unreadable | other.unreadable,
        )


@dataclass(frozen=True, slots=True)
class Indexer:
    """Takes instances from the backlog to their rows."""

    store: InstanceStore
    database: Database
    vault: Database
    site_key: bytes
    rules: ProjectRules

    def index(self, limit: int = 100) -> IndexReport:
        """Record the oldest instances of the backlog; call again until `total` is 0.

        Raises
        ------
        TransientError
            The database or the storage is away, or another process records the same instance.
            Nothing is lost: what was not recorded stays in the backlog.
        """
        names = self.store.incoming(limit)
        try:
            return self._index(names)
        except ValueRefused as error:
            # One instance of the batch cannot be recorded; alone, the others can.
            logger.warning("a batch could not be recorded, going on one by one: %s", error)
        return sum((self._index_alone(name) for name in names), IndexReport())

    def _index(self, names: Sequence[StoredName]) -> IndexReport:
        indexed, rejected = self._read_all(names)
        for stored in indexed:
            self.store.keep(stored)
        for stored in rejected:
            self.store.quarantine(stored)
        now = datetime.now(UTC)
        record_identities(self.vault, [item.identity for item in indexed.values()], now)
        with self.database.write() as session:
            outcomes = {
                stored: record_instance(session, item, self.rules, now)
                for stored, item in indexed.items()
            }
            for item in rejected.values():
                record_rejected(session, item, now)
        for stored, outcome in outcomes.items():
            if outcome is Recorded.DUPLICATE:
                self.store.discard(stored)
            else:
                self.store.forget(stored)
        for stored in rejected:
            self.store.forget(stored)
        new = sum(outcome is Recorded.NEW for outcome in outcomes.values())
        unreadable = {stored.name for stored in names} - {s.name for s in (*indexed, *rejected)}
        return IndexReport(new, len(indexed) - new, len(rejected), frozenset(unreadable))

    def _read_all(
        self, names: Sequence[StoredName]
    ) -> tuple[dict[StoredName, IndexedInstance], dict[StoredName, RejectedInstance]]:
        indexed: dict[StoredName, IndexedInstance] = {}
        rejected: dict[StoredName, RejectedInstance] = {}
        for stored in names:
            try:
                with self.store.incoming_path(stored).open("rb") as file:
                    item = read_received(file, stored, self.site_key)
            except OSError as error:
                # One file that the disk does not give must not hold up the others.
                logger.error("%s cannot be read: %s", stored.name, error.strerror)
                continue
            if isinstance(item, IndexedInstance):
                indexed[stored] = item
            else:
                rejected[stored] = item
        return indexed, rejected

    def _index_alone(self, stored: StoredName) -> IndexReport:
        try:
            return self._index([stored])
        except ValueRefused as error:
            detail = f"its header could not be recorded: {error}"
        with self.store.incoming_path(stored).open("rb") as file:
            received, _ = _describe(file, stored)
        rejected = received.reject(QuarantineReason.UNREADABLE, detail)
        self.store.quarantine(stored)
        with self.database.write() as session:
            record_rejected(session, rejected, datetime.now(UTC))
        self.store.discard(stored)
        return IndexReport(quarantined=1)


def read_received(
    file: BinaryIO, stored: StoredName, site_key: bytes
) -> IndexedInstance | RejectedInstance:
    """Read one received file. Raises only what the disk does (`OSError`)."""
    received, problem = _describe(file, stored)
    if problem is not None:
        return received.reject(QuarantineReason.UNREADABLE, str(problem))
    try:
        file.seek(0)
        header = pydicom.dcmread(file, stop_before_pixels=True)
        return index_header(header, received, site_key)
    except HeaderUnusable as error:
        return received.reject(error.reason, str(error))
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a parser makes of hostile bytes
        # Its message may quote them, so it is not kept.
        detail = f"the data set does not parse ({type(error).__name__})"
        return received.reject(QuarantineReason.UNREADABLE, detail)


def _describe(file: BinaryIO, stored: StoredName) -> tuple[ReceivedFile, InstanceUnreadable | None]:
    """Say what is known of a file without its data set, and whether it is in the file format."""
    meta, offset, problem = UNKNOWN_META, 0, None
    try:
        meta, offset = read_file_meta(file)
    except InstanceUnreadable as error:
        problem = error
    file.seek(offset)
    sha256 = sha256_from(file)
    received = ReceivedFile(
        stored_name=stored.name,
        received_at=stored.received_at,
        association_token=stored.association_token,
        meta=meta,
        sha256=sha256,
        size_bytes=file.tell() - offset,
    )
    return received, problem
