"""What is asked and answered: from the question to the picture, the prompt and its answer."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from medr1_pacs.db.tables.base import Base, Claimable, Recorded, Sha256
from medr1_pacs.db.tables.received import Instance
from medr1_pacs.db.types import AnyText
from medr1_pacs.records.words import (
    Coverage,
    GenerationState,
    ParseStatus,
    PromptKind,
    RenderingState,
)


class Question(Recorded, Base):
    """A question as it was asked: one row for each wording that ever left the bank."""

    __tablename__ = "question"
    __table_args__ = (UniqueConstraint("question_id", "version", "question_sha256"),)

    question_id: Mapped[str] = mapped_column(String(64))
    version: Mapped[int]
    question_sha256: Mapped[str] = mapped_column(Sha256)
    modality: Mapped[str] = mapped_column(String(16))
    task: Mapped[str] = mapped_column(String(64))
    role: Mapped[str] = mapped_column(String(16))
    definition: Mapped[dict[str, Any]]
    first_used_at: Mapped[datetime]


class Checkpoint(Recorded, Base):
    """Weights that answered: the name, the revision, and the hash of their files."""

    __tablename__ = "checkpoint"
    __table_args__ = (UniqueConstraint("name", "sha256"),)

    name: Mapped[str] = mapped_column(String(32))
    revision: Mapped[str] = mapped_column(String(64))
    sha256: Mapped[str] = mapped_column(Sha256)
    is_demo: Mapped[bool]
    first_used_at: Mapped[datetime]


class Selection(Base):
    """What stands for a series under a question, or why nothing does.

    One row a chosen frame (`rendering_id` set), or one row without a frame and with the reason.
    """

    __tablename__ = "selection"
    __table_args__ = (
        UniqueConstraint("study_version_id", "question_id", "series_id", "rendering_id"),
        Index(None, "rendering_id", "question_id"),
    )

    study_version_id: Mapped[int] = mapped_column(ForeignKey("study_version.id"))
    question_id: Mapped[int] = mapped_column(ForeignKey("question.id"))
    series_id: Mapped[int] = mapped_column(ForeignKey("series.id"), index=True)
    rendering_id: Mapped[int | None] = mapped_column(ForeignKey("rendering.id"))
    reason: Mapped[str] = mapped_column(Text)
    skipped: Mapped[dict[str, Any] | None]
    """Reason -> number of frames that were not chosen."""


class Rendering(Claimable, Base):
    """A frame as a picture; `recipe` is the hash of all that shapes it."""

    __tablename__ = "rendering"
    __table_args__ = (
        UniqueConstraint("instance_id", "frame_number", "recipe", "pixels_sha256"),
        Index(
            "uq_rendering_undrawn",
            "instance_id",
            "frame_number",
            "recipe",
            unique=True,
            postgresql_where=text("pixels_sha256 IS NULL AND png_sha256 IS NULL"),
            sqlite_where=text("pixels_sha256 IS NULL AND png_sha256 IS NULL"),
        ),
        Index(None, "state", "due_at"),
    )

    instance_id: Mapped[int] = mapped_column(ForeignKey("instance.id"))
    frame_number: Mapped[int]
    recipe: Mapped[str] = mapped_column(Sha256)
    window_request: Mapped[dict[str, Any]]
    state: Mapped[RenderingState]
    window_center: Mapped[float | None]
    window_width: Mapped[float | None]
    window_source: Mapped[str | None] = mapped_column(String(64))
    png_sha256: Mapped[str | None] = mapped_column(Sha256, index=True)
    """Of the file that holds the picture now; another may come with equal pixels."""
    pixels_sha256: Mapped[str | None] = mapped_column(Sha256)
    """Of mode, size and pixels, written once; None until drawn, and in rows of the first schema."""
    seconds: Mapped[float | None]
    created_at: Mapped[datetime]
    rendered_at: Mapped[datetime | None]

    instance: Mapped[Instance] = relationship()


class Prompt(Base):
    """A question put to a picture; immutable."""

    __tablename__ = "prompt"
    __table_args__ = (
        UniqueConstraint(
            "kind",
            "rendering_id",
            "question_id",
            "checkpoint",
            "prompt_sha256",
            "decoding_sha256",
            name="uq_prompt_identity",
        ),
        Index(None, "rendering_id", "question_id"),
    )

    kind: Mapped[PromptKind]
    rendering_id: Mapped[int] = mapped_column(ForeignKey("rendering.id"))
    question_id: Mapped[int] = mapped_column(ForeignKey("question.id"), index=True)
    requested_checkpoint: Mapped[str] = mapped_column(String(32))
    checkpoint: Mapped[str] = mapped_column(String(32))
    coverage: Mapped[Coverage]
    options: Mapped[list[Any]]
    """Option texts in the order shown; the first stands behind A."""
    option_order: Mapped[list[Any]]
    """Element *k*: the index, in the question file, of the option behind the *k*-th letter."""
    prompt_text: Mapped[str] = mapped_column(Text)
    prompt_sha256: Mapped[str] = mapped_column(Sha256)
    decoding: Mapped[dict[str, Any]]
    decoding_sha256: Mapped[str] = mapped_column(Sha256)
    created_at: Mapped[datetime]

    rendering: Mapped[Rendering] = relationship()
    question: Mapped[Question] = relationship()


class Generation(Claimable, Base):
    """One run of a prompt: the work row, then the evidence. Stored before it is parsed."""

    __tablename__ = "generation"
    __table_args__ = (
        UniqueConstraint("prompt_id", "run"),
        Index(None, "state", "waits_for", "is_ready", "due_at"),
    )

    prompt_id: Mapped[int] = mapped_column(ForeignKey("prompt.id"))
    run: Mapped[int] = mapped_column(default=1)
    state: Mapped[GenerationState]
    waits_for: Mapped[str] = mapped_column(String(32))
    """The prompt's checkpoint, here so that claimants look at one index."""
    is_ready: Mapped[bool] = mapped_column(default=False)
    """Whether the prompt's picture is drawn."""
    png_sha256: Mapped[str | None] = mapped_column(Sha256, index=True)
    """Of the file that the model was shown."""
    checkpoint_id: Mapped[int | None] = mapped_column(ForeignKey("checkpoint.id"))
    engine: Mapped[str | None] = mapped_column(String(32))
    versions: Mapped[dict[str, Any] | None]
    dtype: Mapped[str | None] = mapped_column(String(16))
    attention: Mapped[str | None] = mapped_column(String(32))
    chat_text: Mapped[str | None] = mapped_column(AnyText)
    raw_output: Mapped[str | None] = mapped_column(AnyText)
    finish_reason: Mapped[str | None] = mapped_column(String(16))
    prompt_tokens: Mapped[int | None]
    completion_tokens: Mapped[int | None]
    seconds: Mapped[float | None]
    """Share of the batch's wall time."""
    created_at: Mapped[datetime]
    generated_at: Mapped[datetime | None]

    prompt: Mapped[Prompt] = relationship()
    checkpoint: Mapped[Checkpoint | None] = relationship()


class Answer(Recorded, Base):
    """A generation, parsed."""

    __tablename__ = "answer"

    generation_id: Mapped[int] = mapped_column(ForeignKey("generation.id"), unique=True)
    parse_status: Mapped[ParseStatus]
    reasoning: Mapped[str | None] = mapped_column(AnyText)
    choice: Mapped[str | None] = mapped_column(String(1))
    choice_text: Mapped[str | None] = mapped_column(Text)
    answered_at: Mapped[datetime]

    generation: Mapped[Generation] = relationship()
