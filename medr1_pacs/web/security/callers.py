"""Who asks: by a browser's cookie, or by a program's token for the API.

A secret that came over a connection that others can read is not believed.
"""

from __future__ import annotations

from dataclasses import replace

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from medr1_pacs.db.api_tokens import find_caller_by_token, stamp_token
from medr1_pacs.db.sessions import Database
from medr1_pacs.db.sign_ins import find_caller_by_session, stamp_session
from medr1_pacs.errors import TransientError
from medr1_pacs.records.people import Caller
from medr1_pacs.tokens import API_TOKEN_PREFIX, make_token
from medr1_pacs.web.security.access import NotSignedIn
from medr1_pacs.web.security.cookies import Cookie, read_cookie, set_cookie
from medr1_pacs.web.security.csrf import SAFE_METHODS, csrf_token_of
from medr1_pacs.web.security.door import Door, Transport
from medr1_pacs.web.security.failures import lead_to_sign_in, render_away
from medr1_pacs.web.security.hosts import HEALTH_PATHS

API = "/api/"
SIGN_IN = "/sign-in"
STRANGERS_BODY_MAX = 65_536
"""Bytes that somebody who is not signed in may send; a sign-in form has a few hundred."""


class Callers:
    """Sets `caller` and `csrf_token` of the request's state; both None where nobody is known."""

    def __init__(self, app: ASGIApp, database: Database, door: Door) -> None:
        self._app = app
        self._database = database
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope["state"] |= {"caller": None, "csrf_token": None}
        request = Request(scope)
        path, transport = scope["path"], request.state.transport
        if path not in HEALTH_PATHS and not path.startswith("/static/") and transport.is_private:
            try:
                caller = await self._find(request)
            except TransientError as error:
                await render_away(request, error)(scope, receive, send)
                return
            scope["state"]["caller"] = caller
            if caller is not None:
                scope["state"]["csrf_token"] = caller.csrf_token or None
            elif path == SIGN_IN or path.startswith(SIGN_IN + "/"):
                send = _with_sign_in_form(request, transport, send)
        if request.state.caller is None and (refusal := _refuse_stranger(request)):
            await refusal(scope, receive, send)
            return
        await self._app(scope, receive, send)

    async def _find(self, request: Request) -> Caller | None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            if not request.url.path.startswith(API) or not token.startswith(API_TOKEN_PREFIX):
                return None
            return await run_in_threadpool(self._find_by_token, token.strip())
        secret = read_cookie(request, Cookie.SESSION)
        return await run_in_threadpool(self._find_by_session, secret) if secret else None

    def _find_by_token(self, token: str) -> Caller | None:
        now = self._door.now()
        with self._database.read() as session:
            found = find_caller_by_token(session, token, now=now)
        if found is None:
            return None
        if found.is_due:
            with self._database.write() as session:
                stamp_token(session, found.row_id, now)
        return found.caller

    def _find_by_session(self, secret: str) -> Caller | None:
        now = self._door.now()
        with self._database.read() as session:
            found = find_caller_by_session(
                session, secret, now=now, idle_s=self._door.session_idle_s
            )
        if found is None:
            return None
        if found.is_due:
            with self._database.write() as session:
                stamp_session(session, found.row_id, now)
        return replace(found.caller, csrf_token=csrf_token_of(secret))


def _with_sign_in_form(request: Request, transport: Transport, send: Send) -> Send:
    """Tie the forms of sign-in to this browser, which has no session yet."""
    secret = read_cookie(request, Cookie.BEFORE)
    if secret is not None:
        request.state.csrf_token = csrf_token_of(secret)
        return send
    secret = make_token()
    request.state.csrf_token = csrf_token_of(secret)
    cookie = Response()
    set_cookie(cookie, Cookie.BEFORE, secret, transport, max_age_s=None)

    async def send_with_cookie(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).append("Set-Cookie", cookie.headers["Set-Cookie"])
        await send(message)

    return send_with_cookie


def _refuse_stranger(request: Request) -> Response | None:
    if request.url.path.startswith(API):
        # Nothing of the API is open; a route would read the body before it asks who sent it.
        return lead_to_sign_in(request, NotSignedIn())
    if request.method in SAFE_METHODS:
        return None
    length = request.headers.get("content-length", "")
    if "transfer-encoding" in request.headers or (
        length.isdecimal() and int(length) > STRANGERS_BODY_MAX
    ):
        return PlainTextResponse("Too large from somebody who is not signed in.\n", 413)
    return None
