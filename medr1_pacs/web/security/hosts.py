"""Which host names requests may be for: a page of another name must not reach us as its own.

Without this, a name that leads a browser to this machine would read our pages (DNS rebinding).
"""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from medr1_pacs.web.security.door import Door, host_name

HEALTH_PATHS = frozenset({"/healthz", "/readyz"})
"""Asked by machines, by whatever address they know; tells nothing of what is stored."""


class Hosts:
    """Answers requests for another host: 421, and 400 where the name is missing or malformed."""

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self._app = app
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in HEALTH_PATHS:
            name = host_name(Headers(scope=scope).get("host", ""))
            if name is None:
                answer = PlainTextResponse("The Host header is missing or malformed.\n", 400)
                await answer(scope, receive, send)
                return
            if not self._door.allows_host(name):
                answer = PlainTextResponse(
                    f"This service does not answer for the host {name}: its operator adds the name "
                    "to MEDR1_WEB_HOSTS, or sets MEDR1_WEB_URL.\n",
                    421,
                )
                await answer(scope, receive, send)
                return
        await self._app(scope, receive, send)
