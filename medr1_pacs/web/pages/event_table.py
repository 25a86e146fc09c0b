"""The log in the URL, and an event in words. Pure: text in, filters and texts out."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date
from typing import Any
from urllib.parse import urlencode

from medr1_pacs.filters import FilterInvalid
from medr1_pacs.records.audit import EventFilters, LoggedEvent
from medr1_pacs.records.words import JsonObject
from medr1_pacs.web.dependencies import ROW_ID_MAX

PATH = "/operations/audit"
_NAMES = ("object_type", "object_id", "actor", "action", "since", "until")
_OWN_PARAMETERS = ("before", "notice")
_LENGTHS_MAX = {"object_type": 32, "actor": 128, "action": 64}
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_ROW_ID = re.compile(r"[0-9]{1,19}")


def parse_query(parameters: Iterable[tuple[str, str]]) -> EventFilters:
    """Read filters; what a form leaves empty is none.

    Raises
    ------
    FilterInvalid
        There is no such filter, or no such value: without it, more would be shown than was asked.
    """
    given: dict[str, str] = {}
    for name, value in parameters:
        if name in _OWN_PARAMETERS or not (text := value.strip()):
            continue
        if name not in _NAMES:
            raise FilterInvalid(f"there is no filter {name!r}; use {', '.join(_NAMES)}")
        if name in given:
            raise FilterInvalid(f"the filter {name!r} takes one value")
        given[name] = text
    for name, longest in _LENGTHS_MAX.items():
        if len(given.get(name, "")) > longest or "\x00" in given.get(name, ""):
            raise FilterInvalid(f"the filter {name!r} takes at most {longest} characters, no NUL")
    if "object_id" in given and "object_type" not in given:
        raise FilterInvalid("the number of an object needs its type: numbers are by type")
    return EventFilters(
        object_type=given.get("object_type", ""),
        object_id=_row_id(given["object_id"]) if "object_id" in given else None,
        actor=given.get("actor", ""),
        action=given.get("action", ""),
        since=_day("since", given["since"]) if "since" in given else None,
        until=_day("until", given["until"]) if "until" in given else None,
    )


def _row_id(text: str) -> int:
    if not _ROW_ID.fullmatch(text) or int(text) > ROW_ID_MAX:
        raise FilterInvalid("object_id: use the number of a row")
    return int(text)


def _day(name: str, text: str) -> date:
    try:
        if _DAY.fullmatch(text):
            return date.fromisoformat(text)
    except ValueError:
        pass  # the 31st of a month that has none
    raise FilterInvalid(f"{name}: use a day, as 2024-01-17")


def link_to(filters: EventFilters, *, before: int | None = None) -> str:
    """Return the URL of filters, or of the page of them that follows an event."""
    query = filters.to_query() | ({} if before is None else {"before": str(before)})
    return f"{PATH}?{urlencode(query)}" if query else PATH


def link_to_object(event: LoggedEvent) -> str:
    """Return the URL of all that happened to what an event is about."""
    return link_to(EventFilters(object_type=event.object_type, object_id=event.object_id))


def say_action(action: str) -> str:
    """Return `account.signed_in` as `account: signed in`."""
    return action.replace(".", ": ").replace("_", " ")


def say_change(old: JsonObject, new: JsonObject) -> str:
    """Return of each value what it was, where it was anything, and what it is."""
    return " · ".join(
        f"{name.replace('_', ' ')}: {' → '.join(_sides(old, new, name))}" for name in {**old, **new}
    )


def _sides(old: JsonObject, new: JsonObject, name: str) -> list[str]:
    before = [_say(old[name])] if name in old else []
    return [*before, _say(new[name]) if name in new else "–"]


def _say(value: Any) -> str:
    if value is None or value in ("", [], {}):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(_say, value))
    if isinstance(value, dict):
        return "; ".join(f"{name.replace('_', ' ')} {_say(each)}" for name, each in value.items())
    return str(value)
