"""Rows, or the files of a folder, as a file that is downloaded while they are read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path

from fastapi.responses import StreamingResponse

from medr1_pacs.exports import comma_separated, json_lines
from medr1_pacs.records.words import JsonObject
from medr1_pacs.storage.exports import zip_folder

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


class Format(StrEnum):
    """A file of rows."""

    JSONL = "jsonl"
    CSV = "csv"


def download(
    rows: Iterable[JsonObject], columns: Sequence[str], output: Format, name: str
) -> StreamingResponse:
    """Stream rows as a file; one that breaks off ends without its last chunk, which clients see."""
    if output is Format.CSV:
        lines, media_type = comma_separated.csv_lines(columns, rows), comma_separated.MEDIA_TYPE
    else:
        lines, media_type = json_lines.json_lines(rows), json_lines.MEDIA_TYPE
    return _stream(lines, media_type, f"{name}.{output}")


def download_folder(folder: Path) -> StreamingResponse:
    """Stream a folder as a ZIP file of its name."""
    return _stream(zip_folder(folder), "application/zip", f"{folder.name}.zip")


def download_lines(lines: Iterable[str], media_type: str, file_name: str) -> StreamingResponse:
    """Stream lines as a file."""
    return _stream(lines, media_type, file_name)


def _stream(
    parts: Iterable[str] | Iterable[bytes], media_type: str, file_name: str
) -> StreamingResponse:
    headers = {"Content-Disposition": f'attachment; filename="{_UNSAFE.sub("-", file_name)}"'}
    return StreamingResponse(parts, media_type=media_type, headers=headers)
