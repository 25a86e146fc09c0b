"""ROC curves and the areas under them: against scikit-learn, by the definition, and by hand."""

from __future__ import annotations

import math
import random
from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import bootstrap
from sklearn.metrics import roc_auc_score, roc_curve

from medr1_pacs.statistics.resampling import estimate_by_bootstrap
from medr1_pacs.statistics.roc import (
    RocPoint,
    area_under_curve,
    reader_averaged_area,
    roc_points,
)

SEEDS = range(10)


def draw_scores(seed, *, cases=80, readers=1, levels=100, missing=0.0):
    """Return truths and scores (cases x readers), the fewer levels the more ties."""
    rng = random.Random(seed)
    truths = [True, False, *(rng.random() < 0.4 for _ in range(cases - 2))]
    scores = [
        [
            None if rng.random() < missing else round(levels * rng.betavariate(2 + truth, 2))
            for _ in range(readers)
        ]
        for truth in truths
    ]
    return truths, scores


def column(scores, reader=0):
    return [case[reader] for case in scores]


# -- the curve ---------------------------------------------------------------------------------


@pytest.mark.parametrize("levels", [4, 1_000])
@pytest.mark.parametrize("seed", SEEDS)
def test_the_curve_is_that_of_scikit_learn(seed, levels):
    truths, scores = draw_scores(seed, levels=levels)
    false, true, thresholds = roc_curve(truths, column(scores), drop_intermediate=False)

    points = roc_points(truths, column(scores))

    assert [p.false_positive_rate for p in points] == pytest.approx(false)
    assert [p.true_positive_rate for p in points] == pytest.approx(true)
    assert [p.threshold for p in points[1:]] == thresholds[1:].tolist()


def test_the_curve_by_hand():
    points = roc_points([True, True, False, False, False], [90, 50, 50, 20, -10])

    assert points == (
        RocPoint(None, 0, 0),
        RocPoint(90, 0, 1 / 2),
        RocPoint(50, 1 / 3, 1),
        RocPoint(20, 2 / 3, 1),
        RocPoint(-10, 1, 1),
    )


def test_cases_without_a_score_are_no_part_of_the_curve():
    with_none = roc_points([True, True, False, False], [9, None, 3, None])

    assert with_none == roc_points([True, False], [9, 3])


# -- the area of one reader --------------------------------------------------------------------


@pytest.mark.parametrize("levels", [4, 1_000])
@pytest.mark.parametrize("seed", SEEDS)
def test_the_area_is_that_of_scikit_learn(seed, levels):
    truths, scores = draw_scores(seed, levels=levels)

    assert area_under_curve(truths, column(scores)).value == pytest.approx(
        roc_auc_score(truths, column(scores)), abs=1e-12
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_the_area_is_that_of_trapezoids_under_the_points(seed):
    truths, scores = draw_scores(seed, levels=12)
    points = roc_points(truths, column(scores))

    area = np.trapezoid(
        [p.true_positive_rate for p in points], [p.false_positive_rate for p in points]
    )

    assert area_under_curve(truths, column(scores)).value == pytest.approx(area, abs=1e-12)


def test_the_area_by_hand():
    # Pairs: 90 is above all three; 50 is level with one and above two: (3 + 2.5) / 6
    area = area_under_curve([True, True, False, False, False], [90, 50, 50, 20, -10])

    assert area.value == 5.5 / 6


def test_one_score_for_all_is_a_half():
    assert area_under_curve([True, False, False], [7, 7, 7]).value == 0.5


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(-5, 5)), min_size=1, max_size=30))
def test_the_area_is_the_share_of_pairs_in_order(cases):
    truths, scores = zip(*cases, strict=True)
    positive = [score for truth, score in cases if truth]
    negative = [score for truth, score in cases if not truth]
    assume(positive and negative)

    won = [1 if p > n else 0.5 if p == n else 0 for p, n in product(positive, negative)]
    assert area_under_curve(truths, scores).value == pytest.approx(sum(won) / len(won))
    turned = area_under_curve(truths, [-score for score in scores])
    assert turned.value == pytest.approx(1 - sum(won) / len(won))
    cubed = area_under_curve(truths, [score**3 for score in scores])
    assert cubed.value == pytest.approx(sum(won) / len(won))


# -- several readers ---------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_the_area_of_readers_is_the_mean_of_theirs(seed):
    truths, scores = draw_scores(seed, readers=5, levels=20)
    theirs = [roc_auc_score(truths, column(scores, reader)) for reader in range(5)]

    assert reader_averaged_area(truths, scores).value == pytest.approx(np.mean(theirs), abs=1e-12)


def test_a_reader_is_measured_by_what_they_scored():
    truths, scores = draw_scores(1, readers=3, missing=0.3)
    theirs = []
    for reader in range(3):
        scored = [
            (truth, case[reader])
            for truth, case in zip(truths, scores, strict=True)
            if case[reader] is not None
        ]
        theirs.append(roc_auc_score(*zip(*scored, strict=True)))

    assert reader_averaged_area(truths, scores).value == pytest.approx(np.mean(theirs), abs=1e-12)


def test_a_reader_who_scored_nothing_is_left_out():
    truths, scores = draw_scores(2, readers=2)

    with_another = reader_averaged_area(truths, [[a, None, b] for a, b in scores])

    assert with_another.value == reader_averaged_area(truths, scores).value


def test_a_reader_who_scored_one_class_alone_leaves_no_mean():
    truths = [True, False, True, False]

    assert reader_averaged_area(truths, [[4, 4], [1, None], [3, 2], [2, None]]).value is None


# -- the interval ------------------------------------------------------------------------------


def test_the_interval_is_that_of_scipy():
    truths, scores = draw_scores(3, cases=120)
    given = (np.array(truths), np.array(column(scores)))
    theirs = bootstrap(
        given,
        roc_auc_score,
        paired=True,
        vectorized=False,
        n_resamples=2_000,
        method="percentile",
        rng=np.random.default_rng(8),
    ).confidence_interval

    ours = estimate_by_bootstrap(area_under_curve(truths, column(scores)))

    # Of 2,000 draws an end has an error of about 6 % of the standard error, here 0.04.
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.01)


def test_a_draw_has_the_same_cases_for_all_readers():
    truths, scores = draw_scores(4)
    alike = [case * 3 for case in scores]

    one = estimate_by_bootstrap(area_under_curve(truths, column(scores)))
    three = estimate_by_bootstrap(reader_averaged_area(truths, alike))

    assert (three.low, three.high) == pytest.approx((one.low, one.high), abs=1e-12)


def test_draws_without_one_of_the_classes_are_left_out():
    # Of four cases one is positive: none of four draws with (3/4)^4, each with (1/4)^4
    estimate = estimate_by_bootstrap(area_under_curve([True, False, False, False], [2, 1, 2, 3]))

    assert estimate.undefined / 10_000 == pytest.approx((3**4 + 1) / 4**4, abs=0.02)
    assert estimate.draws + estimate.undefined == 10_000
    assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1


# -- where there is nothing to say -------------------------------------------------------------


@pytest.mark.parametrize(
    ("truths", "scores"),
    [([], []), ([True, True], [1, 2]), ([False], [1]), ([True, False], [1, None])],
    ids=["no case", "all positive", "one negative", "negative without a score"],
)
def test_without_both_classes_there_is_no_curve(truths, scores):
    assert roc_points(truths, scores) is None
    assert area_under_curve(truths, scores).value is None


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_a_score_is_a_number(score):
    with pytest.raises(ValueError, match="finite"):
        area_under_curve([True, False], [score, 1])


def test_every_case_has_a_truth_and_a_place_for_every_reader():
    with pytest.raises(ValueError, match="zip"):
        roc_points([True], [1, 2])
    with pytest.raises(ValueError, match="a place for every reader"):
        reader_averaged_area([True, False], [[1, 2], [1]])
