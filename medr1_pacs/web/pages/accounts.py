"""Everybody's accounts, for administrators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import RedirectResponse

from medr1_pacs.db.accounts import (
    add_account,
    clean_name,
    close_account,
    find_credentials,
    give_role,
    list_accounts,
    remove_role,
    reopen_account,
)
from medr1_pacs.db.projects import list_project_names
from medr1_pacs.db.sign_ins import make_link
from medr1_pacs.errors import AccountNotFound, AccountRefused, SignInRefused
from medr1_pacs.records.people import Caller
from medr1_pacs.records.words import Role
from medr1_pacs.web.dependencies import FrontDoor
from medr1_pacs.web.pages.templating import templates
from medr1_pacs.web.security.access import Administrator

router = APIRouter()

_NO_LINKS = (
    "Nobody signs in by a local account here: a link is made for an administrator, by "
    "`medr1-pacs accounts link` on the service's machine"
)


@router.get("/accounts")
def show_accounts(request: Request, caller: Administrator) -> Response:
    """List every account, with what it may do."""
    return _show(request)


@router.post("/accounts")
def add(
    request: Request,
    caller: Administrator,
    door: FrontDoor,
    name: Annotated[str, Form()] = "",
    full_name: Annotated[str, Form()] = "",
) -> Response:
    """Add an account, and make the link by which its person sets a password."""

    def change(session: Any) -> str:
        account_id = add_account(
            session, name, full_name=full_name.strip(), actor=caller.account, now=door.now()
        )
        if not door.has_local_accounts:
            raise AccountRefused(_NO_LINKS)
        return make_link(session, account_id, actor=caller.account, now=door.now())

    return _apply(request, change, linked=clean_name(name))


@router.post("/accounts/{name}/close")
def close(request: Request, name: str, caller: Administrator, door: FrontDoor) -> Response:
    """Let nobody in by this account any more."""
    return _apply(request, lambda s: close_account(s, name, actor=caller.account, now=door.now()))


@router.post("/accounts/{name}/reopen")
def reopen(request: Request, name: str, caller: Administrator) -> Response:
    """Let a closed account in again."""
    return _apply(request, lambda s: reopen_account(s, name, actor=caller.account))


@router.post("/accounts/{name}/roles")
def give(
    request: Request,
    name: str,
    caller: Administrator,
    door: FrontDoor,
    role: Annotated[Role, Form()],
    project: Annotated[str, Form()] = "",
) -> Response:
    """Give an account a role."""
    of = None if role is Role.ADMINISTRATOR else project or None
    return _apply(
        request,
        lambda s: give_role(
            s, name, role, of, rules=door.rules, actor=caller.account, now=door.now()
        ),
    )


@router.post("/accounts/{name}/roles/remove")
def take(
    request: Request,
    name: str,
    caller: Administrator,
    role: Annotated[Role, Form()],
    project: Annotated[str, Form()] = "",
) -> Response:
    """Take a role from an account."""
    of = None if role is Role.ADMINISTRATOR else project or None
    return _apply(request, lambda s: remove_role(s, name, role, of, actor=caller.account))


@router.post("/accounts/{name}/link")
def link(request: Request, name: str, caller: Administrator, door: FrontDoor) -> Response:
    """Make a one-time link, which is on this answer and nowhere else."""

    def change(session: Any) -> str:
        if not door.has_local_accounts:
            raise AccountRefused(_NO_LINKS)
        found = find_credentials(session, name)
        if found is None:
            raise AccountNotFound(f"there is no open account {name!r}")
        return make_link(session, found.account_id, actor=caller.account, now=door.now())

    return _apply(request, change, linked=clean_name(name))


def _apply(request: Request, change: Callable[[Any], str | None], *, linked: str = "") -> Response:
    """Do one change; a link that it made is shown, else the list is loaded anew."""
    try:
        with request.app.state.database.write() as session:
            token = change(session)
    except (AccountRefused, SignInRefused) as error:
        return _show(request, message=f"{error}.", status=400)
    except AccountNotFound as error:
        return _show(request, message=f"{error}.", status=404)
    if token is None:
        return RedirectResponse("/accounts", 303)
    base = request.app.state.door.url.rstrip("/") or request.state.transport.origin
    return _show(request, link=f"{base}/sign-in/link/{token}", linked=linked)


def _show(
    request: Request, *, message: str = "", link: str = "", linked: str = "", status: int = 200
) -> Response:
    caller: Caller = request.state.caller
    with request.app.state.database.read() as session:
        accounts = list_accounts(session)
        projects = list_project_names(session, request.app.state.door.rules)
    context = {
        "caller": caller,
        "accounts": accounts,
        "projects": projects,
        "roles": list(Role),
        "message": message,
        "link": link,
        "linked": linked,
    }
    return templates.TemplateResponse(request, "accounts.html", context, status_code=status)
