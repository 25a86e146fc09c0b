"""Children are restarted when they crash, killed when they hang, stopped with the supervisor.

The supervisor runs in a process of its own, over children that are short programs.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time

import psutil
import pytest

PROGRAM = """
    import sys
    from medr1_pacs import supervisor

    hung = lambda pids: [pid for pid in pids if {is_hung}]
    supervisor._HEALTH_S = 0.5
    supervisor._STEADY_S = {steady_s}
    sys.exit(supervisor.Supervisor({{"child": [sys.executable, "-c", {child!r}]}}, hung).run())
"""
SLEEP = "import time; time.sleep(600)"


@pytest.fixture
def supervise():
    """Start a supervisor over one child program."""
    started = []

    def start(
        child: str, *, is_hung: str = "False", steady_s: float = 15.0
    ) -> subprocess.Popen[bytes]:
        program = textwrap.dedent(PROGRAM).format(child=child, is_hung=is_hung, steady_s=steady_s)
        started.append(subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stderr.close()


def child_of(process: subprocess.Popen[bytes], *, but_not: int = 0) -> psutil.Process:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for child in psutil.Process(process.pid).children():
            if child.pid != but_not:
                return child
        time.sleep(0.05)
    raise AssertionError("no child was started")


def test_a_child_that_is_killed_is_started_again(supervise):
    supervisor = supervise(SLEEP)
    first = child_of(supervisor)

    first.kill()

    assert child_of(supervisor, but_not=first.pid).is_running()


def test_a_child_without_heartbeat_is_killed_and_started_again(supervise):
    supervisor = supervise(SLEEP, is_hung="True")
    first = child_of(supervisor)

    assert child_of(supervisor, but_not=first.pid).is_running()


def test_a_child_that_is_configured_wrongly_ends_the_supervisor(supervise):
    assert supervise("import sys; sys.exit(2)").wait(30) == 2


def test_a_child_that_ran_well_before_is_started_again_whatever_it_ends_with(supervise):
    supervisor = supervise("import sys, time; time.sleep(1.5); sys.exit(2)", steady_s=0.5)
    first = child_of(supervisor)

    assert child_of(supervisor, but_not=first.pid).is_running()
    assert supervisor.poll() is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_children_and_is_success(supervise, number):
    supervisor = supervise(SLEEP)
    child = child_of(supervisor)

    supervisor.send_signal(number)

    assert supervisor.wait(30) == 0
    assert not child.is_running()


def test_children_end_with_a_supervisor_that_is_killed(supervise):
    supervisor = supervise(SLEEP)
    child = child_of(supervisor)

    os.kill(supervisor.pid, signal.SIGKILL)

    psutil.wait_procs([child], timeout=10)
    assert not child.is_running()
