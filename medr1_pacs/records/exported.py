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
    """`proven`, `followed_up`, `consensus`, `adjudicated`, `single`."""
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
class ExportedProtocol:
    """A reading protocol of the project; filters of an export leave nothing of reading out."""

    protocol_id: int
    """Row number."""
    name: str
    """Its name."""
    version: int
    """From 1; another wording is another version."""
    title: str
    """What it is about, as its lead wrote."""
    definition: str
    """All of it, as canonical JSON, with the number of its readers and adjudicators in the place of
    their names."""
    definition_sha256: str
    """SHA-256 of `definition`."""
    state: str
    """As of the export: `started`, `finished` or `stopped`."""
    started_at: str | None
    """When it was started; empty where times are hidden."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedPerson:
    """What somebody is in a reading protocol; names are not shown."""

    protocol_id: int
    """Row number in `reading_protocols`."""
    account_id: int
    """Number of the account."""
    part: str
    """`reader` or `adjudicator`."""
    label: str
    """As others know them: `Reader A`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedCase:
    """A case of a reading protocol as it was frozen when that started."""

    case_id: int
    """Row number."""
    protocol_id: int
    """Row number in `reading_protocols`."""
    number: int
    """Of the case in its protocol, from 1."""
    case_kind: str
    """`case`; `control` and `practice` are not evaluated with the others."""
    study_instance_uid: str | None
    """Pseudonymous; empty: the project has no name for it yet."""
    study_id: int
    """Row number of the study."""
    study_version_id: int
    """Row number of the study's version that is read."""
    question_row: int
    """Row number in `questions`."""
    question_id: str
    """Id in the question bank."""
    rendering_id: int | None
    """Row number of the picture; empty: the whole study is the case."""
    study_answer_id: int | None
    """Row number of the model's answers, put together; empty: there was none."""
    model_side: Mapping[str, str | int] | None
    """What was to be shown of the model: its choice, and choice, reasoning and picture of each
    frame. And what no reader is shown: `score`, how likely a positive option is, 0 to 1, as its
    shortest text (null: the engine does not say, or the question has no positive option);
    `answers`, how many answers it was put together from; `parsed`, those of them with a choice. A
    release that did not freeze these three has none of them. Empty: no model answered."""
    truth: str | None
    """The right option by the references when the protocol started; empty: not known."""
    truth_source: str | None
    """Whose reference it was; of a study's truth that several sources have part in, the least
    certain one's."""
    pictures: Sequence[Sequence[int]] | None
    """What its readers could page through, by row numbers: `[[series, [[instance, frames], ...]],
    ...]`; empty: frozen by a release that did not note it."""
    record_salt: str
    """16 random bytes, as hex, that `model_side` and `truth` are hashed with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedAssignment:
    """A planned read of a case, as events say how far it was at the export."""

    assignment_id: int
    """Row number."""
    case_id: int
    """Row number in `reading_cases`; of a case that was withdrawn, in `withdrawn`."""
    read_kind: str
    """`first`, `second`, `repeat`, `adjudication` or `practice`."""
    arm: str
    """In which order the reader meets the case and the model's side: `blind`, `sequential`,
    `assisted`; `adjudication`."""
    is_pooled: bool
    """It was planned for whoever comes first."""
    account_id: int | None
    """Number of the account whose it is; empty: nobody's yet."""
    place: int | None
    """How many reads of the protocol its reader had opened when this was, itself included; empty:
    not opened."""
    state: str
    """`planned`, `open` (also where its claim has expired), `done` or `dropped`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedReview:
    """What a reader locked of a case in a phase; an amendment is a row of its own."""

    review_id: int
    """Row number."""
    assignment_id: int
    """Row number in `assignments`."""
    read_kind: str
    """Of the assignment."""
    arm: str
    """Of the assignment."""
    case_id: int
    """Row number in `reading_cases`."""
    account_id: int
    """Number of the reader's account."""
    phase: str
    """What the reader had seen besides the case: `blind`, `assisted`, `adjudication`."""
    version: int
    """From 1; a higher one is an amendment."""
    is_after_reveal: bool
    """An amendment by somebody who had seen more than its phase shows: not evaluated."""
    choice_text: str | None
    """The option that was chosen; empty: it could not be assessed."""
    cannot_assess: str | None
    """Why it could not be; shown only where reasons are, since it may name somebody."""
    confidence: int | None
    """0 to 100."""
    flags: Sequence[str]
    """What else was said of the case, by its words."""
    reasoning_grade: int | None
    """Of the model's reasoning, 1 (wrong) to 5."""
    reasoning_error: str | None
    """What is wrong with the reasoning."""
    comment: str | None
    """Shown only where reasons are."""
    reason: str | None
    """Of an amendment; shown only where reasons are."""
    place: int
    """Of the read among those of its reader, from 1."""
    active_ms: int
    """How long the reader was at it by their browser, in ms."""
    wall_ms: int
    """From opening the phase to locking it, in ms."""
    opened_at: str | None
    """When the phase was opened; shown only where times are."""
    locked_at: str | None
    """When it was locked; shown only where times are."""
    salts: Mapping[str, str]
    """Field -> the salt that it is hashed with, of those that are shown."""
    commitments: Mapping[str, str]
    """Field -> the hash in its place, of those that are not shown."""


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
    """`answer`, `reference_standard`, `reading_case` or `review`."""
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
    "reading_protocols": ExportedProtocol,
    "reading_people": ExportedPerson,
    "reading_cases": ExportedCase,
    "assignments": ExportedAssignment,
    "reviews": ExportedReview,
    "accounts": ExportedAccount,
    "left_out": LeftOutAnswer,
    "counts": ExportedCount,
}
"""Name of the file -> what its rows are; besides `answers_wide`, whose columns are questions."""
