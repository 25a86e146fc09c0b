"""Where somebody who signed in begins: their projects, and what they may do in each."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse

from medr1_pacs.db.projects import list_projects
from medr1_pacs.web.dependencies import ResearchDatabase
from medr1_pacs.web.pages.templating import templates
from medr1_pacs.web.security.access import Browser

router = APIRouter()


@router.get("/", response_class=HTMLResponse)
def start(request: Request, caller: Browser, database: ResearchDatabase) -> Response:
    """Show the caller's projects, each with the doors that are open to them."""
    with database.read() as session:
        projects = list_projects(session, caller.projects)
    return templates.TemplateResponse(request, "start.html", {"projects": projects})
