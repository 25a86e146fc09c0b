"""Names of processes, and whether a name's process is gone."""

from __future__ import annotations

import os
import socket
import subprocess
from dataclasses import replace

import psutil
import pytest

from medr1_pacs.processes import ProcessKind, ProcessName, module_command

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
    started_s = int(psutil.Process(process.pid).create_time())
    process.kill()
    process.wait()

    assert replace(OWN, pid=process.pid, started_s=started_s).is_gone


def test_a_process_that_nobody_waited_for_is_gone():
    process = subprocess.Popen(["sleep", "60"])
    name = replace(OWN, pid=process.pid, started_s=int(psutil.Process(process.pid).create_time()))
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)

    assert name.is_gone
    process.wait()


def test_a_reused_pid_is_another_process():
    assert replace(OWN, started_s=1000).is_gone


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
