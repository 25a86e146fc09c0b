"""review: how far raters agree, beyond what chance would make them agree; pure.

    units x raters  ->  Statistic, at most 1: its value, and by a bootstrap its interval

The coefficients are 1 less the disagreement there is through that which chance would make: 1 where
all agree, 0 where they do as if by chance, below 0 where they do less. Where everybody names one
category chance makes none, and they are undefined (0/0), as they are without two ratings of a unit.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from enum import StrEnum

import numpy as np

from medr1_pacs.statistics.accuracy import AccuracyEstimate, estimate_accuracy, tally_patients
from medr1_pacs.statistics.ratings import (
    Ratings,
    array_of_pairs,
    array_of_ratings,
    categories_of,
    count_categories,
    is_rated,
)
from medr1_pacs.statistics.resampling import Array, Mask, Statistic, ratio


class Scale(StrEnum):
    """What is known of categories, and so how far two of them are apart."""

    NOMINAL = "nominal"  #: they are different, or the same
    ORDINAL = "ordinal"  #: they have an order
    INTERVAL = "interval"  #: as far apart as their indices are


class KappaWeights(StrEnum):
    """How much a disagreement weighs, by how far the indices are apart."""

    EQUAL = "equal"  #: all the same: Cohen's kappa without weights
    LINEAR = "linear"  #: as far as they are apart
    QUADRATIC = "quadratic"  #: the square of that


def percent_agreement(ratings: Ratings) -> Statistic:
    """Return the share, 0 to 1, of pairs of ratings of the same unit that are equal.

    Pairs of all raters who rated a unit, over all units; undefined where there is no pair.
    """
    units = _array_of_alike_raters(ratings)

    def of_drawn(units: Array, drawn: Array) -> Array:
        agreeing, pairs = _count_pairs(units)
        return ratio(drawn @ agreeing, drawn @ pairs)

    return Statistic(units, _has_pair(units), of_drawn)


def estimate_percent_agreement(
    ratings: Ratings, patients: Sequence[Hashable] | None = None
) -> AccuracyEstimate:
    """Estimate the share of pairs that are equal as a share of right answers is.

    Unlike by a bootstrap it has an interval where all agree. The pairs of a unit are not
    independent, so without `patients` each unit is drawn whole.
    """
    agreeing, pairs = _count_pairs(array_of_ratings(ratings))
    counted = zip(agreeing.astype(int).tolist(), pairs.astype(int).tolist(), strict=True)
    return estimate_accuracy(tally_patients(counted, patients))


def cohens_kappa(ratings: Ratings, weights: KappaWeights = KappaWeights.EQUAL) -> Statistic:
    """Return Cohen's kappa of two raters, -1 to 1, over the units that both rated.

    Cohen J (1960), A coefficient of agreement for nominal scales, Educational and Psychological
    Measurement 20:37-46; with weights, on ordered categories, Cohen J (1968), Weighted kappa,
    Psychological Bulletin 70:213-220. Undefined where both gave one and the same category to all.

    Raises
    ------
    ValueError
        There are not two raters.
    """
    units = array_of_pairs(ratings)

    def of_drawn(units: Array, drawn: Array) -> Array:
        categories = categories_of(units)
        k = len(categories)
        gave = units[:, :, np.newaxis] == categories  # (units, raters, categories)
        cells = gave[:, 0, :, np.newaxis] & gave[:, 1, np.newaxis, :]
        matrix = (drawn @ cells.reshape(-1, k * k).astype(np.float64)).reshape(-1, k, k)
        apart = _weigh(np.abs(categories[:, np.newaxis] - categories), weights)
        observed = (matrix * apart).sum(axis=(1, 2))
        first, second = matrix.sum(axis=2), matrix.sum(axis=1)
        expected = ((first @ apart) * second).sum(axis=1)
        return 1 - ratio(observed * matrix.sum(axis=(1, 2)), expected)

    return Statistic(units, _has_pair(units), of_drawn, width=len(categories_of(units)) ** 2)


def fleiss_kappa(ratings: Ratings) -> Statistic:
    """Return Fleiss' kappa, -1 to 1, of as many ratings a unit, by whichever raters.

    Fleiss JL (1971), Measuring nominal scale agreement among many raters, Psychological Bulletin
    76:378-382. Units that nobody rated are left out. Undefined where the others have different
    numbers of ratings, for which it was not made (`krippendorffs_alpha` is), or one each, or where
    all ratings are of one category.
    """
    units = _array_of_alike_raters(ratings)

    def of_drawn(units: Array, drawn: Array) -> Array:
        counts = count_categories(units)
        numbers = counts.sum(axis=1)
        if len(set(numbers[numbers > 0])) > 1:
            return np.full(len(drawn), np.nan)
        agreeing, pairs = _count_pairs(units)
        given = drawn @ counts  # (draws, categories)
        everything = given.sum(axis=1) ** 2
        observed = ratio(drawn @ (pairs - agreeing), drawn @ pairs)
        return 1 - ratio(observed * everything, everything - (given**2).sum(axis=1))

    return Statistic(units, is_rated(units).sum(axis=1) > 0, of_drawn)


def krippendorffs_alpha(ratings: Ratings, scale: Scale = Scale.NOMINAL) -> Statistic:
    """Return Krippendorff's alpha, at most 1, of any number of raters and ratings.

    Krippendorff K (2011), Computing Krippendorff's alpha-reliability, University of Pennsylvania.
    Units with one rating say nothing of agreement and are left out. Undefined where all ratings of
    the others are of one category.

    A draw costs as the square of the categories that occur: of a hundred, draw less often.
    """
    units = _array_of_alike_raters(ratings)

    def of_drawn(units: Array, drawn: Array) -> Array:
        counts = count_categories(units) * _has_pair(units)[:, np.newaxis]
        k = counts.shape[1]
        pairs = counts[:, :, np.newaxis] * (counts[:, np.newaxis, :] - np.eye(k))
        pairs /= np.maximum(counts.sum(axis=1) - 1, 1)[:, np.newaxis, np.newaxis]
        coincidences = (drawn @ pairs.reshape(-1, k * k)).reshape(-1, k, k)
        given = drawn @ counts  # (draws, categories)
        apart = _distances(scale, categories_of(units), given)
        observed = (coincidences * apart).sum(axis=(1, 2))
        expected = ((given[:, np.newaxis, :] @ apart)[:, 0] * given).sum(axis=1)
        return 1 - ratio((given.sum(axis=1) - 1) * observed, expected)

    return Statistic(units, _has_pair(units), of_drawn, width=2 * len(categories_of(units)) ** 2)


def _array_of_alike_raters(ratings: Ratings) -> Array:
    """Return `array_of_ratings` with each unit's in order, since whose each is does not matter."""
    return np.sort(array_of_ratings(ratings), axis=1)


def _has_pair(units: Array) -> Mask:
    has: Mask = is_rated(units).sum(axis=1) > 1
    return has


def _count_pairs(units: Array) -> tuple[Array, Array]:
    """Return (units,) how many pairs of ratings are equal, and how many there are."""
    counts = count_categories(units)
    numbers = counts.sum(axis=1)
    return (counts * (counts - 1)).sum(axis=1) / 2, numbers * (numbers - 1) / 2


def _weigh(apart: Array, weights: KappaWeights) -> Array:
    # Cohen's weights are these through the largest of them, which the ratio cancels.
    match weights:
        case KappaWeights.EQUAL:
            return (apart > 0).astype(np.float64)
        case KappaWeights.LINEAR:
            return apart
        case KappaWeights.QUADRATIC:
            return apart**2


def _distances(scale: Scale, categories: Array, given: Array) -> Array:
    """Return Krippendorff's squared differences, (draws or 1, categories, categories)."""
    match scale:
        case Scale.NOMINAL:
            return 1 - np.eye(len(categories))[np.newaxis]
        case Scale.ORDINAL:
            # The ratings between two categories, with half of each end: a difference of mid-ranks.
            places = given.cumsum(axis=1) - given / 2
        case Scale.INTERVAL:
            places = categories[np.newaxis]
    return (places[:, :, np.newaxis] - places[:, np.newaxis, :]) ** 2
