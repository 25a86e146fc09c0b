"""One question of the bank, as its file defines it.

A definition is immutable: another wording is another version, and `question_sha256` tells whether
two versions that claim to be the same are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import Annotated

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
)

from medr1_pacs.questions.conditions import Condition, parse_conditions
from medr1_pacs.questions.windows import WindowChoice, parse_preset, parse_window
from medr1_pacs.records.words import CheckpointName, Coverage, JsonObject, Modality, Task
from medr1_pacs.selection import Policy, parse_policy

_CHECKPOINT_OF_MODALITY = {
    Modality.CT: CheckpointName.CT,
    Modality.MRI: CheckpointName.MRI,
    Modality.XRAY: CheckpointName.XRAY,
    Modality.ULTRASOUND: CheckpointName.US,
    Modality.DERMOSCOPY: CheckpointName.DERMOSCOPY,
    Modality.FUNDUS: CheckpointName.FUNDUS,
    Modality.OCT: CheckpointName.OCT,
    Modality.MICROSCOPY: CheckpointName.MICROSCOPY,
}


class Role(StrEnum):
    """Who can say whether an answer is right."""

    SENTINEL = "sentinel"  #: the header, for every study and without a reader
    STUDY = "study"  #: a reader or a reference standard


class Aggregate(StrEnum):
    """How the answers about single pictures become one about the study."""

    NONE = "none"  #: they do not
    VOTE = "vote"  #: the most frequent option
    ANY_POSITIVE = "any positive"  #: the first positive option that any picture got
    WORST_GRADE = "worst grade"  #: the last option, in the file's order, that any picture got


class TruthKind(StrEnum):
    """Where a question's truth comes from."""

    READER = "reader"  #: people who read the same pictures
    REFERENCE = "reference"  #: a reference standard that somebody imports
    HEADER = "header"  #: a DICOM element or a routed fact
    FUNCTION = "function"  #: a named function of several elements, see truths.py


@dataclass(frozen=True, slots=True)
class Truth:
    """A parsed `truth:`: `reader`, `reference`, `{header: Keyword}` or `{function: name}`."""

    kind: TruthKind
    name: str = ""
    """The keyword or the function's name; empty for reader and reference."""
    map: Mapping[str, str] = field(default_factory=dict)
    """Value -> option text. Empty: the value is the option text, apart from capitals."""


def parse_truth(value: object) -> Truth:
    """Parse what a question writes after `truth:`. Raises ValueError with the remedy."""
    if isinstance(value, Truth):
        return value
    if value in (TruthKind.READER, TruthKind.REFERENCE):
        return Truth(TruthKind(str(value)))
    if isinstance(value, Mapping):
        keys = set(value) - {"map"}
        mapping = value.get("map", {})
        if keys in ({"header"}, {"function"}) and isinstance(mapping, Mapping):
            kind = keys.pop()
            pairs = {str(key): str(option) for key, option in mapping.items()}
            return Truth(TruthKind(kind), str(value[kind]), pairs)
    raise ValueError(
        "write `reader`, `reference`, `{header: Keyword, map: {value: option}}` or "
        "`{function: name, map: {value: option}}`; the map may be left out"
    )


_FORBIDDEN_IN_OPTION = {
    ",": "a comma",
    ")": "a closing bracket",
    "\n": "a line break",
}  # the prompt prints `A)x, B)y`


def _check_stem(stem: str) -> str:
    if not stem.strip() or stem != " ".join(stem.split()):
        raise ValueError("one line of text, without spaces around it")
    return stem


def _check_options(options: tuple[str, ...]) -> tuple[str, ...]:
    if problems := list(_option_problems(options)):
        raise ValueError("\n".join(problems))
    return options


def _option_problems(options: Sequence[str]) -> Iterator[str]:
    if not 2 <= len(options) <= 4:
        yield f"{len(options)} options; Med-R1 knows 2 to 4"
    if len({option.casefold() for option in options}) < len(options):
        yield "two options are equal; make them differ"
    for option in options:
        for character, name in _FORBIDDEN_IN_OPTION.items():
            if character in option:
                yield f"`{option}` has {name}, which breaks `A)x, B)y`; reword it"
        if option != option.strip() or not option:
            yield f"`{option}` is empty or has spaces around it; remove them"


def _write_conditions(when: Mapping[str, Condition]) -> JsonObject:
    return {keyword: condition.written for keyword, condition in when.items()}


AsWritten = PlainSerializer(str, return_type=str)
"""Parsed, but hashed and stored as the file has it."""


class Question(BaseModel):
    """One templated multiple-choice question."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(pattern=r"^[a-z][a-z0-9-]{1,63}$")
    version: int = Field(ge=1)
    task: Task
    role: Role
    modality: Modality
    stem: Annotated[str, AfterValidator(_check_stem)]
    options: Annotated[tuple[str, ...], AfterValidator(_check_options)]
    """In reading order (grades ascend); the model meets a seeded permutation."""
    when: Annotated[
        Mapping[str, Condition],
        PlainValidator(parse_conditions),
        PlainSerializer(_write_conditions),
    ] = {}
    """Conditions on keywords and routed facts; see conditions.py."""
    select: Annotated[Policy, PlainValidator(parse_policy), AsWritten]
    window: Annotated[WindowChoice, PlainValidator(parse_window), AsWritten] | None = None
    """A CT preset, or `object` (as None): what the object says, else the anatomy's preset."""
    second_window: Annotated[WindowChoice, PlainValidator(parse_preset), AsWritten] | None = None
    """Ask again through this preset, stored as its own prompt."""
    truth: Annotated[Truth, BeforeValidator(parse_truth)]
    positive: tuple[str, ...] = ()
    """The options that count as positive for sensitivity, ROC and `any positive`."""
    aggregate: Aggregate = Aggregate.NONE
    coverage: Coverage
    checkpoint: str | None = None
    """Another checkpoint than the modality's."""
    think: bool = True
    reviewed_by: str | None = None
    """The clinician who signed this wording; None shows as "not clinically reviewed"."""
    reviewed_at: date | None = None

    def definition(self) -> JsonObject:
        """Return what makes this the question it is, as JSON: signing it does not change it, nor
        does a field that a later release adds and this question leaves at its default."""
        return self.model_dump(
            mode="json", exclude={"reviewed_by", "reviewed_at"}, exclude_defaults=True
        )

    @property
    def question_sha256(self) -> str:
        """Hash of the definition's canonical JSON: sorted keys, no spaces, UTF-8."""
        text = json.dumps(
            self.definition(), sort_keys=True, separators=(",", ":"), ensure_ascii=False
        )
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def is_demo(self) -> bool:
        """Whether only the demo checkpoint can answer it."""
        return self.checkpoint == CheckpointName.DEMO


def requested_checkpoint(question: Question) -> str:
    """Return the checkpoint a question asks for: its own, else its modality's."""
    return question.checkpoint or _CHECKPOINT_OF_MODALITY[question.modality]
