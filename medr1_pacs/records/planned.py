"""What is asked: how a study looks to the plan, and the plan itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from medr1_pacs.attributes.values import Attributes
from medr1_pacs.records.words import Coverage, JsonObject, Modality, TruthSource


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

    def to_json(self) -> JsonObject:
        """Return it as rows and recipes hold it: a window as [center, width]."""
        return {
            "preset": _window_to_json(self.preset),
            "preset_name": self.preset_name,
            "fallback": _window_to_json(self.fallback),
            "fallback_name": self.fallback_name,
        }

    @classmethod
    def from_json(cls, stored: JsonObject) -> WindowRequest:
        """Return what `to_json` stored."""
        return cls(
            preset=_window_from_json(stored["preset"]),
            preset_name=stored["preset_name"],
            fallback=_window_from_json(stored["fallback"]),
            fallback_name=stored["fallback_name"],
        )


def _window_to_json(window: VoiWindow | None) -> list[float] | None:
    # As floats: 40 and 40.0 are one window, and must have one recipe.
    return None if window is None else [float(window.center), float(window.width)]


def _window_from_json(stored: list[float] | None) -> VoiWindow | None:
    return None if stored is None else VoiWindow(*stored)


@dataclass(frozen=True, slots=True)
class Decoding:
    """How an engine decodes a prompt. Stored with the prompt, and obeyed by every engine."""

    think: bool
    """Whether the prompt asks for reasoning; it is so worded, an engine does nothing about it."""
    max_new_tokens: int
    """The most tokens that may be generated; 256 for Med-R1's authors."""
    do_sample: bool = False
    """False: greedy."""
    max_pixels: int = 401_408
    """The most pixels of a picture that the vision tower may see; larger ones are scaled down.
    401,408 (512 tokens) as Med-R1 was trained; the pinned picture has 153,664."""

    def to_json(self) -> JsonObject:
        return asdict(self)

    @classmethod
    def from_json(cls, stored: JsonObject) -> Decoding:
        """Return what `to_json` stored."""
        return cls(**{name: stored[name] for name in cls.__slots__})


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
class SeriesFacts:
    """A series of a study that is to be planned."""

    series_id: int
    series_instance_uid: str
    instances: tuple[InstanceFacts, ...]


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
class AskedPrompt:
    """What an earlier version of a study asked. What was asked is selected again, and not asked
    again, whatever has changed since in the bank, the renderer or the decoding."""

    question: QuestionIdentity
    rendering_id: int
    instance_id: int
    frame_number: int
    window_request: WindowRequest
    """Its `preset_name` tells a question's first window from its second."""
    checkpoint: str
    decoding: Decoding


@dataclass(frozen=True, slots=True)
class StudyFacts:
    """A complete study that is to be planned."""

    study_id: int
    study_version_id: int
    study_instance_uid: str
    version: int
    series: tuple[SeriesFacts, ...]
    asked: tuple[AskedPrompt, ...] = ()
    """In the order in which it was asked."""


@dataclass(frozen=True, slots=True)
class PlannedPrompt:
    """A question put to one picture, before either exists."""

    instance_id: int
    frame_number: int
    recipe: str
    window_request: WindowRequest
    requested_checkpoint: str
    checkpoint: str
    coverage: Coverage
    options: tuple[str, ...]
    option_order: tuple[int, ...]
    prompt_text: str
    prompt_sha256: str
    decoding: Decoding


@dataclass(frozen=True, slots=True)
class KnownTruth:
    """What the header says is right about an instance, for a question."""

    question: QuestionIdentity
    instance_id: int
    truth: str
    source: TruthSource


@dataclass(frozen=True, slots=True)
class PlannedQuestion:
    """A question over a series: the prompts it makes and those it keeps, or why none."""

    question: QuestionIdentity
    series_id: int
    reason: str
    skipped: Mapping[str, int]
    prompts: tuple[PlannedPrompt, ...] = ()
    kept: tuple[AskedPrompt, ...] = ()
    truths: tuple[KnownTruth, ...] = ()
    """Of the instances that were chosen, new or kept."""


@dataclass(frozen=True, slots=True)
class StudyPlan:
    """What is asked about a complete study."""

    routes: Mapping[int, Route]
    questions: tuple[PlannedQuestion, ...]
    reason: str
    """Why nothing is asked; empty when something is."""

    @property
    def asks(self) -> bool:
        return any(question.prompts or question.kept for question in self.questions)
