"""Rows as a file that a browser or a program downloads while they are read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from enum import StrEnum

from fastapi.responses import StreamingResponse

from medr1_pacs.exports import comma_separated, json_lines
from medr1_pacs.records.words import JsonObject

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
    file_name = f"{_UNSAFE.sub('-', name)}.{output}"
    headers = {"Content-Disposition": f'attachment; filename="{file_name}"'}
    return StreamingResponse(lines, media_type=media_type, headers=headers)
