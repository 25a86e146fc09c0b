"""Rows as texts: what a table's cell says, whichever format it is written in.

A cell is None, or a text: a number by its digits, `true` or `false`, a list or an object as JSON,
else the text itself. Rows of a large table never become anything else on their way.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any

from medr1_pacs.exports.comma_separated import BEGINS_A_FORMULA
from medr1_pacs.records.words import JsonObject

Cells = Sequence[str | None]


class CellKind(StrEnum):
    """What a column's cells are."""

    INTEGER = "int"
    FRACTION = "float"
    TRUTH = "bool"
    STRUCTURE = "structure"
    TEXT = "str"


_KINDS = {kind.value: kind for kind in CellKind}
_STRUCTURES = ("Sequence", "Mapping", "Decoding", "list", "dict")


def kind_of(python_type: str) -> CellKind:
    """Return what the cells of a field are, by its type as the data dictionary spells it."""
    first = python_type.split(" | ")[0]
    if first.startswith(_STRUCTURES):
        return CellKind.STRUCTURE
    return _KINDS.get(first, CellKind.TEXT)


def cell(value: Any) -> str | None:
    """Return the cell of a value; an object with its names in order, as no database keeps them."""
    if value is None or type(value) is str:
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int | float):
        return repr(value)
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


class Table:
    """The columns of a table, and how its rows are written."""

    def __init__(self, columns: Mapping[str, str]) -> None:
        """Take name -> type, as the data dictionary spells it."""
        self.names = tuple(columns)
        self.kinds = tuple(kind_of(each) for each in columns.values())
        self._texts = [n for n, kind in enumerate(self.kinds) if kind is CellKind.TEXT]
        self._structures = [n for n, kind in enumerate(self.kinds) if kind is CellKind.STRUCTURE]
        self._keys = [f"{json.dumps(name)}:" for name in self.names]

    def cells(self, row: JsonObject) -> Cells:
        """Return the cells of a row."""
        return [cell(row[name]) for name in self.names]

    def csv_header(self) -> str:
        """Return the first line."""
        return ",".join(map(_quote, self.names)) + "\r\n"

    def csv(self, rows: Iterable[Cells]) -> str:
        """Return rows as lines of CSV (RFC 4180), in which no text is a formula.

        As the csv module writes them, which looks at every character by itself.
        """
        texts, structures = self._texts, self._structures
        lines = []
        for row in rows:
            cells = ["" if each is None else each for each in row]
            for n in texts:
                if text := cells[n]:
                    if text[0] in BEGINS_A_FORMULA:
                        text = f"'{text}"
                    cells[n] = _quote(text)
            for n in structures:
                cells[n] = _quote(cells[n])
            lines.append(",".join(cells))
        lines.append("")
        return "\r\n".join(lines)

    def json_lines(self, rows: Iterable[Cells]) -> Iterator[str]:
        """Yield rows as lines of JSON."""
        write = json.JSONEncoder(ensure_ascii=False).encode
        is_text = [kind is CellKind.TEXT for kind in self.kinds]
        for row in rows:
            values = (
                "null" if each is None else write(each) if text else each
                for each, text in zip(row, is_text, strict=True)
            )
            yield "{" + ",".join(map(str.__add__, self._keys, values)) + "}\n"

    def values(self, rows: Sequence[Cells]) -> dict[str, list[Any]]:
        """Return name -> the values of rows, as a data frame has them; structures stay JSON."""
        return {
            name: [None if row[n] is None else _READ[kind](row[n] or "") for row in rows]
            for n, (name, kind) in enumerate(zip(self.names, self.kinds, strict=True))
        }


def _quote(text: str) -> str:
    if '"' in text:
        return '"' + text.replace('"', '""') + '"'
    if "," in text or "\n" in text or "\r" in text:
        return f'"{text}"'
    return text


_READ: Mapping[CellKind, Any] = {
    CellKind.INTEGER: int,
    CellKind.FRACTION: float,
    CellKind.TRUTH: lambda text: text == "true",
    CellKind.STRUCTURE: str,
    CellKind.TEXT: str,
}
