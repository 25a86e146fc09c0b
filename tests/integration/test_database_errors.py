"""A database's failures have names of their own: what is away, what is full, what is ours."""

from __future__ import annotations

import pytest
from factories import make_instance, put_instance
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

from medr1_pacs.db.sessions import Database
from medr1_pacs.db.tables import Patient, Study
from medr1_pacs.errors import DatabaseFull, DatabaseUnavailable, RowExists, SchemaMismatch

ON_SQLITE = pytest.mark.parametrize("site", ["sqlite"], indirect=True)
ON_POSTGRESQL = pytest.mark.parametrize("site", ["postgresql"], indirect=True)


@ON_SQLITE
def test_a_database_that_may_not_grow_is_full_and_not_away(store, database, index):
    for _ in range(20):
        put_instance(store, make_instance())
    with database.write() as session:
        # No page more than there are.
        session.execute(text("PRAGMA max_page_count = 1"))

    def fill():
        while index().total:
            for _ in range(20):
                put_instance(store, make_instance())

    with pytest.raises(DatabaseFull, match="has no room"):
        fill()


@ON_POSTGRESQL
def test_too_many_parameters_are_a_defect_of_ours_and_no_outage(database):
    statement = select(Study).where(Study.id.in_(range(70_000)))

    with pytest.raises(DBAPIError), database.read() as session:
        session.execute(statement)


def test_a_missing_table_is_named_with_the_remedy(database):
    with (
        pytest.raises(SchemaMismatch, match="run `medr1-pacs db upgrade`"),
        database.read() as session,
    ):
        session.execute(text("SELECT * FROM nowhere"))


@ON_POSTGRESQL
def test_a_row_that_another_process_wrote_is_looked_for_again(database):
    twice = "INSERT INTO patient (patient_key, created_at) VALUES ('p', now()), ('p', now())"

    with pytest.raises(RowExists), database.write() as session:
        session.execute(text(twice))


def test_a_server_that_does_not_listen_is_away():
    away = Database("postgresql+psycopg://medr1@127.0.0.1:1/nowhere")

    with pytest.raises(DatabaseUnavailable, match="does not answer"), away.read() as session:
        session.execute(select(Patient))
    away.dispose()


@ON_POSTGRESQL
def test_a_connection_that_is_ended_under_a_transaction_is_away(database):
    with pytest.raises(DatabaseUnavailable), database.read() as session:
        session.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
