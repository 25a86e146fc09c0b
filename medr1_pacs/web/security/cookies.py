"""The cookies: secrets that no script reads, and that another site's forms do not bring."""

from __future__ import annotations

from enum import StrEnum

from starlette.requests import Request
from starlette.responses import Response

from medr1_pacs.web.security.door import Transport


class Cookie(StrEnum):
    """What a browser keeps for us."""

    SESSION = "session"  #: who is signed in
    BEFORE = "before"  #: that a sign-in form was given to this browser
    DEVICE = "device"  #: that an account signed in here before
    PROVIDER = "provider"  #: what a sign-in at the OpenID provider must come back with


def read_cookie(request: Request, cookie: Cookie) -> str | None:
    return request.cookies.get(cookie_name(cookie, request.state.transport)) or None


def set_cookie(
    response: Response, cookie: Cookie, value: str, transport: Transport, *, max_age_s: int | None
) -> None:
    """Set a cookie; None: until the browser ends."""
    response.set_cookie(
        cookie_name(cookie, transport),
        value,
        max_age=max_age_s,
        path="/",
        secure=transport.is_https,
        httponly=True,
        samesite="lax",
    )


def remove_cookie(response: Response, cookie: Cookie, transport: Transport) -> None:
    response.delete_cookie(
        cookie_name(cookie, transport),
        path="/",
        secure=transport.is_https,
        httponly=True,
        samesite="lax",
    )


def cookie_name(cookie: Cookie, transport: Transport) -> str:
    # The prefix: no neighbour's subdomain can set it (RFC 6265bis 4.1.3.2); it needs HTTPS.
    return f"{'__Host-' if transport.is_https else ''}medr1_{cookie}"
