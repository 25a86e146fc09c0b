"""JSON Lines: an object a line, in the order of its fields, without spaces, UTF-8.

The bytes of equal rows are equal: snapshots are cited by their hash.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from medr1_pacs.records.words import JsonObject

MEDIA_TYPE = "application/x-ndjson"


def json_line(row: JsonObject) -> str:
    """Return one row with its newline."""
    return json.dumps(row, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n"


def json_lines(rows: Iterable[JsonObject]) -> Iterator[str]:
    """Yield a line a row."""
    return map(json_line, rows)
