"""Find a row, or add it; values for statements that take so many."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import Select, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import DeclarativeBase, Session

Row = TypeVar("Row", bound=DeclarativeBase)
Value = TypeVar("Value", int, str)
Found = TypeVar("Found")

CHUNK = 500
"""Values of an IN list."""
AS_PARENT: dict[str, Any] = {"key_share": True}
"""How `Session.get` locks a row whose key stays (FOR NO KEY UPDATE): rows that refer to it may be
added meanwhile. FOR UPDATE would stop them, and who adds them may hold what one waits for."""


def find_or_add(
    session: Session, table: type[Row], key: Mapping[str, Any], **values: Any
) -> tuple[Row, bool]:
    """Return the row with this key and whether it is new; a new one gets `values` and an id."""
    row = session.scalar(select(table).filter_by(**key))
    if row is not None:
        return row, False
    row = table(**key, **values)
    session.add(row)
    session.flush()
    return row, True


def insert_into(session: Session, table: type[DeclarativeBase]) -> Any:
    """Return the dialect's INSERT, which knows ON CONFLICT."""
    is_sqlite = session.get_bind().dialect.name == "sqlite"
    return (sqlite.insert if is_sqlite else postgresql.insert)(table)


def iterate_chunks(values: Iterable[Value]) -> Iterator[Sequence[Value]]:
    """Yield distinct values in order, so many as one statement takes."""
    ordered = sorted(set(values))
    for first in range(0, len(ordered), CHUNK):
        yield ordered[first : first + CHUNK]


def select_among(
    session: Session, values: Iterable[Value], statement: Callable[[Sequence[Value]], Select[Found]]
) -> set[Found]:
    """Return what a statement selects that takes some of the values at a time."""
    return {
        found for chunk in iterate_chunks(values) for found in session.scalars(statement(chunk))
    }
