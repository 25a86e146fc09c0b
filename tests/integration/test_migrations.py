import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from factories import NOON, make_identity
from sqlalchemy import inspect, text

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
