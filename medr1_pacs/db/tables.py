"""The research database. Table and column names are a contract: researchers' SQL uses them.

    project <- project_study -> study -> series -> instance -> rendering
    study -> study_version <- selection -> rendering
    rendering <- prompt <- generation <- answer

Keys of the DICOM hierarchy are the standard's keywords in snake case; times are aware UTC. No
column of this database holds a name, a patient ID, a birth date or an accession number: those are
in the vault (`medr1_pacs.db.vault`).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from medr1_pacs.db.types import AnyText, UtcDateTime, enum_column_type, json_column_type
from medr1_pacs.records import (
    Coverage,
    GenerationState,
    ParseStatus,
    PromptKind,
    QuarantineReason,
    RenderingState,
    StudyState,
    TruthSource,
)

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}
# SQLite gives 64-bit row ids to INTEGER PRIMARY KEY alone.
BigId = BigInteger().with_variant(Integer, "sqlite")
Uid = String(64)  # PS3.5 Table 6.2-1, VR UI
Sha256 = String(64)


class Base(DeclarativeBase):
    """Maps Python annotations to column types that mean the same everywhere."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy declares it without ClassVar
        datetime: UtcDateTime(),
        dict[str, Any]: json_column_type(),
        list[Any]: json_column_type(),
        StudyState: enum_column_type(StudyState),
        RenderingState: enum_column_type(RenderingState),
        GenerationState: enum_column_type(GenerationState),
        ParseStatus: enum_column_type(ParseStatus),
        PromptKind: enum_column_type(PromptKind),
        Coverage: enum_column_type(Coverage),
        QuarantineReason: enum_column_type(QuarantineReason),
        TruthSource: enum_column_type(TruthSource),
    }

    id: Mapped[int] = mapped_column(BigId, primary_key=True, sort_order=-1)


class Project(Base):
    """A research project: what was approved, for which purpose."""

    __tablename__ = "project"

    name: Mapped[str] = mapped_column(String(64), unique=True)
    title: Mapped[str] = mapped_column(Text, default="")
    approval_number: Mapped[str] = mapped_column(Text, default="")
    purpose: Mapped[str] = mapped_column(Text, default="")
    retention_days: Mapped[int | None]
    ends_at: Mapped[datetime | None]
    created_at: Mapped[datetime]


class Association(Base):
    """One association with a sending AE, kept alive by the listener's heartbeat."""

    __tablename__ = "association"

    token: Mapped[str] = mapped_column(String(32), unique=True)
    calling_ae_title: Mapped[str] = mapped_column(String(16))
    called_ae_title: Mapped[str] = mapped_column(String(16))
    peer_address: Mapped[str] = mapped_column(String(64))
    opened_at: Mapped[datetime]
    heartbeat_at: Mapped[datetime]
    closed_at: Mapped[datetime | None] = mapped_column(index=True)
    ending: Mapped[str | None] = mapped_column(String(16))
    instances: Mapped[int] = mapped_column(default=0)


class Patient(Base):
    """A patient as research may know one: a keyed pseudonym and the sex."""

    __tablename__ = "patient"

    patient_key: Mapped[str] = mapped_column(String(32), unique=True)
    sex: Mapped[str | None] = mapped_column(String(16))
    created_at: Mapped[datetime]


class Study(Base):
    """A study, stored once however many projects use it."""

    __tablename__ = "study"

    study_instance_uid: Mapped[str] = mapped_column(Uid, unique=True)
    patient_id: Mapped[int] = mapped_column(ForeignKey("patient.id"), index=True)
    state: Mapped[StudyState] = mapped_column(index=True)
    state_reason: Mapped[str] = mapped_column(Text, default="")
    version: Mapped[int] = mapped_column(default=1)
    age_years: Mapped[int | None]
    study_date: Mapped[str | None] = mapped_column(String(8))
    created_at: Mapped[datetime]
    last_received_at: Mapped[datetime]

    series: Mapped[list[Series]] = relationship(back_populates="study")


class ProjectStudy(Base):
    """Says that a project may use a study, and which rule said so."""

    __tablename__ = "project_study"
    __table_args__ = (UniqueConstraint("project_id", "study_id"),)

    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))
    study_id: Mapped[int] = mapped_column(ForeignKey("study.id"), index=True)
    rule: Mapped[str] = mapped_column(Text)
    added_at: Mapped[datetime]


class StudyVersion(Base):
    """A study as it was when it became complete; a late instance starts the next version."""

    __tablename__ = "study_version"
    __table_args__ = (UniqueConstraint("study_id", "version"),)

    study_id: Mapped[int] = mapped_column(ForeignKey("study.id"))
    version: Mapped[int]
    instances: Mapped[int]
    completed_at: Mapped[datetime]
    planned_at: Mapped[datetime | None]


class Series(Base):
    """A series with its route: the Med-R1 modality, or the reason why there is none."""

    __tablename__ = "series"
    __table_args__ = (UniqueConstraint("study_id", "series_instance_uid"),)

    study_id: Mapped[int] = mapped_column(ForeignKey("study.id"))
    series_instance_uid: Mapped[str] = mapped_column(Uid, index=True)
    modality: Mapped[str | None] = mapped_column(String(16))
    route_modality: Mapped[str | None] = mapped_column(String(16))
    route_reason: Mapped[str] = mapped_column(Text, default="")
    anatomy: Mapped[str | None] = mapped_column(String(64))
    plane: Mapped[str | None] = mapped_column(String(16))
    weighting: Mapped[str | None] = mapped_column(String(32))
    stain: Mapped[str | None] = mapped_column(String(64))
    manufacturer: Mapped[str | None] = mapped_column(String(64))
    manufacturer_model_name: Mapped[str | None] = mapped_column(String(64))
    kvp: Mapped[float | None]
    slice_thickness_mm: Mapped[float | None]

    study: Mapped[Study] = relationship(back_populates="series")


class Instance(Base):
    """A received instance; other bytes or syntax under one UID make another row."""

    __tablename__ = "instance"
    __table_args__ = (
        UniqueConstraint("sop_instance_uid", "sha256", "transfer_syntax_uid"),
        Index(None, "association_token", "received_at"),
        Index(None, "series_id", "superseded_at"),
    )

    series_id: Mapped[int] = mapped_column(ForeignKey("series.id"))
    sop_instance_uid: Mapped[str] = mapped_column(Uid)
    sop_class_uid: Mapped[str] = mapped_column(Uid)
    transfer_syntax_uid: Mapped[str] = mapped_column(Uid)
    sha256: Mapped[str] = mapped_column(Sha256)
    """Over the data set bytes as received, without file meta."""
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    number_of_frames: Mapped[int]
    attributes: Mapped[dict[str, Any]]
    stored_name: Mapped[str] = mapped_column(String(96), unique=True)
    association_token: Mapped[str] = mapped_column(String(32))
    calling_ae_title: Mapped[str] = mapped_column(String(16))
    called_ae_title: Mapped[str] = mapped_column(String(16))
    study_version: Mapped[int]
    received_at: Mapped[datetime]
    indexed_at: Mapped[datetime]
    superseded_at: Mapped[datetime | None]

    series: Mapped[Series] = relationship()


class QuarantinedInstance(Base):
    """Received bytes that cannot be used, and why."""

    __tablename__ = "quarantined_instance"

    stored_name: Mapped[str] = mapped_column(String(96), unique=True)
    sop_instance_uid: Mapped[str] = mapped_column(Uid)
    sop_class_uid: Mapped[str] = mapped_column(Uid)
    transfer_syntax_uid: Mapped[str] = mapped_column(Uid)
    sha256: Mapped[str] = mapped_column(Sha256)
    calling_ae_title: Mapped[str] = mapped_column(String(16))
    called_ae_title: Mapped[str] = mapped_column(String(16))
    reason: Mapped[QuarantineReason]
    detail: Mapped[str] = mapped_column(Text)
    received_at: Mapped[datetime]
    quarantined_at: Mapped[datetime]


class Question(Base):
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


class Checkpoint(Base):
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


class Claimable:
    """Work in progress: who holds the row, until when, and what went wrong so far."""

    claimed_by: Mapped[str | None] = mapped_column(String(128))
    claim_token: Mapped[str | None] = mapped_column(String(32), index=True)
    claimed_until: Mapped[datetime | None]
    is_claimed_alone: Mapped[bool] = mapped_column(default=False)
    is_suspect: Mapped[bool] = mapped_column(default=False)
    """Its last claim expired: it may have killed its worker, so it is next claimed alone."""
    attempts: Mapped[int] = mapped_column(default=0)
    due_at: Mapped[datetime]
    error: Mapped[str | None] = mapped_column(AnyText)


class Rendering(Claimable, Base):
    """A frame as a picture; `recipe` is the hash of all that shapes it."""

    __tablename__ = "rendering"
    __table_args__ = (
        UniqueConstraint("instance_id", "frame_number", "recipe"),
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
    png_sha256: Mapped[str | None] = mapped_column(Sha256)
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
    __table_args__ = (UniqueConstraint("prompt_id", "run"), Index(None, "state", "due_at"))

    prompt_id: Mapped[int] = mapped_column(ForeignKey("prompt.id"))
    run: Mapped[int] = mapped_column(default=1)
    state: Mapped[GenerationState]
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


class Answer(Base):
    """A generation, parsed."""

    __tablename__ = "answer"

    generation_id: Mapped[int] = mapped_column(ForeignKey("generation.id"), unique=True)
    parse_status: Mapped[ParseStatus]
    reasoning: Mapped[str | None] = mapped_column(AnyText)
    choice: Mapped[str | None] = mapped_column(String(1))
    choice_text: Mapped[str | None] = mapped_column(Text)
    answered_at: Mapped[datetime]

    generation: Mapped[Generation] = relationship()


class ReferenceStandard(Base):
    """The truth of a question for an instance, and who says so. The model never sees it."""

    __tablename__ = "reference_standard"
    __table_args__ = (UniqueConstraint("instance_id", "question_id", "source", "version"),)

    instance_id: Mapped[int] = mapped_column(ForeignKey("instance.id"))
    question_id: Mapped[int] = mapped_column(ForeignKey("question.id"), index=True)
    truth: Mapped[str] = mapped_column(Text)
    source: Mapped[TruthSource]
    stated_by: Mapped[str] = mapped_column(String(64))
    version: Mapped[int] = mapped_column(default=1)
    stated_at: Mapped[datetime]


class Worker(Base):
    """A process of ours and its heartbeat; health is proven by it, not by a PID."""

    __tablename__ = "worker"

    name: Mapped[str] = mapped_column(String(128), unique=True)
    kind: Mapped[str] = mapped_column(String(16))
    queues: Mapped[list[Any]]
    started_at: Mapped[datetime]
    heartbeat_at: Mapped[datetime]
    last_claim_at: Mapped[datetime | None]
    tokens_per_second: Mapped[float | None]


class AuditEvent(Base):
    """What happened to which object, written in the transaction of the change itself."""

    __tablename__ = "audit_event"
    __table_args__ = (Index(None, "object_type", "object_id"),)

    occurred_at: Mapped[datetime] = mapped_column(index=True)
    actor: Mapped[str] = mapped_column(String(128))
    action: Mapped[str] = mapped_column(String(64))
    object_type: Mapped[str] = mapped_column(String(32))
    object_id: Mapped[int | None] = mapped_column(BigInteger)
    old_value: Mapped[dict[str, Any] | None]
    new_value: Mapped[dict[str, Any] | None]
    reason: Mapped[str | None] = mapped_column(Text)
