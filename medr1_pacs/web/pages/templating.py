"""Templates, and the page that stands in while the database is away."""

from __future__ import annotations

from pathlib import Path

from fastapi import Request, Response
from fastapi.templating import Jinja2Templates

_WEB = Path(__file__).parents[1]
STATIC_FOLDER = _WEB / "static"

templates = Jinja2Templates(_WEB / "templates")


def render_away(request: Request, error: Exception) -> Response:
    """Say what is away, and that nothing has to be done here."""
    message = f"{error}. The page is back as soon as the database is."
    return templates.TemplateResponse(request, "away.html", {"message": message}, status_code=503)
