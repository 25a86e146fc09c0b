from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medr1_pacs.prompts import build_problem, build_prompt_text, permute_options

STEM, OPTIONS = "Which organ is this?", ["Liver", "Kidney", "Spleen"]


def test_a_problem_is_spelled_as_in_the_training_lists():
    assert build_problem(STEM, OPTIONS) == "Which organ is this? A)Liver, B)Kidney, C)Spleen"


@pytest.mark.parametrize(
    ("think", "tail"),
    [
        (
            True,
            " First output the thinking process in <think> </think> and final choice "
            "(A, B, C, D ...) in <answer> </answer> tags.",
        ),
        (
            False,
            " Provide the correct single-letter choice (A, B, C, D,...) inside "
            "<answer>...</answer> tags.",
        ),
    ],
)
def test_a_prompt_ends_with_the_authors_own_sentence(think, tail):
    assert build_prompt_text(STEM, OPTIONS, think=think) == build_problem(STEM, OPTIONS) + tail


def test_braces_in_a_stem_stay_text():
    assert build_prompt_text("{x}", ["a", "b"], think=True).startswith("{x} A)a, B)b First")


@given(st.text(max_size=20), st.integers(1, 9), st.text(max_size=64), st.integers(2, 4))
def test_an_option_order_is_a_permutation_and_repeats(question_id, version, uid, option_count):
    order = permute_options(question_id, version, uid, option_count)

    assert sorted(order) == list(range(option_count))
    assert order == permute_options(question_id, version, uid, option_count)


def test_no_letter_is_favored_over_many_pictures():
    firsts = Counter(permute_options("q", 1, f"1.2.{n}", 4)[0] for n in range(4000))

    assert all(900 < firsts[option] < 1100 for option in range(4))


def test_question_version_and_picture_each_change_the_order():
    orders = {
        permute_options(question_id, version, f"1.{n}", 4)
        for question_id in ("a", "b")
        for version in (1, 2)
        for n in range(5)
    }
    assert len(orders) > 10
