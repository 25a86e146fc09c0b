"""Work in progress: what a worker claims, what it hands to an engine, and what comes back."""

from __future__ import annotations

from dataclasses import dataclass

from medr1_pacs.records.planned import Decoding, WindowRequest
from medr1_pacs.records.words import JsonObject


@dataclass(frozen=True, slots=True)
class Claim:
    """Rows that one worker holds until its claim expires."""

    token: str
    row_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RenderingWork:
    """A rendering that a worker has claimed."""

    rendering_id: int
    stored_name: str
    sha256: str
    """Of the instance's data set, as it was received."""
    frame_number: int
    window_request: WindowRequest
    png_sha256: str | None
    """Of the file that holds the picture, where it was drawn already."""


@dataclass(frozen=True, slots=True)
class RenderedPicture:
    """What a rendering came to."""

    recipe: str
    """Of the renderer that drew it, which need not be the one that planned it."""
    png_sha256: str
    pixels_sha256: str
    window_center: float | None
    window_width: float | None
    window_source: str | None
    seconds: float


@dataclass(frozen=True, slots=True)
class PromptWork:
    """A generation that a worker has claimed: which prompt, over which picture."""

    generation_id: int
    prompt_text: str
    png_sha256: str
    decoding: Decoding


@dataclass(frozen=True, slots=True)
class ModelPrompt:
    """What an engine is asked; it knows of no database."""

    text: str
    """The user turn; the picture stands before it in the chat."""
    png: bytes
    decoding: Decoding


@dataclass(frozen=True, slots=True)
class ModelOutput:
    """What an engine made of one prompt: the evidence."""

    chat_text: str
    """The whole text after the chat template, the picture a placeholder."""
    raw_output: str
    finish_reason: str
    """`stop` or `length`."""
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    """Share of its batch's wall time."""


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
