"""A reading protocol: which cases are read by whom, and in which order they meet what.

    name = "chest-nodules"
    version = 1
    title = "Nodules on chest CT, before and after the model"
    questions = ["ct-chest-nodule"]
    arm = "sequential"
    readers = ["anna", "ben"]
    adjudicators = ["carla"]

Everything else has a default. A protocol never changes once it is started: another wording is
another version. What it must be to be started is in `protocol_rules`: one that is running was held
against the rules of its day, and is read as it was stored.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from medr1_pacs.errors import ProtocolRefused
from medr1_pacs.records.review_words import Arm
from medr1_pacs.records.words import JsonObject

CASES_MAX = 20_000
VERSION_MAX = 9_999
_PEOPLE = ("readers", "adjudicators")


class ReadingProtocol(BaseModel):
    """A reading protocol as its file defines it; every field that is left out has its default."""

    # An earlier release may have stored fields that there are no more.
    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    version: int = 1
    title: str = ""
    questions: tuple[str, ...]
    """Ids of the questions that are read."""
    filters: Mapping[str, tuple[str, ...]] = {}
    """Which answers' studies are meant, as on the page of answers; without any, all of the
    project's studies that the questions are planned for."""
    cases: int | None = None
    """The most cases, drawn by the seed; none: all that there are."""
    one_a_patient: bool = False
    """Take one case of a patient alone, so that the cases are independent."""
    controls: int = 0
    """Cases with a known truth, hidden among the others and reported apart."""
    practice: int = 0
    """Cases with a known truth that each reader reads first, with feedback."""
    readers: tuple[str, ...]
    """Names of accounts."""
    adjudicators: tuple[str, ...] = ()
    """Who decides where readers disagree; without any, nobody does."""
    arm: Arm | None = None
    crossover: tuple[Arm, Arm] | None = None
    """In place of `arm`: every reader reads each case in both, half of the cases in the one first,
    the others in the other, with the washout between."""
    reads: int | None = None
    """How many readers read a case; none: all of them."""
    overlap: float = 0.0
    """Share of the cases that all readers read, where `reads` is fewer."""
    repeats: int = 0
    """Cases that each reader reads once more after the washout, of those that all read."""
    washout_days: float = 0.0
    """No reader reads a case again within them, repeats and other protocols included."""
    claim_minutes: float = 60.0
    """How long a case that any reader could read waits for the one who has it open."""
    minutes_a_read: float = 2.0
    """For the estimate alone."""
    reference: bool = False
    """What the readers agree on, or an adjudicator decides, becomes a reference standard."""
    seed: int = 0

    @property
    def arms(self) -> tuple[Arm, ...]:
        """The arms that its readers meet cases in."""
        if self.crossover is not None:
            return self.crossover
        assert self.arm is not None, "one of the two is there: see `protocol_rules`"
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
        """Return all of it as JSON values: a default of today is part of what is started today."""
        return self.model_dump(mode="json")

    @property
    def definition_sha256(self) -> str:
        """The hash that is stored and told: see `hash_definition`."""
        return hash_definition(self.definition())

    @property
    def checked_sha256(self) -> str:
        """Hash of all of it, its people's names included: whether two are the same."""
        return _sha256(self.definition())


def hash_definition(definition: JsonObject) -> str:
    """Return the hash of the canonical JSON of a stored definition without its people's names."""
    return _sha256(without_names(definition))


def without_names(definition: JsonObject) -> JsonObject:
    """Return a definition that has of its people how many there are: whoever may not know their
    names can still check its hash."""
    return definition | {name: len(definition[name]) for name in _PEOPLE if name in definition}


def _sha256(values: JsonObject) -> str:
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def restore_protocol(values: Mapping[str, Any]) -> ReadingProtocol:
    """Return the protocol that a stored definition is of, whatever the rules are by now.

    Raises
    ------
    ProtocolRefused
        It is none: a field that has no default is missing, or of another type.
    """
    try:
        return ReadingProtocol.model_validate(values)
    except ValidationError as error:
        fields = sorted({".".join(map(str, detail["loc"])) for detail in error.errors()})
        raise ProtocolRefused(
            f"this is no stored reading protocol: look at {', '.join(fields)}"
        ) from error
