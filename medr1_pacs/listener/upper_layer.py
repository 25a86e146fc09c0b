"""pynetdicom's association with limits: on a PDU, and on the wait for one.

pynetdicom 3.0.4 reads whatever length a peer states, and waits for the rest of a PDU without end.
How a PDU is read is replaced here, and in `messages` where its fragments are collected;
negotiation, state machine and services are pynetdicom's.
"""

from __future__ import annotations

import logging
import select
import socket
import time
from collections.abc import Callable
from contextlib import suppress

from pynetdicom._globals import MODE_ACCEPTOR
from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association
from pynetdicom.dul import DULServiceProvider
from pynetdicom.transport import AddressInformation, AssociationSocket

from medr1_pacs.listener.messages import BoundedMessages
from medr1_pacs.listener.pdu import (
    HEADER_BYTES,
    AbortReason,
    PduRefused,
    check_header,
    encode_abort,
)

logger = logging.getLogger(__name__)


class PduSocket(AssociationSocket):
    """A connection whose A-ASSOCIATE-RQ was read already; gives whole PDUs of a legal length."""

    def __init__(
        self, association: Association, connection: socket.socket, request: bytes, stall_s: float
    ) -> None:
        super().__init__(association, client_socket=connection)
        self._request = request
        self._stall_s = stall_s
        connection.settimeout(stall_s)

    @property
    def ready(self) -> bool:
        """Whether there is something to read; unlike `select`, with any number of descriptors."""
        if self._request:
            return True
        if self.socket is None:
            return False
        try:
            poll = select.poll()
            poll.register(self.socket, select.POLLIN)
            return bool(poll.poll(0))
        except (OSError, ValueError):  # it was closed by another thread
            self.event_queue.put("Evt17")
            return False

    def read_pdu(self) -> bytearray:
        """Read one PDU, header and all.

        Raises
        ------
        PduRefused
            Its header is not acceptable, or it stalled; the rest was not read.
        OSError
            The connection was closed.
        """
        if self._request:
            request, self._request = bytearray(self._request), b""
            return request
        deadline = time.monotonic() + self._stall_s
        pdu = bytearray(HEADER_BYTES)
        try:
            self._fill(memoryview(pdu), deadline)
            pdu.extend(bytes(check_header(pdu, is_associated=True)))
            self._fill(memoryview(pdu)[HEADER_BYTES:], deadline)
        except TimeoutError as error:
            raise PduRefused("a PDU stalled", AbortReason.NOT_SPECIFIED) from error
        return pdu

    def _fill(self, buffer: memoryview, deadline: float) -> None:
        connection, filled = self.socket, 0
        while filled < len(buffer):
            if connection is None or not (count := connection.recv_into(buffer[filled:])):
                raise ConnectionError("the connection was closed")
            # A sender with Nagle's algorithm holds the end of a PDU until what came before is
            # acknowledged; the system delays that unless told again after a read (tcp(7)).
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            filled += count
            if filled < len(buffer) and time.monotonic() > deadline:
                raise TimeoutError("the rest of a PDU did not come in time")


class BoundedUpperLayer(DULServiceProvider):
    """Reads PDUs that were offered, and no more of them than are worked on."""

    def __init__(self, association: Association) -> None:
        super().__init__(association)
        self.daemon = True  # a connection must not keep the process from ending

    def run_reactor(self) -> None:
        try:
            super().run_reactor()
        finally:
            # The association's thread may wait for a request that could not be decoded.
            self.to_user_queue.put(None)

    def _is_transport_event(self) -> bool:
        if self.state_machine.current_state == "Sta13":  # the connection is to be closed
            self.socket.close()  # whatever a peer goes on sending (PS3.8 Table 9-10, AA-6, AA-7)
            return True
        # A requestor waits for its response (PS3.7 D.3.3.3: no window was negotiated). One that
        # does not is read no faster than its instances are stored.
        if self.state_machine.current_state == "Sta6" and self.assoc.dimse.msg_queue.qsize():
            return False
        return bool(super()._is_transport_event())

    def _read_pdu_data(self) -> None:
        try:
            pdu = self.socket.read_pdu()
        except PduRefused as refusal:
            self._abort(refusal)
            return
        except OSError:
            self.event_queue.put("Evt17")  # transport connection closed (PS3.8 Table 9-10)
            return
        try:
            decoded, event = self._decode_pdu(pdu)
        except Exception as error:  # noqa: BLE001 - whatever a peer's bytes make pynetdicom raise
            logger.warning("a PDU cannot be decoded: %s", type(error).__name__, extra=self._extra)
            self.event_queue.put("Evt19")  # unrecognized or invalid PDU
            return
        self.event_queue.put(event)
        self._recv_pdu.put(decoded)

    def _abort(self, refusal: PduRefused) -> None:
        logger.warning("aborted an association: %s", refusal, extra=self._extra)
        self.assoc.is_aborted = True
        # pynetdicom's own A-ABORT says no reason.
        self.socket.send(encode_abort(refusal.reason))
        self.event_queue.put("Evt17")

    @property
    def _extra(self) -> dict[str, str]:
        return {"action": "abort", "peer_address": self.assoc.requestor.address}


class AcceptedAssociation(Association):
    """An association that a peer asked for; two threads of pynetdicom's.

    Parameters
    ----------
    request
        The A-ASSOCIATE-RQ PDU, which was read from `connection`.
    on_end
        Called in the association's thread as its last action, however it ended.
    """

    def __init__(
        self,
        ae: ApplicationEntity,
        connection: socket.socket,
        peer_address: tuple[str, int],
        request: bytes,
        *,
        instance_max_bytes: int,
        on_end: Callable[[Association], None],
    ) -> None:
        super().__init__(ae, MODE_ACCEPTOR)
        self.name = f"association with {peer_address[0]}"
        self._connection = connection
        self._on_end = on_end
        self.dul = BoundedUpperLayer(self)
        self.dimse = BoundedMessages(self, instance_max_bytes)
        self.acse_timeout, self.network_timeout = ae.acse_timeout, ae.network_timeout
        self.set_socket(PduSocket(self, connection, request, ae.network_timeout))
        self.requestor.address_info = AddressInformation(*peer_address)
        self.acceptor.address_info = AddressInformation(*connection.getsockname()[:2])
        self.acceptor.ae_title = ae.ae_title
        self.acceptor.maximum_length = ae.maximum_pdu_size
        self.acceptor.implementation_class_uid = ae.implementation_class_uid
        self.acceptor.implementation_version_name = ae.implementation_version_name
        # Negotiation only reads them: a copy of 171 contexts would take 30 ms an association.
        self.acceptor.supported_contexts = ae.supported_contexts

    def run_reactor(self) -> None:
        try:
            super().run_reactor()
        finally:
            self.hang_up()
            self.dimse.message = None  # may hold gigabytes, and a cycle of references holds it
            self._on_end(self)

    def hang_up(self) -> None:
        """Close the connection, whatever is waiting for it."""
        with suppress(OSError):  # the peer closed it
            self._connection.shutdown(socket.SHUT_RDWR)  # wakes a thread that reads
        self._connection.close()
