"""What a bell starts: drain the rows that wait. Ringing twice, late or never does no harm."""

from __future__ import annotations

from celery import Celery

from medr1_pacs.errors import Medr1Error
from medr1_pacs.steps.answering import answer_batch, drain
from medr1_pacs.steps.rendering import Decoder, render_planned
from workers.app import ANSWER_TASK, RENDER_TASK
from workers.bench import Bench
from workers.checkpoints import CheckpointRegistry
from workers.engine_cache import EngineCache


def register_render_task(app: Celery, bench: Bench, decoder: Decoder) -> None:
    """Let a worker draw."""

    @app.task(name=RENDER_TASK, throws=(Medr1Error,))
    def render() -> None:
        """Draw every picture that is planned."""

        def step() -> int | None:
            drawn = bench.watch(
                lambda: render_planned(bench.database, bench.store, decoder, owner=bench.owner)
            )
            if drawn is not None:
                bench.note_claim()
            return drawn

        drain(step, bench.should_stop)


def register_answer_task(app: Celery, bench: Bench, registry: CheckpointRegistry) -> None:
    """Let a worker answer."""
    engines = EngineCache(registry, batch_size=bench.batch_size, should_stop=bench.should_stop)

    @app.task(name=ANSWER_TASK, throws=(Medr1Error,))
    def answer(checkpoint: str) -> None:
        """Answer every prompt that waits for one checkpoint."""
        engine = engines.get(checkpoint)

        def step() -> object | None:
            results = bench.watch(
                lambda: answer_batch(bench.database, bench.store, engine, owner=bench.owner)
            )
            if results is not None:
                bench.note_claim(results)
            return results

        drain(step, bench.should_stop)
