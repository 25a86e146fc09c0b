"""The tables of an export. The comment below a field is its entry in the data dictionary.

What a field is checked by is the word in brackets behind it: `record`, the hash that its event
carries; `derived`, from other fields of the export; without one, it is what the database says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from medr1_pacs.records.research import ResearchAnswer
from medr1_pacs.records.words import TruthSource, TruthUnit


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedAnswer(ResearchAnswer):
    """An answer, with what its record is hashed with besides."""

    generation_id: int
    """Row number of the run. [record]"""
    prompt_id: int
    """Row number of the prompt. [record]"""
    rendering_id: int
    """Row number of the picture. [record]"""
    instance_id: int
    """Row number of the instance that holds the frame. [record]"""
    series_id: int
    """Row number of the series. [record]"""
    study_id: int
    """Row number of the study. [record]"""
    question_row: int
    """Row number in `questions`. [record]"""
    checkpoint_row: int
    """Row number in `checkpoints`. [record]"""
    prompt_sha256: str
    """SHA-256 of the prompt. [record]"""
    decoding_sha256: str
    """SHA-256 of `decoding`. [record]"""
    record_salt: str
    """16 random bytes, as hex, that the texts of the record are hashed with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedQuestion:
    """A wording that was asked in the project."""

    question_row: int
    """Row number. [record]"""
    question_id: str
    """Id in the question bank. [record]"""
    question_version: int
    """From 1. [record]"""
    question_sha256: str
    """SHA-256 of its definition. [record]"""
    modality: str
    """The Med-R1 modality that it is about. [record]"""
    task: str
    """As OmniMedVQA spells it. [record]"""
    role: str
    """What it is for in the bank. [record]"""
    definition: str
    """All of it, as JSON. [record]"""
    record_salt: str
    """16 random bytes, as hex, that the definition is hashed with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedCheckpoint:
    """Weights that answered in the project."""

    checkpoint_row: int
    """Row number. [record]"""
    checkpoint: str
    """Its name. [record]"""
    checkpoint_revision: str
    """Commit of the hub repository, 40 hex digits; `unversioned` for a folder named without one.
    [record]"""
    checkpoint_sha256: str
    """One hash over all files it was loaded from. [record]"""
    is_demo: bool
    """It is the demo checkpoint, which knows nothing about patients. [record]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedReference:
    """What a source says is the truth of a question for an instance."""

    reference_id: int
    """Row number. [record]"""
    instance_id: int
    """Row number of the instance. [record]"""
    question_row: int
    """Row number in `questions`. [record]"""
    sop_instance_uid: str | None
    """Pseudonymous; empty: nothing of it was selected."""
    question_id: str
    """Id in the question bank."""
    source: TruthSource
    """`header`, `phantom`, `reader_panel`, `import`. [record]"""
    unit: TruthUnit
    """What it is stated about: `patient`, `study`, `side`, `picture`. [record]"""
    version: int
    """Of the statement, from the source's first. [record]"""
    statement_id: int | None
    """Row number of the imported statement; empty: not from an import. [record]"""
    truth: str | None
    """The right option; empty: a later version withdrew it. [record]"""
    certainty: str | None
    """`proven`, `followed_up`, `consensus`, `single`. [record]"""
    is_superseded: bool
    """Its source says something else of the same unit since: it counts no more. [derived]"""
    truth_salt: str
    """What `truth` is hashed with."""
    certainty_salt: str
    """What `certainty` is hashed with."""
    stated_by_sha256: str
    """Commitment to who says so, which is not shown. [record]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedSelection:
    """What stands for a series under a question, or why nothing does."""

    selection_id: int
    """Row number."""
    study_instance_uid: str | None
    """Pseudonymous; empty: the project has no name for it yet."""
    study_version: int
    """The version of the study that was planned."""
    series_id: int
    """Row number of the series."""
    series_instance_uid: str | None
    """Pseudonymous; empty: nothing of the series was selected."""
    question_row: int
    """Row number in `questions`."""
    question_id: str
    """Id in the question bank."""
    instance_id: int | None
    """Row number of the instance that was chosen; empty: none was."""
    frame_number: int | None
    """Of the chosen frame, from 1; empty: none was."""
    reason: str
    """Why it was chosen, or why nothing was; empty where it would name a file or a day."""
    skipped: Mapping[str, int] | None
    """Reason -> number of frames that were not chosen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedAccount:
    """A person with a role in the project; names are not shown."""

    account_id: int
    """Number of the account, by which events name it."""
    roles: Sequence[str]
    """In the project, as of the export. [derived]"""
    had_roles: Sequence[str]
    """In the project, at any time until then. [derived]"""
    is_closed: bool
    """Nobody comes in by it any more. [derived]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOutAnswer:
    """An answer of the project that the filters leave out."""

    answer_id: int
    """Number of the answer."""
    reason: str
    """`demo`, `control`, `not_current`, or `filter`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedCount:
    """How many there are of something; `verify.py` counts again."""

    name: str
    """What is counted."""
    number: int
    """How many."""
    meaning: str
    """What it is, and what it is the sum of."""


TABLES: Mapping[str, type] = {
    "answers": ExportedAnswer,
    "questions": ExportedQuestion,
    "checkpoints": ExportedCheckpoint,
    "references": ExportedReference,
    "selections": ExportedSelection,
    "accounts": ExportedAccount,
    "left_out": LeftOutAnswer,
    "counts": ExportedCount,
}
"""Name of the file -> what its rows are; besides `answers_wide`, whose columns are questions."""
