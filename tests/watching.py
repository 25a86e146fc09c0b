"""What goes wrong in a browser without anybody seeing it."""

from __future__ import annotations

from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, ConsoleMessage, Request, Response


class Watch:
    """Collects what a test must not cause.

    Parameters
    ----------
    url
        The one origin that anything may be asked of.
    """

    def __init__(self, url: str) -> None:
        self._troubles: list[str] = []
        self._origin = url
        self._expected: set[int] = set()
        self._refused_with: set[int] = set()

    def expect_status(self, status: int) -> None:
        """Let something be refused with this status; without a refusal that is a trouble."""
        self._expected.add(status)

    def watch(self, context: BrowserContext) -> None:
        context.on("console", self._hear)
        context.on("weberror", lambda error: self._troubles.append(f"error: {error.error}"))
        context.on("request", self._see_request)
        context.on("requestfailed", self._see_failure)
        context.on("response", self._see_response)

    def finish(self) -> list[str]:
        """Return every trouble, in a sentence."""
        missing = self._expected - self._refused_with
        return self._troubles + [f"nothing was refused with {status}" for status in missing]

    def _hear(self, message: ConsoleMessage) -> None:
        # What the browser says there of a status, the response has said already.
        if message.text.startswith("Failed to load resource: the server responded"):
            return
        if message.type in ("error", "warning"):
            self._troubles.append(f"console: {message.text} ({message.location['url']})")

    def _see_response(self, response: Response) -> None:
        if response.status >= 400:
            self._refused_with.add(response.status)
            if response.status not in self._expected:
                self._troubles.append(f"{response.status}: {response.url}")

    def _see_request(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if f"{parts.scheme}://{parts.netloc}" != self._origin and parts.scheme != "data":
            self._troubles.append(f"asked of another host: {request.url}")

    def _see_failure(self, request: Request) -> None:
        # A page that is left, and a download, abort what the browser asked for itself.
        if request.failure != "net::ERR_ABORTED":
            self._troubles.append(f"failed: {request.url}: {request.failure}")
