"""Files that survive a crash once they are written, and failures by our names."""

from __future__ import annotations

import errno
import os
import secrets
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from medr1_pacs.errors import StorageFull, StorageUnavailable

_UNFINISHED = ".part"
_UNFINISHED_MAX_S = 3600.0
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def write_durably(
    path: Path, parts: Iterable[bytes | memoryview], *, unfinished_in: Path | None = None
) -> None:
    """Write a file; when this returns, its bytes and its name survive a crash.

    `unfinished_in`: a folder of the same file system for what is not finished; else its own.
    """
    # PS3.4 B.2.3 wants a success only for what is stored; POSIX calls a name durable once the
    # folder that holds it is synced, so: bytes, sync, rename, sync of the folder.
    folder = unfinished_in or path.parent
    unfinished = folder / f"{path.stem}.{secrets.token_hex(4)}{_UNFINISHED}"
    try:
        with unfinished.open("xb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(path)
        sync_folder(path.parent)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def make_folder(folder: Path) -> None:
    """Make a folder with its parents, durably; one that is there is left alone."""
    if folder.is_dir():
        return
    folder.mkdir(parents=True, exist_ok=True)
    for parent in (folder, *folder.parents[:3]):
        sync_folder(parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Make a folder and all that is in it durable."""
    for parent, _, names in os.walk(folder):
        for name in names:
            with (Path(parent) / name).open("rb") as file:
                os.fsync(file.fileno())
        sync_folder(Path(parent))


@contextmanager
def named_failures(where: str = "the storage folder", *, remedy: str = "") -> Iterator[None]:
    """Turn the system's errors into `StorageFull` and `StorageUnavailable`.

    `where`: what is written, as the person knows it who can do something about it: `remedy`.
    """
    then = f"; {remedy}" if remedy else ""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise StorageFull(f"{where} is full: {error.strerror}{then}") from error
        raise StorageUnavailable(f"{where} cannot be written: {error.strerror}{then}") from error


def is_unfinished(name: str) -> bool:
    """Whether a file of this name is being written, or was when a crash came."""
    return name.endswith(_UNFINISHED)


def remove_unfinished(folder: Path, pattern: str) -> int:
    """Remove files that a crash left half written an hour ago or earlier; returns how many."""
    removed = 0
    for path in folder.glob(pattern + _UNFINISHED):
        with suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > _UNFINISHED_MAX_S:
                path.unlink()
                removed += 1
    return removed
