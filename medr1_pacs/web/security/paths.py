"""Where somebody is led after signing in: a page of ours, never another site."""

from __future__ import annotations

import re

# One slash, then neither a second one nor a backslash, which browsers read as one; no control
# characters, which they drop.
_LOCAL = re.compile(r"/(?![/\\])[^\\\x00-\x20\x7f]*")


def safe_path(text: str | None) -> str:
    """Return a local path as it is, and anything else as `/`."""
    return text if text and _LOCAL.fullmatch(text) else "/"
