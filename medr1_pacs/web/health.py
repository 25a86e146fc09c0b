"""Health: does the process live, does work get done?"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from medr1_pacs.db.workers import list_workers
from medr1_pacs.errors import TransientError
from medr1_pacs.processes import READY_BY_HEARTBEAT, SILENT_S
from medr1_pacs.web.dependencies import Instances, ResearchDatabase

router = APIRouter()


@router.get("/healthz")
def is_alive() -> dict[str, str]:
    """Answer as long as the process does."""
    return {"status": "alive"}


@router.get("/readyz")
def is_ready(database: ResearchDatabase, instances: Instances) -> JSONResponse:
    """Say whether work gets done: database, backlog, and a heartbeat of each kind."""
    try:
        with database.read() as session:
            workers = list_workers(session)
        backlog = instances.backlog()
    except TransientError as error:
        return JSONResponse({"status": "not ready", "reason": str(error)}, status_code=503)
    limit = datetime.now(UTC) - timedelta(seconds=SILENT_S)
    alive = {worker.kind for worker in workers if worker.heartbeat_at >= limit}
    missing = sorted(set(READY_BY_HEARTBEAT) - alive)
    body = {
        "status": "not ready" if missing else "ready",
        "without_heartbeat": missing,
        "backlog": backlog,
    }
    return JSONResponse(body, status_code=503 if missing else 200)
