"""Children are restarted when they crash, ended when they hang, stopped with the supervisor.

The supervisor runs in a process of its own, over children that are short programs.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

PROGRAM = """
    import sys, threading, time
    from pathlib import Path
    from medr1_pacs import progress, restarts, supervisor
    from medr1_pacs.errors import DatabaseUnavailable

    class Beats(dict):
        def __init__(self, value=time.monotonic):
            self._value = value

        def get(self, pid, default=None):
            return self._value()

    def is_away():
        raise DatabaseUnavailable("it is away")

    def hangs():
        threading.Event().wait()

    def beats():
        return Beats()

    def note(pid):
        with Path({told!r}).open("a") as file:
            print(pid, file=file)
        if len(Path({told!r}).read_text().split()) < {tellings}:
            raise OSError("not yet")

    supervisor._HEALTH_S = 0.3
    supervisor._GRACE_S = 1.0
    progress.HUNG_S, progress.START_MAX_S, progress.GAP_MAX_S = 1.0, 0.5, 0.5
    restarts.STEADY_S = restarts.GOOD_SETTINGS_S = {steady_s}
    sys.exit(
        supervisor.Supervisor(
            {{"child": [sys.executable, "-c", {child!r}]}},
            with_heartbeat={with_heartbeat},
            read_heartbeats={heartbeats},
            on_killed=note,
        ).run()
    )
"""
SLEEP = "import time; time.sleep(600)"
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
JUDGED_S = 4.0
"""Long enough for a child to be found hung, with the limits above."""


@pytest.fixture
def told(tmp_path) -> Path:
    """The file with the ids of the processes that the supervisor told of."""
    return tmp_path / "told"


@pytest.fixture
def supervise(told):
    """Start a supervisor over one child program."""
    started = []

    def start(
        child: str,
        *,
        heartbeats: str = "beats",
        with_heartbeat: str = "['child']",
        steady_s: float = 15.0,
        tellings: int = 1,
    ) -> subprocess.Popen[bytes]:
        program = textwrap.dedent(PROGRAM).format(
            child=child,
            heartbeats=heartbeats,
            with_heartbeat=with_heartbeat,
            steady_s=steady_s,
            told=str(told),
            tellings=tellings,
        )
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


# -- hung --------------------------------------------------------------------------------------


def test_a_child_without_heartbeat_is_ended_and_started_again(supervise):
    supervisor = supervise(SLEEP, heartbeats="dict")
    first = child_of(supervisor)

    assert child_of(supervisor, but_not=first.pid).is_running()


def test_a_hung_child_is_asked_to_end_before_it_is_killed(supervise, tmp_path):
    asked = tmp_path / "asked"
    supervisor = supervise(
        "import pathlib, signal, sys, time\n"
        f"def end(*_): pathlib.Path({str(asked)!r}).touch(); sys.exit()\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "time.sleep(600)",
        heartbeats="dict",
    )
    first = child_of(supervisor)
    child_of(supervisor, but_not=first.pid)

    assert asked.exists()


def test_a_hung_child_that_does_not_end_is_killed(supervise):
    supervisor = supervise(DEAF, heartbeats="dict")
    first = child_of(supervisor)

    assert child_of(supervisor, but_not=first.pid).is_running()


def test_a_child_whose_kind_writes_no_heartbeat_is_not_judged(supervise):
    supervisor = supervise(SLEEP, heartbeats="dict", with_heartbeat="[]")
    first = child_of(supervisor)

    time.sleep(JUDGED_S)

    assert child_of(supervisor) == first


@pytest.mark.parametrize("heartbeats", ["is_away", "hangs"])
def test_no_child_is_ended_while_the_database_is_away(supervise, heartbeats):
    supervisor = supervise(SLEEP, heartbeats=heartbeats)
    first = child_of(supervisor)

    time.sleep(JUDGED_S)

    assert child_of(supervisor) == first


def test_a_suspend_of_everything_ends_no_child(supervise, tmp_path):
    beat = tmp_path / "beat"
    beat.write_text("0")
    supervisor = supervise(
        "import itertools, pathlib, time\n"
        "for beat in itertools.count():\n"
        f"    pathlib.Path({str(beat)!r}).write_text(str(beat)); time.sleep(0.1)",
        heartbeats=f"lambda: Beats(lambda: Path({str(beat)!r}).read_text())",
    )
    first = child_of(supervisor)
    time.sleep(1)

    for process in (supervisor, first):
        process.send_signal(signal.SIGSTOP)
    time.sleep(JUDGED_S)
    supervisor.send_signal(signal.SIGCONT)
    time.sleep(0.1)  # the supervisor looks before the child can beat
    first.send_signal(signal.SIGCONT)
    time.sleep(1)

    assert child_of(supervisor) == first


def test_a_child_that_crashes_is_started_again_while_the_database_hangs(supervise):
    supervisor = supervise(SLEEP, heartbeats="hangs")
    first = child_of(supervisor)
    time.sleep(1)

    first.kill()

    assert child_of(supervisor, but_not=first.pid).is_running()


def test_a_signal_stops_everything_while_the_database_hangs(supervise):
    supervisor = supervise(SLEEP, heartbeats="hangs")
    child_of(supervisor)
    time.sleep(1)

    supervisor.terminate()

    assert supervisor.wait(10) == 0


# -- killed from outside -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=str
)
def test_a_child_that_was_killed_from_outside_is_told_before_the_next_is_started(
    supervise, told, number
):
    # Python turns SIGINT into an exception unless its handler is the system's own.
    supervisor = supervise(
        "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_DFL)\ntime.sleep(600)"
    )
    first = child_of(supervisor)
    time.sleep(0.5)

    first.send_signal(number)
    child_of(supervisor, but_not=first.pid)

    assert told.read_text().split() == [str(first.pid)]


def test_that_a_child_was_killed_is_told_until_it_is_noted(supervise, told):
    supervisor = supervise(SLEEP, tellings=4)
    first = child_of(supervisor)

    first.kill()
    child_of(supervisor, but_not=first.pid)
    time.sleep(1)

    assert told.read_text().split() == [str(first.pid)] * 4


@pytest.mark.parametrize(
    ("child", "heartbeats"),
    [
        ("raise SystemExit(1)", "beats"),
        ("import os; os.abort()", "beats"),
        (SLEEP, "dict"),
        (DEAF, "dict"),
    ],
    ids=["failed", "crashed", "hung", "hung and deaf"],
)
def test_a_child_that_ended_otherwise_is_not_told(supervise, told, child, heartbeats):
    supervisor = supervise(child, heartbeats=heartbeats)
    first = child_of(supervisor)
    child_of(supervisor, but_not=first.pid)

    assert not told.exists()


def test_children_that_are_stopped_are_not_told(supervise, told):
    supervisor = supervise(SLEEP)
    child_of(supervisor)

    supervisor.terminate()
    supervisor.wait(30)

    assert not told.exists()


# -- ends of their own -------------------------------------------------------------------------


def test_a_child_whose_device_is_broken_is_started_again(supervise):
    supervisor = supervise("import sys, time; time.sleep(0.2); sys.exit(75)")
    first = child_of(supervisor)
    second = child_of(supervisor, but_not=first.pid)

    assert child_of(supervisor, but_not=second.pid)
    supervisor.terminate()
    said = supervisor.communicate(timeout=30)[1].decode()
    assert "status 75; it is started again in 1 s" in said
    assert "status 75; it is started again in 2 s" in said


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
