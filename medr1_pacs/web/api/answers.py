"""Answers of a project: a page of them, all of them as a stream, counts, and one by one."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse

from medr1_pacs.db.reading import record_answer, record_query
from medr1_pacs.db.research import (
    count_facets,
    find_next,
    get_research_answer,
    iterate_found,
    list_history,
)
from medr1_pacs.exports import json_lines
from medr1_pacs.records.dictionary import describe_fields
from medr1_pacs.records.reading import How
from medr1_pacs.records.research import FIELDS, ResearchAnswer
from medr1_pacs.records.words import JsonObject
from medr1_pacs.web.api.refusals import refusals, success
from medr1_pacs.web.asked_filters import FILTER_PARAMETERS, Filters
from medr1_pacs.web.dependencies import ROW_ID_MAX, AnswerId, Pictures, ResearchDatabase
from medr1_pacs.web.downloads import Format, download
from medr1_pacs.web.pictures import picture_response
from medr1_pacs.web.security.access import ResearchByQuery

router = APIRouter(prefix="/api/v1", tags=["answers"], responses=refusals(403, 404, 422))

PAGE_MAX = 1_000


class ListFormat(StrEnum):
    """How answers come: a page as one object, or all of them as a stream."""

    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"


@router.get(
    "/answers",
    openapi_extra={"parameters": FILTER_PARAMETERS},
    response_model=None,
    responses=success("application/json", json_lines.MEDIA_TYPE, "text/csv"),
)
def list_answers(
    access: ResearchByQuery,
    database: ResearchDatabase,
    filters: Filters,
    output: Annotated[ListFormat, Query(alias="format")] = ListFormat.JSON,
    after: Annotated[
        int, Query(ge=0, le=ROW_ID_MAX, description="Answers with a higher id; `next` has it")
    ] = 0,
    limit: Annotated[int, Query(ge=1, le=PAGE_MAX, description="Answers a page of JSON")] = 100,
) -> JsonObject | StreamingResponse:
    """Return answers, the oldest first.

    `json` is a page: follow `next` until it is null. `jsonl` and `csv` are streams of everything
    that is found; `after` and `limit` are of the page alone.

    Answers can come to be found in any order: a later call with the highest id one has does not
    bring all that is new.
    """
    project = access.project
    how = How.API if output is ListFormat.JSON else How(output)
    record_query(database, project, filters, how, actor=access.caller.account)
    if output is not ListFormat.JSON:
        rows = (answer.to_json() for answer in iterate_found(database, project, filters))
        return download(rows, FIELDS, Format(output.value), f"answers-{project}")
    with database.read() as session:
        answers, following = find_next(session, project, filters, after=after, limit=limit)
    query = [("project", project), ("limit", str(limit)), ("after", str(following))]
    query += [(name, value) for name, given in filters.to_query().items() for value in given]
    return {
        "project": project,
        "answers": [answer.to_json() for answer in answers],
        "next": f"/api/v1/answers?{urlencode(query)}" if following is not None else None,
    }


@router.get("/answers/counts", openapi_extra={"parameters": FILTER_PARAMETERS})
def count_answers(
    access: ResearchByQuery, database: ResearchDatabase, filters: Filters
) -> dict[str, Any]:
    """Return how many answers are found, and how many of each value of each facet.

    With `words`, counting stops at 10,000: `is_at_least` says so.
    """
    record_query(database, access.project, filters, How.API, actor=access.caller.account)
    with database.read() as session:
        counts = count_facets(session, access.project, filters)
    return {
        "project": access.project,
        "total": counts.total.number,
        "is_at_least": counts.total.is_at_least,
        "facets": {
            name: [{"value": value or None, "answers": number} for value, number in values]
            for name, values in counts.values.items()
        },
    }


@router.get("/answers/{answer_id}")
def get_answer(
    access: ResearchByQuery, database: ResearchDatabase, answer_id: AnswerId
) -> JsonObject:
    """Return one answer with everything that made it, and what happened to it."""
    with database.read() as session:
        answer = get_research_answer(session, access.project, answer_id)
        history = list_history(session, answer_id)
    record_answer(database, access.project, answer_id, How.API, actor=access.caller.account)
    return answer.to_json() | {"history": history}


@router.get(
    "/answers/{answer_id}/picture",
    response_class=Response,
    responses=success("image/png"),
)
def get_picture(
    access: ResearchByQuery, database: ResearchDatabase, pictures: Pictures, answer_id: AnswerId
) -> Response:
    """Return the picture as the model saw it: 392 x 392 px PNG."""
    with database.read() as session:
        answer = get_research_answer(session, access.project, answer_id)
    record_answer(database, access.project, answer_id, How.PICTURE, actor=access.caller.account)
    return picture_response(database, pictures, answer.png_sha256)


@router.get("/dictionary", tags=["dictionary"])
def get_dictionary(access: ResearchByQuery) -> list[dict[str, str]]:
    """Return what each field of an answer is."""
    return [
        {"name": entry.name, "type": entry.type, "meaning": entry.meaning}
        for entry in describe_fields(ResearchAnswer)
    ]
