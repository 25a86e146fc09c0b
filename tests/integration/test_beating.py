"""A heartbeat needs no database to begin and to end, and so the listener needs none to receive."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest
from factories import make_instance
from pynetdicom import AE
from pynetdicom.sop_class import Verification
from servers import find_free_port, wait_until

from medr1_pacs.db.sessions import Database
from medr1_pacs.db.workers import list_workers
from medr1_pacs.errors import TransientError
from medr1_pacs.listener.associations import AssociationLog
from medr1_pacs.listener.server import Listener
from medr1_pacs.peers import echo, send_instances
from medr1_pacs.processes import ProcessKind, ProcessName, module_command, module_environment
from medr1_pacs.steps import beating
from medr1_pacs.steps.beating import Heartbeat, read_heartbeats


@pytest.fixture
def listen(tmp_path):
    """Start `medr1-pacs listen` over a database; returns the process and its port."""
    started = []

    def start(database_url: str) -> tuple[subprocess.Popen[str], int]:
        port = find_free_port()
        environ = {k: v for k, v in module_environment().items() if not k.startswith("MEDR1_")}
        environ |= {
            "MEDR1_DATA_DIR": str(tmp_path / "data"),
            "MEDR1_DATABASE_URL": database_url,
            "MEDR1_DICOM_PORT": str(port),
        }
        process = subprocess.Popen(
            module_command("medr1_pacs", "listen"), env=environ, stderr=subprocess.PIPE, text=True
        )
        started.append(process)
        wait_until(lambda: echo("127.0.0.1", port, called_ae_title="MEDR1"), "it answers", process)
        return process, port

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def silent_url() -> Iterator[str]:
    """The URL of a database whose server takes connections and never says a word."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield f"postgresql+psycopg://medr1@127.0.0.1:{listening.getsockname()[1]}/medr1"


@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
def test_a_listener_has_a_heartbeat_while_it_runs_and_none_later(listen, site, database):
    def listeners() -> list[int]:
        with database.read() as session:
            names = [ProcessName.parse(worker.name) for worker in list_workers(session)]
        return [name.pid for name in names if name.kind == "listen"]

    process, _port = listen(site.database_url)
    wait_until(lambda: listeners() == [process.pid], "it beats")
    process.terminate()

    assert process.wait(20) == 0
    assert listeners() == []


def test_a_listener_receives_and_stops_while_the_database_is_silent(listen, silent_url):
    process, port = listen(silent_url)

    assert list(send_instances([make_instance()], "127.0.0.1", port, called_ae_title="MEDR1")) == [
        0x0000
    ]
    began_at = time.monotonic()
    process.send_signal(signal.SIGTERM)

    assert process.wait(30) == 0
    assert time.monotonic() - began_at < 15


def test_a_listener_makes_no_database(listen, tmp_path):
    process, _port = listen(f"sqlite:///{tmp_path}/medr1.sqlite")
    time.sleep(1)
    process.terminate()
    process.wait(20)

    assert not (tmp_path / "medr1.sqlite").exists()


@pytest.mark.parametrize("site", ["postgresql"], indirect=True)
def test_a_database_that_can_only_be_read_shows_nobody_a_heartbeat(database: Database):
    with database.connection() as connection:
        name = connection.exec_driver_sql("SELECT current_database()").scalar()
        connection.exec_driver_sql(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    database.dispose()

    with pytest.raises(Exception, match="read-only transaction"):
        read_heartbeats(database, ProcessName.own("up"))


@pytest.mark.parametrize("site", ["sqlite", "postgresql"], indirect=True)
def test_whoever_reads_the_heartbeats_writes_one(database: Database):
    own = ProcessName.own("up")

    assert set(read_heartbeats(database, own)) == {os.getpid()}


# -- heartbeats --------------------------------------------------------------------------------


def test_a_process_starts_and_ends_while_the_database_is_silent(silent_url):
    began_at = time.monotonic()
    with Heartbeat(Database(silent_url), ProcessKind.LISTEN):
        entered_s = time.monotonic() - began_at

    assert entered_s < 0.5
    assert time.monotonic() - began_at < beating.LEAVE_S + 1


def test_a_heartbeat_makes_no_database_where_there_is_none(tmp_path):
    with Heartbeat(Database(f"sqlite:///{tmp_path}/medr1.sqlite"), ProcessKind.LISTEN):
        time.sleep(1)

    assert not (tmp_path / "medr1.sqlite").exists()


def test_a_database_that_is_away_shows_no_heartbeats(tmp_path):
    away = Database(f"sqlite:///{tmp_path}/missing/medr1.sqlite")

    with pytest.raises(TransientError):
        read_heartbeats(away, ProcessName.own("up"))


# -- the accept loop ---------------------------------------------------------------------------


@pytest.fixture
def listener(store):
    """A listener that takes one association at a time."""
    with Listener(
        store,
        AssociationLog(lambda _rows: None),
        ae_title="MEDR1",
        host="127.0.0.1",
        port=0,
        max_associations=1,
    ) as listener:
        yield listener


def test_an_idle_accept_loop_turns(listener):
    time.sleep(2)

    assert listener.accept_loop_age_s < 1


def test_an_accept_loop_turns_while_the_listener_takes_no_association(listener):
    ae = AE("SCANNER")
    ae.add_requested_context(Verification)
    association = ae.associate("127.0.0.1", listener.port, ae_title="MEDR1")
    assert association.is_established

    assert not echo("127.0.0.1", listener.port, called_ae_title="MEDR1")
    time.sleep(1.5)

    assert listener.accept_loop_age_s < 1
    association.release()


def test_an_accept_loop_that_stopped_gets_older(store):
    with Listener(
        store, AssociationLog(lambda _rows: None), ae_title="MEDR1", host="127.0.0.1", port=0
    ) as listener:
        pass
    time.sleep(1.5)

    assert listener.accept_loop_age_s > 1.4
