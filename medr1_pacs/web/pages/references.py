"""The truths of a project: what was brought, and the form to bring more."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, File, Form, Request, Response, UploadFile
from fastapi.responses import HTMLResponse

from medr1_pacs.db.references import list_imports
from medr1_pacs.db.sessions import Database
from medr1_pacs.errors import ReferenceRefused
from medr1_pacs.records.references import ReferenceReport
from medr1_pacs.records.words import Certainty, Role, TruthSource
from medr1_pacs.references import COLUMNS, STATED_BY_MAX
from medr1_pacs.steps.importing_references import (
    BroughtFile,
    LinesFaulty,
    check_references,
    import_references,
)
from medr1_pacs.web.dependencies import QuestionOptions, ResearchDatabase, Vault
from medr1_pacs.web.pages.templating import templates
from medr1_pacs.web.security.access import Custodian, ProjectAccess, ReferenceReader

router = APIRouter(prefix="/projects/{project}/references")

UPLOAD_MAX_BYTES = 32 << 20
NUMBERS_SHOWN = 200
"""Numbers of lines that are shown of a fault."""


@router.get("", response_class=HTMLResponse)
def list_all(request: Request, access: ReferenceReader, database: ResearchDatabase) -> Response:
    """Show the files of truths that were brought."""
    return _show(request, access, database)


@router.post("", response_class=HTMLResponse)
def bring(
    request: Request,
    access: Custodian,
    database: ResearchDatabase,
    vault: Vault,
    options: QuestionOptions,
    file: Annotated[UploadFile, File()],
    do: Annotated[str, Form(pattern="^(check|import)$")],
    source: Annotated[TruthSource, Form()] = TruthSource.IMPORT,
    certainty: Annotated[str, Form()] = "",
    stated_by: Annotated[str, Form(max_length=STATED_BY_MAX)] = "",
    leave_out_faulty: Annotated[bool, Form()] = False,
) -> Response:
    """Import a file of truths, or say what that would do."""
    try:
        brought = BroughtFile(
            data=_read(file),
            project=access.project,
            source=source,
            certainty=_certainty(certainty),
            stated_by=stated_by.strip(),
        )
        if do == "check":
            report = check_references(database, vault, brought, options)
            return _show(request, access, database, report=report, message="Nothing was written.")
        report = import_references(
            database,
            vault,
            brought,
            options,
            actor=access.caller.account,
            leave_out_faulty=leave_out_faulty,
        )
    except LinesFaulty as error:
        return _show(request, access, database, report=error.report, refusal=str(error))
    except ReferenceRefused as error:
        return _show(request, access, database, refusal=str(error))
    return _show(request, access, database, report=report, message="The file was imported.")


def _read(file: UploadFile) -> bytes:
    if file.size is None or file.size > UPLOAD_MAX_BYTES:
        raise ReferenceRefused(
            f"a file that is sent here has at most {UPLOAD_MAX_BYTES >> 20} MiB: divide it, or "
            "have it imported on the service's machine by medr1-pacs reference import"
        )
    return file.file.read()


def _certainty(text: str) -> Certainty | None:
    if text not in ("", *Certainty):
        raise ReferenceRefused(f"the certainty is one of {', '.join(Certainty)}")
    return Certainty(text) if text else None


def _show(
    request: Request,
    access: ProjectAccess,
    database: Database,
    *,
    report: ReferenceReport | None = None,
    message: str = "",
    refusal: str = "",
) -> Response:
    with database.read() as session:
        imports = list_imports(session, access.project)
    context = {
        "access": access,
        "imports": imports,
        "may_bring": access.caller.has_role(access.project, Role.CUSTODIAN),
        "report": report,
        "message": message,
        "refusal": refusal,
        "numbers_shown": NUMBERS_SHOWN,
        "columns": COLUMNS,
        "sources": list(TruthSource),
        "certainties": list(Certainty),
        "stated_by_max": STATED_BY_MAX,
        "upload_max_mib": UPLOAD_MAX_BYTES >> 20,
    }
    status = 422 if refusal else 200
    return templates.TemplateResponse(request, "references.html", context, status_code=status)
