"""Pictures, by the sha256 of their bytes."""

from __future__ import annotations

import hashlib
from pathlib import Path

from medr1_pacs.errors import PictureLost, StorageUnavailable
from medr1_pacs.storage.durable import (
    make_folder,
    named_failures,
    remove_unfinished,
    write_durably,
)


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
        return self._root / png_sha256[:2] / f"{png_sha256}.png"

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

    def remove_unfinished(self) -> int:
        """Remove what a crash left half written."""
        return remove_unfinished(self._root, "*")
