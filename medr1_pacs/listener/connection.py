"""A connection until its association may begin: nothing but its A-ASSOCIATE-RQ is read."""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from dataclasses import dataclass, field

from medr1_pacs.listener.pdu import HEADER_BYTES, check_header

_READ_BYTES = 1 << 16


@dataclass(slots=True, eq=False)
class Connection:
    """An accepted connection that has not yet asked for an association."""

    socket: socket.socket
    peer_address: tuple[str, int]
    """As the system tells it."""
    request: bytearray = field(default_factory=bytearray)
    """What came so far of the A-ASSOCIATE-RQ."""
    length: int = HEADER_BYTES
    accepted_at: float = field(default_factory=time.monotonic)

    def read(self) -> bool:
        """Read what is there; True once the A-ASSOCIATE-RQ is whole. Nothing behind it is read.

        Raises
        ------
        PduRefused
            It is no A-ASSOCIATE-RQ of a legal length.
        OSError
            The connection was closed.
        """
        wanted = min(self.length - len(self.request), _READ_BYTES)
        if not (received := self.socket.recv(wanted)):
            raise ConnectionError("the peer closed the connection")
        self.request += received
        if len(self.request) == HEADER_BYTES:
            self.length += check_header(self.request, is_associated=False)
        return len(self.request) == self.length

    def close(self, last_pdu: bytes = b"") -> None:
        """Say why, as far as the peer listens, and close."""
        with suppress(OSError):
            if last_pdu:
                self.socket.send(last_pdu)
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
