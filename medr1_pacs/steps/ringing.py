"""Which queues have work that a worker could do now."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from medr1_pacs.db.generations import has_due_prompts
from medr1_pacs.db.renderings import has_due_renderings
from medr1_pacs.db.sessions import Database


@dataclass(frozen=True, slots=True)
class DueWork:
    """What bells are to be rung for."""

    renderings: bool
    checkpoints: tuple[str, ...]


def find_due_work(database: Database, checkpoints: Collection[str]) -> DueWork:
    """Say whether pictures are to be drawn, and which of our checkpoints have prompts."""
    with database.read() as session:
        return DueWork(
            has_due_renderings(session),
            tuple(name for name in sorted(checkpoints) if has_due_prompts(session, name)),
        )
