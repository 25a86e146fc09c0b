"""Hold a lease while working: a process that finds it held waits, and takes it when it ends."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import suppress
from types import TracebackType

from medr1_pacs.db.leases import (
    LEASE_S,
    get_lease_holder,
    give_up_lease,
    renew_lease,
    take_lease,
)
from medr1_pacs.db.sessions import Database
from medr1_pacs.errors import TransientError
from medr1_pacs.processes import ProcessName

logger = logging.getLogger(__name__)

SWEEP = "sweep"
"""The lease of who records arrivals and carries out withdrawals."""
RENEW_S = 5.0
"""How often the holder renews."""


class HeldLease:
    """A lease of this process; a context manager that renews what `hold` took, from a thread.

    `tells`: log when somebody else holds it.
    """

    def __init__(self, database: Database, name: str, holder: str, *, tells: bool = True) -> None:
        self._database = database
        self._name = name
        self._holder = holder
        self._tells = tells
        self._token: str | None = None
        self._held_until = float("-inf")
        self._is_waiting = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="lease-keeper", daemon=True)

    def __enter__(self) -> HeldLease:
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
            give_up_lease(session, self._name, self._holder)

    def hold(self) -> bool:
        """Whether the lease is ours now; takes it when it is free.

        Raises
        ------
        DatabaseUnavailable
            Nobody can say.
        """
        if _now_s() < self._held_until:
            return True
        began_at = _now_s()
        with self._database.write() as session:
            if self._token and renew_lease(session, self._name, self._token):
                token: str | None = self._token
            else:
                token = take_lease(session, self._name, self._holder, is_gone=_is_gone)
            other = None if token else get_lease_holder(session, self._name)
        self._note(token, began_at)
        if not token and not self._is_waiting and self._tells:
            logger.warning("%s waits: %s holds the lease %s", self._holder, other, self._name)
        self._is_waiting = not token
        return token is not None

    def _note(self, token: str | None, began_at: float) -> None:
        self._token = token
        # By our own clock, and earlier than the database's: nobody else has it until then.
        self._held_until = began_at + LEASE_S - RENEW_S if token else float("-inf")

    def _renew(self) -> None:
        while not self._stop.wait(RENEW_S):
            token, began_at = self._token, _now_s()
            if token is None:
                continue
            try:
                with self._database.write() as session:
                    is_renewed = renew_lease(session, self._name, token)
            except Exception as error:  # noqa: BLE001 - whatever it is, the next try may succeed
                logger.warning("the lease %s could not be renewed: %s", self._name, error)
                continue
            if self._token == token:
                self._note(token if is_renewed else None, began_at)


def _is_gone(holder: str) -> bool:
    return ProcessName.parse(holder).is_gone


def _now_s() -> float:
    """Return seconds of a clock that goes on while the machine is suspended, as the lease does."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
