"""Received instances, from the acknowledgement on.

An instance is written beside its final name, synced, renamed, and its folder synced; only then
does `put` return. Its name says when and over which association it came, its file meta who sent
it, so rows can be rebuilt from files alone. Moving on is a hard link first (a copy, where the
system refuses a link) and an unlink last: a crash between the two leaves both names, and doing it
again does no harm.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import shutil
import threading
import time
from collections.abc import Container, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO

from medr1_pacs.errors import (
    InstanceDamaged,
    InstanceUnreadable,
    StorageFull,
    StorageUnavailable,
)
from medr1_pacs.part10 import read_file_meta
from medr1_pacs.storage.durable import (
    is_unfinished,
    make_folder,
    named_failures,
    remove_unfinished,
    sync_folder,
    write_durably,
)

NO_ASSOCIATION = "0" * 16
"""Association token of instances that came from a folder instead of the network."""

_BACKLOG_RECOUNT_S = 2.0
_CHUNK_BYTES = 1 << 20
_STORED_NAME = re.compile(r"[0-9]{1,19}-[0-9a-f]{16}-[0-9a-f]{16}\.dcm")
# Debian's `fs.protected_hardlinks` refuses a link to another user's file; some shares have none.
_LINK_REFUSED = {errno.EPERM, errno.EACCES, errno.EMLINK, errno.EXDEV, errno.ENOTSUP, errno.ENOSYS}


@dataclass(frozen=True, slots=True)
class StoredName:
    """The name we gave an instance: `<received ns>-<association token>-<random>.dcm`."""

    name: str

    @classmethod
    def parse(cls, name: str) -> StoredName | None:
        """Return a file's name as ours; None where it is not."""
        return cls(name) if _STORED_NAME.fullmatch(name) else None

    @property
    def received_at(self) -> datetime:
        """When the last byte had arrived."""
        return datetime.fromtimestamp(int(self.name.split("-")[0]) / 1e9, UTC)

    @property
    def association_token(self) -> str:
        return self.name.split("-")[1]

    @property
    def day_folder(self) -> str:
        return self.received_at.strftime("%Y/%m/%d")


class InstanceStore:
    """Received instances in the storage folder.

    Parameters
    ----------
    root
        The storage folder; created with its sub-folders.
    reserve_bytes
        Free space below which `put` refuses.
    backlog_max
        Number of instances without rows from which `put` refuses.
    """

    def __init__(self, root: Path, *, reserve_bytes: int = 0, backlog_max: int = 50_000) -> None:
        self._root = root.absolute()
        self._reserve_bytes = reserve_bytes
        self._backlog_max = backlog_max
        self._backlog = 0
        self._backlog_counted_at = float("-inf")
        self._lock = threading.Lock()
        for folder in ("incoming", "instances", "quarantine"):
            make_folder(self._root / folder)
        sync_folder(self._root)

    # -- receive -----------------------------------------------------------------------------

    def put(
        self, parts: Iterable[bytes | memoryview], *, association_token: str = NO_ASSOCIATION
    ) -> StoredName:
        """Write one Part 10 file durably; when this returns, its bytes and name survive a crash.

        Raises
        ------
        StorageFull
            The disk, the reserve or the backlog limit is reached; nothing was kept.
        StorageUnavailable
            The folder cannot be written.
        """
        self._refuse_when_full()
        name = f"{time.time_ns()}-{association_token}-{secrets.token_hex(8)}.dcm"
        with named_failures():
            write_durably(self._root / "incoming" / name, parts)
        with self._lock:
            self._backlog += 1
        return StoredName(name)

    def _refuse_when_full(self) -> None:
        with named_failures():
            if shutil.disk_usage(self._root).free < self._reserve_bytes:
                raise StorageFull(
                    f"less than {self._reserve_bytes >> 20} MiB are free in the storage folder"
                )
        if (backlog := self.backlog()) >= self._backlog_max:
            raise StorageFull(
                f"{backlog} received instances wait for their rows; is the database away?"
            )

    def backlog(self) -> int:
        """Number of instances without a row; recounted every two seconds."""
        with self._lock:
            if time.monotonic() - self._backlog_counted_at > _BACKLOG_RECOUNT_S:
                with named_failures():
                    self._backlog = sum(1 for _ in self._incoming_names())
                self._backlog_counted_at = time.monotonic()
            return self._backlog

    def _incoming_names(self) -> Iterator[str]:
        with os.scandir(self._root / "incoming") as entries:
            for entry in entries:
                if StoredName.parse(entry.name):
                    yield entry.name

    # -- index -------------------------------------------------------------------------------

    def incoming(self, limit: int, *, but_not: Container[str] = ()) -> list[StoredName]:
        """Return the oldest instances without a row, in the order they were received."""
        with named_failures():
            names = sorted(name for name in self._incoming_names() if name not in but_not)
        return [StoredName(name) for name in names[:limit]]

    def list_foreign(self) -> list[int]:
        """Return the inodes of files in the backlog's folder that nobody received.

        Their names are not ours, and may be a patient's.
        """
        with named_failures(), os.scandir(self._root / "incoming") as entries:
            return sorted(
                {
                    entry.inode()
                    for entry in entries
                    if not StoredName.parse(entry.name) and not is_unfinished(entry.name)
                }
            )

    def incoming_path(self, stored: StoredName) -> Path:
        return self._root / "incoming" / stored.name

    def instance_path(self, stored: StoredName) -> Path:
        return self._root / "instances" / stored.day_folder / stored.name

    def quarantine_path(self, stored: StoredName) -> Path:
        return self._root / "quarantine" / stored.name

    def keep(self, stored: StoredName) -> Path:
        """Give an incoming instance its final name; the incoming name stays until `forget`.

        Returns the folder that holds the name: it survives a crash once that is synced.

        Raises
        ------
        StorageFull, StorageUnavailable
            It has no other name than before.
        """
        return self._link(self.incoming_path(stored), self.instance_path(stored))

    def quarantine(self, stored: StoredName) -> Path:
        """Give an incoming instance a quarantine name, as `keep` does."""
        return self._link(self.incoming_path(stored), self.quarantine_path(stored))

    def _link(self, source: Path, target: Path) -> Path:
        with named_failures():
            make_folder(target.parent)
            with suppress(FileExistsError):  # an earlier try got this far
                try:
                    os.link(source, target)
                except OSError as error:
                    if error.errno not in _LINK_REFUSED:
                        raise
                    _copy(source, target)
        return target.parent

    def check_usable(self) -> None:
        """Write a file and read it, to tell a bad file from a bad disk.

        Raises
        ------
        StorageFull, StorageUnavailable
            It is the disk.
        """
        with named_failures(), TemporaryFile(dir=self._root) as file:
            file.write(b"medr1")
            file.flush()
            file.seek(0)
            file.read()

    def sync(self, folders: Iterable[Path]) -> None:
        """Make the names in folders durable, each once."""
        with named_failures():
            for folder in set(folders):
                sync_folder(folder)

    def forget(self, stored: StoredName) -> None:
        """Remove the incoming name of an instance whose row is committed."""
        self.incoming_path(stored).unlink(missing_ok=True)

    def discard(self, stored: StoredName) -> None:
        """Remove an instance from backlog and instances: its bytes are kept under another name."""
        self.instance_path(stored).unlink(missing_ok=True)
        self.forget(stored)

    def leave_quarantine(self, stored: StoredName) -> None:
        """Remove the quarantine name of an instance: it is kept under another one, or dropped."""
        with named_failures():
            self.quarantine_path(stored).unlink(missing_ok=True)
            sync_folder(self._root / "quarantine")

    def delete(self, stored: StoredName) -> bool:
        """Delete an instance under every name that it has; True when it had one.

        Durable when this returns.
        """
        was_there = False
        paths = (self.instance_path(stored), self.quarantine_path(stored))
        for path in (*paths, self.incoming_path(stored)):
            with named_failures():
                try:
                    path.unlink()
                except FileNotFoundError:
                    continue
                sync_folder(path.parent)
            was_there = True
        return was_there

    def quarantined(self) -> list[StoredName]:
        """Return the files in quarantine, the oldest first."""
        with named_failures():
            names = sorted(path.name for path in (self._root / "quarantine").glob("*.dcm"))
        return [stored for stored in map(StoredName.parse, names) if stored]

    def is_incoming(self, stored: StoredName) -> bool:
        """Whether an instance is in the backlog."""
        with named_failures():
            return os.path.lexists(self.incoming_path(stored))

    def replace(self, damaged: StoredName, stored: StoredName) -> None:
        """Let an instance with the same data set take the place of one that is damaged or gone.

        Its incoming name stays until `forget`.
        """
        target = self.instance_path(damaged)
        with named_failures():
            make_folder(target.parent)
            self.instance_path(stored).rename(target)
            sync_folder(target.parent)

    def verify(self, stored: StoredName, sha256: str) -> None:
        """Compare the data set of a kept instance with what was received.

        Raises
        ------
        InstanceDamaged
            The file is missing, or its bytes have changed.
        StorageUnavailable
            It cannot be read at the moment.
        """
        try:
            with self.instance_path(stored).open("rb") as file:
                _, offset = read_file_meta(file)
                file.seek(offset)
                is_whole = sha256_from(file) == sha256
        except FileNotFoundError as error:
            raise InstanceDamaged(stored.name, "is missing") from error
        except InstanceUnreadable:
            is_whole = False
        except OSError as error:
            raise StorageUnavailable(
                f"the stored file {stored.name} cannot be read: {error.strerror}"
            ) from error
        if not is_whole:
            raise InstanceDamaged(stored.name, "is not what was received")

    def settled(self) -> Iterator[tuple[StoredName, Path]]:
        """Yield every file that left the backlog: instances, oldest day first, then quarantine."""
        with named_failures():
            days = sorted(self._root.glob("instances/*/*/*"))
        for folder in (*days, self._root / "quarantine"):
            with named_failures():
                names = sorted(path.name for path in folder.glob("*.dcm"))
            for stored in filter(None, map(StoredName.parse, names)):
                yield stored, folder / stored.name

    def return_to_incoming(self, stored: StoredName, path: Path) -> None:
        """Give a settled file its incoming name again, so that its row is rebuilt."""
        self.sync([self._link(path, self.incoming_path(stored))])

    def remove_unfinished(self) -> int:
        """Remove what a crash left half written, which was never acknowledged."""
        return remove_unfinished(self._root / "incoming", "*")


def _copy(source: Path, target: Path) -> None:
    """Copy durably, for the case that the first name is removed."""
    with source.open("rb") as file:
        write_durably(target, iter(lambda: file.read(_CHUNK_BYTES), b""))


def sha256_from(file: BinaryIO) -> str:
    """Hash a file from its current position to its end."""
    digest = hashlib.sha256()
    while chunk := file.read(_CHUNK_BYTES):
        digest.update(chunk)
    return digest.hexdigest()
