"""The worker and sweep processes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

from celery import Celery
from celery.worker import state

from medr1_pacs.asking import Questionnaire
from medr1_pacs.checkpoints import CheckpointRegistry
from medr1_pacs.db.sessions import Database
from medr1_pacs.processes import DEVICE_BROKEN, ProcessKind, stop_on_signal
from medr1_pacs.steps.beating import Heartbeat
from medr1_pacs.steps.indexing import Indexer
from medr1_pacs.steps.leasing import SWEEP, HeldLease
from medr1_pacs.steps.rendering import Decoder
from medr1_pacs.steps.sealing import NoSealer, Sealer
from medr1_pacs.steps.withdrawing import Withdrawer
from medr1_pacs.storage.exports import ExportStore
from medr1_pacs.storage.instances import InstanceStore
from medr1_pacs.storage.pictures import PictureStore
from workers.app import RENDER_QUEUE, answer_queue
from workers.bells import BellTower
from workers.engine_cache import EngineCache
from workers.export_runner import ExportRunner
from workers.sweep import Sweep
from workers.tasks import Workplace, register_answer_task, register_render_task


def run_render_worker(
    app: Celery,
    database: Database,
    instances: InstanceStore,
    pictures: PictureStore,
    decoder: Decoder,
) -> None:
    """Draw pictures until asked to stop."""
    queues = [RENDER_QUEUE]
    with Heartbeat(database, ProcessKind.RENDER, queues) as heartbeat:
        place = Workplace(app, database, pictures, heartbeat, _is_stopping, _end)
        register_render_task(place, instances, decoder)
        _consume(app, queues)


def run_answer_worker(
    app: Celery,
    database: Database,
    pictures: PictureStore,
    registry: CheckpointRegistry,
    *,
    checkpoints: Sequence[str],
    batch_size: int,
) -> None:
    """Answer prompts of the given checkpoints until asked to stop."""
    queues = [answer_queue(name) for name in checkpoints]
    engines = EngineCache(registry, batch_size=batch_size, should_stop=_is_stopping)
    with Heartbeat(database, ProcessKind.ANSWER, queues) as heartbeat:
        place = Workplace(app, database, pictures, heartbeat, _is_stopping, _end)
        register_answer_task(place, engines)
        _consume(app, queues)


def _consume(app: Celery, queues: Sequence[str]) -> None:
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
    if state.should_stop == DEVICE_BROKEN:
        raise SystemExit(DEVICE_BROKEN)


def _end(status: int) -> None:
    # Celery's loop looks at it between two tasks, and ends with it as its exit status.
    state.should_stop = status


def _is_stopping() -> bool:
    return state.should_stop is not None or state.should_terminate is not None


def run_sweep(
    app: Celery,
    indexer: Indexer,
    pictures: PictureStore,
    withdrawer: Withdrawer,
    sealer: Sealer | NoSealer,
    questionnaire: Questionnaire,
    checkpoints: frozenset[str],
    exports: ExportStore,
    *,
    study_quiet_s: float,
) -> None:
    """Tick until SIGTERM or SIGINT."""
    stop = stop_on_signal()
    with (
        closing(BellTower(app)) as bells,
        Heartbeat(indexer.database, ProcessKind.SWEEP) as beat,
        HeldLease(indexer.database, SWEEP, beat.owner) as lease,
        closing(ExportRunner(indexer.database, exports)) as export_runner,
    ):
        sweep = Sweep(
            indexer,
            pictures,
            withdrawer,
            sealer,
            bells,
            questionnaire,
            checkpoints,
            export_runner,
            study_quiet_s=study_quiet_s,
        )
        sweep.run(stop, beat.watch, lease.hold)
