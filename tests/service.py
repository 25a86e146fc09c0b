"""The whole service as its operators run it: `medr1-pacs up` in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from pydicom.dataset import Dataset

from medr1_pacs.db.overview import list_studies
from medr1_pacs.db.sessions import Database
from medr1_pacs.demo.tour import free_port
from medr1_pacs.peers import echo, send_instances
from medr1_pacs.processes import module_command

START_S = 90.0
AE_TITLE = "MEDR1"


class Service:
    """One `medr1-pacs up` with its settings; every command of the CLI sees the same ones."""

    def __init__(self, folder: Path, *, python: str = sys.executable, **settings: str) -> None:
        self.folder = folder
        self._command = [python, *module_command("medr1_pacs")[1:]]
        self.data_dir = folder / "data"
        self.dicom_port, self.web_port = free_port(), free_port()
        self.environ = {
            **{key: value for key, value in os.environ.items() if not key.startswith("MEDR1_")},
            "MEDR1_DATA_DIR": str(self.data_dir),
            "MEDR1_DICOM_PORT": str(self.dicom_port),
            "MEDR1_WEB_PORT": str(self.web_port),
            "MEDR1_STUDY_QUIET_S": "2",
            **settings,
        }
        self.log = folder / "up.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._command, "up"],
                env=self.environ,
                cwd=self.folder,
                stdout=log,
                stderr=log,
            )
        self.wait_until(
            lambda: echo("127.0.0.1", self.dicom_port, called_ae_title=AE_TITLE), START_S
        )

    def kill_and_start(self) -> None:
        """Kill `up`, wait until its children have ended with it, and start it again."""
        assert self._process is not None, "the service was started"
        children = (
            psutil.Process(self._process.pid).children() if self._process.poll() is None else []
        )
        self._process.kill()
        self._process.wait()
        psutil.wait_procs(children, timeout=60)
        self.start()

    def stop(self) -> int:
        """Stop with SIGTERM; returns the exit status."""
        if self._process is None:
            return 0
        self._process.send_signal(signal.SIGTERM)
        status = self._process.wait(60)
        self._process = None
        return status

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the CLI to its end."""
        return subprocess.run(
            [*self._command, *arguments],
            env=self.environ,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def studies(self) -> list[dict[str, Any]]:
        """Return what `medr1-pacs studies --json` prints, without its start-up time."""
        database = self.database()
        try:
            with database.read() as session:
                return [study.to_json() for study in list_studies(session)]
        finally:
            database.dispose()

    def answers(self) -> list[dict[str, Any]]:
        result = self.run("answers", "--format", "jsonl")
        assert result.returncode == 0, result.stderr
        return [json.loads(line) for line in result.stdout.splitlines()]

    def database(self) -> Database:
        """Open the research database that the service works on."""
        url = self.environ.get("MEDR1_DATABASE_URL")
        return Database(url or f"sqlite:///{self.data_dir / 'medr1.sqlite'}")

    def send(self, datasets: Sequence[Dataset]) -> list[int]:
        """Send data sets over one association; returns the statuses."""
        return list(
            send_instances(datasets, "127.0.0.1", self.dicom_port, called_ae_title=AE_TITLE)
        )

    def process(self) -> psutil.Process:
        assert self._process is not None, "the service was started"
        return psutil.Process(self._process.pid)

    def children(self) -> dict[str, psutil.Process]:
        """Return name -> process of what `up` supervises, as `worker answer` or `listen`."""
        named = {}
        for child in self.process().children():
            with suppress(psutil.NoSuchProcess):  # it ended just now
                named[" ".join(child.cmdline()[4:])] = child
        return named

    def wait_until(self, condition: Callable[[], object], timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            if self._process is not None and self._process.poll() is not None:
                pytest.fail(f"up ended: {self.log.read_text('utf-8')[-2000:]}")
            if time.monotonic() > deadline:
                pytest.fail(f"waited {timeout_s} s: {self.log.read_text('utf-8')[-2000:]}")
            time.sleep(0.25)

    def wait_for_settled(self, count: int, timeout_s: float = 240.0) -> list[dict[str, Any]]:
        """Wait until that many studies came to an end; returns them."""
        settled = {"answered", "nothing_to_ask", "failed"}
        rows: list[dict[str, Any]] = []

        def is_settled() -> bool:
            rows[:] = self.studies()
            return len(rows) == count and all(row["state"] in settled for row in rows)

        self.wait_until(is_settled, timeout_s)
        return rows
