"""CSV (RFC 4180) whose cells no spreadsheet takes for a formula.

A text that begins like one (`=`, `+`, `-`, `@`, their full-width forms, tab, line break) gets an
apostrophe before it: a model can be made to write `=HYPERLINK(...)`. Numbers stay numbers; lists
and objects are JSON; nothing is an empty cell.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from medr1_pacs.records.words import JsonObject

MEDIA_TYPE = "text/csv; charset=utf-8; header=present"
BEGINS_A_FORMULA = tuple("=+-@＝＋－＠\t\r\n")
"""First characters that make a spreadsheet calculate."""


def csv_lines(columns: Sequence[str], rows: Iterable[JsonObject]) -> Iterator[str]:
    """Yield the header, then a record a row; a cell may hold line breaks, and is empty where the
    row has no such field."""
    line = _Line()
    writer = csv.writer(line)
    writer.writerow(columns)
    yield line.text
    for row in rows:
        writer.writerow([_cell(row.get(name)) for name in columns])
        yield line.text


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None or isinstance(value, int | float):
        return value
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"'{text}" if text.startswith(BEGINS_A_FORMULA) else text


class _Line:
    """A file that holds what was written last."""

    text = ""

    def write(self, text: str) -> None:
        self.text = text
