"""ask -> answer: claim prompts, let an engine generate, store the evidence, parse it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from medr1_pacs.answers import parse_generation
from medr1_pacs.db.claims import claim_alone_next, record_attempt
from medr1_pacs.db.generations import (
    claim_generations,
    fail_generations,
    list_unparsed,
    record_answer,
    record_generated,
)
from medr1_pacs.db.sessions import Database
from medr1_pacs.db.tables import Generation
from medr1_pacs.errors import TransientError
from medr1_pacs.records import Claim, EngineIdentity, Generated, PromptWork
from medr1_pacs.steps.claiming import ClaimKeeper, insist
from medr1_pacs.storage import InstanceStore

logger = logging.getLogger(__name__)


class Engine(Protocol):
    """What answers prompts; see `medr1_pacs.workers.engines`."""

    identity: EngineIdentity
    batch_size: int

    def generate(
        self, work: Sequence[PromptWork], pictures: Sequence[bytes]
    ) -> list[Generated]: ...


def answer_batch(
    database: Database, store: InstanceStore, engine: Engine, *, owner: str
) -> list[Generated] | None:
    """Answer the oldest prompts that wait for the engine's checkpoint.

    Returns
    -------
    list of Generated or None
        What was recorded, empty after a failure that was noted; None when nothing waits.
    """
    checkpoint = engine.identity.checkpoint
    with database.write() as session:
        claimed = claim_generations(session, checkpoint, owner=owner, limit=engine.batch_size)
    if claimed is None:
        return None
    claim, work = claimed
    with ClaimKeeper(database, Generation, claim):
        try:
            pictures = [store.read_picture(item.png_sha256) for item in work]
            results = engine.generate(work, pictures)
        except Exception as error:
            logger.exception("a batch failed", extra={"action": "answer", "batch": len(work)})
            insist(partial(_note_failure, database, claim, error))
            return []
        recorded = insist(lambda: _record(database, claim, results, engine.identity))
        insist(lambda: parse_generations(database))
    return recorded


def _record(
    database: Database, claim: Claim, results: Sequence[Generated], identity: EngineIdentity
) -> list[Generated]:
    with database.write() as session:
        return [result for result in results if record_generated(session, claim, result, identity)]


def _note_failure(database: Database, claim: Claim, error: Exception) -> None:
    with database.write() as session:
        if len(claim.row_ids) > 1 and not isinstance(error, TransientError):
            # Which of them it was shows when each is claimed alone.
            claim_alone_next(session, Generation, claim, str(error))
            return
        for row_id in claim.row_ids:
            message = f"{type(error).__name__}: {error}"
            record_attempt(session, Generation, claim.token, row_id, message, fail_generations)


def parse_generations(database: Database, limit: int = 500) -> int:
    """Parse every stored generation that has no answer yet; returns how many that were."""
    with database.read() as session:
        unparsed = list_unparsed(session, limit)
    if not unparsed:
        return 0
    with database.write() as session:
        for generation_id, raw_output, finish_reason, options in unparsed:
            parsed = parse_generation(raw_output, len(options), finish_reason)
            record_answer(session, generation_id, parsed, options)
    return len(unparsed)


def drain(step: Callable[[], object | None], should_stop: Callable[[], bool]) -> int:
    """Call a step until it returns None or we are asked to stop; returns how often it worked."""
    count = 0
    while not should_stop() and step() is not None:
        count += 1
    return count
