"""One process at a time holds a lease."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import psutil
import pytest
from sqlalchemy import update

from medr1_pacs.db.claims import database_now
from medr1_pacs.db.sessions import Database
from medr1_pacs.db.tables import Lease
from medr1_pacs.errors import DatabaseUnavailable
from medr1_pacs.processes import ProcessKind, ProcessName
from medr1_pacs.steps import leasing
from medr1_pacs.steps.leasing import HeldLease

OTHER_HOST = "sweep@elsewhere/1/1"


@pytest.fixture
def own_name():
    return str(ProcessName.own(ProcessKind.SWEEP))


def test_the_second_waits_until_the_first_gives_it_up(database, own_name):
    with HeldLease(database, "sweep", OTHER_HOST) as first:
        assert first.hold()
        with HeldLease(database, "sweep", own_name) as second:
            assert not second.hold()
            first.__exit__(None, None, None)
            assert second.hold()
            first._thread = second._thread  # it is joined twice


def test_the_lease_of_a_process_that_is_gone_need_not_run_out(database, own_name):
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    started_s = int(psutil.Process(child.pid).create_time())
    name = str(ProcessName("sweep", os.uname().nodename, child.pid, started_s))
    dead = HeldLease(database, "sweep", name)
    assert dead.hold()
    child.communicate(b"\n")

    with HeldLease(database, "sweep", own_name) as lease:
        assert lease.hold()


def test_a_lease_that_ran_out_is_taken_and_its_holder_learns_of_it(database, own_name, monkeypatch):
    lost = HeldLease(database, "sweep", OTHER_HOST)
    assert lost.hold()
    with database.write() as session:
        session.execute(update(Lease).values(held_until=database_now(session)))

    with HeldLease(database, "sweep", own_name) as lease:
        time.sleep(0.01)
        assert lease.hold()
        lost._held_until = 0.0  # by its own clock it ends before it can be taken
        assert not lost.hold()


def test_a_lease_is_renewed_while_it_is_held(database, own_name, rows, monkeypatch):
    monkeypatch.setattr(leasing, "RENEW_S", 0.05)
    with HeldLease(database, "sweep", own_name) as lease:
        assert lease.hold()
        before = rows(Lease)[0].held_until
        deadline = time.monotonic() + 10
        while rows(Lease)[0].held_until == before:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_while_the_database_is_away_nobody_holds_it(own_name):
    away = Database("postgresql+psycopg://medr1@127.0.0.1:1/nowhere")
    with pytest.raises(DatabaseUnavailable):
        HeldLease(away, "sweep", own_name).hold()
    away.dispose()
