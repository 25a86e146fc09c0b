"""review: how well scores tell positive cases from negative ones; pure.

    the truths of cases, scores of cases (x readers)  ->  points of the curve, the area under it

A score is any number, the higher the surer that a case is positive; None where there is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medr1_pacs.statistics.resampling import Array, Mask, Statistic, ratio

_NOT_SCORED = -np.inf


@dataclass(frozen=True, slots=True)
class RocPoint:
    """What calling everything positive from a threshold on comes to; rates are 0 to 1."""

    threshold: float | None
    """The lowest score that is called positive; None: nothing is."""
    false_positive_rate: float
    true_positive_rate: float


def roc_points(
    truths: Sequence[bool], scores: Sequence[float | None]
) -> tuple[RocPoint, ...] | None:
    """Return the empirical curve of one reader, a point a distinct score, from (0, 0) to (1, 1).

    None where no positive case has a score, or no negative one.

    Raises
    ------
    ValueError
        A score is no finite number, or there are more truths than scores, or fewer.
    """
    units = _array_of_scores(truths, [[score] for score in scores])
    is_scored = units[:, 1] > _NOT_SCORED
    positive, scored = units[is_scored, 0] == 1, units[is_scored, 1]
    positives, negatives = int(positive.sum()), int((~positive).sum())
    if not (positives and negatives):
        return None
    points = [RocPoint(None, 0.0, 0.0)]
    for threshold in np.unique(scored)[::-1]:
        called = scored >= threshold
        points.append(
            RocPoint(
                float(threshold),
                int((called & ~positive).sum()) / negatives,
                int((called & positive).sum()) / positives,
            )
        )
    return tuple(points)


def area_under_curve(truths: Sequence[bool], scores: Sequence[float | None]) -> Statistic:
    """Return the area under one reader's empirical curve, 0 to 1, by trapezoids.

    It is the share of pairs, a positive case and a negative one, in which the positive one has the
    higher score, a tie being half (Bamber D (1975), Journal of Mathematical Psychology 12:387-415;
    Hanley JA, McNeil BJ (1982), Radiology 143:29-36). Undefined where either class has no score.

    Raises
    ------
    ValueError
        As `roc_points`.
    """
    return reader_averaged_area(truths, [[score] for score in scores])


def reader_averaged_area(
    truths: Sequence[bool], scores: Sequence[Sequence[float | None]]
) -> Statistic:
    """Return the mean of the readers' areas under their curves, 0 to 1.

    A draw has the same cases for all readers, so an interval is for these readers and other cases,
    not for other readers. Those who scored nothing are left out; undefined where another has no
    score of either class, since without one of them it would be the mean of others.

    Parameters
    ----------
    scores
        Cases x readers.

    Raises
    ------
    ValueError
        As `roc_points`, or cases have different numbers of readers.
    """
    units = _array_of_scores(truths, scores)
    return Statistic(
        units,
        units[:, 1:].max(axis=1, initial=_NOT_SCORED) > _NOT_SCORED,
        _mean_area,
        width=len(units) * 4,
    )


def _array_of_scores(truths: Sequence[bool], scores: Sequence[Sequence[float | None]]) -> Array:
    """Return (cases, 1 + readers): 1 where the truth is positive, then the scores."""
    readers = {len(case) for case in scores}
    if len(readers) > 1:
        raise ValueError("every case needs a place for every reader, None where one has no score")
    if not all(np.isfinite(score) for case in scores for score in case if score is not None):
        raise ValueError("a score is a finite number")
    rows = [
        (float(truth), *(_NOT_SCORED if score is None else float(score) for score in case))
        for truth, case in zip(truths, scores, strict=True)
    ]
    return np.array(rows, dtype=np.float64).reshape(
        len(rows), 1 + (readers.pop() if readers else 1)
    )


def _mean_area(units: Array, drawn: Array) -> Array:
    is_positive = units[:, 0] == 1
    areas = [
        _area(is_positive[scored], reader[scored], drawn[:, scored])
        for reader in units[:, 1:].T
        if (scored := reader > _NOT_SCORED).any()
    ]
    return np.mean(areas, axis=0) if areas else np.full(len(drawn), np.nan)


def _area(is_positive: Mask, scores: Array, drawn: Array) -> Array:
    """Return (draws,): the share of pairs in which the positive case is above, half of a tie."""
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=-np.inf))  # of each distinct score
    positive = np.add.reduceat((drawn * is_positive)[:, order], starts, axis=1)
    negative = np.add.reduceat((drawn * ~is_positive)[:, order], starts, axis=1)
    below = negative.cumsum(axis=1) - negative / 2
    return ratio((positive * below).sum(axis=1), positive.sum(axis=1) * negative.sum(axis=1))
