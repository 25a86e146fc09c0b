"""The table of studies in the URL: its filters, its order, its page. Pure: text in, links out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeVar
from urllib.parse import urlencode

from medr1_pacs.records.operating import StudyQuery, StudySort
from medr1_pacs.records.words import Modality, StudyState

PATH = "/operations"
PAGE_MAX = 10_000
_SEARCH_MAX = 64  # a UID has no more characters

_Word = TypeVar("_Word", bound=StrEnum)


@dataclass(frozen=True, slots=True)
class ColumnHead:
    """A column that can be sorted by."""

    label: str
    href: str
    aria_sort: str
    """`ascending`, `descending`, or `none`."""
    is_number: bool


def parse_query(parameters: Mapping[str, str]) -> StudyQuery:
    """Read a query; what a form leaves empty, or nobody could have chosen, is left out."""
    page = parameters.get("page", "")
    return StudyQuery(
        search=parameters.get("search", "").strip()[:_SEARCH_MAX],
        state=_word(StudyState, parameters.get("state")),
        modality=_word(Modality, parameters.get("modality")),
        sort=_word(StudySort, parameters.get("sort")) or StudySort.RECEIVED,
        is_ascending=parameters.get("order") == "ascending",
        page=min(max(int(page), 1), PAGE_MAX) if page.isdecimal() and page.isascii() else 1,
    )


def _word(words: type[_Word], text: str | None) -> _Word | None:
    return words(text) if text in set(words) else None


def link_to(query: StudyQuery) -> str:
    """Return the URL of a query, with what is not as it is by default."""
    values = {
        "search": query.search,
        "state": query.state or "",
        "modality": query.modality or "",
        "sort": "" if query.sort is StudySort.RECEIVED else query.sort,
        "order": "ascending" if query.is_ascending else "",
        "page": str(query.page) if query.page > 1 else "",
    }
    text = urlencode({key: value for key, value in values.items() if value})
    return f"{PATH}?{text}" if text else PATH


def column_heads(query: StudyQuery) -> dict[StudySort, ColumnHead]:
    """Return the heads that sort; that of the order at hand turns it round."""
    labels = {
        StudySort.STATE: "State",
        StudySort.INSTANCES: "Instances",
        StudySort.ANSWERS: "Answers",
        StudySort.RECEIVED: "Last received",
    }
    return {sort: _head(query, sort, label) for sort, label in labels.items()}


def _head(query: StudyQuery, sort: StudySort, label: str) -> ColumnHead:
    is_chosen = query.sort is sort
    turned = replace(query, sort=sort, is_ascending=is_chosen and not query.is_ascending, page=1)
    direction = "ascending" if query.is_ascending else "descending"
    return ColumnHead(
        label=label,
        href=link_to(turned),
        aria_sort=direction if is_chosen else "none",
        is_number=sort in (StudySort.INSTANCES, StudySort.ANSWERS),
    )
