"""The frozen values that pass between modules, and the closed sets of words they use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from medr1_pacs.attributes import Attributes


class Modality(StrEnum):
    """The eight modalities that Med-R1 has a checkpoint for, as users meet them everywhere."""

    CT = "CT"
    MRI = "MRI"
    XRAY = "X-Ray"
    ULTRASOUND = "Ultrasound"
    DERMOSCOPY = "Dermoscopy"
    FUNDUS = "Fundus"
    OCT = "OCT"
    MICROSCOPY = "Microscopy"


class Task(StrEnum):
    """The five tasks, as OmniMedVQA spells them."""

    MODALITY = "Modality Recognition"
    ANATOMY = "Anatomy Identification"
    DISEASE = "Disease Diagnosis"
    GRADING = "Lesion Grading"
    ATTRIBUTES = "Other Biological Attributes"


class Coverage(StrEnum):
    """Whether a checkpoint can have learned the answer from its training lists."""

    IN = "in"  #: anatomy and finding occur as right answers
    NEAR = "near"  #: the anatomy occurs
    OUT = "out"  #: neither occurs


class StudyState(StrEnum):
    """Where a study is."""

    RECEIVING = "receiving"  #: instances arrive, or arrived too recently to call it complete
    COMPLETE = "complete"  #: quiet for long enough; the plan of what to ask is due
    ASKED = "asked"  #: prompts exist; some wait for a picture or an answer
    ANSWERED = "answered"  #: every prompt of the latest version has its answer
    NOTHING_TO_ASK = "nothing_to_ask"  #: no question applies; the reason says why
    FAILED = "failed"  #: some work was given up after its attempts; a person can retry it


class RenderingState(StrEnum):
    """Where a rendering is."""

    PLANNED = "planned"  #: waits for the render worker, or is claimed by one
    RENDERED = "rendered"  #: the picture is durable and its hash recorded
    FAILED = "failed"  #: given up; `error` says why


class GenerationState(StrEnum):
    """Where a generation is."""

    WAITING = "waiting"  #: waits for its picture, its checkpoint or a worker, or is claimed
    GENERATED = "generated"  #: the raw output is stored; the parse is due
    ANSWERED = "answered"  #: the raw output is stored and parsed
    FAILED = "failed"  #: given up; `error` says why


class ParseStatus(StrEnum):
    """What the parser made of a generation."""

    PARSED = "parsed"  #: one letter that is an option
    NO_ANSWER = "no_answer"  #: no answer tag with a single word in it
    NOT_AN_OPTION = "not_an_option"  #: an answer tag whose word is no offered letter
    TRUNCATED = "truncated"  #: the token limit came before the answer tag


class PromptKind(StrEnum):
    """Why a prompt exists."""

    PROTOCOL = "protocol"  #: the question as the bank asks it
    PERMUTATION = "permutation"  #: the same with other option orders
    BLANK = "blank"  #: the same over a blank picture


class TruthSource(StrEnum):
    """Where a reference standard comes from."""

    HEADER = "header"  #: the DICOM header, which the model never sees
    PHANTOM = "phantom"  #: a synthetic picture, drawn to be so
    READER_PANEL = "reader_panel"  #: readers who agreed
    IMPORT = "import"  #: a file that a person brought


class QuarantineReason(StrEnum):
    """Why a received instance cannot be used; its bytes are kept."""

    UNREADABLE = "unreadable"  #: the data set does not parse
    UID_MISMATCH = "uid_mismatch"  #: the data set names another instance than the command did
    UID_MISSING = "uid_missing"  #: study, series or instance UID is absent or not a UID


@dataclass(frozen=True, slots=True)
class VoiWindow:
    """Center and width of a linear VOI window, in Modality LUT output units (HU for CT)."""

    center: float
    width: float

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ValueError(f"Window Width must be at least 1, got {self.width}")


@dataclass(frozen=True, slots=True)
class WindowRequest:
    """Which VOI a picture is to be drawn with; part of the rendering's recipe.

    A `preset` wins. Without one the object's own VOI is used, else `fallback` (by modality and
    anatomy), else percentiles of the frame. The names are recorded as the window's source.
    """

    preset: VoiWindow | None = None
    preset_name: str | None = None
    fallback: VoiWindow | None = None
    fallback_name: str | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """What routing made of a series: the Med-R1 modality, or the reason why there is none.

    `anatomy`, `plane`, `weighting` and `stain` are normalised words; None is unknown.
    """

    modality: Modality | None
    reason: str
    """One sentence: the elements that decided."""
    anatomy: str | None = None
    plane: str | None = None
    weighting: str | None = None
    stain: str | None = None
    coverage: Coverage | None = None
    """Overrides every question's own coverage (fluoroscopy has the X-Ray checkpoint, but no
    training picture); None leaves it."""


@dataclass(frozen=True, slots=True)
class InstanceFacts:
    """One current instance of a series as selection and questions see it."""

    instance_id: int
    sop_instance_uid: str
    number_of_frames: int
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class FrameChoice:
    """One chosen frame."""

    instance_id: int
    sop_instance_uid: str
    frame_number: int
    """From 1, as in the standard."""


@dataclass(frozen=True, slots=True)
class FrameSelection:
    """What stands for a series, and why the rest does not."""

    chosen: tuple[FrameChoice, ...]
    skipped: Mapping[str, int] = field(default_factory=dict)
    """Reason -> number of frames."""
    reason: str = ""
    """One sentence: what the policy did, or why it chose nothing."""


@dataclass(frozen=True, slots=True)
class ParsedAnswer:
    """The two parts of a generation."""

    status: ParseStatus
    reasoning: str | None
    """The text of the think tag; None without one."""
    choice: str | None
    """The letter, upper case; None unless parsed."""


JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class PatientIdentity:
    """What a study's headers say of who the patient is; goes to the vault and nowhere else."""

    identity_key: str
    patient_key: str
    study_instance_uid: str
    patient_name: str
    patient_id: str
    issuer_of_patient_id: str
    patient_birth_date: str
    accession_number: str

    def __repr__(self) -> str:  # a traceback or a log line must not name a patient
        return f"PatientIdentity(patient_key={self.patient_key!r})"


@dataclass(frozen=True, slots=True)
class IndexedInstance:
    """One received instance as its header, its file name and its bytes describe it."""

    stored_name: str
    received_at: datetime
    association_token: str
    calling_ae_title: str
    called_ae_title: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    sha256: str
    size_bytes: int
    study_instance_uid: str
    series_instance_uid: str
    number_of_frames: int
    attributes: Attributes
    identity: PatientIdentity
    sex: str | None
    age_years: int | None
    study_date: str | None


@dataclass(frozen=True, slots=True)
class RejectedInstance:
    """Received bytes that cannot be indexed."""

    stored_name: str
    received_at: datetime
    calling_ae_title: str
    called_ae_title: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    sha256: str
    reason: QuarantineReason
    detail: str


@dataclass(frozen=True, slots=True)
class SeriesFacts:
    """A series of a study that is to be planned."""

    series_id: int
    series_instance_uid: str
    instances: tuple[InstanceFacts, ...]


@dataclass(frozen=True, slots=True)
class StudyFacts:
    """A complete study that is to be planned."""

    study_id: int
    study_version_id: int
    study_instance_uid: str
    version: int
    series: tuple[SeriesFacts, ...]


@dataclass(frozen=True, slots=True)
class QuestionIdentity:
    """A question as the database records it."""

    question_id: str
    version: int
    question_sha256: str
    modality: str
    task: str
    role: str
    definition: JsonObject


@dataclass(frozen=True, slots=True)
class PlannedPrompt:
    """A question put to one picture, before either exists."""

    instance_id: int
    frame_number: int
    recipe: str
    window_request: JsonObject
    requested_checkpoint: str
    checkpoint: str
    coverage: Coverage
    options: tuple[str, ...]
    option_order: tuple[int, ...]
    prompt_text: str
    prompt_sha256: str
    decoding: JsonObject
    truth: str | None = None
    truth_source: TruthSource | None = None


@dataclass(frozen=True, slots=True)
class PlannedQuestion:
    """A question over a series: the prompts it makes, or why none."""

    question: QuestionIdentity
    series_id: int
    reason: str
    skipped: Mapping[str, int]
    prompts: tuple[PlannedPrompt, ...]


@dataclass(frozen=True, slots=True)
class StudyPlan:
    """What is asked about a complete study."""

    routes: Mapping[int, Route]
    questions: tuple[PlannedQuestion, ...]
    reason: str
    """Why nothing is asked; empty when something is."""


@dataclass(frozen=True, slots=True)
class RenderingWork:
    """A rendering that a worker has claimed."""

    rendering_id: int
    stored_name: str
    frame_number: int
    window_request: JsonObject


@dataclass(frozen=True, slots=True)
class RenderedPicture:
    """What a rendering came to."""

    png_sha256: str
    window_center: float | None
    window_width: float | None
    window_source: str | None
    seconds: float


@dataclass(frozen=True, slots=True)
class PromptWork:
    """A generation that a worker has claimed."""

    generation_id: int
    prompt_text: str
    png_sha256: str
    think: bool
    max_new_tokens: int


@dataclass(frozen=True, slots=True)
class Generated:
    """What an engine made of one prompt: the evidence."""

    generation_id: int
    chat_text: str
    raw_output: str
    finish_reason: str
    """`stop` or `length`."""
    prompt_tokens: int
    completion_tokens: int
    seconds: float


@dataclass(frozen=True, slots=True)
class EngineIdentity:
    """The weights and the software behind a generation."""

    checkpoint: str
    checkpoint_revision: str
    checkpoint_sha256: str
    is_demo: bool
    engine: str
    dtype: str
    attention: str
    versions: JsonObject


@dataclass(frozen=True, slots=True)
class Claim:
    """Rows that one worker holds until its claim expires."""

    token: str
    row_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class AssociationRecord:
    """An association as the listener sees it."""

    token: str
    calling_ae_title: str
    called_ae_title: str
    peer_address: str
    opened_at: datetime
    instances: int = 0
    closed_at: datetime | None = None
    ending: str | None = None
    """`released`, `aborted` or `lost`."""
