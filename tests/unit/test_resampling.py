"""The bootstrap of cases and patients: against other programs, and by hand."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import bootstrap
from sklearn.metrics import cohen_kappa_score

from medr1_pacs.statistics import cluster_bootstrap_interval
from medr1_pacs.statistics.agreement import (
    Scale,
    cohens_kappa,
    fleiss_kappa,
    krippendorffs_alpha,
    percent_agreement,
)
from medr1_pacs.statistics.calls import accuracy, sensitivity, specificity
from medr1_pacs.statistics.resampling import difference, estimate_by_bootstrap
from medr1_pacs.statistics.roc import reader_averaged_area

STATISTICS = {
    "percent": percent_agreement,
    "cohen": lambda ratings: cohens_kappa([unit[:2] for unit in ratings]),
    "fleiss": fleiss_kappa,
    "alpha": krippendorffs_alpha,
    "ordinal": lambda ratings: krippendorffs_alpha(ratings, Scale.ORDINAL),
    "accuracy": lambda ratings: accuracy([unit[0] == unit[1] for unit in ratings]),
    "sensitivity": lambda ratings: sensitivity([(unit[0] > 0, unit[1] > 0) for unit in ratings]),
    "specificity": lambda ratings: specificity([(unit[0] > 0, unit[1] > 0) for unit in ratings]),
    "area": lambda ratings: reader_averaged_area(
        [unit[0] > 0 for unit in ratings], [unit[1:] for unit in ratings]
    ),
    "difference": lambda ratings: difference(
        krippendorffs_alpha([unit[:2] for unit in ratings]),
        krippendorffs_alpha([unit[1:] for unit in ratings]),
    ),
}


def draw_ratings(seed, units=60, raters=3, categories=3, agree=0.6):
    rng = random.Random(seed)
    ratings = []
    for _ in range(units):
        truth = rng.randrange(categories)
        ratings.append(
            [truth if rng.random() < agree else rng.randrange(categories) for _ in range(raters)]
        )
    return ratings


# -- against other programs --------------------------------------------------------------------


def test_the_interval_of_kappa_is_that_of_scipy():
    ratings = draw_ratings(1, raters=2)
    theirs = bootstrap(
        tuple(np.array(ratings).T),
        cohen_kappa_score,
        paired=True,
        vectorized=False,
        n_resamples=2_000,
        method="percentile",
        rng=np.random.default_rng(5),
    ).confidence_interval

    ours = estimate_by_bootstrap(cohens_kappa(ratings))

    # Of 2,000 draws an end has an error of about 6 % of the standard error, here 0.09.
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.02)


@pytest.mark.parametrize("name", STATISTICS)
def test_a_draw_comes_to_what_its_cases_come_to(name):
    # One draw at a time, with its cases written out: the same number as in weights.
    ratings = draw_ratings(2, units=25)
    statistic = STATISTICS[name](ratings)
    often = np.random.default_rng(2).multinomial(25, [1 / 25] * 25, size=20)

    values = statistic.of_drawn(statistic.units, often.astype(float))

    written_out = [
        STATISTICS[name](
            [unit for unit, n in zip(ratings, drawn, strict=True) for _ in range(n)]
        ).value
        for drawn in often
    ]
    assert values.tolist() == pytest.approx(written_out, abs=1e-12)


def test_a_share_by_case_is_that_of_the_bootstrap_of_answers():
    right = [True] * 30 + [False] * 12
    estimate = estimate_by_bootstrap(accuracy(right))

    theirs = cluster_bootstrap_interval({(1, 1): 30, (0, 1): 12})
    assert (estimate.low, estimate.high) == theirs


def test_a_share_by_patient_is_that_of_the_bootstrap_of_patients():
    rng = random.Random(4)
    patients = [rng.randrange(40) for _ in range(150)]
    right = [rng.random() < 0.3 + 0.6 * (patient % 2) for patient in patients]
    of_patient = {
        patient: (
            sum(r for r, p in zip(right, patients, strict=True) if p == patient),
            patients.count(patient),
        )
        for patient in set(patients)
    }

    estimate = estimate_by_bootstrap(accuracy(right), patients)

    theirs = cluster_bootstrap_interval(Counter(of_patient.values()))
    assert (estimate.low, estimate.high) == pytest.approx(theirs, abs=0.006)
    assert estimate.clusters == len(of_patient)


# -- by hand -----------------------------------------------------------------------------------


def test_two_patients_by_hand():
    # Draws: twice the first (0 of 1), twice the second (3 of 3), or one each (3 of 4), by
    # probability 1/4, 1/4, 1/2: the 20th and the 80th percentile are 0 and 1, the 30th and the
    # 70th both 3/4.
    statistic = accuracy([False, True, True, True])
    patients = ["a", "b", "b", "b"]

    wide = estimate_by_bootstrap(statistic, patients, level=0.6)
    narrow = estimate_by_bootstrap(statistic, patients, level=0.4)

    assert (wide.value, wide.low, wide.high, wide.clusters) == (0.75, 0, 1, 2)
    assert (narrow.low, narrow.high) == (0.75, 0.75)


@pytest.mark.parametrize("name", ["cohen", "alpha", "area", "sensitivity"])
def test_a_patient_who_is_every_case_twice_counts_as_one_case(name):
    ratings = draw_ratings(5, units=40)
    once = estimate_by_bootstrap(STATISTICS[name](ratings))

    twice = estimate_by_bootstrap(STATISTICS[name](ratings * 2), [*range(40), *range(40)])

    # The same draws. Alpha alone differs, by little: chance is drawn without replacement there.
    assert twice.clusters == once.clusters
    assert (twice.low, twice.high) == pytest.approx((once.low, once.high), abs=0.01)


# -- where there is nothing to draw from -------------------------------------------------------


@pytest.mark.parametrize("name", STATISTICS)
def test_of_no_units_nothing_is_estimated(name):
    estimate = estimate_by_bootstrap(STATISTICS[name]([]))

    assert (estimate.value, estimate.low, estimate.high) == (None, None, None)
    assert (estimate.clusters, estimate.draws, estimate.undefined) == (0, 0, 0)


def test_one_patient_has_no_interval():
    estimate = estimate_by_bootstrap(cohens_kappa(draw_ratings(6, raters=2)), ["a"] * 60)

    assert estimate.value is not None
    assert (estimate.low, estimate.high, estimate.clusters, estimate.draws) == (None, None, 1, 0)


def test_where_all_agree_drawing_shows_no_spread_and_there_is_no_interval():
    estimate = estimate_by_bootstrap(cohens_kappa([[0, 0], [1, 1]] * 5))

    assert (estimate.value, estimate.low, estimate.high) == (1, None, None)
    # Draws of one category alone are undefined: 2 of 2^10.
    assert 0 < estimate.undefined < 60


def test_what_is_undefined_of_all_cases_has_no_interval_either():
    estimate = estimate_by_bootstrap(fleiss_kappa([[0, 1, None], [1, 1, 0], [0, 0, 0]]))

    assert (estimate.value, estimate.low, estimate.high) == (None, None, None)
    assert (estimate.draws, estimate.undefined) == (0, 0)


@pytest.mark.parametrize(
    ("statistic", "silent"),
    [
        (percent_agreement, [None, 1, None]),
        (fleiss_kappa, [None] * 3),
        (krippendorffs_alpha, [2, None, None]),
    ],
    ids=["percent", "fleiss", "alpha"],
)
def test_units_that_say_nothing_are_not_drawn(statistic, silent):
    ratings = draw_ratings(7)

    with_silent = estimate_by_bootstrap(statistic([*ratings, *[silent] * 50]))

    assert with_silent == estimate_by_bootstrap(statistic(ratings))


# -- what always holds -------------------------------------------------------------------------


@pytest.mark.parametrize("name", STATISTICS)
@settings(max_examples=8, deadline=None)
@given(rng=st.randoms(use_true_random=False), seed=st.integers(0, 99))
def test_neither_the_order_of_cases_nor_the_names_of_patients_matter(name, rng, seed):
    ratings = draw_ratings(seed, units=30)
    patients = [random.Random(seed + i).randrange(15) for i in range(30)]
    shuffled = rng.sample(range(30), 30)

    first = estimate_by_bootstrap(STATISTICS[name](ratings), patients, draws=200)
    again = estimate_by_bootstrap(
        STATISTICS[name]([ratings[i] for i in shuffled]),
        [f"patient {-patients[i]}" for i in shuffled],
        draws=200,
    )

    assert first == again


@pytest.mark.parametrize("name", ["percent", "fleiss", "alpha", "ordinal"])
def test_whose_rating_each_is_does_not_matter(name):
    ratings = draw_ratings(14)
    exchanged = [unit[i % 3 :] + unit[: i % 3] for i, unit in enumerate(ratings)]

    first, again = (estimate_by_bootstrap(STATISTICS[name](each)) for each in (ratings, exchanged))

    assert first == again


def test_drawing_in_parts_changes_nothing(monkeypatch):
    statistic = krippendorffs_alpha(draw_ratings(8))
    whole = estimate_by_bootstrap(statistic)
    monkeypatch.setattr("medr1_pacs.statistics.resampling._DRAWN_AT_ONCE", 10_000)

    assert estimate_by_bootstrap(statistic) == whole


def test_another_seed_draws_others():
    statistic = cohens_kappa(draw_ratings(9, raters=2))

    one, other = (estimate_by_bootstrap(statistic, draws=500, seed=seed) for seed in (1, 2))

    assert one.value == other.value
    assert (one.low, one.high) != (other.low, other.high)


def test_patients_who_are_alike_in_themselves_widen_the_interval():
    ratings = [unit for unit in draw_ratings(10, units=30, raters=2) for _ in range(4)]
    patients = [number for number in range(30) for _ in range(4)]

    by_case = estimate_by_bootstrap(cohens_kappa(ratings))
    by_patient = estimate_by_bootstrap(cohens_kappa(ratings), patients)

    assert by_patient.high - by_patient.low > 1.7 * (by_case.high - by_case.low)


def test_every_unit_is_somebodys():
    with pytest.raises(ValueError, match="zip"):
        estimate_by_bootstrap(accuracy([True, False]), ["a"])


def test_about_95_of_100_intervals_hold_the_truth():
    # Two raters who each say the truth, of two categories alike often, with 0.6, else either: they
    # agree with 0.36 + 0.64 / 2, so kappa is 0.36.
    held = 0
    for seed in range(300):
        ratings = draw_ratings(seed, units=100, raters=2, categories=2)
        estimate = estimate_by_bootstrap(cohens_kappa(ratings), draws=500)
        held += estimate.low <= 0.36 <= estimate.high

    assert 0.92 <= held / 300 <= 0.98


# -- differences -------------------------------------------------------------------------------


def test_a_difference_is_over_the_same_draws():
    # The second is right wherever the first is, and once more of 5: their difference scatters less
    # than either.
    first = [True] * 60 + [False] * 40
    second = [True] * 60 + [True] * 8 + [False] * 32

    estimate = estimate_by_bootstrap(difference(accuracy(second), accuracy(first)))

    # 8 of 100 by themselves: a binomial share
    theirs = cluster_bootstrap_interval({(1, 1): 8, (0, 1): 92})
    assert estimate.value == pytest.approx(0.08)
    assert (estimate.low, estimate.high) == pytest.approx(theirs, abs=0.011)


def test_the_difference_of_the_same_is_0_without_an_interval():
    statistic = krippendorffs_alpha(draw_ratings(11))

    estimate = estimate_by_bootstrap(difference(statistic, statistic))

    assert (estimate.value, estimate.low, estimate.high) == (0, None, None)


def test_exchanging_the_two_turns_the_sign():
    one, other = (krippendorffs_alpha(draw_ratings(seed)) for seed in (12, 13))

    assert difference(one, other).value == -difference(other, one).value == one.value - other.value


def test_a_difference_draws_what_says_something_of_either():
    one = accuracy([True, False, None, None])
    other = accuracy([None, True, False, None])

    assert estimate_by_bootstrap(difference(one, other)).clusters == 3


@pytest.mark.parametrize("name", ["percent", "cohen", "alpha", "ordinal"])
def test_in_a_difference_each_is_of_the_units_that_say_something_of_it(name):
    ratings = draw_ratings(15)
    sparse = [[unit[0], None, None] if i % 3 else unit for i, unit in enumerate(ratings)]
    whole, part = STATISTICS[name](ratings), STATISTICS[name](sparse)

    assert difference(whole, part).value == pytest.approx(whole.value - part.value, abs=1e-12)


def test_a_difference_is_of_the_same_units():
    with pytest.raises(ValueError, match="2 units and 1 are not the same"):
        difference(accuracy([True, False]), accuracy([True]))
