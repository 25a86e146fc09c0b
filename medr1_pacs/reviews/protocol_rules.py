"""What a reading protocol must be to be started: a file becomes one, or all that is wrong is said.

The rules of today, for who writes one today: a protocol that runs is never held against them.
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from medr1_pacs.errors import ProtocolRefused
from medr1_pacs.filters import FilterInvalid, parse_filters
from medr1_pacs.questions.hints import did_you_mean
from medr1_pacs.records.review_words import Arm
from medr1_pacs.reviews.protocols import CASES_MAX, VERSION_MAX, ReadingProtocol

_READ_ARMS = (Arm.BLIND, Arm.SEQUENTIAL, Arm.ASSISTED)
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
"""PostgreSQL stores no NUL, and no database half a surrogate pair."""
_WITHOUT_KEYS = re.compile(
    r"""
      \"{3} (?: [^"\\] | \\.? | "(?!"") )*+ (?: "{3,5} )?
    | '{3} (?: [^'] | '(?!'') )*+ (?: '{3,5} )?
    | " (?: [^"\\\n] | \\[^\n]? )*+ "?
    | ' [^'\n]*+ '?
    | \# [^\n]*+
    """,
    re.DOTALL | re.VERBOSE,
)
"""Strings and comments of a TOML file. One that is not closed is taken as it is: to look for its
end from every quote anew would take the square of them, and nothing is read after it."""
_DOTS_MAX = 100
_COMPLAINTS_MAX = 100
_FIELD_MAX = 64
"""Characters of a field's name that a complaint shows."""


def _number(value: object) -> object:
    """Refuse what is written as another kind of value and would be taken for a number."""
    if isinstance(value, bool | str):
        raise ValueError("write a number, without quotes")
    # Minus zero is zero: databases differ in whether they keep its sign, and the hash has it.
    return 0.0 if isinstance(value, float) and value == 0 else value


_Name = Annotated[str, Field(min_length=1, max_length=64)]
_Int = Annotated[int, BeforeValidator(_number)]
_Float = Annotated[float, BeforeValidator(_number)]


class _AuthoredProtocol(ReadingProtocol):
    """A protocol that may be started."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{1,63}$")
    version: _Int = Field(default=1, ge=1, le=VERSION_MAX)
    title: str = Field(default="", max_length=200)
    questions: tuple[_Name, ...] = Field(min_length=1)
    cases: _Int | None = Field(default=None, ge=1, le=CASES_MAX)
    controls: _Int = Field(default=0, ge=0, le=1_000)
    practice: _Int = Field(default=0, ge=0, le=100)
    readers: tuple[_Name, ...] = Field(min_length=1)
    adjudicators: tuple[_Name, ...] = ()
    reads: _Int | None = Field(default=None, ge=1)
    overlap: _Float = Field(default=0.0, ge=0, le=1)
    repeats: _Int = Field(default=0, ge=0, le=1_000)
    washout_days: _Float = Field(default=0.0, ge=0, le=3_650)
    claim_minutes: _Float = Field(default=60.0, ge=1, le=1_440)
    minutes_a_read: _Float = Field(default=2.0, gt=0, le=240)
    seed: _Int = Field(default=0, ge=0, le=2**31)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if problems := list(_problems(self)):
            raise ValueError("\n".join(problems))
        return self


def parse_protocol(text: str) -> ReadingProtocol:
    """Return the protocol that a TOML file holds.

    Raises
    ------
    ProtocolRefused
        All that is wrong with it, a line each: `field: what; the remedy`.
    """
    if _has_deep_key(text):
        raise ProtocolRefused("this is no protocol: the name of a field has too many dots")
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ProtocolRefused(f"this is no TOML: {error}") from error
    except RecursionError as error:
        raise ProtocolRefused("this is no protocol: its lists or tables are too deep") from error
    except ValueError as error:  # Python reads no integer of more than 4,300 digits
        raise ProtocolRefused("this is no protocol: a number in it has too many digits") from error
    return author_protocol(values)


def _has_deep_key(text: str) -> bool:
    """Whether a line has more dots than any field's name: to read one takes their square."""
    lines = _WITHOUT_KEYS.sub("", text).split("\n")
    return any(line.count(".") > _DOTS_MAX for line in lines)


def author_protocol(values: Mapping[str, Any]) -> ReadingProtocol:
    """Return the protocol of these fields, held against the rules; raises as `parse_protocol`."""
    try:
        authored = _AuthoredProtocol.model_validate(values)
    except ValidationError as error:
        problems = list(islice(_type_problems(error), _COMPLAINTS_MAX))
        raise ProtocolRefused("\n".join(problems)) from error
    return ReadingProtocol.model_validate(authored.model_dump())


def _type_problems(error: ValidationError) -> Iterator[str]:
    for detail in error.errors(include_url=False, include_context=False):
        # A file may have any text for a name, and it stands in a line.
        name = " ".join(".".join(map(str, detail["loc"]))[:_FIELD_MAX].split())
        problem = detail["msg"].removeprefix("Value error, ")
        if detail["type"] == "extra_forbidden":
            problem = "unknown field; " + did_you_mean(name, ReadingProtocol.model_fields)
        elif detail["type"] == "missing":
            problem = "is missing; add it"
        elif detail["type"] == "too_short":
            problem = "name at least one"
        elif detail["type"] == "dict_type":
            problem = "write a table, as in [filters]"
        elif detail["type"] == "tuple_type":
            problem = 'write a list, as in ["one", "another"]'
        elif name == "name":
            problem = "use 2 to 64 lower-case letters, digits and dashes, a letter first"
        for line in problem.splitlines():
            yield f"{name}: {line[:1].lower()}{line[1:]}" if name else line


def _problems(protocol: ReadingProtocol) -> Iterator[str]:
    """Yield what the types alone cannot tell."""
    for field in ("title", "questions", "readers", "adjudicators"):
        value = getattr(protocol, field)
        if any(map(_UNSTORABLE.search, [value] if isinstance(value, str) else value)):
            yield f"{field}: a NUL character, or half of a character, stands there; leave it out"
    if (protocol.arm is None) == (protocol.crossover is None):
        yield "arm: say either `arm` or `crossover`"
    if protocol.arm is not None and protocol.arm not in _READ_ARMS:
        yield "arm: use `blind`, `sequential` or `assisted`; adjudicators are named apart"
    if protocol.crossover is not None:
        first, second = protocol.crossover
        if first is second or not {first, second} <= set(_READ_ARMS):
            yield "crossover: name two of `blind`, `sequential` and `assisted`"
        if not protocol.washout_days:
            yield "washout_days: a crossover needs a washout between the arms"
        if protocol.repeats:
            yield "repeats: a crossover reads every case twice already; drop them"
    if protocol.repeats and not protocol.washout_days:
        yield "washout_days: repeats need a washout before them"
    for field in ("questions", "readers", "adjudicators"):
        counts = Counter(getattr(protocol, field))
        for name in sorted(name for name, count in counts.items() if count > 1):
            yield f"{field}: `{name}` stands there twice"
    for name in sorted(set(protocol.readers) & set(protocol.adjudicators)):
        yield f"adjudicators: `{name}` is a reader too, and would judge their own reads"
    count = len(protocol.readers)
    if protocol.reads is not None and protocol.reads > count:
        yield f"reads: there are {count} readers; name more, or read less"
    if protocol.adjudicators and (protocol.reads or count) < 2:
        yield "adjudicators: nobody disagrees where a case is read once; set `reads` to 2 or more"
    if protocol.crossover is not None and protocol.reads not in (None, count):
        yield "reads: in a crossover every reader reads every case; drop it"
    if protocol.reference and any(arm is not Arm.BLIND for arm in protocol.arms):
        yield 'reference: a panel that saw the model is no reference; use `arm = "blind"`'
    if "versions" in protocol.filters or "demo" in protocol.filters:
        yield "filters: cases are current, and the demo's are as good as others; drop these"
    try:
        parse_filters({name: list(values) for name, values in protocol.filters.items()})
    except FilterInvalid as error:
        yield f"filters: {error}"
