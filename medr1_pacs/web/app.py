"""The FastAPI application: its parts put together, and the headers that every answer has."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.staticfiles import StaticFiles

from medr1_pacs.db.sessions import Database
from medr1_pacs.errors import TransientError
from medr1_pacs.storage.instances import InstanceStore
from medr1_pacs.storage.pictures import PictureStore
from medr1_pacs.web import health
from medr1_pacs.web.dependencies import SiteRules
from medr1_pacs.web.pages import operations, overview, pictures
from medr1_pacs.web.pages.templating import STATIC_FOLDER, render_away

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


def make_app(
    database: Database,
    instance_store: InstanceStore,
    picture_store: PictureStore,
    *,
    site_rules: SiteRules | None = None,
) -> FastAPI:
    """Build the application over one database and one storage folder."""
    # The interactive documentation would load its scripts from another host.
    app = FastAPI(title="medr1-pacs", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.database = database
    app.state.instance_store = instance_store
    app.state.picture_store = picture_store
    app.state.site_rules = site_rules or SiteRules()
    app.mount("/static", StaticFiles(directory=STATIC_FOLDER), name="static")
    app.include_router(health.router)
    app.include_router(overview.router)
    app.include_router(pictures.router)
    app.include_router(operations.router)
    app.middleware("http")(_add_headers)
    app.exception_handler(TransientError)(render_away)
    return app


async def _add_headers(request: Request, call_next: Any) -> Response:
    response: Response = await call_next(request)
    response.headers.update(_HEADERS)
    return response
