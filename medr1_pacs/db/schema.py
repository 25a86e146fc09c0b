"""Bring a database to this program's schema version, or say how the two differ."""

from __future__ import annotations

from enum import StrEnum

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.orm import Session

from medr1_pacs.db.audit import write_events
from medr1_pacs.db.facets import fill_truths
from medr1_pacs.db.recording import adopt_records
from medr1_pacs.db.research_views import drop_views, renew_views, restore_views
from medr1_pacs.db.sessions import Database
from medr1_pacs.errors import SchemaMismatch
from medr1_pacs.installation import MIGRATIONS, check_installation


class Branch(StrEnum):
    """The two databases; each has its own line of migrations."""

    RESEARCH = "research"
    VAULT = "vault"


APPEND_ONLY = ("audit_event", "audit_leaf", "audit_head")
"""Tables that are only ever added to."""
_LOG = "r0005"
"""The schema that has the audit log."""


def upgrade_schema(database: Database, branch: Branch, *, service_role: str | None = None) -> None:
    """Run the migrations that are missing.

    Parameters
    ----------
    service_role
        On PostgreSQL, whom the service connects as, where that is not who owns the tables: it may
        use them all, and only add to the audit log.

    Raises
    ------
    SchemaMismatch
        The database was written by a newer program, or the migrations did not bring it here.
    InstallationBroken
        The migrations beside this package are not its own.
    """
    check_installation()
    current = current_revision(database, branch)
    if current is not None:
        _refuse_newer(database, branch)
    with database.migration() as connection:
        if branch is Branch.VAULT and not database.is_sqlite:
            connection.execute(text("CREATE SCHEMA IF NOT EXISTS vault"))
        is_behind = current != head_revision(branch)
        views = drop_views(connection) if is_behind and branch is Branch.RESEARCH else []
        config = _config(branch)
        config.attributes.update(connection=connection, branch=branch.value)
        command.upgrade(config, "head")
        restore_views(connection, views)
        if branch is Branch.RESEARCH:
            renew_views(connection)
            if current is not None and current < _LOG:
                with Session(connection, join_transaction_mode="rollback_only") as session:
                    fill_truths(session)
                    adopt_records(session)
                    write_events(session)
            if service_role is not None:
                _grant_service(connection, service_role)
    # An upgrade that finds no scripts does nothing, and says nothing.
    check_schema(database, branch)


def _grant_service(connection: Connection, role: str) -> None:
    """Let a role use the tables, and add to the log without changing it."""
    preparer = connection.dialect.identifier_preparer
    name = preparer.quote_identifier(role)
    schema = connection.scalar(text("SELECT quote_ident(current_schema())"))
    for statement in (
        f"GRANT USAGE ON SCHEMA {schema} TO {name}",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {name}",
        f"GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA {schema} TO {name}",
        f"REVOKE UPDATE, DELETE, TRUNCATE ON {', '.join(APPEND_ONLY)} FROM {name}",
        f"REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON schema_version_research FROM {name}",
    ):
        connection.execute(text(statement))


def may_change_log(session: Session) -> bool:
    """Whether the role of a session could change a table of the audit log, as its owner can."""
    if session.get_bind().dialect.name == "sqlite":
        return True
    return bool(
        session.scalar(
            text(
                "SELECT bool_or(pg_has_role(relowner, 'USAGE') "
                "OR has_table_privilege(oid, 'UPDATE, DELETE, TRUNCATE') "
                "OR has_any_column_privilege(oid, 'UPDATE')) "
                "FROM pg_class WHERE oid = ANY (CAST(:tables AS text[])::regclass[])"
            ),
            {"tables": list(APPEND_ONLY)},
        )
    )


def check_schema(database: Database, branch: Branch) -> None:
    """Raise unless the database has exactly this program's schema.

    Raises
    ------
    SchemaMismatch
        The message names both versions and what to do.
    """
    current = current_revision(database, branch)
    if current == head_revision(branch):
        return
    _refuse_newer(database, branch)
    raise SchemaMismatch(
        f"the {branch} database has schema {current or 'none'}, this program needs "
        f"{head_revision(branch)}: run `medr1-pacs db upgrade`"
    )


def current_revision(database: Database, branch: Branch) -> str | None:
    """Return the schema version that a database says it has; None for an empty one."""
    with database.connection() as connection:
        return MigrationContext.configure(
            connection, opts={"version_table": f"schema_version_{branch}"}
        ).get_current_revision()


def head_revision(branch: Branch) -> str:
    """Return the newest schema version this program knows."""
    head = ScriptDirectory.from_config(_config(branch)).get_current_head()
    assert head is not None, "the migrations travel with the package"
    return head


def _refuse_newer(database: Database, branch: Branch) -> None:
    current = current_revision(database, branch)
    scripts = ScriptDirectory.from_config(_config(branch))
    known = {script.revision for script in scripts.walk_revisions()}
    if current is not None and current not in known:
        raise SchemaMismatch(
            f"the {branch} database has schema {current}, which this program does not know: it was "
            "written by a newer medr1-pacs; install that version (or restore the backup)"
        )


def _config(branch: Branch) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("version_locations", str(MIGRATIONS / branch.value))
    config.set_main_option("path_separator", "os")
    return config
