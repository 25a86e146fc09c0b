"""Shares of right answers and their intervals: against other programs, and by hand."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, bootstrap
from statsmodels.stats.proportion import proportion_confint

from medr1_pacs.statistics import (
    AccuracyEstimate,
    IntervalMethod,
    cluster_bootstrap_interval,
    estimate_accuracy,
    wilson_interval,
)

CASES = [(0, 1), (1, 1), (0, 10), (10, 10), (1, 10), (81, 263), (15, 148), (999, 1000), (5, 7)]

FORTY = [
    # (right, answers) of forty patients, most of them with several
    *[(3, 3)] * 9, *[(2, 3)] * 8, *[(1, 3)] * 6, *[(0, 3)] * 3, (8, 10), (2, 9), (5, 5), (0, 4),
    *[(1, 1)] * 6, *[(0, 1)] * 4,
]  # fmt: skip


def patients_of(pairs) -> Counter:
    return Counter(pairs)


# -- Wilson ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("right", "n"), CASES)
@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
def test_wilson_is_that_of_scipy(right, n, level):
    theirs = binomtest(right, n).proportion_ci(level, method="wilson")

    assert wilson_interval(right, n, level) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


@pytest.mark.parametrize(("right", "n"), CASES)
def test_wilson_is_that_of_statsmodels(right, n):
    theirs = proportion_confint(right, n, 0.05, method="wilson")

    assert wilson_interval(right, n) == pytest.approx(theirs, abs=1e-12)


def test_wilson_is_that_of_newcombes_table():
    # Newcombe 1998, Table I, method 3: 81 of 263, and 15 of 148
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson_interval(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)


def test_wilson_by_hand():
    # z² = 1.96² = 3.8416; 8 of 10: center (0.8 + 0.19208) / 1.38416 = 0.716738,
    # half 1.96 / 1.38416 * sqrt(0.016 + 0.009604) = 1.416021 * 0.160012 = 0.226581
    low, high = wilson_interval(8, 10)

    assert low == pytest.approx(0.490157, abs=2e-5)
    assert high == pytest.approx(0.943319, abs=2e-5)


@pytest.mark.parametrize(("right", "n"), [(1, 0), (-1, 5), (6, 5), (float("nan"), 5)])
def test_what_is_no_proportion_has_no_interval(right, n):
    with pytest.raises(ValueError, match="is no proportion"):
        wilson_interval(right, n)


# -- the bootstrap of patients -----------------------------------------------------------------


def share_of(right, answers, axis=-1):
    return np.sum(right, axis=axis) / np.sum(answers, axis=axis)


@pytest.mark.parametrize("level", [0.9, 0.95])
def test_the_bootstrap_is_that_of_scipy(level):
    right, answers = np.array(FORTY).T
    theirs = bootstrap(
        (right, answers),
        share_of,
        paired=True,
        n_resamples=40_000,
        confidence_level=level,
        method="percentile",
        rng=np.random.default_rng(3),
    ).confidence_interval

    # Either end is a quantile of 10,000 draws: about 3 % of the standard error, here 0.06.
    ours = cluster_bootstrap_interval(patients_of(FORTY), level)
    assert ours == pytest.approx((theirs.low, theirs.high), abs=0.006)


def test_two_patients_by_hand():
    # Draws: twice the first (0 of 1), twice the second (3 of 3), or one each (3 of 4), by
    # probability 1/4, 1/4, 1/2. The 20th and the 80th percentile of that are 0 and 1, the 30th and
    # the 70th both 3/4.
    clusters = {(0, 1): 1, (3, 3): 1}

    assert cluster_bootstrap_interval(clusters, level=0.6) == (0, 1)
    assert cluster_bootstrap_interval(clusters, level=0.4) == (0.75, 0.75)


def test_many_patients_have_the_interval_of_the_normal_approximation():
    # The variance of a ratio by linearization (Cochran, Sampling Techniques, 1977, 6.4):
    # the sum of (right - share * answers)² over patients, through the square of all answers.
    pairs = [pair for pair in FORTY for _ in range(500)]
    right, answers = np.array(pairs).T
    share = right.sum() / answers.sum()
    half = 1.96 * np.sqrt(((right - share * answers) ** 2).sum()) / answers.sum()

    low, high = cluster_bootstrap_interval(patients_of(pairs))

    assert (low, high) == pytest.approx((share - half, share + half), abs=half * 0.05)


def test_drawing_in_parts_changes_nothing_of_its_kind(monkeypatch):
    whole = cluster_bootstrap_interval(patients_of(FORTY), draws=9_999)
    monkeypatch.setattr("medr1_pacs.statistics.resampling._DRAWN_AT_ONCE", 40_000)

    assert cluster_bootstrap_interval(patients_of(FORTY), draws=9_998) == pytest.approx(
        whole, abs=0.006
    )


def test_nothing_to_draw_from_is_an_error():
    with pytest.raises(ValueError, match="nothing to draw from"):
        cluster_bootstrap_interval({(0, 0): 5})


# -- which of them -----------------------------------------------------------------------------


def test_one_answer_a_patient_is_wilson():
    estimate = estimate_accuracy({(1, 1): 8, (0, 1): 2})

    assert estimate.method is IntervalMethod.WILSON
    assert (estimate.right, estimate.answers, estimate.patients) == (8, 10, 10)
    assert (estimate.low, estimate.high) == wilson_interval(8, 10)


def test_several_answers_of_a_patient_are_drawn_together():
    estimate = estimate_accuracy(patients_of(FORTY))

    low, high = cluster_bootstrap_interval(patients_of(FORTY))
    assert estimate.method is IntervalMethod.BOOTSTRAP_AND_WILSON
    assert estimate.low <= low < high <= estimate.high
    assert (estimate.patients, estimate.answers) == (40, 3 * 26 + 10 + 9 + 5 + 4 + 10)


@pytest.mark.parametrize(
    ("patients", "right", "n"),
    [
        ({(3, 3): 5, (2, 2): 4}, 9, 9),  # all right: as nine of nine
        ({(0, 7): 6}, 0, 6),  # all wrong
        ({(1, 2): 6, (2, 4): 2}, 4, 8),  # all a half
        ({(7, 10): 1}, 0.7, 1),  # one patient
    ],
)
def test_where_drawing_shows_no_spread_each_patient_counts_once(patients, right, n):
    estimate = estimate_accuracy(patients)

    assert estimate.method is IntervalMethod.WILSON_BY_PATIENT
    assert (estimate.low, estimate.high) == pytest.approx(wilson_interval(right, n))
    assert estimate.high - estimate.low > 0.2


def test_nothing_is_estimated_from_nothing():
    nothing = AccuracyEstimate(0, 0, 0, None, None, None, None)

    assert estimate_accuracy({}) == estimate_accuracy({(0, 0): 3}) == nothing


def test_patients_without_a_known_truth_are_none():
    assert estimate_accuracy({(0, 0): 99, (1, 1): 2, (0, 1): 1}).patients == 3


@pytest.mark.parametrize("patients", [{(2, 1): 1}, {(-1, 1): 1}, {(0, 1): -1}])
def test_what_no_patient_can_have_is_refused(patients):
    with pytest.raises(ValueError, match="cannot be"):
        estimate_accuracy(patients)


@pytest.mark.parametrize(("number", "is_of_few"), [(9, True), (10, False)])
def test_an_estimate_of_few_patients_says_so(number, is_of_few):
    assert estimate_accuracy({(1, 1): number}).is_of_few is is_of_few


@pytest.mark.parametrize("method", IntervalMethod)
def test_every_method_has_its_sentence(method):
    assert method.sentence


# -- what always holds -------------------------------------------------------------------------

pairs = st.integers(1, 12).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@settings(max_examples=60, deadline=None)
@given(st.lists(pairs, min_size=1, max_size=60))
def test_an_interval_holds_the_share_and_stays_between_0_and_1(drawn):
    estimate = estimate_accuracy(patients_of(drawn))

    assert 0 <= estimate.low <= estimate.accuracy <= estimate.high <= 1
    assert estimate.low < estimate.high


@settings(max_examples=30, deadline=None)
@given(st.lists(pairs, min_size=1, max_size=30), st.randoms(use_true_random=False))
def test_the_order_of_patients_does_not_matter(drawn, rng):
    shuffled = rng.sample(drawn, len(drawn))

    assert estimate_accuracy(patients_of(drawn)) == estimate_accuracy(patients_of(shuffled))


def test_whose_answers_they_are_matters():
    # The same 60 of 90 answers: of 30 patients who are alike, or who are all right or all wrong.
    alike = estimate_accuracy({(2, 3): 28, (1, 3): 1, (3, 3): 1})
    apart = estimate_accuracy({(3, 3): 20, (0, 3): 10})

    assert (alike.right, alike.answers) == (apart.right, apart.answers) == (60, 90)
    assert apart.high - apart.low > 1.5 * (alike.high - alike.low)


@pytest.mark.parametrize(
    ("patients", "at_least", "at_most"),
    [(60, 0.92, 0.98), (6, 0.6, 0.93)],  # few patients: too narrow, as the documentation says
)
def test_about_95_of_100_intervals_hold_the_truth(patients, at_least, at_most):
    rng = random.Random(patients)
    held = 0
    for _ in range(400):
        drawn = []
        for _ in range(patients):
            of_patient = rng.betavariate(3, 1.5)  # mean 2/3, far from alike
            n = rng.choice((1, 2, 4, 8))
            drawn.append((sum(rng.random() < of_patient for _ in range(n)), n))
        low, high = cluster_bootstrap_interval(patients_of(drawn), draws=1_000, seed=0)
        held += low <= 2 / 3 <= high

    assert at_least <= held / 400 <= at_most


def test_one_more_error_does_not_make_an_interval_narrower():
    all_right = estimate_accuracy({(2, 2): 20})
    one_wrong = estimate_accuracy({(2, 2): 19, (1, 2): 1})

    assert one_wrong.low <= all_right.low
