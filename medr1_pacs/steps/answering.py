"""ask -> answer: claim prompts, let an engine generate, store the evidence, parse it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from medr1_pacs.answers import parse_generation
from medr1_pacs.db.claims import (
    claim_alone_next,
    record_attempt,
    release_claim,
    release_row,
)
from medr1_pacs.db.generations import (
    claim_generations,
    fail_generations,
    list_unparsed,
    record_answer,
    record_generated,
)
from medr1_pacs.db.renderings import draw_again
from medr1_pacs.db.sessions import Database
from medr1_pacs.db.tables import Generation
from medr1_pacs.errors import Interrupted, PictureLost, TransientError
from medr1_pacs.records import Claim, EngineIdentity, Generated, PromptWork
from medr1_pacs.steps.claiming import ClaimKeeper, insist
from medr1_pacs.storage import InstanceStore

logger = logging.getLogger(__name__)

AWAY_WAIT_S = 5.0
"""How long rows wait whose work met something that is away."""
TURN_S = 60.0


class Engine(Protocol):
    """What answers prompts; see `workers.engines`."""

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

    Raises
    ------
    TransientError
        Something is away; the rows were given back and wait.
    """
    checkpoint = engine.identity.checkpoint
    with database.write() as session:
        claimed = claim_generations(session, checkpoint, owner=owner, limit=engine.batch_size)
    if claimed is None:
        return None
    claim, work = claimed
    with ClaimKeeper(database, Generation, claim):
        try:
            work, pictures = _read_pictures(database, store, claim, work)
            results = engine.generate(work, pictures) if work else []
        except TransientError as error:
            # What is away is nobody's fault; the rows wait for it, and so does the caller.
            insist(partial(_give_back, database, claim, error))
            raise
        except Exception as error:
            logger.exception("a batch failed", extra={"action": "answer", "batch": len(work)})
            insist(partial(_note_failure, database, claim, error))
            return []
        recorded = insist(lambda: _record(database, claim, results, engine.identity))
        insist(lambda: parse_generations(database))
    return recorded


def _read_pictures(
    database: Database, store: InstanceStore, claim: Claim, work: Sequence[PromptWork]
) -> tuple[list[PromptWork], list[bytes]]:
    """Read the pictures of a batch; a prompt whose picture is lost waits for it to be redrawn."""
    readable, pictures = [], []
    for item in work:
        try:
            pictures.append(store.read_picture(item.png_sha256))
            readable.append(item)
        except PictureLost as error:
            logger.error("a picture is drawn again: %s", error, extra={"action": "answer"})
            with database.write() as session:
                draw_again(session, item.png_sha256, str(error))
                release_row(session, Generation, claim, item.generation_id)
    return readable, pictures


def _give_back(database: Database, claim: Claim, error: TransientError) -> None:
    with database.write() as session:
        wait_s = 0.0 if isinstance(error, Interrupted) else AWAY_WAIT_S
        release_claim(session, Generation, claim.token, wait_s=wait_s, error=str(error))


def _record(
    database: Database, claim: Claim, results: Sequence[Generated], identity: EngineIdentity
) -> list[Generated]:
    with database.write() as session:
        return [result for result in results if record_generated(session, claim, result, identity)]


def _note_failure(database: Database, claim: Claim, error: Exception) -> None:
    with database.write() as session:
        if len(claim.row_ids) > 1:
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


def drain(
    step: Callable[[], object | None],
    should_stop: Callable[[], bool],
    *,
    turn_s: float = TURN_S,
) -> int:
    """Call a step until it returns None, our turn is over or we are asked to stop.

    Returns how often it worked. A turn has an end so that one busy checkpoint does not keep a
    worker from the others: the bell is rung again.
    """
    count, ends_at = 0, time.monotonic() + turn_s
    while not should_stop() and time.monotonic() < ends_at and step() is not None:
        count += 1
    return count
