"""What operations of the API may be refused with, as OpenAPI says it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

Responses = dict[int | str, dict[str, Any]]

_MEANINGS = {
    400: "The body is no text in UTF-8",
    401: "No valid token, nor a browser's session",
    403: "The token lacks the scope, or its account the role",
    404: "There is no such thing, or none in the caller's projects",
    409: "It cannot be done as things are",
    422: "The request says something that there is not, or names no project",
    503: "The database is away for the moment",
}


class Refusal(BaseModel):
    """Why not."""

    detail: str
    """A sentence."""


def refusals(*statuses: int) -> Responses:
    """Return what may happen beside success; 401 and 503 may always."""
    return {
        status: {"model": Refusal, "description": _MEANINGS[status]}
        for status in (401, *statuses, 503)
    }


def success(*media_types: str) -> Responses:
    """Return in which media types an operation answers."""
    return {200: {"content": {media_type: {} for media_type in media_types}}}
