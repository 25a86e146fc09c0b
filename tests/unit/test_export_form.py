"""What is counted and followed in the events of an export, whoever wrote these."""

from __future__ import annotations

import itertools
import json

import pytest

from medr1_pacs.audit.export_form import (
    CERTAINTIES,
    COUNTED,
    EVERYTHING,
    UNITS,
    count_event,
    follow_role,
)
from medr1_pacs.db.exported_answers import EVERYTHING as FOUND_BY_ALL
from medr1_pacs.records.words import Certainty, TruthUnit

ACTIONS = (
    "study.state_changed", "study.prompts_withdrawn", "prompt.withdrawn", "account.closed",
    "account.reopened", "account.role_given", "account.role_removed", "project_member.adopted",
    "log.key_rotated", "", None, 3, [],
)  # fmt: skip
ODD = (
    None, True, 7, "text", [], [1], {}, {"project": "p"}, {"project": "p", "role": []},
    {"project": "p", "role": "reader", "account_id": "x"}, {"state": {}, "withdrawn": "3"},
)  # fmt: skip


@pytest.mark.parametrize(("action", "value"), [*itertools.product(ACTIONS, ODD)])
def test_an_event_without_the_form_of_its_action_changes_nothing_that_it_could_tell(action, value):
    counts, roles, closed = dict.fromkeys(COUNTED, 0), {}, set()

    for told in (value, {"new": value}, {"old": value}):
        for object_id in (None, "1", [], 1.5, True):
            count_event(counts, action, told)
            follow_role(roles, closed, action, object_id, told, "p")

    assert {name for name, number in counts.items() if number} <= {"asked"}
    assert (roles, closed) == ({}, set())


def test_prompts_that_were_withdrawn_are_asked_no_more():
    counts = dict.fromkeys(COUNTED, 0) | {"asked": 5}

    count_event(counts, "study.prompts_withdrawn", {"new": {"withdrawn": 2}})
    count_event(counts, "study.prompts_withdrawn", {"new": {"prompts": 3}})  # of earlier versions

    assert counts["asked"] == 3


def test_what_leaves_nothing_out_is_what_a_manifest_says_of_it():
    assert json.loads(json.dumps(FOUND_BY_ALL.to_query())) == EVERYTHING


def test_every_unit_and_certainty_of_a_truth_has_its_place():
    assert set(UNITS) == set(TruthUnit)
    assert tuple(Certainty) == CERTAINTIES
