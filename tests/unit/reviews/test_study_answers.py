"""Answers and truths about pictures become those about the study."""

import pytest

from medr1_pacs.audit.canonical import canonical_json
from medr1_pacs.questions.schema import Aggregate
from medr1_pacs.records.reviews import ModelPicture, ModelSide
from medr1_pacs.records.words import Certainty, TruthSource
from medr1_pacs.reviews.study_answers import (
    least_certain_source,
    put_together,
    put_truths_together,
    score_positive,
)

OPTIONS = ("Nodule", "Effusion", "Nothing")
POSITIVE = ("Nodule", "Effusion")
GRADES = ("None", "Mild", "Moderate", "Severe")


@pytest.mark.parametrize(
    ("choices", "answer"),
    [
        (["Nothing", "Nodule", "Nothing"], "Nothing"),
        (["Nothing", "Nodule"], "Nodule"),  # a tie: the first of the options counts
        (["Nothing", "Effusion"], "Effusion"),
        (["Nothing", None, None], "Nothing"),  # what has no choice has no vote
        (["Nothing", "another text"], "Nothing"),
        ([None, None], None),
        ([], None),
    ],
)
def test_the_most_votes_count(choices, answer):
    assert put_together(Aggregate.VOTE, OPTIONS, POSITIVE, choices) == answer


def test_a_tie_is_the_same_in_whatever_order_the_pictures_come():
    tie = ["Effusion", "Nothing", "Nodule", "Nothing", "Effusion"]

    for choices in (tie, tie[::-1], sorted(tie)):
        assert put_together(Aggregate.VOTE, OPTIONS, POSITIVE, choices) == "Effusion"


@pytest.mark.parametrize(
    ("choices", "answer"),
    [
        (["Nothing", "Nothing", "Effusion"], "Effusion"),
        (["Effusion", "Effusion", "Nodule"], "Nodule"),  # the first positive one
        (["Nothing", "Nothing", None], "Nothing"),
        ([None], None),
    ],
)
def test_any_positive_picture_makes_the_study_positive(choices, answer):
    assert put_together(Aggregate.ANY_POSITIVE, OPTIONS, POSITIVE, choices) == answer


@pytest.mark.parametrize(
    ("choices", "answer"),
    [
        (["Mild", "Severe", "None", "Mild"], "Severe"),
        (["None", None, "Mild"], "Mild"),
        (["None"], "None"),
        ([None], None),
    ],
)
def test_the_worst_grade_counts(choices, answer):
    assert put_together(Aggregate.WORST_GRADE, GRADES, (), choices) == answer


def test_one_picture_that_is_a_case_is_its_own_answer():
    assert put_together(Aggregate.NONE, OPTIONS, (), ["Effusion"]) == "Effusion"


@pytest.mark.parametrize("aggregate", Aggregate)
def test_truths_without_a_gap_are_put_together_as_answers_are(aggregate):
    truths = ["Nothing", "Effusion", "Nothing"]

    together = put_truths_together(aggregate, OPTIONS, POSITIVE, truths)

    assert together == put_together(aggregate, OPTIONS, POSITIVE, truths)


@pytest.mark.parametrize(
    ("aggregate", "options", "truths", "truth"),
    [
        # a vote can be turned by the missing one
        (Aggregate.VOTE, OPTIONS, ["Nothing", "Nothing", None], None),
        # nothing stands before the first positive option; before the second there is the first
        (Aggregate.ANY_POSITIVE, OPTIONS, ["Nodule", None], "Nodule"),
        (Aggregate.ANY_POSITIVE, OPTIONS, ["Effusion", None], None),
        (Aggregate.ANY_POSITIVE, OPTIONS, ["Nothing", None], None),
        # nothing is worse than the worst
        (Aggregate.WORST_GRADE, GRADES, ["Severe", None], "Severe"),
        (Aggregate.WORST_GRADE, GRADES, ["Moderate", None], None),
        (Aggregate.VOTE, OPTIONS, [None], None),
        (Aggregate.NONE, OPTIONS, [None], None),
    ],
)
def test_a_truth_is_known_where_no_missing_one_could_change_it(aggregate, options, truths, truth):
    assert put_truths_together(aggregate, options, POSITIVE, truths) == truth


def test_the_score_is_of_the_most_suspicious_picture():
    scores = [
        {"Nodule": 0.1, "Effusion": 0.2, "Nothing": 0.7},
        {"Nodule": 0.25, "Effusion": 0.25, "Nothing": 0.5},
    ]

    assert score_positive(OPTIONS, POSITIVE, scores) == 0.5


@pytest.mark.parametrize(
    ("positive", "scores"),
    [((), [{"Nodule": 1.0}]), (POSITIVE, []), (POSITIVE, [{"Nodule": 1.0}, {}])],
)
def test_without_a_positive_option_or_with_a_picture_unscored_there_is_no_score(positive, scores):
    assert score_positive(OPTIONS, positive, scores) is None


def make_side(*choices, score="0.25"):
    pictures = tuple(
        ModelPicture(
            answer_id=n, instance_id=n, frame_number=1, png_sha256="a" * 64, choice_text=choice,
            reasoning=None,
        )
        for n, choice in enumerate(choices)
    )  # fmt: skip
    return ModelSide(
        choice_text="Nodule", score=score, answers=len(choices),
        parsed=sum(choice is not None for choice in choices), checkpoint="ct",
        checkpoint_revision="a", is_demo=False, pictures=pictures,
    )  # fmt: skip


def test_a_frozen_side_has_a_canonical_form_and_comes_back():
    side = make_side("Nodule", None)

    canonical_json(side.to_json())
    assert ModelSide.from_json(side.to_json()) == side


def test_a_side_that_was_frozen_without_score_and_counts_can_still_be_read():
    side = make_side("Nodule", None, score=None)
    earlier = side.to_json()
    for name in ("score", "answers", "parsed"):
        del earlier[name]

    assert ModelSide.from_json(earlier) == side


HEADER, PANEL, IMPORT = TruthSource.HEADER, TruthSource.READER_PANEL, TruthSource.IMPORT


@pytest.mark.parametrize(
    ("stated", "source"),
    [
        ([(IMPORT, Certainty.PROVEN), (PANEL, Certainty.SINGLE)], PANEL),
        ([(PANEL, Certainty.CONSENSUS), (IMPORT, None)], IMPORT),  # not said is the least
        ([(PANEL, Certainty.CONSENSUS), (IMPORT, Certainty.ADJUDICATED)], IMPORT),
        ([(HEADER, Certainty.PROVEN), (IMPORT, Certainty.PROVEN)], IMPORT),
        ([(IMPORT, Certainty.PROVEN)], IMPORT),
        ([], None),
    ],
)
def test_a_truth_of_several_sources_is_that_of_the_least_certain_one(stated, source):
    assert least_certain_source(stated) is source
    assert least_certain_source(stated[::-1]) is source
