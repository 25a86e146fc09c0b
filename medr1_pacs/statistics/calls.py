"""review: how often readers call positive what is, and negative what is not; pure.

    (the truth is positive, it was called positive) a case  ->  AccuracyEstimate, or Statistic

An estimate has Wilson's interval, or where cases share a patient that of `estimate_accuracy`. A
statistic is for differences, which are drawn.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

from medr1_pacs.statistics.accuracy import AccuracyEstimate, estimate_accuracy, tally_patients
from medr1_pacs.statistics.resampling import Array, Statistic, ratio

Call = tuple[bool, bool | None]
"""Whether the truth of a case is positive, and whether it was called so: None where nobody did call
it anything, and the case is left out."""


def estimate_sensitivity(
    calls: Sequence[Call], patients: Sequence[Hashable] | None = None
) -> AccuracyEstimate:
    """Estimate the share of the positive cases that were called positive.

    Parameters
    ----------
    patients
        Whose each case is; without it every case is of a patient of its own.
    """
    return estimate_accuracy(tally_patients(_among(calls, positive=True), patients))


def estimate_specificity(
    calls: Sequence[Call], patients: Sequence[Hashable] | None = None
) -> AccuracyEstimate:
    """Estimate the share of the negative cases that were called negative."""
    return estimate_accuracy(tally_patients(_among(calls, positive=False), patients))


def sensitivity(calls: Sequence[Call]) -> Statistic:
    """Return the share, 0 to 1, of the positive cases that were called positive."""
    return _share(_among(calls, positive=True))


def specificity(calls: Sequence[Call]) -> Statistic:
    """Return the share, 0 to 1, of the negative cases that were called negative."""
    return _share(_among(calls, positive=False))


def accuracy(rights: Sequence[bool | None]) -> Statistic:
    """Return the share, 0 to 1, of right answers; None is no answer, and left out."""
    return _share([(right is True, right is not None) for right in rights])


def _among(calls: Sequence[Call], *, positive: bool) -> list[tuple[int, int]]:
    """Return (called as it is, counts) a case."""
    return [
        (
            int(truth is positive and called is positive),
            int(truth is positive and called is not None),
        )
        for truth, called in calls
    ]


def _share(cases: Sequence[tuple[int, int]]) -> Statistic:
    units = np.array(cases, dtype=np.float64).reshape(len(cases), 2)

    def of_drawn(units: Array, drawn: Array) -> Array:
        return ratio(drawn @ units[:, 0], drawn @ units[:, 1])

    return Statistic(units, units[:, 1] > 0, of_drawn)
