"""Why a study waits, in a sentence."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from factories import NOON

from medr1_pacs.records.operating import StudyRow, WaitingPrompts
from medr1_pacs.records.words import StudyState
from medr1_pacs.waiting import explain_waiting, say_seconds

ROW = StudyRow(
    study_instance_uid="1.2.3",
    modality="CT",
    state=StudyState.RECEIVING,
    reason="",
    version=1,
    instances=1,
    answers=0,
    last_received_at=NOON,
    completed_at=None,
    set_aside=0,
    is_being_sent=False,
    prompts=(),
)


def explain(after_s=60, **changes):
    return explain_waiting(
        replace(ROW, **changes), now=NOON + timedelta(seconds=after_s), quiet_s=300
    )


def test_a_receiving_study_says_how_long_it_was_quiet_of_how_long_it_takes():
    assert explain(60) == "quiet for 60 s of 5 min"


def test_one_that_was_quiet_for_long_enough_says_what_else_it_can_be():
    assert explain(301).startswith("quiet for 5 min, which is enough: ")


def test_an_open_association_and_set_aside_files_make_it_wait_ten_times_as_long():
    assert explain(301, is_being_sent=True) == (
        "quiet for 5 min of 50 min; an association that sends it is open"
    )
    assert explain(301, set_aside=2) == (
        "quiet for 5 min of 50 min; files of it that are set aside: 2"
    )


def test_a_clock_that_was_ahead_is_no_negative_quiet():
    assert explain(-30) == "quiet for 0 s of 5 min"


@pytest.mark.parametrize(
    ("after_s", "sentence"),
    [
        (5, "the plan of what to ask is due for 5 s"),
        (61, "the plan of what to ask is due for 61 s: is the sweep running?"),
    ],
)
def test_a_complete_study_waits_for_its_plan(after_s, sentence):
    assert explain(after_s, state=StudyState.COMPLETE, completed_at=NOON) == sentence


def test_an_asked_study_says_which_checkpoint_it_waits_for_and_its_own_reason():
    prompts = (WaitingPrompts("ct", 3, 1, NOON), WaitingPrompts("mri", 1, 0, NOON))

    assert explain(3600, state=StudyState.ASKED, prompts=prompts, reason="ct is missing") == (
        "ct is missing; 4 prompts wait for ct for 60 min, 1 of them for their picture; "
        "1 prompt waits for mri for 60 min"
    )


@pytest.mark.parametrize(
    "state", [StudyState.FAILED, StudyState.ANSWERED, StudyState.NOTHING_TO_ASK]
)
def test_one_that_waits_for_nothing_has_its_reason_alone(state):
    assert explain(state=state, reason="3 prompts: no pixel data") == "3 prompts: no pixel data"
    assert explain(state=state) == ""


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-1, "0 s"), (0, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "120 min"),
        (7200, "2 h"), (172_799, "48 h"), (172_800, "2 d"),
    ],
)  # fmt: skip
def test_a_time_is_said_in_the_unit_that_fits(seconds, said):
    assert say_seconds(seconds) == said
