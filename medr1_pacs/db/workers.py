"""Worker rows: health is a heartbeat in the database, not a PID."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from medr1_pacs.db.tables import Worker


def record_heartbeat(
    session: Session,
    *,
    name: str,
    kind: str,
    queues: Sequence[str],
    started_at: datetime,
    now: datetime,
    last_claim_at: datetime | None = None,
    tokens_per_second: float | None = None,
) -> None:
    """Insert or update the row of a living process."""
    row = session.scalar(select(Worker).where(Worker.name == name))
    if row is None:
        row = Worker(name=name)
        session.add(row)
    row.kind, row.queues, row.started_at, row.heartbeat_at = kind, list(queues), started_at, now
    row.last_claim_at = last_claim_at or row.last_claim_at
    row.tokens_per_second = tokens_per_second or row.tokens_per_second


def list_workers(session: Session) -> list[dict[str, Any]]:
    """Return one plain mapping a process, by kind and name."""
    rows = session.scalars(select(Worker).order_by(Worker.kind, Worker.name))
    return [
        {
            "name": row.name,
            "kind": row.kind,
            "queues": row.queues,
            "started_at": row.started_at,
            "heartbeat_at": row.heartbeat_at,
            "last_claim_at": row.last_claim_at,
            "tokens_per_second": row.tokens_per_second,
        }
        for row in rows
    ]


def forget_workers(session: Session, names: Sequence[str]) -> None:
    """Remove the rows of processes that are known to be gone."""
    session.execute(delete(Worker).where(Worker.name.in_(names)))


def forget_silent_workers(session: Session, before: datetime) -> None:
    """Remove the rows of processes that have not said that they live since `before`."""
    session.execute(delete(Worker).where(Worker.heartbeat_at < before))
