"""Templates and static files."""

from __future__ import annotations

import re
from datetime import UTC
from pathlib import Path

from fastapi import Request
from fastapi.templating import Jinja2Templates
from jinja2 import StrictUndefined
from markupsafe import Markup, escape

from medr1_pacs.part10 import uid_name
from medr1_pacs.records.accuracy import say_share
from medr1_pacs.waiting import say_seconds

_WEB = Path(__file__).parents[1]
STATIC_FOLDER = _WEB / "static"

_CODE = re.compile("`([^`]+)`")


def _marked(text: str) -> Markup:
    """Return a sentence in which what stands between backticks is code."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped


templates = Jinja2Templates(_WEB / "templates")
# A name that a page misspells would be an empty text, and nobody would notice.
templates.env.undefined = StrictUndefined
templates.env.filters |= {
    "when": lambda time: f"{time.astimezone(UTC):%Y-%m-%d %H:%M}" if time else "",
    "when_exactly": lambda time: f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S}",
    "say_seconds": say_seconds,
    "uid_name": uid_name,
    "share": say_share,
    "stem": lambda prompt_text: prompt_text.partition(" A)")[0],
    "words": lambda word: str(word).replace("_", " "),
    "sentence": lambda text: str(text)[:1].upper() + str(text)[1:],
    "marked": _marked,
}


def _csrf_field(request: Request) -> Markup:
    """Return the hidden field that every form with method="post" must hold."""
    token = getattr(request.state, "csrf_token", None) or ""
    return Markup('<input type="hidden" name="csrf_token" value="{}">').format(token)


templates.env.globals["csrf_field"] = _csrf_field
