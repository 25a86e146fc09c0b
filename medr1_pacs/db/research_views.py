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
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from medr1_pacs.db.audit import add_event
from medr1_pacs.db.research import answers_as_shown
from medr1_pacs.db.tables import Project
from medr1_pacs.errors import GrantRefused, SchemaMismatch

VIEW = "research_answers"
_PREFIX = "research_"
_DEPENDENT_OBJECTS = "2BP01"
_LOCK_S = 15
"""How long a view that is made again waits for who reads it."""
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
    _keep_view(connection, project)
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
    """Drop every project's view, since no column that one shows can be changed; returns them.

    Raises
    ------
    SchemaMismatch
        Somebody's own view stands on one.
    DatabaseUnavailable
        Somebody reads one, for longer than we wait.
    """
    granted = list_granted(connection)
    for view in granted:
        _drop_view(connection, view.schema)
    return granted


def restore_views(connection: Connection, granted: list[GrantedView]) -> None:
    """Make views again that were dropped, as this program shows answers."""
    for view in granted:
        _create_view(connection, view.project)
        for role in view.roles:
            _grant(connection, role, view.schema)


def renew_views(connection: Connection) -> None:
    """Make those views again that an earlier program made otherwise."""
    for view in list_granted(connection):
        _keep_view(connection, view.project)


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
    """A role that is in another, or may make or change roles, can come to read anything."""
    known = connection.execute(
        text(
            "SELECT rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls "
            "AS is_powerful, EXISTS (SELECT FROM pg_auth_members WHERE member = pg_roles.oid) "
            "AS is_member FROM pg_roles WHERE rolname = :role"
        ),
        {"role": role},
    ).first()
    if known is None:
        raise GrantRefused(f"there is no role {role!r}: CREATE ROLE it first, with LOGIN")
    own = [view.schema for view in list_granted(connection)]
    readable = connection.scalars(
        text(
            "SELECT n.nspname || '.' || c.relname FROM pg_class c "
            "JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE c.relkind IN ('r', 'p', 'v', 'm') AND n.nspname NOT IN "
            "('pg_catalog', 'information_schema') AND NOT n.nspname = ANY (:own) "
            "AND has_any_column_privilege(:role, c.oid, 'SELECT') ORDER BY 1"
        ),
        {"role": role, "own": own},
    ).all()
    if known.is_powerful or known.is_member or readable:
        what = "can read " + ", ".join(readable[:3])
        if known.is_powerful:
            what = "can come to read everything by what it is (superuser, CREATEROLE, ...)"
        elif known.is_member:
            what = "is in another role, and may read what that one does"
        raise GrantRefused(
            f"the role {role} {what}: a role of research reads its view alone; make one by "
            "CREATE ROLE ... LOGIN that owns nothing and is in no other role"
        )


def _keep_view(connection: Connection, project: str) -> None:
    """Make a project's view, or make it again where it shows something else than it would."""
    schema = schema_of(project)
    made_as = connection.scalar(
        text("SELECT obj_description(to_regclass(:view), 'pg_class')"),
        {"view": f"{_quote(connection, schema)}.{VIEW}"},
    )
    if made_as == _hash_of(_definition(project)):
        return
    roles = [
        role for view in list_granted(connection) if view.schema == schema for role in view.roles
    ]
    _drop_view(connection, schema)
    _create_view(connection, project)
    for role in roles:
        _grant(connection, role, schema)


def _create_view(connection: Connection, project: str) -> None:
    schema, definition = _quote(connection, schema_of(project)), _definition(project)
    connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {schema}"))
    quoted = connection.scalar(text("SELECT quote_literal(:project)"), {"project": project})
    _execute(connection, f"COMMENT ON SCHEMA {schema} IS {quoted}")
    _execute(connection, f"CREATE VIEW {schema}.{VIEW} WITH (security_barrier) AS {definition}")
    # So that a later program sees whether it would make it otherwise.
    _execute(connection, f"COMMENT ON VIEW {schema}.{VIEW} IS '{_hash_of(definition)}'")


def _drop_view(connection: Connection, schema: str) -> None:
    connection.execute(text(f"SET LOCAL lock_timeout = '{_LOCK_S}s'"))
    try:
        connection.execute(text(f"DROP VIEW IF EXISTS {_quote(connection, schema)}.{VIEW}"))
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) == _DEPENDENT_OBJECTS:
            raise SchemaMismatch(
                f"somebody's own view stands on {schema}.{VIEW}, which has to be made again: its "
                "owner drops it first (a temporary one ends with its session)"
            ) from error
        raise
    connection.execute(text("SET LOCAL lock_timeout = 0"))


def _definition(project: str) -> str:
    return str(
        answers_as_shown(project).compile(
            dialect=postgresql.dialect(paramstyle="named"),  # type: ignore[no-untyped-call] # - untyped in SQLAlchemy
            compile_kwargs={"literal_binds": True},
        )
    )


def _hash_of(definition: str) -> str:
    return hashlib.sha256(definition.encode()).hexdigest()


def _execute(connection: Connection, statement: str) -> None:
    """Run a statement without parameters, in which the driver looks for some all the same."""
    connection.exec_driver_sql(statement.replace("%", "%%"))


def _grant(connection: Connection, role: str, schema: str) -> None:
    quoted_schema, quoted_role = _quote(connection, schema), _quote(connection, role)
    connection.execute(text(f"GRANT USAGE ON SCHEMA {quoted_schema} TO {quoted_role}"))
    connection.execute(text(f"GRANT SELECT ON {quoted_schema}.{VIEW} TO {quoted_role}"))


def _quote(connection: Connection, identifier: str) -> str:
    return connection.dialect.identifier_preparer.quote_identifier(identifier)
