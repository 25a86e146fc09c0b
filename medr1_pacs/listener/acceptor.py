"""The accept loop: one thread that owns every connection until its association may begin.

A connection costs a descriptor here and no thread. It is given away with its whole A-ASSOCIATE-RQ,
once the peer is admitted; whoever does not come so far holds no slot of an association.
"""

from __future__ import annotations

import logging
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from medr1_pacs.admission import plain_address
from medr1_pacs.listener.connection import Connection
from medr1_pacs.listener.pdu import AbortReason, PduRefused, encode_abort
from medr1_pacs.listener.rejections import RejectionLog

logger = logging.getLogger(__name__)

REQUEST_MAX_S = 30.0
"""How long a connection may be open without a whole A-ASSOCIATE-RQ (ARTIM of PS3.8 9.1.5)."""
WAITING_MAX = 64
"""How many such connections are open at once; the oldest is closed for the next."""

_TURN_S = 0.5
_STOP_MAX_S = 1.0

_NOT_LISTED = "no line of MEDR1_ALLOWED_PEERS covers the address"
_TOO_LATE = f"no A-ASSOCIATE-RQ came in {REQUEST_MAX_S:.0f} s"
_CROWDED_OUT = f"{WAITING_MAX} newer connections wait for their association"


class Acceptor:
    """Accepts, reads the first PDU, gives away.

    Parameters
    ----------
    may_connect
        Asked with a peer's address as soon as it is known.
    take
        Called with a connection and its whole A-ASSOCIATE-RQ, owns it from then on, and returns
        quickly; what it raises closes the connection.
    """

    def __init__(
        self,
        listening: socket.socket,
        rejections: RejectionLog,
        *,
        may_connect: Callable[[str], bool],
        take: Callable[[Connection], None],
    ) -> None:
        self._listening = listening
        self._listening.setblocking(False)
        self._rejections = rejections
        self._may_connect = may_connect
        self._take = take
        self._waiting: dict[Connection, None] = {}  # oldest first
        self._selector = selectors.DefaultSelector()
        self._is_stopping = False
        self._turned_at = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="accept-loop", daemon=True)

    @property
    def age_s(self) -> float:
        """Seconds since the loop last turned; it does at least once a second."""
        return time.monotonic() - self._turned_at

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Accept no more; close what waits."""
        self._is_stopping = True
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)  # wakes the loop
        self._thread.join(_STOP_MAX_S)
        self._listening.close()

    def _run(self) -> None:
        self._selector.register(self._listening, selectors.EVENT_READ)
        while not self._is_stopping:
            try:
                self._turn()
            except Exception:  # whatever it is, reception goes on
                logger.exception("the accept loop met an error", extra={"action": "accept"})
                time.sleep(_TURN_S)
        for connection in list(self._waiting):
            self._close(connection)
        self._selector.close()

    def _turn(self) -> None:
        for key, _ in self._selector.select(_TURN_S):
            if key.data is None:
                self._accept()
            elif key.data in self._waiting:  # a newer one may have taken its place just now
                self._read(key.data)
        self._turned_at = time.monotonic()
        for connection in list(self._waiting):
            if self._turned_at - connection.accepted_at < REQUEST_MAX_S:
                break
            self._reject(connection, _TOO_LATE)
        self._rejections.flush()

    def _accept(self) -> None:
        try:
            accepted, peer_address = self._listening.accept()
        except BlockingIOError:
            return  # it went away before it was accepted
        except OSError as error:
            if not self._is_stopping:
                self._make_room(str(error))
            return
        connection = Connection(accepted, peer_address[:2])
        with self._closing_on_error(connection):
            accepted.setblocking(False)
            if not self._may_connect(peer_address[0]):
                self._reject(connection, _NOT_LISTED)
                return
            if len(self._waiting) >= WAITING_MAX:
                self._reject(next(iter(self._waiting)), _CROWDED_OUT)
            self._waiting[connection] = None
            self._selector.register(accepted, selectors.EVENT_READ, connection)

    def _make_room(self, error: str) -> None:
        """After an accept that failed: descriptors may have run out."""
        logger.error("a connection cannot be accepted: %s", error, extra={"action": "accept"})
        for connection in list(self._waiting):
            self._close(connection)
        time.sleep(_TURN_S)

    def _read(self, connection: Connection) -> None:
        with self._closing_on_error(connection):
            try:
                is_whole = connection.read()
            except BlockingIOError:
                return
            except OSError:
                self._close(connection)
                return
            if is_whole:
                self._forget(connection)
                self._take(connection)

    @contextmanager
    def _closing_on_error(self, connection: Connection) -> Iterator[None]:
        """Fail closed: what is refused, and what nobody foresaw, ends the connection."""
        try:
            yield
        except PduRefused as refusal:
            self._reject(connection, "the first PDU is refused", encode_abort(refusal.reason))
        except Exception as error:  # noqa: BLE001 - whatever it is, it admits nobody
            address = connection.peer_address[0]
            self._rejections.note("a defect of ours", address, error=error)
            self._close(connection, encode_abort(AbortReason.NOT_SPECIFIED))

    def _reject(self, connection: Connection, reason: str, last_pdu: bytes = b"") -> None:
        self._rejections.note(reason, plain_address(connection.peer_address[0]))
        self._close(connection, last_pdu)

    def _close(self, connection: Connection, last_pdu: bytes = b"") -> None:
        self._forget(connection)
        connection.close(last_pdu)

    def _forget(self, connection: Connection) -> None:
        if connection in self._waiting:
            del self._waiting[connection]
            self._selector.unregister(connection.socket)
