"""Who a pseudonym stands for, for a project's custodians at a browser.

What is typed is in the body of a form and never in an address: addresses are logged.
"""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import HTMLResponse

from medr1_pacs.db.re_identification import list_tries
from medr1_pacs.db.sessions import Database
from medr1_pacs.records.re_identification import ReIdentified
from medr1_pacs.steps.re_identifying import (
    REASON_MAX,
    REASON_MIN,
    NotReIdentified,
    ReasonRefused,
    re_identify,
)
from medr1_pacs.web.dependencies import ResearchDatabase, Vault
from medr1_pacs.web.pages.templating import templates
from medr1_pacs.web.security.access import Custodian, ProjectAccess

router = APIRouter(prefix="/projects/{project}/re-identify")

TRIES_SHOWN = 20


@router.get("", response_class=HTMLResponse)
def show_form(request: Request, access: Custodian, database: ResearchDatabase) -> Response:
    """Ask for a pseudonym and a reason, and show who asked before."""
    return _show(request, access, database, None)


@router.post("", response_class=HTMLResponse)
def show_patient(
    request: Request,
    access: Custodian,
    database: ResearchDatabase,
    vault: Vault,
    pseudonym: Annotated[str, Form()] = "",
    reason: Annotated[str, Form()] = "",
) -> Response:
    """Show who a pseudonym stands for."""
    try:
        found = re_identify(
            database,
            vault,
            access.project,
            pseudonym=pseudonym,
            reason=reason,
            actor=access.caller.account,
        )
    except (ReasonRefused, NotReIdentified) as error:
        context = {
            "access": access,
            "message": f"Nobody is shown: {error}.",
            "back": f"/projects/{quote(access.project)}/re-identify",
        }
        status = 422 if isinstance(error, ReasonRefused) else 404
        return templates.TemplateResponse(request, "not_done.html", context, status_code=status)
    return _show(request, access, database, found)


def _show(
    request: Request, access: ProjectAccess, database: Database, found: ReIdentified | None
) -> Response:
    with database.read() as session:
        tries = list_tries(session, access.project, newest=TRIES_SHOWN)
    context = {
        "access": access,
        "found": found,
        "tries": tries,
        "reason_min": REASON_MIN,
        "reason_max": REASON_MAX,
    }
    return templates.TemplateResponse(request, "re_identify.html", context)
