"""The folder of an export: files hashed while they are written, and all of them or none."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import TypeVar

from medr1_pacs.errors import ExportRefused
from medr1_pacs.exports.cells import Cells, Table
from medr1_pacs.exports.parquet_file import ParquetFile
from medr1_pacs.records.words import JsonObject, TableFormat
from medr1_pacs.storage.durable import sync_folder
from medr1_pacs.storage.hashed_file import HashedFile, describe_file

_BATCH = 1_000
Item = TypeVar("Item")


class ExportFolder:
    """Writes files into a folder, and says what each is.

    Parameters
    ----------
    path
        A folder that is there, and empty.
    formats
        How tables are written.
    progress
        Called now and then with a table and how many of its rows are written.
    """

    def __init__(
        self,
        path: Path,
        formats: Collection[TableFormat] = (),
        progress: Callable[[str, int], None] = lambda table, rows: None,
    ) -> None:
        self._path = path
        self._formats = formats
        self._progress = progress
        self.files: dict[str, JsonObject] = {}
        """Name -> hash, size in bytes, and rows."""
        self.rows: dict[str, int] = {}
        """Table, or file of lines -> how many there are."""

    @contextmanager
    def open(self, name: str) -> Iterator[HashedFile]:
        """Let a file be written; `files` has it once it is closed."""
        path = self._path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with HashedFile(path) as file:
            yield file
        self.files[name] = file.describe()

    def write_table(self, table: str, columns: Table, rows: Iterable[Cells]) -> None:
        """Write a table in every format."""
        count, names = 0, [f"{table}.{each}" for each in self._formats]
        with ExitStack() as stack:
            text = {
                each: stack.enter_context(self.open(f"{table}.{each}"))
                for each in (TableFormat.CSV, TableFormat.JSONL)
                if each in self._formats
            }
            parquet = (
                stack.enter_context(ParquetFile(self._path / f"{table}.parquet", columns))
                if TableFormat.PARQUET in self._formats
                else None
            )
            if TableFormat.CSV in text:
                text[TableFormat.CSV].write(columns.csv_header())
            for batch in _batches(rows):
                if TableFormat.CSV in text:
                    text[TableFormat.CSV].write(columns.csv(batch))
                if TableFormat.JSONL in text:
                    text[TableFormat.JSONL].write("".join(columns.json_lines(batch)))
                if parquet is not None:
                    parquet.write(batch)
                count += len(batch)
                self._progress(table, count)
        if parquet is not None:
            self.files[f"{table}.parquet"] = describe_file(self._path / f"{table}.parquet")
        for name in names:
            self.files[name]["rows"] = count
        self.rows[table] = count

    def write_lines(self, name: str, lines: Iterable[str]) -> None:
        """Write lines that carry their own ends."""
        count = 0
        with self.open(name) as file:
            for batch in _batches(lines):
                file.write("".join(batch))
                count += len(batch)
                self._progress(name, count)
        self.files[name]["rows"] = self.rows[name] = count

    def write_blocks(self, name: str, blocks: Iterable[bytes]) -> None:
        """Write small blocks of bytes, one after the other."""
        with self.open(name) as file:
            for batch in _batches(blocks):
                file.write_bytes(b"".join(batch))

    def write_text(self, name: str, text: str) -> None:
        """Write a short file."""
        with self.open(name) as file:
            file.write(text)

    def put(self, name: str, data: bytes) -> None:
        """Write a file that `files` does not have: another one says what it is, or its name."""
        path = self._path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)


def _batches(rows: Iterable[Item]) -> Iterator[list[Item]]:
    iterator = iter(rows)
    while batch := list(islice(iterator, _BATCH)):
        yield batch


# -- all of it, or nothing -------------------------------------------------------------------------


@contextmanager
def written_at_once(folder: Path) -> Iterator[Path]:
    """Yield a folder beside a wanted one, whose name it gets when nothing failed; else it goes.

    A process that is killed leaves it under a name that says so. Who writes has it synced.

    Raises
    ------
    ExportRefused
        There is something already, or nothing else can take the place of what is there.
    OSError
        Nothing can be written there.
    """
    _check(folder)
    wanted = folder.resolve()
    wanted.parent.mkdir(parents=True, exist_ok=True)
    unfinished = wanted.with_name(f".{wanted.name}.unfinished-{secrets.token_hex(4)}")
    unfinished.mkdir()
    try:
        yield unfinished
        unfinished.rename(wanted)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    sync_folder(wanted.parent)


def _check(folder: Path) -> None:
    if not folder.exists():
        if folder.is_symlink():
            raise ExportRefused(f"{folder} is a link to nothing: name another folder")
        return
    if not folder.is_dir() or any(folder.iterdir()):
        raise ExportRefused(f"{folder} is there and not empty: name another folder")
    # A mounted folder cannot be replaced, and whoever stands in one would stand in the old one.
    if folder.is_mount() or folder.samefile(os.curdir):
        raise ExportRefused(f"{folder} cannot be replaced: name a folder in it")
