"""The log of what happened, for administrators; to look at it is an event of its own."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse

from medr1_pacs.db.audit import find_events, list_object_types
from medr1_pacs.db.reading import record_audit
from medr1_pacs.records.audit import EventFilters
from medr1_pacs.web.dependencies import ROW_ID_MAX, ResearchDatabase
from medr1_pacs.web.pages import event_table
from medr1_pacs.web.pages.templating import templates
from medr1_pacs.web.security.access import AuditReader

router = APIRouter()

EVENTS_A_PAGE = 50


@router.get("/operations/audit", response_class=HTMLResponse)
def show(
    request: Request,
    caller: AuditReader,
    database: ResearchDatabase,
    before: Annotated[int | None, Query(ge=0, le=ROW_ID_MAX)] = None,
) -> Response:
    """Show a page of events, the latest first."""
    filters = event_table.parse_query(request.query_params.multi_items())
    with database.read() as session:
        found = find_events(session, filters, before=before, limit=EVENTS_A_PAGE + 1)
        object_types = list_object_types(session)
    record_audit(database, filters, is_found=bool(found), actor=caller.account)
    events, has_more = found[:EVENTS_A_PAGE], len(found) > EVENTS_A_PAGE
    context = {
        "caller": caller,
        "notice": None,
        "filters": filters,
        "is_narrowed": filters != EventFilters(),
        "object_types": object_types,
        "events": events,
        "table": event_table,
        "newest": event_table.link_to(filters) if before is not None else None,
        "older": event_table.link_to(filters, before=events[-1].event_id) if has_more else None,
    }
    return templates.TemplateResponse(request, "operations/audit.html", context)
