"""store -> rows: read the header of what was received, and record it or quarantine it.

Runs after the acknowledgement, in the sweep. Every order of crash is safe: the file gets its final
name first, its identity goes to the vault, its rows are committed, and only then does it leave the
backlog; doing any of it again changes nothing.

A file that cannot be read or moved holds up itself alone: it is set aside, and tried again once a
minute.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from medr1_pacs.db.instances import Outcome, Recorded, record_instance, record_repair
from medr1_pacs.db.quarantine import record_rejected, resolve_usable
from medr1_pacs.db.sessions import Database
from medr1_pacs.db.studies import lock_known, retry_damaged
from medr1_pacs.db.taking import drop_quarantined_files
from medr1_pacs.db.vault import delete_identities, record_identities
from medr1_pacs.db.withdrawals import find_live, note_turned_away
from medr1_pacs.errors import (
    InstanceDamaged,
    InstanceUnreadable,
    RowExists,
    SchemaMismatch,
    StorageFull,
    StorageUnavailable,
    TransientError,
    ValueRefused,
)
from medr1_pacs.headers import HeaderUnusable, ReceivedFile, index_header
from medr1_pacs.opt_out import OptOutList
from medr1_pacs.parsing import HeaderReader
from medr1_pacs.part10 import UNKNOWN_META, read_file_meta
from medr1_pacs.projects import ProjectRules
from medr1_pacs.records.received import IndexedInstance, RejectedInstance, SetAsideFile
from medr1_pacs.records.withdrawals import Withheld
from medr1_pacs.records.words import QuarantineReason
from medr1_pacs.steps.withholding import Withholding
from medr1_pacs.storage.instances import InstanceStore, StoredName, sha256_from

logger = logging.getLogger(__name__)

READ_S = 10.0
"""How long files are read before those that were are recorded: headers can be slow."""
SET_ASIDE_S = 60.0
"""How long a file is set aside before it is tried again."""


@dataclass(frozen=True, slots=True)
class IndexReport:
    """How many instances became rows, were known already, or went to quarantine."""

    new: int = 0
    """With those that are held for a person."""
    duplicate: int = 0
    quarantined: int = 0
    turned_away: int = 0
    """Withdrawn or opted out before they came."""

    @property
    def total(self) -> int:
        return self.new + self.duplicate + self.quarantined + self.turned_away

    def __add__(self, other: IndexReport) -> IndexReport:
        return IndexReport(
            self.new + other.new,
            self.duplicate + other.duplicate,
            self.quarantined + other.quarantined,
            self.turned_away + other.turned_away,
        )


@dataclass(slots=True)
class Indexer:
    """Takes instances from the backlog to their rows."""

    store: InstanceStore
    database: Database
    vault: Database
    site_key: bytes
    rules: ProjectRules
    headers: HeaderReader
    opt_out: OptOutList | None = None
    sets_withheld_aside: bool = False
    """Put arrivals that were withdrawn or opted out into quarantine, instead of deleting them."""
    _set_aside: dict[str, SetAsideFile] = field(default_factory=dict)
    _retry_at: dict[str, float] = field(default_factory=dict)

    @property
    def set_aside(self) -> Mapping[str, SetAsideFile]:
        """Name -> why a file cannot be recorded at the moment."""
        return dict(self._set_aside)

    def look_again(self) -> None:
        """Look at once at what is set aside, and forget of which study it was: that may be gone."""
        self._retry_at = dict.fromkeys(self._retry_at, float("-inf"))
        self._set_aside = {
            name: replace(file, study_instance_uid=None) for name, file in self._set_aside.items()
        }

    def index(self, limit: int = 100) -> IndexReport:
        """Record the oldest instances of the backlog; call again until `total` is 0.

        Raises
        ------
        TransientError
            The database or the storage is away, or another process records the same instance.
            Nothing is lost: what was not recorded stays in the backlog.
        SchemaMismatch
            A table is missing.
        """
        now = time.monotonic()
        resting = {name for name, retry_at in self._retry_at.items() if retry_at > now}
        names = self.store.incoming(limit, but_not=resting)
        self._forget_gone(resting)
        try:
            return self._index(names)
        except RowExists as error:
            logger.warning("a batch is recorded one by one: %s", error)
        except (TransientError, SchemaMismatch):
            raise
        except Exception as error:  # noqa: BLE001 - whatever one instance of the batch caused
            # Alone, the others can be recorded.
            logger.warning(
                "a batch could not be recorded, going on one by one: %s", type(error).__name__
            )
        report, ends_at = IndexReport(), now + READ_S
        for stored in names:
            report += self._index_alone(stored)
            if time.monotonic() > ends_at:
                break
        return report

    def _forget_gone(self, resting: Collection[str]) -> None:
        """Forget files that were set aside and lie in the backlog no more."""
        for name in self._set_aside.keys() - resting:
            try:
                self.store.incoming_path(StoredName(name)).lstat()
            except FileNotFoundError:
                self._take_back(name)
            except OSError:
                continue  # it is there, and the disk does not even say how large it is

    def _index(self, names: Sequence[StoredName]) -> IndexReport:
        read = self._read_all(names)
        withheld, turned_away = self._withhold(read)
        indexed, rejected = self._move_all(names, read)
        now = datetime.now(UTC)
        record_identities(self.vault, [item.identity for item in indexed.values()], now)
        with self.database.write() as session:
            lock_known(session, {item.study_instance_uid for item in indexed.values()})
            recorded = {
                stored: record_instance(session, item, self._rules_for(withheld, stored), now)
                for stored, item in indexed.items()
            }
            for item in rejected.values():
                record_rejected(session, item, now)
            retried = resolve_usable(session, [stored.name for stored in recorded], now)
        for stored, outcome in recorded.items():
            if outcome.outcome is Outcome.DUPLICATE:
                self._discard(stored, indexed[stored], outcome, leave_quarantine=retried)
                continue
            if stored.name in retried:  # before it leaves the backlog: a crash here is made up for
                self.store.leave_quarantine(stored)
            self._forget(stored)
        for stored, item in rejected.items():
            if item.reason is QuarantineReason.WITHDRAWN:  # it may have been usable once
                self.store.discard(stored)
            self._forget(stored)
        duplicates = [
            r for r in recorded.values() if r.outcome in (Outcome.DUPLICATE, Outcome.SAME)
        ]
        new = len(recorded) - len(duplicates)
        return IndexReport(new, len(duplicates), len(rejected), turned_away)

    def _read_all(
        self, names: Sequence[StoredName]
    ) -> dict[StoredName, IndexedInstance | RejectedInstance]:
        """Read files; one that the disk does not give is set aside by itself."""
        read: dict[StoredName, IndexedInstance | RejectedInstance] = {}
        ends_at = time.monotonic() + READ_S
        for stored in names:
            try:
                read[stored] = read_received(
                    self.store.incoming_path(stored),
                    stored,
                    self.site_key,
                    self.headers,
                    is_last_try=stored.name in self._set_aside,
                )
            except StorageFull:
                raise
            except (OSError, StorageUnavailable) as error:
                self._put_aside_unless_disk(stored, error, None)
            if time.monotonic() > ends_at:
                break  # what was read is recorded before the rest is looked at
        return read

    def _withhold(
        self, read: dict[StoredName, IndexedInstance | RejectedInstance]
    ) -> tuple[dict[StoredName, Withheld], int]:
        """Delete what may not be kept, or have it set aside, before it gets a name or a row.

        Returns what some projects may not use, and how many files were deleted.
        """
        withholding = Withholding(self.database, self.site_key, self.headers, self.opt_out)
        withholding.refresh()
        usable = {s: item for s, item in read.items() if isinstance(item, IndexedInstance)}
        judged = withholding.judge(usable, self.rules)
        unusable = {s: item for s, item in read.items() if isinstance(item, RejectedInstance)}
        for stored, item in unusable.items():
            path = self.store.incoming_path(stored)
            try:
                verdict = withholding.judge_unusable(path, item, self.rules)
            except (OSError, StorageUnavailable) as error:
                self._put_aside_unless_disk(stored, error, None)
                del read[stored]
                continue
            if verdict is not None:
                judged[stored] = verdict
        refused = {stored: verdict for stored, verdict in judged.items() if verdict.reason}
        if self.sets_withheld_aside:
            for stored, verdict in refused.items():
                read[stored] = _set_aside_by_rule(read[stored], verdict)
            refused = {}
        if refused:
            self._turn_away({stored: (read.pop(stored), v) for stored, v in refused.items()})
        return judged, len(refused)

    def _turn_away(
        self,
        refused: Mapping[StoredName, tuple[IndexedInstance | RejectedInstance, Withheld]],
    ) -> None:
        with self.database.write() as session:
            for item, verdict in refused.values():
                note_turned_away(
                    session,
                    verdict.withdrawal_id,
                    sha256=item.sha256,
                    calling_ae_title=item.calling_ae_title,
                    reason=verdict.reason,
                )
            drop_quarantined_files(session, [each.name for each in refused], datetime.now(UTC))
        # A crash may have come between an identity and its rows, before it was withdrawn.
        items = [item for item, _ in refused.values() if isinstance(item, IndexedInstance)]
        uids = {item.study_instance_uid for item in items}
        with self.database.read() as session:
            uids -= find_live(session, uids)
        delete_identities(self.vault, study_instance_uids=uids, patient_keys=())
        for stored in refused:
            try:
                self.store.delete(stored)
                self._take_back(stored.name)
            except StorageUnavailable as error:
                self._put_aside_unless_disk(stored, error, None)

    def _rules_for(
        self, withheld: Mapping[StoredName, Withheld], stored: StoredName
    ) -> ProjectRules:
        verdict = withheld.get(stored)
        return self.rules.without(verdict.projects) if verdict else self.rules

    def _move_all(
        self,
        names: Sequence[StoredName],
        read: Mapping[StoredName, IndexedInstance | RejectedInstance],
    ) -> tuple[dict[StoredName, IndexedInstance], dict[StoredName, RejectedInstance]]:
        """Give files their final names; what fails is set aside by itself."""
        moved: dict[Path, dict[StoredName, IndexedInstance | RejectedInstance]] = {}
        for stored, item in read.items():
            try:
                is_usable = isinstance(item, IndexedInstance)
                folder = (self.store.keep if is_usable else self.store.quarantine)(stored)
                moved.setdefault(folder, {})[stored] = item
            except StorageFull:
                raise
            except (OSError, StorageUnavailable) as error:
                self._put_aside_unless_disk(stored, error, item)
        items: dict[StoredName, IndexedInstance | RejectedInstance] = {}
        for folder, in_folder in moved.items():
            try:
                self.store.sync([folder])
                items |= in_folder
            except StorageUnavailable as error:
                for stored, item in in_folder.items():
                    self._put_aside_unless_disk(stored, error, item)
        in_order = [(stored, items[stored]) for stored in names if stored in items]
        return (
            {stored: item for stored, item in in_order if isinstance(item, IndexedInstance)},
            {stored: item for stored, item in in_order if isinstance(item, RejectedInstance)},
        )

    def _put_aside_unless_disk(
        self,
        stored: StoredName,
        error: OSError | StorageUnavailable,
        item: IndexedInstance | RejectedInstance | None,
    ) -> None:
        """Set one file aside that the disk does not give; a disk that gives none holds up all."""
        self.store.check_usable()
        self._put_aside(stored, _reason_of(error), item)

    def _put_aside(
        self, stored: StoredName, reason: str, item: IndexedInstance | RejectedInstance | None
    ) -> None:
        study = item.study_instance_uid if isinstance(item, IndexedInstance) else None
        if stored.name not in self._set_aside:
            logger.error("%s is set aside: %s", stored.name, reason, extra={"action": "index"})
        known = self._set_aside.get(stored.name)
        since = known.set_aside_at if known else datetime.now(UTC)
        self._set_aside[stored.name] = SetAsideFile(
            stored.name, reason, study, stored.association_token, since
        )
        self._retry_at[stored.name] = time.monotonic() + SET_ASIDE_S

    def _forget(self, stored: StoredName) -> None:
        self.store.forget(stored)
        self._take_back(stored.name)

    def _take_back(self, name: str) -> None:
        if self._set_aside.pop(name, None):
            del self._retry_at[name]

    def _discard(
        self,
        stored: StoredName,
        item: IndexedInstance,
        recorded: Recorded,
        *,
        leave_quarantine: Collection[str],
    ) -> None:
        """Remove what is kept under another name, unless that is damaged: then this is its repair.

        Nothing that was acknowledged is deleted before its twin was read and compared.
        """
        twin = StoredName(recorded.stored_name)
        try:
            was_repaired = self._repair(twin, stored, item.sha256)
        except StorageFull:
            raise
        except StorageUnavailable as error:
            self._put_aside_unless_disk(stored, error, item)
            return
        # Before the file leaves the backlog: a crash here is made up for by doing it again.
        with self.database.write() as session:
            if was_repaired:
                record_repair(session, twin.name)
            retry_damaged(session, twin.name)
        if stored.name in leave_quarantine:
            self.store.leave_quarantine(stored)
        self.store.discard(stored)
        self._take_back(stored.name)

    def _repair(self, twin: StoredName, stored: StoredName, sha256: str) -> bool:
        """Let a file take the place of its twin, if that is damaged; True when it was."""
        try:
            self.store.verify(twin, sha256)
        except InstanceDamaged as error:
            logger.warning("%s: the same instance was sent again and takes its place", error)
            self.store.replace(twin, stored)
            return True
        return False

    def _index_alone(self, stored: StoredName) -> IndexReport:
        try:
            return self._index([stored])
        except ValueRefused as error:
            detail = f"its header could not be recorded: {error}"
        except RowExists as error:  # for ever, where it is no other process
            self._put_aside(stored, str(error), None)
            return IndexReport()
        except (TransientError, SchemaMismatch):
            raise
        except Exception as error:  # a defect of ours, which must not stop reception
            logger.exception("%s cannot be recorded", stored.name, extra={"action": "index"})
            self._put_aside(stored, f"unforeseen: {type(error).__name__}", None)
            return IndexReport()
        with self.store.incoming_path(stored).open("rb") as file:
            received, _ = _describe(file, stored)
        rejected = received.reject(QuarantineReason.UNREADABLE, detail)
        self.store.sync([self.store.quarantine(stored)])
        with self.database.write() as session:
            record_rejected(session, rejected, datetime.now(UTC))
        self.store.discard(stored)
        return IndexReport(quarantined=1)


def _set_aside_by_rule(
    item: IndexedInstance | RejectedInstance, verdict: Withheld
) -> RejectedInstance:
    """Return an arrival as one for quarantine."""
    names = [field.name for field in fields(RejectedInstance)]
    values = {name: getattr(item, name) for name in names if hasattr(item, name)}
    return RejectedInstance(
        **values | {"reason": QuarantineReason.WITHDRAWN, "detail": verdict.reason}
    )


def _reason_of(error: Exception) -> str:
    """Say what went wrong without a path."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def read_received(
    path: Path,
    stored: StoredName,
    site_key: bytes,
    headers: HeaderReader,
    *,
    is_last_try: bool = True,
) -> IndexedInstance | RejectedInstance:
    """Read one received file; one that takes too long is rejected on the last try alone.

    Raises
    ------
    OSError, StorageUnavailable
        The disk does not give it.
    TransientError
        No parser can be started.
    """
    with path.open("rb") as file:
        received, problem = _describe(file, stored)
    if problem is not None:
        return received.reject(QuarantineReason.UNREADABLE, str(problem))
    try:
        return index_header(headers.read(path, is_last_try=is_last_try), received, site_key)
    except InstanceUnreadable as error:
        return received.reject(QuarantineReason.UNREADABLE, str(error))
    except HeaderUnusable as error:
        return received.reject(error.reason, str(error))


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
