"""The service as a role that may add to the audit log and not change it."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from medr1_pacs.db.audit import add_event
from medr1_pacs.db.schema import Branch, may_change_log, upgrade_schema
from medr1_pacs.db.sessions import Database

ROLE = "medr1_service"
pytestmark = pytest.mark.parametrize("site", ["postgresql"], indirect=True)


@pytest.fixture
def service(database):
    """The database as the service's role, which its owner's migrations gave its rights."""
    with database.connection() as connection:
        exists = connection.scalar(
            text("SELECT count(*) FROM pg_roles WHERE rolname = :role"), {"role": ROLE}
        )
        if not exists:
            connection.execute(text(f"CREATE ROLE {ROLE} LOGIN"))
    upgrade_schema(database, Branch.RESEARCH, service_role=ROLE)
    opened = Database(database.url.replace("//medr1@", f"//{ROLE}@"))
    yield opened
    opened.dispose()


def test_the_role_of_the_service_adds_events(service):
    with service.write() as session:
        add_event(session, "study.created", "study", 1)

    with service.read() as session:
        assert session.scalar(text("SELECT count(*) FROM audit_event")) == 1


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_event SET actor = 'nobody'",
        "DELETE FROM audit_event",
        "TRUNCATE audit_event CASCADE",
        "UPDATE audit_leaf SET sha256 = ''",
        "DELETE FROM audit_head",
        "ALTER TABLE audit_event DISABLE TRIGGER ALL",
        "DROP TRIGGER append_only ON audit_event",
    ],
)
def test_the_role_of_the_service_cannot_change_the_log(service, statement):
    with (
        pytest.raises(DBAPIError, match=r"permission denied|must be owner"),
        service.connection() as connection,
    ):
        connection.execute(text(statement))


def test_the_role_of_the_service_may_change_every_other_table(service, database):
    with database.read() as session:
        tables = set(
            session.scalars(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"))
        )
    tables -= {"audit_event", "audit_leaf", "audit_head", "schema_version_research"}

    with service.read() as session:
        denied = [
            table
            for table in tables
            if not session.scalar(
                text(f"SELECT has_table_privilege('{table}', 'INSERT, UPDATE, DELETE')")
            )
        ]

    assert tables
    assert denied == []


def test_who_owns_the_log_could_change_it(database, service):
    with database.read() as owner, service.read() as other:
        assert (may_change_log(owner), may_change_log(other)) == (True, False)


@pytest.mark.parametrize(
    "right",
    [
        "DELETE ON audit_event",
        "UPDATE ON audit_leaf",
        "UPDATE (note) ON audit_head",
        "TRUNCATE ON audit_head",
    ],
)
def test_who_has_a_right_to_one_table_of_the_log_could_change_it(database, service, right):
    with database.connection() as connection:
        connection.execute(text(f"GRANT {right} TO {ROLE}"))

    with service.read() as session:
        assert may_change_log(session)


@pytest.mark.parametrize(
    "statement", ["UPDATE audit_event SET actor = ''", "DELETE FROM audit_event"]
)
def test_even_the_owner_is_refused_by_mistake(database, statement):
    with (
        pytest.raises(DBAPIError, match="only ever added to"),
        database.connection() as connection,
    ):
        connection.execute(text(statement))
