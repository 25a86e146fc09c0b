"""Whether a question may be asked of a picture: conditions are data, never code.

    when: {anatomy: [chest], SliceThickness: {le: 3}, ContrastBolusAgent: absent}

Keys are indexed DICOM keywords or routed facts. A value is one value, a list of allowed values,
`absent`, `present`, or bounds on a number. Texts are compared without regard to capitals; of a
multi-valued element one matching value is enough; code sequences compare as `SCT:399162004`.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from medr1_pacs.attributes import KNOWN_KEYWORDS, Attributes, codes_of, values_of
from medr1_pacs.records import Route

ROUTED_FACTS = ("anatomy", "plane", "weighting", "stain", "cohort")
"""Facts that no single element holds. `cohort` is absent unless a person, a reference standard or a
site rule puts a study there: forced choices are never chained on the model's own answers."""

_BOUNDS = {"lt": "below", "le": "at most", "ge": "at least", "gt": "above"}


def facts_of(attributes: Attributes, route: Route) -> dict[str, Any]:
    """Join an instance's attributes and its series' routed facts; unknown facts are absent."""
    routed = {
        "anatomy": route.anatomy,
        "plane": route.plane,
        "weighting": route.weighting,
        "stain": route.stain,
    }
    return dict(attributes) | {name: fact for name, fact in routed.items() if fact is not None}


def first_unmet(when: Mapping[str, Any], facts: Mapping[str, Any]) -> str | None:
    """Return one sentence on the first condition that the facts do not meet; None if all hold."""
    for keyword, condition in when.items():
        found = facts.get(keyword)
        if not _is_met(condition, found):
            return f"{keyword} is {_show(found)}; the question wants {_wanted(condition)}."
    return None


def keyword_problem(keyword: str) -> str | None:
    """Say why a key cannot be used in a condition or a truth, with the remedy; None if it can."""
    known = [*ROUTED_FACTS, *sorted(KNOWN_KEYWORDS)]
    if keyword in known:
        return None
    close = difflib.get_close_matches(str(keyword), known, n=1)
    hint = f"did you mean `{close[0]}`?" if close else "add it to INDEXED_KEYWORDS, or drop it"
    return f"`{keyword}` is neither an indexed DICOM keyword nor a routed fact; {hint}"


def condition_problem(keyword: str, condition: object) -> str | None:
    """Say why a condition cannot be used, with the remedy; None if it can."""
    if problem := keyword_problem(keyword):
        return problem
    if isinstance(condition, Mapping):
        numbers = all(_is_number(bound) for bound in condition.values())
        if condition and set(condition) <= set(_BOUNDS) and numbers:
            return None
        return f"`{keyword}`: bounds are {{lt, le, ge, gt: number}}, for example {{le: 3}}"
    values = condition if isinstance(condition, list) else [condition]
    if values and all(isinstance(value, str) or _is_number(value) for value in values):
        return None
    return (
        f"`{keyword}`: write a value, a list of values, absent, present, or {{le: number}}; "
        "quote words like yes, no, on and off"
    )


def _is_met(condition: object, found: object) -> bool:
    values = [] if found in ("", []) else list(codes_of(found) or values_of(found))
    if condition == "absent":
        return not values
    if condition == "present":
        return bool(values)
    if isinstance(condition, Mapping):
        return len(values) == 1 and _is_number(values[0]) and _within(condition, values[0])
    wanted = condition if isinstance(condition, list) else [condition]
    return any(_is_same(value, want) for value in values for want in wanted)


def _within(bounds: Mapping[str, Any], number: float) -> bool:
    """Compare by name; an unknown bound is never met."""
    met = {
        "lt": lambda bound: number < bound,
        "le": lambda bound: number <= bound,
        "ge": lambda bound: number >= bound,
        "gt": lambda bound: number > bound,
    }
    return all(name in met and met[name](bound) for name, bound in bounds.items())


def _is_same(value: object, want: object) -> bool:
    if isinstance(value, str) and isinstance(want, str):
        return value.casefold() == want.casefold()
    return _is_number(value) and _is_number(want) and value == want


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _show(found: object) -> str:
    values = codes_of(found) or values_of(found)
    scalars = [str(value) for value in values if not isinstance(value, Mapping)]
    return ", ".join(scalars) or ("present" if values else "absent")


def _wanted(condition: object) -> str:
    if isinstance(condition, Mapping):
        return " and ".join(f"{_BOUNDS.get(k, k)} {bound:g}" for k, bound in condition.items())
    values = condition if isinstance(condition, list) else [condition]
    return " or ".join(str(value) for value in values)
