"""What may be locked, and everything that is missing at once."""

from dataclasses import replace

import pytest

from medr1_pacs.errors import ReviewRefused
from medr1_pacs.records.review_words import Phase, ReasoningError
from medr1_pacs.records.reviews import Judgement
from medr1_pacs.reviews.judgements import TEXT_MAX, check_judgement

OPTIONS = ("Nodule", "Nothing")
GOOD = Judgement(choice_text="Nodule", confidence=70)
GRADED = replace(GOOD, reasoning_grade=4, reasoning_error=ReasoningError.NONE)


def problems(judgement, phase=Phase.BLIND, has_reasoning=True) -> list[str]:
    try:
        check_judgement(judgement, OPTIONS, phase, has_reasoning=has_reasoning)
    except ReviewRefused as error:
        return str(error).split("; ")
    return []


@pytest.mark.parametrize(
    ("judgement", "phase", "has_reasoning"),
    [
        (GOOD, Phase.BLIND, True),
        (replace(GOOD, confidence=0), Phase.BLIND, True),
        (replace(GOOD, confidence=100), Phase.ADJUDICATION, True),
        (GRADED, Phase.ASSISTED, True),
        (GOOD, Phase.ASSISTED, False),
        (Judgement(cannot_assess="motion"), Phase.BLIND, True),
        (Judgement(cannot_assess="motion", reasoning_grade=1), Phase.ASSISTED, True),
        (replace(GOOD, comment="x" * TEXT_MAX), Phase.BLIND, True),
    ],
)
def test_what_is_whole_may_be_locked(judgement, phase, has_reasoning):
    assert problems(judgement, phase, has_reasoning) == []


@pytest.mark.parametrize(
    ("judgement", "problem"),
    [
        (Judgement(), "choose an option, or say why the case cannot be assessed"),
        (replace(GOOD, choice_text="Effusion"), "this is no option of the question"),
        (replace(GOOD, choice_text="nodule"), "this is no option of the question"),
        (replace(GOOD, confidence=None), "say how confident you are, 0 to 100"),
        (replace(GOOD, confidence=-1), "a confidence is 0 to 100"),
        (replace(GOOD, confidence=101), "a confidence is 0 to 100"),
        (replace(GOOD, cannot_assess="x"), "a case that cannot be assessed has no choice"),
        (Judgement(cannot_assess=" "), "say why it cannot be assessed"),
        (replace(GOOD, comment="x" * (TEXT_MAX + 1)), "a text has at most 4,000 characters"),
        (
            Judgement(cannot_assess="x" * (TEXT_MAX + 1)),
            "a text has at most 4,000 characters",
        ),
        (GRADED, "there is no reasoning to grade in this phase"),
        (
            replace(GOOD, reasoning_error=ReasoningError.LOGIC),
            "there is no reasoning to grade in this phase",
        ),
    ],
)
def test_what_is_wrong_with_a_blind_judgement_is_said(judgement, problem):
    assert problems(judgement) == [problem]


@pytest.mark.parametrize("phase", [Phase.BLIND, Phase.ADJUDICATION])
def test_reasoning_is_graded_where_it_is_shown_alone(phase):
    assert problems(GRADED, phase) == ["there is no reasoning to grade in this phase"]


@pytest.mark.parametrize("grade", [0, 6])
def test_a_grade_is_1_to_5(grade):
    judgement = replace(GRADED, reasoning_grade=grade)

    assert problems(judgement, Phase.ASSISTED) == ["a grade of the reasoning is 1 to 5"]


def test_reasoning_that_is_shown_is_graded():
    assert problems(GOOD, Phase.ASSISTED) == ["grade the model's reasoning, 1 to 5"]


def test_everything_that_is_missing_is_said_at_once():
    judgement = Judgement(choice_text="Effusion", comment="x" * (TEXT_MAX + 1))

    assert problems(judgement, Phase.ASSISTED) == [
        "this is no option of the question",
        "say how confident you are, 0 to 100",
        "a text has at most 4,000 characters",
        "grade the model's reasoning, 1 to 5",
    ]
