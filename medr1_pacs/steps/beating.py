"""A process says in the database that it lives; when its work hangs, it says no more and ends."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from types import TracebackType
from typing import TypeVar

from medr1_pacs.db.claims import database_now
from medr1_pacs.db.sessions import Database
from medr1_pacs.db.workers import forget_workers, list_workers, record_heartbeat
from medr1_pacs.errors import DatabaseUnavailable, TransientError
from medr1_pacs.processes import HEARTBEAT_S, HUNG, HUNG_S, STEP_MAX_S, ProcessKind, ProcessName
from medr1_pacs.records.listed import WorkerListing
from medr1_pacs.records.work import ModelOutput
from medr1_pacs.steps.claiming import release_dead_claims

logger = logging.getLogger(__name__)

Result = TypeVar("Result")
LEAVE_S = 2.0
"""How long the end of a process waits for the database to forget it; the next start does it too."""
GAP_MAX_S = 3 * HEARTBEAT_S
"""What the time between two looks at a step counts at most; more of it was a suspend."""
SUPERVISOR = "up"
"""Kind of the process that supervises the others."""


class Heartbeat:
    """The heartbeat of this process; a context manager.

    All that it does with the database, it does in a thread: neither entering nor leaving waits for
    one that is away. The thread first takes over what dead processes of this host still hold.

    Parameters
    ----------
    is_alive
        Whether this process does what it is for; while it says no, no heartbeat is written, and
        the process ends itself when that lasts for `HUNG_S`.
    """

    def __init__(
        self,
        database: Database,
        kind: ProcessKind,
        queues: Sequence[str] = (),
        *,
        is_alive: Callable[[], bool] = lambda: True,
    ) -> None:
        self._database = database
        now = datetime.now(UTC)
        self._listing = WorkerListing(str(ProcessName.own(kind)), kind, list(queues), now, now)
        self._is_alive = is_alive
        self._troubles: dict[str, str] = {}
        self._step: object | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    @property
    def owner(self) -> str:
        """This process, as its claims name it."""
        return self._listing.name

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join(LEAVE_S)

    def watch(self, step: Callable[[], Result]) -> Result:
        """Run a step of work; one that takes longer than `STEP_MAX_S` ends this process."""
        self._step = object()
        try:
            return step()
        finally:
            self._step = None

    def note_claim(self, outputs: Sequence[ModelOutput] = ()) -> None:
        """Remember that work was done, for the next heartbeat to tell."""
        self._listing = replace(self._listing, last_claim_at=datetime.now(UTC))
        if seconds := sum(output.seconds for output in outputs):
            tokens = sum(output.completion_tokens for output in outputs)
            self._listing = replace(self._listing, tokens_per_second=round(tokens / seconds, 1))

    def note_trouble(self, checkpoint: str, trouble: str | None) -> None:
        """Say that this process cannot load a checkpoint, and why; None once it can."""
        self._troubles.pop(checkpoint, None)
        if trouble is not None:
            self._troubles[checkpoint] = trouble
        self._listing = replace(self._listing, trouble="; ".join(self._troubles.values()) or None)

    def _run(self) -> None:
        self._write(release_dead_claims)
        step, dead = _Stopwatch(), _Stopwatch()
        is_written = True
        while True:
            is_alive = self._is_alive()
            _end_when_longer(step.measure(self._step), STEP_MAX_S, "a step of work")
            _end_when_longer(dead.measure(None if is_alive else self), HUNG_S, "its main loop")
            if is_alive:
                was_written, is_written = is_written, self._write(self._beat, is_loud=is_written)
                if is_written and not was_written:
                    logger.info("the heartbeat is written again")
            if self._stop.wait(HEARTBEAT_S):
                break
        if is_written:  # else it is away, and the next start of a process forgets this one
            self._write(self._leave)

    def _write(self, change: Callable[[Database], None], *, is_loud: bool = True) -> bool:
        """Change something in the database; False when that was not possible for the moment."""
        try:
            if not self._database.is_made:
                raise DatabaseUnavailable("there is no database yet")
            change(self._database)
        except Exception as error:  # noqa: BLE001 - whatever it is, the heartbeat goes on
            if is_loud:
                logger.warning("the heartbeat could not be written: %s", error)
            return False
        return True

    def _beat(self, database: Database) -> None:
        with database.write() as session:
            # By the clock that claims are judged by.
            record_heartbeat(session, replace(self._listing, heartbeat_at=database_now(session)))

    def _leave(self, database: Database) -> None:
        with suppress(TransientError), database.write() as session:
            forget_workers(session, [self.owner])


class _Stopwatch:
    """For how long the same thing has been going on, as often as it is looked at."""

    def __init__(self) -> None:
        self._thing: object | None = None
        self._seconds = 0.0
        self._looked_at = time.monotonic()

    def measure(self, thing: object | None) -> float:
        """Return the seconds since a thing was first seen here; 0 for a new one, and for None."""
        now = time.monotonic()
        gap_s, self._looked_at = min(now - self._looked_at, GAP_MAX_S), now
        is_same = thing is not None and thing is self._thing
        self._thing, self._seconds = thing, self._seconds + gap_s if is_same else 0.0
        return self._seconds


def _end_when_longer(seconds: float, limit_s: float, what: str) -> None:
    """End this process when something hangs: whoever runs it starts it again, Docker too."""
    if seconds > limit_s:
        logger.critical("%s hangs for %.0f s: this process ends itself", what, seconds)
        os._exit(HUNG)  # the thread that hangs would hold up any other way out


def read_heartbeats(database: Database, own: ProcessName) -> dict[int, datetime]:
    """Return process id -> last heartbeat of the processes that run on this host.

    It writes the heartbeat of the process that asks, in the same transaction: a database that can
    only be read, on a full disk or after a failover, takes nobody's heartbeat.

    Raises
    ------
    TransientError
        The database does not answer.
    """
    now = datetime.now(UTC)
    with database.write() as session:
        record_heartbeat(session, WorkerListing(str(own), own.kind, [], now, now))
        workers = list_workers(session)
    beats = [(ProcessName.parse(worker.name), worker.heartbeat_at) for worker in workers]
    return {name.pid: heartbeat_at for name, heartbeat_at in beats if name.is_running}
