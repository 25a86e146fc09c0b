"""What a bell starts: drain the rows that wait. Ringing twice, late or never does no harm."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from celery import Celery

from medr1_pacs.db.sessions import Database
from medr1_pacs.errors import CheckpointMissing, DeviceBroken, Medr1Error
from medr1_pacs.processes import DEVICE_BROKEN
from medr1_pacs.steps.answering import answer_batch
from medr1_pacs.steps.beating import Heartbeat
from medr1_pacs.steps.rendering import Decoder, render_planned
from medr1_pacs.storage.instances import InstanceStore
from medr1_pacs.storage.pictures import PictureStore
from workers.app import ANSWER_TASK, RENDER_TASK
from workers.engine_cache import EngineCache

TURN_S = 60.0


@dataclass(frozen=True, slots=True)
class Workplace:
    """What every worker has around it."""

    app: Celery
    database: Database
    pictures: PictureStore
    heartbeat: Heartbeat
    should_stop: Callable[[], bool]
    end: Callable[[int], None]
    """Ends the worker with an exit status, after the task."""


def register_render_task(place: Workplace, instances: InstanceStore, decoder: Decoder) -> None:
    """Let a worker draw."""
    heartbeat = place.heartbeat

    @place.app.task(name=RENDER_TASK, shared=False, throws=(Medr1Error,))
    def render() -> None:
        """Draw every picture that is planned."""

        def step() -> int | None:
            drawn = heartbeat.watch(
                lambda: render_planned(
                    place.database, instances, place.pictures, decoder, owner=heartbeat.owner
                )
            )
            if drawn is not None:
                heartbeat.note_claim()
            return drawn

        drain(step, place.should_stop)


def register_answer_task(place: Workplace, engines: EngineCache) -> None:
    """Let a worker answer."""
    heartbeat = place.heartbeat

    @place.app.task(name=ANSWER_TASK, shared=False, throws=(Medr1Error,))
    def answer(checkpoint: str) -> None:
        """Answer every prompt that waits for one checkpoint."""
        try:
            engine = heartbeat.watch(lambda: engines.get(checkpoint))
        except CheckpointMissing as error:
            heartbeat.note_trouble(checkpoint, str(error))
            raise
        except DeviceBroken:
            place.end(DEVICE_BROKEN)
            raise
        heartbeat.note_trouble(checkpoint, None)

        def step() -> object | None:
            try:
                outputs = heartbeat.watch(
                    lambda: answer_batch(
                        place.database, place.pictures, engine, owner=heartbeat.owner
                    )
                )
            except DeviceBroken:
                place.end(DEVICE_BROKEN)
                raise
            if outputs is not None:
                heartbeat.note_claim(outputs)
            return outputs

        drain(step, place.should_stop)


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
