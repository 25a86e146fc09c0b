"""What is asked about a study: pure, without a database."""

from __future__ import annotations

from dataclasses import replace

import pytest

from medr1_pacs.asking import Questionnaire, build_plan
from medr1_pacs.questions.bank import load_bank
from medr1_pacs.records.planned import (
    AskedPrompt,
    Decoding,
    InstanceFacts,
    SeriesFacts,
    StudyFacts,
    VoiWindow,
)
from medr1_pacs.records.words import Coverage, TruthSource
from medr1_pacs.routing.synonyms import load_synonyms

BANK = """\
modality: CT
questions:
- id: site-slice
  version: 1
  task: Disease Diagnosis
  role: study
  select: all up to 9
  window: lung
  stem: "What does this slice show?"
  options: [A nodule, An effusion, Neither]
  when: {anatomy: chest, SliceThickness: {le: 3}}
  truth: {header: anatomy, map: {chest: Neither}}
  coverage: near
"""
CT = {
    "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2",
    "Modality": "CT",
    "BodyPartExamined": "CHEST",
    "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
    "Rows": 8,
    "Columns": 8,
    "SliceThickness": 1.25,
}


@pytest.fixture
def questionnaire(tmp_path):
    """Build what a site asks from the text of its one file."""

    def questionnaire(bank=BANK, **changes):
        (tmp_path / "site.yaml").write_text(bank, "utf-8")
        made = Questionnaire(
            load_bank(tmp_path), load_synonyms(), str.upper, is_demo=False, think=True
        )
        return replace(made, **changes)

    return questionnaire


def make_study(*instances, asked=()):
    facts = tuple(
        InstanceFacts(number, f"1.2.{number}", 1, CT | {"InstanceNumber": number} | attributes)
        for number, attributes in enumerate(instances, start=1)
    )
    return StudyFacts(1, 1, "1.2", 1, (SeriesFacts(7, "1.2.3", facts),), asked)


def as_asked(plan):
    """Return what a plan asks, as the next version of its study finds it."""
    return tuple(
        AskedPrompt(
            question.question,
            rendering_id=100 + number,
            instance_id=prompt.instance_id,
            frame_number=prompt.frame_number,
            window_request=prompt.window_request,
            checkpoint=prompt.checkpoint,
            decoding=prompt.decoding,
        )
        for question in plan.questions
        for number, prompt in enumerate(question.prompts)
    )


def test_a_prompt_is_all_that_its_question_says(questionnaire):
    plan = build_plan(make_study({}), questionnaire())

    ((question,),) = (plan.questions,)
    (prompt,) = question.prompts
    assert (plan.asks, plan.reason) == (True, "")
    assert (prompt.instance_id, prompt.frame_number) == (1, 1)
    assert prompt.window_request.preset == VoiWindow(-600, 1500)
    assert (prompt.requested_checkpoint, prompt.checkpoint) == ("ct", "CT")
    assert prompt.decoding == Decoding(think=True, max_new_tokens=256)
    assert prompt.coverage is Coverage.NEAR
    assert [question.question.definition["options"][k] for k in prompt.option_order] == list(
        prompt.options
    )


def test_reasoning_is_asked_for_where_site_and_question_both_want_it(questionnaire):
    without = BANK + "  think: false\n"

    thinking = [
        build_plan(make_study({}), each).questions[0].prompts[0].decoding.think
        for each in (questionnaire(), questionnaire(think=False), questionnaire(without))
    ]

    assert thinking == [True, False, False]


def test_instances_that_a_condition_leaves_out_are_counted_with_their_reason(questionnaire):
    plan = build_plan(make_study({}, {"SliceThickness": 5}), questionnaire())

    (question,) = plan.questions
    assert [prompt.instance_id for prompt in question.prompts] == [1]
    assert question.skipped == {"SliceThickness is 5; the question wants at most 3.": 1}


def test_a_study_that_nothing_is_asked_about_says_why(questionnaire):
    plan = build_plan(make_study({"SliceThickness": 5}), questionnaire())

    assert not plan.asks
    assert plan.reason == (
        "no question for CT applies: SliceThickness is 5; the question wants at most 3."
    )


def test_a_series_without_a_route_says_why(questionnaire):
    plan = build_plan(make_study({"Modality": "SR", "SOPClassUID": "1.2.3"}), questionnaire())

    assert plan.questions == ()
    assert plan.reason == plan.routes[7].reason != ""


def test_a_study_without_instances_says_so(questionnaire):
    empty = replace(make_study(), series=())

    assert build_plan(empty, questionnaire()).reason == "the study has no instance"


def test_what_was_asked_is_kept_and_only_the_rest_is_asked(questionnaire):
    asked = as_asked(build_plan(make_study({}, {}), questionnaire()))

    (question,) = build_plan(make_study({}, {}, {}, asked=asked), questionnaire()).questions

    assert question.kept == asked
    assert [prompt.instance_id for prompt in question.prompts] == [3]


def test_a_study_of_which_everything_was_asked_still_counts_as_asked(questionnaire):
    asked = as_asked(build_plan(make_study({}), questionnaire()))

    plan = build_plan(make_study({}, asked=asked), questionnaire())

    assert plan.asks
    assert [question.prompts for question in plan.questions] == [()]


def test_what_is_new_is_asked_in_the_words_of_the_study(questionnaire):
    asked = as_asked(build_plan(make_study({}), questionnaire()))
    reworded = questionnaire(BANK.replace("version: 1", "version: 2").replace("What", "Which"))

    (question,) = build_plan(make_study({}, {}, asked=asked), reworded).questions

    assert (question.question.version, len(question.kept)) == (1, 1)
    assert question.prompts[0].prompt_text.startswith("What does this slice show?")


def test_a_study_that_was_not_asked_a_question_is_asked_its_newest_wording(questionnaire):
    reworded = questionnaire(BANK.replace("version: 1", "version: 2"))

    (question,) = build_plan(make_study({}), reworded).questions

    assert question.question.version == 2


def test_the_second_window_of_a_question_is_another_prompt(questionnaire):
    asked = as_asked(build_plan(make_study({}), questionnaire()))
    two = questionnaire(BANK + "  second_window: bone\n")
    both = build_plan(make_study({}), two).questions[0].prompts

    assert [prompt.window_request.preset_name for prompt in both] == ["lung", "bone"]
    # The study keeps the question as it was: without a second window.
    (question,) = build_plan(make_study({}, asked=asked), two).questions
    assert (len(question.kept), question.prompts) == (1, ())


def test_two_windows_that_are_equal_are_one_prompt(questionnaire):
    twice = questionnaire(BANK + "  second_window: lung\n")

    (question,) = build_plan(make_study({}), twice).questions

    assert len(question.prompts) == 1


def test_what_is_new_is_asked_through_the_preset_that_the_study_was_asked_through(questionnaire):
    asked = as_asked(build_plan(make_study({}), questionnaire()))
    before = tuple(
        replace(prompt, window_request=replace(prompt.window_request, preset=VoiWindow(-500, 1400)))
        for prompt in asked
    )

    (question,) = build_plan(make_study({}, {}, asked=before), questionnaire()).questions

    assert [prompt.window_request.preset for prompt in question.prompts] == [VoiWindow(-500, 1400)]


def test_what_is_new_is_decoded_as_the_study_was(questionnaire):
    asked = as_asked(build_plan(make_study({}), questionnaire(think=False)))

    (question,) = build_plan(make_study({}, {}, asked=asked), questionnaire()).questions

    assert question.prompts[0].decoding == Decoding(think=False, max_new_tokens=256)


def test_the_truths_of_what_is_new_and_of_what_is_kept_are_known(questionnaire):
    asked = as_asked(build_plan(make_study({}), questionnaire()))

    (question,) = build_plan(make_study({}, {}, asked=asked), questionnaire()).questions

    assert [(known.instance_id, known.truth, known.source) for known in question.truths] == [
        (1, "Neither", TruthSource.HEADER),
        (2, "Neither", TruthSource.HEADER),
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"select": "every K-th"},
        {"window": "no longer"},
        {"when": {"NoLongerIndexed": "x"}},
        {"truth": {"kind": "function", "name": "no_longer"}},
        {"checkpoint": "no longer"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_wording_that_can_be_asked_no_more_gives_way_for_what_is_new(questionnaire, changes):
    (prompt,) = as_asked(build_plan(make_study({}), questionnaire()))
    definition = prompt.question.definition | changes
    old = replace(prompt, question=replace(prompt.question, definition=definition))
    newer = questionnaire(BANK.replace("version: 1", "version: 2"))

    (question,) = build_plan(make_study({}, {}, asked=(old,)), newer).questions

    assert (question.question.version, question.kept) == (2, (old,))
    assert [prompt.instance_id for prompt in question.prompts] == [2]


def test_another_checkpoint_is_asked_anew(questionnaire):
    asked = as_asked(build_plan(make_study({}), questionnaire()))

    (question,) = build_plan(
        make_study({}, asked=asked), questionnaire(resolve_checkpoint=str.lower)
    ).questions

    assert (question.kept, len(question.prompts)) == ((), 1)
