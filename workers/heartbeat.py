"""A process that says in the database that it lives, and stops saying so when its work hangs."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from types import TracebackType
from typing import TypeVar

from medr1_pacs.db.sessions import Database
from medr1_pacs.db.workers import forget_workers, record_heartbeat
from medr1_pacs.errors import TransientError
from medr1_pacs.processes import HEARTBEAT_S, STEP_MAX_S, ProcessKind, ProcessName
from medr1_pacs.records.listed import WorkerListing
from medr1_pacs.records.work import ModelOutput
from medr1_pacs.steps.claiming import release_dead_claims

logger = logging.getLogger(__name__)

Result = TypeVar("Result")


class Heartbeat:
    """The heartbeat of this process; a context manager.

    Entering it also takes over at once what dead processes of this host still hold.
    """

    def __init__(self, database: Database, kind: ProcessKind, queues: Sequence[str] = ()) -> None:
        self._database = database
        now = datetime.now(UTC)
        self._listing = WorkerListing(str(ProcessName.own(kind)), kind, list(queues), now, now)
        self._step_began_at: float | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    @property
    def owner(self) -> str:
        """This process, as its claims name it."""
        return self._listing.name

    def __enter__(self) -> Heartbeat:
        with suppress(TransientError):
            release_dead_claims(self._database)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()
        with suppress(TransientError), self._database.write() as session:
            forget_workers(session, [self.owner])

    def watch(self, step: Callable[[], Result]) -> Result:
        """Run a step of work; while one takes longer than `STEP_MAX_S`, the heartbeat stops."""
        self._step_began_at = time.monotonic()
        try:
            return step()
        finally:
            self._step_began_at = None

    def note_claim(self, outputs: Sequence[ModelOutput] = ()) -> None:
        """Remember that work was done, for the next heartbeat to tell."""
        self._listing = replace(self._listing, last_claim_at=datetime.now(UTC))
        if seconds := sum(output.seconds for output in outputs):
            tokens = sum(output.completion_tokens for output in outputs)
            self._listing = replace(self._listing, tokens_per_second=round(tokens / seconds, 1))

    def _is_hung(self) -> bool:
        began_at = self._step_began_at
        return began_at is not None and time.monotonic() - began_at > STEP_MAX_S

    def _beat(self) -> None:
        while True:
            try:
                if self._is_hung():
                    return  # without a heartbeat the supervisor ends this process
                listing = replace(self._listing, heartbeat_at=datetime.now(UTC))
                with self._database.write() as session:
                    record_heartbeat(session, listing)
            except Exception as error:  # noqa: BLE001 - whatever it is, the heartbeat goes on
                logger.warning("the heartbeat could not be written: %s", error)
            if self._stop.wait(HEARTBEAT_S):
                return
