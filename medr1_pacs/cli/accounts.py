"""Who may sign in, and what each may do; of whoever can run commands on this machine."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from medr1_pacs.cli.printing import print_error, print_table
from medr1_pacs.cli.wiring import open_research, read_settings
from medr1_pacs.db.accounts import (
    add_account,
    clean_name,
    close_account,
    find_credentials,
    give_role,
    list_accounts,
    remove_role,
    reopen_account,
    set_password,
)
from medr1_pacs.db.api_tokens import add_token
from medr1_pacs.db.audit import OPERATOR
from medr1_pacs.db.sign_ins import LINK_HOURS, make_link
from medr1_pacs.errors import AccountNotFound, AccountRefused
from medr1_pacs.passwords import Passwords, check_password
from medr1_pacs.projects import load_project_rules
from medr1_pacs.records.people import Scope
from medr1_pacs.records.words import Role
from medr1_pacs.settings import Settings, reachable_host

accounts_app = typer.Typer(help="Who may sign in.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="The name one signs in with")]
Project = Annotated[str | None, typer.Option(help="The role's project; none for administrator")]


@accounts_app.command("add")
def add(
    name: Name,
    role: Annotated[list[Role] | None, typer.Option(help="Repeat for more.")] = None,
    project: Annotated[
        list[str] | None, typer.Option(help="Of the roles in a project; repeat for more.")
    ] = None,
    full_name: Annotated[str, typer.Option()] = "",
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from stdin.")
    ] = False,
) -> None:
    """Add an account; prints a link by which its person comes in once and sets a password."""
    settings, now = read_settings(), datetime.now(UTC)
    rules = load_project_rules(settings.projects)
    password = sys.stdin.readline().rstrip("\r\n") if password_stdin else None
    if password is not None:
        check_password(password, clean_name(name))
    given = _pair(role or [], project or [])
    with open_research(settings).write() as session:
        account_id = add_account(session, name, full_name=full_name, actor=OPERATOR, now=now)
        for one, of in given:
            give_role(session, name, one, of, rules=rules, actor=OPERATOR, now=now)
        if password is not None:
            password_hash = Passwords().hash(password)
            set_password(session, account_id, password_hash, actor=OPERATOR, now=now)
            print_error(f"{clean_name(name)} can sign in by this password")
            return
        link = make_link(session, account_id, actor=OPERATOR, now=now)
    _print_link(settings, link)


@accounts_app.command("list")
def show(as_json: Annotated[bool, typer.Option("--json")] = False) -> None:
    """List every account and what it may do."""
    with open_research(read_settings()).read() as session:
        rows = [account.to_json() for account in list_accounts(session)]
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    columns = ("name", "full_name", "is_administrator", "roles", "created_at", "closed_at")
    print_table("Accounts", columns, ({**row, "roles": _describe(row)} for row in rows))


@accounts_app.command("close")
def close(name: Name) -> None:
    """Let nobody in by an account any more; it stays, since events name it."""
    with open_research(read_settings()).write() as session:
        close_account(session, name, actor=OPERATOR, now=datetime.now(UTC))


@accounts_app.command("reopen")
def reopen(name: Name) -> None:
    """Let a closed account in again."""
    with open_research(read_settings()).write() as session:
        reopen_account(session, name, actor=OPERATOR)


@accounts_app.command("link")
def link(name: Name) -> None:
    """Print a link that lets an account in once, as when its password is forgotten."""
    settings = read_settings()
    with open_research(settings).write() as session:
        account_id = _get_open(session, name)
        token = make_link(session, account_id, actor=OPERATOR, now=datetime.now(UTC))
    _print_link(settings, token)


@accounts_app.command("grant")
def grant(name: Name, role: Annotated[Role, typer.Option()], project: Project = None) -> None:
    """Give an account a role: in a project, or administrator of the site."""
    settings = read_settings()
    rules = load_project_rules(settings.projects)
    with open_research(settings).write() as session:
        give_role(session, name, role, project, rules=rules, actor=OPERATOR, now=datetime.now(UTC))


@accounts_app.command("revoke")
def revoke(name: Name, role: Annotated[Role, typer.Option()], project: Project = None) -> None:
    """Take a role from an account."""
    with open_research(read_settings()).write() as session:
        remove_role(session, name, role, project, actor=OPERATOR)


@accounts_app.command("token")
def token(
    name: Name,
    scope: Annotated[list[Scope], typer.Option(help="Repeat for more.")],
    project: Annotated[str | None, typer.Option(help="The one project that it is for")] = None,
    days: Annotated[int, typer.Option(help="How long it is valid")] = 90,
    label: Annotated[str, typer.Option(help="What to know it by")] = "command line",
) -> None:
    """Print a token for a program of an account; it is stored nowhere."""
    with open_research(read_settings()).write() as session:
        secret = add_token(
            session,
            _get_open(session, name),
            label,
            scope,
            project=project,
            days=days,
            actor=OPERATOR,
            now=datetime.now(UTC),
        )
    print(secret)


def _pair(roles: list[Role], projects: list[str]) -> list[tuple[Role, str | None]]:
    """Pair each role in a project with its project, in the order given; one project is of all."""
    in_project = [role for role in roles if role is not Role.ADMINISTRATOR]
    if len(projects) == 1:
        projects = projects * len(in_project)
    if len(projects) != len(in_project):
        raise AccountRefused(
            "each role but administrator needs its project: --role researcher --project NAME"
        )
    of_site = [(role, None) for role in roles if role is Role.ADMINISTRATOR]
    return [*of_site, *zip(in_project, projects, strict=True)]


def _get_open(session: Any, name: str) -> int:
    found = find_credentials(session, name)
    if found is None:
        raise AccountNotFound(f"there is no open account {clean_name(name)!r}")
    return found.account_id


def _print_link(settings: Settings, token: str) -> None:
    scheme = "https" if settings.web_certificate else "http"
    here = f"{scheme}://{reachable_host(settings.web_host)}:{settings.web_port}"
    print(f"{settings.web_url.rstrip('/') or here}/sign-in/link/{token}")
    print_error(f"It works once, within {LINK_HOURS} hours.")


def _describe(row: dict[str, Any]) -> str:
    return ", ".join(f"{given['role']} of {given['project']}" for given in row["roles"])
