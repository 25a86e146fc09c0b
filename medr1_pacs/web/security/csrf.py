"""A form of ours, or somebody else's? Two checks, each enough alone.

The browser says where a request was made (Sec-Fetch-Site, Origin), and each form carries a token
that only pages of this browser's session hold.
"""

from __future__ import annotations

import hashlib
import hmac

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from medr1_pacs.web.security.access import NotAllowed
from medr1_pacs.web.security.door import Transport

FIELD = "csrf_token"
HEADER = "X-CSRF-Token"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")


def csrf_token_of(secret: str) -> str:
    """Return what the forms of a browser carry; it tells nothing of the cookie's secret."""
    return hmac.new(secret.encode("utf-8", "replace"), b"csrf", hashlib.sha256).hexdigest()


async def check_csrf(request: Request) -> None:
    """Raise `NotAllowed` for an unsafe request of a browser without the token of its forms."""
    expected: str | None = getattr(request.state, "csrf_token", None)
    if request.method in SAFE_METHODS or expected is None:
        return
    given = request.headers.get(HEADER)
    if given is None and request.headers.get("content-type", "").startswith(_FORMS):
        field = (await request.form()).get(FIELD)
        given = field if isinstance(field, str) else None
    if given is None or not hmac.compare_digest(
        given.encode("utf-8", "replace"), expected.encode()
    ):
        raise NotAllowed("this form is of another sign-in: load its page again, and repeat")


class SameOrigin:
    """Refuses what the page of another site sends in a browser's name."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (
            scope["type"] == "http"
            and scope["method"] not in SAFE_METHODS
            and is_of_another_site(Headers(scope=scope), scope["state"]["transport"])
        ):
            answer = PlainTextResponse("This was sent by the page of another site.\n", 403)
            await answer(scope, receive, send)
            return
        await self._app(scope, receive, send)


def is_of_another_site(headers: Headers, transport: Transport) -> bool:
    """Whether a browser says so; a program says neither, and has no cookie."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site not in ("same-origin", "none")
    origin = headers.get("origin")
    return origin is not None and origin.lower() != transport.origin
