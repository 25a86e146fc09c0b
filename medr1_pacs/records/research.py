"""An answer as research sees it: pseudonyms, dates by the project's policy, no identity.

The comment below a field is its entry in the data dictionary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields

from medr1_pacs.records.planned import Decoding
from medr1_pacs.records.words import Coverage, JsonObject, ParseStatus, PromptKind


@dataclass(frozen=True, slots=True, kw_only=True)
class ResearchAnswer:
    """One answer in one project, with everything that made it."""

    answer_id: int
    """Number of the answer, the same in every project; later ones are higher."""
    project: str
    """The project whose pseudonyms these are."""
    kind: PromptKind
    """Why it was asked: `protocol`, as the bank asks; `permutation`, `blank`: controls."""
    run: int
    """From 1; higher runs exist only where somebody asked for them."""
    is_demo: bool
    """The demo checkpoint answered, which knows nothing about patients."""
    is_current: bool
    """Its picture is chosen in the latest version of the study."""
    study_version: int | None
    """The latest version in which its picture was chosen for this question; empty: in none."""

    patient_pseudonym: str
    """The patient, in this project: 32 hex digits."""
    study_instance_uid: str
    """Pseudonymous, like all UIDs here: a UID under 2.25 of this project alone."""
    series_instance_uid: str
    """Pseudonymous."""
    sop_instance_uid: str
    """Pseudonymous; of the instance that holds the frame."""
    frame_number: int
    """From 1, as in DICOM."""
    study_date: str | None
    """By the project's policy: the year, a day moved by the patient's shift, or empty."""
    sex: str | None
    """Patient's Sex (0010,0040): `M`, `F` or `O`; empty: something else, or nothing."""
    age_years: int | None
    """At the study; empty: not known, or over 89."""
    age_band: str
    """`60-69`, `90+`; empty: not known."""

    modality: str | None
    """The Med-R1 modality that the series was routed to."""
    anatomy: str | None
    """The anatomy that the series was routed to; empty: not known."""
    plane: str | None
    """`axial`, `coronal`, `sagittal`, `oblique`; empty: not known, or no plane."""
    weighting: str | None
    """Of MR: as the header lets it be told; empty: not known."""
    stain: str | None
    """Of microscopy; empty: not known."""
    scanner_key: str | None
    """Pseudonym of the device with its software: 32 hex digits, the same in every project of the
    site; empty: the header names neither a serial number nor a station."""
    manufacturer: str | None
    """Manufacturer (0008,0070)."""
    manufacturer_model_name: str | None
    """Manufacturer's Model Name (0008,1090)."""
    kvp: float | None
    """KVP (0018,0060), kV, of the series' first instance."""
    slice_thickness_mm: float | None
    """Slice Thickness (0018,0050), mm, of the series' first instance."""

    coverage: Coverage
    """Whether the checkpoint can have learned the answer: `in`, `near`, `out`."""
    window_center: float | None
    """In modality values (HU for CT); empty for color and where a lookup table was used."""
    window_width: float | None
    """As `window_center`."""
    window_source: str | None
    """`preset NAME`, `object ...`, `fallback NAME` or `percentiles`; empty for color."""
    png_sha256: str
    """SHA-256 of the picture that the model was shown: 392 x 392 px PNG."""
    pixels_sha256: str | None
    """SHA-256 of its mode, size and pixels; empty in answers of the first schema."""

    question_id: str
    """Id in the question bank."""
    question_version: int
    """From 1."""
    question_sha256: str
    """SHA-256 of its definition."""
    task: str
    """As OmniMedVQA spells it."""
    options: Sequence[str]
    """The texts in the order in which they were offered: the first is A."""
    option_order: Sequence[int]
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
    """What the engine was told, and obeyed: think, max_new_tokens, do_sample, max_pixels."""

    raw_output: str
    """The generated text, unchanged."""
    finish_reason: str
    """`stop`, or `length` where the token limit cut it off."""
    prompt_tokens: int
    """Of text and picture that went in."""
    completion_tokens: int
    """That came out."""
    reasoning: str | None
    """What stands before the answer; empty: nothing."""
    choice: str | None
    """The letter, upper case; empty unless parsed."""
    choice_text: str | None
    """The option behind it; empty unless parsed."""
    parse_status: ParseStatus
    """What the parser made of it: `parsed`, `no_answer`, `not_an_option`, `truncated`."""
    truth: str | None
    """The right option by the reference standard, of several the narrowest, then the most certain,
    then the newest; empty where none is known."""
    is_correct: bool | None
    """Whether `choice_text` is the truth: what could not be parsed is wrong; empty without one."""
    seconds: float
    """Its share of its batch: the batch's time divided by its prompts."""
    answered_on: str | None
    """The year in which it was parsed, where the project shows years; else empty: a study asked
    about on the day it was acquired would give its date away."""

    def to_json(self) -> JsonObject:
        """Return plain JSON values in the order of the fields."""
        return asdict(self) | {
            "options": list(self.options),
            "option_order": list(self.option_order),
            "versions": dict(self.versions),
        }


FIELDS = tuple(field.name for field in fields(ResearchAnswer))
"""Of an answer, in order."""


@dataclass(frozen=True, slots=True)
class Page:
    """Some answers in their order, and whether there are more on either side."""

    answers: tuple[ResearchAnswer, ...]
    has_newer: bool
    has_older: bool


@dataclass(frozen=True, slots=True)
class Count:
    """How many answers were found."""

    number: int
    is_at_least: bool = False
    """There are more: a search for words stops counting."""


@dataclass(frozen=True, slots=True)
class FacetCounts:
    """How many answers there are of each value, by the name of the filter."""

    total: Count
    values: Mapping[str, Sequence[tuple[str, int]]]
    """The most frequent first; an empty text is what is not known."""
