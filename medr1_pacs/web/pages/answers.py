"""A project's answers: the list with its filters and counts, one answer, and downloads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse, StreamingResponse

from medr1_pacs.db.reading import record_answer, record_query
from medr1_pacs.db.research import (
    count_facets,
    find_page,
    get_research_answer,
    iterate_found,
    list_history,
)
from medr1_pacs.filters import UNKNOWN, AnswerFilters
from medr1_pacs.records.dictionary import describe_fields
from medr1_pacs.records.reading import How
from medr1_pacs.records.research import FIELDS, FacetCounts, Page, ResearchAnswer
from medr1_pacs.records.words import Role
from medr1_pacs.web.asked_filters import Filters
from medr1_pacs.web.dependencies import ROW_ID_MAX, AnswerId, Pictures, ResearchDatabase
from medr1_pacs.web.downloads import Format, download
from medr1_pacs.web.pages.templating import templates
from medr1_pacs.web.pictures import picture_response
from medr1_pacs.web.security.access import Research

router = APIRouter(prefix="/projects/{project}")

ROWS_A_PAGE = 50
VALUES_SHOWN = 12
"""Values of a facet that are listed at once; the others unfold."""
LABELS = {
    "modality": "Modality",
    "anatomy": "Anatomy",
    "question": "Question",
    "task": "Task",
    "checkpoint": "Checkpoint",
    "choice": "Choice",
    "truth": "Truth",
    "parse_status": "Parse status",
    "coverage": "Coverage",
    "scanner": "Scanner",
    "year": "Year of study",
    "sex": "Sex",
    "age_band": "Age",
}
_ROW_ID = Query(ge=0, le=ROW_ID_MAX)


@dataclass(frozen=True, slots=True)
class FacetValue:
    """A value that answers have, and where a click on it leads: to it, or away from it."""

    label: str
    number: int
    query: str
    is_chosen: bool


@dataclass(frozen=True, slots=True)
class Facet:
    """What answers are counted by."""

    name: str
    label: str
    values: Sequence[FacetValue]

    @property
    def is_chosen(self) -> bool:
        return any(value.is_chosen for value in self.values)


@router.get("/answers", response_class=HTMLResponse)
def list_answers(
    request: Request,
    access: Research,
    database: ResearchDatabase,
    filters: Filters,
    before: Annotated[int | None, _ROW_ID] = None,
    after: Annotated[int | None, _ROW_ID] = None,
    end: bool = False,
) -> Response:
    """Show a page of answers, the newest first, beside the counts of all that are found."""
    record_query(database, access.project, filters, How.PAGE, actor=access.caller.account)
    with database.read() as session:
        page = find_page(
            session,
            access.project,
            filters,
            limit=ROWS_A_PAGE,
            before=before,
            after=after,
            from_the_end=end,
        )
        counts = count_facets(session, access.project, filters)
    context = {
        "access": access,
        "filters": filters,
        "page": page,
        "pager": _pager(filters, page),
        "total": counts.total,
        "facets": build_facets(filters, counts),
        "values_shown": VALUES_SHOWN,
        "chosen": chosen_filters(filters),
        "query": encode(filters),
        "without_words": replace(filters, words="", since="", until="").to_query(),
        "may_cite": access.caller.has_role(access.project, Role.RESEARCHER),
        "demo_query": encode(replace(filters, demo="yes")),
    }
    return templates.TemplateResponse(request, "answers.html", context)


@router.get("/answers.{output}")
def download_answers(
    access: Research, database: ResearchDatabase, filters: Filters, output: Format
) -> StreamingResponse:
    """Stream all answers that are found as a file."""
    record_query(database, access.project, filters, How(output), actor=access.caller.account)
    rows = (answer.to_json() for answer in iterate_found(database, access.project, filters))
    return download(rows, FIELDS, output, f"answers-{access.project}")


@router.get("/answers/{answer_id}", response_class=HTMLResponse)
def show_answer(
    request: Request, access: Research, database: ResearchDatabase, answer_id: AnswerId
) -> Response:
    """Show one answer with everything that made it."""
    with database.read() as session:
        answer = get_research_answer(session, access.project, answer_id)
        history = list_history(session, answer_id)
    record_answer(database, access.project, answer_id, How.PAGE, actor=access.caller.account)
    context = {
        "access": access,
        "answer": answer,
        "history": history,
        "meanings": {entry.name: entry.meaning for entry in describe_fields(ResearchAnswer)},
        "provenance": _provenance(answer),
    }
    return templates.TemplateResponse(request, "answer.html", context)


@router.get("/answers/{answer_id}/picture.png")
def show_picture(
    access: Research, database: ResearchDatabase, pictures: Pictures, answer_id: AnswerId
) -> Response:
    """Return the picture as the model saw it, which is a part of the page that shows it."""
    with database.read() as session:
        answer = get_research_answer(session, access.project, answer_id)
    return picture_response(database, pictures, answer.png_sha256)


@router.get("/dictionary", response_class=HTMLResponse)
def show_dictionary(request: Request, access: Research) -> Response:
    """Show what each field of an answer is."""
    context = {"access": access, "entries": describe_fields(ResearchAnswer)}
    return templates.TemplateResponse(request, "dictionary.html", context)


def encode(filters: AnswerFilters, **more: object) -> str:
    """Return filters as the query of a URL, with its question mark; a tuple is several values."""
    pairs = [(name, value) for name, given in filters.to_query().items() for value in given]
    for name, value in more.items():
        pairs += [(name, str(each)) for each in (value if isinstance(value, tuple) else (value,))]
    return f"?{urlencode(pairs)}" if pairs else "?"


def build_facets(filters: AnswerFilters, counts: FacetCounts) -> list[Facet]:
    """Return the facets of what was found, each value with the query that adds or removes it."""
    facets = []
    for name, label in LABELS.items():
        chosen = getattr(filters, name)
        values = []
        for text, number in counts.values[name]:
            value = text or UNKNOWN
            is_chosen = value in chosen
            other = (filters.without_value if is_chosen else filters.with_value)(name, value)
            values.append(FacetValue(text or "not known", number, encode(other), is_chosen))
        facets.append(Facet(name, label, values))
    return facets


def chosen_filters(filters: AnswerFilters, **more: object) -> list[tuple[str, str, str]]:
    """Return (filter, value, query without it) of what narrows the list down."""
    return [
        (LABELS.get(name, name), value, encode(filters.without_value(name, value), **more))
        for name, given in filters.to_query().items()
        for value in given
    ]


def _pager(filters: AnswerFilters, page: Page) -> dict[str, str]:
    """Return the queries of the pages that there are around this one."""
    pager = {}
    if page.has_newer and page.answers:
        pager["first"] = encode(filters)
        pager["newer"] = encode(filters, after=page.answers[0].answer_id)
    if page.has_older and page.answers:
        pager["older"] = encode(filters, before=page.answers[-1].answer_id)
        pager["last"] = encode(filters, end="true")
    return pager


_SHOWN_ABOVE = frozenset(
    {"prompt_text", "options", "reasoning", "raw_output", "chat_text", "project", "versions"}
)


def _provenance(answer: ResearchAnswer) -> list[tuple[str, str]]:
    """Return the fields that are not shown elsewhere, as texts."""
    values = answer.to_json()
    shown = [(name, value) for name, value in values.items() if name not in _SHOWN_ABOVE]
    shown += [(f"versions.{name}", value) for name, value in answer.versions.items()]
    return [(name, _text(value)) for name, value in shown]


def _text(value: object) -> str:
    if value is None or value == "":
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(each)}" for key, each in value.items())
    return str(value)
