"""Files that are hashed while they are written."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from medr1_pacs.records.words import JsonObject


class HashedFile:
    """A file that is hashed while it is written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._digest = hashlib.sha256()
        self._bytes = 0
        self._file: BinaryIO | None = None

    def __enter__(self) -> HashedFile:
        self._file = self._path.open("xb")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()

    def write(self, text: str) -> None:
        self.write_bytes(text.encode("utf-8", "surrogatepass"))

    def write_bytes(self, data: bytes) -> None:
        assert self._file is not None, "it is open"
        self._file.write(data)
        self._digest.update(data)
        self._bytes += len(data)

    def describe(self) -> JsonObject:
        return {"sha256": self._digest.hexdigest(), "bytes": self._bytes}


def describe_file(path: Path) -> JsonObject:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"sha256": digest, "bytes": path.stat().st_size}
