"""Exports that people asked for on a page, each in a folder of a random name.

exports/<random>/written/...  ->  exports/<random>/NAME-SIZE/...
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

from medr1_pacs.errors import StorageFull, StorageUnavailable
from medr1_pacs.storage.durable import make_folder, named_failures, sync_folder

_WRITTEN = "written"
_CHUNK_BYTES = 1 << 20
_LARGE_BYTES = 1 << 30
"""Entries that are larger have a header of 64 bits, which some programs do not read."""


class ExportStore:
    """The exports of the pages: `exports/` of the storage folder.

    `reserve_bytes`: what has to stay free on the disk, for arrivals.
    """

    def __init__(self, root: Path, *, reserve_bytes: int = 0) -> None:
        self._root = root.absolute() / "exports"
        self._reserve_bytes = reserve_bytes

    def begin(self, folder: str) -> Path:
        """Make a folder; returns the one in it that is to be made of the files of an export."""
        with named_failures():
            make_folder(self._root / folder)
        return self._root / folder / _WRITTEN

    def finish(self, folder: str, name: str) -> int:
        """Give what was made, durably, its name; returns its size in bytes."""
        path = self._root / folder / name
        with named_failures():
            (self._root / folder / _WRITTEN).rename(path)
            sync_folder(self._root / folder)
            return sum(each.stat().st_size for each in path.rglob("*") if each.is_file())

    def check_room(self) -> None:
        """Raise `StorageFull` when the disk has no more room for exports than for arrivals."""
        if shutil.disk_usage(self._root).free < 2 * self._reserve_bytes:
            raise StorageFull(
                f"less than {2 * self._reserve_bytes >> 20} MiB are free in the storage folder: "
                "what comes in needs them"
            )

    def path(self, folder: str, name: str) -> Path:
        """Return where the files of a finished export are."""
        return self._root / folder / name

    def list_folders(self) -> set[str]:
        """Return the folders that there are.

        Raises
        ------
        StorageUnavailable
            The disk does not say.
        """
        try:
            return {entry.name for entry in os.scandir(self._root) if entry.is_dir()}
        except FileNotFoundError:
            return set()
        except OSError as error:
            raise StorageUnavailable(f"exports cannot be listed: {error.strerror}") from error

    def remove(self, folder: str) -> None:
        """Remove a folder with all that is in it; a process that still writes there is not waited
        for, so call it again while the folder is listed."""
        shutil.rmtree(self._root / folder, ignore_errors=True)


# -- as one file -----------------------------------------------------------------------------------


def zip_folder(folder: Path) -> Iterator[bytes]:
    """Yield a folder as a ZIP file of any size, while it is read; all its names begin with its own.

    The same files give the same bytes.
    """
    sink = _Sink()
    # Entries without a time are of 1980: when an export was made is nobody's business.
    with ZipFile(sink, "w", ZIP_DEFLATED, compresslevel=1) as archive:  # type: ignore[call-overload] # - it only ever writes
        for path in sorted(each for each in folder.rglob("*") if each.is_file()):
            name, is_large = (
                str(path.relative_to(folder.parent)),
                path.stat().st_size > _LARGE_BYTES,
            )
            with path.open("rb") as file, archive.open(name, "w", force_zip64=is_large) as packed:
                while chunk := file.read(_CHUNK_BYTES):
                    packed.write(chunk)
                    yield from sink.take()
    yield from sink.take()


class _Sink:
    """Takes what is written until somebody fetches it; it cannot be rewound."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""

    def take(self) -> list[bytes]:
        parts, self._parts = self._parts, []
        return [b"".join(parts)] if parts else []
