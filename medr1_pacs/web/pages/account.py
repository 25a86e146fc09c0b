"""One's own account: where one is signed in, tokens for programs, the password."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import RedirectResponse

from medr1_pacs.db.accounts import get_credentials, set_password
from medr1_pacs.db.api_tokens import DAYS_MAX, add_token, list_tokens, revoke_token
from medr1_pacs.db.sign_ins import end_session, list_sessions
from medr1_pacs.errors import AccountRefused, PasswordRefused
from medr1_pacs.passwords import LENGTH_MIN, check_password
from medr1_pacs.records.people import Caller, Credentials, OpenSession, Scope
from medr1_pacs.records.words import SignInMethod
from medr1_pacs.web.dependencies import CameBy, FrontDoor, ResearchDatabase
from medr1_pacs.web.pages.sign_in import run_verification
from medr1_pacs.web.pages.templating import templates
from medr1_pacs.web.security.access import Browser
from medr1_pacs.web.security.failures import refuse
from medr1_pacs.web.security.limits import SignInLimits

router = APIRouter()

_OPERATIONS = (Scope.OPERATIONS_READ,)


@router.get("/account")
def show_account(request: Request, caller: Browser) -> Response:
    """Show one's own account."""
    return _show(request, caller)


@router.post("/account/sessions/{session_id}/end")
def end_own_session(
    session_id: int, caller: Browser, database: ResearchDatabase, door: FrontDoor
) -> Response:
    """Sign out of another browser, or of this one."""
    with database.write() as session:
        end_session(
            session,
            session_id,
            account_id=caller.account_id,
            actor=caller.account,
            now=door.now(),
        )
    return RedirectResponse("/account", 303)


@router.post("/account/tokens")
def make_own_token(
    request: Request,
    caller: Browser,
    database: ResearchDatabase,
    door: FrontDoor,
    name: Annotated[str, Form()] = "",
    scopes: Annotated[list[Scope] | None, Form()] = None,
    project: Annotated[str, Form()] = "",
    days: Annotated[int, Form()] = 90,
) -> Response:
    """Make a token; its secret is on this answer and nowhere else."""
    try:
        with database.write() as session:
            secret = add_token(
                session,
                caller.account_id,
                name,
                scopes or (),
                project=project or None,
                days=days,
                actor=caller.account,
                now=door.now(),
            )
    except AccountRefused as error:
        return _show(request, caller, message=f"{error}.", status=400)
    return _show(request, caller, secret=secret)


@router.post("/account/tokens/{token_id}/revoke")
def revoke_own_token(
    token_id: int, caller: Browser, database: ResearchDatabase, door: FrontDoor
) -> Response:
    """End a token."""
    with database.write() as session:
        revoke_token(
            session,
            token_id,
            account_id=caller.account_id,
            actor=caller.account,
            now=door.now(),
        )
    return RedirectResponse("/account", 303)


@router.post("/account/password")
async def change_password(
    request: Request,
    caller: Browser,
    transport: CameBy,
    door: FrontDoor,
    new_password: Annotated[str, Form()] = "",
    repeated: Annotated[str, Form()] = "",
    password: Annotated[str, Form()] = "",
) -> Response:
    """Change one's password, and end every other session."""
    if not door.has_local_accounts:
        return refuse(request, "Nobody signs in by a password here.", 403)
    if new_password != repeated:
        return _show(request, caller, message="The two new passwords differ.", status=400)
    limits: SignInLimits = request.app.state.limits
    if limits.admit(transport.address, caller.account, f"session {caller.session_id}") > 0:
        return refuse(request, "Too many attempts. Try again in some seconds.", 429)
    try:
        check_password(new_password, caller.account)
        await run_verification(request, partial(_change, request, caller, password, new_password))
    except (PasswordRefused, AccountRefused) as error:
        return _show(request, caller, message=f"{error}.", status=400)
    return _show(request, caller, message="The password is changed; other browsers are signed out.")


def _change(request: Request, caller: Caller, password: str, new_password: str) -> None:
    door, database = request.app.state.door, request.app.state.database
    with database.read() as session:
        credentials = get_credentials(session, caller.account_id)
        sessions = list_sessions(
            session, caller.account_id, now=door.now(), idle_s=door.session_idle_s
        )
    is_needed = _is_password_needed(_own_method(sessions, caller), credentials)
    if is_needed and not door.passwords.verify(password, credentials.password_hash).is_right:
        raise PasswordRefused("the present password is wrong")
    password_hash = door.passwords.hash(new_password)
    with database.write() as session:
        set_password(
            session,
            caller.account_id,
            password_hash,
            actor=caller.account,
            now=door.now(),
            keep_session_id=caller.session_id,
        )


def _is_password_needed(method: SignInMethod | None, credentials: Credentials) -> bool:
    """A one-time link is for those who forgot theirs."""
    return method is not SignInMethod.LINK and credentials.password_hash is not None


def _own_method(sessions: Sequence[OpenSession], caller: Caller) -> SignInMethod | None:
    return next((one.method for one in sessions if one.session_id == caller.session_id), None)


def _show(
    request: Request, caller: Caller, *, message: str = "", secret: str = "", status: int = 200
) -> Response:
    door, now = request.app.state.door, request.app.state.door.now()
    with request.app.state.database.read() as session:
        credentials = get_credentials(session, caller.account_id)
        sessions = list_sessions(session, caller.account_id, now=now, idle_s=door.session_idle_s)
        tokens = list_tokens(session, caller.account_id, now=now)
    context = {
        "caller": caller,
        "sessions": sessions,
        "tokens": tokens,
        "scopes": [s for s in Scope if caller.is_administrator or s not in _OPERATIONS],
        "days_max": DAYS_MAX,
        "password_min": LENGTH_MIN,
        "may_have_password": door.has_local_accounts and not credentials.is_from_provider,
        "needs_password": _is_password_needed(_own_method(sessions, caller), credentials),
        "message": message,
        "is_refused": status >= 400,
        "secret": secret,
    }
    return templates.TemplateResponse(request, "account.html", context, status_code=status)
