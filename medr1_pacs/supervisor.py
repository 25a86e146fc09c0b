"""Keep child processes running: restart what crashes, later each time; stop all of them cleanly.

Health is a heartbeat in the database. A child that lives but whose heartbeat stopped is hung: it is
killed, which its claims survive, and restarted.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from medr1_pacs.db.sessions import Database
from medr1_pacs.db.workers import list_workers
from medr1_pacs.errors import TransientError
from medr1_pacs.processes import HUNG_S, ProcessName, StopSignal, module_environment, stop_on_signal

logger = logging.getLogger(__name__)

USAGE_ERROR = 2
"""Exit status of a child that was configured wrongly: restarting it would not help."""
_WAIT_MAX_S = 30.0
_STEADY_S = 15.0
_STOP_S = 30.0
_HEALTH_S = 10.0
_TICK_S = 0.2
_PR_SET_PDEATHSIG = 1

FindHung = Callable[[Collection[int]], Collection[int]]
"""Child PIDs -> those whose heartbeat stopped."""


@dataclass
class Child:
    """One supervised process."""

    name: str
    command: Sequence[str]
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    start_at: float = 0.0
    wait_s: float = 1.0
    has_been_steady: bool = False

    def start(self) -> None:
        self.process = subprocess.Popen(
            self.command,
            env=module_environment(),
            preexec_fn=_die_with_parent,  # safe: the supervisor has one thread
        )
        self.started_at = time.monotonic()

    def was_steady(self) -> bool:
        """Whether it ran for a while since the supervisor started: its settings were good then."""
        self.has_been_steady |= time.monotonic() - self.started_at > _STEADY_S
        return self.has_been_steady

    def plan_restart(self, status: int) -> None:
        """Start it again after a wait that doubles as long as it does not keep running."""
        lived_s = time.monotonic() - self.started_at
        self.was_steady()
        self.wait_s = 1.0 if lived_s > _STEADY_S else min(self.wait_s * 2, _WAIT_MAX_S)
        self.start_at = time.monotonic() + self.wait_s
        self.process = None
        logger.error(
            "%s ended with status %s; it is started again in %.0f s", self.name, status, self.wait_s
        )


class Supervisor:
    """Runs children until SIGTERM or SIGINT."""

    def __init__(self, commands: Mapping[str, Sequence[str]], find_hung: FindHung) -> None:
        self._children = [Child(name, command) for name, command in commands.items()]
        self._find_hung = find_hung
        self._stop = StopSignal()
        self._checked_at = time.monotonic()

    def run(self) -> int:
        """Supervise; returns the exit status: 0, or 2 when a child was configured wrongly."""
        self._stop = stop_on_signal()
        for child in self._children:
            child.start()
        status = 0
        while status == 0 and not self._stop.wait(_TICK_S):
            status = self._tend()
        self._stop_all()
        return status

    def _tend(self) -> int:
        for child in self._children:
            if child.process is None:
                if time.monotonic() >= child.start_at:
                    child.start()
                continue
            status = child.process.poll()
            if status == USAGE_ERROR and not child.was_steady():
                return USAGE_ERROR
            if status is not None and not self._stop.is_set():
                child.plan_restart(status)
        if time.monotonic() - self._checked_at > _HEALTH_S:
            self._checked_at = time.monotonic()
            self._kill_hung()
        return 0

    def _kill_hung(self) -> None:
        running = {child.process.pid: child for child in self._children if child.process}
        for pid in self._find_hung(running.keys()):
            logger.error("%s has no heartbeat any more; it is killed", running[pid].name)
            os.kill(pid, signal.SIGKILL)

    def _stop_all(self) -> None:
        for child in self._children:
            if child.process is not None and child.process.poll() is None:
                child.process.terminate()
        deadline = time.monotonic() + _STOP_S
        for child in self._children:
            if child.process is None:
                continue
            try:
                child.process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                logger.error("%s did not stop in %.0f s; it is killed", child.name, _STOP_S)
                child.process.kill()
                child.process.wait()


def _die_with_parent() -> None:
    """Ask the kernel to end this child with its supervisor, however that ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def find_hung(database: Database, pids: Collection[int]) -> list[int]:
    """Return which processes of this host live and have not written a heartbeat for `HUNG_S`.

    While the database is away nobody's heartbeat can be seen, and nobody counts as hung.
    """
    try:
        with database.read() as session:
            workers = list_workers(session)
    except TransientError:
        return []
    limit = datetime.now(UTC) - timedelta(seconds=HUNG_S)
    silent = [ProcessName.parse(worker.name) for worker in workers if worker.heartbeat_at < limit]
    running = {name.pid for name in silent if name.is_running}
    return [pid for pid in pids if pid in running]
