"""store: durable files. The only place where a path is built, and never from a peer's words.

    incoming/     acknowledged instances without a row yet: the backlog
    instances/    instances with a row, by the day they were received
    quarantine/   instances that cannot be used, with their reason in the database
    renderings/   pictures, by their sha256

An instance is written beside its final name, synced, renamed, and its folder synced; only then
does `put` return. Its name says when and over which association it came, its file meta who sent
it, so rows can be rebuilt from files alone. Moving on is a hard link first and an unlink last:
a crash between the two leaves both names, and doing it again does no harm.
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
import secrets
import shutil
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from medr1_pacs.errors import PictureLost, StorageFull, StorageUnavailable

NO_ASSOCIATION = "0" * 16
"""Association token of instances that came from a folder instead of the network."""

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
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
    """Received instances and pictures in one folder.

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
        for folder in ("incoming", "instances", "quarantine", "renderings"):
            _make_folder(self._root / folder)
        _sync_folder(self._root)

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
        with _named_failures():
            _write_durably(self._root / "incoming" / name, parts)
        with self._lock:
            self._backlog += 1
        return StoredName(name)

    def _refuse_when_full(self) -> None:
        with _named_failures():
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
                with _named_failures():
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
        with _named_failures():
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
        with _named_failures():
            _make_folder(target.parent)
            with suppress(FileExistsError):  # an earlier try got this far
                os.link(self.incoming_path(stored), target)
            _sync_folder(target.parent)

    def forget(self, stored: StoredName) -> None:
        """Remove the incoming name of an instance whose row is committed."""
        self.incoming_path(stored).unlink(missing_ok=True)

    def discard_duplicate(self, stored: StoredName) -> None:
        """Remove an instance whose identical bytes already have a row under another name."""
        self.instance_path(stored).unlink(missing_ok=True)
        self.forget(stored)

    def settled(self) -> Iterator[tuple[StoredName, Path]]:
        """Yield every file that left the backlog: instances, oldest day first, then quarantine."""
        for pattern in ("instances/*/*/*/*.dcm", "quarantine/*.dcm"):
            for path in sorted(self._root.glob(pattern)):
                yield StoredName(path.name), path

    def return_to_incoming(self, stored: StoredName, path: Path) -> None:
        """Give a settled file its incoming name again, so that its row is rebuilt."""
        with _named_failures(), suppress(FileExistsError):
            os.link(path, self.incoming_path(stored))

    def sweep_unfinished(self, older_than_s: float = 3600.0) -> int:
        """Remove files that a crash left half written, which were never acknowledged."""
        removed = 0
        unfinished = itertools.chain(
            (self._root / "incoming").glob("*.part"), (self._root / "renderings").glob("*/*.part")
        )
        for path in unfinished:
            with suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > older_than_s:
                    path.unlink()
                    removed += 1
        return removed

    # -- pictures ----------------------------------------------------------------------------

    def put_picture(self, png: bytes) -> str:
        """Write a picture durably; returns its sha256, which is its name.

        One that is there is left alone, unless its bytes are no longer its own.
        """
        png_sha256 = hashlib.sha256(png).hexdigest()
        path = self.picture_path(png_sha256)
        if not path.exists() or path.read_bytes() != png:
            with _named_failures():
                _make_folder(path.parent)
                _write_durably(path, [png])
        return png_sha256

    def picture_path(self, png_sha256: str) -> Path:
        return self._root / "renderings" / png_sha256[:2] / f"{png_sha256}.png"

    def read_picture(self, png_sha256: str) -> bytes:
        """Return a stored picture.

        Raises
        ------
        PictureLost
            It is missing, or its bytes are no longer those that were hashed.
        StorageUnavailable
            The folder cannot be read at the moment.
        """
        try:
            png = self.picture_path(png_sha256).read_bytes()
        except FileNotFoundError as error:
            raise PictureLost(f"picture {png_sha256} is missing") from error
        except OSError as error:
            raise StorageUnavailable(
                f"picture {png_sha256} cannot be read: {error.strerror}"
            ) from error
        if hashlib.sha256(png).hexdigest() != png_sha256:
            raise PictureLost(f"picture {png_sha256} was changed on disk")
        return png


def _write_durably(path: Path, parts: Iterable[bytes | memoryview]) -> None:
    # PS3.4 B.2.3 wants a success only for what is stored; POSIX calls a name durable once the
    # folder that holds it is synced, so: bytes, sync, rename, sync of the folder.
    unfinished = path.with_suffix(f".{secrets.token_hex(4)}.part")
    try:
        with unfinished.open("xb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(path)
        _sync_folder(path.parent)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def _make_folder(folder: Path) -> None:
    if folder.is_dir():
        return
    folder.mkdir(parents=True, exist_ok=True)
    for parent in (folder, *folder.parents[:3]):
        _sync_folder(parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _named_failures() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise StorageFull(f"the storage folder is full: {error.strerror}") from error
        raise StorageUnavailable(
            f"the storage folder cannot be written: {error.strerror}"
        ) from error


def sha256_from(file: BinaryIO) -> str:
    """Hash a file from its current position to its end."""
    digest = hashlib.sha256()
    while chunk := file.read(1 << 20):
        digest.update(chunk)
    return digest.hexdigest()
