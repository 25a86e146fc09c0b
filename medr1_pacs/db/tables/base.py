"""What every table shares: naming, column types, and the columns of work that can be claimed."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Integer, MetaData, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from medr1_pacs.db.types import AnyText, UtcDateTime, enum_column_type, json_column_type
from medr1_pacs.records.review_words import (
    Arm,
    AssignmentState,
    CaseKind,
    Part,
    Phase,
    ProtocolState,
    ReadKind,
)
from medr1_pacs.records.words import (
    Certainty,
    Correctness,
    Coverage,
    DatePolicy,
    ExportRemoval,
    ExportState,
    GenerationState,
    InstanceHold,
    ParseStatus,
    PromptKind,
    QuarantineReason,
    RenderingState,
    Role,
    SignInMethod,
    StudyState,
    TruthSource,
    TruthUnit,
    WithdrawnKind,
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
        TruthUnit: enum_column_type(TruthUnit),
        Certainty: enum_column_type(Certainty),
        WithdrawnKind: enum_column_type(WithdrawnKind),
        InstanceHold: enum_column_type(InstanceHold),
        Role: enum_column_type(Role),
        DatePolicy: enum_column_type(DatePolicy),
        Correctness: enum_column_type(Correctness),
        SignInMethod: enum_column_type(SignInMethod),
        ExportState: enum_column_type(ExportState),
        ExportRemoval: enum_column_type(ExportRemoval),
        Arm: enum_column_type(Arm),
        Phase: enum_column_type(Phase),
        Part: enum_column_type(Part),
        CaseKind: enum_column_type(CaseKind),
        ReadKind: enum_column_type(ReadKind),
        AssignmentState: enum_column_type(AssignmentState),
        ProtocolState: enum_column_type(ProtocolState),
    }

    id: Mapped[int] = mapped_column(BigId, primary_key=True, sort_order=-1)


class Recorded:
    """A row whose canonical form an event carries the hash of (`medr1_pacs.audit.records`)."""

    record_salt: Mapped[str | None] = mapped_column(String(32))
    """Of the commitments to its texts; None: they are gone, or it is older than the log."""
    record_commitments: Mapped[dict[str, Any] | None]
    """Field -> commitment, once the texts are gone."""


class Claimable:
    """Work in progress: who holds the row, until when, and what went wrong so far."""

    claimed_by: Mapped[str | None] = mapped_column(String(128))
    claim_token: Mapped[str | None] = mapped_column(String(32), index=True)
    claimed_until: Mapped[datetime | None]
    is_claimed_alone: Mapped[bool] = mapped_column(default=False)
    is_suspect: Mapped[bool] = mapped_column(default=False)
    """Its last claim expired: it may have killed its worker, so it is next claimed alone."""
    attempts: Mapped[int] = mapped_column(default=0)
    losses: Mapped[int] = mapped_column(default=0)
    """How often it was claimed alone while its worker was killed from outside."""
    due_at: Mapped[datetime]
    error: Mapped[str | None] = mapped_column(AnyText)
