"""Sensitivity and specificity of calls: against scikit-learn, and by hand."""

from __future__ import annotations

import random

import pytest
from sklearn.metrics import accuracy_score, recall_score

from medr1_pacs.statistics import IntervalMethod, estimate_accuracy, wilson_interval
from medr1_pacs.statistics.calls import (
    accuracy,
    estimate_sensitivity,
    estimate_specificity,
    sensitivity,
    specificity,
)

# 3 of 4 positive cases called so, 4 of 6 negative ones
CALLS = [
    *[(True, True)] * 3, (True, False), *[(False, False)] * 4, *[(False, True)] * 2,
]  # fmt: skip
NOT_CALLED = [(True, None), (False, None)]


@pytest.mark.parametrize("seed", range(6))
def test_shares_are_those_of_scikit_learn(seed):
    rng = random.Random(seed)
    truths = [rng.random() < 0.5 for _ in range(50)]
    called = [truth if rng.random() < 0.7 else not truth for truth in truths]
    calls = list(zip(truths, called, strict=True))

    assert sensitivity(calls).value == recall_score(truths, called)
    assert specificity(calls).value == recall_score(truths, called, pos_label=False)
    right = [truth is call for truth, call in calls]
    assert accuracy(right).value == accuracy_score(truths, called)


def test_one_case_a_patient_is_wilson():
    sensitive, specific = estimate_sensitivity(CALLS), estimate_specificity(CALLS)

    assert sensitive.method is specific.method is IntervalMethod.WILSON
    assert (sensitive.accuracy, specific.accuracy) == (3 / 4, 4 / 6)
    assert (sensitive.low, sensitive.high) == wilson_interval(3, 4)
    assert (specific.low, specific.high) == wilson_interval(4, 6)


def test_cases_of_a_patient_are_drawn_together():
    # positive: 2 of 2, 1 of 2; negative: 2 of 2, 2 of 2, 0 of 2
    patients = ["a", "a", "b", "b", "a", "a", "b", "b", "c", "c"]

    assert estimate_sensitivity(CALLS, patients) == estimate_accuracy({(2, 2): 1, (1, 2): 1})
    assert estimate_specificity(CALLS, patients) == estimate_accuracy({(2, 2): 2, (0, 2): 1})


def test_patients_without_a_case_of_the_class_are_none():
    assert estimate_sensitivity(CALLS, range(10)).patients == 4


def test_cases_that_nobody_called_anything_are_left_out():
    calls = [*CALLS, *NOT_CALLED]

    assert estimate_sensitivity(calls) == estimate_sensitivity(CALLS)
    assert estimate_specificity(calls) == estimate_specificity(CALLS)
    assert sensitivity(calls).value == sensitivity(CALLS).value
    assert accuracy([True, False, None, None]).value == 1 / 2


@pytest.mark.parametrize("calls", [[], NOT_CALLED], ids=["no case", "none called"])
def test_of_nothing_there_is_no_share(calls):
    assert sensitivity(calls).value is specificity(calls).value is None
    assert estimate_sensitivity(calls).accuracy is None
    assert accuracy([None] * len(calls)).value is None


def test_without_a_positive_case_only_specificity_is_known():
    calls = [(False, False), (False, True)]

    assert estimate_sensitivity(calls).low is None
    assert estimate_specificity(calls).accuracy == 1 / 2


def test_every_case_is_somebodys():
    with pytest.raises(ValueError, match="zip"):
        estimate_sensitivity(CALLS, ["a"])
