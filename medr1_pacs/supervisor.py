"""Keep child processes running: restart what crashes, later each time; stop all of them cleanly.

Health is a heartbeat in the database. A child that lives but whose heartbeat stopped is hung: it is
asked to end, killed when it does not, which its claims survive, and started again.
"""

from __future__ import annotations

import logging
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field

from medr1_pacs import restarts
from medr1_pacs.errors import TransientError
from medr1_pacs.processes import (
    StopSignal,
    die_with_parent,
    module_environment,
    stop_on_signal,
)
from medr1_pacs.progress import Progress

logger = logging.getLogger(__name__)

USAGE_ERROR = 2
"""Exit status of a child that was configured wrongly: restarting it would not help."""
_STOP_S = 30.0
_HEALTH_S = 10.0
_GRACE_S = 10.0
"""How long a hung child may take to end by itself."""
_TELL_S = 6.0
"""How long the next start of a child that was killed waits until somebody took note."""
_TICK_S = 0.2

_KILLED_BY = {-signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP}
"""How a child ends that somebody else ended: an operator, the out-of-memory killer, a shutdown."""

ReadHeartbeats = Callable[[], Mapping[int, Hashable]]
"""Process id -> last heartbeat, of the processes of this host. Raises `TransientError`."""
OnKilled = Callable[[int], None]
"""Told the id of a process that was killed from outside; called again until it raises nothing."""


@dataclass
class Child:
    """One supervised process."""

    name: str
    command: Sequence[str]
    has_heartbeat: bool
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    start_at: float = 0.0
    kill_at: float | None = None
    """When it is killed, for it was asked to end; None: it was not."""
    killed_pid: int | None = None
    """The process before this one, when it was killed from outside."""
    has_been_steady: bool = False
    waits: restarts.RestartWaits = field(default_factory=restarts.RestartWaits)

    def start(self) -> None:
        self.process = subprocess.Popen(
            self.command,
            env=module_environment(),
            preexec_fn=die_with_parent,
        )
        self.started_at = time.monotonic()
        self.kill_at = self.killed_pid = None

    def was_steady(self) -> bool:
        """Whether it ran for a while since the supervisor started: its settings were good then."""
        self.has_been_steady |= time.monotonic() - self.started_at > restarts.GOOD_SETTINGS_S
        return self.has_been_steady

    def plan_restart(self, status: int) -> None:
        """Start it again after a wait that grows as long as it does not keep running."""
        self.was_steady()
        wait_s = self.waits.next_wait_s(status, time.monotonic() - self.started_at)
        self.start_at = time.monotonic() + wait_s
        self.process = None
        logger.error(
            "%s ended with status %s; it is started again in %.0f s", self.name, status, wait_s
        )

    def end_hung(self) -> None:
        """Ask it to end, once; `kill_overdue` does not ask."""
        if self.process is not None and self.kill_at is None:
            logger.error("%s has no heartbeat any more; it is ended", self.name)
            self.kill_at = time.monotonic() + _GRACE_S
            self.process.terminate()

    def kill_overdue(self) -> None:
        """Kill it when it was asked to end and did not."""
        if self.process and self.kill_at is not None and time.monotonic() >= self.kill_at:
            logger.error("%s did not end in %.0f s; it is killed", self.name, _GRACE_S)
            self.kill_at = float("inf")
            self.process.kill()


class HealthChecks:
    """Looks at the heartbeats, and tells who was killed, in a thread of its own.

    A database that neither answers nor refuses must not keep the supervisor from its children.
    """

    def __init__(self, read_heartbeats: ReadHeartbeats, on_killed: OnKilled) -> None:
        self._read_heartbeats = read_heartbeats
        self._on_killed = on_killed
        self._killed: set[int] = set()
        self._wake = threading.Event()
        self._seen: queue.SimpleQueue[tuple[float, Mapping[int, Hashable] | None]] = (
            queue.SimpleQueue()
        )
        self._thread = threading.Thread(target=self._run, name="health-checks", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def tell(self, pid: int) -> None:
        """Tell at once that a process was killed, and at each check until it is taken note of."""
        self._killed.add(pid)
        self._wake.set()

    def has_told(self, pid: int) -> bool:
        return pid not in self._killed

    def withdraw(self, pid: int) -> None:
        """Tell no more of a process whose id another one has by now."""
        self._killed.discard(pid)

    def take_seen(self) -> list[tuple[float, Mapping[int, Hashable] | None]]:
        """Return (monotonic seconds, heartbeats) of the checks since the last call.

        None instead of heartbeats: the database did not answer.
        """
        seen = []
        while not self._seen.empty():
            seen.append(self._seen.get())
        return seen

    def _run(self) -> None:
        check_at = time.monotonic() + _HEALTH_S
        while True:
            self._wake.wait(max(0.0, check_at - time.monotonic()))
            self._wake.clear()
            self._tell_killed()
            if time.monotonic() >= check_at:
                heartbeats = self._look()
                self._seen.put((time.monotonic(), heartbeats))
                check_at = time.monotonic() + _HEALTH_S

    def _tell_killed(self) -> None:
        for pid in tuple(self._killed):
            try:
                self._on_killed(pid)
            except Exception as error:  # noqa: BLE001 - whatever it is, the next check tries again
                logger.warning("that process %d was killed is not noted yet: %s", pid, error)
            else:
                self.withdraw(pid)

    def _look(self) -> Mapping[int, Hashable] | None:
        try:
            return self._read_heartbeats()
        except TransientError:
            return None
        except Exception as error:  # noqa: BLE001 - whatever it is, it says nothing of the children
            logger.warning("the heartbeats could not be read: %s", error)
            return None


class Supervisor:
    """Runs children until SIGTERM or SIGINT.

    Parameters
    ----------
    commands
        Name -> command of each child.
    with_heartbeat
        Names of the children that are judged by their heartbeat.
    """

    def __init__(
        self,
        commands: Mapping[str, Sequence[str]],
        with_heartbeat: Collection[str],
        read_heartbeats: ReadHeartbeats,
        on_killed: OnKilled,
    ) -> None:
        self._children = [
            Child(name, command, name in with_heartbeat) for name, command in commands.items()
        ]
        self._checks = HealthChecks(read_heartbeats, on_killed)
        self._progress = Progress()
        self._stop = StopSignal()

    def run(self) -> int:
        """Supervise; returns the exit status: 0, or 2 when a child was configured wrongly."""
        self._stop = stop_on_signal()
        for child in self._children:
            child.start()
        self._checks.start()
        status = 0
        while status == 0 and not self._stop.wait(_TICK_S):
            status = self._tend()
        self._stop_all()
        return status

    def _tend(self) -> int:
        for child in self._children:
            if child.process is None:
                self._start_when_due(child)
                continue
            status = child.process.poll()
            if status == USAGE_ERROR and not child.was_steady():
                return USAGE_ERROR
            if status is not None and not self._stop.is_set():
                self._note_end(child, child.process.pid, status)
            child.kill_overdue()
        for seen_at, heartbeats in self._checks.take_seen():
            self._judge(seen_at, heartbeats)
        return 0

    def _start_when_due(self, child: Child) -> None:
        overdue_s = time.monotonic() - child.start_at
        is_noted = child.killed_pid is None or self._checks.has_told(child.killed_pid)
        if overdue_s >= 0 and (is_noted or overdue_s >= _TELL_S):
            child.start()
            assert child.process is not None
            self._checks.withdraw(child.process.pid)

    def _note_end(self, child: Child, pid: int, status: int) -> None:
        self._progress.forget(pid)
        if status in _KILLED_BY and child.kill_at is None:
            child.killed_pid = pid
            self._checks.tell(pid)
        child.plan_restart(status)

    def _judge(self, seen_at: float, heartbeats: Mapping[int, Hashable] | None) -> None:
        judged = {
            child.process.pid: child
            for child in self._children
            if child.process is not None and child.has_heartbeat
        }
        own = None if heartbeats is None else {pid: heartbeats.get(pid) for pid in judged}
        for pid in self._progress.observe(seen_at, own):
            judged[pid].end_hung()

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
