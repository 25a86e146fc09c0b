"""Two ways of reading the same cases: against other programs, published tables, and by hand."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import proportion_confint

from medr1_pacs.statistics.paired import PairedCounts, estimate_paired_difference, mcnemar_exact

SEEDS = range(15)


def draw_counts(seed):
    rng = random.Random(seed)
    return PairedCounts(*(rng.choice((0, 1, 3, 12, 40, 150)) for _ in range(4)))


def mirrored(counts):
    return PairedCounts(counts.both, counts.only_second, counts.only_first, counts.neither)


# -- McNemar -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_mcnemar_is_that_of_statsmodels(seed):
    counts = draw_counts(seed)
    table = [[counts.both, counts.only_first], [counts.only_second, counts.neither]]

    assert mcnemar_exact(counts) == pytest.approx(mcnemar(table, exact=True).pvalue, rel=1e-9)


def test_mcnemar_by_hand():
    # 1 of 8, or fewer, on either side: 2 * (1 + 8) / 2^8
    assert mcnemar_exact(PairedCounts(1, 1, 7, 12)) == 18 / 256


def test_mcnemar_of_thousands_of_cases_is_that_of_scipy():
    theirs = binomtest(4_900, 10_000).pvalue

    assert mcnemar_exact(PairedCounts(0, 4_900, 5_100, 0)) == pytest.approx(theirs, rel=1e-9)


@pytest.mark.parametrize("counts", [PairedCounts(5, 0, 0, 3), PairedCounts(0, 4, 4, 0)])
def test_both_right_as_often_is_what_mcnemar_supposes(counts):
    assert mcnemar_exact(counts) == 1


# -- the difference ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counts", "difference", "low", "high"),
    [
        # Airway hyper-responsiveness before and after transplantation (Bentur 2009) in Fagerland,
        # Lydersen, Laake (2014), Statistics in Medicine 33:2850-2875
        (PairedCounts(1, 1, 7, 12), -0.286, -0.507, -0.026),
        # Complete response to two therapies (Cavo 2012) in Fagerland, Lydersen, Laake (2017),
        # Statistical Analysis of Contingency Tables, chapter 8
        (PairedCounts(59, 6, 16, 80), -0.0621, -0.1186, -0.0046),
    ],
    ids=["airway", "response"],
)
def test_the_interval_is_that_of_published_tables(counts, difference, low, high):
    estimate = estimate_paired_difference(counts)

    assert estimate.difference == pytest.approx(difference, abs=5e-4)
    assert (estimate.low, estimate.high) == pytest.approx((low, high), abs=5e-4)


def newcombe_10(e, f, g, h):
    """Follow Newcombe 1998, method 10, in his letters, with another program's Wilson."""
    n = e + f + g + h
    l2, u2 = proportion_confint(e + f, n, method="wilson")
    l3, u3 = proportion_confint(e + g, n, method="wilson")
    dl2, du2 = (e + f) / n - l2, u2 - (e + f) / n
    dl3, du3 = (e + g) / n - l3, u3 - (e + g) / n
    root = math.sqrt((e + f) * (g + h) * (e + g) * (f + h))
    phi = 0.0
    if root and e * h > f * g:
        phi = max(e * h - f * g - n / 2, 0) / root
    elif root:
        phi = (e * h - f * g) / root
    delta = math.sqrt(dl2**2 - 2 * phi * dl2 * du3 + du3**2)
    epsilon = math.sqrt(du2**2 - 2 * phi * du2 * dl3 + dl3**2)
    return (f - g) / n - delta, (f - g) / n + epsilon


@pytest.mark.parametrize("seed", SEEDS)
def test_the_interval_is_newcombes(seed):
    counts = draw_counts(seed)

    estimate = estimate_paired_difference(counts)

    theirs = newcombe_10(counts.both, counts.only_first, counts.only_second, counts.neither)
    assert (estimate.low, estimate.high) == pytest.approx(theirs, abs=1e-12)


def test_readings_that_go_together_have_a_narrower_interval():
    together = estimate_paired_difference(PairedCounts(48, 2, 2, 48))
    apart = estimate_paired_difference(PairedCounts(25, 25, 25, 25))

    assert together.high - together.low < 0.5 * (apart.high - apart.low)


# -- what always holds -------------------------------------------------------------------------

some = st.builds(PairedCounts, *[st.integers(0, 60)] * 4).filter(lambda counts: counts.cases)


@given(some)
def test_the_interval_holds_the_difference_and_stays_between_minus_1_and_1(counts):
    estimate = estimate_paired_difference(counts)

    assert -1 <= estimate.low <= estimate.difference <= estimate.high <= 1
    assert estimate.low < estimate.high


@given(some)
def test_exchanging_the_two_turns_the_interval_around(counts):
    one, other = estimate_paired_difference(counts), estimate_paired_difference(mirrored(counts))

    assert (one.low, one.high) == pytest.approx((-other.high, -other.low), abs=1e-12)
    assert mcnemar_exact(counts) == mcnemar_exact(mirrored(counts))


def test_nothing_is_said_of_no_cases():
    nothing = PairedCounts(0, 0, 0, 0)

    assert mcnemar_exact(nothing) is None
    assert estimate_paired_difference(nothing) is None


@pytest.mark.parametrize("place", range(4))
def test_cases_are_not_fewer_than_none(place):
    with pytest.raises(ValueError, match="fewer than none"):
        PairedCounts(*(-1 if place == i else 1 for i in range(4)))
