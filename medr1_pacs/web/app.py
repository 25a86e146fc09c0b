"""The FastAPI application: today one page over studies and answers, and the health endpoints."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from fastapi.templating import Jinja2Templates

from medr1_pacs.db.answers import iterate_answers
from medr1_pacs.db.sessions import Database
from medr1_pacs.db.studies import list_studies
from medr1_pacs.db.workers import list_workers
from medr1_pacs.errors import PictureLost, StorageUnavailable, TransientError
from medr1_pacs.part10 import is_uid
from medr1_pacs.storage import InstanceStore

_HERE = Path(__file__).parent
_HEARTBEAT_LIMIT = timedelta(seconds=30)
_ROWS_A_PAGE = 200
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; img-src 'self'; style-src 'self'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


def make_app(database: Database, store: InstanceStore) -> FastAPI:
    """Build the application over one database and one storage folder."""
    # The interactive documentation would load its scripts from another host.
    app = FastAPI(title="medr1-pacs", docs_url=None, redoc_url=None, openapi_url=None)
    templates = Jinja2Templates(_HERE / "templates")
    app.mount("/static", StaticFiles(directory=_HERE / "static"), name="static")

    @app.middleware("http")
    async def add_headers(request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        response.headers.update(_HEADERS)
        return response

    @app.get("/", response_class=HTMLResponse)
    def overview(request: Request, study: str | None = None) -> Response:
        if study is not None and not is_uid(study):
            study = None
        try:
            with database.read() as session:
                studies = list_studies(session, newest=_ROWS_A_PAGE + 1)
                rows = iterate_answers(session, study_instance_uid=study, newest_first=True)
                answers = list(islice(rows, _ROWS_A_PAGE + 1))
        except TransientError as error:
            message = f"{error}. The page is back as soon as the database is."
            return templates.TemplateResponse(
                request, "away.html", {"message": message}, status_code=503
            )
        context = {
            "studies": studies[:_ROWS_A_PAGE],
            "has_more_studies": len(studies) > _ROWS_A_PAGE,
            "answers": answers[:_ROWS_A_PAGE],
            "has_more_answers": len(answers) > _ROWS_A_PAGE,
            "study": study,
        }
        return templates.TemplateResponse(request, "overview.html", context)

    @app.get("/pictures/{png_sha256}.png")
    def picture(png_sha256: str) -> Response:
        if len(png_sha256) != 64 or not png_sha256.isalnum():
            return Response(status_code=404)
        try:
            return Response(store.read_picture(png_sha256), media_type="image/png")
        except (PictureLost, StorageUnavailable):
            return Response(status_code=404)

    @app.get("/healthz")
    def is_alive() -> dict[str, str]:
        """Answer as long as the process does."""
        return {"status": "alive"}

    @app.get("/readyz")
    def is_ready() -> JSONResponse:
        """Say whether work gets done: database, backlog, and a heartbeat of each kind."""
        try:
            with database.read() as session:
                workers = list_workers(session)
            backlog = store.backlog()
        except TransientError as error:
            return JSONResponse({"status": "not ready", "reason": str(error)}, status_code=503)
        limit = datetime.now(UTC) - _HEARTBEAT_LIMIT
        alive = {row["kind"] for row in workers if row["heartbeat_at"] >= limit}
        missing = sorted({"sweep", "render", "answer"} - alive)
        body = {
            "status": "not ready" if missing else "ready",
            "without_heartbeat": missing,
            "backlog": backlog,
        }
        return JSONResponse(body, status_code=503 if missing else 200)

    return app
