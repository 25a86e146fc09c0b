"""Withdrawing by page: an administrator from the whole site, a custodian from one project.

The pages ask for it; the sweep does it, which has the key of the hashes. No page knows an identity:
an administrator names a study's row, a custodian a pseudonym of the project.
"""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Form, Path, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from medr1_pacs.db.withdrawals import get_withdrawal, list_withdrawals
from medr1_pacs.records.withdrawals import REASON_MAX
from medr1_pacs.steps.asking_to_withdraw import Extent, withdraw_pseudonym, withdraw_study
from medr1_pacs.web.dependencies import ROW_ID_MAX, ResearchDatabase
from medr1_pacs.web.pages.templating import templates
from medr1_pacs.web.security.access import (
    Administrator,
    Custodian,
    NotFound,
    OperationsReader,
)

router = APIRouter()

_SHOWN = 200
WithdrawalId = Annotated[int, Path(ge=1, le=ROW_ID_MAX)]
Reason = Annotated[str, Form(max_length=REASON_MAX)]


@router.get("/operations/withdrawals", response_class=HTMLResponse)
def list_all(request: Request, caller: OperationsReader, database: ResearchDatabase) -> Response:
    """List the withdrawals of the whole site."""
    with database.read() as session:
        records = list_withdrawals(session, newest=_SHOWN)
    context = {"caller": caller, "records": records, "notice": None}
    return templates.TemplateResponse(request, "operations/withdrawals.html", context)


@router.get("/operations/withdrawals/{withdrawal_id}", response_class=HTMLResponse)
def show(
    request: Request,
    caller: OperationsReader,
    database: ResearchDatabase,
    withdrawal_id: WithdrawalId,
) -> Response:
    """Show the certificate of one withdrawal."""
    with database.read() as session:
        record = get_withdrawal(session, withdrawal_id)
    if record is None:
        raise NotFound(f"there is no withdrawal {withdrawal_id}")
    context = {"caller": caller, "record": record, "notice": None}
    return templates.TemplateResponse(request, "operations/withdrawal.html", context)


@router.post("/operations/studies/{study_instance_uid}/withdraw")
def withdraw(
    caller: Administrator,
    database: ResearchDatabase,
    study_instance_uid: str,
    reason: Reason = "",
    extent: Annotated[Extent, Form()] = Extent.STUDY,
    project: Annotated[str, Form(max_length=64)] = "",
) -> Response:
    """Ask that a study goes, or all of its patient's; from every project, or from one."""
    withdrawal_id = withdraw_study(
        database,
        study_instance_uid,
        extent,
        project=project or None,
        reason=reason,
        actor=caller.account,
    )
    return RedirectResponse(f"/operations/withdrawals/{withdrawal_id}", status_code=303)


@router.get("/projects/{project}/withdrawals", response_class=HTMLResponse)
def of_project(request: Request, access: Custodian, database: ResearchDatabase) -> Response:
    """Show a project's withdrawals, and the form for another."""
    with database.read() as session:
        records = list_withdrawals(session, project=access.project, newest=_SHOWN)
    context: dict[str, Any] = {"access": access, "records": records}
    return templates.TemplateResponse(request, "withdrawals.html", context)


@router.post("/projects/{project}/withdrawals")
def withdraw_from_project(
    access: Custodian,
    database: ResearchDatabase,
    pseudonym: Annotated[str, Form(max_length=64)] = "",
    reason: Reason = "",
) -> Response:
    """Ask that a patient or a study goes from the project, by its pseudonym there."""
    withdraw_pseudonym(
        database, access.project, pseudonym.strip(), reason=reason, actor=access.caller.account
    )
    return RedirectResponse(f"/projects/{quote(access.project)}/withdrawals", status_code=303)
