"""Whether a question may be asked of a picture: conditions are data, never code.

    when: {anatomy: [chest], SliceThickness: {le: 3}, ContrastBolusAgent: absent}

Keys are indexed DICOM keywords or routed facts. A value is one value, a list of allowed values,
`absent`, `present`, or bounds on a number. Texts are compared without regard to capitals; of a
multi-valued element one matching value is enough; code sequences compare as `SCT:399162004`.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medr1_pacs.attributes.listed import KNOWN_KEYWORDS
from medr1_pacs.attributes.values import Attributes, codes_of, values_of
from medr1_pacs.records.planned import Route

ROUTED_FACTS = ("anatomy", "plane", "weighting", "stain", "cohort")
"""Facts that no single element holds. `cohort` is absent unless a person, a reference standard or a
site rule puts a study there: forced choices are never chained on the model's own answers."""

_BOUNDS = {"lt": "below", "le": "at most", "ge": "at least", "gt": "above"}


@dataclass(frozen=True, slots=True)
class Presence:
    """`present` or `absent`: an element that is empty is absent."""

    is_wanted: bool

    @property
    def written(self) -> str:
        return "present" if self.is_wanted else "absent"

    def is_met_by(self, values: Sequence[object]) -> bool:
        """Whether the values of an element, none where it is absent or empty, meet it."""
        return bool(values) == self.is_wanted

    def __str__(self) -> str:
        return self.written


@dataclass(frozen=True, slots=True)
class OneOf:
    """One value, or a list of allowed ones."""

    written: object
    """As the file has it: a value or a list."""

    @property
    def allowed(self) -> list[object]:
        return self.written if isinstance(self.written, list) else [self.written]

    def is_met_by(self, values: Sequence[object]) -> bool:
        return any(_is_same(value, allowed) for value in values for allowed in self.allowed)

    def __str__(self) -> str:
        return " or ".join(str(value) for value in self.allowed)


@dataclass(frozen=True, slots=True)
class Within:
    """Bounds on a single number."""

    written: Mapping[str, float]
    """`lt`, `le`, `ge`, `gt` -> number."""

    def is_met_by(self, values: Sequence[object]) -> bool:
        if len(values) != 1 or not isinstance(number := values[0], (int, float)):
            return False
        met = {
            "lt": lambda bound: number < bound,
            "le": lambda bound: number <= bound,
            "ge": lambda bound: number >= bound,
            "gt": lambda bound: number > bound,
        }
        return _is_number(number) and all(met[name](b) for name, b in self.written.items())

    def __str__(self) -> str:
        return " and ".join(f"{_BOUNDS[name]} {bound:g}" for name, bound in self.written.items())


Condition = Presence | OneOf | Within


def parse_conditions(written: object) -> dict[str, Condition]:
    """Parse what a question writes after `when:`.

    Raises
    ------
    ValueError
        One line a problem, each with its remedy.
    """
    if not isinstance(written, Mapping):
        raise ValueError("write a mapping, for example {plane: axial}")
    conditions: dict[str, Condition] = {}
    problems = []
    for keyword, value in written.items():
        try:
            if problem := keyword_problem(keyword):
                raise ValueError(problem)
            conditions[keyword] = _parse_condition(keyword, value)
        except ValueError as error:
            problems.append(str(error))
    if problems:
        raise ValueError("\n".join(problems))
    return conditions


def _parse_condition(keyword: str, written: object) -> Condition:
    if isinstance(written, Condition):
        return written
    if written in ("present", "absent"):
        return Presence(written == "present")
    if isinstance(written, Mapping):
        if written and set(written) <= set(_BOUNDS) and all(map(_is_number, written.values())):
            return Within(dict(written))
        raise ValueError(f"`{keyword}`: bounds are {{lt, le, ge, gt: number}}, as in {{le: 3}}")
    values = written if isinstance(written, list) else [written]
    if values and all(isinstance(value, str) or _is_number(value) for value in values):
        return OneOf(written)
    raise ValueError(
        f"`{keyword}`: write a value, a list of values, absent, present, or {{le: number}}; "
        "quote words like yes, no, on and off"
    )


def facts_of(attributes: Attributes, route: Route) -> dict[str, Any]:
    """Join an instance's attributes and its series' routed facts; unknown facts are absent."""
    routed = {
        "anatomy": route.anatomy,
        "plane": route.plane,
        "weighting": route.weighting,
        "stain": route.stain,
    }
    return dict(attributes) | {name: fact for name, fact in routed.items() if fact is not None}


def first_unmet(when: Mapping[str, Condition], facts: Mapping[str, Any]) -> str | None:
    """Return one sentence on the first condition that the facts do not meet; None if all hold."""
    for keyword, condition in when.items():
        found = facts.get(keyword)
        values = [] if found in ("", []) else list(codes_of(found) or values_of(found))
        if not condition.is_met_by(values):
            return f"{keyword} is {_show(found)}; the question wants {condition}."
    return None


def keyword_problem(keyword: str) -> str | None:
    """Say why a key cannot be used in a condition or a truth, with the remedy; None if it can."""
    known = [*ROUTED_FACTS, *sorted(KNOWN_KEYWORDS)]
    if keyword in known:
        return None
    close = difflib.get_close_matches(str(keyword), known, n=1)
    hint = f"did you mean `{close[0]}`?" if close else "add it to INDEXED_KEYWORDS, or drop it"
    return f"`{keyword}` is neither an indexed DICOM keyword nor a routed fact; {hint}"


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
