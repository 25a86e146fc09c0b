"""Which of the processes that should beat are hung.

Pure: times and heartbeats in, process ids out. Only what changes is looked at, never how old it is
by anybody's clock: a clock that is set, a suspend and a database that was away make no process
old.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

from medr1_pacs.processes import HUNG_S, START_MAX_S

GAP_MAX_S = 15.0
"""What the time between two looks counts at most; more of it means that nobody ran."""


@dataclass
class _Silence:
    """For how long one process changed nothing while the database answered."""

    heartbeat: Hashable | None = None
    seconds: float = 0.0

    @property
    def limit_s(self) -> float:
        return HUNG_S if self.heartbeat is not None else HUNG_S + START_MAX_S


class Progress:
    """What was seen of each process so far."""

    def __init__(self) -> None:
        self._answered_at: float | None = None
        self._silences: dict[int, _Silence] = {}

    def observe(self, now_s: float, heartbeats: Mapping[int, Hashable | None] | None) -> list[int]:
        """Take in one look at the database, and return which processes are hung by now.

        Parameters
        ----------
        now_s
            When the database had answered, on the monotonic clock of who looks.
        heartbeats
            Process id -> the last heartbeat it wrote, None when it has written none yet; of every
            process that is judged. None altogether when the database did not answer.
        """
        if heartbeats is None:
            self._answered_at = None
            return []
        gap_s = 0.0 if self._answered_at is None else min(now_s - self._answered_at, GAP_MAX_S)
        self._answered_at = now_s
        self._silences = {
            pid: self._continued(pid, heartbeat, gap_s) for pid, heartbeat in heartbeats.items()
        }
        return [
            pid for pid, silence in self._silences.items() if silence.seconds >= silence.limit_s
        ]

    def _continued(self, pid: int, heartbeat: Hashable | None, gap_s: float) -> _Silence:
        silence = self._silences.get(pid)
        if silence is None or heartbeat not in (None, silence.heartbeat):
            return _Silence(heartbeat)
        return _Silence(silence.heartbeat, silence.seconds + gap_s)

    def forget(self, pid: int) -> None:
        """Forget a process that ended: another one may get its id."""
        self._silences.pop(pid, None)
