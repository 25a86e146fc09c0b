"""A project's exports: asked for here, carried out by the sweep, downloaded here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Form, Path, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from medr1_pacs.db.project_exports import find_export, list_exports, tell_download
from medr1_pacs.db.sessions import Database
from medr1_pacs.records.project_exports import ProjectExport
from medr1_pacs.records.words import ExportState, Role, TableFormat
from medr1_pacs.steps.asking_for_exports import ask_for_export, remove_asked_export
from medr1_pacs.steps.carrying_out_exports import KEPT
from medr1_pacs.web.asked_filters import Filters
from medr1_pacs.web.dependencies import ROW_ID_MAX, Exports, ResearchDatabase
from medr1_pacs.web.downloads import download_folder
from medr1_pacs.web.pages.answers import LABELS, chosen_filters, encode
from medr1_pacs.web.pages.templating import templates
from medr1_pacs.web.security.access import (
    Exporting,
    ExportReader,
    NotAllowed,
    NotFound,
    ProjectAccess,
)

router = APIRouter(prefix="/projects/{project}")

_SHOWN = 100
ExportId = Annotated[int, Path(ge=1, le=ROW_ID_MAX)]


@router.get("/exports", response_class=HTMLResponse)
def list_all(
    request: Request, access: ExportReader, database: ResearchDatabase, filters: Filters
) -> Response:
    """Show the project's exports, and the form for another of what the filters find."""
    context = _context(access, database) | {
        "filters": filters,
        "query": encode(filters),
        "chosen": chosen_filters(filters),
        "formats": list(TableFormat),
    }
    return templates.TemplateResponse(request, "exports.html", context)


@router.get("/fragments/exports", response_class=HTMLResponse)
def list_fragment(request: Request, access: ExportReader, database: ResearchDatabase) -> Response:
    """Show the exports, for the page that has them already."""
    return templates.TemplateResponse(request, "_exports.html", _context(access, database))


@router.post("/exports")
def ask(
    access: Exporting,
    database: ResearchDatabase,
    filters: Filters,
    formats: Annotated[list[TableFormat], Form(default_factory=list)],
    is_everything: Annotated[bool, Form()] = False,
    as_of: Annotated[str, Form(pattern=r"^\s*\d{0,18}\s*$")] = "",
    has_pictures: Annotated[bool, Form()] = False,
) -> Response:
    """Ask for an export of what the filters of the URL find, or of everything."""
    ask_for_export(
        database,
        access.project,
        filters,
        is_everything=is_everything,
        formats=formats,
        as_of=int(as_of) if as_of.strip() else None,
        has_pictures=has_pictures,
        actor=access.caller.account,
    )
    return _back(access)


@router.get("/exports/{export_id}/export.zip")
def download(
    access: Exporting, database: ResearchDatabase, exports: Exports, export_id: ExportId
) -> Response:
    """Stream a finished export as one file; that somebody does is noted before its first byte."""
    export = _find(access, database, export_id)
    if export.state is not ExportState.FINISHED or export.folder is None:
        raise NotFound("this export has no files: they are not there yet, or not any more")
    folder = exports.path(export.folder, export.name)
    if not folder.is_dir():
        raise NotFound("the files of this export are not there any more: ask for another one")
    with database.write() as session:
        tell_download(session, access.project, export_id, actor=access.caller.account)
    return download_folder(folder)


@router.post("/exports/{export_id}/remove")
def remove(access: ExportReader, database: ResearchDatabase, export_id: ExportId) -> Response:
    """Remove an export before its time."""
    export = _find(access, database, export_id)
    if not _may_remove(access, export):
        raise NotAllowed("an export is removed by who asked for it, or by a custodian")
    remove_asked_export(database, export, actor=access.caller.account)
    return _back(access)


def _context(access: ProjectAccess, database: Database) -> dict[str, Any]:
    with database.read() as session:
        exports = list_exports(session, access.project, newest=_SHOWN)
    may_read = access.caller.has_role(access.project, Role.RESEARCHER, Role.AUDITOR)
    return {
        "access": access,
        "rows": [(export, say_wish(export), _may_remove(access, export)) for export in exports],
        "is_busy": any(export.is_unfinished for export in exports),
        "may_read": may_read,
        "kept": KEPT,
    }


def _may_remove(access: ProjectAccess, export: ProjectExport) -> bool:
    is_custodian = access.caller.has_role(access.project, Role.CUSTODIAN)
    return is_custodian or export.requested_by == access.caller.account


def say_wish(export: ProjectExport) -> str:
    """Return in words which answers are meant."""
    wish = export.wish
    if wish.is_everything:
        return "everything, also earlier, control and demo answers"
    return say_filters(wish.filters) or "every current answer"


def say_filters(filters: Mapping[str, Sequence[str]]) -> str:
    """Return filters in words; empty where there are none."""
    return "; ".join(
        f"{LABELS.get(name, name.replace('_', ' '))}: {' or '.join(given)}"
        for name, given in filters.items()
    )


def _find(access: ProjectAccess, database: Database, export_id: int) -> ProjectExport:
    with database.read() as session:
        export = find_export(session, access.project, export_id)
    if export is None:
        raise NotFound(f"the project has no export {export_id}")
    return export


def _back(access: ProjectAccess) -> Response:
    return RedirectResponse(f"/projects/{quote(access.project)}/exports", status_code=303)
