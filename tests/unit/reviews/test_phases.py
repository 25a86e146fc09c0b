"""What a reader knows in which phase; when readers disagree; what a panel says."""

from datetime import timedelta

import pytest

from medr1_pacs.records.review_words import Arm, Phase, ProtocolState, ReadKind
from medr1_pacs.reviews.phases import (
    ReadSoFar,
    adjudicated_phase,
    is_closed,
    is_over,
    knows_more,
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


@pytest.mark.parametrize(
    ("arms", "phase"),
    [
        ([Arm.BLIND], Phase.BLIND),
        ([Arm.SEQUENTIAL], Phase.BLIND),
        ([Arm.ASSISTED], Phase.ASSISTED),
        ([Arm.ASSISTED, Arm.BLIND], Phase.BLIND),
        ([Arm.SEQUENTIAL, Arm.ASSISTED], Phase.BLIND),
    ],
)
def test_an_adjudicator_decides_between_what_was_said_before_the_model_was_seen(arms, phase):
    assert adjudicated_phase(arms) is phase


def read(arm, *locked, kind=ReadKind.FIRST):
    return ReadSoFar(kind=kind, arm=arm, locked=frozenset(locked))


@pytest.mark.parametrize(
    ("phase", "reads", "expected"),
    [
        (Phase.BLIND, [read(Arm.BLIND, Phase.BLIND)], False),
        (Phase.BLIND, [read(Arm.BLIND), read(Arm.SEQUENTIAL)], False),
        (Phase.BLIND, [read(Arm.SEQUENTIAL, Phase.BLIND)], True),
        (Phase.BLIND, [read(Arm.BLIND, Phase.BLIND), read(Arm.ASSISTED)], True),
        (Phase.BLIND, [read(Arm.BLIND, Phase.BLIND), read(Arm.ADJUDICATION)], True),
        (Phase.ASSISTED, [read(Arm.SEQUENTIAL, Phase.BLIND, Phase.ASSISTED)], False),
        (Phase.ASSISTED, [read(Arm.ASSISTED, Phase.ASSISTED), read(Arm.ADJUDICATION)], True),
        (Phase.ADJUDICATION, [read(Arm.ADJUDICATION, Phase.ADJUDICATION)], False),
        (Phase.ADJUDICATION, [read(Arm.ADJUDICATION), read(Arm.ASSISTED)], True),
        (Phase.BLIND, [read(Arm.BLIND, kind=ReadKind.PRACTICE)], False),
        (Phase.BLIND, [read(Arm.BLIND, Phase.BLIND, kind=ReadKind.PRACTICE)], True),
    ],
)  # fmt: skip
def test_who_has_seen_more_than_a_phase_shows_in_any_read_knows_more(phase, reads, expected):
    assert knows_more(phase, reads) is expected


HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"age": 300 * DAY}, False),
        ({"is_met_again": True, "washout": DAY}, False),
        ({"is_met_again": True, "washout": DAY, "age": HOUR}, False),
        ({"is_met_again": True, "washout": DAY, "age": 1.01 * HOUR}, True),
        ({"is_met_again": True, "washout": HOUR / 60, "age": HOUR / 30}, True),
        ({"is_hidden_elsewhere": True, "age": HOUR}, False),
        ({"is_hidden_elsewhere": True, "age": DAY}, True),
        ({"is_hidden_elsewhere": True, "shows_more": True}, True),
        ({"shows_more": True, "age": DAY}, False),
        ({"is_read_again": True}, True),
    ],
)
def test_a_locked_read_is_closed_before_its_case_is_met_again(given, expected):
    nothing = {
        "age": HOUR / 60,
        "washout": timedelta(),
        "is_met_again": False,
        "is_read_again": False,
        "is_hidden_elsewhere": False,
        "shows_more": False,
    }

    assert is_closed(**(nothing | given)) is expected
