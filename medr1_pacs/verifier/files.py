"""The files of an export, whoever wrote them: plain files only, read piece by piece."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

DAMAGED = (
    ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError, RecursionError,
    AssertionError,
)  # fmt: skip
"""What reading values raises that are not what they should be, whoever wrote them."""
_CELL_BYTES_MAX = 1 << 30


class Unreadable(Exception):
    """(where, what): a file is not what it should be, so nothing more can be said of the export."""


def describe_damage(error: Exception) -> str:
    """Say what of a value is not as it should be."""
    if isinstance(error, KeyError):
        return f"`{error.args[0]}` is missing"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return str(error) or type(error).__name__


def list_files(folder: Path) -> dict[str, bool]:
    """Return name -> whether it is a plain file, of all in a folder but folders; none is
    followed."""
    there = {}
    for parent, folders, names in os.walk(folder):
        inside = PurePosixPath(*Path(parent).relative_to(folder).parts)
        for name in (*names, *(each for each in folders if (Path(parent) / each).is_symlink())):
            mode = (Path(parent) / name).lstat().st_mode
            there[str(inside / name)] = stat.S_ISREG(mode)
    return there


def sha256_of(path: Path) -> str:
    """Return the hash of a file; "" where it cannot be read."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError:
        return ""
    return digest.hexdigest()


def open_plain(path: Path) -> io.BufferedReader:
    """Open a plain file; raises `Unreadable`."""
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            raise Unreadable(path.name, "it is no plain file")
        return path.open("rb")
    except OSError as error:
        raise Unreadable(path.name, f"it cannot be read: {error.strerror}") from error


def read_rows(path: Path, say: Callable[[str, str], None]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (where, row) of a table; `say`: told where something is damaged, and what."""
    try:
        yield from _csv_rows(path) if path.suffix == ".csv" else _json_rows(path, say)
    except Unreadable as error:
        say(*error.args)
    except (OSError, ValueError, csv.Error) as error:
        say(path.name, f"it cannot be read on: {error}")


def _json_rows(path: Path, say: Callable[[str, str], None]) -> Iterator[tuple[str, dict[str, Any]]]:
    with open_plain(path) as file:
        for number, line in enumerate(file, 1):
            where = f"{path.name} line {number}"
            try:
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise ValueError("it is no object")
            except DAMAGED as error:
                say(where, f"it is damaged: {describe_damage(error)}")
                continue
            yield where, row


def _csv_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    csv.field_size_limit(_CELL_BYTES_MAX)
    with io.TextIOWrapper(
        open_plain(path), encoding="utf-8", errors="surrogatepass", newline=""
    ) as file:
        reader = csv.reader(file, strict=True)
        names = next(reader, [])
        for row in reader:
            where = f"{path.name} line {reader.line_num}"
            if len(row) != len(names):
                raise ValueError(f"line {reader.line_num} has {len(row)} cells, not {len(names)}")
            yield where, dict(zip(names, row, strict=True))
