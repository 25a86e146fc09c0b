"""The model's letters become the texts of their options, and nothing else changes."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medr1_pacs.reviews.letters import letters_to_texts

OPTIONS = ("Head", "Chest", "Abdomen", "Pelvis")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("I choose option B.", "I choose option “Chest”."),
        ("Choice A is an organ", "Choice “Head” is an organ"),
        ("So the answer is C", "So the answer is “Abdomen”"),
        ("Answer: D", "Answer: “Pelvis”"),
        ("It must be (B)", "It must be “Chest”"),
        ("Option (B) fits", "Option “Chest” fits"),
        ("Between (A) and (D)", "Between “Head” and “Pelvis”"),
        ("Options A and C are wrong", "Options “Head” and “Abdomen” are wrong"),
        ("options A, B, and D", "options “Head”, “Chest”, and “Pelvis”"),
        ("C) something else", "“Abdomen” something else"),
    ],
)
def test_a_letter_becomes_the_text_of_its_option(text, shown):
    assert letters_to_texts(text, OPTIONS) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("B) Chest", "“Chest”"),
        ("B) chest.", "“Chest”."),
        ("option B) Chest", "option “Chest”"),
        ("The answer is D) Pelvis.", "The answer is “Pelvis”."),
        ("A) Head, B) Chest", "“Head”, “Chest”"),
    ],
)
def test_a_letter_before_the_text_of_its_option_does_not_say_it_twice(text, shown):
    assert letters_to_texts(text, OPTIONS) == shown


@pytest.mark.parametrize(
    "text",
    [
        "A nodule is seen in the left lobe.",
        "Vitamin B is no finding",
        "hepatitis B.",
        "Option B's outline",
        "a deficiency (of vitamin D) is likely",
        "grade A-C lesions",
        "The answer is Abdomen",
        "nothing of any option",
    ],
)
def test_a_letter_that_names_no_option_stays(text):
    assert letters_to_texts(text, OPTIONS) == text


def test_an_article_after_a_letter_stays():
    shown = letters_to_texts("option B and A nodule", OPTIONS)

    assert shown == "option “Chest” and A nodule"


@pytest.mark.parametrize("text", ["option D", "the answer is C", "(C)", "D) Pelvis", "option E"])
def test_a_letter_beyond_the_options_stays(text):
    assert letters_to_texts(text, OPTIONS[:2]) == text


def test_the_order_is_the_one_that_the_model_met():
    assert letters_to_texts("option A", OPTIONS[::-1]) == "option “Pelvis”"


@given(st.text(alphabet=string.ascii_lowercase + " .,()"))
def test_a_text_without_capital_letters_stays(text):
    assert letters_to_texts(text, OPTIONS) == text
