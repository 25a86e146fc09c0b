"""Received instances, from the acknowledgement on.

An instance is written beside its final name, synced, renamed, and its folder synced; only then
does `put` return. Its name says when and over which association it came, its file meta who sent
it, so rows can be rebuilt from files alone. Moving on is a hard link first and an unlink last:
a crash between the two leaves both names, and doing it again does no harm.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from medr1_pacs.errors import StorageFull
from medr1_pacs.storage.durable import (
    make_folder,
    named_failures,
    remove_unfinished,
    sync_folder,
    write_durably,
)

NO_ASSOCIATION = "0" * 16
"""Association token of instances that came from a folder instead of the network."""

_BACKLOG_RECOUNT_S = 2.0


@dataclass(frozen=True, slots=True)
class StoredName:
    """The name we gave an instance: `<received ns>-<association token>-<random>.dcm`."""

    name: str

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
                if entry.name.endswith(".dcm"):
                    yield entry.name

    # -- index -------------------------------------------------------------------------------

    def incoming(self, limit: int) -> list[StoredName]:
        """Return the oldest instances without a row, in the order they were received."""
        with named_failures():
            names = sorted(self._incoming_names())
        return [StoredName(name) for name in names[:limit]]

    def incoming_path(self, stored: StoredName) -> Path:
        return self._root / "incoming" / stored.name

    def instance_path(self, stored: StoredName) -> Path:
        return self._root / "instances" / stored.day_folder / stored.name

    def quarantine_path(self, stored: StoredName) -> Path:
        return self._root / "quarantine" / stored.name

    def keep(self, stored: StoredName) -> None:
        """Give an incoming instance its final name; the incoming name stays until `forget`."""
        self._link(stored, self.instance_path(stored))

    def quarantine(self, stored: StoredName) -> None:
        """Give an incoming instance a quarantine name; the incoming name stays until `forget`."""
        self._link(stored, self.quarantine_path(stored))

    def _link(self, stored: StoredName, target: Path) -> None:
        with named_failures():
            make_folder(target.parent)
            with suppress(FileExistsError):  # an earlier try got this far
                os.link(self.incoming_path(stored), target)
            sync_folder(target.parent)

    def forget(self, stored: StoredName) -> None:
        """Remove the incoming name of an instance whose row is committed."""
        self.incoming_path(stored).unlink(missing_ok=True)

    def discard(self, stored: StoredName) -> None:
        """Remove an instance from backlog and instances: its bytes are kept under another name."""
        self.instance_path(stored).unlink(missing_ok=True)
        self.forget(stored)

    def settled(self) -> Iterator[tuple[StoredName, Path]]:
        """Yield every file that left the backlog: instances, oldest day first, then quarantine."""
        for pattern in ("instances/*/*/*/*.dcm", "quarantine/*.dcm"):
            for path in sorted(self._root.glob(pattern)):
                yield StoredName(path.name), path

    def return_to_incoming(self, stored: StoredName, path: Path) -> None:
        """Give a settled file its incoming name again, so that its row is rebuilt."""
        with named_failures(), suppress(FileExistsError):
            os.link(path, self.incoming_path(stored))

    def remove_unfinished(self) -> int:
        """Remove what a crash left half written, which was never acknowledged."""
        return remove_unfinished(self._root / "incoming", "*")


def sha256_from(file: BinaryIO) -> str:
    """Hash a file from its current position to its end."""
    digest = hashlib.sha256()
    while chunk := file.read(1 << 20):
        digest.update(chunk)
    return digest.hexdigest()
