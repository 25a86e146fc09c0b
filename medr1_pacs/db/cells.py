"""Rows of a large select as texts, as fast as the database can say them.

PostgreSQL copies them out, which no cursor comes near to; SQLite's are turned into the same texts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sqlalchemy import Select
from sqlalchemy.orm import Session

from medr1_pacs.exports.cells import CellKind, cell, kind_of

_CHUNK = 1_000


def iterate_cells(
    session: Session, statement: Select[Any], columns: Mapping[str, str]
) -> Iterator[list[str | None]]:
    """Yield the cells of the rows of a select, whose columns are these; until it ends, PostgreSQL
    answers nothing else on this session.

    `columns`: name -> type, as the data dictionary spells it.
    """
    kinds = [kind_of(each) for each in columns.values()]
    if session.get_bind().dialect.name == "sqlite":
        yield from _select(session, statement)
    else:
        yield from _copy(session, statement, kinds)


def _select(session: Session, statement: Select[Any]) -> Iterator[list[str | None]]:
    for row in session.execute(statement.execution_options(yield_per=_CHUNK)):
        yield [cell(value) for value in row]


def _copy(
    session: Session, statement: Select[Any], kinds: list[CellKind]
) -> Iterator[list[str | None]]:
    connection = session.connection()
    compiled = statement.compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True})
    driver_connection: Any = connection.connection.driver_connection
    spelled = {place: _SPELL[kind] for place, kind in enumerate(kinds) if kind in _SPELL}
    # Compiled for a driver that takes parameters, a percent sign is written twice.
    copied = f"COPY ({str(compiled).replace('%%', '%')}) TO STDOUT"
    with driver_connection.cursor() as cursor, cursor.copy(copied) as copy:
        for row in copy.rows():
            cells = list(row)
            for place, spell in spelled.items():
                text = cells[place]
                if text is not None:
                    cells[place] = spell(text)
            yield cells


_SPELL: Mapping[CellKind, Callable[[str], str]] = {
    CellKind.TRUTH: lambda text: "true" if text == "t" else "false",
    CellKind.FRACTION: lambda text: repr(float(text)),
}
"""What PostgreSQL spells otherwise than Python."""
