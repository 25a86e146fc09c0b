"""Templates and static files."""

from __future__ import annotations

from pathlib import Path

from fastapi import Request
from fastapi.templating import Jinja2Templates
from markupsafe import Markup

_WEB = Path(__file__).parents[1]
STATIC_FOLDER = _WEB / "static"

templates = Jinja2Templates(_WEB / "templates")


def _csrf_field(request: Request) -> Markup:
    """Return the hidden field that every form with method="post" must hold."""
    token = getattr(request.state, "csrf_token", None) or ""
    return Markup('<input type="hidden" name="csrf_token" value="{}">').format(token)


templates.env.globals["csrf_field"] = _csrf_field
