"""The view `research_answers`: what a PostgreSQL role of one project may read, and nothing else.

    research_lung.research_answers    current protocol answers of the project `lung`

A schema a project, so that every project's view has the documented name. A view runs with the
rights of its owner, so the role needs none on a table; `security_barrier` keeps a function of the
role's own from being shown rows that the view leaves out.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from sqlalchemy import Connection, select, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session

from medr1_pacs.db.audit import add_event
from medr1_pacs.db.research import answers_as_shown
from medr1_pacs.db.tables import Project
from medr1_pacs.errors import GrantRefused

VIEW = "research_answers"
_PREFIX = "research_"
_PLAIN = re.compile(r"[a-z][a-z0-9_]{0,39}")


@dataclass(frozen=True, slots=True)
class GrantedView:
    """A project's view, and the roles that may read it."""

    project: str
    schema: str
    roles: tuple[str, ...]


def schema_of(project: str) -> str:
    """Return the schema of a project's view; names that are no plain identifier get a hash."""
    if _PLAIN.fullmatch(project):
        return _PREFIX + project
    digest = hashlib.sha256(project.encode()).hexdigest()[:8]
    slug = re.sub(r"[^a-z0-9]+", "_", project.lower()).strip("_")[:30]
    return f"{_PREFIX}{slug}_{digest}"


def grant_research(session: Session, role: str, project: str, *, actor: str) -> str:
    """Let a role read a project's view; returns the view's full name.

    Raises
    ------
    GrantRefused
        There is no such project or role, or the role can read tables already.
    """
    connection = _postgresql(session)
    row = session.scalar(select(Project).where(Project.name == project))
    if row is None:
        raise GrantRefused(f"there is no project {project!r}")
    _check_role(connection, role)
    _check_own_role(connection)
    _create_view(connection, project)
    _grant(connection, role, schema_of(project))
    add_event(
        session, "project.research_granted", "project", row.id, actor=actor, new={"role": role}
    )
    return f"{schema_of(project)}.{VIEW}"


def revoke_research(session: Session, role: str, project: str, *, actor: str) -> None:
    """Take a project's view from a role.

    Raises
    ------
    GrantRefused
        The role has not got it.
    """
    connection = _postgresql(session)
    granted = {view.project: view for view in list_granted(connection)}
    if project not in granted or role not in granted[project].roles:
        raise GrantRefused(f"the role {role} has no grant on the project {project}")
    schema, name = _quote(connection, schema_of(project)), _quote(connection, role)
    connection.execute(text(f"REVOKE ALL ON {schema}.{VIEW} FROM {name}"))
    connection.execute(text(f"REVOKE ALL ON SCHEMA {schema} FROM {name}"))
    row = session.scalars(select(Project).where(Project.name == project)).one()
    add_event(
        session, "project.research_revoked", "project", row.id, actor=actor, old={"role": role}
    )


def list_granted(connection: Connection) -> list[GrantedView]:
    """Return every project's view with its roles; none on SQLite."""
    if connection.dialect.name == "sqlite":
        return []
    rows = connection.execute(
        text(
            "SELECT n.nspname AS schema, obj_description(n.oid, 'pg_namespace') AS project, "
            "array(SELECT g.grantee::text FROM information_schema.role_table_grants g "
            "WHERE g.table_schema = n.nspname AND g.table_name = c.relname "
            "AND g.privilege_type = 'SELECT' AND g.grantee <> g.grantor ORDER BY 1) AS roles "
            "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE c.relkind = 'v' AND c.relname = :view AND starts_with(n.nspname, :prefix) "
            "ORDER BY 1"
        ),
        {"view": VIEW, "prefix": _PREFIX},
    )
    return [GrantedView(row.project, row.schema, tuple(row.roles)) for row in rows if row.project]


def drop_views(connection: Connection) -> list[GrantedView]:
    """Drop every project's view, since no column that one shows can be changed; returns them."""
    granted = list_granted(connection)
    for view in granted:
        connection.execute(text(f"DROP VIEW {_quote(connection, view.schema)}.{VIEW}"))
    return granted


def restore_views(connection: Connection, granted: list[GrantedView]) -> None:
    """Make views again that were dropped, as this program shows answers."""
    for view in granted:
        _create_view(connection, view.project)
        for role in view.roles:
            _grant(connection, role, view.schema)


def _postgresql(session: Session) -> Connection:
    connection = session.connection()
    if connection.dialect.name == "sqlite":
        raise GrantRefused(
            "a SQLite file knows no roles: give research a file of its own by "
            "`medr1-pacs query --project NAME --format sqlite --out FILE`"
        )
    return connection


def _check_own_role(connection: Connection) -> None:
    """The service makes a schema for the view: not every site's role may."""
    database, role, may_create = connection.execute(
        text(
            "SELECT current_database(), current_user, "
            "has_database_privilege(current_database(), 'CREATE')"
        )
    ).one()
    if not may_create:
        raise GrantRefused(
            f"the service's own role {role} may make no schema in the database: a superuser says "
            f"once GRANT CREATE ON DATABASE {_quote(connection, database)} TO "
            f"{_quote(connection, role)}"
        )


def _check_role(connection: Connection, role: str) -> None:
    known = connection.execute(
        text("SELECT rolsuper FROM pg_roles WHERE rolname = :role"), {"role": role}
    ).first()
    if known is None:
        raise GrantRefused(f"there is no role {role!r}: CREATE ROLE it first, with LOGIN")
    readable = connection.scalars(
        text(
            "SELECT n.nspname || '.' || c.relname FROM pg_class c "
            "JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE c.relkind IN ('r', 'p', 'v', 'm') AND n.nspname NOT IN "
            "('pg_catalog', 'information_schema') AND NOT starts_with(n.nspname, :prefix) "
            "AND has_any_column_privilege(:role, c.oid, 'SELECT') ORDER BY 1"
        ),
        {"role": role, "prefix": _PREFIX},
    ).all()
    if known.rolsuper or readable:
        what = "everything" if known.rolsuper else ", ".join(readable[:3])
        raise GrantRefused(
            f"the role {role} can read {what}: a role of research reads its view alone; make one "
            "that owns nothing and is in no other role"
        )


def _create_view(connection: Connection, project: str) -> None:
    schema = _quote(connection, schema_of(project))
    compiled = answers_as_shown(project).compile(
        dialect=postgresql.dialect(paramstyle="named"),  # type: ignore[no-untyped-call] # - untyped in SQLAlchemy
        compile_kwargs={"literal_binds": True},
    )
    connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {schema}"))
    quoted = connection.scalar(text("SELECT quote_literal(:project)"), {"project": project})
    connection.exec_driver_sql(f"COMMENT ON SCHEMA {schema} IS {quoted}".replace("%", "%%"))
    connection.execute(text(f"DROP VIEW IF EXISTS {schema}.{VIEW}"))
    connection.exec_driver_sql(
        f"CREATE VIEW {schema}.{VIEW} WITH (security_barrier) AS {compiled}".replace("%", "%%")
    )


def _grant(connection: Connection, role: str, schema: str) -> None:
    quoted_schema, quoted_role = _quote(connection, schema), _quote(connection, role)
    connection.execute(text(f"GRANT USAGE ON SCHEMA {quoted_schema} TO {quoted_role}"))
    connection.execute(text(f"GRANT SELECT ON {quoted_schema}.{VIEW} TO {quoted_role}"))


def _quote(connection: Connection, identifier: str) -> str:
    return connection.dialect.identifier_preparer.quote_identifier(identifier)
