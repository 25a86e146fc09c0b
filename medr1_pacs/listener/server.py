"""One listening socket: who asks for an association is admitted here, or told why not."""

from __future__ import annotations

import errno
import socket
import threading
import time
from functools import partial
from types import TracebackType

from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association

from medr1_pacs.admission import AllowedPeer, Rejection, find_rejection, may_connect, plain_address
from medr1_pacs.errors import SettingInvalid
from medr1_pacs.listener.acceptor import Acceptor
from medr1_pacs.listener.associations import AssociationLog
from medr1_pacs.listener.connection import Connection
from medr1_pacs.listener.contexts import supported_contexts
from medr1_pacs.listener.handlers import Handlers
from medr1_pacs.listener.pdu import MAXIMUM_LENGTH_RECEIVED, encode_reject, read_titles
from medr1_pacs.listener.rejections import RejectionLog
from medr1_pacs.listener.upper_layer import AcceptedAssociation
from medr1_pacs.storage.instances import InstanceStore

_QUEUE_MAX = 512  # connections that the system holds until they are accepted
_UNLIMITED = 1 << 30
_ABORT_MAX_S = 1.0
_END_MAX_S = 2.0

# PS3.8 Table 9-21: result, source, reason
_LOCAL_LIMIT_EXCEEDED = (0x02, 0x03, 0x02)
_PERMANENT, _BY_SERVICE_USER = 0x01, 0x01
_REASONS = {
    Rejection.CALLING_AE_TITLE_NOT_RECOGNIZED: "the requestor is not in MEDR1_ALLOWED_PEERS",
    Rejection.CALLED_AE_TITLE_NOT_RECOGNIZED: "the called AE title is not one of the requestor's",
}


class Listener:
    """A storage SCP on one port; a context manager.

    Parameters
    ----------
    port
        0 takes a free one; `port` says which.
    peers
        The allow list; without one this machine alone may associate.
    called_ae_titles
        What peers may call beside our own AE title; `admission.known_called_titles` makes it.
    association_idle_s
        Seconds of silence after which an association is aborted; also how long a PDU may take.
    instance_max_bytes
        A larger data set is refused with 0xC001 and not kept in memory.
    """

    def __init__(
        self,
        store: InstanceStore,
        associations: AssociationLog,
        *,
        ae_title: str,
        host: str,
        port: int,
        peers: tuple[AllowedPeer, ...] = (),
        called_ae_titles: frozenset[str] = frozenset(),
        max_associations: int = 50,
        association_idle_s: float = 600.0,
        instance_max_bytes: int = 8_192 << 20,
    ) -> None:
        self._associations = associations
        self._address = (host, port)
        self._peers = peers
        self._called_ae_titles = called_ae_titles | {ae_title.strip(" ")}
        self._max_associations = max_associations
        self._instance_max_bytes = instance_max_bytes
        self._handlers = Handlers(store, associations)
        self._rejections = RejectionLog()
        self._ae = ApplicationEntity(ae_title)
        self._ae.supported_contexts = supported_contexts()
        self._ae.maximum_pdu_size = MAXIMUM_LENGTH_RECEIVED
        self._ae.network_timeout = association_idle_s
        # `_take` counts; pynetdicom's own limit, ten, must not come first.
        self._ae.maximum_associations = _UNLIMITED
        self._open: set[AcceptedAssociation] = set()
        self._open_lock = threading.Lock()
        self._listening: socket.socket | None = None
        self._acceptor: Acceptor | None = None

    def __enter__(self) -> Listener:
        self._listening = _listen(*self._address)
        self._acceptor = Acceptor(
            self._listening,
            self._rejections,
            may_connect=partial(may_connect, self._peers),
            take=self._take,
        )
        self._acceptor.start()
        self._associations.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._acceptor is not None, "the listener has started"
        self._acceptor.stop()
        # Aborts what is open: an instance that was not acknowledged is the sender's to send again.
        self._abort_all()
        self._associations.stop()

    @property
    def port(self) -> int:
        assert self._listening is not None, "the listener has started"
        port: int = self._listening.getsockname()[1]
        return port

    @property
    def accept_loop_age_s(self) -> float:
        """Seconds since the accept loop last turned; above a few, nobody can associate."""
        assert self._acceptor is not None, "the listener has started"
        return self._acceptor.age_s

    def _take(self, connection: Connection) -> None:
        """Begin an association, or reject it. Raises `PduRefused`."""
        called, calling = read_titles(connection.request)
        rejection = find_rejection(
            self._peers,
            self._called_ae_titles,
            calling_ae_title=calling,
            called_ae_title=called,
            address=connection.peer_address[0],
        )
        answer: tuple[int, int, int]
        if rejection is not None:
            answer, why = (_PERMANENT, _BY_SERVICE_USER, rejection), _REASONS[rejection]
        elif len(self._open) >= self._max_associations:
            answer, why = _LOCAL_LIMIT_EXCEEDED, "MEDR1_MAX_ASSOCIATIONS are open already"
        else:
            self._begin(connection)
            return
        address = plain_address(connection.peer_address[0])
        self._rejections.note(why, address, titles=f"{calling!r} called {called!r}")
        connection.close(encode_reject(*answer))

    def _begin(self, connection: Connection) -> None:
        address, port = connection.peer_address
        association = AcceptedAssociation(
            self._ae,
            connection.socket,
            (plain_address(address), port),
            bytes(connection.request),
            instance_max_bytes=self._instance_max_bytes,
            on_end=self._ended,
        )
        for event, handler in self._handlers.bindings:
            association.bind(event, handler)
        with self._open_lock:
            self._open.add(association)
        try:
            association.start()
        except RuntimeError:  # the system gives no thread
            self._ended(association)
            raise

    def _ended(self, association: Association) -> None:
        self._handlers.ended(association)
        with self._open_lock:
            self._open.discard(association)

    def _abort_all(self) -> None:
        with self._open_lock:
            associations = list(self._open)
        for association in associations:
            if association.is_established:
                association.abort(block=False)
        _join(associations, _ABORT_MAX_S)
        for association in associations:
            association.hang_up()  # whatever did not end by itself: it reads, or it writes
        _join(associations, _END_MAX_S)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    takes_both = host == "::" and socket.has_dualstack_ipv6()
    try:
        return socket.create_server(
            (host, port), family=family, backlog=_QUEUE_MAX, dualstack_ipv6=takes_both
        )
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise SettingInvalid(
                f"port {port} on {host} is in use by another program; stop it, or set "
                "MEDR1_DICOM_PORT"
            ) from error
        raise SettingInvalid(f"cannot listen on {host}:{port}: {error.strerror}") from error


def _join(threads: list[AcceptedAssociation], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
