"""A SQLite file of answers, for whoever has no PostgreSQL role: a table, and what its columns are.

    research_answers    one row an answer, the columns of the view of the same name
    dictionary          name, type, meaning of each

Lists and objects are JSON texts, truth values 0 and 1, nothing is NULL.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from medr1_pacs.records.dictionary import DictionaryEntry
from medr1_pacs.records.words import JsonObject


def write_sqlite(path: Path, entries: Sequence[DictionaryEntry], rows: Iterable[JsonObject]) -> int:
    """Write a file that is not there yet, whole or not at all; returns how many rows it has.

    Raises
    ------
    FileExistsError
        There is a file of this name.
    """
    unfinished = path.with_name(f"{path.name}.part")
    if path.exists():
        raise FileExistsError(path)
    unfinished.unlink(missing_ok=True)
    names = [entry.name for entry in entries]
    columns = ", ".join(f'"{entry.name}" {_affinity(entry.type)}' for entry in entries)
    places = ", ".join("?" for _ in names)
    with closing(sqlite3.connect(unfinished)) as file, file:
        file.execute("CREATE TABLE dictionary (name TEXT PRIMARY KEY, type TEXT, meaning TEXT)")
        file.executemany(
            "INSERT INTO dictionary VALUES (?, ?, ?)",
            [(entry.name, entry.type, entry.meaning) for entry in entries],
        )
        file.execute(f"CREATE TABLE research_answers ({columns}, PRIMARY KEY (answer_id))")
        cursor = file.executemany(
            f"INSERT INTO research_answers VALUES ({places})",  # noqa: S608 - question marks alone
            ([_value(row[name]) for name in names] for row in rows),
        )
        count = cursor.rowcount
    unfinished.replace(path)
    return max(count, 0)


def _affinity(python_type: str) -> str:
    first = python_type.split(" | ")[0]
    return {"int": "INTEGER", "bool": "INTEGER", "float": "REAL"}.get(first, "TEXT")


def _value(value: Any) -> Any:
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    return value
