"""review: how often answers are right, and how far that can be trusted; pure.

    {(right, answers) of a patient: number of such patients}  ->  AccuracyEstimate

Answers of one patient are not independent: a study has several pictures, a picture several
questions. So patients are what is drawn, and an interval is by patient.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

import numpy as np

from medr1_pacs.statistics.proportions import LEVEL, wilson_interval
from medr1_pacs.statistics.resampling import DRAWS, SEED, draw, percentile_interval

FEW_PATIENTS = 10
"""Below it a figure says little: so few patients rarely show how different patients can be."""

Patients = Mapping[tuple[int, int], int]
"""(right answers, answers) of a patient -> how many patients have that. Patients alike in this are
exchangeable, so nothing else of them matters."""


class IntervalMethod(StrEnum):
    """How an interval was made."""

    WILSON = "wilson"  #: every patient has one answer
    BOOTSTRAP_AND_WILSON = "bootstrap_and_wilson"  #: patients with several: the wider of the two
    WILSON_BY_PATIENT = "wilson_by_patient"  #: all patients have the same share: each counts once

    @property
    def sentence(self) -> str:
        """The method in words."""
        return _SENTENCES[self]


_SENTENCES = {
    IntervalMethod.WILSON: "Wilson: one answer a patient",
    IntervalMethod.BOOTSTRAP_AND_WILSON: (
        "the wider of a bootstrap, patients drawn with replacement, and Wilson for as many "
        "independent answers as these are worth"
    ),
    IntervalMethod.WILSON_BY_PATIENT: (
        "Wilson, a patient counted once: all have the same share right, so drawing them shows "
        "no spread"
    ),
}


@dataclass(frozen=True, slots=True)
class AccuracyEstimate:
    """The share of answers that are right, with its 95 % interval; all shares are 0 to 1."""

    right: int
    answers: int
    patients: int
    accuracy: float | None
    """None: there are no answers, and then no interval either."""
    low: float | None
    high: float | None
    method: IntervalMethod | None

    @property
    def is_of_few(self) -> bool:
        """Whether so few patients are behind it that it says little."""
        return self.patients < FEW_PATIENTS


def estimate_accuracy(patients: Patients) -> AccuracyEstimate:
    """Estimate the share of right answers from what each patient has.

    Wilson's interval where every patient has one answer, else the union of a bootstrap of patients
    and Wilson's with as many answers as these are worth: a bootstrap alone is too narrow where
    nearly everything is right, for the few patients with an error tell little of how many more
    there are. Where all patients have the same share right every draw would give that share again:
    an interval without width. Then Wilson's interval with each patient as one answer, since at
    worst the answers of a patient all say the same.
    """
    tallies = _checked(patients)
    count = sum(number for _, number in tallies)
    right = sum(right * number for (right, _), number in tallies)
    answers = sum(answers * number for (_, answers), number in tallies)
    if not answers:
        return AccuracyEstimate(0, 0, 0, None, None, None, None)
    accuracy = right / answers
    if answers == count:
        method = IntervalMethod.WILSON
        low, high = wilson_interval(right, answers)
    elif _have_one_share(tallies):
        method = IntervalMethod.WILSON_BY_PATIENT
        low, high = wilson_interval(accuracy * count, count)
    else:
        method = IntervalMethod.BOOTSTRAP_AND_WILSON
        worth = effective_answers(patients)
        ends = (
            _bootstrap(tallies, LEVEL, DRAWS, SEED),
            wilson_interval(accuracy * worth, worth),
            # One more error must not raise the low end above what it is where there is none.
            (wilson_interval(count, count)[0], accuracy),
            (accuracy, wilson_interval(0, count)[1]),
        )
        low, high = min(low for low, _ in ends), max(high for _, high in ends)
    return AccuracyEstimate(right, answers, count, accuracy, low, high, method)


def tally_patients(
    answers: Iterable[tuple[int, int]], patients: Iterable[Hashable] | None = None
) -> Counter[tuple[int, int]]:
    """Count patients by what each has, from (right answers, answers) case by case.

    Parameters
    ----------
    patients
        Whose each case is; without it every case is of a patient of its own.

    Raises
    ------
    ValueError
        There are more cases than patients named, or fewer.
    """
    if patients is None:
        return Counter(answers)
    of_patient: dict[Hashable, tuple[int, int]] = {}
    for (right, count), patient in zip(answers, patients, strict=True):
        before = of_patient.get(patient, (0, 0))
        of_patient[patient] = before[0] + right, before[1] + count
    return Counter(of_patient.values())


def effective_answers(patients: Patients) -> float:
    """Return how many independent answers would say as much of the share as these do.

    The answers through the design effect: the variance of the share by patients (of a ratio, by
    linearization: Cochran WG (1977), Sampling Techniques, 6.4) through that of as many independent
    answers (Kish L (1965), Survey Sampling, 8.2). At least one a patient, since at worst the
    answers of a patient all say the same, and at most as many as there are.

    Raises
    ------
    ValueError
        There are no two patients with an answer.
    """
    tallies = _checked(patients)
    count = sum(number for _, number in tallies)
    if count < 2:
        raise ValueError("how patients differ cannot be seen from fewer than two")
    right = sum(right * number for (right, _), number in tallies)
    answers = sum(answers * number for (_, answers), number in tallies)
    share = right / answers
    squares = sum(number * (right - share * n) ** 2 for (right, n), number in tallies)
    variance = squares * count / (count - 1) / answers**2
    worth = share * (1 - share) / variance if variance else float(answers)
    return min(max(worth, float(count)), float(answers))


def cluster_bootstrap_interval(
    clusters: Patients, level: float = LEVEL, draws: int = DRAWS, seed: int = SEED
) -> tuple[float, float]:
    """Return the percentile interval of sum(right) / sum(answers), clusters drawn anew.

    As many clusters as there are, with replacement (Davison AC, Hinkley DV (1997), Bootstrap
    Methods and their Application, 3.8), and the percentile interval (Efron B, Tibshirani RJ (1993),
    An Introduction to the Bootstrap, 13.3). How often each distinct (right, answers) is drawn is
    multinomial, so a draw costs as much as there are distinct ones, however many clusters.

    It is too narrow for few clusters: the variance among n of them comes out as (n - 1) / n of what
    it is, and ten rarely hold the unusual one.

    Raises
    ------
    ValueError
        No cluster has an answer, or one has more right answers than answers.
    """
    tallies = _checked(clusters)
    if not tallies:
        raise ValueError("there is nothing to draw from")
    return _bootstrap(tallies, level, draws, seed)


_Tallies = tuple[tuple[tuple[int, int], int], ...]


def _checked(patients: Patients) -> _Tallies:
    """Return what counts, in an order that does not depend on how it was given."""
    for (right, answers), number in patients.items():
        if not (0 <= right <= answers and number >= 0):
            raise ValueError(f"{right} right of {answers}, {number} times, cannot be")
    return tuple(sorted((key, n) for key, n in patients.items() if n and key[1]))


def _have_one_share(tallies: _Tallies) -> bool:
    (first_right, first_answers), _ = tallies[0]
    return all(r * first_answers == first_right * n for (r, n), _ in tallies)


@lru_cache(maxsize=4_096)  # the page, the file and the API ask for the same ones
def _bootstrap(tallies: _Tallies, level: float, draws: int, seed: int) -> tuple[float, float]:
    right = np.array([right for (right, _), _ in tallies])
    answers = np.array([answers for (_, answers), _ in tallies])
    numbers = np.array([number for _, number in tallies])
    shares = [(drawn @ right) / (drawn @ answers) for drawn in draw(numbers, draws, seed)]
    return percentile_interval(np.concatenate(shares), level)
