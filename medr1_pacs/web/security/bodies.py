"""How much a request may bring: a form is read before anybody knows who sends it."""

from __future__ import annotations

from fastapi import HTTPException
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

BODY_MAX_BYTES = 64 << 20


class BodyLimit:
    """Answers 413 where a body says that it is longer, or turns out to be."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        length = Headers(scope=scope).get("content-length", "")
        announced = int(length) if length.isdecimal() else 0
        received = 0

        async def receive_limited() -> Message:
            nonlocal received
            _check(announced)
            message = await receive()
            received += len(message.get("body", b""))
            _check(received)
            return message

        await self._app(scope, receive_limited, send)


def _check(length: int) -> None:
    if length > BODY_MAX_BYTES:
        raise HTTPException(
            413, f"A request brings at most {BODY_MAX_BYTES >> 20} MiB: divide the file."
        )
