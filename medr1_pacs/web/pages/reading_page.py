"""The page on which a reader judges case after case; what it shows comes from `api/reading.py`."""

from __future__ import annotations

from urllib.parse import quote

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse

from medr1_pacs.db.reading_progress import list_protocols
from medr1_pacs.records.review_words import ReasoningError, ReviewFlag
from medr1_pacs.web.api.reading import PREFIX, InProtocol
from medr1_pacs.web.dependencies import ProtocolName, ProtocolVersion, ResearchDatabase
from medr1_pacs.web.pages.templating import templates
from medr1_pacs.web.security.access import CaseReader

router = APIRouter(prefix="/projects/{project}/reading")

FLAGS = {
    ReviewFlag.BAD_IMAGE: ("B", "Bad image"),
    ReviewFlag.WRONG_QUESTION: ("Q", "Wrong question"),
    ReviewFlag.TEXT_IN_IMAGE: ("T", "Text in the image"),
    ReviewFlag.HALLUCINATED_FINDING: ("H", "Hallucinated finding"),
}
"""Flag -> its key and what it is called; the last one is about the model's reasoning."""
ERRORS = {
    ReasoningError.NONE: ("None", "nothing is wrong with it"),
    ReasoningError.PERCEPTION: ("Perception", "it describes what is not there, or misses what is"),
    ReasoningError.LOCALIZATION: ("Localization", "it is there, and elsewhere"),
    ReasoningError.KNOWLEDGE: ("Knowledge", "it is seen rightly, and taken for something else"),
    ReasoningError.LOGIC: ("Logic", "the answer does not follow from what it says"),
    ReasoningError.OFF_TOPIC: ("Off topic", "it speaks of another question"),
}


@router.get("/{name}/{version}/read", response_class=HTMLResponse)
def show(
    request: Request,
    access: CaseReader,
    reader: InProtocol,
    database: ResearchDatabase,
    name: ProtocolName,
    version: ProtocolVersion,
) -> Response:
    """Show the page without a case: its scripts open the next one."""
    with database.read() as session:
        listed = list_protocols(
            session, access.project, account_id=reader.account_id, is_lead=False
        )
    [protocol] = [each for each in listed if each.protocol_id == reader.protocol_id]
    project = quote(access.project, safe="")
    context = {
        "access": access,
        "protocol": protocol,
        "api": PREFIX.format(project=project, name=name, version=version),
        "back": f"/projects/{project}/reading",
        "flags": FLAGS,
        "errors": ERRORS,
    }
    return templates.TemplateResponse(request, "reading.html", context)
