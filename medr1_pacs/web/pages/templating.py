"""Templates, and the page that stands in while the database is away."""

from __future__ import annotations

from datetime import UTC
from pathlib import Path

from fastapi import Request, Response
from fastapi.templating import Jinja2Templates

from medr1_pacs.part10 import uid_name
from medr1_pacs.waiting import say_seconds

_WEB = Path(__file__).parents[1]
STATIC_FOLDER = _WEB / "static"

templates = Jinja2Templates(_WEB / "templates")
templates.env.filters |= {
    "when": lambda time: f"{time.astimezone(UTC):%Y-%m-%d %H:%M}" if time else "",
    "say_seconds": say_seconds,
    "uid_name": uid_name,
    "words": lambda word: str(word).replace("_", " "),
}


def render_away(request: Request, error: Exception) -> Response:
    """Say what is away, and that nothing has to be done here."""
    message = f"{error}. The page is back as soon as the database is."
    return templates.TemplateResponse(request, "away.html", {"message": message}, status_code=503)
