"""ask -> answer: claim prompts, let an engine generate, store the evidence, parse it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from medr1_pacs.answers import parse_generation
from medr1_pacs.db.generations import (
    GENERATIONS,
    claim_generations,
    list_unparsed,
    record_answers,
    record_generated,
)
from medr1_pacs.db.renderings import draw_again, heal_waiting
from medr1_pacs.db.sessions import Database
from medr1_pacs.errors import DeviceBroken, PictureLost, TransientError
from medr1_pacs.records.planned import Decoding
from medr1_pacs.records.work import Claim, EngineIdentity, ModelOutput, ModelPrompt, PromptWork
from medr1_pacs.rendering import MODEL_PICTURE_PX, encode_png
from medr1_pacs.steps.claiming import HeldClaim, retry_while_away
from medr1_pacs.storage.pictures import PictureStore

logger = logging.getLogger(__name__)

PROBE = ModelPrompt(
    text="Is this picture blank? A)Yes, B)No",
    png=encode_png(np.zeros((MODEL_PICTURE_PX, MODEL_PICTURE_PX, 3), np.uint8)),
    decoding=Decoding(think=False, max_new_tokens=1),
)
"""What an engine is asked after a failure, to tell a bad row from a bad device."""


class Engine(Protocol):
    """What answers prompts: weights in this process, or an endpoint elsewhere.

    It knows of no database; see `workers.engines`.
    """

    identity: EngineIdentity
    batch_size: int
    """Prompts that a call of `generate` may hold."""

    def generate(self, prompts: Sequence[ModelPrompt]) -> list[ModelOutput]:
        """Answer prompts, each as its own `decoding` says; outputs are in the order of prompts.

        Raises
        ------
        TransientError
            Something is away, or the worker was asked to stop; nothing of the batch counts.
        """


def answer_batch(
    database: Database, pictures: PictureStore, engine: Engine, *, owner: str
) -> list[ModelOutput] | None:
    """Answer the oldest prompts that wait for the engine's checkpoint.

    Returns
    -------
    list of ModelOutput or None
        What was recorded, empty after a failure that was noted; None when nothing waits.

    Raises
    ------
    TransientError
        Something is away; the rows were given back and wait. `DeviceBroken`: for a new process.
    """
    checkpoint = engine.identity.checkpoint
    with database.write() as session:
        claimed = claim_generations(session, checkpoint, owner=owner, limit=engine.batch_size)
    if claimed is None:
        return None
    claim, work = claimed
    with HeldClaim(database, GENERATIONS, claim) as held:
        try:
            work, prompts = _read_pictures(database, pictures, claim, work)
            outputs = engine.generate(prompts) if prompts else []
        except TransientError as error:
            # The rows wait for what is away, and so does the caller.
            held.give_back(error)
            raise
        except Exception as error:
            logger.exception("a batch failed", extra={"action": "answer", "batch": len(work)})
            if not can_answer_anything(engine):
                # A CUDA error stays with its process: every other row would fail as well.
                broken = DeviceBroken(f"the engine answers nothing any more: {error}")
                held.note_broken_device(broken)
                raise broken from error
            # The row is at fault, or each is asked alone next.
            held.note_failure(error)
            return []
        recorded = retry_while_away(
            lambda: _record(database, claim, work, outputs, engine.identity)
        )
        retry_while_away(lambda: parse_generations(database))
    return recorded


def can_answer_anything(engine: Engine) -> bool:
    """Ask for one token about a blank picture, to tell a bad row from a bad device."""
    try:
        engine.generate([PROBE])
    except TransientError:
        return True  # asked to stop, or away: that says nothing
    except Exception:  # whatever an engine raises
        logger.exception("the engine fails over a blank picture too", extra={"action": "answer"})
        return False
    return True


def _read_pictures(
    database: Database, pictures: PictureStore, claim: Claim, work: Sequence[PromptWork]
) -> tuple[list[PromptWork], list[ModelPrompt]]:
    """Read the pictures of a batch; a prompt whose picture is lost waits for it to be redrawn."""
    readable, prompts = [], []
    for item in work:
        try:
            png = pictures.read(item.png_sha256)
        except PictureLost as error:
            logger.error("a picture is drawn again: %s", error, extra={"action": "answer"})
            with database.write() as session:
                draw_again(session, item.png_sha256, str(error))
                GENERATIONS.give_back_one(session, claim, item.generation_id)
                heal_waiting(session, item.generation_id)
            continue
        readable.append(item)
        prompts.append(ModelPrompt(item.prompt_text, png, item.decoding))
    return readable, prompts


def _record(
    database: Database,
    claim: Claim,
    work: Sequence[PromptWork],
    outputs: Sequence[ModelOutput],
    identity: EngineIdentity,
) -> list[ModelOutput]:
    with database.write() as session:
        return [
            output
            for item, output in zip(work, outputs, strict=True)
            if record_generated(session, claim, item, output, identity)
        ]


def parse_generations(database: Database, limit: int = 500) -> int:
    """Parse every stored generation that has no answer yet; returns how many that were."""
    with database.read() as session:
        unparsed = list_unparsed(session, limit)
    if not unparsed:
        return 0
    parsed = [
        (each, parse_generation(each.raw_output, len(each.options), each.finish_reason))
        for each in unparsed
    ]
    with database.write() as session:
        record_answers(session, parsed)
    return len(unparsed)
