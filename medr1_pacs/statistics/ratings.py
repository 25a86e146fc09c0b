"""review: what several raters said of the same units, as numbers; pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from medr1_pacs.statistics.resampling import Array, Mask

Ratings = Sequence[Sequence[int | None]]
"""Units x raters: the index of a category, from 0, or None where the rater did not rate. Where
categories are ordered, their indices are."""

_NOT_RATED = -1.0


def array_of_ratings(ratings: Ratings) -> Array:
    """Return (units, raters) categories, below 0 where there is no rating.

    Raises
    ------
    ValueError
        A category is below 0, or units have different numbers of raters.
    """
    raters = {len(unit) for unit in ratings}
    if len(raters) > 1:
        raise ValueError("every unit needs a place for every rater, None where one did not rate")
    given = [rating for unit in ratings for rating in unit]
    if any(rating is not None and rating < 0 for rating in given):
        raise ValueError("categories are counted from 0")
    categories = [_NOT_RATED if rating is None else float(rating) for rating in given]
    return np.array(categories, dtype=np.float64).reshape(
        len(ratings), raters.pop() if raters else 0
    )


def is_rated(units: Array) -> Mask:
    """Return (units, raters): who rated what."""
    rated: Mask = units >= 0
    return rated


def categories_of(units: Array) -> Array:
    """Return (categories,): those that somebody gave, in their order."""
    given: Array = np.unique(units[is_rated(units)])
    return given


def count_categories(units: Array) -> Array:
    """Return (units, categories): how many raters gave each of `categories_of` these units."""
    gave = units[:, :, np.newaxis] == categories_of(units)  # (units, raters, categories)
    counts: Array = gave.sum(axis=1, dtype=np.float64)
    return counts


def confusion_matrix(ratings: Ratings, categories: int) -> NDArray[np.int64]:
    """Count units by what two raters said of them.

    Returns
    -------
    numpy.ndarray
        (categories, categories): a row a category of the first rater, a column one of the second.
        Units that only one of them rated are in none.

    Raises
    ------
    ValueError
        There are not two raters, or a category is not below `categories`.
    """
    units = array_of_pairs(ratings)
    if len(units) and units.max() >= categories:
        raise ValueError(f"category {int(units.max())} is none of {categories}")
    matrix = np.zeros((categories, categories), dtype=np.int64)
    first, second = units[is_rated(units).all(axis=1)].astype(np.int64).T
    np.add.at(matrix, (first, second), 1)
    return matrix


def array_of_pairs(ratings: Ratings) -> Array:
    """Return `array_of_ratings` of two raters.

    Raises
    ------
    ValueError
        There are more raters, or fewer.
    """
    units = array_of_ratings(ratings)
    if len(units) and units.shape[1] != 2:
        raise ValueError(f"two raters are compared, not {units.shape[1]}")
    return units.reshape(len(units), 2)
