"""A reading protocol: which cases are read by whom, and in which order they meet what.

    name = "chest-nodules"
    version = 1
    title = "Nodules on chest CT, before and after the model"
    questions = ["ct-chest-nodule"]
    arm = "sequential"
    readers = ["anna", "ben"]
    adjudicators = ["carla"]

Everything else has a default. A protocol never changes once it is started: another wording is
another version.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from medr1_pacs.errors import ProtocolRefused
from medr1_pacs.filters import FilterInvalid, parse_filters
from medr1_pacs.questions.hints import did_you_mean
from medr1_pacs.records.review_words import Arm
from medr1_pacs.records.words import JsonObject

CASES_MAX = 20_000
VERSION_MAX = 9_999
_Name = Annotated[str, Field(min_length=1, max_length=64)]
_READ_ARMS = (Arm.BLIND, Arm.SEQUENTIAL, Arm.ASSISTED)


class ReadingProtocol(BaseModel):
    """A reading protocol as its file defines it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{1,63}$")
    version: int = Field(default=1, ge=1, le=VERSION_MAX)
    title: str = Field(default="", max_length=200)
    questions: tuple[_Name, ...] = Field(min_length=1)
    """Ids of the questions that are read."""
    filters: Mapping[str, tuple[str, ...]] = {}
    """Which answers' studies are meant, as on the page of answers; without any, all of the
    project's studies that the questions are planned for."""
    cases: int | None = Field(default=None, ge=1, le=CASES_MAX)
    """The most cases, drawn by the seed; none: all that there are."""
    one_a_patient: bool = False
    """Take one case of a patient alone, so that the cases are independent."""
    controls: int = Field(default=0, ge=0, le=1_000)
    """Cases with a known truth, hidden among the others and reported apart."""
    practice: int = Field(default=0, ge=0, le=100)
    """Cases with a known truth that each reader reads first, with feedback."""
    readers: tuple[_Name, ...] = Field(min_length=1)
    """Names of accounts."""
    adjudicators: tuple[_Name, ...] = ()
    """Who decides where readers disagree; without any, nobody does."""
    arm: Arm | None = None
    crossover: tuple[Arm, Arm] | None = None
    """In place of `arm`: every reader reads each case in both, half of the cases in the one first,
    the others in the other, with the washout between."""
    reads: int | None = Field(default=None, ge=1)
    """How many readers read a case; none: all of them."""
    overlap: float = Field(default=0.0, ge=0, le=1)
    """Share of the cases that all readers read, where `reads` is fewer."""
    repeats: int = Field(default=0, ge=0, le=1_000)
    """Cases that each reader reads once more after the washout, of those that all read."""
    washout_days: float = Field(default=0, ge=0, le=3_650)
    """No reader reads a case again within them, repeats and other protocols included."""
    claim_minutes: float = Field(default=60, ge=1, le=1_440)
    """How long a case that any reader could read waits for the one who has it open."""
    minutes_a_read: float = Field(default=2, gt=0, le=240)
    """For the estimate alone."""
    reference: bool = False
    """What the readers agree on, or an adjudicator decides, becomes a reference standard."""
    seed: int = Field(default=0, ge=0, le=2**31)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if problems := list(_problems(self)):
            raise ValueError("\n".join(problems))
        return self

    @property
    def arms(self) -> tuple[Arm, ...]:
        """The arms that its readers meet cases in."""
        if self.crossover is not None:
            return self.crossover
        assert self.arm is not None, "one of the two is there: see `_problems`"
        return (self.arm,)

    @property
    def needs_model(self) -> bool:
        """Whether a case needs the model's side: a blind reading does without."""
        return any(arm is not Arm.BLIND for arm in self.arms)

    @property
    def order_seed(self) -> str:
        """What the orders of its readers are derived from."""
        return f"{self.name} {self.version} {self.seed}"

    def definition(self) -> JsonObject:
        """Return it as JSON values, defaults left out."""
        return self.model_dump(mode="json", exclude_defaults=True)

    @property
    def definition_sha256(self) -> str:
        """Hash of the canonical JSON of the definition without its people's names."""
        text = json.dumps(
            without_names(self.definition()),
            sort_keys=True,
            separators=(",", ":"),
            ensure_ascii=False,
        )
        return hashlib.sha256(text.encode()).hexdigest()


def without_names(definition: JsonObject) -> JsonObject:
    """Return a definition that has of its people how many there are: whoever may not know their
    names can still check its hash."""
    people = ("readers", "adjudicators")
    return definition | {name: len(definition[name]) for name in people if name in definition}


def parse_protocol(text: str) -> ReadingProtocol:
    """Return the protocol that a TOML file holds.

    Raises
    ------
    ProtocolRefused
        All that is wrong with it, a line each: `field: what; the remedy`.
    """
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ProtocolRefused(f"this is no TOML: {error}") from error
    return restore_protocol(values)


def restore_protocol(values: Mapping[str, Any]) -> ReadingProtocol:
    """Return the protocol that a stored definition is of; raises as `parse_protocol`."""
    try:
        return ReadingProtocol.model_validate(values)
    except ValidationError as error:
        raise ProtocolRefused("\n".join(_type_problems(error))) from error


def _type_problems(error: ValidationError) -> Iterator[str]:
    for detail in error.errors(include_url=False, include_context=False):
        name = ".".join(map(str, detail["loc"]))
        problem = detail["msg"].removeprefix("Value error, ")
        if detail["type"] == "extra_forbidden":
            problem = "unknown field; " + did_you_mean(name, ReadingProtocol.model_fields)
        elif detail["type"] == "missing":
            problem = "is missing; add it"
        elif detail["type"] == "too_short":
            problem = "name at least one"
        elif detail["type"] == "tuple_type":
            problem = 'write a list, as in ["one", "another"]'
        elif name == "name":
            problem = "use 2 to 64 lower-case letters, digits and dashes, a letter first"
        for line in problem.splitlines():
            yield f"{name}: {line[:1].lower()}{line[1:]}" if name else line


def _problems(protocol: ReadingProtocol) -> Iterator[str]:
    """Yield what the types alone cannot tell."""
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
        names = getattr(protocol, field)
        for name in sorted({name for name in names if names.count(name) > 1}):
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
