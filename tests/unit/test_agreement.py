"""How far raters agree: against other programs, a published example, and by hand."""

from __future__ import annotations

import random
from functools import partial
from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score
from sklearn.metrics import confusion_matrix as sklearn_confusion_matrix
from statsmodels.stats.inter_rater import cohens_kappa as statsmodels_cohens_kappa
from statsmodels.stats.inter_rater import fleiss_kappa as statsmodels_fleiss_kappa

from medr1_pacs.statistics import IntervalMethod, estimate_accuracy, wilson_interval
from medr1_pacs.statistics.agreement import (
    KappaWeights,
    Scale,
    cohens_kappa,
    estimate_percent_agreement,
    fleiss_kappa,
    krippendorffs_alpha,
    percent_agreement,
)
from medr1_pacs.statistics.ratings import confusion_matrix

OBSERVERS = """
1 2 3 3 2 1 4 1 2 . . .
1 2 3 3 2 2 4 1 2 5 . 3
. 3 3 3 2 3 4 2 2 5 1 .
1 2 3 3 2 4 4 1 2 5 1 .
"""
KRIPPENDORFF_2011 = [
    [None if rating == "." else int(rating) for rating in unit]
    for unit in zip(*(line.split() for line in OBSERVERS.split("\n") if line), strict=True)
]

COEFFICIENTS = {
    "cohen": cohens_kappa,
    "linear": partial(cohens_kappa, weights=KappaWeights.LINEAR),
    "quadratic": partial(cohens_kappa, weights=KappaWeights.QUADRATIC),
    "fleiss": fleiss_kappa,
    "nominal": krippendorffs_alpha,
    "ordinal": partial(krippendorffs_alpha, scale=Scale.ORDINAL),
    "interval": partial(krippendorffs_alpha, scale=Scale.INTERVAL),
}
OF_MANY = ["fleiss", "nominal", "ordinal", "interval"]

SEEDS = range(12)


def draw_ratings(seed, *, raters=2, categories=4, units=60, missing=0.0):
    """Return ratings that agree better than by chance."""
    rng = random.Random(seed)
    ratings = []
    for _ in range(units):
        truth = rng.randrange(categories)
        ratings.append(
            [
                None
                if rng.random() < missing
                else (truth if rng.random() < 0.5 else rng.randrange(categories))
                for _ in range(raters)
            ]
        )
    return ratings


# -- Cohen's kappa -----------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("weights", "theirs"), [("equal", None), ("linear", "linear"), ("quadratic", "quadratic")]
)
def test_cohens_kappa_is_that_of_scikit_learn(seed, weights, theirs):
    ratings = draw_ratings(seed, categories=2 + seed % 4)
    first, second = zip(*ratings, strict=True)

    assert cohens_kappa(ratings, KappaWeights(weights)).value == pytest.approx(
        cohen_kappa_score(first, second, labels=range(2 + seed % 4), weights=theirs), abs=1e-12
    )


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("weights", "theirs"), [("equal", None), ("linear", "linear"), ("quadratic", "quadratic")]
)
def test_cohens_kappa_is_that_of_statsmodels(seed, weights, theirs):
    ratings = draw_ratings(seed)
    table = confusion_matrix(ratings, 4)

    assert cohens_kappa(ratings, KappaWeights(weights)).value == pytest.approx(
        statsmodels_cohens_kappa(table, wt=theirs).kappa, abs=1e-12
    )


def test_cohens_kappa_by_hand():
    # 20 both yes, 5 only the first, 10 only the second, 15 neither: 35 of 50 agree, by chance
    # 25 * 30 + 25 * 20 of 2,500: (0.7 - 0.5) / (1 - 0.5)
    ratings = [[1, 1]] * 20 + [[1, 0]] * 5 + [[0, 1]] * 10 + [[0, 0]] * 15

    assert cohens_kappa(ratings).value == pytest.approx(0.4)


def test_weighted_kappa_by_hand():
    # Distances 0, 1, 2: observed 1 / 3; by chance, all nine pairs of 0, 1, 2 with 0, 1, 1:
    # 0 + 1 + 1 + 1 + 0 + 0 + 2 + 1 + 1 = 7 of 9. Squared: 1 / 3 and 9 of 9.
    ratings = [[0, 0], [1, 1], [2, 1]]

    assert cohens_kappa(ratings, KappaWeights.LINEAR).value == pytest.approx(1 - 3 / 7)
    assert cohens_kappa(ratings, KappaWeights.QUADRATIC).value == pytest.approx(1 - 1 / 3)


def test_a_category_that_nobody_gave_keeps_its_place_between_others():
    near = cohens_kappa([[0, 0], [1, 1], [2, 2], [1, 2]], KappaWeights.LINEAR)
    apart = cohens_kappa([[0, 0], [1, 1], [4, 4], [1, 4]], KappaWeights.LINEAR)

    theirs = cohen_kappa_score([0, 1, 4, 1], [0, 1, 4, 4], labels=range(5), weights="linear")
    assert apart.value == pytest.approx(theirs)
    assert apart.value != pytest.approx(near.value)


def test_two_raters_are_compared_over_what_both_rated():
    ratings = draw_ratings(1, missing=0.3)
    both = [unit for unit in ratings if None not in unit]

    assert 0 < len(both) < len(ratings)
    assert cohens_kappa(ratings).value == cohens_kappa(both).value


@pytest.mark.parametrize("raters", [1, 3])
def test_cohens_kappa_is_of_two_raters(raters):
    with pytest.raises(ValueError, match="two raters"):
        cohens_kappa([[0] * raters])


# -- Fleiss' kappa -----------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_fleiss_kappa_is_that_of_statsmodels(seed):
    ratings = draw_ratings(seed, raters=2 + seed % 5)
    counts = np.array([np.bincount(unit, minlength=4) for unit in ratings])

    assert fleiss_kappa(ratings).value == pytest.approx(statsmodels_fleiss_kappa(counts), abs=1e-12)


def test_fleiss_kappa_by_hand():
    # Three raters: 3 of 3 pairs agree, then 1 of 3; categories have 5 of 6 and 1 of 6 ratings:
    # (2/3 - 26/36) / (1 - 26/36) = -1/5
    assert fleiss_kappa([[0, 0, 0], [0, 1, 0]]).value == pytest.approx(-0.2)


def test_whoever_rates_a_unit_fleiss_kappa_counts_as_many():
    ratings = draw_ratings(2, raters=3)
    by_others = [[*unit[:1], None, *unit[1:], None] for unit in ratings]

    assert fleiss_kappa(by_others).value == fleiss_kappa(ratings).value


def test_units_that_nobody_rated_are_left_out_of_fleiss_kappa():
    ratings = draw_ratings(3, raters=3)

    assert fleiss_kappa([*ratings, [None] * 3]).value == fleiss_kappa(ratings).value


def test_fleiss_kappa_of_different_numbers_of_ratings_is_undefined():
    assert fleiss_kappa([[0, 0, 1], [1, 1, None]]).value is None


# -- Krippendorff's alpha ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scale", "published"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)]
)
def test_alpha_is_that_of_krippendorffs_example(scale, published):
    alpha = krippendorffs_alpha(KRIPPENDORFF_2011, Scale(scale)).value

    assert alpha == pytest.approx(published, abs=5e-4)


def defined_alpha(ratings, scale):
    """Follow the definition literally: all ordered pairs within units, and of all ratings."""
    units = [[r for r in unit if r is not None] for unit in ratings]
    units = [unit for unit in units if len(unit) > 1]
    given = [rating for unit in units for rating in unit]

    def squared(one, other):
        if scale == "nominal":
            return one != other
        if scale == "interval":
            return (one - other) ** 2
        low, high = sorted((one, other))
        between = sum(given.count(g) for g in range(low, high + 1))
        return (between - (given.count(low) + given.count(high)) / 2) ** 2

    observed = sum(
        sum(squared(*pair) for pair in permutations(unit, 2)) / (len(unit) - 1) for unit in units
    ) / len(given)
    expected = sum(squared(*pair) for pair in permutations(given, 2))
    return 1 - observed / (expected / (len(given) * (len(given) - 1)))


@pytest.mark.parametrize("scale", Scale)
@pytest.mark.parametrize("seed", range(5))
def test_alpha_is_as_it_is_defined(seed, scale):
    ratings = draw_ratings(seed, raters=4, categories=5, units=15, missing=0.35)

    assert krippendorffs_alpha(ratings, scale).value == pytest.approx(
        defined_alpha(ratings, scale), abs=1e-12
    )


def test_intervals_are_as_wide_as_indices_are_apart():
    ratings = [
        [None if rating is None else rating**2 for rating in unit]
        for unit in draw_ratings(7, raters=3, units=15, missing=0.2)
    ]

    assert krippendorffs_alpha(ratings, Scale.INTERVAL).value == pytest.approx(
        defined_alpha(ratings, "interval"), abs=1e-12
    )


def test_alpha_by_hand():
    # Pairs of units: 2 of 4 ratings disagree. Of the 12 ordered pairs of 0, 0, 0, 1 half do.
    assert krippendorffs_alpha([[0, 0], [0, 1]]).value == pytest.approx(1 - (2 / 4) / (6 / 12))
    # 0, 0 | 1, 1 | 0, 2: squares 4 + 4 through 6 ratings; of 30 pairs of 0, 0, 0, 1, 1, 2:
    # 3 * 2 of 1, 3 * 1 of 4, 2 * 1 of 1, each twice: 40
    assert krippendorffs_alpha([[0, 0], [1, 1], [0, 2]], Scale.INTERVAL).value == pytest.approx(
        1 - (8 / 6) / (40 / 30)
    )


def test_many_units_make_alpha_the_same_as_fleiss_kappa():
    ratings = draw_ratings(4, raters=3) * 1_000

    assert krippendorffs_alpha(ratings).value == pytest.approx(
        fleiss_kappa(ratings).value, abs=1e-5
    )


def test_of_two_categories_every_scale_says_the_same():
    ratings = draw_ratings(5, raters=4, categories=2, missing=0.2)
    nominal, ordinal, interval = (krippendorffs_alpha(ratings, scale).value for scale in Scale)

    assert nominal == pytest.approx(ordinal, abs=1e-12)
    assert nominal == pytest.approx(interval, abs=1e-12)


# -- percent agreement -------------------------------------------------------------------------


def test_percent_agreement_counts_pairs():
    # 1 of 3 pairs, 1 of 1, 0 of 1, and none where one rated alone
    ratings = [[0, 0, 1], [2, None, 2], [None, 0, 1], [1, None, None]]

    assert percent_agreement(ratings).value == pytest.approx(2 / 5)


@pytest.mark.parametrize("seed", range(4))
def test_percent_agreement_is_that_of_all_pairs_of_raters(seed):
    ratings = draw_ratings(seed, raters=4, missing=0.2)
    pairs = [
        pair for unit in ratings for pair in combinations([r for r in unit if r is not None], 2)
    ]

    assert percent_agreement(ratings).value == pytest.approx(
        sum(one == other for one, other in pairs) / len(pairs)
    )


def test_percent_agreement_of_two_raters_has_wilsons_interval():
    estimate = estimate_percent_agreement([[0, 0]] * 8 + [[0, 1]] * 2 + [[0, None]] * 5)

    assert estimate.method is IntervalMethod.WILSON
    assert (estimate.low, estimate.high) == wilson_interval(8, 10)


def test_percent_agreement_has_an_interval_where_all_agree():
    estimate = estimate_percent_agreement([[1, 1, 1]] * 9)

    assert (estimate.low, estimate.high) == wilson_interval(9, 9)


def test_percent_agreement_draws_patients_whole():
    ratings = [[0, 0], [0, 1], [1, 1], [0, 1], [1, 1]]

    estimate = estimate_percent_agreement(ratings, ["a", "a", "b", "b", "c"])

    assert estimate == estimate_accuracy({(1, 2): 2, (1, 1): 1})


# -- where there is nothing to say -------------------------------------------------------------

NOTHING_TO_SAY = {
    "no unit": [],
    "one category": [[2, 2]] * 5,
    "one unit that agrees": [[1, 1]],
    "nobody rated": [[None, None]] * 3,
    "one rater rated nothing": [[0, None], [1, None]],
}


@pytest.mark.parametrize("name", COEFFICIENTS)
@pytest.mark.parametrize("ratings", NOTHING_TO_SAY.values(), ids=NOTHING_TO_SAY)
def test_a_coefficient_of_nothing_is_none(name, ratings):
    assert COEFFICIENTS[name](ratings).value is None


@pytest.mark.parametrize("ratings", [[], [[None, 1]], [[None, None]]])
def test_percent_agreement_without_a_pair_is_none(ratings):
    assert percent_agreement(ratings).value is None
    assert estimate_percent_agreement(ratings).accuracy is None


@pytest.mark.parametrize("name", OF_MANY)
def test_one_unit_that_disagrees_is_no_better_than_chance(name):
    assert COEFFICIENTS[name]([[0, 1]]).value <= 0


def test_one_category_agrees_all_the_same():
    assert percent_agreement([[2, 2]] * 5).value == 1


@pytest.mark.parametrize("name", OF_MANY)
def test_a_rater_without_ratings_changes_nothing(name):
    ratings = draw_ratings(6, raters=3)
    with_another = [[unit[0], None, *unit[1:]] for unit in ratings]

    assert COEFFICIENTS[name](with_another).value == COEFFICIENTS[name](ratings).value
    assert percent_agreement(with_another).value == percent_agreement(ratings).value


@pytest.mark.parametrize("name", [*COEFFICIENTS, "percent"])
def test_what_no_rater_can_say_is_refused(name):
    coefficient = COEFFICIENTS.get(name, percent_agreement)

    with pytest.raises(ValueError, match="counted from 0"):
        coefficient([[0, -1]])
    with pytest.raises(ValueError, match="a place for every rater"):
        coefficient([[0, 1], [0, 1, 1]])


# -- the confusion matrix ----------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_the_confusion_matrix_is_that_of_scikit_learn(seed):
    ratings = draw_ratings(seed)
    first, second = zip(*ratings, strict=True)

    theirs = sklearn_confusion_matrix(first, second, labels=range(6))

    assert np.array_equal(confusion_matrix(ratings, 6), theirs)


def test_the_confusion_matrix_has_the_first_rater_in_its_rows():
    matrix = confusion_matrix([[0, 1], [0, 1], [2, 2], [None, 1], [0, None]], 3)

    assert matrix.tolist() == [[0, 2, 0], [0, 0, 0], [0, 0, 1]]


def test_a_confusion_matrix_of_nothing_is_empty():
    assert confusion_matrix([], 2).tolist() == [[0, 0], [0, 0]]


def test_a_category_that_there_is_not_has_no_place():
    with pytest.raises(ValueError, match="category 2 is none of 2"):
        confusion_matrix([[0, 2]], 2)


# -- what always holds -------------------------------------------------------------------------

pairs = st.lists(
    st.lists(st.none() | st.integers(0, 3), min_size=2, max_size=2), min_size=1, max_size=25
)
full_pairs = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=25)
triples = st.lists(
    st.lists(st.none() | st.integers(0, 3), min_size=3, max_size=3), min_size=1, max_size=25
)


@pytest.mark.parametrize("name", COEFFICIENTS)
@settings(max_examples=40, deadline=None)
@given(ratings=pairs, rng=st.randoms(use_true_random=False))
def test_neither_the_order_of_units_nor_that_of_raters_matters(name, ratings, rng):
    coefficient = COEFFICIENTS[name]
    value = coefficient(ratings).value
    swapped = coefficient([unit[::-1] for unit in ratings]).value

    assert coefficient(rng.sample(ratings, len(ratings))).value == value
    assert swapped == (None if value is None else pytest.approx(value, abs=1e-12))


@pytest.mark.parametrize("name", COEFFICIENTS)
@settings(max_examples=40, deadline=None)
@given(ratings=full_pairs)
def test_a_coefficient_is_1_where_all_agree_and_never_above(name, ratings):
    value = COEFFICIENTS[name](ratings).value
    assume(value is not None)

    disagreement = any(one != other for one, other in ratings)
    assert value < 1 if disagreement else value == 1


@settings(max_examples=40, deadline=None)
@given(ratings=triples, names=st.permutations(range(4)))
def test_names_of_nominal_categories_do_not_matter(ratings, names):
    renamed = [[None if r is None else names[r] for r in unit] for unit in ratings]

    for coefficient in (fleiss_kappa, krippendorffs_alpha, percent_agreement):
        value = coefficient(ratings).value
        assert coefficient(renamed).value == (
            None if value is None else pytest.approx(value, abs=1e-12)
        )


@settings(max_examples=40, deadline=None)
@given(ratings=triples)
def test_ordinal_alpha_knows_only_the_order(ratings):
    stretched = [[None if r is None else r * r * 3 for r in unit] for unit in ratings]

    assert (
        krippendorffs_alpha(ratings, Scale.ORDINAL).value
        == krippendorffs_alpha(stretched, Scale.ORDINAL).value
    )
