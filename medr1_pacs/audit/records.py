"""The canonical form of a record, whose hash its event carries.

Ids, versions, letters, numbers and hashes in the open; texts and identifiers as commitments, so
that a record of which a text is hidden, or gone, can still be checked by what is left of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from medr1_pacs.audit.canonical import canonical_json, commit


@dataclass(frozen=True, slots=True)
class RecordForm:
    """Which fields of a kind of record are hashed in the open, and which as commitments."""

    version: int
    in_the_open: tuple[str, ...]
    committed: tuple[str, ...]
    added: tuple[str, ...] = ()
    """Hashed in the open where a record has them, which is of the next version then: of releases
    before, none has."""

    @property
    def shown(self) -> tuple[str, ...]:
        """All that is hashed in the open."""
        return (*self.in_the_open, *self.added)


FORMS: Mapping[str, RecordForm] = {
    "answer": RecordForm(
        1,
        (
            "answer_id", "generation_id", "run", "prompt_id", "kind", "rendering_id",
            "frame_number", "instance_id", "series_id", "study_id", "question_row",
            "question_id", "question_version", "question_sha256", "checkpoint_row",
            "checkpoint", "checkpoint_revision", "checkpoint_sha256", "is_demo",
            "requested_checkpoint", "coverage", "option_order", "prompt_sha256",
            "decoding_sha256", "png_sha256", "engine", "dtype", "attention", "finish_reason",
            "prompt_tokens", "completion_tokens", "seconds", "choice", "parse_status",
        ),
        (
            "options", "prompt_text", "chat_text", "raw_output", "reasoning", "choice_text",
            "versions",
        ),
    ),
    "reference_standard": RecordForm(
        1,
        (
            "reference_id", "instance_id", "question_row", "source", "unit", "version",
            "statement_id",
        ),
        ("truth", "certainty", "stated_by"),
    ),
    "reference_statement": RecordForm(
        1,
        (
            "statement_id", "import_id", "unit", "patient_id", "study_id", "instance_id", "side",
            "question_id", "version",
        ),
        ("truth", "certainty", "stated_by"),
    ),
    "question": RecordForm(
        1,
        (
            "question_row", "question_id", "question_version", "question_sha256", "modality",
            "task", "role",
        ),
        ("definition",),
    ),
    "checkpoint": RecordForm(
        1,
        (
            "checkpoint_row", "checkpoint", "checkpoint_revision", "checkpoint_sha256", "is_demo",
        ),
        (),
    ),
    "reading_case": RecordForm(
        1,
        (
            "case_id", "protocol_id", "number", "case_kind", "study_id", "study_version_id",
            "question_row", "rendering_id", "study_answer_id", "truth_source",
        ),
        ("model_side", "truth"),
        added=("pictures",),
    ),
    "review": RecordForm(
        1,
        (
            "review_id", "assignment_id", "read_kind", "arm", "case_id", "account_id", "phase",
            "version", "is_after_reveal", "confidence", "reasoning_grade", "reasoning_error",
            "place", "active_ms", "wall_ms",
        ),
        (
            "choice_text", "cannot_assess", "flags", "comment", "reason", "opened_at",
            "locked_at",
        ),
    ),
    "account": RecordForm(1, ("account_id",), ("name",)),
    "project_member": RecordForm(
        1, ("member_id", "account_id", "project_id", "role", "is_from_provider"), ()
    ),
}  # fmt: skip
"""Kind -> form. A number with a fraction is hashed as its shortest text."""


def commit_fields(kind: str, salt: str, values: Mapping[str, Any]) -> dict[str, str]:
    """Return field -> commitment, of the fields of a record that are hashed so."""
    return {name: commit(salt, name, values[name]) for name in FORMS[kind].committed}


def record_sha256(kind: str, values: Mapping[str, Any], commitments: Mapping[str, str]) -> str:
    """Return the hash of a record's canonical form, as 64 hex digits."""
    form = FORMS[kind]
    added = {name: values[name] for name in form.added if values.get(name) is not None}
    canonical = {
        "form": [kind, form.version + bool(added)],
        "record": {name: values[name] for name in form.in_the_open} | added,
        "commitments": {name: commitments[name] for name in form.committed},
    }
    return hashlib.sha256(canonical_json(canonical)).hexdigest()
