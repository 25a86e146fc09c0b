"""Names of processes, and whether a name's process is gone."""

from __future__ import annotations

import os
import socket
import subprocess

import psutil

from workers.bench import is_gone, is_named, process_name


def test_a_living_process_is_not_gone():
    assert not is_gone(process_name("answer"))


def test_an_ended_process_is_gone():
    process = subprocess.Popen(["sleep", "60"])
    started = int(psutil.Process(process.pid).create_time())
    process.kill()
    process.wait()

    assert is_gone(f"answer@{socket.gethostname()}/{process.pid}/{started}")


def test_a_reused_pid_is_another_process():
    assert is_gone(f"answer@{socket.gethostname()}/{os.getpid()}/1000")


def test_a_process_of_another_host_is_never_known_to_be_gone():
    assert not is_gone("answer@elsewhere/1/1000")


def test_a_name_is_that_of_one_process_on_one_host():
    name = process_name("answer")

    assert is_named(name, os.getpid())
    assert not is_named(name, os.getppid())
    assert not is_named(name.replace(socket.gethostname(), "elsewhere"), os.getpid())
