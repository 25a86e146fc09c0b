"""Templates and static files."""

from __future__ import annotations

from datetime import UTC
from pathlib import Path

from fastapi import Request
from fastapi.templating import Jinja2Templates
from markupsafe import Markup

from medr1_pacs.part10 import uid_name
from medr1_pacs.waiting import say_seconds

_WEB = Path(__file__).parents[1]
STATIC_FOLDER = _WEB / "static"

templates = Jinja2Templates(_WEB / "templates")
templates.env.filters |= {
    "when": lambda time: f"{time.astimezone(UTC):%Y-%m-%d %H:%M}" if time else "",
    "say_seconds": say_seconds,
    "uid_name": uid_name,
    "stem": lambda prompt_text: prompt_text.partition(" A)")[0],
    "words": lambda word: str(word).replace("_", " "),
}


def _csrf_field(request: Request) -> Markup:
    """Return the hidden field that every form with method="post" must hold."""
    token = getattr(request.state, "csrf_token", None) or ""
    return Markup('<input type="hidden" name="csrf_token" value="{}">').format(token)


templates.env.globals["csrf_field"] = _csrf_field
