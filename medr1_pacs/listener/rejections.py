"""What is rejected is logged, but no faster than a log can grow: one line a second and reason."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

logger = logging.getLogger(__name__)

LINE_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class _Waiting:
    count: int
    peer_address: str
    titles: str
    error: BaseException | None


class RejectionLog:
    """Counts what was rejected for which reason since its last line; for one thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._waiting: dict[str, _Waiting] = {}  # by reason
        self._logged_at: dict[str, float] = {}

    def note(
        self,
        reason: str,
        peer_address: str,
        *,
        titles: str = "",
        error: BaseException | None = None,
    ) -> None:
        """Count one; `reason` is one of few texts, all else is told of the last one alone."""
        count = self._waiting[reason].count if reason in self._waiting else 0
        self._waiting[reason] = _Waiting(count + 1, peer_address, titles, error)
        self.flush()

    def flush(self) -> None:
        """Write the lines that are due."""
        now = self._clock()
        for reason, waiting in list(self._waiting.items()):
            if now - self._logged_at.get(reason, -LINE_EVERY_S) < LINE_EVERY_S:
                continue
            logger.warning(
                "rejected: %s%s",
                reason,
                waiting.titles and f": {waiting.titles}",
                exc_info=waiting.error,
                extra={
                    "action": "reject",
                    "peer_address": waiting.peer_address,
                    "count": waiting.count,
                },
            )
            self._logged_at[reason] = now
            del self._waiting[reason]
