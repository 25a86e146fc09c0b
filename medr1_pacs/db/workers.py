"""Worker rows: health is a heartbeat in the database, not a PID."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from medr1_pacs.db.tables import Worker
from medr1_pacs.records.listed import WorkerListing


def record_heartbeat(session: Session, worker: WorkerListing) -> None:
    """Insert or update the row of a living process; what it does not know yet stays as it was."""
    row = session.scalar(select(Worker).where(Worker.name == worker.name))
    if row is None:
        row = Worker(name=worker.name)
        session.add(row)
    row.kind, row.queues = worker.kind, list(worker.queues)
    row.started_at, row.heartbeat_at = worker.started_at, worker.heartbeat_at
    row.last_claim_at = worker.last_claim_at or row.last_claim_at
    row.trouble = worker.trouble
    row.tokens_per_second = worker.tokens_per_second or row.tokens_per_second


def list_workers(session: Session) -> list[WorkerListing]:
    """Return the processes with a heartbeat, living or not, by kind and name."""
    rows = session.scalars(select(Worker).order_by(Worker.kind, Worker.name))
    names = [field.name for field in fields(WorkerListing)]
    return [WorkerListing(**{name: getattr(row, name) for name in names}) for row in rows]


def forget_workers(session: Session, names: Sequence[str]) -> None:
    """Remove the rows of processes that are known to be gone."""
    session.execute(delete(Worker).where(Worker.name.in_(names)))


def forget_silent_workers(session: Session, before: datetime) -> None:
    """Remove the rows of processes that have not said that they live since `before`."""
    session.execute(delete(Worker).where(Worker.heartbeat_at < before))
