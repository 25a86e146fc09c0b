"""The data dictionary as a page of the documentation."""

from __future__ import annotations

from collections.abc import Iterable

from medr1_pacs.records.dictionary import DictionaryEntry

_HEAD = """\
# Data dictionary

Every field of an answer as research sees it: in the API, in CSV and JSON Lines, in the view
`research_answers`, in a SQLite file and in a snapshot, always in this order. Made from the
program's source, as `medr1-pacs query --dictionary` and the page `/projects/NAME/dictionary` are.
Research use only, never for clinical decisions.

How to get answers, and what to mind: [researchers.md](researchers.md). The type is Python's name
for it; `None` is null in JSON, an empty cell in CSV, NULL in SQL.

| field | type | meaning |
| --- | --- | --- |
"""


def dictionary_page(entries: Iterable[DictionaryEntry]) -> str:
    """Return the page `docs/dictionary.md`."""
    return _HEAD + "".join(
        f"| `{entry.name}` | `{_in_cell(entry.type)}` | {_in_cell(entry.meaning)} |\n"
        for entry in entries
    )


def _in_cell(text: str) -> str:
    # A bar would end the cell, inside backticks too.
    return text.replace("|", r"\|")
