"""The tables of an export. The comment below a field is its entry in the data dictionary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from medr1_pacs.records.research import ResearchAnswer
from medr1_pacs.records.words import TruthSource, TruthUnit


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedAnswer(ResearchAnswer):
    """An answer, with what its record is hashed with besides."""

    generation_id: int
    """Row number of the run."""
    prompt_id: int
    """Row number of the prompt."""
    rendering_id: int
    """Row number of the picture."""
    instance_id: int
    """Row number of the instance that holds the frame."""
    series_id: int
    """Row number of the series."""
    study_id: int
    """Row number of the study."""
    question_row: int
    """Row number in `questions`."""
    checkpoint_row: int
    """Row number in `checkpoints`."""
    prompt_sha256: str
    """SHA-256 of the prompt."""
    decoding_sha256: str
    """SHA-256 of `decoding`."""
    record_salt: str
    """16 random bytes, as hex, that the texts of the record are hashed with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedQuestion:
    """A wording that was asked in the project."""

    question_row: int
    """Row number."""
    question_id: str
    """Id in the question bank."""
    question_version: int
    """From 1."""
    question_sha256: str
    """SHA-256 of its definition."""
    modality: str
    """The Med-R1 modality that it is about."""
    task: str
    """As OmniMedVQA spells it."""
    role: str
    """What it is for in the bank."""
    definition: str
    """All of it, as JSON."""
    record_salt: str
    """16 random bytes, as hex, that the definition is hashed with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedCheckpoint:
    """Weights that answered in the project."""

    checkpoint_row: int
    """Row number."""
    checkpoint: str
    """Its name."""
    checkpoint_revision: str
    """Commit of the hub repository, 40 hex digits; `unversioned` for a folder named without one."""
    checkpoint_sha256: str
    """One hash over all files it was loaded from."""
    is_demo: bool
    """It is the demo checkpoint, which knows nothing about patients."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedReference:
    """What a source says is the truth of a question for an instance."""

    reference_id: int
    """Row number."""
    instance_id: int
    """Row number of the instance; `answers` tell its pseudonymous UID."""
    question_row: int
    """Row number in `questions`."""
    question_id: str
    """Id in the question bank."""
    source: TruthSource
    """`header`, `phantom`, `reader_panel`, `import`."""
    unit: TruthUnit
    """What it is stated about: `patient`, `study`, `side`, `picture`."""
    version: int
    """Of the statement, from the source's first."""
    statement_id: int | None
    """Row number of the imported statement; empty: not from an import."""
    truth: str | None
    """The right option; empty: a later version withdrew it."""
    certainty: str | None
    """`proven`, `followed_up`, `consensus`, `single`."""
    is_superseded: bool
    """Its source says something else of the same unit since: it counts no more."""
    truth_salt: str
    """What `truth` is hashed with."""
    certainty_salt: str
    """What `certainty` is hashed with."""
    stated_by_sha256: str
    """Commitment to who says so, which is not shown."""


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
    """Row number of the series; `answers` tell its pseudonymous UID."""
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
    """In the project, as of the export."""
    had_roles: Sequence[str]
    """In the project, at any time until then."""
    is_closed: bool
    """Nobody comes in by it any more."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedEvent:
    """An event of the project, a line of JSON. What can be hidden is a commitment, a hash, or shown
    as `[salt, value]`."""

    seq: int
    """Place in the log of the whole site, from 0."""
    event: int
    """Number of the event."""
    action: str
    """What happened, as `answer.parsed`."""
    object: Sequence[str | int]
    """To what: its kind, and its row number."""
    scope: Sequence[int | None]
    """The study and the project that it is about, as row numbers."""
    account: int | None
    """Who did it, by number; empty: the service, or the command line."""
    record: str | None
    """SHA-256 of the record that it tells of."""
    actor: Sequence[str] | str
    """Who did it; shown where it was the service or the command line."""
    at: Sequence[str] | str
    """When; shown only where who exported said so, since it gives study dates away."""
    told: Sequence[str] | str
    """`old` and `new`: what changed; hidden where it would name files or people."""
    reason: Sequence[str] | str
    """Why, as somebody or a program said; shown only where who exported said so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedRemains:
    """What is left of a record that was withdrawn, a line of JSON: enough to check its hash."""

    kind: str
    """`answer`, or `reference_standard`."""
    id: int
    """Its row number."""
    record: Mapping[str, str | int | None]
    """Ids, letters, numbers and hashes of it."""
    commitments: Mapping[str, str]
    """In the place of its texts, which are gone."""


LINES: Mapping[str, type] = {"events": ExportedEvent, "withdrawn": ExportedRemains}
"""Files of lines of JSON -> what each line is."""
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
