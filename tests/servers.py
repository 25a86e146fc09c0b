"""Private servers for tests: found among the installed programs, on free ports, in own folders.

They can be stopped, killed and started again: what a service does meanwhile is a test.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

START_TIMEOUT_S = 30.0


def find_program(name: str, *folders: str) -> str:
    """Return the path of an installed program; without it skip the test, on CI fail it."""
    candidates = [path for folder in folders for path in sorted(Path("/").glob(f"{folder}/{name}"))]
    found = str(candidates[-1]) if candidates else shutil.which(name)
    if found is None:
        missing = f"{name} is not installed; `make test` installs it"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    return found


def find_free_port() -> int:
    """Return a TCP port of the loopback address that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class PostgresqlServer:
    """One PostgreSQL cluster; `stop` and `start` keep its data and its port."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="medr1-postgresql-"))
        self.port = find_free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._postgres = find_program("postgres", "usr/lib/postgresql/*/bin")
        initdb = find_program("initdb", "usr/lib/postgresql/*/bin")
        if self._user:
            shutil.chown(self.folder, user=self._user["user"])
        subprocess.run(
            f"{initdb} --pgdata={self.folder / 'data'} --username=medr1 --auth=trust "
            "--encoding=UTF8 --no-locale --no-sync".split(),
            check=True,
            cwd="/",
            stdout=subprocess.DEVNULL,
            **self._user,
        )

    @property
    def _user(self) -> dict[str, Any]:
        """Whom the server runs as: PostgreSQL refuses to be root."""
        if os.geteuid() != 0:
            return {}
        names = {entry.pw_name for entry in pwd.getpwall()}
        user = "postgres" if "postgres" in names else "nobody"
        return {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}

    def url(self, name: str) -> str:
        """Return the SQLAlchemy URL of a database."""
        return f"postgresql+psycopg://medr1@127.0.0.1:{self.port}/{name}"

    def start(self) -> None:
        """Start serving, unless it does; returns once a connection is answered."""
        if self._process is not None:
            return
        with (self.folder.parent / f"{self.folder.name}.log").open("ab") as log:
            self._process = subprocess.Popen(
                f"{self._postgres} -D {self.folder / 'data'} -p {self.port} "
                "-c listen_addresses=127.0.0.1 -c unix_socket_directories= "
                "-c max_connections=200 -c fsync=off".split(),
                cwd="/",
                stdout=log,
                stderr=log,
                **self._user,
            )
        wait_until(lambda: _answers(self._connect), "PostgreSQL answers", self._process)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop serving and break every connection; SIGQUIT is a crash."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(timeout=START_TIMEOUT_S)
            self._process = None

    def create_database(self, name: str, template: str = "template1") -> str:
        """Make a database, a copy of another; returns its URL."""
        self._execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY FILE_COPY')
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Remove a database with whoever is connected to it."""
        self._execute(f'DROP DATABASE "{name}" WITH (FORCE)')

    def _execute(self, statement: str) -> None:
        with self._connect() as connection:
            connection.execute(statement)

    def _connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user="medr1", dbname="postgres", autocommit=True
        )

    def close(self) -> None:
        """Stop and remove everything."""
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder)
        (self.folder.parent / f"{self.folder.name}.log").unlink(missing_ok=True)


class RedisServer:
    """One Redis without persistence, as a broker that may lose everything."""

    def __init__(self) -> None:
        self._program = find_program("redis-server")
        self._folder = tempfile.mkdtemp(prefix="medr1-redis-")
        self._process: subprocess.Popen[bytes] | None = None
        self.port = find_free_port()

    @property
    def url(self) -> str:
        """Return the broker URL."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start serving, empty, unless it does; returns once a connection is answered."""
        if self._process is not None:
            return
        self._process = subprocess.Popen(
            f"{self._program} --port {self.port} --bind 127.0.0.1 --dir {self._folder} "
            "--appendonly no --loglevel warning".split(),
            stdout=subprocess.DEVNULL,
        )
        wait_until(lambda: _answers(self._ping), "Redis answers", self._process)

    def kill(self) -> None:
        """End it without a chance to say goodbye."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def close(self) -> None:
        """Stop and remove everything."""
        self.kill()
        shutil.rmtree(self._folder)

    def _ping(self) -> Any:
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=1)
        connection.sendall(b"PING\r\n")
        if not connection.recv(16).startswith(b"+PONG"):
            connection.close()
            raise OSError("Redis is loading")
        return connection


def _answers(connect: Callable[[], Any]) -> bool:
    try:
        connect().close()
    except (OSError, psycopg.OperationalError):
        return False
    return True


def wait_until(
    holds: Callable[[], object],
    what: str,
    process: subprocess.Popen[bytes] | None = None,
    timeout_s: float = START_TIMEOUT_S,
) -> None:
    """Wait for something to become true; fail with its description when it does not."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        if process is not None and process.poll() is not None:
            pytest.fail(f"waited until {what}, but it ended with {process.returncode}")
        if time.monotonic() > deadline:
            pytest.fail(f"waited {timeout_s:g} s until {what}")
        time.sleep(0.02)
