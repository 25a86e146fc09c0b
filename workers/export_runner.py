"""Has exports carried out that people asked for on a page: one at a time, each in a process of its
own, which an export of an hour keeps from arrivals and pages.
"""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from medr1_pacs.db.project_exports import (
    end_attempt,
    find_heartbeat,
    give_back,
    has_unfinished,
    take_export,
)
from medr1_pacs.db.sessions import Database
from medr1_pacs.errors import TransientError
from medr1_pacs.processes import (
    HUNG_S,
    ProcessName,
    die_with_parent,
    module_command,
    module_environment,
)
from medr1_pacs.records.project_exports import TakenExport
from medr1_pacs.steps.carrying_out_exports import delete_removed
from medr1_pacs.storage.exports import ExportStore

logger = logging.getLogger(__name__)

COMMAND = tuple(module_command("medr1_pacs", "carry-out-export"))
_STOP_S = 10.0


@dataclass(frozen=True, slots=True)
class _Running:
    """An export, and the process that writes it."""

    taken: TakenExport
    process: subprocess.Popen[bytes]


class ExportRunner:
    """Starts a process for the export that has waited longest, and notes how it ended.

    `command`: what carries out the export whose id is added to it.
    """

    def __init__(
        self, database: Database, exports: ExportStore, *, command: Sequence[str] = COMMAND
    ) -> None:
        self._database = database
        self._exports = exports
        self._command = command
        self._running: _Running | None = None

    def tend(self) -> None:
        """Do what is due; this waits for no process.

        Raises
        ------
        TransientError
            The database or the storage is away.
        """
        if self._running is not None:
            self._look_after(self._running)
        delete_removed(self._database, self._exports)
        if self._running is None:
            self._start_next()

    def close(self) -> None:
        """End the process, if there is one; its export is tried again, by who comes next."""
        running, self._running = self._running, None
        if running is None:
            return
        _end(running.process)
        with suppress(TransientError), self._database.write() as session:
            give_back(session, running.taken, datetime.now(UTC))

    def _start_next(self) -> None:
        with self._database.read() as session:
            if not has_unfinished(session):
                return
        with self._database.write() as session:
            taken = take_export(session, datetime.now(UTC), is_gone=_is_gone)
        if taken is None:
            return
        process = subprocess.Popen(
            [*self._command, str(taken.export_id)],
            env=module_environment(),
            preexec_fn=die_with_parent,
        )
        self._running = _Running(taken, process)
        logger.info("export %d begins", taken.export_id, extra={"action": "export"})

    def _look_after(self, running: _Running) -> None:
        status, now = running.process.poll(), datetime.now(UTC)
        if status is None:
            with self._database.read() as session:
                heard_at = find_heartbeat(session, running.taken)
            if heard_at is not None and heard_at > now - timedelta(seconds=HUNG_S):
                return
            _end(running.process)
            self._note_end(running.taken, "hung and was ended", now)
        elif status != 0:
            self._note_end(running.taken, _say_end(status), now)
        self._running = None

    def _note_end(self, taken: TakenExport, how: str, now: datetime) -> None:
        """Let it be tried again, unless it said itself why it ended, or nobody wants it."""
        with self._database.write() as session:
            if find_heartbeat(session, taken) is None:
                return
            error = f"its process {how}; the log of the sweep may say why"
            end_attempt(session, taken, error, now)
        logger.warning("export %d: %s", taken.export_id, error, extra={"action": "export"})


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _say_end(status: int) -> str:
    return f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"


def _is_gone(owner: str) -> bool:
    return ProcessName.parse(owner).is_gone
