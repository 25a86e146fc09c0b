"""One listening socket: pynetdicom's application entity with our policy and handlers."""

from __future__ import annotations

import errno
import time
from types import TracebackType

from pynetdicom.ae import ApplicationEntity
from pynetdicom.transport import ThreadedAssociationServer

from medr1_pacs.errors import SettingInvalid
from medr1_pacs.listener.admission import AllowedPeer
from medr1_pacs.listener.associations import AssociationLog
from medr1_pacs.listener.contexts import supported_contexts
from medr1_pacs.listener.handlers import Handlers
from medr1_pacs.storage.instances import InstanceStore

MAXIMUM_PDU_BYTES = 262_144
"""What we offer the peer for one P-DATA; larger PDUs mean fewer wake-ups an instance."""


class Listener:
    """A storage SCP on one port; a context manager.

    Parameters
    ----------
    port
        0 takes a free one; `port` says which.
    association_idle_s
        Seconds of silence after which an association is aborted.
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
        max_associations: int = 50,
        association_idle_s: float = 600.0,
    ) -> None:
        self._associations = associations
        self._address = (host, port)
        self._handlers = Handlers(store, associations, peers)
        self._ae = ApplicationEntity(ae_title)
        self._ae.supported_contexts = supported_contexts()
        self._ae.maximum_pdu_size = MAXIMUM_PDU_BYTES
        self._ae.maximum_associations = max_associations
        self._ae.network_timeout = association_idle_s
        self._server: ThreadedAssociationServer | None = None
        self._turned_at = time.monotonic()

    def __enter__(self) -> Listener:
        host, port = self._address
        try:
            self._server = self._ae.start_server(
                self._address, block=False, evt_handlers=self._handlers.bindings
            )
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise SettingInvalid(
                    f"port {port} on {host} is in use by another program; stop it, or set "
                    "MEDR1_DICOM_PORT"
                ) from error
            raise SettingInvalid(f"cannot listen on {host}:{port}: {error.strerror}") from error
        self._note_turns(self._server)
        self._associations.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Aborts what is open: an instance that was not acknowledged is the sender's to send again.
        self._ae.shutdown()
        self._associations.stop()

    def _note_turns(self, server: ThreadedAssociationServer) -> None:
        tidy_up = server.service_actions

        def service_actions() -> None:
            self._turned_at = time.monotonic()
            tidy_up()

        server.service_actions = service_actions  # which the accept loop calls each time it turns

    @property
    def accept_loop_age_s(self) -> float:
        """Seconds since the accept loop turned last; an idle one does twice a second."""
        return time.monotonic() - self._turned_at

    @property
    def port(self) -> int:
        assert self._server is not None, "the listener has started"
        port: int = self._server.socket.getsockname()[1]
        return port
