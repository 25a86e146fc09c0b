"""What a worker process works at: its database, its store, its name, and its heartbeat."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import TypeVar

import psutil

from medr1_pacs.db.claims import expire_claims
from medr1_pacs.db.generations import fail_generations
from medr1_pacs.db.renderings import fail_renderings
from medr1_pacs.db.sessions import Database
from medr1_pacs.db.tables import Generation, Rendering
from medr1_pacs.db.workers import forget_workers, list_workers, record_heartbeat
from medr1_pacs.errors import TransientError
from medr1_pacs.records import Generated
from medr1_pacs.storage import InstanceStore

logger = logging.getLogger(__name__)

Result = TypeVar("Result")
HEARTBEAT_S = 5.0
STEP_MAX_S = 1800.0
"""A batch that takes longer hangs: in a driver, or on a share that is gone."""
_SAME_START_S = 5.0


def process_name(kind: str) -> str:
    """Name this process for claims and heartbeats: `kind@host/pid/start`."""
    started = int(psutil.Process().create_time())
    return f"{kind}@{socket.gethostname()}/{os.getpid()}/{started}"


def is_named(name: str, pid: int) -> bool:
    """Whether a name is that of the process with this PID, on this host and now."""
    host, named_pid, started = name.partition("@")[2].rsplit("/", 2)
    if host != socket.gethostname() or int(named_pid) != pid:
        return False
    try:
        process = psutil.Process(pid)
        # A clock that is set shifts every start a little; a PID is not reused within seconds.
        is_same = abs(process.create_time() - int(started)) <= _SAME_START_S
        return is_same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def is_gone(name: str) -> bool:
    """Whether a named process of *this* host is known to have ended; of another host never."""
    host, pid, _started = name.partition("@")[2].rsplit("/", 2)
    return host == socket.gethostname() and not is_named(name, int(pid))


class Bench:
    """A worker's surroundings; `start` says that it lives, and takes over from the dead."""

    def __init__(
        self,
        database: Database,
        store: InstanceStore,
        *,
        kind: str,
        queues: Sequence[str],
        should_stop: Callable[[], bool],
        batch_size: int = 0,
    ) -> None:
        self.database = database
        self.store = store
        self.owner = process_name(kind)
        self.batch_size = batch_size
        self.should_stop = should_stop
        self._kind = kind
        self._queues = queues
        self._started_at = datetime.now(UTC)
        self._last_claim_at: datetime | None = None
        self._step_began_at: float | None = None
        self._tokens_per_second: float | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Begin the heartbeat; give back at once what dead workers of this host still hold."""
        with suppress(TransientError):
            release_dead_claims(self.database)
        self._thread.start()

    def stop(self) -> None:
        """End the heartbeat and remove this worker's row."""
        self._stop.set()
        self._thread.join()
        with suppress(TransientError), self.database.write() as session:
            forget_workers(session, [self.owner])

    def watch(self, step: Callable[[], Result]) -> Result:
        """Run a step of work; one that takes longer than `STEP_MAX_S` counts as hung."""
        self._step_began_at = time.monotonic()
        try:
            return step()
        finally:
            self._step_began_at = None

    def _is_hung(self) -> bool:
        began_at = self._step_began_at
        return began_at is not None and time.monotonic() - began_at > STEP_MAX_S

    def note_claim(self, results: Sequence[Generated] = ()) -> None:
        """Remember that work was done, for the heartbeat to tell."""
        self._last_claim_at = datetime.now(UTC)
        seconds = sum(result.seconds for result in results)
        if seconds > 0:
            tokens = sum(result.completion_tokens for result in results)
            self._tokens_per_second = round(tokens / seconds, 1)

    def _beat(self) -> None:
        while True:
            try:
                if self._is_hung():
                    return  # without a heartbeat the supervisor ends this process
                with self.database.write() as session:
                    record_heartbeat(
                        session,
                        name=self.owner,
                        kind=self._kind,
                        queues=self._queues,
                        started_at=self._started_at,
                        now=datetime.now(UTC),
                        last_claim_at=self._last_claim_at,
                        tokens_per_second=self._tokens_per_second,
                    )
            except Exception as error:  # whatever it is, the heartbeat goes on
                logger.warning("the heartbeat could not be written: %s", error)
            if self._stop.wait(HEARTBEAT_S):
                return


def release_dead_claims(database: Database) -> None:
    """Take back at once what processes of this host held that have ended, and forget them."""
    with database.read() as session:
        dead = [row["name"] for row in list_workers(session) if is_gone(row["name"])]
    if not dead:
        return
    with database.write() as session:
        expire_claims(session, Rendering, fail_renderings, dead_owners=dead)
        expire_claims(session, Generation, fail_generations, dead_owners=dead)
        forget_workers(session, dead)
