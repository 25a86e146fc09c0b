"""How often a project's answers are right: as a figure, as a table, and to download."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, StreamingResponse

from medr1_pacs.db.reading import record_accuracy
from medr1_pacs.filters import UNKNOWN, AnswerFilters, Known
from medr1_pacs.records.accuracy import (
    DEFAULT_GROUPING,
    FIGURES,
    UNIT,
    AccuracyRow,
    Grouping,
)
from medr1_pacs.records.reading import How
from medr1_pacs.records.words import Correctness
from medr1_pacs.statistics import FEW_PATIENTS, IntervalMethod
from medr1_pacs.steps.estimating import estimate
from medr1_pacs.web.asked_filters import Filters, GroupedBy
from medr1_pacs.web.dependencies import ResearchDatabase
from medr1_pacs.web.downloads import Format, download
from medr1_pacs.web.pages.answers import LABELS, chosen_filters, encode
from medr1_pacs.web.pages.templating import templates
from medr1_pacs.web.pages.whiskers import PlottedShare, plot
from medr1_pacs.web.security.access import Research

router = APIRouter(prefix="/projects/{project}")

ROWS_MAX = 200
"""Groups that the page shows; the file has them all."""
_OFFERED: Sequence[tuple[Grouping, ...]] = (
    DEFAULT_GROUPING,
    *((grouping,) for grouping in Grouping if grouping is not Grouping.OVERALL),
    (),
)


@dataclass(frozen=True, slots=True)
class ShownRow:
    """A group on the page, and where its answers are."""

    labels: tuple[str, ...]
    row: AccuracyRow
    method: str
    known: str
    """Query of the answers that are counted."""
    unknown: str
    """Query of those beside them."""


@router.get("/accuracy", response_class=HTMLResponse)
def show_accuracy(
    request: Request, access: Research, database: ResearchDatabase, filters: Filters, by: GroupedBy
) -> Response:
    """Show how often the answers that are found are right, group by group."""
    record_accuracy(database, access.project, filters, by, How.PAGE, actor=access.caller.account)
    found = estimate(database, access.project, filters, by)
    rows = [_shown(filters, row) for row in islice(found, ROWS_MAX)]
    context = {
        "access": access,
        "by": [_label(grouping) for grouping in by],
        "rows": rows,
        "has_more": next(found, None) is not None,
        "plot": plot(PlottedShare(each.labels, each.row) for each in rows),
        "unit": UNIT,
        "few_patients": FEW_PATIENTS,
        "groupings": [
            (
                " and ".join(map(_label, each)).capitalize() or "Overall",
                _query(filters, each),
                each == by,
            )
            for each in _OFFERED
        ],
        "chosen": chosen_filters(filters, by=_said(by)),
        "chooses_by_outcome": bool(filters.truth or filters.choice or filters.parse_status),
        "is_without_demo": filters.demo == "no",
        "demo_query": _query(replace(filters, demo="yes"), by),
        "all_query": _query(AnswerFilters(), by),
        "query": _query(filters, by),
        "answers_query": encode(filters),
    }
    return templates.TemplateResponse(request, "accuracy.html", context)


@router.get("/accuracy.csv")
def download_accuracy(
    access: Research, database: ResearchDatabase, filters: Filters, by: GroupedBy
) -> StreamingResponse:
    """Stream a row a group; shares are 0 to 1."""
    record_accuracy(database, access.project, filters, by, How.CSV, actor=access.caller.account)
    rows = (row.to_json() for row in estimate(database, access.project, filters, by))
    columns = [*(grouping.value for grouping in by), *FIGURES]
    return download(rows, columns, Format.CSV, f"accuracy-{access.project}")


def _shown(filters: AnswerFilters, row: AccuracyRow) -> ShownRow:
    group = {name: (value or UNKNOWN,) for name, value in row.by.items()}
    found = replace(filters, **group)  # type: ignore[arg-type] # - groupings are such filters
    return ShownRow(
        labels=tuple(value or "not known" for value in row.by.values()) or ("all answers",),
        row=row,
        method=IntervalMethod(row.method).sentence if row.method else "–",
        known=encode(replace(found, truth=_known(filters))),
        unknown=encode(replace(found, truth=(Correctness.UNKNOWN.value,))),
    )


def _known(filters: AnswerFilters) -> tuple[str, ...]:
    """Return what `truth` says of the answers that are counted: nothing of unknown ones."""
    unknown = Correctness.UNKNOWN.value
    return tuple(each for each in filters.truth if each != unknown) or (Known.KNOWN.value,)


def _label(grouping: Grouping) -> str:
    return LABELS[grouping.value]


def _said(by: tuple[Grouping, ...]) -> tuple[str, ...]:
    """Return a grouping as a URL says it; nothing is the default one."""
    if by == DEFAULT_GROUPING:
        return ()
    return tuple(grouping.value for grouping in by) or (Grouping.OVERALL.value,)


def _query(filters: AnswerFilters, by: tuple[Grouping, ...]) -> str:
    return encode(filters, by=_said(by))
