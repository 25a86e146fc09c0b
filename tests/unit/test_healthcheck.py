"""A health check says yes only to what does its work, on this host."""

import gc
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from medr1_pacs.admission import parse_allowed_peers
from medr1_pacs.db.schema import Branch, upgrade_schema
from medr1_pacs.db.sessions import Database
from medr1_pacs.db.workers import record_heartbeat
from medr1_pacs.errors import TransientError
from medr1_pacs.healthcheck import CHECKS, main
from medr1_pacs.listener.associations import AssociationLog
from medr1_pacs.listener.server import Listener
from medr1_pacs.records.listed import WorkerListing
from medr1_pacs.settings import Settings
from medr1_pacs.storage.instances import InstanceStore


@contextmanager
def listener(folder: Path, *allowed_peers: str) -> Iterator[int]:
    with Listener(
        InstanceStore(folder),
        AssociationLog(lambda _rows: None),
        ae_title="MEDR1",
        host="127.0.0.1",
        port=0,
        peers=parse_allowed_peers(allowed_peers),
    ) as server:
        yield server.port


@contextmanager
def web_server(status: int) -> Iterator[tuple[int, list[str]]]:
    paths = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            paths.append(self.path)
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_arguments):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_port, paths
        finally:
            server.shutdown()
            thread.join()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def settings(tmp_path) -> Settings:
    """Settings over a database with the schema and no worker."""
    settings = Settings(data_dir=tmp_path)
    database = Database(settings.database_url)
    upgrade_schema(database, Branch.RESEARCH)
    database.dispose()
    return settings


def beat(settings: Settings, kind: str, *, host: str = "", seconds_ago: float = 0) -> None:
    now = datetime.now(UTC) - timedelta(seconds=seconds_ago)
    database = Database(settings.database_url)
    with database.write() as session:
        name = f"{kind}@{host or socket.gethostname()}/7/1700000000"
        record_heartbeat(session, WorkerListing(name, kind, [], now, now))
    database.dispose()


def test_a_listener_that_answers_an_echo_is_healthy_under_its_wildcard_address(tmp_path):
    with listener(tmp_path, "PACS1@10.1.2.3", "HEALTHCHECK@127.0.0.1") as port:
        CHECKS["listen"](Settings(data_dir=tmp_path, dicom_host="0.0.0.0", dicom_port=port))


def test_a_listener_that_rejects_the_check_is_unhealthy_and_says_whom_to_admit(tmp_path):
    with (
        listener(tmp_path, "PACS1@10.1.2.3") as port,
        pytest.raises(TransientError, match=r"admit HEALTHCHECK@127\.0\.0\.1"),
    ):
        CHECKS["listen"](Settings(data_dir=tmp_path, dicom_port=port))
    gc.collect()  # complains of a socket that was left open


def test_a_listener_that_is_not_there_is_unhealthy(tmp_path):
    with pytest.raises(TransientError, match="answers no C-ECHO"):
        CHECKS["listen"](Settings(data_dir=tmp_path, dicom_port=free_port()))


def test_pages_that_answer_are_healthy(tmp_path):
    with web_server(200) as (port, paths):
        CHECKS["web"](Settings(data_dir=tmp_path, web_host="0.0.0.0", web_port=port))

    assert paths == ["/healthz"]


def test_pages_that_answer_an_error_are_unhealthy(tmp_path):
    with web_server(500) as (port, _paths), pytest.raises(TransientError, match="answers 500"):
        CHECKS["web"](Settings(data_dir=tmp_path, web_port=port))


def test_pages_that_are_not_there_are_unhealthy(tmp_path):
    with pytest.raises(TransientError, match="does not answer"):
        CHECKS["web"](Settings(data_dir=tmp_path, web_port=free_port()))


@pytest.mark.parametrize("kind", ["sweep", "render", "answer"])
def test_a_fresh_heartbeat_on_this_host_is_healthy(settings, kind):
    beat(settings, kind, seconds_ago=25)

    CHECKS[kind](settings)


def test_a_heartbeat_that_stopped_is_unhealthy(settings):
    beat(settings, "render", seconds_ago=31)

    with pytest.raises(TransientError, match=r"render heartbeat is 3\d s old"):
        CHECKS["render"](settings)


def test_the_heartbeat_of_another_kind_or_host_proves_nothing(settings):
    beat(settings, "render")
    beat(settings, "answer", host="elsewhere")

    with pytest.raises(TransientError, match="no answer process"):
        CHECKS["answer"](settings)


def test_a_database_that_does_not_exist_is_unhealthy_and_stays_so(tmp_path):
    settings = Settings(data_dir=tmp_path)

    with pytest.raises(TransientError, match="there is no database"):
        CHECKS["sweep"](settings)

    assert list(tmp_path.iterdir()) == []


def test_the_command_ends_with_1_and_a_sentence(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MEDR1_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("MEDR1_WEB_PORT", str(free_port()))

    assert main(["web"]) == 1
    assert capsys.readouterr().err.startswith("unhealthy: http://127.0.0.1:")


def test_the_command_ends_with_0_when_healthy(tmp_path, monkeypatch):
    with web_server(200) as (port, _paths):
        monkeypatch.setenv("MEDR1_DATA_DIR", str(tmp_path))
        monkeypatch.setenv("MEDR1_WEB_PORT", str(port))

        assert main(["web"]) == 0


def test_an_unknown_kind_is_wrong_usage(capsys):
    with pytest.raises(SystemExit) as ending:
        main(["everything"])

    assert ending.value.code == 2
    assert "invalid choice" in capsys.readouterr().err
