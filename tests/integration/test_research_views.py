"""A PostgreSQL role of one project reads that project's view, and nothing else by any trick."""

from __future__ import annotations

import itertools
import json

import psycopg
import pytest
from factories import make_instance
from sqlalchemy import text

from medr1_pacs.db.research import iterate_found
from medr1_pacs.db.research_views import (
    drop_views,
    grant_research,
    list_granted,
    restore_views,
    revoke_research,
    schema_of,
)
from medr1_pacs.db.schema import Branch, upgrade_schema
from medr1_pacs.db.sessions import Database
from medr1_pacs.db.tables import AuditEvent
from medr1_pacs.errors import GrantRefused, SchemaMismatch
from medr1_pacs.filters import AnswerFilters
from medr1_pacs.projects import Project, ProjectRule, ProjectRules
from medr1_pacs.records.words import DatePolicy

postgresql_only = pytest.mark.parametrize("site", ["postgresql"], indirect=True)

TWO_PROJECTS = ProjectRules(
    (
        Project("default"),
        Project("lung", dates=DatePolicy.SHIFTED),
        Project("heart", dates=DatePolicy.NONE),
    ),
    (
        ProjectRule("lung", {"called_ae_title": "LUNG"}),
        ProjectRule("heart", {"called_ae_title": "HEART"}),
    ),
)
_roles = itertools.count(1)


@pytest.fixture
def role(database):
    """A fresh role that can read nothing."""
    name = f"researcher_{next(_roles)}"
    with database.connection() as connection:
        connection.execute(text(f"CREATE ROLE {name} LOGIN"))
    yield name
    with database.connection() as connection:
        connection.execute(text(f"DROP OWNED BY {name}; DROP ROLE {name}"))


@pytest.fixture
def two_projects(answered, indexer):
    """A study in `lung` and another in `heart`."""
    indexer.rules = TWO_PROJECTS
    answered(make_instance(PatientAge="095Y"), called_ae_title="LUNG")
    answered(
        make_instance(StudyInstanceUID="1.2.3", SeriesInstanceUID="1.2.3.1", PatientID="other"),
        called_ae_title="HEART",
    )


@pytest.fixture
def as_role(database, role):
    """Run a statement as the role; returns dictionaries."""

    def as_role(statement, on_notice=None):
        url = database.url.replace("+psycopg", "").replace("medr1@", f"{role}@")
        with psycopg.connect(url, row_factory=psycopg.rows.dict_row) as connection:
            if on_notice:
                connection.add_notice_handler(on_notice)
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    return as_role


@pytest.fixture
def grant(database, role):
    def grant(project, role=role):
        with database.write() as session:
            return grant_research(session, role, project, actor="operator")

    return grant


@postgresql_only
@pytest.mark.parametrize("project", ["lung", "heart"])
def test_the_view_shows_what_the_api_does(two_projects, database, grant, as_role, project):
    view = grant(project)

    rows = as_role(f"SELECT * FROM {view} ORDER BY answer_id")

    shown = [answer.to_json() for answer in iterate_found(database, project, AnswerFilters())]
    assert json.loads(json.dumps(rows)) == json.loads(json.dumps(shown))
    assert list(rows[0]) == list(shown[0])
    assert len(rows) > 0


@postgresql_only
def test_the_role_reads_its_project_alone(two_projects, grant, as_role):
    rows = as_role(f"SELECT DISTINCT project FROM {grant('lung')}")

    assert rows == [{"project": "lung"}]
    with pytest.raises(psycopg.errors.UndefinedTable):
        as_role("SELECT * FROM research_heart.research_answers")


@postgresql_only
def test_another_projects_view_is_refused(two_projects, database, grant, as_role):
    grant("lung")
    with database.connection() as connection:
        connection.execute(text("CREATE ROLE other_researcher LOGIN"))
    grant("heart", role="other_researcher")

    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        as_role("SELECT * FROM research_heart.research_answers")

    with database.connection() as connection:
        connection.execute(text("DROP OWNED BY other_researcher; DROP ROLE other_researcher"))


@postgresql_only
def test_the_role_reads_no_table(two_projects, database, grant, as_role):
    grant("lung")
    with database.connection() as connection:
        tables = connection.scalars(
            text(
                "SELECT quote_ident(schemaname) || '.' || quote_ident(tablename) FROM pg_tables "
                "WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
            )
        ).all()

    assert "public.study" in tables
    assert "vault.patient_identity" in tables
    for table in tables:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            as_role(f"SELECT * FROM {table}")


@postgresql_only
def test_a_cheap_leaking_function_sees_no_row_that_the_view_leaves_out(
    two_projects, grant, as_role
):
    view = grant("lung")
    leaked = []
    as_role(
        "CREATE FUNCTION pg_temp.leak(value text) RETURNS boolean COST 0.0000001 LANGUAGE plpgsql "
        "AS $$ BEGIN RAISE NOTICE '%', value; RETURN true; END $$; "
        f"SELECT * FROM {view} WHERE pg_temp.leak(study_instance_uid) AND pg_temp.leak(project)",
        on_notice=lambda notice: leaked.append(notice.message_primary),
    )

    own = as_role(f"SELECT study_instance_uid FROM {view}")
    assert leaked
    assert set(leaked) <= {"lung", *(row["study_instance_uid"] for row in own)}


@postgresql_only
def test_a_grant_is_an_event_and_can_be_taken_back(
    two_projects, database, grant, as_role, role, rows
):
    view = grant("lung")
    with database.write() as session:
        revoke_research(session, role, "lung", actor="operator")

    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        as_role(f"SELECT * FROM {view}")
    actions = [row.action for row in rows(AuditEvent) if row.object_type == "project"]
    assert actions == ["project.research_granted", "project.research_revoked"]
    with database.write() as session, pytest.raises(GrantRefused, match="has no grant"):
        revoke_research(session, role, "lung", actor="operator")


@postgresql_only
def test_views_are_made_again_with_their_grants(two_projects, database, grant, as_role, role):
    view = grant("lung")
    before = as_role(f"SELECT * FROM {view}")

    with database.connection() as connection:
        granted = drop_views(connection)
        assert list_granted(connection) == []
        restore_views(connection, granted)

    assert [(each.project, each.roles) for each in granted] == [("lung", (role,))]
    assert as_role(f"SELECT * FROM {view}") == before


@postgresql_only
def test_an_upgrade_keeps_the_views(two_projects, database, grant, as_role):
    view = grant("lung")

    upgrade_schema(database, Branch.RESEARCH)

    assert as_role(f"SELECT count(*) FROM {view}")[0]["count"] > 0


@postgresql_only
@pytest.mark.parametrize(
    ("role_name", "message"),
    [("nobody_knows", "there is no role"), ("medr1", "can come to read everything")],
)
def test_a_role_that_is_none_or_can_do_more_is_refused(two_projects, grant, role_name, message):
    with pytest.raises(GrantRefused, match=message):
        grant("lung", role=role_name)


@postgresql_only
def test_a_role_that_can_read_a_table_is_refused_by_its_name(two_projects, database, grant, role):
    with database.connection() as connection:
        connection.execute(text(f"GRANT SELECT ON study TO {role}"))

    with pytest.raises(GrantRefused, match=r"can read public\.study: a role of research reads"):
        grant("lung")


@postgresql_only
def test_a_project_that_there_is_not_is_refused(two_projects, grant):
    with pytest.raises(GrantRefused, match="there is no project 'lungs'"):
        grant("lungs")


@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
def test_a_file_knows_no_roles(database):
    with database.write() as session, pytest.raises(GrantRefused, match="--format sqlite --out"):
        grant_research(session, "anybody", "default", actor="operator")


@pytest.mark.parametrize(
    ("project", "schema"),
    [
        ("lung", "research_lung"),
        ('Lunge & "Herz"', "research_lunge_herz_"),
        ("x" * 64, "research_"),
    ],
)
def test_a_schema_is_named_for_its_project(project, schema):
    assert schema_of(project).startswith(schema)
    assert len(schema_of(project)) <= 63
    assert schema_of("A") != schema_of("a")


@postgresql_only
def test_a_project_with_an_odd_name_has_its_view(database, answered, indexer, grant, as_role):
    name = 'Lunge \'n "Herz" 100%'
    indexer.rules = ProjectRules(
        (Project("default"), Project(name)), (ProjectRule(name, {"called_ae_title": "LUNG"}),)
    )
    answered(called_ae_title="LUNG")

    rows = as_role(f"SELECT DISTINCT project FROM {grant(name)}")

    assert rows == [{"project": name}]


@postgresql_only
def test_a_service_that_may_make_no_schema_says_who_can_change_that(two_projects, database, role):
    with database.connection() as connection:
        connection.execute(text("CREATE ROLE poor_service LOGIN"))
        connection.execute(text("GRANT SELECT ON ALL TABLES IN SCHEMA public TO poor_service"))
    url = database.url.replace("medr1@", "poor_service@")
    poor = Database(url)
    try:
        with poor.write() as session, pytest.raises(GrantRefused, match="GRANT CREATE ON DATABASE"):
            grant_research(session, role, "lung", actor="operator")
    finally:
        poor.dispose()
        with database.connection() as connection:
            connection.execute(text("DROP OWNED BY poor_service; DROP ROLE poor_service"))


@postgresql_only
def test_a_second_role_takes_nothing_from_the_first(two_projects, database, grant, as_role):
    view = grant("lung")
    with database.connection() as connection:
        connection.execute(text("CREATE ROLE second_researcher LOGIN"))
    try:
        grant("lung", role="second_researcher")

        assert as_role(f"SELECT count(*) FROM {view}")[0]["count"] > 0
    finally:
        with database.connection() as connection:
            connection.execute(text("DROP OWNED BY second_researcher; DROP ROLE second_researcher"))


@postgresql_only
@pytest.mark.parametrize("can", ["CREATEROLE", "NOINHERIT IN ROLE pg_monitor", "REPLICATION"])
def test_a_role_that_can_come_to_read_more_is_refused(two_projects, database, grant, can):
    with database.connection() as connection:
        connection.execute(text(f"CREATE ROLE sly LOGIN {can}"))
    try:
        with pytest.raises(GrantRefused, match="a role of research reads its view alone"):
            grant("lung", role="sly")
    finally:
        with database.connection() as connection:
            connection.execute(text("DROP ROLE sly"))


@postgresql_only
def test_a_view_that_an_earlier_program_made_is_made_again(two_projects, database, grant, as_role):
    view = grant("lung")
    with database.connection() as connection:
        connection.execute(text(f"COMMENT ON VIEW {view} IS 'as before'"))
        connection.execute(text(f"ALTER VIEW {view} RENAME COLUMN run TO number"))

    upgrade_schema(database, Branch.RESEARCH)

    assert as_role(f"SELECT count(run) FROM {view}")[0]["count"] > 0


@postgresql_only
def test_a_view_that_somebody_built_upon_is_named_when_it_has_to_go(two_projects, database, grant):
    view = grant("lung")
    with database.connection() as connection:
        connection.execute(text(f"CREATE VIEW mine AS SELECT run FROM {view}"))

    with (
        pytest.raises(SchemaMismatch, match=r"own view stands on research_lung\.research_answers"),
        database.connection() as connection,
    ):
        drop_views(connection)
