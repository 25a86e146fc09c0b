"""Cases, planned reads and reviews, as they pass between modules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime

from medr1_pacs.records.review_words import (
    Arm,
    CaseKind,
    Part,
    Phase,
    ProtocolState,
    ReadKind,
    ReasoningError,
    ReviewFlag,
)
from medr1_pacs.records.words import JsonObject, TruthSource


@dataclass(frozen=True, slots=True)
class Reader:
    """Somebody in a protocol, who may only do there what is theirs."""

    protocol_id: int
    account_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPicture:
    """A picture that the model was shown, and what it said of it."""

    answer_id: int
    instance_id: int
    frame_number: int
    png_sha256: str
    choice_text: str | None
    reasoning: str | None
    """With the texts of options where the model wrote letters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSide:
    """What the model says of a case, as it is frozen; the score and the counts are shown to no
    reader."""

    choice_text: str | None
    score: str | None
    """How likely a positive option is, 0 to 1, as its shortest text: what is hashed has no
    fractions. None: the engine does not say, or the question has no positive option."""
    answers: int
    """How many answers it was put together from."""
    parsed: int
    """Of these, those with a choice."""
    checkpoint: str
    checkpoint_revision: str
    is_demo: bool
    pictures: tuple[ModelPicture, ...]

    def to_json(self) -> JsonObject:
        """Return plain JSON values, of which the case's record commits to the hash."""
        return asdict(self) | {"pictures": [asdict(each) for each in self.pictures]}

    @classmethod
    def from_json(cls, stored: JsonObject) -> ModelSide:
        """Return what `to_json` stored, in this release or one that kept no score in it."""
        pictures = tuple(ModelPicture(**each) for each in stored["pictures"])
        derived: JsonObject = {
            "score": None,
            "answers": len(pictures),
            "parsed": sum(each.choice_text is not None for each in pictures),
        }
        return cls(**(derived | stored | {"pictures": pictures}))


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyAnswerMade:
    """The answers about a study's pictures, put together."""

    checkpoint_row: int | None
    aggregate: str
    choice_text: str | None
    answer_ids: tuple[int, ...]
    parsed: int
    score: float | None
    side: ModelSide


def make_case_key(study_id: int, question_id: str, picture: tuple[int, int] | None) -> str:
    """Return what a case is known by in every protocol: a study under a question, in whatever
    version and through whatever window, or a frame of it where each picture is a case.

    `picture`: (row id of the first instance with its SOP Instance UID, frame number from 1). Not
    the UID itself, which a withdrawal takes.
    """
    return " ".join(map(str, (study_id, question_id, *(picture or ()))))


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What a protocol could take as a case."""

    study_id: int
    study_version_id: int
    study_version: int
    """Number of that version, from 1."""
    patient_id: int
    question_row: int
    question_id: str
    rendering_id: int | None
    """The picture, where each is a case."""
    picture: tuple[int, int] | None
    """(row id of the first instance with its SOP Instance UID, frame number from 1)."""
    answer: StudyAnswerMade | None
    """None: no model answered all of its pictures."""
    is_mixed: bool
    """Of several question versions or checkpoints: no case."""
    truth: str | None
    truth_source: TruthSource | None

    @property
    def key(self) -> str:
        """What makes a case the same in another protocol."""
        return make_case_key(self.study_id, self.question_id, self.picture)


@dataclass(frozen=True, slots=True)
class PlannedCase:
    """A case of a protocol before it is written."""

    number: int
    kind: CaseKind
    candidate: Candidate


@dataclass(frozen=True, slots=True)
class PlannedRead:
    """A read of a protocol before it is written."""

    case_number: int
    kind: ReadKind
    arm: Arm
    reader: str | None
    """None: whoever of the readers comes first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingPlan:
    """What a protocol comes to on the studies that there are."""

    cases: tuple[PlannedCase, ...]
    reads: tuple[PlannedRead, ...]
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Why -> number of candidates that are no case."""

    def count(self, kind: CaseKind) -> int:
        return sum(case.kind is kind for case in self.cases)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What a reader says of a case in a phase."""

    choice_text: str | None = None
    cannot_assess: str | None = None
    confidence: int | None = None
    flags: tuple[ReviewFlag, ...] = ()
    reasoning_grade: int | None = None
    reasoning_error: ReasoningError | None = None
    comment: str | None = None

    def to_json(self) -> JsonObject:
        return asdict(self) | {"flags": list(self.flags)}


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedReview:
    """A review as it was locked."""

    review_id: int
    phase: Phase
    version: int
    judgement: Judgement
    reason: str | None
    locked_at: datetime


@dataclass(frozen=True, slots=True)
class OtherReader:
    """What another reader said last, as an adjudicator sees it."""

    label: str
    """`Reader A`: whom it stands for changes from case to case."""
    choice_text: str | None
    cannot_assess: str | None
    confidence: int | None
    comment: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRead:
    """A read that somebody has open, with all that its phase shows and nothing else."""

    assignment_id: int
    protocol_id: int
    case_id: int
    study_id: int
    study_version_id: int
    rendering_id: int | None
    kind: ReadKind
    arm: Arm
    phase: Phase | None
    """None: everything is locked."""
    question_id: str
    stem: str
    options: tuple[str, ...]
    """In the question's own order, in which grades ascend."""
    draft: JsonObject | None
    active_ms: int
    locked: tuple[LockedReview, ...]
    """The latest of each phase."""
    model: ModelSide | None
    """Where the phase shows it."""
    others: tuple[OtherReader, ...]
    """Where the phase shows them."""
    truth: str | None
    """Of a practice case, once everything is locked: the feedback."""
    place: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderProgress:
    """How far a reader is in a protocol."""

    done: int
    left: int
    """That the reader may read now or after a washout; of pooled reads, as many as are left."""
    place: int
    active_ms: int
    due_at: datetime | None = None
    """When the next read is, where all that is left waits for its washout."""

    @property
    def is_waiting(self) -> bool:
        """Whether nothing is open, and something is left."""
        return self.left > 0 and self.place == self.done


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonProgress:
    """How far somebody is, for those who lead a protocol; it tells nothing of what they said."""

    account: str
    label: str
    part: Part
    done: int
    open: int
    overdue: int
    """Of these, those that are open longer than a claim lasts."""
    active_ms: int
    last_locked_at: datetime | None
    unblinded_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolListing:
    """A protocol as its project lists it."""

    protocol_id: int
    name: str
    version: int
    title: str
    state: ProtocolState
    started_by: str
    started_at: datetime
    ended_at: datetime | None
    cases: int
    reads: int
    done: int
    part: Part | None
    """What the caller is in it."""
    unblinded_at: datetime | None
    """When somebody let the caller see the answers before it was over."""
    definition: JsonObject


UNNAMED = "Series"
"""What a series is called whose label would say too much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesShown:
    """A series of a case as a reader pages through it."""

    series_id: int
    label: str
    instances: tuple[tuple[int, int], ...]
    """(instance id, number of its frames) in the order along the series."""

    @property
    def frames(self) -> int:
        """How many frames there are to page through."""
        return sum(number for _, number in self.instances)

    def frame_at(self, place: int) -> tuple[int, int] | None:
        """Return (instance id, frame number from 1) of a place from 0; None: there is none."""
        if place < 0:
            return None
        for instance_id, number in self.instances:
            if place < number:
                return instance_id, place + 1
            place -= number
        return None

    def place_of(self, instance_id: int, frame_number: int) -> int | None:
        """Return the place from 0 of a frame; None: it is of another series."""
        before = 0
        for each, number in self.instances:
            if each == instance_id and 1 <= frame_number <= number:
                return before + frame_number - 1
            before += number
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseSeries:
    """What of a case's study is shown to its readers."""

    series: tuple[SeriesShown, ...]
    """Those that the question is about first."""
    start: tuple[int, int]
    """(place of the series, place of the frame) that the case opens at, both from 0."""
    is_about_start: bool
    """Whether the question is about this very picture."""

    def unlabelled(self) -> CaseSeries:
        """Return it with labels that say nothing."""
        return replace(self, series=tuple(replace(each, label=UNNAMED) for each in self.series))

    def find(self, instance_id: int, frame_number: int) -> tuple[int, int] | None:
        """Return (place of the series, place of the frame) of a frame."""
        for place, series in enumerate(self.series):
            if (frame := series.place_of(instance_id, frame_number)) is not None:
                return place, frame
        return None
