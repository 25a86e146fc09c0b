"""One database: its engine, its transactions, and the errors of a connection by our names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    OperationalError,
)
from sqlalchemy.orm import Session

from medr1_pacs.errors import DatabaseUnavailable, RowExists, ValueRefused

_READ_ONLY = "medr1_read_only"
_BUSY_TIMEOUT_MS = 30_000
_POSTGRESQL_PATIENCE = {
    "connect_timeout": 5,
    # A server that went silent (failover, a firewall) is noticed within half a minute.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
_UNIQUE_VIOLATION = "23505"  # PostgreSQL; SQLite has one writer at a time


class Database:
    """Transactions over one URL.

    `write` takes SQLite's write lock at once (`BEGIN IMMEDIATE`): a deferred transaction that
    turns into a write fails without waiting. `read` sees one snapshot and never blocks a writer.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.is_sqlite = url.startswith("sqlite")
        # Times are compared and stored in UTC; a connection that died is replaced unseen.
        arguments: dict[str, Any] = {} if self.is_sqlite else dict(_POSTGRESQL_PATIENCE)
        # A statement's parameters may name a patient, and an error's text ends in logs.
        self._engine = create_engine(
            url, pool_pre_ping=not self.is_sqlite, connect_args=arguments, hide_parameters=True
        )
        if self.is_sqlite:
            event.listen(self._engine, "connect", _configure_sqlite)
            event.listen(self._engine, "begin", _begin_sqlite)
        self._reading: Engine = self._engine.execution_options(**{_READ_ONLY: True})

    @property
    def is_made(self) -> bool:
        """Whether there is a database: connecting to a SQLite file that is missing makes it."""
        return not self.is_sqlite or Path(self.url.removeprefix("sqlite:///")).exists()

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Run a block in one transaction: committed at its end, rolled back by an exception."""
        with (
            _named_failures(),
            Session(self._engine, expire_on_commit=False) as session,
            session.begin(),
        ):
            yield session

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Run a block that only reads."""
        with _named_failures(), Session(self._reading, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """Give migrations a bare connection in a transaction."""
        with _named_failures(), self._engine.begin() as connection:
            yield connection

    def dispose(self) -> None:
        """Close every pooled connection."""
        self._engine.dispose()


def _configure_sqlite(dbapi_connection: Any, _record: Any) -> None:
    # The driver must not open transactions by itself, see `_begin_sqlite`.
    dbapi_connection.isolation_level = None
    cursor = dbapi_connection.cursor()
    for pragma in (
        f"busy_timeout = {_BUSY_TIMEOUT_MS}",
        "journal_mode = WAL",
        "synchronous = FULL",
        "foreign_keys = ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    read_only = connection.get_execution_options().get(_READ_ONLY, False)
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")


@contextmanager
def _named_failures() -> Iterator[None]:
    try:
        yield
    except (OperationalError, InterfaceError) as error:
        raise DatabaseUnavailable(f"the database does not answer: {error.orig}") from error
    except DataError as error:
        raise ValueRefused(f"the database refuses a value: {type(error.orig).__name__}") from error
    except IntegrityError as error:
        if getattr(error.orig, "sqlstate", None) == _UNIQUE_VIOLATION:
            raise RowExists("another process wrote the same row") from error
        raise
    except DBAPIError as error:
        if error.connection_invalidated:
            raise DatabaseUnavailable("the connection to the database was lost") from error
        raise
