"""What arrived: associations, patients, studies, series, instances, and what cannot be used."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from medr1_pacs.db.tables.base import Base, Sha256, Uid
from medr1_pacs.records.words import InstanceHold, QuarantineReason, StudyState


class Association(Base):
    """One association with a sending AE, kept alive by the listener's heartbeat.

    Those of a day that brought nothing and were refused the same contexts are one row.
    """

    __tablename__ = "association"
    __table_args__ = (
        Index(
            "ix_association_refused",
            "closed_at",
            postgresql_where=text("refused_contexts IS NOT NULL"),
            sqlite_where=text("refused_contexts IS NOT NULL"),
        ),
    )

    token: Mapped[str] = mapped_column(String(32), unique=True)
    calling_ae_title: Mapped[str] = mapped_column(String(16))
    called_ae_title: Mapped[str] = mapped_column(String(16))
    peer_address: Mapped[str] = mapped_column(String(64))
    opened_at: Mapped[datetime]
    heartbeat_at: Mapped[datetime]
    closed_at: Mapped[datetime | None] = mapped_column(index=True)
    ending: Mapped[str | None] = mapped_column(String(16))
    instances: Mapped[int] = mapped_column(default=0)
    refused_contexts: Mapped[list[Any] | None]
    """`[SOP Class UID, [Transfer Syntax UID, ...]]` of the presentation contexts it was refused."""
    times: Mapped[int] = mapped_column(default=1)
    """How many associations the row stands for."""


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
    """Says that a project may use a study, which rule said so, and as what research knows it.

    What research sees is written by who has the site key, and kept: a view needs no key.
    """

    __tablename__ = "project_study"
    __table_args__ = (
        UniqueConstraint("project_id", "study_id"),
        UniqueConstraint("project_id", "pseudonymous_uid"),
        Index(None, "project_id", "patient_pseudonym"),
        Index(
            "ix_project_study_unnamed",
            "id",
            postgresql_where=text("NOT is_named"),
            sqlite_where=text("NOT is_named"),
        ),
    )

    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))
    study_id: Mapped[int] = mapped_column(ForeignKey("study.id"), index=True)
    rule: Mapped[str] = mapped_column(Text)
    added_at: Mapped[datetime]
    is_named: Mapped[bool] = mapped_column(default=False)
    """Whether the pseudonyms of all that was selected are there, and as the project's policy is."""
    pseudonymous_uid: Mapped[str | None] = mapped_column(Uid)
    patient_pseudonym: Mapped[str | None] = mapped_column(String(32))
    date_shift_days: Mapped[int | None]
    """How far into the past the dates of the patient are moved, where the project shifts them."""
    shown_study_date: Mapped[str | None] = mapped_column(String(10))
    """By the project's policy: `2024`, `2024-01-17`, or None."""
    withdrawn_at: Mapped[datetime | None]
    """When the project had to stop using it; it is never added to it again."""


class ProjectSeries(Base):
    """A series as research in a project knows it; of series that were asked about."""

    __tablename__ = "project_series"
    __table_args__ = (
        UniqueConstraint("project_id", "series_id"),
        Index(None, "project_id", "pseudonymous_uid"),
    )

    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))
    series_id: Mapped[int] = mapped_column(ForeignKey("series.id"), index=True)
    pseudonymous_uid: Mapped[str] = mapped_column(Uid)


class ProjectInstance(Base):
    """An instance as research in a project knows it; of instances that were asked about."""

    __tablename__ = "project_instance"
    __table_args__ = (
        UniqueConstraint("project_id", "instance_id"),
        Index(None, "project_id", "pseudonymous_uid"),
    )

    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))
    instance_id: Mapped[int] = mapped_column(ForeignKey("instance.id"), index=True)
    pseudonymous_uid: Mapped[str] = mapped_column(Uid)


class StudyVersion(Base):
    """A study as it was when it became complete; a late instance starts the next version."""

    __tablename__ = "study_version"
    __table_args__ = (UniqueConstraint("study_id", "version"),)

    study_id: Mapped[int] = mapped_column(ForeignKey("study.id"))
    version: Mapped[int]
    instances: Mapped[int]
    completed_at: Mapped[datetime]
    planned_at: Mapped[datetime | None]
    missing: Mapped[str] = mapped_column(Text, default="")
    """What was received for it and set aside when it became complete."""


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
    scanner_key: Mapped[str | None] = mapped_column(String(32))
    """Pseudonym of the device and its software; see `headers`."""

    study: Mapped[Study] = relationship(back_populates="series")


class Instance(Base):
    """A received instance; other bytes or syntax under one UID make another row."""

    __tablename__ = "instance"
    __table_args__ = (
        UniqueConstraint("sop_instance_uid", "sha256", "transfer_syntax_uid"),
        Index(None, "association_token", "received_at"),
        Index(None, "series_id", "superseded_at"),
        Index(
            "uq_instance_current",
            "sop_instance_uid",
            unique=True,
            postgresql_where=text("superseded_at IS NULL"),
            sqlite_where=text("superseded_at IS NULL"),
        ),
        Index(
            None,
            "hold",
            postgresql_where=text("hold IS NOT NULL"),
            sqlite_where=text("hold IS NOT NULL"),
        ),
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
    """None: the current one of its UID, of which there is at most one."""
    hold: Mapped[InstanceHold | None]
    """One that is held or refused is superseded from its arrival on."""

    series: Mapped[Series] = relationship()


class QuarantinedInstance(Base):
    """Received bytes that cannot be used, and why."""

    __tablename__ = "quarantined_instance"

    stored_name: Mapped[str] = mapped_column(String(96), unique=True)
    sop_instance_uid: Mapped[str] = mapped_column(Uid, index=True)
    sop_class_uid: Mapped[str] = mapped_column(Uid)
    transfer_syntax_uid: Mapped[str] = mapped_column(Uid)
    sha256: Mapped[str] = mapped_column(Sha256)
    calling_ae_title: Mapped[str] = mapped_column(String(16))
    called_ae_title: Mapped[str] = mapped_column(String(16))
    reason: Mapped[QuarantineReason]
    detail: Mapped[str] = mapped_column(Text)
    received_at: Mapped[datetime]
    quarantined_at: Mapped[datetime]
    resolved_at: Mapped[datetime | None]
    """When a usable instance of its UID came, or a person dropped it."""
    dropped_at: Mapped[datetime | None]
    """When a person had its bytes deleted."""


class SetAside(Base):
    """A file of the backlog that cannot be recorded at the moment, and holds up itself alone."""

    __tablename__ = "set_aside"

    name: Mapped[str] = mapped_column(String(96), unique=True)
    """Its stored name; of a file that we did not write, which may name a patient, its inode."""
    reason: Mapped[str] = mapped_column(Text)
    study_instance_uid: Mapped[str | None] = mapped_column(Uid)
    """The study that it is known to belong to."""
    set_aside_at: Mapped[datetime]
