"""One question of the bank, as its file defines it.

A definition is immutable: another wording is another version, and `question_sha256` tells whether
two versions that claim to be the same are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from medr1_pacs.records import Coverage, JsonObject, Modality, Task

CHECKPOINTS = (
    "ct", "mri", "xray", "us", "dermoscopy", "fundus", "oct", "microscopy",
    "anatomy", "disease", "grading", "recognition", "attributes", "demo",
)  # fmt: skip
"""Eight modality checkpoints, five task checkpoints, and the stand-in of the demo."""

DEMO_CHECKPOINT = "demo"

_CHECKPOINT_OF_MODALITY = {
    Modality.CT: "ct",
    Modality.MRI: "mri",
    Modality.XRAY: "xray",
    Modality.ULTRASOUND: "us",
    Modality.DERMOSCOPY: "dermoscopy",
    Modality.FUNDUS: "fundus",
    Modality.OCT: "oct",
    Modality.MICROSCOPY: "microscopy",
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


class Question(BaseModel):
    """One templated multiple-choice question."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(pattern=r"^[a-z][a-z0-9-]{1,63}$")
    version: int = Field(ge=1)
    task: Task
    role: Role
    modality: Modality
    stem: str
    options: tuple[str, ...]
    """In reading order (grades ascend); the model meets a seeded permutation."""
    when: Mapping[str, Any] = {}
    """Conditions on keywords and routed facts; see conditions.py."""
    select: str
    """A selection policy."""
    window: str | None = None
    """A CT preset, or `object` (as None): what the object says, else the anatomy's preset."""
    second_window: str | None = None
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
        return self.checkpoint == DEMO_CHECKPOINT


def requested_checkpoint(question: Question) -> str:
    """Return the checkpoint a question asks for: its own, else its modality's."""
    return question.checkpoint or _CHECKPOINT_OF_MODALITY[question.modality]
