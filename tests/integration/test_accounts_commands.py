"""`medr1-pacs accounts ...`, and the door that the settings make."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner

from medr1_pacs.cli import app
from medr1_pacs.cli.wiring import describe_door, load_door
from medr1_pacs.db.accounts import find_credentials
from medr1_pacs.db.api_tokens import find_caller_by_token
from medr1_pacs.db.tables import AuditEvent
from medr1_pacs.errors import AccountRefused, PasswordRefused, SettingInvalid
from medr1_pacs.settings import Settings

pytestmark = pytest.mark.parametrize("site", ["sqlite"], indirect=True)


@pytest.fixture
def run(site, tmp_path, monkeypatch):
    """Run `medr1-pacs accounts ...`; returns its stdout."""
    projects = tmp_path / "projects.toml"
    projects.write_text('[[project]]\nname = "lung"\n[[project]]\nname = "heart"\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MEDR1_DATA_DIR", str(site.data_dir))
    monkeypatch.setenv("MEDR1_PROJECTS", str(projects))

    def run(*arguments, stdin=""):
        result = CliRunner().invoke(app, ["accounts", *arguments], input=stdin)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result.stdout

    return run


@pytest.fixture
def listed(run):
    """Return name -> account, as `accounts list --json` prints them."""
    return lambda: {row["name"]: row for row in json.loads(run("list", "--json"))}


def test_the_first_administrator_comes_in_by_the_printed_link(run, listed, make_pages, browse):
    out = run("add", "Anna", "--role", "administrator", "--full-name", "Anna A.")
    [path] = re.findall(r"^http://127\.0\.0\.1:8080(/sign-in/link/[\w-]{43})$", out, re.M)
    client = browse(make_pages())
    token = re.search(r'csrf_token" value="(\w+)"', client.get(path).text)[1]

    assert client.post(path, data={"csrf_token": token}).status_code == 303
    assert client.get("/accounts").status_code == 200
    assert listed()["anna"]["full_name"] == "Anna A."


def test_roles_are_paired_with_their_projects_in_order(run, listed):
    run(
        "add",
        "bert",
        "--role",
        "reader",
        "--project",
        "lung",
        "--role",
        "auditor",
        "--project",
        "heart",
    )
    run("add", "cora", "--role", "reader", "--role", "researcher", "--project", "lung")

    roles = {
        name: [(given["project"], given["role"]) for given in account["roles"]]
        for name, account in listed().items()
    }
    assert roles == {
        "bert": [("heart", "auditor"), ("lung", "reader")],
        "cora": [("lung", "reader"), ("lung", "researcher")],
    }


def test_a_role_without_its_project_adds_nobody(run, listed):
    with pytest.raises(AccountRefused, match="needs its project"):
        run("add", "bert", "--role", "reader")
    with pytest.raises(AccountRefused, match="no project"):
        run("add", "bert", "--role", "reader", "--project", "brain")

    assert listed() == {}


def test_a_password_is_read_from_stdin_and_a_bad_one_adds_nobody(run, database, listed):
    with pytest.raises(PasswordRefused):
        run("add", "bert", "--password-stdin", stdin="short\n")
    assert listed() == {}
    run("add", "bert", "--password-stdin", stdin="seven green bicycles\n")

    with database.read() as session:
        assert find_credentials(session, "bert").password_hash.startswith("$argon2id$")


def test_roles_are_granted_and_revoked_and_accounts_closed(run, listed, rows):
    run("add", "bert")
    run("grant", "bert", "--role", "researcher", "--project", "lung")
    run("grant", "bert", "--role", "auditor", "--project", "lung")
    run("revoke", "bert", "--role", "auditor", "--project", "lung")
    run("close", "bert")

    assert [given["role"] for given in listed()["bert"]["roles"]] == ["researcher"]
    assert listed()["bert"]["closed_at"]
    run("reopen", "bert")
    assert listed()["bert"]["closed_at"] is None
    assert {event.actor for event in rows(AuditEvent)} == {"operator"}


def test_a_token_is_printed_once_and_works(run, database):
    run("add", "bert", "--role", "researcher", "--project", "lung")
    out = run("token", "bert", "--scope", "answers:read", "--project", "lung", "--days", "2")

    with database.read() as session:
        found = find_caller_by_token(session, out.strip(), now=datetime.now(UTC))
    assert (found.caller.account, found.caller.projects) == ("bert", ("lung",))


def test_the_table_names_everybody(run):
    run("add", "bert", "--role", "reader", "--project", "lung")

    assert re.search(r"bert.*reader of lung", run("list"))


def test_the_door_is_what_the_settings_say(site, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("s3cret\n")
    door = load_door(
        Settings(
            web_url="https://medr1.example.org/",
            web_hosts=("PACS:8080",),
            web_host="10.0.0.5",
            trusted_proxies=("10.0.0.0/24",),
            session_idle_s=60,
            local_accounts=False,
            oidc_issuer="https://idp.example.org",
            oidc_client_id="medr1",
            oidc_client_secret_file=secret,
            oidc_roles=("it=administrator",),
        )
    )

    assert door.url == "https://medr1.example.org"
    assert [door.allows_host(name) for name in ("medr1.example.org", "pacs", "10.0.0.5", "x")] == [
        True,
        True,
        True,
        False,
    ]
    assert (door.session_idle_s, door.has_local_accounts) == (60, False)
    assert (door.provider.client_secret, door.provider.names_administrators) == ("s3cret", True)


def test_a_secret_that_is_not_there_is_said(site, tmp_path):
    settings = Settings(
        web_url="https://medr1.example.org",
        oidc_issuer="https://idp.example.org",
        oidc_client_id="medr1",
        oidc_client_secret_file=tmp_path / "missing",
        oidc_roles=("it=administrator",),
    )
    with pytest.raises(SettingInvalid, match="MEDR1_OIDC_CLIENT_SECRET_FILE"):
        load_door(settings)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "by a password, from this machine alone; for others set MEDR1_WEB_CERTIFICATE"),
        ({"trusted_proxies": ("10.0.0.1",)}, "through the proxy at 10.0.0.1"),
        ({"local_accounts": False}, "by a link alone"),
    ],
)
def test_what_holds_is_said_at_the_start(site, changes, said):
    assert said in describe_door(Settings(**changes))
