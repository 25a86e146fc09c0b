"""export: which answers are meant; the same words in a URL, on the command line and in a snapshot.

    {"modality": ["CT", "MRI"], "truth": ["wrong"]}  <->  AnswerFilters  ->  db.research

Values of one filter are alternatives; filters narrow each other. Without any, it is the current
protocol answers of real checkpoints.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum

from medr1_pacs.errors import PermanentError
from medr1_pacs.part10 import is_uid
from medr1_pacs.records.words import (
    CheckpointName,
    Correctness,
    Coverage,
    Modality,
    ParseStatus,
    PromptKind,
    Task,
)

UNKNOWN = "(none)"
"""Stands for a value that is not known, where an empty one would be read as no filter."""
WORDS_MAX = 20
VALUES_MAX = 100
"""Values of one filter."""
_DATE = re.compile(r"\d{4}(-\d{2}(-\d{2})?)?")
_WORD = re.compile(r"[^\W_]+")
_VALUE_MAX = 128


class FilterInvalid(PermanentError):
    """A filter has a name or a value that there is not; the message says which there are."""


class Versions(StrEnum):
    """Which answers of a study that grew."""

    CURRENT = "current"  #: of pictures chosen in its latest version
    ALL = "all"  #: of earlier ones too


class Demo(StrEnum):
    """Whether answers of the demo checkpoint are meant."""

    NO = "no"
    YES = "yes"  #: too
    ONLY = "only"


class Known(StrEnum):
    """Whether the truth is known, beside right and wrong."""

    KNOWN = "known"


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerFilters:
    """Each is empty where it does not narrow anything down."""

    modality: tuple[str, ...] = ()
    """Med-R1 modality."""
    anatomy: tuple[str, ...] = ()
    """As routed."""
    question: tuple[str, ...] = ()
    """Question id."""
    task: tuple[str, ...] = ()
    """As OmniMedVQA spells it."""
    checkpoint: tuple[str, ...] = ()
    """The one that answered."""
    choice: tuple[str, ...] = ()
    """Letter."""
    parse_status: tuple[str, ...] = ()
    """What the parser made of the output."""
    truth: tuple[str, ...] = ()
    """`right`, `wrong`, `unknown`; `known` is the first two."""
    coverage: tuple[str, ...] = ()
    """Whether the checkpoint can have learned the answer."""
    scanner: tuple[str, ...] = ()
    """`scanner_key`."""
    sex: tuple[str, ...] = ()
    """`M`, `F`, `O`."""
    age_band: tuple[str, ...] = ()
    """`60-69`, `90+`."""
    year: tuple[str, ...] = ()
    """Year of the study as the project shows it."""
    since: str = ""
    """First study date as the project shows it: `2024`, `2024-01`, `2024-01-17`."""
    until: str = ""
    """Last study date, itself included: `2024` is to its end."""
    words: str = ""
    """Words that all occur in the reasoning, in any order; case does not matter."""
    patient: str = ""
    """Patient pseudonym of the project."""
    study: str = ""
    """Pseudonymous Study Instance UID of the project."""
    kind: tuple[str, ...] = (PromptKind.PROTOCOL.value,)
    """Why it was asked; `protocol` unless said otherwise."""
    versions: str = Versions.CURRENT
    """`current`, or `all`."""
    demo: str = Demo.NO
    """`no`, `yes` (too) or `only`."""

    def to_query(self) -> dict[str, list[str]]:
        """Return what differs from no filter at all, as `parse_filters` takes it."""
        query: dict[str, list[str]] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if value != field.default:
                query[field.name] = [value] if isinstance(value, str) else list(value)
        return query

    def with_value(self, name: str, value: str) -> AnswerFilters:
        """Return these filters with one more alternative of a filter."""
        query = self.to_query()
        return parse_filters(query | {name: [*query.get(name, []), value]})

    def without_value(self, name: str, value: str) -> AnswerFilters:
        """Return these filters without a value; without its last one, a filter is as unsaid."""
        query = self.to_query()
        return parse_filters(query | {name: [v for v in query.get(name, []) if v != value]})

    @property
    def correctness(self) -> frozenset[Correctness]:
        """What `truth` says; empty: all."""
        chosen = {Correctness(value) for value in self.truth if value != Known.KNOWN}
        if Known.KNOWN in self.truth:
            chosen |= {Correctness.RIGHT, Correctness.WRONG}
        return frozenset(chosen)

    @property
    def word_list(self) -> tuple[str, ...]:
        """The words to search for, lower case."""
        return tuple(_WORD.findall(self.words.lower()))


CHOICES: Mapping[str, tuple[str, ...]] = {
    "modality": tuple(Modality),
    "task": tuple(Task),
    "checkpoint": tuple(CheckpointName),
    "parse_status": tuple(ParseStatus),
    "truth": (*Correctness, *Known),
    "coverage": tuple(Coverage),
    "kind": tuple(PromptKind),
    "versions": tuple(Versions),
    "demo": tuple(Demo),
}
"""The filters whose values are a closed set."""
FACETS = tuple(
    field.name
    for field in fields(AnswerFilters)
    if isinstance(field.default, tuple) and field.name != "kind"
)
"""The filters that answers are counted by."""


def parse_filters(query: Mapping[str, Iterable[str]]) -> AnswerFilters:
    """Read filters; empty values are none.

    Raises
    ------
    FilterInvalid
        There is no such filter, or no such value.
    """
    known = {field.name: field.default for field in fields(AnswerFilters)}
    values: dict[str, tuple[str, ...] | str] = {}
    for name, given in query.items():
        if name not in known:
            raise FilterInvalid(f"there is no filter {name!r}; use {', '.join(known)}")
        texts = tuple(dict.fromkeys(text for text in map(str.strip, given) if text))
        if not texts:
            continue
        if len(texts) > VALUES_MAX:
            raise FilterInvalid(f"the filter {name!r} takes at most {VALUES_MAX} values")
        for text in texts:
            _check(name, text)
        if isinstance(known[name], tuple):
            values[name] = texts
        elif len(texts) > 1:
            raise FilterInvalid(f"the filter {name!r} takes one value")
        else:
            values[name] = texts[0]
    return AnswerFilters(**values)  # type: ignore[arg-type] # - each by its field's kind


def _check(name: str, text: str) -> None:
    if len(text) > _VALUE_MAX and name != "words":
        raise FilterInvalid(f"the filter {name!r} takes at most {_VALUE_MAX} characters")
    if "\x00" in text:
        raise FilterInvalid(f"the filter {name!r} takes no NUL character")
    is_known = text in CHOICES.get(name, (text,)) or (text == UNKNOWN and name in FACETS)
    if not is_known:
        choices = CHOICES[name]
        raise FilterInvalid(f"{name} = {text!r}: use one of {', '.join(choices)}")
    if name in ("since", "until") and not _DATE.fullmatch(text):
        raise FilterInvalid(f"{name} = {text!r}: use 2024, 2024-01 or 2024-01-17")
    if name == "study" and not is_uid(text):
        raise FilterInvalid(f"study = {text!r} is not a UID")
    if name == "words":
        found = _WORD.findall(text)
        if not 1 <= len(found) <= WORDS_MAX or len(text) > 1000:
            raise FilterInvalid(f"words: use 1 to {WORDS_MAX} words")
