"""The worker and sweep processes."""

from __future__ import annotations

import signal
import threading
from collections.abc import Sequence
from contextlib import closing
from types import FrameType

from celery import Celery
from celery.worker import state

from medr1_pacs.db.sessions import Database
from medr1_pacs.steps.rendering import Decoder
from medr1_pacs.storage import InstanceStore
from workers.app import RENDER_QUEUE, answer_queue
from workers.bells import BellTower
from workers.bench import Bench
from workers.checkpoints import CheckpointRegistry
from workers.sweep import Sweep, SweepRules
from workers.tasks import register_answer_task, register_render_task


def run_render_worker(
    app: Celery,
    database: Database,
    store: InstanceStore,
    decoder: Decoder,
) -> None:
    """Draw pictures until asked to stop."""
    queues = [RENDER_QUEUE]
    bench = Bench(database, store, kind="render", queues=queues, should_stop=_is_stopping)
    register_render_task(app, bench, decoder)
    _work(app, bench, queues)


def run_answer_worker(
    app: Celery,
    database: Database,
    store: InstanceStore,
    registry: CheckpointRegistry,
    *,
    checkpoints: Sequence[str],
    batch_size: int,
) -> None:
    """Answer prompts of the given checkpoints until asked to stop."""
    queues = [answer_queue(name) for name in checkpoints]
    bench = Bench(
        database,
        store,
        kind="answer",
        queues=queues,
        should_stop=_is_stopping,
        batch_size=batch_size,
    )
    register_answer_task(app, bench, registry)
    _work(app, bench, queues)


def _work(app: Celery, bench: Bench, queues: Sequence[str]) -> None:
    bench.start()
    try:
        app.worker_main(
            [
                "--quiet",
                "worker",
                "--pool=solo",  # CUDA does not survive a fork
                f"--queues={','.join(queues)}",
                "--without-gossip",
                "--without-mingle",
                "--without-heartbeat",
                "--loglevel=WARNING",
            ]
        )
    finally:
        bench.stop()


def _is_stopping() -> bool:
    return state.should_stop is not None or state.should_terminate is not None


def run_sweep(
    app: Celery, database: Database, vault: Database, store: InstanceStore, rules: SweepRules
) -> None:
    """Tick until SIGTERM or SIGINT."""
    stop = threading.Event()

    def ask_to_stop(number: int, frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask_to_stop)
    bench = Bench(database, store, kind="sweep", queues=[], should_stop=stop.is_set)
    bench.start()
    try:
        with closing(BellTower(app)) as bells:
            Sweep(database, vault, store, bells, rules).run(stop, bench.watch)
    finally:
        bench.stop()
