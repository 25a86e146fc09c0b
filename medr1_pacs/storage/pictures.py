"""Pictures, by the sha256 of their bytes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from medr1_pacs.errors import PictureLost, StorageUnavailable
from medr1_pacs.storage.durable import (
    make_folder,
    named_failures,
    remove_unfinished,
    sync_folder,
    write_durably,
)

_PNG = ".png"


class PictureStore:
    """The pictures that models and readers see: `renderings/` of the storage folder."""

    def __init__(self, root: Path) -> None:
        self._root = root.absolute() / "renderings"
        make_folder(self._root)

    def put(self, png: bytes) -> str:
        """Write a picture durably; returns its sha256, which is its name.

        One that is there is left alone, unless its bytes are no longer its own.
        """
        png_sha256 = hashlib.sha256(png).hexdigest()
        path = self.path(png_sha256)
        if not path.exists() or path.read_bytes() != png:
            with named_failures():
                make_folder(path.parent)
                # In the one folder that has few files: looking for leftovers lists it alone.
                write_durably(path, [png], unfinished_in=self._root)
        return png_sha256

    def path(self, png_sha256: str) -> Path:
        return self._root / png_sha256[:2] / f"{png_sha256}{_PNG}"

    def read(self, png_sha256: str) -> bytes:
        """Return a stored picture.

        Raises
        ------
        PictureLost
            It is missing, or its bytes are no longer those that were hashed.
        StorageUnavailable
            The folder cannot be read at the moment.
        """
        try:
            png = self.path(png_sha256).read_bytes()
        except FileNotFoundError as error:
            raise PictureLost(f"picture {png_sha256} is missing") from error
        except OSError as error:
            raise StorageUnavailable(
                f"picture {png_sha256} cannot be read: {error.strerror}"
            ) from error
        if hashlib.sha256(png).hexdigest() != png_sha256:
            raise PictureLost(f"picture {png_sha256} was changed on disk")
        return png

    def discard(self, png_sha256: str) -> bool:
        """Delete a picture; False when there is none. Durable once its folder is synced."""
        path = self.path(png_sha256)
        with named_failures():
            try:
                path.unlink()
            except FileNotFoundError:
                return False
            sync_folder(path.parent)
        return True

    def list_stored(self) -> Iterator[dict[str, float]]:
        """Yield sha256 -> time of the last change (Unix, s) of the pictures, folder by folder."""
        with named_failures():
            folders = sorted(path for path in self._root.iterdir() if path.is_dir())
        for folder in folders:
            with named_failures(), os.scandir(folder) as entries:
                found = {
                    entry.name.removesuffix(_PNG): entry.stat().st_mtime
                    for entry in entries
                    if entry.name.endswith(_PNG)
                }
            yield found

    def remove_unfinished(self) -> int:
        """Remove what a crash left half written."""
        return remove_unfinished(self._root, "*")
