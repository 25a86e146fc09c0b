"""Who may read what the service stores: the service's user alone, or its group too."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

PRIVATE_UMASK = 0o077
_GROUP_UMASK = 0o007
# Set-group-ID: what a member of the group makes in there belongs to the group.
_GROUP_FOLDER = 0o2070
_GROUP_FILE = 0o060


def umask_of(group_access: bool) -> int:
    """Return the umask that makes files and folders as private as they shall be."""
    return _GROUP_UMASK if group_access else PRIVATE_UMASK


def guard_folder(folder: Path, *, group_access: bool) -> None:
    """Let nobody look into a folder of ours, or nobody outside its group."""
    _change(folder, added=_GROUP_FOLDER if group_access else 0, removed=umask_of(group_access))


def guard_file(path: Path, *, group_access: bool) -> None:
    """Let nobody read a file of ours, or nobody outside its group; a stricter one is left so."""
    _change(path, added=0, removed=umask_of(group_access))


def guard_database(path: Path, *, group_access: bool) -> None:
    """Guard a SQLite file, and the two beside it that have its newest pages.

    SQLite makes these with the mode of the file itself, and the file with 0644 at most.
    """
    for suffix in ("", "-wal", "-shm"):
        _change(
            path.with_name(path.name + suffix),
            added=_GROUP_FILE if group_access else 0,
            removed=umask_of(group_access),
        )


def _change(path: Path, *, added: int, removed: int) -> None:
    # What another user owns, or a file system refuses, is named by `doctor`. What is everybody's,
    # as /tmp, stays so.
    with suppress(OSError):
        status = path.stat()
        mode = stat.S_IMODE(status.st_mode)
        wanted = (mode | added) & ~removed
        if mode != wanted and status.st_uid == os.geteuid() and not mode & stat.S_ISVTX:
            path.chmod(wanted)


def open_to_others(paths: Iterable[Path], *, group_access: bool) -> Iterator[str]:
    """Say of each path that others may read or write it, with its mode and the remedy."""
    who = "o" if group_access else "go"
    for path in paths:
        if not path.exists():
            continue
        mode = path.stat().st_mode
        if not _is_private(mode, group_access):
            yield (
                f"{path} can be used by others on this machine (mode {stat.S_IMODE(mode):04o}): "
                f"run `chmod -R {who}= {shlex.quote(str(path))}`"
            )


def _is_private(mode: int, group_access: bool) -> bool:
    return not mode & umask_of(group_access)
