"""One database: its engine, its transactions, and the errors of a connection by our names."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DataError, DBAPIError
from sqlalchemy.orm import Session

from medr1_pacs.errors import (
    DatabaseFull,
    DatabaseUnavailable,
    Medr1Error,
    RowExists,
    SchemaMismatch,
    ValueRefused,
)

_READ_ONLY = "medr1_read_only"
_BUSY_TIMEOUT_MS = 30_000
_LOG_TIMEOUT_MS = 500
_POSTGRESQL_PATIENCE = {
    "connect_timeout": 5,
    # A server that went silent (failover, a firewall) is noticed within half a minute.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}


class Database:
    """Transactions over one URL.

    `write` takes SQLite's write lock at once (`BEGIN IMMEDIATE`): a deferred transaction that
    turns into a write fails without waiting. `read` never blocks a writer; it sees one snapshot,
    on PostgreSQL one a statement: what is decided upon it is looked at again under a lock.
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
            # Nothing was written; but psycopg forgets its prepared statements at a rollback, and
            # to plan a join of many tables takes ten times as long as to run it.
            session.commit()

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """Give a bare connection in a transaction."""
        with _named_failures(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def migration(self) -> Iterator[Connection]:
        """Give migrations a bare connection in a transaction, at whose end every reference holds.

        SQLite changes a table by making another in its place, which its references must survive.
        """
        with _named_failures(), self._engine.connect() as connection:
            if self.is_sqlite:
                _enforce_references(connection, False)
            try:
                with connection.begin():
                    yield connection
                    if self.is_sqlite:
                        _check_references(connection)
            finally:
                if self.is_sqlite:
                    _enforce_references(connection, True)

    def empty_log(self) -> None:
        """Bring SQLite's log into its file, so that no byte of what was deleted is left there.

        As far as it goes at once: whoever is reading what the log has keeps it a while longer.
        """
        if not self.is_sqlite:
            return
        with _named_failures(), closing(self._engine.raw_connection()) as connection:
            cursor = connection.cursor()
            cursor.execute(f"PRAGMA busy_timeout = {_LOG_TIMEOUT_MS}")
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            cursor.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
            cursor.close()

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
        "secure_delete = ON",  # what is deleted is written over: not every build does so by itself
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _enforce_references(connection: Connection, enforce: bool) -> None:
    driver_connection = connection.connection.driver_connection
    assert driver_connection is not None, "it was just checked out"
    driver_connection.execute(f"PRAGMA foreign_keys = {'ON' if enforce else 'OFF'}")


def _check_references(connection: Connection) -> None:
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
    if broken:
        tables = ", ".join(sorted({row[0] for row in broken}))
        raise SchemaMismatch(
            f"the migration was undone: rows of {tables} refer to rows that do not exist"
        )


def _begin_sqlite(connection: Connection) -> None:
    read_only = connection.get_execution_options().get(_READ_ONLY, False)
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")


@contextmanager
def _named_failures() -> Iterator[None]:
    """Give a driver's errors our names, by what the caller does next.

    What is neither away nor at fault for a value is a defect of ours, and propagates as it is.
    """
    try:
        yield
    except DBAPIError as error:
        named = _name(error)
        if named is None:
            raise
        raise named from error


def _name(error: DBAPIError) -> Medr1Error | None:
    if isinstance(error.orig, sqlite3.Error):
        code = getattr(error.orig, "sqlite_errorcode", 0) & _SQLITE_PRIMARY_CODE
        named = _SQLITE_ERRORS.get(code)
        if named is None and str(error.orig).startswith(_SQLITE_SCHEMA):
            named = SchemaMismatch
    else:
        state = getattr(error.orig, "sqlstate", None) or ""
        named = _SQLSTATES.get(state) or _SQLSTATES.get(state[:2])
        # A connection that cannot be made, or broke, has no state; what our own driver refuses to
        # send (too many parameters) has none either, and is no outage.
        if not state and (error.statement is None or error.connection_invalidated):
            named = DatabaseUnavailable
    if named is None and isinstance(error, DataError):
        named = ValueRefused
    if named is None:
        return None
    # The values of a statement may name a patient: only what is about the server is quoted.
    quoted = str(error.orig) if named is DatabaseUnavailable else type(error.orig).__name__
    return named(f"{_SENTENCES[named]}: {quoted}")


_SENTENCES: dict[type[Medr1Error], str] = {
    DatabaseUnavailable: "the database does not answer",
    DatabaseFull: "the database has no room",
    RowExists: "another process wrote the same row",
    ValueRefused: "the database refuses a value",
    SchemaMismatch: "a table or a column is missing; run `medr1-pacs db upgrade`",
}
_SQLSTATES: dict[str, type[Medr1Error]] = {
    "08": DatabaseUnavailable,  # the connection
    "57": DatabaseUnavailable,  # operator intervention: stopped, started, cancelled
    "53300": DatabaseUnavailable,  # too many connections
    "53400": DatabaseUnavailable,
    "25006": DatabaseUnavailable,  # read only: a standby, until it is promoted
    "55P03": DatabaseUnavailable,  # a lock that was not given in time
    "53100": DatabaseFull,
    "53200": DatabaseFull,
    "23505": RowExists,
    "40": RowExists,  # a deadlock, or a transaction that has to be done again
    "42P01": SchemaMismatch,
    "42703": SchemaMismatch,
    "3F000": SchemaMismatch,
}  # PostgreSQL, appendix A; a class by its two characters
_SQLITE_PRIMARY_CODE = 0xFF
_SQLITE_ERRORS: dict[int, type[Medr1Error]] = {
    sqlite3.SQLITE_BUSY: DatabaseUnavailable,
    sqlite3.SQLITE_LOCKED: DatabaseUnavailable,
    sqlite3.SQLITE_READONLY: DatabaseUnavailable,
    sqlite3.SQLITE_IOERR: DatabaseUnavailable,
    sqlite3.SQLITE_CANTOPEN: DatabaseUnavailable,
    sqlite3.SQLITE_PROTOCOL: DatabaseUnavailable,
    sqlite3.SQLITE_FULL: DatabaseFull,
}
_SQLITE_SCHEMA = ("no such table", "no such column", "table ")
