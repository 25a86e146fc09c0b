"""Nobody who reaches the DICOM port can stop reception: `listen` in a process of its own."""

from __future__ import annotations

import signal
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import psutil
import pytest
from factories import make_instance
from servers import wait_until
from service import AE_TITLE, Service

from medr1_pacs.db.tables import Association
from medr1_pacs.peers import echo
from medr1_pacs.processes import module_command, module_environment

UNLISTED, LISTED = "127.0.0.2", "127.0.0.3"
IDLE, HALF_SENT = 500, 100
HALF_A_HEADER = b"\x01\x00\x00"
FOUR_GIB = struct.pack(">BxL", 0x01, 0xFFFFFFFF)
SENT_BEHIND_IT = 96 << 20
GROWTH_MAX_BYTES = 20_000_000
STOP_MAX_S = 10.0
PROJECTS = """
[[project]]
name = "lung"
[[rule]]
project = "lung"
called_ae_title = "LUNG"
"""


@pytest.fixture
def listening(tmp_path) -> Iterator[tuple[Service, psutil.Process]]:
    """A listener that admits two addresses of this machine, and its process."""
    projects = tmp_path / "projects.toml"
    projects.write_text(PROJECTS, "utf-8")
    service = Service(
        tmp_path,
        MEDR1_ALLOWED_PEERS=f"*@127.0.0.1,*@{LISTED},PACS1@127.0.0.4->HEART",
        MEDR1_MAX_ASSOCIATIONS="4",
        MEDR1_PROJECTS=str(projects),
    )
    service.environ |= {"PYTHONPATH": module_environment().get("PYTHONPATH", "")}
    assert service.run("db", "upgrade").returncode == 0
    process = subprocess.Popen(
        module_command("medr1_pacs", "listen"), env=service.environ, cwd=tmp_path
    )
    wait_until(lambda: is_answered(service), "the listener answers", process, 60)
    yield service, psutil.Process(process.pid)
    if process.poll() is None:
        process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_MAX_S)
    process.kill()
    process.wait()


def is_answered(service: Service, called_ae_title: str = AE_TITLE) -> bool:
    return echo("127.0.0.1", service.dicom_port, called_ae_title=called_ae_title)


def connect(service: Service, source: str, sent: bytes = b"") -> socket.socket:
    address = ("127.0.0.1", service.dicom_port)
    connection = socket.create_connection(address, 10, source_address=(source, 0))
    with suppress(OSError):  # it may be closed already
        connection.sendall(sent)
    return connection


@contextmanager
def held_open(service: Service, source: str) -> Iterator[None]:
    """Hold 500 connections that say nothing, 100 that say half a header, one that claims 4 GiB."""
    with ExitStack() as connections:
        for _ in range(IDLE):
            connections.enter_context(connect(service, source))
        for _ in range(HALF_SENT):
            connections.enter_context(connect(service, source, HALF_A_HEADER))
        claiming = connections.enter_context(connect(service, source, FOUR_GIB))
        with suppress(OSError):
            for _ in range(SENT_BEHIND_IT >> 20):
                claiming.sendall(bytes(1 << 20))
        yield


def endings(service: Service) -> list[str | None]:
    """Return how the associations that brought something ended, as far as it is recorded."""
    database = service.database()
    try:
        with database.read() as session:
            return [row.ending for row in session.query(Association)]
    finally:
        database.dispose()


def open_things(process: psutil.Process) -> tuple[int, int, int]:
    connections = process.net_connections("tcp")
    return process.num_threads(), process.num_fds(), len(connections)


@pytest.mark.parametrize("source", [UNLISTED, LISTED])
def test_a_listed_peer_is_served_whoever_crowds_the_port(listening, source):
    service, process = listening
    assert service.send([make_instance()]) == [0x0000]
    # The listener's own connection to its database is open then, too.
    wait_until(lambda: endings(service) == ["released"], "the association is recorded")
    open_before, rss_before = open_things(process), process.memory_info().rss

    with held_open(service, source):
        started = time.monotonic()
        assert is_answered(service)
        assert service.send([make_instance() for _ in range(3)]) == [0x0000] * 3
        assert time.monotonic() - started < 10
        assert process.memory_info().rss - rss_before < GROWTH_MAX_BYTES

    wait_until(lambda: open_things(process) == open_before, "all is as before", timeout_s=20)


def test_known_are_our_title_those_of_the_rules_and_those_of_the_allow_list(listening):
    service, _ = listening
    titles = (AE_TITLE, "LUNG", "HEART", "WHATEVER")

    assert [is_answered(service, title) for title in titles] == [True, True, True, False]


def test_a_signal_ends_the_listener_whatever_is_half_open(listening):
    service, process = listening
    assert service.send([make_instance()]) == [0x0000]

    with held_open(service, LISTED):
        process.send_signal(signal.SIGTERM)
        assert process.wait(STOP_MAX_S) == 0

    assert endings(service) == ["released"]
