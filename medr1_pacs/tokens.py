"""Secrets that we hand out: the holder keeps the text, we keep its hash."""

from __future__ import annotations

import hashlib
import secrets

TOKEN_BYTES = 32
API_TOKEN_PREFIX = "medr1_"  # noqa: S105 - what a secret begins with, so that scanners know it


def make_token(prefix: str = "") -> str:
    """Draw a new secret, safe in a URL, a cookie and a header."""
    return prefix + secrets.token_urlsafe(TOKEN_BYTES)


def hash_token(token: str) -> str:
    """Return what a row keeps; 32 random bytes need no salt and no slow hash."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
