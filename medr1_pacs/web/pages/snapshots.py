"""A project's snapshots."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse, StreamingResponse

from medr1_pacs.db.reading import record_snapshot
from medr1_pacs.db.snapshots import (
    get_snapshot,
    iterate_rows,
    list_columns,
    list_snapshots,
)
from medr1_pacs.errors import SnapshotRefused
from medr1_pacs.filters import parse_filters
from medr1_pacs.records.reading import How
from medr1_pacs.records.words import Role
from medr1_pacs.steps.citing import check_snapshot, make_snapshot
from medr1_pacs.web.asked_filters import Filters
from medr1_pacs.web.dependencies import ResearchDatabase
from medr1_pacs.web.downloads import Format, download
from medr1_pacs.web.pages.answers import encode
from medr1_pacs.web.pages.templating import templates
from medr1_pacs.web.security.access import Citing, Research

router = APIRouter(prefix="/projects/{project}/snapshots")

CHECKED_AT_ONCE = 20_000
"""Answers of a snapshot up to which its page reads all of them to compare the hash."""


@router.get("", response_class=HTMLResponse)
def list_all(request: Request, access: Research, database: ResearchDatabase) -> Response:
    """Show the project's snapshots."""
    with database.read() as session:
        snapshots = list_snapshots(session, access.project)
    context = {
        "access": access,
        "snapshots": snapshots,
        "may_cite": access.caller.has_role(access.project, Role.RESEARCHER),
    }
    return templates.TemplateResponse(request, "snapshots.html", context)


@router.post("", response_class=HTMLResponse)
def make(
    request: Request,
    access: Citing,
    database: ResearchDatabase,
    filters: Filters,
    name: Annotated[str, Form()],
    description: Annotated[str, Form(max_length=2_000)] = "",
) -> Response:
    """Freeze what the filters of the URL find now."""
    try:
        snapshot = make_snapshot(
            database,
            access.project,
            name,
            filters,
            description=description,
            actor=access.caller.account,
        )
    except SnapshotRefused as error:
        context = {
            "access": access,
            "message": f"No snapshot was made: {error}.",
            "back": f"/projects/{quote(access.project)}/answers{encode(filters)}",
        }
        return templates.TemplateResponse(request, "not_done.html", context, status_code=409)
    return RedirectResponse(
        f"/projects/{quote(access.project)}/snapshots/{quote(snapshot.name)}", status_code=303
    )


@router.get("/{name}", response_class=HTMLResponse)
def show(request: Request, access: Research, database: ResearchDatabase, name: str) -> Response:
    """Show what a snapshot says of itself, and whether its answers still have its hash."""
    record_snapshot(database, access.project, name, How.PAGE, actor=access.caller.account)
    with database.read() as session:
        snapshot = get_snapshot(session, access.project, name)
    is_checked = snapshot.answers <= CHECKED_AT_ONCE
    context = {
        "access": access,
        "snapshot": snapshot,
        "query": encode(parse_filters(snapshot.filters)),
        "check": check_snapshot(database, access.project, name) if is_checked else None,
    }
    return templates.TemplateResponse(request, "snapshot.html", context)


@router.get("/{name}/answers.{output}")
def download_answers(
    access: Research, database: ResearchDatabase, name: str, output: Format
) -> StreamingResponse:
    """Stream the answers of a snapshot as they were."""
    record_snapshot(database, access.project, name, How(output), actor=access.caller.account)
    with database.read() as session:
        columns = list_columns(session, access.project, name)
    rows = iterate_rows(database, access.project, name)
    return download(rows, columns, output, f"{access.project}-{name}")
