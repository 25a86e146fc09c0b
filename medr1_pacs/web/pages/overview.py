"""The latest studies and answers."""

from __future__ import annotations

from itertools import islice

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse

from medr1_pacs.db.answers import iterate_answers
from medr1_pacs.db.overview import list_open_matters, list_studies
from medr1_pacs.part10 import is_uid
from medr1_pacs.web.dependencies import ResearchDatabase
from medr1_pacs.web.pages.templating import templates
from medr1_pacs.web.security.access import OperationsReader

router = APIRouter()

_ROWS_A_PAGE = 200


@router.get("/", response_class=HTMLResponse)
def overview(
    request: Request, caller: OperationsReader, database: ResearchDatabase, study: str | None = None
) -> Response:
    """Show the latest studies, and the latest answers of all or of one."""
    if study is not None and not is_uid(study):
        study = None
    with database.read() as session:
        studies = list_studies(session, newest=_ROWS_A_PAGE + 1)
        found = iterate_answers(session, study_instance_uid=study, newest_first=True)
        answers = list(islice(found, _ROWS_A_PAGE + 1))
        matters = list_open_matters(session)
    context = {
        "studies": studies[:_ROWS_A_PAGE],
        "has_more_studies": len(studies) > _ROWS_A_PAGE,
        "answers": answers[:_ROWS_A_PAGE],
        "has_more_answers": len(answers) > _ROWS_A_PAGE,
        "study": study,
        "matters": matters,
    }
    return templates.TemplateResponse(request, "overview.html", context)
