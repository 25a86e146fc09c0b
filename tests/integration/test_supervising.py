"""The supervisor over processes with real heartbeats, with limits that are short."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import time

import psutil
import pytest
from servers import wait_until

from medr1_pacs.db.workers import list_workers
from medr1_pacs.processes import ProcessName

HUNG_S = 3.0
# Beats more seldom than the supervisor looks, so that it looks first when the database is back.
CHILD = """
import sys, time
from medr1_pacs.db.sessions import Database
from medr1_pacs.steps import beating
beating.HEARTBEAT_S = 1.0
with beating.Heartbeat(Database({url!r}), sys.argv[1]):
    time.sleep(600)
"""
SUPERVISOR = """
    import sys
    from medr1_pacs import progress, supervisor
    from medr1_pacs.db.sessions import Database
    from medr1_pacs.processes import ProcessName
    from medr1_pacs.steps.beating import read_heartbeats

    supervisor._HEALTH_S, supervisor._GRACE_S = 0.2, 0.5
    progress.HUNG_S, progress.GAP_MAX_S = {hung_s}, 0.5
    database, own = Database({url!r}), ProcessName.own("up")
    names = ["sweep", "render"]
    sys.exit(
        supervisor.Supervisor(
            {{name: [sys.executable, "-c", {child!r}, name] for name in names}},
            names,
            lambda: read_heartbeats(database, own),
            lambda pid: None,
        ).run()
    )
"""


@pytest.fixture
def beating(database, research_url):
    """Supervise two processes with heartbeats; returns kind -> process id of those that beat."""
    program = textwrap.dedent(SUPERVISOR).format(
        url=research_url, child=CHILD.format(url=research_url), hung_s=HUNG_S
    )
    with subprocess.Popen([sys.executable, "-c", program]) as supervisor:

        def beating() -> dict[str, int]:
            with database.read() as session:
                names = [ProcessName.parse(worker.name) for worker in list_workers(session)]
            return {name.kind: name.pid for name in names if name.is_running and name.kind != "up"}

        try:
            wait_until(lambda: len(beating()) == 2, "both beat", supervisor)
            yield beating
        finally:
            supervisor.terminate()


def test_only_the_process_that_stands_still_is_replaced(beating):
    before = beating()

    psutil.Process(before["render"]).send_signal(signal.SIGSTOP)

    wait_until(lambda: beating().get("render") not in (None, before["render"]), "it is replaced")
    assert beating()["sweep"] == before["sweep"]


@pytest.mark.parametrize("site", ["postgresql"], indirect=True)
def test_an_outage_of_the_database_ends_nobody(beating, postgresql_server):
    before = beating()

    postgresql_server.stop()
    time.sleep(3 * HUNG_S)
    postgresql_server.start()
    time.sleep(2 * HUNG_S)

    assert beating() == before


@pytest.mark.parametrize("site", ["postgresql"], indirect=True)
def test_a_database_that_stands_still_ends_nobody(beating, postgresql_server):
    before = beating()
    server = psutil.Process(postgresql_server._process.pid)
    everybody = [server, *server.children(recursive=True)]

    for process in everybody:
        process.suspend()
    time.sleep(3 * HUNG_S)
    for process in everybody:
        process.resume()
    time.sleep(2 * HUNG_S)

    assert beating() == before
