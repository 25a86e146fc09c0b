"""What an export looks like: its files, and how the events in it are written.

An event is a line of JSON. What can be hidden is either shown with the salt that opens its
commitment, `[salt, value]`, or is the commitment alone.
"""

from __future__ import annotations

from typing import Any

from medr1_pacs.audit.records import FORMS

FORMAT = "medr1-pacs export 1"
SIGNED = b"medr1-pacs export\n"
"""What stands before the manifest where it is signed: no head of a log begins so."""
MANIFEST = "manifest.json"
EVENTS = "events.jsonl"
LEAVES = "leaves.bin"
WITHDRAWN = "withdrawn.jsonl"
VERIFIER = "verify.py"
GUIDE = "GUIDE.md"
CONSISTENCY = "consistency.json"
COSIGNATURES = "cosignatures.txt"
PICTURES = "med-r1/images.txt"
"""The SHA-256 of each picture that is laid beside, a line each: `med-r1/images/<sha256>.png`. The
manifest names this list, and none of the pictures."""
OUTSIDE = (MANIFEST, CONSISTENCY, COSIGNATURES)
"""Files that no manifest names: itself, and what is made later or for one reader."""
RECORDS = {
    "answers": "answer",
    "questions": "question",
    "checkpoints": "checkpoint",
    "references": "reference_standard",
    "reading_cases": "reading_case",
    "reviews": "review",
}
"""Table -> the kind of record that each of its rows is."""
KEY_OF = {
    "answer": "answer_id",
    "question": "question_row",
    "checkpoint": "checkpoint_row",
    "reference_standard": "reference_id",
    "reading_case": "case_id",
    "review": "review_id",
}
"""Kind -> the column that tells which one it is."""

_CHECKED = {
    "answers": {"decoding": "record", "truth": "derived", "is_correct": "derived"},
    "references": {"stated_by_sha256": "record", "is_superseded": "derived"},
    "reviews": {"salts": "record", "commitments": "record"},
    "reading_protocols": dict.fromkeys(
        ("protocol_id", "name", "version", "definition", "definition_sha256", "state"), "derived"
    ),
    "reading_people": dict.fromkeys(("protocol_id", "account_id", "part", "label"), "derived"),
    "assignments": dict.fromkeys(("account_id", "place", "state"), "derived"),
    "left_out": {"answer_id": "derived"},
    "accounts": dict.fromkeys(("account_id", "roles", "had_roles", "is_closed"), "derived"),
    "counts": {"number": "derived"},
    "withdrawn": dict.fromkeys(("kind", "id", "record", "commitments"), "record"),
}


def checked_by(table: str, column: str) -> str:
    """Return what a column is checked by: `record`, the hash that its event carries; `derived`,
    computed again from events and other columns; `log`, the tree; nothing, what the database says.
    """
    if table == "events":
        return "log"
    if column in _CHECKED.get(table, {}):
        return _CHECKED[table][column]
    form = FORMS.get(RECORDS.get(table, ""))
    is_hashed = form is not None and column in (*form.shown, *form.committed)
    return "record" if is_hashed else ""


UNITS = ("picture", "side", "study", "patient")
"""Of a truth, that which counts before the others first."""
CERTAINTIES = ("proven", "followed_up", "consensus", "adjudicated", "single")

INTEGERS = frozenset(
    {
        "answer_id", "generation_id", "run", "prompt_id", "rendering_id", "frame_number",
        "instance_id", "series_id", "study_id", "question_row", "question_version",
        "checkpoint_row", "prompt_tokens", "completion_tokens", "reference_id", "version",
        "statement_id", "number", "account_id", "case_id", "protocol_id", "study_version_id",
        "study_answer_id", "review_id", "assignment_id", "confidence", "reasoning_grade", "place",
        "active_ms", "wall_ms",
    }
)  # fmt: skip
BOOLEANS = frozenset(
    {
        "is_demo", "is_superseded", "is_closed", "is_correct", "is_current", "is_after_reveal",
        "is_pooled",
    }
)  # fmt: skip
STRUCTURES = frozenset(
    {
        "options", "option_order", "versions", "decoding", "roles", "had_roles", "model_side",
        "flags", "salts", "commitments", "pictures",
    }
)  # fmt: skip

EVERYTHING = {"kind": [], "versions": ["all"], "demo": ["yes"]}
"""Filters by which nothing is left out."""
COUNTED = {
    "studies": "studies that the project was given",
    "received": "instances stored of these studies, whoever else uses them",
    "held": "instances that wait for a person, or waited",
    "completed": "times that a study became complete: its first version, and each later one",
    "rendered": "pictures drawn",
    "rendering_failed": "times that a picture could not be drawn",
    "asked": "prompts made and not taken back: answered + waiting_or_failed",
    "waiting_or_failed": "prompts without an answer",
    "failed": "times that answering a prompt was given up; it may have been tried again",
    "answered": "answers: exported + left_out + withdrawn",
    "exported": "rows of `answers`",
    "left_out": "rows of `left_out`: the filters of this export leave them out",
    "withdrawn": "answers whose study was withdrawn from the project",
    "studies_withdrawn": "studies withdrawn, from the project or from all",
    "reading_protocols": "reading protocols that were started",
    "reading_cases": "cases that were frozen when they were",
    "reads_opened": "times that a reader opened a case",
    "reviews": "answers that readers locked, a phase each; amendments are counted apart",
    "amendments": "answers that readers changed after they had locked them",
}
"""What is counted -> what it is."""


def count_event(counts: dict[str, int], action: Any, told: Any) -> None:
    """Let one event of a project count; one without the form of its action counts for nothing."""
    name = _COUNTS.get(action) if isinstance(action, str) else None
    if name is not None:
        counts[name] += 1
    elif action == "study.state_changed" and _said(told, "new").get("state") == "complete":
        counts["completed"] += 1
    elif action == "study.prompts_withdrawn":
        # Earlier versions said `prompts`, of which a part was never told of as made.
        number = _said(told, "new").get("withdrawn")
        counts["asked"] -= number if type(number) is int else 0
    elif action == "prompt.withdrawn":
        counts["asked"] -= 1


def _said(told: Any, name: str) -> dict[str, Any]:
    """Return the old or the new value of an event; nothing where it is no object."""
    value = told.get(name) if isinstance(told, dict) else None
    return value if isinstance(value, dict) else {}


_COUNTS = {
    "study.project_added": "studies",
    "study.project_withdrawn": "studies_withdrawn",
    "study.withdrawn": "studies_withdrawn",
    "instance.stored": "received",
    "instance.held": "held",
    "rendering.rendered": "rendered",
    "rendering.failed": "rendering_failed",
    "prompt.created": "asked",
    "generation.failed": "failed",
    "answer.parsed": "answered",
    "protocol.started": "reading_protocols",
    "case.frozen": "reading_cases",
    "read.opened": "reads_opened",
    "review.locked": "reviews",
    "review.amended": "amendments",
}


def follow_role(
    roles: dict[int, tuple[list[str], list[str]]],
    closed: set[int],
    action: str,
    account_id: Any,
    told: Any,
    project: str,
) -> None:
    """Let one event change which roles accounts have, and had, in a project; and who is closed.

    One without the form of its action changes nothing.
    """
    if action in ("account.closed", "account.reopened"):
        if type(account_id) is int:
            (closed.add if action == "account.closed" else closed.discard)(account_id)
        return
    if action not in ("account.role_given", "account.role_removed", "project_member.adopted"):
        return
    value = _said(told, "old" if action == "account.role_removed" else "new")
    account_id, role = value.get("account_id", account_id), value.get("role")
    if value.get("project") != project or type(account_id) is not int or type(role) is not str:
        return
    has, had = roles.setdefault(account_id, ([], []))
    if action == "account.role_removed":
        if role in has:
            has.remove(role)
        return
    for each in (has, had):
        if role not in each:
            each.append(role)


def finish_counts(counts: dict[str, int]) -> None:
    """Let what is the rest of others be so."""
    counts["waiting_or_failed"] = counts["asked"] - counts["answered"]
