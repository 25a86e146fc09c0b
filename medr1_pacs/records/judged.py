"""The cases of a reading protocol with all that was said of them, and the tables made of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from medr1_pacs.records.review_words import (
    PHASES,
    Arm,
    CaseKind,
    Phase,
    ProtocolState,
    ReadKind,
)
from medr1_pacs.records.reviews import Judgement


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedReview:
    """What a reader locked of a case in a phase, or put in the place of it."""

    review_id: int
    phase: Phase
    version: int
    judgement: Judgement
    reason: str | None
    is_after_reveal: bool
    place: int
    active_ms: int
    wall_ms: int
    locked_at: datetime
    record_sha256: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedRead:
    """A read of a case that is done as far as it is."""

    reader: str
    """Label: `Reader A`, or `Adjudicator A`."""
    account_id: int
    kind: ReadKind
    arm: Arm
    reviews: Sequence[JudgedReview]
    """Amendments too, in the order in which they were locked."""
    shown_reviews: Sequence[int] | None = None
    """Of an adjudication: the reviews that its adjudicator was shown; None: not noted."""

    @property
    def is_done(self) -> bool:
        """Whether every phase is locked."""
        return all(self.first(phase) is not None for phase in PHASES[self.arm])

    def final(self, phase: Phase) -> JudgedReview | None:
        """Return what counts of a phase: the last that was locked before anything was revealed."""
        return next(
            (
                review
                for review in reversed(self.reviews)
                if review.phase is phase and not review.is_after_reveal
            ),
            None,
        )

    def first(self, phase: Phase) -> JudgedReview | None:
        """Return what was locked first in a phase: the one whose time was measured."""
        return next((review for review in self.reviews if review.phase is phase), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedCase:
    """A case with all that was said of it."""

    case_id: int
    number: int
    kind: CaseKind
    study: str
    """Pseudonymous Study Instance UID."""
    patient: str
    """Pseudonym."""
    picture: str
    """Pseudonymous SOP Instance UID and frame, where each picture is a case."""
    question_id: str
    question_version: int
    options: Sequence[str]
    positive: Sequence[str]
    is_grade: bool
    """Whether the options are grades in ascending order."""
    truth: str | None
    """As it was when the protocol started."""
    model: str | None
    """What the model chose; None: it gave no option, or has no answer."""
    has_model: bool
    model_score: float | None
    """How likely a positive option is, 0 to 1."""
    checkpoint: str
    """That answered, as it was frozen; empty where there is no answer."""
    checkpoint_revision: str
    is_demo: bool
    """Whether the answer was made up for demonstration."""
    is_withdrawn: bool
    reads: Sequence[JudgedRead]

    @property
    def is_evaluated(self) -> bool:
        """Whether it enters the results; controls are reported apart."""
        return self.kind is CaseKind.CASE and not self.is_withdrawn

    def index(self, choice: str | None) -> int | None:
        """Return the place of an option in the question's own order, from 0; None: it is none."""
        return self.options.index(choice) if choice in self.options else None

    def calls_positive(self, choice: str | None) -> bool | None:
        """Whether a choice is positive; None: there is none, or the question knows no such."""
        return None if choice is None or not self.positive else choice in self.positive


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedProtocol:
    """A reading protocol with its cases."""

    protocol_id: int
    name: str
    version: int
    title: str
    state: ProtocolState
    started_at: datetime
    ended_at: datetime | None
    arms: Sequence[Arm]
    """In which its readers meet cases: two in a crossover."""
    readers: Sequence[str]
    """Labels of its readers, in their order."""
    cases: Sequence[JudgedCase]
    """In the order of their numbers."""
    planned_reads: int
    done_reads: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LongRow:
    """A line of the long table: what one reader said of one case in one phase, each version.

    Model and truth of a case have a line each.
    """

    protocol: str
    """Name of the reading protocol."""
    protocol_version: int
    """Version of the reading protocol."""
    case: int
    """Number of the case in the protocol, from 1."""
    case_kind: str
    """`case`, `control` or `practice`: controls are reported apart, practice is never evaluated."""
    case_id: int
    """Row of the case in the service."""
    study: str
    """Pseudonymous Study Instance UID of the project."""
    patient: str
    """Pseudonym of the patient in the project: cases of one patient are not independent."""
    question_id: str
    """Id of the question."""
    question_version: int
    """Version of the question."""
    picture: str
    """Pseudonymous SOP Instance UID and frame number, where each picture is a case; else empty."""
    source: str
    """Who says it: `reader`, `adjudicator`, `model` or `truth`."""
    reader: str
    """Label of the reader in the protocol, as `Reader A`; empty for model and truth."""
    account_id: int | None
    """Account of the reader: the same in every protocol; empty for model and truth."""
    phase: str
    """What the reader knew: `blind`, `assisted` or `adjudication`; else `model` or `truth`."""
    read_kind: str
    """`first`, `second` (of a crossover), `repeat`, `adjudication` or `practice`; empty for model
    and truth."""
    arm: str
    """`blind`, `sequential`, `assisted` or `adjudication`; empty for model and truth."""
    is_evaluated: bool
    """Whether it enters the results: of a case of the kind `case` that is not withdrawn, of a
    read that is done and no repeat, and the last version that was locked before anything was
    revealed."""
    review_id: int | None
    """Row of the review in the service; empty for model and truth."""
    version: int | None
    """From 1; a higher one amends the one before. Both stay in the table."""
    choice: str | None
    """Text of the option; empty: it cannot be assessed, the model gave no option, no truth is
    known, or the study was withdrawn."""
    choice_index: int | None
    """Place of the option in the question's own order, from 0; grades ascend with it."""
    is_positive: bool | None
    """Whether the choice is one of the question's positive options; empty: there is no choice, or
    the question has none."""
    is_right: bool | None
    """Whether the choice is the truth, as it was when the protocol started; false where it cannot
    be assessed, empty where no truth is known."""
    cannot_assess: str | None
    """Why the case cannot be assessed, in the reader's words; empty: there is a choice."""
    confidence: int | None
    """How sure the reader is of the choice, 0 to 100."""
    score: float | None
    """The higher, the surer that the case is positive: of readers the confidence, negative where
    the choice is not positive, -100 to 100; of the model how likely a positive option is, 0 to
    1."""
    flags: str
    """What the reader flagged, separated by semicolons: `bad_image`, `wrong_question`,
    `hallucinated_finding`, `text_in_image`."""
    reasoning_grade: int | None
    """Of the model's reasoning, 1 (wrong) to 5 (as a colleague would write it)."""
    reasoning_error: str | None
    """What is wrong with the model's reasoning: `none`, `perception`, `localization`, `knowledge`,
    `logic` or `off_topic`."""
    comment: str | None
    """In the reader's words."""
    reason: str | None
    """Why a review was amended, in the reader's words; empty unless it is an amendment."""
    is_after_reveal: bool | None
    """Whether it amends a review after the reader had seen more than its phase shows: such a line
    is never evaluated."""
    change: str | None
    """Of an assisted review after the blind one of the same read, both evaluated: `same`,
    `to_right`, `to_wrong`, `other_wrong`, or `changed` where no truth is known."""
    followed_model: bool | None
    """Of the same: whether the choice changed to the model's."""
    place: int | None
    """How many reads of the protocol the reader had opened, this one included."""
    active_ms: int | None
    """Milliseconds that the reader was at it, by their browser; 0 for an amendment."""
    wall_ms: int | None
    """Milliseconds from opening to locking; 0 for an amendment."""
    locked_at: str | None
    """When it was locked, ISO 8601, UTC."""
    record_sha256: str | None
    """Hash of the review's record, which the audit log has."""
    withdrawn: bool
    """Whether the study was withdrawn since: the line is left, and what was said is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WideRow:
    """A line of the wide table, a case, before the columns of its readers."""

    protocol: str
    """Name of the reading protocol."""
    protocol_version: int
    """Version of the reading protocol."""
    case: int
    """Number of the case in the protocol, from 1."""
    case_kind: str
    """`case`, `control` or `practice`."""
    case_id: int
    """Row of the case in the service."""
    study: str
    """Pseudonymous Study Instance UID of the project."""
    patient: str
    """Pseudonym of the patient in the project."""
    question_id: str
    """Id of the question."""
    question_version: int
    """Version of the question."""
    picture: str
    """Pseudonymous SOP Instance UID and frame number, where each picture is a case; else empty."""
    withdrawn: bool
    """Whether the study was withdrawn since: the line is left, and what was said is gone."""
    truth: str | None
    """As it was when the protocol started; empty: not known, or withdrawn."""
    model: str | None
    """What the model chose; empty: it gave no option, did not answer, or withdrawn."""
    model_score: float | None
    """How likely a positive option is by the model, 0 to 1; empty where its engine does not say."""
