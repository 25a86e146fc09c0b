"""How often answers were right, as it is counted, and as pages, files and programs have it.

The comment below a field of a row says what it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum

from medr1_pacs.records.words import JsonObject

UNIT = "one question about one picture, answered once"
"""What one answer is."""


class Grouping(StrEnum):
    """What answers are told apart by when it is counted how often they are right."""

    OVERALL = "overall"  #: by nothing
    MODALITY = "modality"
    ANATOMY = "anatomy"
    QUESTION = "question"
    TASK = "task"
    CHECKPOINT = "checkpoint"
    COVERAGE = "coverage"
    SCANNER = "scanner"
    YEAR = "year"
    SEX = "sex"
    AGE_BAND = "age_band"


DEFAULT_GROUPING = (Grouping.QUESTION, Grouping.CHECKPOINT)
"""A share over several questions, or of several models, rarely means anything."""
GROUPINGS_MAX = 3


def say_share(share: float | None) -> str:
    """Return a share (0 to 1) in percent with one decimal: `83.3 %`; a dash where there is none."""
    return "–" if share is None else f"{100 * share:.1f} %"


@dataclass(frozen=True, slots=True)
class AccuracyCounts:
    """What was counted of the answers that are alike in what they are grouped by."""

    values: tuple[str, ...]
    """A value for each grouping; an empty text is what is not known."""
    patients: Mapping[tuple[int, int], int]
    """(right answers, answers with a known truth) of a patient -> how many patients have that."""
    unparsed: int
    """Of the answers with a known truth."""
    unknown_truth: int


@dataclass(frozen=True, slots=True)
class AccuracyRow:
    """How often the answers of a group were right."""

    by: Mapping[str, str]
    """Grouping -> value; an empty text is what is not known."""
    accuracy: float | None
    """Share of the answers with a known truth that are right, 0 to 1; empty: there are none."""
    low: float | None
    """Lower end of its 95 % interval, by patient."""
    high: float | None
    """Upper end."""
    method: str
    """How the interval was made; empty: there is none."""
    right: int
    """Answers that are the truth."""
    answers: int
    """Answers with a known truth, each to one question about one picture."""
    patients: int
    """Patients that these are of."""
    few_patients: bool
    """Fewer than 10, too few to say much."""
    unparsed: int
    """Of these answers, those in which no choice was found; they count as wrong."""
    unknown_truth: int
    """Answers beside these, whose truth is not known."""
    unit: str = UNIT
    """What one answer is: the same in every row, so that no figure goes without."""

    @property
    def interval(self) -> str:
        """The interval in percent: `71.0 to 91.2 %`."""
        if self.low is None or self.high is None:
            return "–"
        return f"{100 * self.low:.1f} to {say_share(self.high)}"

    def to_json(self) -> JsonObject:
        """Return plain JSON values, those of the groupings first."""
        values = asdict(self)
        return {**values.pop("by"), **values}


FIGURES = tuple(field.name for field in fields(AccuracyRow) if field.name != "by")
"""The columns of a row beside its groupings, in order."""
