"""What goes wrong in a browser without anybody seeing it."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, ConsoleMessage, Request

_STATUS = re.compile(r"Failed to load resource: the server responded with a status of (\d+)")


class Watch:
    """Collects what a test must not cause; `troubles` says it in sentences.

    Parameters
    ----------
    url
        The one origin that anything may be asked of.
    """

    def __init__(self, url: str) -> None:
        self.troubles: list[str] = []
        self._origin = url
        self._expected: set[int] = set()

    def expect_status(self, status: int) -> None:
        """Let pages be refused with this status: the browser writes it to its console."""
        self._expected.add(status)

    def watch(self, context: BrowserContext) -> None:
        context.on("console", self._hear)
        context.on("weberror", lambda error: self.troubles.append(f"error: {error.error}"))
        context.on("request", self._see_request)
        context.on("requestfailed", self._see_failure)

    def _hear(self, message: ConsoleMessage) -> None:
        status = _STATUS.match(message.text)
        if status and int(status[1]) in self._expected:
            return
        if message.type in ("error", "warning"):
            self.troubles.append(f"console: {message.text} ({message.location['url']})")

    def _see_request(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if f"{parts.scheme}://{parts.netloc}" != self._origin and parts.scheme != "data":
            self.troubles.append(f"asked of another host: {request.url}")

    def _see_failure(self, request: Request) -> None:
        # A page that is left, and a download, abort what the browser asked for itself.
        if request.failure != "net::ERR_ABORTED":
            self.troubles.append(f"failed: {request.url}: {request.failure}")
