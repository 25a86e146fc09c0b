"""The reference of the API: as OpenAPI, and as a page that is made from it.

Both are ours: an interactive page would load its scripts from another host.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse

from medr1_pacs.web.api.refusals import refusals
from medr1_pacs.web.pages.templating import templates
from medr1_pacs.web.security.access import Browser, SignedIn

router = APIRouter()

_METHODS = ("get", "post", "put", "patch", "delete")


@router.get("/api/v1/openapi.json", tags=["reference"], responses=refusals())
def get_openapi(request: Request, caller: SignedIn) -> dict[str, Any]:
    """Return the API as OpenAPI 3.1."""
    return describe(request)


@router.get("/api", response_class=HTMLResponse, include_in_schema=False)
def show_reference(request: Request, caller: Browser) -> Response:
    """Show what programs may ask for."""
    described = describe(request)
    operations = [
        {"method": method.upper(), "path": path, **described["paths"][path][method]}
        for path in described["paths"]
        for method in _METHODS
        if method in described["paths"][path]
    ]
    return templates.TemplateResponse(request, "api.html", {"operations": operations})


def describe(request: Request) -> dict[str, Any]:
    """Return the part of the application that programs use, with how they sign in."""
    whole: dict[str, Any] = request.app.openapi()
    paths = {path: each for path, each in whole["paths"].items() if path.startswith("/api/")}
    bearer = {"type": "http", "scheme": "bearer", "description": "An API token: medr1_..."}
    components = whole.get("components", {}) | {"securitySchemes": {"token": bearer}}
    return whole | {"paths": paths, "components": components, "security": [{"token": []}]}
