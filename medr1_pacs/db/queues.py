"""How much waits, and for what: bounded counts over indexes, for a page that shows them again.

Nothing here grows with the tables: a count ends at `COUNTED_MAX`, the oldest is an index's first.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, func, literal, select, union_all
from sqlalchemy.orm import Session

from medr1_pacs.db.associations import count_refused
from medr1_pacs.db.overview import list_open_matters
from medr1_pacs.db.tables import Generation, Rendering, Study
from medr1_pacs.db.workers import list_workers
from medr1_pacs.records.operating import (
    COUNTED_MAX,
    MATTERS_MAX,
    OperationsStatus,
    RenderingQueue,
    WaitingPrompts,
)
from medr1_pacs.records.words import CheckpointName, GenerationState, RenderingState, StudyState

_LATELY = timedelta(days=1)


def get_status(session: Session, now: datetime, *, backlog: int | None) -> OperationsStatus:
    """Return what waits, who works, and what is for a person to look at."""
    return OperationsStatus(
        states=count_states(session),
        renderings=_rendering_queue(session),
        prompts=_prompt_queues(session),
        prompts_claimed=_count_claimed(session, Generation),
        workers=tuple(list_workers(session)),
        matters=list_open_matters(session, first=MATTERS_MAX + 1),
        refused_lately=count_refused(session, now - _LATELY),
        backlog=backlog,
    )


def count_states(session: Session) -> dict[StudyState, int]:
    """Return state -> how many studies, of every state."""
    rows = session.execute(select(Study.state, func.count()).group_by(Study.state))
    return dict.fromkeys(StudyState, 0) | {row[0]: row[1] for row in rows}


def _rendering_queue(session: Session) -> RenderingQueue:
    is_planned = Rendering.state == RenderingState.PLANNED
    planned, due_since = session.execute(
        select(
            _bounded_count(select(Rendering.id).where(is_planned)),
            select(func.min(Rendering.due_at)).where(is_planned).scalar_subquery(),
        )
    ).one()
    return RenderingQueue(planned, _count_claimed(session, Rendering), due_since)


def _prompt_queues(session: Session) -> tuple[WaitingPrompts, ...]:
    """Count by checkpoint and readiness: one look into the index for each of the closed names."""
    found = session.execute(
        union_all(
            *(
                _prompt_queue(name, is_ready)
                for name in CheckpointName
                for is_ready in (True, False)
            )
        )
    ).all()
    queues = []
    for name in CheckpointName:
        counts = {row.is_ready: row for row in found if row.name == name and row.prompts}
        if counts:
            queues.append(
                WaitingPrompts(
                    checkpoint=name,
                    ready=counts[True].prompts if True in counts else 0,
                    not_ready=counts[False].prompts if False in counts else 0,
                    since=min(row.since for row in counts.values()),
                )
            )
    return tuple(queues)


def _prompt_queue(name: CheckpointName, is_ready: bool) -> Select[str, bool, int, datetime]:
    waiting = (
        Generation.state == GenerationState.WAITING,
        Generation.waits_for == name.value,
        Generation.is_ready.is_(is_ready),
    )
    return select(
        literal(name.value).label("name"),
        literal(is_ready).label("is_ready"),
        _bounded_count(select(Generation.id).where(*waiting)).label("prompts"),
        select(func.min(Generation.due_at)).where(*waiting).scalar_subquery().label("since"),
    )


def _count_claimed(session: Session, table: type[Rendering] | type[Generation]) -> int:
    # Every token is above the empty text, which SQLite finds in the index; NOT NULL it does not.
    claimed = select(table.id).where(table.claim_token > "")
    return session.scalar(select(_bounded_count(claimed))) or 0


def _bounded_count(rows: Select[Any]) -> ColumnElement[int]:
    return (
        select(func.count()).select_from(rows.limit(COUNTED_MAX + 1).subquery()).scalar_subquery()
    )
