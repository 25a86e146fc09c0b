"""What follows from the events of a reading protocol, whoever wrote them."""

from __future__ import annotations

import pytest

from medr1_pacs.audit.reading_events import PHASES_OF, ReadingEvents, ReadState
from medr1_pacs.db.protocols import label_of
from medr1_pacs.records.review_words import PHASES, ProtocolState
from medr1_pacs.verifier.files import DAMAGED

ANNA, BEN = 4, 5
STARTED = {"readers": [ANNA, BEN], "adjudicators": [6], "cases": 1, "reads": 2}


def follow(*events):
    """Follow a protocol with one case, and what happens to it then."""
    reading = ReadingEvents()
    first = [
        ("protocol.started", 1, None, STARTED),
        ("case.frozen", 7, None, {"protocol_id": 1, "number": 1}),
    ]
    for seq, (action, object_id, account_id, new) in enumerate([*first, *events]):
        reading.follow(action, object_id, account_id, {"new": new} if new else {}, seq)
    return reading


def opened(account_id, place=1, read=9):
    return "read.opened", read, account_id, {"case_id": 7, "place": place}


def locked(account_id, phase, review=11):
    new = {"assignment_id": 9, "case_id": 7, "phase": phase, "version": 1}
    return "review.locked", review, account_id, new


STOPPED = ("protocol.stopped", 1, None, None)
WITHDRAWN = ("case.withdrawn", 7, None, None)
RELEASED = ("read.released", 9, None, None)
DROPPED = ("read.dropped", 9, None, {"case_id": 7})
UNBLINDED = ("protocol.unblinded", 1, None, {"account_id": ANNA})
BLIND, ASSISTED = locked(ANNA, "blind"), locked(ANNA, "assisted", 12)


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([], ReadState(None, None, "planned")),
        ([opened(ANNA)], ReadState(ANNA, 1, "open")),
        ([opened(ANNA), opened(BEN, 3)], ReadState(BEN, 3, "open")),
        ([opened(ANNA), BLIND], ReadState(ANNA, 1, "open")),
        ([opened(ANNA), BLIND, ASSISTED], ReadState(ANNA, 1, "done")),
        ([opened(ANNA), BLIND, ASSISTED, WITHDRAWN], ReadState(ANNA, 1, "done")),
        ([opened(ANNA), WITHDRAWN], ReadState(ANNA, 1, "dropped")),
        ([STOPPED], ReadState(None, None, "dropped")),
        ([opened(ANNA), UNBLINDED], ReadState(None, None, "planned")),
        ([opened(ANNA), BLIND, UNBLINDED], ReadState(ANNA, 1, "dropped")),
        ([opened(ANNA), UNBLINDED, opened(BEN)], ReadState(BEN, 1, "open")),
        ([opened(ANNA), RELEASED], ReadState(None, None, "planned")),
        ([opened(ANNA), RELEASED, opened(BEN)], ReadState(BEN, 1, "open")),
        ([opened(ANNA), UNBLINDED, RELEASED, DROPPED], ReadState(None, None, "dropped")),
        ([opened(ANNA), DROPPED], ReadState(ANNA, 1, "dropped")),
    ],
    ids=["planned", "open", "another's", "begun", "done", "done, withdrawn", "withdrawn", "stopped",
         "taken back", "begun, dropped", "given to another", "released", "claimed again",
         "nobody left", "seen, dropped"],
)  # fmt: skip
def test_a_pooled_read_is_where_its_last_event_left_it(events, expected):
    assert follow(*events).state_of(9, 7, "sequential", planned_for=None) == expected


def test_what_was_planned_for_somebody_who_sees_the_answers_is_dropped():
    reading = follow(UNBLINDED)

    found = [reading.state_of(9, 7, "blind", planned_for=each).state for each in (ANNA, BEN)]

    assert found == ["dropped", "planned"]


def test_the_people_of_a_protocol_have_the_labels_that_its_start_gave_them():
    told = STARTED | {"readers": list(range(30))}
    reading = ReadingEvents()
    reading.follow("protocol.started", 1, None, {"new": told}, 0)

    people = reading.protocols[1].people()

    labels = [f"Reader {label_of(place)}" for place in range(30)]
    assert [label for _, part, label in people if part == "reader"] == labels
    assert people[-1] == (6, "adjudicator", "Adjudicator A")


def test_every_arm_has_the_phases_that_readers_meet():
    assert {arm.value: tuple(each.value for each in PHASES[arm]) for arm in PHASES} == PHASES_OF


def test_a_protocol_ends_in_the_states_that_there_are():
    ended = [follow((f"protocol.{each.value}", 1, None, None)) for each in list(ProtocolState)[1:]]

    assert [each.protocols[1].state for each in ended] == ["finished", "stopped"]


@pytest.mark.parametrize("new", [None, 7, [], {}, {"case_id": []}, {"protocol_id": 1}])
@pytest.mark.parametrize(
    "action",
    ["protocol.unblinded", "case.frozen", "read.opened", "review.locked",
     "review.amended", "adjudication.planned", "read.planned"],
)  # fmt: skip
def test_an_event_without_the_form_of_its_action_is_taken_for_damaged(action, new):
    with pytest.raises(DAMAGED):
        ReadingEvents().follow(action, 1, None, {"new": new}, 0)
