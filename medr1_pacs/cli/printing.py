"""Rows on stdout, sentences on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from rich.console import Console
from rich.table import Table

_stderr = Console(stderr=True)


def print_error(sentence: str) -> None:
    """Print a sentence on stderr as it is, in one line however long."""
    _stderr.print(sentence, markup=False, highlight=False, soft_wrap=True)


def print_table(title: str, columns: tuple[str, ...], rows: Iterable[dict[str, Any]]) -> None:
    table = Table(title=title)
    for column in columns:
        table.add_column(column.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*(_cell(row[column]) for column in columns))
    Console(width=None if sys.stdout.isatty() else 200).print(table)


def print_rows(rows: list[dict[str, Any]], title: str, *, as_json: bool) -> None:
    """Print rows of one kind, as a table or as one JSON array."""
    if as_json:
        print(json.dumps(rows, indent=1, default=str))
    elif rows:
        print_table(title, tuple(rows[0]), rows)
    else:
        print("none")


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def print_lines(lines: Iterable[str]) -> None:
    """Write lines that carry their own ends."""
    with suppress(BrokenPipeError):
        sys.stdout.writelines(lines)
