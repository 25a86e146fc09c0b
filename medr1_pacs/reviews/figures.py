"""A number that a reading comes to, with all that it takes to judge it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from medr1_pacs.records.review_words import Arm, Phase
from medr1_pacs.statistics.accuracy import AccuracyEstimate, estimate_accuracy, tally_patients
from medr1_pacs.statistics.resampling import BootstrapEstimate

MODEL = "model"
ALL_READERS = "all readers"
TRUTH = "truth"


class Measure(StrEnum):
    """What a figure is of."""

    ACCURACY = "accuracy"
    SENSITIVITY = "sensitivity"
    SPECIFICITY = "specificity"
    CANNOT_ASSESS = "cannot assess"
    CONTROL_ACCURACY = "accuracy on controls"
    PERCENT_AGREEMENT = "percent agreement"
    COHENS_KAPPA = "Cohen's kappa"
    WEIGHTED_KAPPA = "weighted kappa"
    FLEISS_KAPPA = "Fleiss' kappa"
    ALPHA = "Krippendorff's alpha, nominal"
    ORDINAL_ALPHA = "Krippendorff's alpha, ordinal"
    AREA = "area under the ROC curve"
    AREA_DIFFERENCE = "difference of areas"
    ACCURACY_DIFFERENCE = "difference of accuracies"
    MCNEMAR = "McNemar's p-value"
    FOLLOWED_WRONG = "followed a wrong model"
    FOLLOWED_RIGHT = "followed a right model"
    CHANGED = "answers by change"
    ACTIVE_TIME = "active time"
    WALL_TIME = "wall time"
    CONFUSION = "confusion matrix"


@dataclass(frozen=True, slots=True)
class Condition:
    """In which arm and phase cases are read: what was known, and what had been seen before."""

    arm: Arm
    phase: Phase
    name: str
    """The phase, and the arm where the protocol has the phase in several."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A number with its interval; `reviews/codebook.py` takes what its fields are from here."""

    question: str
    """Id of the question."""
    measure: Measure
    """What it is."""
    condition: str
    """`blind`, `assisted` or `adjudication`, with the arm where there are several; of a change
    both; empty for the model."""
    who: str
    """Label of a reader, `all readers` or `model`."""
    against: str
    """With what it is compared: `truth`, `model`, another reader, or the same reader again."""
    detail: str = ""
    """Which change, or which cell of a confusion matrix."""
    value: float | None
    """The number: shares, areas and p-values 0 to 1, kappas and alphas at most 1, times in seconds,
    counts; empty: undefined."""
    low: float | None = None
    """Lower end of what `spread` says; empty: there is none."""
    high: float | None = None
    """Upper end."""
    spread: str = ""
    """What low and high are: a 95 % interval, or quartiles."""
    n: int
    """How many units it rests on."""
    unit: str
    """What one unit is."""
    patients: int | None = None
    """Of how many patients they are; empty: not counted. Fewer than 10 are too few to say much."""
    method: str
    """How the number and its interval are made."""
    reason: str = ""
    """Why there is no value or no interval."""


INTERVAL = "95 % interval"
QUARTILES = "quartiles"


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose figure it is, of which question, and against what."""

    question: str
    condition: str
    who: str
    against: str = TRUTH

    def share(
        self,
        measure: Measure,
        cases: Iterable[tuple[bool, str]],
        *,
        unit: str,
        says: str = "",
        empty: str,
    ) -> Figure:
        """Return a share. `cases`: (it counts, patient) of each unit."""
        counted = list(cases)
        estimate = estimate_accuracy(
            tally_patients(
                [(int(counts), 1) for counts, _ in counted], [patient for _, patient in counted]
            )
        )
        return self.estimated(measure, estimate, unit=unit, says=says, empty=empty)

    def estimated(
        self,
        measure: Measure,
        estimate: AccuracyEstimate,
        *,
        unit: str,
        says: str = "",
        empty: str,
    ) -> Figure:
        """Return a share that is estimated already."""
        method = estimate.method.sentence if estimate.method else ""
        return Figure(
            question=self.question,
            measure=measure,
            condition=self.condition,
            who=self.who,
            against=self.against,
            value=estimate.accuracy,
            low=estimate.low,
            high=estimate.high,
            spread=INTERVAL if estimate.low is not None else "",
            n=estimate.answers,
            unit=unit,
            patients=estimate.patients,
            method="; ".join(part for part in (says, method) if part),
            reason=empty if estimate.accuracy is None else "",
        )

    def drawn(
        self,
        measure: Measure,
        estimate: BootstrapEstimate,
        *,
        n: int,
        unit: str,
        says: str,
        empty: str,
    ) -> Figure:
        """Return a statistic with the interval of its bootstrap."""
        has_interval = estimate.low is not None
        reason = "" if has_interval else "no interval: fewer than two patients, or no draw differs"
        drawing = f"; percentile bootstrap, {estimate.clusters:,} patients drawn anew"
        left_out = f", {estimate.undefined:,} draws undefined" if estimate.undefined else ""
        return Figure(
            question=self.question,
            measure=measure,
            condition=self.condition,
            who=self.who,
            against=self.against,
            value=estimate.value,
            low=estimate.low,
            high=estimate.high,
            spread=INTERVAL if has_interval else "",
            n=n,
            unit=unit,
            patients=estimate.clusters,
            method=says + (drawing + left_out if has_interval else ""),
            reason=empty if estimate.value is None else reason,
        )

    def plain(
        self,
        measure: Measure,
        value: float | None,
        *,
        n: int,
        unit: str,
        method: str,
        detail: str = "",
        reason: str = "",
    ) -> Figure:
        """Return a number without an interval."""
        return Figure(
            question=self.question,
            measure=measure,
            condition=self.condition,
            who=self.who,
            against=self.against,
            detail=detail,
            value=value,
            n=n,
            unit=unit,
            method=method,
            reason=reason,
        )


def select(
    figures: Sequence[Figure],
    measure: Measure | None = None,
    *,
    condition: str | None = None,
    who: str | None = None,
    against: str | None = None,
) -> list[Figure]:
    """Return the figures that are of all this, in their order."""
    return [
        each
        for each in figures
        if (measure is None or each.measure is measure)
        and (condition is None or each.condition == condition)
        and (who is None or each.who == who)
        and (against is None or each.against == against)
    ]
