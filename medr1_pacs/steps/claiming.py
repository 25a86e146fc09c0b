"""Hold a claim while working, and hold on to a result while the database is away."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import TypeVar

from medr1_pacs.db.claims import RENEW_S, WorkTable, release_claim, renew_claim
from medr1_pacs.db.sessions import Database
from medr1_pacs.errors import TransientError
from medr1_pacs.records import Claim

logger = logging.getLogger(__name__)

Result = TypeVar("Result")
HELD_MAX_S = 1800.0
"""A batch that takes longer hangs; somebody else may have its rows."""
PATIENCE_S = 120.0
"""How long a finished result waits for the database before it is given up to be made again."""


class ClaimKeeper:
    """Renews a claim from a thread, so that a long batch keeps it; a context manager."""

    def __init__(self, database: Database, table: WorkTable, claim: Claim) -> None:
        self._database = database
        self._table = table
        self._claim = claim
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="claim-keeper", daemon=True)

    def __enter__(self) -> ClaimKeeper:
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
        if kind is not None and not issubclass(kind, Exception):
            # Asked to stop: what is unfinished goes back unharmed, at once.
            with suppress(TransientError), self._database.write() as session:
                release_claim(session, self._table, self._claim.token)

    def _renew(self) -> None:
        deadline = time.monotonic() + HELD_MAX_S
        while not self._done.wait(RENEW_S) and time.monotonic() < deadline:
            try:
                with self._database.write() as session:
                    if not renew_claim(session, self._table, self._claim.token):
                        return  # all recorded, or taken back
            except Exception as error:  # whatever it is, the next try may succeed
                logger.warning("a claim could not be renewed: %s", error)


def insist(action: Callable[[], Result], patience_s: float = PATIENCE_S) -> Result:
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
