"""Signing in by a password or a one-time link, and signing out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Annotated, TypeVar

import anyio
from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import RedirectResponse

from medr1_pacs.db.accounts import (
    clean_name,
    find_credentials,
    get_credentials,
    renew_hash,
)
from medr1_pacs.db.sign_ins import end_session, is_known_device, tell_failed_sign_in, use_link
from medr1_pacs.errors import SignInRefused
from medr1_pacs.passwords import Verdict
from medr1_pacs.records.people import Credentials
from medr1_pacs.records.words import SignInMethod
from medr1_pacs.tokens import hash_token
from medr1_pacs.web.dependencies import CameBy, FrontDoor, ResearchDatabase
from medr1_pacs.web.pages.templating import templates
from medr1_pacs.web.security.access import Browser
from medr1_pacs.web.security.cookies import Cookie, read_cookie
from medr1_pacs.web.security.entering import enter, leave
from medr1_pacs.web.security.failures import insecure_message, refuse
from medr1_pacs.web.security.limits import SignInLimits
from medr1_pacs.web.security.paths import safe_path

Result = TypeVar("Result")

router = APIRouter()


async def run_verification(request: Request, function: partial[Result]) -> Result:
    """Run what hashes a password in a thread, when its turn comes."""
    limiter: anyio.CapacityLimiter = request.app.state.verifications
    return await anyio.to_thread.run_sync(function, limiter=limiter)


@router.get("/sign-in")
def show_sign_in(request: Request, transport: CameBy, next: str = "/") -> Response:
    """Show how one can sign in here."""
    if request.state.caller is not None:
        return RedirectResponse(safe_path(next), 303)
    if not transport.is_private:
        return refuse(request, insecure_message(request), 403)
    return _show(request, next)


@router.post("/sign-in")
async def sign_in(
    request: Request,
    transport: CameBy,
    door: FrontDoor,
    name: Annotated[str, Form()] = "",
    password: Annotated[str, Form()] = "",
    next: Annotated[str, Form()] = "/",
) -> Response:
    """Sign in by a password."""
    if not transport.is_private:
        return refuse(request, insecure_message(request), 403)
    if not door.has_local_accounts:
        return refuse(request, "Nobody signs in by a password here.", 403)
    attempt = await anyio.to_thread.run_sync(_begin, request, name)
    limits: SignInLimits = request.app.state.limits
    wait_s = limits.admit(transport.address, attempt.account, attempt.known_device)
    if wait_s > 0:
        return _show_wait(request, wait_s)
    is_right = await run_verification(request, partial(_verify, request, attempt, password))
    if not is_right or attempt.credentials is None:
        return _show(request, next, message="The name or the password is wrong.", status=403)
    account_id = attempt.credentials.account_id
    try:
        return await anyio.to_thread.run_sync(
            enter, request, account_id, SignInMethod.PASSWORD, safe_path(next)
        )
    except SignInRefused as error:
        return refuse(request, f"{error}.", 403)


@router.get("/sign-in/link/{token}")
def show_link(request: Request, token: str, transport: CameBy, next: str = "") -> Response:
    """Ask for a click: what scans mails for bad links follows them, and must not spend this one."""
    if not transport.is_private:
        return refuse(request, insecure_message(request), 403)
    return templates.TemplateResponse(
        request, "sign_in_link.html", {"token": token, "following": next}
    )


@router.post("/sign-in/link/{token}")
def use_sign_in_link(
    request: Request,
    token: str,
    transport: CameBy,
    door: FrontDoor,
    database: ResearchDatabase,
    next: Annotated[str, Form()] = "",
) -> Response:
    """Sign in by a one-time link; it leads where it says, or to set a password where none is."""
    if not transport.is_private:
        return refuse(request, insecure_message(request), 403)
    try:
        with database.write() as session:
            account_id = use_link(
                session, token, only_administrators=not door.has_local_accounts, now=door.now()
            )
            credentials = get_credentials(session, account_id)
        wants_password = (
            door.has_local_accounts
            and not credentials.is_from_provider
            and credentials.password_hash is None
        )
        following = next or ("/account" if wants_password else "/")
        return enter(request, account_id, SignInMethod.LINK, safe_path(following))
    except SignInRefused as error:
        with database.write() as session:
            tell_failed_sign_in(session, None, SignInMethod.LINK, address=transport.address)
        return refuse(request, f"{error}.", 403)


@router.post("/sign-out")
def sign_out(
    request: Request, caller: Browser, database: ResearchDatabase, door: FrontDoor
) -> Response:
    """End this browser's session."""
    assert caller.session_id is not None, "a browser has one"
    with database.write() as session:
        end_session(
            session,
            caller.session_id,
            account_id=caller.account_id,
            actor=caller.account,
            now=door.now(),
        )
    return leave(request, RedirectResponse("/sign-in", 303))


# -- within ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Attempt:
    """Who somebody says they are, before their password is looked at."""

    account: str
    credentials: Credentials | None
    known_device: str | None


def _begin(request: Request, name: str) -> _Attempt:
    device = read_cookie(request, Cookie.DEVICE)
    with request.app.state.database.read() as session:
        credentials = find_credentials(session, name)
        is_known = (
            device is not None
            and credentials is not None
            and is_known_device(session, credentials.account_id, device)
        )
    return _Attempt(
        clean_name(name), credentials, hash_token(device) if device and is_known else None
    )


def _verify(request: Request, attempt: _Attempt, password: str) -> bool:
    credentials = attempt.credentials
    password_hash = credentials.password_hash if credentials else None
    verdict: Verdict = request.app.state.door.passwords.verify(password, password_hash)
    if verdict.is_right and not verdict.new_hash:
        return True
    with request.app.state.database.write() as session:
        if verdict.is_right and credentials and password_hash and verdict.new_hash:
            renew_hash(session, credentials.account_id, password_hash, verdict.new_hash)
        else:
            tell_failed_sign_in(
                session,
                credentials.account_id if credentials else None,
                SignInMethod.PASSWORD,
                address=request.state.transport.address,
            )
    return verdict.is_right


def _show(request: Request, following: str, *, message: str = "", status: int = 200) -> Response:
    door = request.app.state.door
    context = {
        "following": safe_path(following),
        "message": message,
        "has_local_accounts": door.has_local_accounts,
        "has_provider": door.provider is not None,
    }
    return templates.TemplateResponse(request, "sign_in.html", context, status_code=status)


def _show_wait(request: Request, wait_s: float) -> Response:
    seconds = math.ceil(wait_s)
    until = request.app.state.door.now() + timedelta(seconds=seconds)
    message = (
        f"Too many attempts from here. The next one is possible in {seconds} s, at "
        f"{until:%H:%M:%S} UTC. In a browser in which you signed in before, or at another address, "
        "you need not wait; an administrator can make you a one-time link."
    )
    return refuse(request, message, 429, headers={"Retry-After": str(seconds)})
