"""What was answered: a generation, parsed; and an answer with everything that made it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime

from medr1_pacs.records.planned import Decoding
from medr1_pacs.records.words import Coverage, JsonObject, ParseStatus, PromptKind


@dataclass(frozen=True, slots=True, kw_only=True)
class UnparsedGeneration:
    """A generation that is stored and has no answer yet."""

    generation_id: int
    study_id: int
    raw_output: str
    finish_reason: str
    options: tuple[str, ...]
    """The texts in the order in which they were offered."""


@dataclass(frozen=True, slots=True)
class ParsedAnswer:
    """The two parts of a generation."""

    status: ParseStatus
    reasoning: str | None
    """The text of the think tag; None without one."""
    choice: str | None
    """The letter, upper case; None unless parsed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAnswer:
    """An answer as it leaves the database. `docs/answers.md` describes the same fields in the same
    order for whoever reads them as JSON or CSV.
    """

    answer_id: int
    """`medr1-pacs replay` takes it."""
    kind: PromptKind
    """Why the prompt exists."""
    run: int
    """From 1; higher runs exist only where somebody asked for them."""
    is_demo: bool
    """The demo checkpoint answered, which knows nothing about patients."""
    is_current: bool
    """Its picture is chosen in the latest version of the study."""
    study_version: int | None
    """The latest version in which its picture was chosen for this question; None: in none."""

    study_instance_uid: str
    """As received, like all UIDs here."""
    series_instance_uid: str
    """Of the series that was routed."""
    sop_instance_uid: str
    """Of the instance that holds the frame."""
    frame_number: int
    """From 1, as in DICOM."""
    modality: str | None
    """The Med-R1 modality that the series was routed to."""
    coverage: Coverage
    """Whether the checkpoint can have learned the answer."""
    window_center: float | None
    """In modality values (HU for CT); None for color and where a lookup table was used."""
    window_width: float | None
    """As `window_center`."""
    window_source: str | None
    """`preset NAME`, `object ...`, `fallback NAME` or `percentiles`; None for color."""
    png_sha256: str
    pixels_sha256: str | None
    """SHA-256 of the picture that the model was shown: 392 x 392 px PNG."""

    question_id: str
    """Id in the bank."""
    question_version: int
    """From 1."""
    question_sha256: str
    """Of its definition."""
    task: str
    """As OmniMedVQA spells it."""
    options: tuple[str, ...]
    """The texts in the order in which they were offered: the first is A."""
    option_order: tuple[int, ...]
    """For each letter the place of its option in the question file, from 0."""
    prompt_text: str
    """The user turn, word for word; the picture stands before it."""
    chat_text: str
    """The whole text after the chat template; the picture is a placeholder in it."""

    requested_checkpoint: str
    """The checkpoint that the question asks for."""
    checkpoint: str
    """The one that answered; `demo` while it stands in."""
    checkpoint_revision: str
    """Commit of the hub repository, 40 hex digits; `unversioned` for a folder named without one."""
    checkpoint_sha256: str
    """One hash over all files it was loaded from."""
    engine: str
    """What ran it: `in_process`."""
    versions: Mapping[str, str]
    """Python, packages, image processor, device."""
    dtype: str
    """Of the weights: `bfloat16` on a GPU, `float32` on a CPU."""
    attention: str
    """As transformers names it: `flash_attention_2` or `sdpa`."""
    decoding: Decoding
    """What the engine was told, and obeyed."""

    raw_output: str
    """The generated text, unchanged."""
    finish_reason: str
    """`stop`, or `length` where the token limit cut it off."""
    prompt_tokens: int
    """Of text and picture that went in."""
    completion_tokens: int
    """That came out."""
    reasoning: str | None
    """What stands before the answer; None without."""
    choice: str | None
    """The letter, upper case; None unless parsed."""
    choice_text: str | None
    """The option behind it; None unless parsed."""
    parse_status: ParseStatus
    """What the parser made of it."""
    truth: str | None
    """The right option by the reference standard, of several the narrowest, then the most certain,
    then the newest; None where none is known."""
    is_correct: bool | None
    """Whether `choice_text` is the truth: what could not be parsed is wrong; None without one."""
    seconds: float
    """Its share of its batch: the batch's time divided by its prompts."""
    answered_at: datetime
    """When it was parsed, aware UTC."""

    def to_json(self) -> JsonObject:
        """Return plain JSON values in the order of the fields; the time as ISO 8601."""
        return asdict(self) | {
            "options": list(self.options),
            "option_order": list(self.option_order),
            "answered_at": self.answered_at.isoformat(),
        }
