"""The engine that is warm: one checkpoint at a time, since a GPU worker has one GPU."""

from __future__ import annotations

import gc
import logging
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from medr1_pacs.errors import CheckpointMissing
from workers.checkpoints import CheckpointRegistry

if TYPE_CHECKING:
    from workers.engines.in_process import InProcessEngine

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
        self._warm: tuple[str, InProcessEngine] | None = None
        self._refused: dict[str, tuple[float, CheckpointMissing]] = {}

    def get(self, checkpoint: str) -> InProcessEngine:
        """Return the engine of a checkpoint. Raises `CheckpointMissing`."""
        if self._warm is not None and self._warm[0] == checkpoint:
            return self._warm[1]
        refused = self._refused.get(checkpoint)
        if refused is not None and time.monotonic() < refused[0]:
            raise refused[1]
        try:
            return self._load(checkpoint)
        except Exception as error:
            # The next bell rings in a second; hashing gigabytes again so soon would find the same.
            logger.exception("the checkpoint %s cannot be loaded", checkpoint)
            refusal = CheckpointMissing(f"the checkpoint {checkpoint} cannot be loaded: {error}")
            self._refused[checkpoint] = (time.monotonic() + _REFUSAL_S, refusal)
            raise refusal from error

    def _load(self, checkpoint: str) -> InProcessEngine:
        configured = self._registry.get(checkpoint)
        self._evict()
        from workers.engines.in_process import InProcessEngine  # imports torch

        logger.info("loading the checkpoint %s", checkpoint, extra={"action": "load"})
        engine = InProcessEngine(
            configured, batch_size=self._batch_size, should_stop=self._should_stop
        )
        self._warm = (checkpoint, engine)
        return engine

    def _evict(self) -> None:
        self._warm = None
        gc.collect()
        if torch := sys.modules.get("torch"):
            torch.cuda.empty_cache()
