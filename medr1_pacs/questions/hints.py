"""What an author may have meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """Return the nearest of the known words as a question, or all of them."""
    known = tuple(known)
    close = difflib.get_close_matches(str(name), known, n=1)
    return f"did you mean `{close[0]}`?" if close else "use one of: " + ", ".join(known)
