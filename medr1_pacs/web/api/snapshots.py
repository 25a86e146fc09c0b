"""Snapshots of a project: made, listed, and opened as they were."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from medr1_pacs.db.reading import record_snapshot
from medr1_pacs.db.snapshots import (
    get_snapshot,
    iterate_rows,
    list_columns,
    list_snapshots,
)
from medr1_pacs.exports import json_lines
from medr1_pacs.filters import parse_filters
from medr1_pacs.records.reading import How
from medr1_pacs.records.words import JsonObject
from medr1_pacs.steps.citing import NAME_MAX, make_snapshot
from medr1_pacs.web.api.refusals import refusals, success
from medr1_pacs.web.dependencies import ResearchDatabase
from medr1_pacs.web.downloads import Format, download
from medr1_pacs.web.security.access import CitingByQuery, ResearchByQuery

router = APIRouter(prefix="/api/v1", tags=["snapshots"], responses=refusals(403, 404, 422))


class NewSnapshot(BaseModel):
    """What to freeze, and under which name."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=NAME_MAX)]
    description: Annotated[str, Field(max_length=2_000)] = ""
    filters: dict[str, list[str]] = Field(default_factory=dict)
    """As in the query of `/answers`: name -> values."""


@router.get("/snapshots")
def list_all(access: ResearchByQuery, database: ResearchDatabase) -> list[JsonObject]:
    """Return the project's snapshots, the latest first."""
    with database.read() as session:
        return [snapshot.to_json() for snapshot in list_snapshots(session, access.project)]


@router.post("/snapshots", status_code=201, responses=refusals(400, 409))
def make(access: CitingByQuery, database: ResearchDatabase, new: NewSnapshot) -> JsonObject:
    """Freeze what the filters find now."""
    snapshot = make_snapshot(
        database,
        access.project,
        new.name,
        parse_filters(new.filters),
        description=new.description,
        actor=access.caller.account,
    )
    return snapshot.to_json()


@router.get("/snapshots/{name}")
def get(access: ResearchByQuery, database: ResearchDatabase, name: str) -> JsonObject:
    """Return what a snapshot says of itself."""
    record_snapshot(database, access.project, name, How.API, actor=access.caller.account)
    with database.read() as session:
        return get_snapshot(session, access.project, name).to_json()


@router.get(
    "/snapshots/{name}/answers",
    response_class=Response,
    response_model=None,
    responses=success(json_lines.MEDIA_TYPE, "text/csv"),
)
def get_answers(
    access: ResearchByQuery,
    database: ResearchDatabase,
    name: str,
    output: Annotated[Format, Query(alias="format")] = Format.JSONL,
) -> StreamingResponse:
    """Stream the answers of a snapshot as they were; `jsonl` has the hash that is cited."""
    record_snapshot(database, access.project, name, How(output), actor=access.caller.account)
    with database.read() as session:
        columns = list_columns(session, access.project, name)
    rows = iterate_rows(database, access.project, name)
    return download(rows, columns, output, f"{access.project}-{name}")
