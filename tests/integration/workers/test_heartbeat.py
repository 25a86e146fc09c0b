"""A process says that it lives; one that is silent, gone or hung is told apart from it."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psutil
import pytest
from factories import make_output
from sqlalchemy import update

from medr1_pacs.db.renderings import RENDERINGS, claim_renderings
from medr1_pacs.db.sessions import Database
from medr1_pacs.db.tables import Rendering, Worker
from medr1_pacs.db.workers import list_workers, record_heartbeat
from medr1_pacs.processes import HUNG, ProcessKind, ProcessName, seconds_to_start
from medr1_pacs.records.listed import WorkerListing
from medr1_pacs.steps import beating
from medr1_pacs.steps.beating import Heartbeat, read_heartbeats

pytestmark = pytest.mark.parametrize("site", ["sqlite"], indirect=True)

# A process with a heartbeat, whose limits are short.
PROGRAM = """
    import sys, time
    from medr1_pacs.db.sessions import Database
    from medr1_pacs.processes import ProcessKind
    from medr1_pacs.steps import beating

    beating.HEARTBEAT_S, beating.GAP_MAX_S = 0.05, 0.15
    beating.STEP_MAX_S = beating.HUNG_S = {limit_s}
    with beating.Heartbeat(Database({url!r}), ProcessKind.RENDER, is_alive={is_alive}) as beat:
        print("beats", flush=True)
        {work}
"""


@pytest.fixture
def beating_process(research_url):
    """Start a process with a heartbeat that does some work."""
    started = []

    def start(work, *, is_alive="lambda: True", limit_s=0.5):
        program = textwrap.dedent(PROGRAM).format(
            url=research_url, work=work, is_alive=is_alive, limit_s=limit_s
        )
        started.append(
            subprocess.Popen(
                [sys.executable, "-c", program],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        assert started[-1].stdout.readline() == "beats\n"
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def often(monkeypatch):
    """Let hearts beat fast enough for a test."""
    monkeypatch.setattr(beating, "HEARTBEAT_S", 0.02)


@pytest.fixture
def wait_for(database):
    """Wait until a look at the processes with a heartbeat is satisfied; returns them."""

    def wait_for(is_there):
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with database.read() as session:
                workers = list_workers(session)
            if is_there(workers):
                return workers
            time.sleep(0.01)
        raise AssertionError(workers)

    return wait_for


@pytest.fixture
def beat(database):
    """Write a heartbeat of a process, so many seconds ago."""

    def beat(name: ProcessName, *, seconds_ago: float):
        at = datetime.now(UTC) - timedelta(seconds=seconds_ago)
        with database.write() as session:
            record_heartbeat(session, WorkerListing(str(name), name.kind, [], at, at))

    return beat


def test_a_process_is_listed_while_it_lives_and_no_longer(database, wait_for):
    with Heartbeat(database, ProcessKind.RENDER, ["render"]) as beating:
        (worker,) = wait_for(lambda workers: workers)
        assert (worker.name, worker.kind, worker.queues) == (beating.owner, "render", ["render"])

    assert wait_for(lambda workers: not workers) == []


def test_a_heartbeat_tells_of_the_work_that_was_done(database, often, wait_for):
    with Heartbeat(database, ProcessKind.ANSWER) as beating:
        beating.note_claim([make_output(completion_tokens=30, seconds=0.5)] * 2)

        (worker,) = wait_for(lambda workers: workers and workers[0].tokens_per_second)

    assert worker.tokens_per_second == 60.0
    assert worker.last_claim_at is not None


# -- hanging -----------------------------------------------------------------------------------


def test_a_process_whose_step_hangs_ends_itself(beating_process):
    process = beating_process("beat.watch(lambda: time.sleep(60))")

    assert process.wait(20) == HUNG
    assert "a step of work hangs" in process.stderr.read()


def test_a_process_whose_steps_end_in_time_goes_on(beating_process):
    process = beating_process("[beat.watch(lambda: time.sleep(0.3)) for _ in range(5)]")

    assert process.wait(20) == 0


def test_a_suspend_amid_a_step_is_not_the_steps_fault(beating_process):
    process = beating_process("beat.watch(lambda: time.sleep(3))", limit_s=2.0)
    time.sleep(0.5)

    process.send_signal(signal.SIGSTOP)
    time.sleep(3)
    process.send_signal(signal.SIGCONT)

    assert process.wait(20) == 0


def test_a_process_that_does_not_do_what_it_is_for_writes_no_heartbeat(database, often):
    with Heartbeat(database, ProcessKind.LISTEN, is_alive=lambda: False):
        time.sleep(0.3)
        with database.read() as session:
            assert list_workers(session) == []


def test_a_process_that_does_not_do_what_it_is_for_ends_itself(beating_process):
    process = beating_process("time.sleep(60)", is_alive="lambda: False")

    assert process.wait(20) == HUNG
    assert "its main loop hangs" in process.stderr.read()


# -- a database that is away -------------------------------------------------------------------


def test_a_heartbeat_goes_on_when_the_database_is_back(database, often, wait_for, monkeypatch):
    monkeypatch.setattr(Database, "is_made", False)
    with Heartbeat(database, ProcessKind.RENDER) as beat:
        time.sleep(0.2)
        monkeypatch.setattr(Database, "is_made", True)

        wait_for(lambda workers: [worker.name for worker in workers] == [beat.owner])


# -- what dead processes held ------------------------------------------------------------------


def test_a_start_frees_at_once_what_a_dead_process_of_this_host_held(
    database, add_work, beat, rows, wait_for
):
    process = subprocess.Popen(["sleep", "60"])
    started_s = seconds_to_start(psutil.Process(process.pid))
    dead = replace(ProcessName.own("render"), pid=process.pid, started_s=started_s)
    add_work(Rendering, 1)
    with database.write() as session:
        assert claim_renderings(session, owner=str(dead), limit=1)
    beat(dead, seconds_ago=1)
    process.kill()
    process.wait()

    with Heartbeat(database, ProcessKind.RENDER) as beating:
        wait_for(lambda workers: [worker.name for worker in workers] == [beating.owner])

    assert rows(Rendering)[0].claim_token is None


def test_a_claim_of_another_host_is_left_to_expire(database, add_work, beat, rows):
    elsewhere = replace(ProcessName.own("render"), host="elsewhere")
    add_work(Rendering, 1)
    with database.write() as session:
        assert RENDERINGS.claim(session, owner=str(elsewhere), limit=1)
    beat(elsewhere, seconds_ago=1)

    with Heartbeat(database, ProcessKind.RENDER):
        pass

    assert rows(Rendering)[0].claim_token is not None


@pytest.fixture
def look(database):
    """Read the heartbeats as the supervisor does, which is this process here."""
    return lambda: read_heartbeats(database, ProcessName.own("up"))


def test_the_supervisor_sees_each_heartbeat_change(database, beat, look):
    own = ProcessName.own("answer")
    beat(own, seconds_ago=9)
    before = look()
    beat(own, seconds_ago=3)

    assert look()[own.pid] != before[own.pid]


def test_a_row_of_another_process_with_the_same_pid_is_nobodys_heartbeat(beat, look):
    with subprocess.Popen(["sleep", "60"]) as process:
        predecessor = replace(ProcessName.own("answer"), pid=process.pid, started_s=1)
        beat(predecessor, seconds_ago=9)

        assert process.pid not in look()
        process.kill()


def test_a_heartbeat_of_another_host_is_not_of_this_one(beat, look):
    with subprocess.Popen(["sleep", "60"]) as process:
        started_s = seconds_to_start(psutil.Process(process.pid))
        own = replace(ProcessName.own("answer"), pid=process.pid, started_s=started_s)
        beat(replace(own, host="elsewhere"), seconds_ago=9)

        assert process.pid not in look()
        process.kill()


def test_what_a_heartbeat_does_not_know_stays_as_it_was(database, beat, rows):
    own = ProcessName.own("answer")
    beat(own, seconds_ago=9)
    with database.write() as session:
        session.execute(update(Worker).values(tokens_per_second=12.5))

    beat(own, seconds_ago=0)

    assert rows(Worker)[0].tokens_per_second == 12.5
