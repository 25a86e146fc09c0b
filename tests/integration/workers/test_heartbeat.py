"""A process says that it lives; one that is silent, gone or hung is told apart from it."""

from __future__ import annotations

import subprocess
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
from medr1_pacs.processes import HUNG_S, ProcessKind, ProcessName
from medr1_pacs.records.listed import WorkerListing
from medr1_pacs.supervisor import find_hung
from workers import heartbeat
from workers.heartbeat import Heartbeat

pytestmark = pytest.mark.parametrize("site", ["sqlite"], indirect=True)


@pytest.fixture
def often(monkeypatch):
    """Let hearts beat fast enough for a test."""
    monkeypatch.setattr(heartbeat, "HEARTBEAT_S", 0.02)


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


def test_a_step_that_hangs_stops_the_heartbeat(database, often, wait_for, monkeypatch):
    monkeypatch.setattr(heartbeat, "STEP_MAX_S", 0.1)

    with Heartbeat(database, ProcessKind.ANSWER) as beating:
        (alive,) = wait_for(lambda workers: workers)
        beating.watch(lambda: time.sleep(0.5))
        (stopped,) = wait_for(lambda workers: workers)
        time.sleep(0.1)

        assert wait_for(lambda workers: workers) == [stopped]
    assert stopped.heartbeat_at > alive.heartbeat_at


def test_a_start_frees_at_once_what_a_dead_process_of_this_host_held(
    database, add_work, beat, rows, wait_for
):
    process = subprocess.Popen(["sleep", "60"])
    started_s = int(psutil.Process(process.pid).create_time())
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


def test_a_living_process_that_is_silent_for_too_long_is_hung(database, beat):
    own = ProcessName.own("answer")
    beat(own, seconds_ago=HUNG_S + 1)

    assert find_hung(database, [own.pid, 1]) == [own.pid]


def test_a_process_whose_heart_beats_is_not_hung(database, beat):
    own = ProcessName.own("answer")
    beat(own, seconds_ago=HUNG_S - 5)

    assert find_hung(database, [own.pid]) == []


def test_a_pid_that_another_process_has_by_now_is_not_hung(database, beat):
    own = ProcessName.own("answer")
    beat(replace(own, started_s=1000), seconds_ago=HUNG_S + 1)

    assert find_hung(database, [own.pid]) == []


def test_nobody_is_hung_while_the_database_is_away(tmp_path, database, beat):
    own = ProcessName.own("answer")
    beat(own, seconds_ago=HUNG_S + 1)
    away = Database(f"sqlite:///{tmp_path}/missing/medr1.sqlite")

    assert find_hung(away, [own.pid]) == []


def test_what_a_heartbeat_does_not_know_stays_as_it_was(database, beat, rows):
    own = ProcessName.own("answer")
    beat(own, seconds_ago=9)
    with database.write() as session:
        session.execute(update(Worker).values(tokens_per_second=12.5))

    beat(own, seconds_ago=0)

    assert rows(Worker)[0].tokens_per_second == 12.5
