"""What all ways of signing in end with: a session, its cookies, and a page to go on with."""

from __future__ import annotations

from fastapi import Request, Response
from fastapi.responses import RedirectResponse

from medr1_pacs.db.sessions import Database
from medr1_pacs.db.sign_ins import Opened, end_session, open_session
from medr1_pacs.records.people import Caller
from medr1_pacs.records.words import SignInMethod
from medr1_pacs.web.security.cookies import Cookie, read_cookie, remove_cookie, set_cookie
from medr1_pacs.web.security.door import Door

DEVICE_DAYS = 366


def enter(request: Request, account_id: int, method: SignInMethod, following: str) -> Response:
    """Sign an account in, and lead the browser to a local path.

    Raises
    ------
    SignInRefused
        The account was closed meanwhile.
    """
    database: Database = request.app.state.database
    door: Door = request.app.state.door
    caller: Caller | None = request.state.caller
    now = door.now()
    with database.write() as session:
        if caller is not None and caller.session_id is not None:
            end_session(
                session,
                caller.session_id,
                account_id=caller.account_id,
                actor=caller.account,
                now=now,
            )
        opened = open_session(
            session,
            account_id,
            method,
            address=request.state.transport.address,
            device_token=read_cookie(request, Cookie.DEVICE),
            max_s=door.session_max_s,
            now=now,
        )
    response = RedirectResponse(following, 303)
    _give_cookies(request, response, opened)
    return response


def leave(request: Request, response: Response) -> Response:
    """Take the session's cookie from a browser; the device stays known."""
    remove_cookie(response, Cookie.SESSION, request.state.transport)
    return response


def _give_cookies(request: Request, response: Response, opened: Opened) -> None:
    transport = request.state.transport
    set_cookie(response, Cookie.SESSION, opened.token, transport, max_age_s=None)
    set_cookie(
        response, Cookie.DEVICE, opened.device_token, transport, max_age_s=DEVICE_DAYS * 86_400
    )
    remove_cookie(response, Cookie.BEFORE, transport)
