"""How the service runs: its processes, and what happened."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from medr1_pacs.db.tables.base import Base, BigId, Sha256


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
    trouble: Mapped[str | None] = mapped_column(Text)
    """What it cannot do at the moment, as load a checkpoint."""


class Lease(Base):
    """Who alone may do something, and until when."""

    __tablename__ = "lease"

    name: Mapped[str] = mapped_column(String(32), unique=True)
    holder: Mapped[str] = mapped_column(String(128))
    token: Mapped[str] = mapped_column(String(32))
    held_until: Mapped[datetime]


class AuditEvent(Base):
    """What happened to which object, written in the transaction of the change itself.

    Rows are only ever added; see `append_only`.
    """

    __tablename__ = "audit_event"
    __table_args__ = (Index(None, "object_type", "object_id"), Index(None, "actor", "id"))

    occurred_at: Mapped[datetime] = mapped_column(index=True)
    actor: Mapped[str] = mapped_column(String(128))
    action: Mapped[str] = mapped_column(String(64))
    object_type: Mapped[str] = mapped_column(String(32))
    object_id: Mapped[int | None] = mapped_column(BigInteger)
    old_value: Mapped[dict[str, Any] | None]
    new_value: Mapped[dict[str, Any] | None]
    reason: Mapped[str | None] = mapped_column(Text)
    account_id: Mapped[int | None] = mapped_column(BigInteger)
    """Of the actor; None: the service, the command line, or nobody who has an account."""
    salt: Mapped[str] = mapped_column(String(32))
    """16 random bytes, so that no leaf of the log can be guessed."""
    record_sha256: Mapped[str | None] = mapped_column(Sha256)
    """Of the canonical form of the record that it tells of; see `medr1_pacs.audit.records`."""


class AuditLeaf(Base):
    """An event in its place in the log; written by who seals, in the order of commits."""

    __tablename__ = "audit_leaf"
    __table_args__ = (Index(None, "study_id", "seq"), Index(None, "project_id", "seq"))

    id = None  # type: ignore[assignment] # - its key is its place
    seq: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=False)
    """Place in the log, from 0."""
    event_id: Mapped[int] = mapped_column(BigId, ForeignKey("audit_event.id"), unique=True)
    sha256: Mapped[str] = mapped_column(Sha256)
    """As a leaf of the tree (RFC 9162 2.1)."""
    study_id: Mapped[int | None] = mapped_column(BigInteger)
    """The study that it is about, if it is about one."""
    project_id: Mapped[int | None] = mapped_column(BigInteger)
    """The project that it is about, if it is about one."""


class AuditHead(Base):
    """A head of the log: all that was committed at one moment, and our signature."""

    __tablename__ = "audit_head"
    __table_args__ = (UniqueConstraint("origin", "size"),)

    origin: Mapped[str] = mapped_column(Text)
    """Which log: another one begins when a restored backup lacks what was signed."""
    size: Mapped[int] = mapped_column(BigInteger)
    root_sha256: Mapped[str] = mapped_column(Sha256)
    frontier: Mapped[list[Any]]
    """What the tree grows from: roots of its perfect subtrees, the largest first."""
    note: Mapped[str] = mapped_column(Text)
    """C2SP checkpoint, as it was signed."""
    signed_at: Mapped[datetime]


class PastValue(Base):
    """What research was shown of a row until an event; the row itself has what it is shown now."""

    __tablename__ = "past_value"
    __table_args__ = (Index(None, "object_type", "object_id"),)

    event_id: Mapped[int] = mapped_column(BigId, ForeignKey("audit_event.id"), index=True)
    """The first that it was not shown any more."""
    project_id: Mapped[int | None] = mapped_column(BigInteger)
    """None: in every project."""
    object_type: Mapped[str] = mapped_column(String(32))
    object_id: Mapped[int] = mapped_column(BigInteger)
    was: Mapped[dict[str, Any]]
    """Only what was different."""
