"""What a reader knows in which phase; when readers disagree; what a panel says."""

import pytest

from medr1_pacs.records.review_words import Arm, Phase, ProtocolState
from medr1_pacs.reviews.phases import (
    is_over,
    needs_adjudication,
    panel_choice,
    running_phase,
    shows_model,
    shows_readers,
)


@pytest.mark.parametrize(
    ("arm", "locked", "phase"),
    [
        (Arm.BLIND, [], Phase.BLIND),
        (Arm.BLIND, [Phase.BLIND], None),
        (Arm.SEQUENTIAL, [], Phase.BLIND),
        (Arm.SEQUENTIAL, [Phase.BLIND], Phase.ASSISTED),
        (Arm.SEQUENTIAL, [Phase.BLIND, Phase.ASSISTED], None),
        (Arm.ASSISTED, [], Phase.ASSISTED),
        (Arm.ASSISTED, [Phase.ASSISTED], None),
        (Arm.ADJUDICATION, [], Phase.ADJUDICATION),
        (Arm.ADJUDICATION, [Phase.ADJUDICATION], None),
    ],
)
def test_phases_follow_one_another(arm, locked, phase):
    assert running_phase(arm, locked) is phase


def test_the_model_is_shown_in_the_assisted_phase_alone():
    assert [phase for phase in (*Phase, None) if shows_model(phase)] == [Phase.ASSISTED]


def test_other_readers_are_shown_in_the_adjudication_alone():
    assert [phase for phase in (*Phase, None) if shows_readers(phase)] == [Phase.ADJUDICATION]


def test_nothing_is_hidden_once_a_protocol_is_finished_or_stopped():
    assert {state: is_over(state) for state in ProtocolState} == {
        ProtocolState.STARTED: False,
        ProtocolState.FINISHED: True,
        ProtocolState.STOPPED: True,
    }


@pytest.mark.parametrize(
    ("finals", "disagree"),
    [
        ([], False),
        (["Nodule"], False),
        (["Nodule", "Nodule"], False),
        (["Nodule", "Effusion"], True),
        (["Nodule", "Nodule", "Effusion"], True),
        (["Nodule", None], True),
        ([None, None], False),
    ],
)
def test_readers_disagree_where_one_says_something_else_or_cannot_tell(finals, disagree):
    assert needs_adjudication(finals) is disagree


@pytest.mark.parametrize(
    ("finals", "adjudicated", "said"),
    [
        (["Nodule", "Nodule"], None, "Nodule"),
        (["Nodule"], None, "Nodule"),
        (["Nodule", "Effusion"], None, None),
        (["Nodule", "Effusion"], "Effusion", "Effusion"),
        (["Nodule", "Effusion"], "Nothing", "Nothing"),
        ([None, None], None, None),
        ([], None, None),
    ],
)
def test_a_panel_says_what_all_agree_on_or_the_adjudicator_decides(finals, adjudicated, said):
    assert panel_choice(finals, adjudicated) == said
