"""Our processes: what they are called, how they are started and stopped, and how long each thing
may take. One owner of each limit.
"""

from __future__ import annotations

import ctypes
import math
import os
import select
import signal
import site
import socket
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from types import FrameType

import psutil

from medr1_pacs.installation import ROOT


class ProcessKind(StrEnum):
    """What `medr1-pacs up` supervises."""

    LISTEN = "listen"
    SWEEP = "sweep"
    RENDER = "render"
    ANSWER = "answer"
    WEB = "web"


READY_BY_HEARTBEAT = (ProcessKind.SWEEP, ProcessKind.RENDER, ProcessKind.ANSWER)
"""Those whose heartbeat alone says that they do their work; the others answer on their port."""
WITH_HEARTBEAT = (ProcessKind.LISTEN, *READY_BY_HEARTBEAT)
"""Those that say in the database that they live. `up` judges them by it: a listener may answer no
C-ECHO because it is flooded, and starting it again would lose what arrives."""

HEARTBEAT_S = 5.0
"""How often a process writes its heartbeat."""
SILENT_S = 30.0
"""Six heartbeats were missed: the process counts as unhealthy."""
HUNG_S = 60.0
"""Twelve were missed while the database took those of others: `progress` names the process, and
`supervisor` ends it and starts another."""
START_MAX_S = 180.0
"""How much longer the first heartbeat may take: torch is imported before it, from a cold disk."""
STEP_MAX_S = 1800.0
"""A step of work that takes longer hangs, in a driver or on a share that is gone: its process ends
itself (`steps.beating`), and its claim is renewed no more (`steps.claiming`)."""

HUNG = 70
"""Exit status of a process that ended itself because its work hangs: EX_SOFTWARE of sysexits.h."""
DEVICE_BROKEN = 75
"""Exit status of a process whose GPU has an error that only a new process may be rid of, as after
an illegal memory access: EX_TEMPFAIL of sysexits.h."""

ACCEPT_LOOP_MAX_S = 30.0
"""A listener whose accept loop did not turn for so long takes no association; an idle one turns
twice a second."""
ASSOCIATION_HEARTBEAT_S = 2.0
"""How often the listener writes which associations are open."""
ASSOCIATION_SILENT_S = 15.0
"""An association without a heartbeat for so long is dead: it holds no study open."""

UNSEALED_MAX_S = 60.0
"""An event that waits longer for its place in the audit log says that nobody seals."""

_SAME_START_S = 1


@dataclass(frozen=True, slots=True)
class ProcessName:
    """A process as claims and heartbeats name it: `kind@host/pid/start`."""

    kind: str
    host: str
    pid: int
    started_s: int
    """When it started, in seconds since this host did: a PID alone is used again, and a time of day
    is another one as soon as the clock is set."""

    def __str__(self) -> str:
        return f"{self.kind}@{self.host}/{self.pid}/{self.started_s}"

    @classmethod
    def parse(cls, text: str) -> ProcessName:
        """Read a name. Raises ValueError where it is none."""
        kind, _, rest = text.partition("@")
        host, pid, started_s = rest.rsplit("/", 2)
        return cls(kind, host, int(pid), int(started_s))

    @classmethod
    def own(cls, kind: str) -> ProcessName:
        """Name this process."""
        return cls(kind, socket.gethostname(), os.getpid(), seconds_to_start(psutil.Process()))

    @property
    def is_of_this_host(self) -> bool:
        return self.host == socket.gethostname()

    @property
    def is_running(self) -> bool:
        """Whether it is a process of this host, and runs."""
        if not self.is_of_this_host:
            return False
        try:
            process = psutil.Process(self.pid)
            is_same = abs(seconds_to_start(process) - self.started_s) <= _SAME_START_S
            return is_same and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    @property
    def is_gone(self) -> bool:
        """Whether it is known to have ended; of a process of another host that is never known."""
        return self.is_of_this_host and not self.is_running


def seconds_to_start(process: psutil.Process) -> int:
    """Return how many seconds after this host a process started, which no clock can change."""
    # Both are the kernel's: ticks since boot, shown as a time of day by adding when that was.
    return int(process.create_time() - psutil.boot_time())


def module_command(module: str, *arguments: str) -> list[str]:
    """Return the command that runs one of our modules in a process of its own.

    `-P`: a folder `workers` in the working directory must not be taken for ours.
    """
    return [sys.executable, "-P", "-m", module, *arguments]


def module_environment() -> dict[str, str]:
    """Return the environment in which `module_command` runs the code that runs now."""
    if str(ROOT) in site.getsitepackages():
        return dict(os.environ)
    # A checkout, which need not be the one that is installed.
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths)}


_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)  # loaded here: between fork and exec nothing may be loaded


def die_with_parent() -> None:
    """Ask the kernel to end this process with the one that starts it, however that ends.

    For `preexec_fn`; safe beside threads: it loads and locks nothing.
    """
    if sys.platform == "linux":
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


_LOOK_EVERY_S = 1.0


class StopSignal:
    """Whether this process was asked to stop; waiting for it ends when it is.

    Not a `threading.Event`: a signal's handler runs in the thread that it interrupts, and an event
    that is set inside its own `wait` waits for its own lock.
    """

    def __init__(self) -> None:
        self._is_set = False
        self._reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        self._is_set = True
        with suppress(BlockingIOError):  # a full pipe wakes whoever waits as well
            os.write(self._writer, b"x")

    def wait(self, timeout_s: float = math.inf) -> bool:
        """Wait until the process is asked to stop; False when the time is over before."""
        poll = select.poll()
        poll.register(self._reader, select.POLLIN)
        deadline = time.monotonic() + timeout_s
        while not self._is_set and (left_s := deadline - time.monotonic()) > 0:
            # Python runs a signal's handler in its main thread alone. A signal that the system
            # gave to another one does not wake it: it has to look.
            poll.poll(min(left_s, _LOOK_EVERY_S) * 1000)
        return self._is_set


def stop_on_signal() -> StopSignal:
    """Return what SIGTERM and SIGINT set; call it in the main thread."""
    stop = StopSignal()

    def ask_to_stop(number: int, frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask_to_stop)
    return stop
