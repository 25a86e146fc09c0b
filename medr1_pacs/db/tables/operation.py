"""How the service runs: its processes, and what happened."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from medr1_pacs.db.tables.base import Base


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
