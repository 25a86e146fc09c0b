"""The filters in a request's query, and what OpenAPI says of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Annotated, Any

from fastapi import Depends, Query, Request

from medr1_pacs.filters import CHOICES, AnswerFilters, parse_filters
from medr1_pacs.records.accuracy import Grouping
from medr1_pacs.records.dictionary import describe_fields
from medr1_pacs.steps.estimating import choose_grouping

OWN_PARAMETERS = frozenset(
    {"project", "format", "limit", "after", "before", "end", "notice", "csrf_token", "by"}
)
"""What routes ask for beside filters."""


def _filters(request: Request) -> AnswerFilters:
    query: dict[str, list[str]] = {}
    for name, value in request.query_params.multi_items():
        if name not in OWN_PARAMETERS:
            query.setdefault(name, []).append(value)
    return parse_filters(query)


Filters = Annotated[AnswerFilters, Depends(_filters)]
"""The filters of the request; raises `FilterInvalid`, which is answered 422."""


def _grouped_by(
    by: Annotated[
        list[Grouping],
        Query(
            default_factory=list,
            description="What answers are grouped by, up to three; else by question and checkpoint",
        ),
    ],
) -> tuple[Grouping, ...]:
    return choose_grouping(by)


GroupedBy = Annotated[tuple[Grouping, ...], Depends(_grouped_by)]
"""What answers are grouped by; raises `GroupingRefused`, which is answered 422."""


def _parameter(name: str, default: Any, meaning: str) -> Mapping[str, Any]:
    value: dict[str, Any] = {"type": "string"}
    if choices := CHOICES.get(name):
        value["enum"] = list(choices)
    else:
        value |= {"maxLength": 1000 if name == "words" else 128}
    if name in ("since", "until"):
        value["pattern"] = r"^\d{4}(-\d{2}(-\d{2})?)?$"
    is_many = isinstance(default, tuple)
    schema = {"type": "array", "items": value} if is_many else value
    return {
        "name": name,
        "in": "query",
        "required": False,
        "description": meaning,
        "schema": schema,
    }


FILTER_PARAMETERS = [
    _parameter(field.name, field.default, entry.meaning)
    for field, entry in zip(fields(AnswerFilters), describe_fields(AnswerFilters), strict=True)
]
"""The filters as OpenAPI parameters; several values of one are given by repeating it."""
