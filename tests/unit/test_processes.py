"""Names of processes, and whether a name's process is gone."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace

import psutil
import pytest

from medr1_pacs import processes
from medr1_pacs.processes import (
    ProcessKind,
    ProcessName,
    StopSignal,
    module_command,
    module_environment,
    seconds_to_start,
)

OWN = ProcessName.own(ProcessKind.ANSWER)


def test_a_name_is_read_as_it_is_written():
    assert ProcessName.parse(str(OWN)) == OWN
    assert str(OWN) == f"answer@{socket.gethostname()}/{os.getpid()}/{OWN.started_s}"


@pytest.mark.parametrize("text", ["", "answer", "answer@host", "answer@host/pid/1"])
def test_what_is_no_name_is_refused(text):
    with pytest.raises(ValueError, match=r"unpack|invalid literal"):
        ProcessName.parse(text)


def test_a_living_process_runs_and_is_not_gone():
    assert (OWN.is_running, OWN.is_gone) == (True, False)


def test_an_ended_process_is_gone():
    process = subprocess.Popen(["sleep", "60"])
    started_s = seconds_to_start(psutil.Process(process.pid))
    process.kill()
    process.wait()

    assert replace(OWN, pid=process.pid, started_s=started_s).is_gone


def test_a_process_that_nobody_waited_for_is_gone():
    process = subprocess.Popen(["sleep", "60"])
    name = replace(OWN, pid=process.pid, started_s=seconds_to_start(psutil.Process(process.pid)))
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)

    assert name.is_gone
    process.wait()


def test_a_reused_pid_is_another_process():
    assert replace(OWN, started_s=1000).is_gone


@pytest.mark.parametrize("step_s", [-3600, 3600])
def test_a_clock_that_is_set_makes_no_process_another_one(monkeypatch, step_s):
    # The kernel moves the time of day at which the host started, and with it that of every process.
    real = psutil._pslinux.boot_time
    monkeypatch.setattr(psutil._pslinux, "boot_time", lambda: real() + step_s)

    assert OWN.is_running
    assert ProcessName.own(ProcessKind.ANSWER) == OWN


def test_a_process_of_another_host_is_never_known_to_be_gone():
    elsewhere = replace(OWN, host="elsewhere", pid=1, started_s=1000)

    assert (elsewhere.is_running, elsewhere.is_gone) == (False, False)


def test_a_folder_where_somebody_stands_does_not_shadow_our_modules(tmp_path):
    for name in ("workers", "medr1_pacs"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('not ours')")

    done = subprocess.run(
        module_command("medr1_pacs", "--help"), cwd=tmp_path, capture_output=True, text=True
    )

    assert (done.returncode, done.stderr) == (0, "")


def test_a_child_runs_the_code_of_its_parent_and_not_what_is_installed(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "ROOT", tmp_path)
    (tmp_path / "medr1_pacs").mkdir()
    (tmp_path / "medr1_pacs" / "__init__.py").touch()
    (tmp_path / "medr1_pacs" / "__main__.py").write_text("print('ours')")

    done = subprocess.run(
        module_command("medr1_pacs"), env=module_environment(), capture_output=True, text=True
    )

    assert done.stdout == "ours\n"


def test_the_environment_of_an_installed_wheel_is_left_as_it_is(monkeypatch):
    monkeypatch.setattr(processes.site, "getsitepackages", lambda: [str(processes.ROOT)])

    assert module_environment() == os.environ


@pytest.mark.parametrize(
    "sent",
    [
        "os.kill, (os.getpid(), signal.SIGTERM)",
        "signal.pthread_kill, (other.ident, signal.SIGTERM)",
    ],
    ids=["to the process", "and the system gave it to another thread"],
)
def test_waiting_ends_when_the_process_is_asked_to_stop(sent):
    program = (
        "import os, signal, threading, time\n"
        "from medr1_pacs.processes import stop_on_signal\n"
        "stop = stop_on_signal()\n"
        "other = threading.Thread(target=time.sleep, args=[60], daemon=True)\n"
        "other.start()\n"
        f"threading.Timer(0.1, {sent}).start()\n"
        "print(stop.is_set(), stop.wait(60), stop.is_set())\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30
    )

    assert done.stdout == "False True True\n"


def test_a_burst_of_signals_stops_a_process_that_waits_again_and_again():
    program = (
        "from medr1_pacs.processes import stop_on_signal\n"
        "stop = stop_on_signal()\n"
        "print('ready', flush=True)\n"
        "while not stop.wait(0.0001): pass\n"
        "import time; time.sleep(0.2)\n"
    )
    for _ in range(5):
        with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
            assert process.stdout.readline() == b"ready\n"
            for number in [signal.SIGTERM, signal.SIGINT] * 50:
                process.send_signal(number)
            assert process.wait(timeout=20) == 0


def test_a_wait_that_nothing_ends_is_over_in_time():
    assert not StopSignal().wait(0.01)
