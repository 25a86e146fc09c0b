"""The engine that is warm: one checkpoint at a time, since a GPU worker has one GPU."""

from __future__ import annotations

import gc
import logging
import sys
import time
from collections.abc import Callable

from medr1_pacs.checkpoints import CheckpointRegistry
from medr1_pacs.errors import CheckpointMissing, DeviceBroken
from medr1_pacs.steps.answering import Engine, can_answer_anything
from workers.engines import open_engine

logger = logging.getLogger(__name__)

_REFUSAL_S = 60.0


class EngineCache:
    """Loads the engine of a checkpoint when it is first asked, and evicts the one before."""

    def __init__(
        self, registry: CheckpointRegistry, *, batch_size: int, should_stop: Callable[[], bool]
    ) -> None:
        self._registry = registry
        self._batch_size = batch_size
        self._should_stop = should_stop
        self._warm: tuple[str, Engine] | None = None
        self._refused: dict[str, tuple[float, CheckpointMissing]] = {}

    def get(self, checkpoint: str) -> Engine:
        """Return the engine of a checkpoint.

        Raises
        ------
        CheckpointMissing
            It cannot be loaded; nor is that tried again for a minute.
        DeviceBroken
            It is loaded and answers nothing: no prompt is to blame, and none is claimed.
        """
        if self._warm is not None and self._warm[0] == checkpoint:
            return self._warm[1]
        refused = self._refused.get(checkpoint)
        if refused is not None and time.monotonic() < refused[0]:
            raise refused[1]
        try:
            return self._load(checkpoint)
        except DeviceBroken:
            raise
        except Exception as error:
            # Whatever it is: the next bell rings in a second, and hashing gigabytes again so soon
            # would find the same.
            logger.exception("the checkpoint %s cannot be loaded", checkpoint)
            refusal = CheckpointMissing(f"the checkpoint {checkpoint} cannot be loaded: {error}")
            self._refused[checkpoint] = (time.monotonic() + _REFUSAL_S, refusal)
            raise refusal from error

    def _load(self, checkpoint: str) -> Engine:
        configured = self._registry.get(checkpoint)
        self._evict()
        logger.info("loading the checkpoint %s", checkpoint, extra={"action": "load"})
        engine = open_engine(configured, batch_size=self._batch_size, should_stop=self._should_stop)
        if not can_answer_anything(engine):
            raise DeviceBroken(f"the checkpoint {checkpoint} is loaded, and answers nothing")
        self._warm = (checkpoint, engine)
        return engine

    def _evict(self) -> None:
        self._warm = None
        gc.collect()
        if torch := sys.modules.get("torch"):
            torch.cuda.empty_cache()
