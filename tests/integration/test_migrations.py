import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from factories import NOON, make_identity
from first_schema import bring_to
from sqlalchemy import inspect, text
from sqlalchemy.exc import IntegrityError

from medr1_pacs.db import schema
from medr1_pacs.db.schema import (
    Branch,
    check_schema,
    current_revision,
    head_revision,
    upgrade_schema,
)
from medr1_pacs.db.sessions import Database
from medr1_pacs.db.tables import Base
from medr1_pacs.db.vault import PatientIdentityRow, VaultBase, record_identities
from medr1_pacs.errors import SchemaMismatch

METADATA = {Branch.RESEARCH: Base.metadata, Branch.VAULT: VaultBase.metadata}


@pytest.fixture(params=list(Branch))
def branch(request):
    return request.param


@pytest.fixture
def migrated(branch, database, vault):
    """The fresh migrated database of the branch."""
    return {Branch.RESEARCH: database, Branch.VAULT: vault}[branch]


def is_declared_in_models(name, kind, parents):
    """Word search is the database's own: no model of ours has its tables and indexes."""
    return name is None or not name.startswith(
        ("answer_words", "reasoning_words", "ix_answer_reasoning_words")
    )


def set_revision(database, branch, revision):
    with database.connection() as connection:
        connection.execute(text(f"UPDATE schema_version_{branch} SET version_num = '{revision}'"))


def test_migrations_from_empty_make_exactly_the_models(migrated, branch):
    options = {
        "version_table": f"schema_version_{branch}",
        "compare_type": True,
        "include_name": is_declared_in_models,
    }

    with migrated.connection() as connection:
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, METADATA[branch]) == []


def test_a_migrated_database_has_this_programs_schema(migrated, branch):
    assert current_revision(migrated, branch) == head_revision(branch)
    check_schema(migrated, branch)


def test_upgrading_again_is_harmless(vault, rows):
    record_identities(vault, [make_identity()], NOON)

    upgrade_schema(vault, Branch.VAULT)

    assert len(rows(PatientIdentityRow)) == 1


def test_a_database_of_a_newer_program_is_refused_with_the_remedy(migrated, branch):
    set_revision(migrated, branch, "x9999")

    for look_at in (upgrade_schema, check_schema):
        with pytest.raises(SchemaMismatch, match=r"schema x9999.*newer medr1-pacs; install that"):
            look_at(migrated, branch)


def test_an_empty_database_is_refused_with_the_remedy(tmp_path, branch):
    database = Database(f"sqlite:///{tmp_path / 'empty.sqlite'}")

    with pytest.raises(SchemaMismatch, match=r"has schema none.*run `medr1-pacs db upgrade`"):
        check_schema(database, branch)
    database.dispose()


def test_a_migration_that_fails_leaves_the_database_as_it_was(tmp_path, monkeypatch):
    database = Database(f"sqlite:///{tmp_path / 'empty.sqlite'}")

    def fail(*arguments, **options):
        raise RuntimeError("power cut")

    monkeypatch.setattr("alembic.runtime.migration.HeadMaintainer.update_to_step", fail)
    with pytest.raises(RuntimeError, match="power cut"):
        upgrade_schema(database, Branch.RESEARCH)

    with database.connection() as connection:
        assert inspect(connection).get_table_names() == []
    database.dispose()


def test_identities_have_no_table_in_the_research_database(database, vault):
    with database.connection() as research, vault.connection() as identities:
        research_tables = set(inspect(research).get_table_names())
        vault_tables = set(inspect(identities).get_table_names())

    assert "patient_identity" not in research_tables
    assert vault_tables == {"patient_identity", "schema_version_vault"}


def test_an_upgrade_that_finds_no_scripts_does_not_pass_for_one(tmp_path, branch, monkeypatch):
    database = Database(f"sqlite:///{tmp_path / 'empty.sqlite'}")
    monkeypatch.setattr(schema.command, "upgrade", lambda _config, _revision: None)

    with pytest.raises(SchemaMismatch, match="has schema none"):
        upgrade_schema(database, branch)
    database.dispose()


@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
def test_a_file_keeps_the_words_of_answers_by_triggers(database):
    with database.connection() as connection:
        triggers = connection.scalars(text("SELECT name FROM sqlite_master WHERE type = 'trigger'"))
        assert {name for name in triggers if name.startswith("answer")} == {
            "answer_words_insert",
            "answer_words_delete",
            "answer_words_update",
        }


@pytest.fixture
def logged(database):
    """A research database whose log has two events with their places, and a head."""
    with database.connection() as connection:
        for table, row in _LOGGED.items():
            connection.execute(METADATA[Branch.RESEARCH].tables[table].insert(), row)
    return database


_EVENT = {"actor": "service", "action": "study.created", "object_type": "study", "salt": "0" * 32}
_EVENT["occurred_at"] = NOON
_HEAD = {"origin": "log", "root_sha256": "", "frontier": [], "note": "", "signed_at": NOON}
_LOGGED = {
    "audit_event": [_EVENT, _EVENT],
    "audit_leaf": [{"seq": n, "event_id": n + 1, "sha256": ""} for n in range(2)],
    "audit_head": [_HEAD | {"size": 2}, _HEAD | {"size": 3}],
}


@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("table", "row"),
    [
        ("audit_event", _EVENT | {"id": 2, "actor": "nobody"}),
        ("audit_leaf", {"seq": 1, "event_id": 9, "sha256": "f"}),
        ("audit_leaf", {"seq": 9, "event_id": 2, "sha256": "f"}),
        ("audit_head", _HEAD | {"id": 2, "size": 9}),
        ("audit_head", _HEAD | {"size": 3}),
    ],
)
def test_nothing_of_the_log_in_a_file_is_replaced(logged, table, row):
    replace = METADATA[Branch.RESEARCH].tables[table].insert().prefix_with("OR REPLACE")

    with (
        pytest.raises(IntegrityError, match="only ever added to"),
        logged.connection() as connection,
    ):
        connection.execute(replace, row)


@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
def test_an_event_with_a_strange_number_keeps_no_other_out(logged):
    events = METADATA[Branch.RESEARCH].tables["audit_event"]

    with logged.connection() as connection:
        connection.execute(events.insert(), _EVENT | {"id": -1})
        connection.execute(events.insert(), _EVENT)

        assert connection.scalar(text("SELECT max(id) FROM audit_event")) == 3


@pytest.mark.parametrize("site", ["postgresql"], indirect=True)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("salt", "zz"),
        ("salt", "A" * 32),
        ("occurred_at", "infinity"),
        ("occurred_at", "0999-12-31"),
        ("occurred_at", "9999-01-01"),
    ],
)
def test_an_event_that_cannot_be_hashed_is_refused(logged, name, value):
    with pytest.raises(IntegrityError, match=f"ck_audit_event_{name}"), logged.write() as session:
        session.execute(
            text(
                "INSERT INTO audit_event (actor, action, object_type, salt, occurred_at) "
                "VALUES ('nobody', 'a', 'study', :salt, :occurred_at)"
            ),
            {"salt": "0" * 32, "occurred_at": "2026-01-01"} | {name: value},
        )


def test_what_was_put_into_the_log_before_keeps_no_site_from_its_upgrade(postgresql_server):
    postgresql_server.start()
    old = Database(postgresql_server.create_database("put_in_before"))
    bring_to(old, Branch.RESEARCH, "r0005")
    with old.connection() as connection:
        connection.execute(
            text(
                "INSERT INTO audit_event (actor, action, object_type, salt, occurred_at) "
                "VALUES ('nobody', 'a', 'study', 'zz', 'infinity')"
            )
        )

    upgrade_schema(old, Branch.RESEARCH)

    check_schema(old, Branch.RESEARCH)
    old.dispose()
