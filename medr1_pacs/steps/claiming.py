"""Hold a claim while working, give it back when that fails, and take back what others lost."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, TypeVar

from medr1_pacs.db.claims import RENEW_S, WorkQueue
from medr1_pacs.db.generations import GENERATIONS
from medr1_pacs.db.renderings import RENDERINGS
from medr1_pacs.db.sessions import Database
from medr1_pacs.db.workers import forget_workers, list_workers
from medr1_pacs.errors import DeviceBroken, Interrupted, TransientError
from medr1_pacs.processes import STEP_MAX_S, ProcessName
from medr1_pacs.records.work import Claim

logger = logging.getLogger(__name__)

Result = TypeVar("Result")
AWAY_WAIT_S = 5.0
"""How long rows wait whose work met something that is away."""
PATIENCE_S = 120.0
"""How long a finished result waits for the database before it is given up to be made again."""

_QUEUES = (RENDERINGS, GENERATIONS)


class HeldClaim:
    """Rows in work: a context manager that renews their claim from a thread, so that a long batch
    keeps it, and that gives them back in the way that fits what went wrong.
    """

    def __init__(self, database: Database, queue: WorkQueue, claim: Claim) -> None:
        self.claim = claim
        self._database = database
        self._queue = queue
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="claim-keeper", daemon=True)

    def __enter__(self) -> HeldClaim:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._done.set()
        self._thread.join()
        if value is None:
            return
        if isinstance(value, Exception) and not isinstance(value, TransientError):
            # Whatever it is, as a result that cannot be recorded: else it would be done for ever.
            with suppress(TransientError):
                self.note_failure(value)
            return
        # Asked to stop, or away for too long: what is unfinished goes back unharmed, at once.
        with suppress(TransientError), self._database.write() as session:
            self._queue.give_back(session, self.claim)

    def give_back(self, error: TransientError) -> None:
        """Give everything back unharmed: what is away is nobody's fault."""
        wait_s = 0.0 if isinstance(error, Interrupted) else AWAY_WAIT_S
        self._write(self._queue.give_back, wait_s=wait_s, error=str(error))

    def note_broken_device(self, error: DeviceBroken) -> None:
        """Give everything back: the process ends, and the device may be well in the next one."""
        self._write(self._queue.record_loss, str(error))

    def note_failure(self, error: Exception) -> None:
        """Count an attempt of the only row; of several, find out which it was, one at a time."""
        if len(self.claim.row_ids) == 1:
            self.note_attempt(self.claim.row_ids[0], error)
        else:
            self._write(self._queue.give_back_suspect, str(error))

    def note_attempt(self, row_id: int, error: Exception) -> None:
        """Count an attempt of one row, whose work is known to have raised the error."""
        self._write(self._queue.record_attempt, row_id, f"{type(error).__name__}: {error}")

    def give_up(self, row_id: int, error: Exception) -> None:
        """Let one row rest as failed: working on it again would fail in the same way."""
        self._write(self._queue.give_up, row_id, str(error))

    def _write(self, change: Callable[..., None], *arguments: Any, **options: Any) -> None:
        """Call a method of the queue in a transaction, once the database is there."""

        def write() -> None:
            with self._database.write() as session:
                change(session, self.claim, *arguments, **options)

        retry_while_away(write)

    def _renew(self) -> None:
        deadline = time.monotonic() + STEP_MAX_S
        while not self._done.wait(RENEW_S) and time.monotonic() < deadline:
            try:
                with self._database.write() as session:
                    if not self._queue.renew(session, self.claim):
                        return  # all recorded, or taken back
            except Exception as error:  # noqa: BLE001 - whatever it is, the next try may succeed
                logger.warning("a claim could not be renewed: %s", error)


def retry_while_away(action: Callable[[], Result], patience_s: float = PATIENCE_S) -> Result:
    """Call until what is away is back, waiting longer each time.

    Raises
    ------
    TransientError
        It did not come back within `patience_s`.
    """
    deadline, wait_s = time.monotonic() + patience_s, 0.2
    while True:
        try:
            return action()
        except TransientError:
            if time.monotonic() + wait_s > deadline:
                raise
            time.sleep(wait_s)
            wait_s = min(wait_s * 2, 5.0)


def expire_claims(database: Database) -> None:
    """Take back the rows whose claim ended without a result."""
    with database.read() as session:
        if not any(queue.has_expired(session) for queue in _QUEUES):
            return
    with database.write() as session:
        for queue in _QUEUES:
            queue.expire(session)


def release_dead_claims(database: Database) -> None:
    """Take back at once what processes of this host held that have ended, and forget them."""
    with database.read() as session:
        names = [worker.name for worker in list_workers(session)]
    dead = [name for name in names if ProcessName.parse(name).is_gone]
    if not dead:
        return
    with database.write() as session:
        for queue in _QUEUES:
            queue.release(session, dead)
        forget_workers(session, dead)


def release_killed_claims(database: Database, pid: int) -> None:
    """Take back what a process of this host held that was killed by a signal from outside.

    The kernel's memory killer counts as that, so ten such losses of one row are enough.
    """
    with database.read() as session:
        names = [worker.name for worker in list_workers(session)]
    killed = [name for name in names if _is_of_pid(name, pid)]
    with database.write() as session:
        for queue in _QUEUES:
            queue.release(session, killed, were_killed=True)
        forget_workers(session, killed)


def _is_of_pid(name: str, pid: int) -> bool:
    process = ProcessName.parse(name)
    return process.pid == pid and process.is_gone
