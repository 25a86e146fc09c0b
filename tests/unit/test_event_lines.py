"""What of an event is shown in an export."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest

import medr1_pacs
from medr1_pacs.audit.events import Event
from medr1_pacs.exports.event_lines import TOLD_IS_HIDDEN, TOLD_IS_SHOWN, event_line
from medr1_pacs.records.reading import Reading

PACKAGE = Path(medr1_pacs.__file__).parent
KINDS = (
    "account", "accuracy", "answer", "answers", "api_token", "audit", "checkpoint", "export",
    "generation", "instance", "log", "patient", "project", "project_member", "prompt",
    "quarantine", "question", "reference", "reference_standard", "reference_statement",
    "rendering", "series", "snapshot", "studies", "study", "withdrawal",
)  # fmt: skip
ACTION = re.compile(rf"(?:{'|'.join(KINDS)})\.[a-z_]+")


def actions_in_the_code():
    """Return what looks like the action of an event, where events are added."""
    found = {*Reading} | {f"{kind}.adopted" for kind in ("answer", "question", "checkpoint")}
    for folder in ("db", "steps"):
        for path in (PACKAGE / folder).glob("*.py"):
            found |= {
                node.value
                for node in ast.walk(ast.parse(path.read_text("utf-8")))
                if isinstance(node, ast.Constant)
                and isinstance(node.value, str)
                and ACTION.fullmatch(node.value)
            }
    return found - {"answer.reasoning_words"}  # a column


def line_of(action, told):
    event = Event(
        event_id=1, action=action, object_type="project", object_id=1, study_id=None,
        project_id=1, account_id=None, record=None, salt="00" * 16, actor="ada",
        at="2026-01-02T03:04:05.678901Z", told=told, reason=None,
    )  # fmt: skip
    return event_line(0, event, shows_times=False, shows_reasons=False)


def test_of_every_action_it_was_decided_whether_its_values_are_shown():
    assert actions_in_the_code() - TOLD_IS_SHOWN - TOLD_IS_HIDDEN == set()
    assert set() == TOLD_IS_SHOWN & TOLD_IS_HIDDEN


@pytest.mark.parametrize(
    ("action", "told"),
    [
        ("api_token.added", {"new": {"account": "hedda", "project": "heart"}}),
        ("project.research_granted", {"new": {"role": "a_role_of_the_database"}}),
        ("study.project_withdrawn", {"new": {"key": "0123456789abcdef"}}),
        ("snapshot.made", {"new": {"name": "For Hedda"}}),
        ("project.declared", {"new": {"purpose": "For Hedda"}}),
        ("something.new", {"new": {"name": "hedda"}}),
    ],
)
def test_values_that_name_somebody_or_something_of_the_site_stay_hidden(action, told):
    assert isinstance(json.loads(line_of(action, told))["told"], str)


@pytest.mark.parametrize(
    "action",
    [
        "study.state_changed", "study.prompts_withdrawn", "study.project_added",
        "account.role_given", "account.role_removed", "project_member.adopted",
        "log.key_rotated", "log.restarted",
    ],
)  # fmt: skip
def test_what_the_verifier_counts_and_follows_is_shown(action):
    assert json.loads(line_of(action, {"new": {}}))["told"][1] == {"new": {}}
