"""Where each study is, why it waits, what failed and why: pages for who keeps the service running.

What is shown is of the whole site, and names no patient. A form that changed something leads back
by 303, with a notice of a closed set: text in a URL could be anybody's.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Form, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from medr1_pacs.db.associations import list_refused_contexts
from medr1_pacs.db.instances import accept_held, refuse_held
from medr1_pacs.db.operations import (
    COUNTED_STUDIES,
    DETAILS_MAX,
    find_study_detail,
    list_study_page,
)
from medr1_pacs.db.quarantine import list_quarantined
from medr1_pacs.db.queues import get_status
from medr1_pacs.db.reading import has_viewed_study, record_study
from medr1_pacs.db.sessions import Database
from medr1_pacs.db.studies import retry_failed
from medr1_pacs.db.taking import TOMBSTONE
from medr1_pacs.errors import (
    InstanceDamaged,
    NotInQuarantine,
    StillInBacklog,
    StorageFull,
    StorageUnavailable,
    StudyNotReceiving,
)
from medr1_pacs.part10 import is_uid
from medr1_pacs.processes import SILENT_S
from medr1_pacs.records.operating import (
    COUNTED_MAX,
    MATTERS_MAX,
    OperationsStatus,
    StudyQuery,
    StudyRow,
    StudySort,
)
from medr1_pacs.records.people import Caller
from medr1_pacs.records.words import Modality, StudyState
from medr1_pacs.steps import quarantine
from medr1_pacs.steps.completing import complete_study
from medr1_pacs.storage.instances import InstanceStore
from medr1_pacs.waiting import explain_waiting
from medr1_pacs.web.api.refusals import refusals
from medr1_pacs.web.dependencies import Instances, ResearchDatabase, Site
from medr1_pacs.web.pages.study_table import PAGE_MAX, column_heads, link_to, parse_query
from medr1_pacs.web.pages.templating import templates
from medr1_pacs.web.security.access import Administrator, NotFound, OperationsReader

router = APIRouter()

_QUARANTINE_SHOWN = 500
_NOTICES = {
    "retried": "The failed work of this study is tried again.",
    "complete": "The study is complete; the sweep plans what to ask.",
    "accepted": "The instance is the current one; its study is asked again where it differs.",
    "refused": "The instance is refused; its file is kept.",
    "reading": "The file is back in the backlog; the sweep reads it anew.",
    "dropped": "The file is deleted; its row stays and says why.",
}


# -- looking -----------------------------------------------------------------------------------


@router.get("/operations", response_class=HTMLResponse)
def operations(
    request: Request,
    caller: OperationsReader,
    database: ResearchDatabase,
    instances: Instances,
    site: Site,
) -> Response:
    """Show what waits, who works, and the studies."""
    query, now = parse_query(request.query_params), datetime.now(UTC)
    status = _status(database, instances, now)
    with database.read() as session:
        page = list_study_page(session, query, now)
    return _render(
        request,
        caller,
        "operations/index.html",
        **_status_context(status, now),
        query=query,
        rows=[
            (row, explain_waiting(row, now=now, quiet_s=site.study_quiet_s)) for row in page.rows
        ],
        heads=column_heads(query),
        earlier=link_to(replace(query, page=query.page - 1)) if query.page > 1 else None,
        later=link_to(replace(query, page=query.page + 1))
        if page.has_more and query.page < PAGE_MAX
        else None,
        study_states=list(StudyState),
        modalities=list(Modality),
        counted_studies=COUNTED_STUDIES,
    )


@router.get("/operations/fragments/status", response_class=HTMLResponse)
def status_fragment(
    request: Request, caller: OperationsReader, database: ResearchDatabase, instances: Instances
) -> Response:
    """Show what waits and who works, for the page that has it already."""
    now = datetime.now(UTC)
    context = _status_context(_status(database, instances, now), now)
    return _render(request, caller, "operations/_status.html", **context)


@router.get("/operations/studies/{study_instance_uid}", response_class=HTMLResponse)
def study(
    request: Request,
    caller: OperationsReader,
    database: ResearchDatabase,
    site: Site,
    study_instance_uid: str,
) -> Response:
    """Show one study in detail."""
    context = _study_context(database, site.study_quiet_s, study_instance_uid)
    record_study(database, context["study"].row_id, actor=caller.account)
    if caller.is_blinded():  # what happened to a study tells of its answers
        context["study"] = replace(context["study"], events=())
    return _render(request, caller, "operations/study.html", **context)


@router.get("/operations/fragments/studies/{study_instance_uid}", response_class=HTMLResponse)
def study_fragment(
    request: Request,
    caller: OperationsReader,
    database: ResearchDatabase,
    site: Site,
    study_instance_uid: str,
) -> Response:
    """Show where one study is, for the page that has it already."""
    context = _study_context(database, site.study_quiet_s, study_instance_uid)
    row_id = context["study"].row_id
    with database.read() as session:
        is_shown_again = has_viewed_study(session, row_id, actor=caller.account)
    if not is_shown_again:
        record_study(database, row_id, actor=caller.account)
    return _render(request, caller, "operations/_study.html", **context)


@router.get("/operations/quarantine", response_class=HTMLResponse)
def quarantined(request: Request, caller: OperationsReader, database: ResearchDatabase) -> Response:
    """List what cannot be used."""
    with database.read() as session:
        rows = list_quarantined(session, limit=_QUARANTINE_SHOWN + 1)
    return _render(
        request,
        caller,
        "operations/quarantine.html",
        rows=rows[:_QUARANTINE_SHOWN],
        has_more=len(rows) > _QUARANTINE_SHOWN,
    )


@router.get("/operations/quarantine/{stored_name}", response_class=HTMLResponse)
def quarantined_file(
    request: Request,
    caller: OperationsReader,
    database: ResearchDatabase,
    instances: Instances,
    stored_name: str,
) -> Response:
    """Show one file in quarantine, or that was there."""
    try:
        file = quarantine.describe(instances, database, stored_name)
    except NotInQuarantine as error:
        raise NotFound(str(error)) from error
    return _render(request, caller, "operations/quarantined.html", file=file, record=file.record)


@router.get("/operations/refused", response_class=HTMLResponse)
def refused(request: Request, caller: OperationsReader, database: ResearchDatabase) -> Response:
    """List what senders asked for and were not given."""
    with database.read() as session:
        rows = list_refused_contexts(session)
    return _render(request, caller, "operations/refused.html", rows=rows)


# -- deciding ----------------------------------------------------------------------------------


@router.post("/operations/studies/{study_instance_uid}/retry")
def retry_study(
    request: Request, caller: Administrator, database: ResearchDatabase, study_instance_uid: str
) -> Response:
    """Give the failed work of a study its attempts back."""
    page = _study_path(study_instance_uid)
    with database.write() as session:
        is_done = retry_failed(session, study_instance_uid, actor=caller.account)
    if not is_done:
        return _problem(request, caller, "The study has not failed.", page)
    return _back(page, "retried")


@router.post("/operations/studies/{study_instance_uid}/complete")
def complete(
    request: Request, caller: Administrator, database: ResearchDatabase, study_instance_uid: str
) -> Response:
    """Call a study complete before its time."""
    page = _study_path(study_instance_uid)
    try:
        complete_study(database, study_instance_uid, actor=caller.account)
    except StudyNotReceiving as error:
        return _problem(request, caller, str(error), page)
    return _back(page, "complete")


@router.post("/operations/studies/{study_instance_uid}/instances/{sop_instance_uid}/accept")
def accept_instance(
    request: Request,
    caller: Administrator,
    database: ResearchDatabase,
    site: Site,
    study_instance_uid: str,
    sop_instance_uid: str,
) -> Response:
    """Let a held instance be the current one."""
    page, now = _study_path(study_instance_uid), datetime.now(UTC)
    with database.write() as session:
        is_done = accept_held(
            session, sop_instance_uid, site.project_rules, now, actor=caller.account
        )
    return _back(page, "accepted") if is_done else _not_held(request, caller, page)


@router.post("/operations/studies/{study_instance_uid}/instances/{sop_instance_uid}/refuse")
def refuse_instance(
    request: Request,
    caller: Administrator,
    database: ResearchDatabase,
    study_instance_uid: str,
    sop_instance_uid: str,
) -> Response:
    """Let a held instance supersede nothing."""
    page = _study_path(study_instance_uid)
    with database.write() as session:
        is_done = refuse_held(session, sop_instance_uid, actor=caller.account)
    return _back(page, "refused") if is_done else _not_held(request, caller, page)


@router.post("/operations/quarantine/{stored_name}/retry")
def retry_quarantined(
    request: Request,
    caller: Administrator,
    database: ResearchDatabase,
    instances: Instances,
    stored_name: str,
) -> Response:
    """Have a file in quarantine read anew."""
    page = f"/operations/quarantine/{stored_name}"
    try:
        quarantine.retry(instances, database, stored_name, actor=caller.account)
    except (NotInQuarantine, InstanceDamaged, StorageFull, StorageUnavailable) as error:
        return _problem(request, caller, str(error), "/operations/quarantine")
    return _back(page, "reading")


@router.post("/operations/quarantine/{stored_name}/drop")
def drop_quarantined(
    request: Request,
    caller: Administrator,
    database: ResearchDatabase,
    instances: Instances,
    stored_name: str,
    reason: Annotated[str, Form(max_length=1000)] = "",
) -> Response:
    """Delete the bytes of a file in quarantine."""
    page = f"/operations/quarantine/{stored_name}"
    if not (reason := reason.strip()):
        return _problem(request, caller, "Say why the file may go.", page, status_code=422)
    try:
        quarantine.drop(instances, database, stored_name, actor=caller.account, reason=reason)
    except (NotInQuarantine, StillInBacklog, StorageUnavailable) as error:
        return _problem(request, caller, str(error), "/operations/quarantine")
    return _back(page, "dropped")


# -- for programs ------------------------------------------------------------------------------


@router.get("/api/v1/operations/studies", tags=["operations"], responses=refusals(403, 422))
def api_studies(
    caller: OperationsReader,
    database: ResearchDatabase,
    site: Site,
    search: Annotated[str, Query(max_length=64)] = "",
    state: StudyState | None = None,
    modality: Modality | None = None,
    sort: StudySort = StudySort.RECEIVED,
    is_ascending: bool = False,
    page: Annotated[int, Query(ge=1, le=PAGE_MAX)] = 1,
) -> dict[str, Any]:
    """Return a page of studies, each with why it waits."""
    query = StudyQuery(search, state, modality, sort, is_ascending, page)
    now = datetime.now(UTC)
    with database.read() as session:
        found = list_study_page(session, query, now)
    return {
        "studies": [_study_json(row, now, site.study_quiet_s) for row in found.rows],
        "page": page,
        "has_more": found.has_more,
    }


@router.get("/api/v1/operations/status", tags=["operations"], responses=refusals(403))
def api_status(
    caller: OperationsReader, database: ResearchDatabase, instances: Instances
) -> dict[str, Any]:
    """Return what waits and who works."""
    now = datetime.now(UTC)
    status = _status(database, instances, now)
    body, living = asdict(status), _living(status, now)
    for worker in body["workers"]:
        worker["is_living"] = worker["name"] in living
    return body


def _study_json(row: StudyRow, now: datetime, quiet_s: float) -> dict[str, Any]:
    return asdict(row) | {"waiting": explain_waiting(row, now=now, quiet_s=quiet_s)}


# -- what they share ---------------------------------------------------------------------------


def _status(database: Database, instances: InstanceStore, now: datetime) -> OperationsStatus:
    try:
        backlog = instances.backlog()
    except StorageUnavailable:
        backlog = None
    with database.read() as session:
        return get_status(session, now, backlog=backlog)


def _status_context(status: OperationsStatus, now: datetime) -> dict[str, Any]:
    return {
        "status": status,
        "now": now,
        "living": _living(status, now),
        "counted_max": COUNTED_MAX,
        "matters_max": MATTERS_MAX,
    }


def _living(status: OperationsStatus, now: datetime) -> set[str]:
    since = now - timedelta(seconds=SILENT_S)
    return {worker.name for worker in status.workers if worker.heartbeat_at >= since}


def _study_context(database: Database, quiet_s: float, study_instance_uid: str) -> dict[str, Any]:
    now = datetime.now(UTC)
    if not (is_uid(study_instance_uid) or study_instance_uid.startswith(TOMBSTONE)):
        raise NotFound("this is no Study Instance UID")
    with database.read() as session:
        detail = find_study_detail(session, study_instance_uid, now)
    if detail is None:
        raise NotFound(f"no study {study_instance_uid} was received")
    waiting = explain_waiting(detail.row, now=now, quiet_s=quiet_s)
    return {
        "study": detail,
        "row": detail.row,
        "waiting": waiting,
        "now": now,
        "details_max": DETAILS_MAX,
    }


def _study_path(study_instance_uid: str) -> str:
    if not is_uid(study_instance_uid):
        raise NotFound("this is no Study Instance UID")
    return f"/operations/studies/{study_instance_uid}"


def _back(page: str, notice: str) -> Response:
    return RedirectResponse(f"{page}?notice={notice}", status_code=303)


def _not_held(request: Request, caller: Caller, page: str) -> Response:
    return _problem(request, caller, "The instance is not held any more.", page)


def _problem(
    request: Request, caller: Caller, sentence: str, page: str, *, status_code: int = 409
) -> Response:
    return _render(
        request,
        caller,
        "operations/problem.html",
        status_code=status_code,
        sentence=sentence,
        page=page,
    )


def _render(
    request: Request, caller: Caller, template: str, *, status_code: int = 200, **context: Any
) -> Response:
    notice = _NOTICES.get(request.query_params.get("notice", ""))
    context |= {"caller": caller, "notice": notice}
    return templates.TemplateResponse(request, template, context, status_code=status_code)
