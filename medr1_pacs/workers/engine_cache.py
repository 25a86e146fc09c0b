"""The engine that is warm: one checkpoint at a time, since a GPU worker has one GPU."""

from __future__ import annotations

import gc
import logging
import sys
import time
from typing import TYPE_CHECKING

from medr1_pacs.errors import PermanentError
from medr1_pacs.workers.checkpoints import CheckpointRegistry

if TYPE_CHECKING:
    from medr1_pacs.workers.engines.in_process import InProcessEngine

logger = logging.getLogger(__name__)

_REFUSAL_S = 60.0


class EngineCache:
    """Loads the engine of a checkpoint when it is first asked, and evicts the one before."""

    def __init__(self, registry: CheckpointRegistry, *, batch_size: int) -> None:
        self._registry = registry
        self._batch_size = batch_size
        self._warm: tuple[str, InProcessEngine] | None = None
        self._refused: dict[str, tuple[float, PermanentError]] = {}

    def get(self, checkpoint: str) -> InProcessEngine:
        """Return the engine of a checkpoint. Raises `CheckpointMissing`."""
        if self._warm is not None and self._warm[0] == checkpoint:
            return self._warm[1]
        refused = self._refused.get(checkpoint)
        if refused is not None and time.monotonic() < refused[0]:
            raise refused[1]
        try:
            return self._load(checkpoint)
        except PermanentError as error:
            # The next bell rings in a second; hashing gigabytes again so soon would find the same.
            self._refused[checkpoint] = (time.monotonic() + _REFUSAL_S, error)
            raise

    def _load(self, checkpoint: str) -> InProcessEngine:
        configured = self._registry.get(checkpoint)
        self._evict()
        from medr1_pacs.workers.engines.in_process import InProcessEngine  # imports torch

        logger.info("loading the checkpoint %s", checkpoint, extra={"action": "load"})
        engine = InProcessEngine(configured, batch_size=self._batch_size)
        self._warm = (checkpoint, engine)
        return engine

    def _evict(self) -> None:
        self._warm = None
        gc.collect()
        if torch := sys.modules.get("torch"):
            torch.cuda.empty_cache()
