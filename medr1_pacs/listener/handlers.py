"""pynetdicom's events -> plain values, and back."""

from __future__ import annotations

import logging
from weakref import WeakKeyDictionary

from pydicom.dataset import Dataset
from pynetdicom import evt
from pynetdicom.association import Association

from medr1_pacs.listener.admission import AllowedPeer, is_admitted
from medr1_pacs.listener.associations import AssociationLog
from medr1_pacs.listener.store_request import SUCCESS, StoreResponse, answer_store_request
from medr1_pacs.part10 import FileMeta
from medr1_pacs.storage.instances import InstanceStore

logger = logging.getLogger(__name__)

_REJECTED_PERMANENT, _BY_SERVICE_USER = 0x01, 0x01
_CALLING_AE_TITLE_NOT_RECOGNISED = 0x03  # PS3.8 Table 9-21


class Handlers:
    """The event handlers of one listener; `bindings` is what pynetdicom takes."""

    def __init__(
        self, store: InstanceStore, associations: AssociationLog, peers: tuple[AllowedPeer, ...]
    ) -> None:
        self._store = store
        self._associations = associations
        self._peers = peers
        self._tokens: WeakKeyDictionary[Association, str] = WeakKeyDictionary()

    @property
    def bindings(self) -> list[tuple[evt.EventType, object]]:
        return [
            (evt.EVT_REQUESTED, self.handle_requested),
            (evt.EVT_ACCEPTED, self.handle_accepted),
            (evt.EVT_C_ECHO, self.handle_echo),
            (evt.EVT_C_STORE, self.handle_store),
            (evt.EVT_RELEASED, self.handle_released),
            (evt.EVT_ABORTED, self.handle_aborted),
            (evt.EVT_CONN_CLOSE, self.handle_closed),
        ]

    def handle_requested(self, event: evt.Event) -> None:
        """Reject a requestor that is not on the allow list, before anything is negotiated."""
        requestor = event.assoc.requestor
        calling = event.assoc.requestor.primitive.calling_ae_title.strip()
        if not is_admitted(self._peers, calling, requestor.address):
            logger.warning(
                "rejected an association: the requestor is not in MEDR1_ALLOWED_PEERS",
                extra={"action": "reject", "peer_address": requestor.address},
            )
            event.assoc.acse.send_reject(
                _REJECTED_PERMANENT, _BY_SERVICE_USER, _CALLING_AE_TITLE_NOT_RECOGNISED
            )
            # Waits until the rejection is sent: pynetdicom closes the socket when we return.
            event.assoc.kill()

    def handle_accepted(self, event: evt.Event) -> None:
        association = event.assoc
        self._tokens[association] = self._associations.opened(
            association.requestor.ae_title,
            association.acceptor.primitive.called_ae_title.strip(),
            association.requestor.address,
        )

    def handle_echo(self, event: evt.Event) -> int:
        return SUCCESS

    def handle_store(self, event: evt.Event) -> Dataset:
        """Store one instance; acknowledge it only once its bytes and its name are durable."""
        association, request = event.assoc, event.request
        token = self._tokens[association]
        meta = FileMeta(
            sop_class_uid=str(request.AffectedSOPClassUID),
            sop_instance_uid=str(request.AffectedSOPInstanceUID),
            transfer_syntax_uid=str(event.context.transfer_syntax),
            calling_ae_title=association.requestor.ae_title,
            called_ae_title=association.acceptor.primitive.called_ae_title.strip(),
        )
        # Anything unnamed propagates: pynetdicom logs it and answers 0xC211.
        response = answer_store_request(self._store, meta, request.DataSet.getbuffer(), token)
        if response.status == SUCCESS:
            self._associations.received(token)
        return _to_dataset(response)

    def handle_released(self, event: evt.Event) -> None:
        self._close(event, "released")

    def handle_aborted(self, event: evt.Event) -> None:
        self._close(event, "aborted")

    def handle_closed(self, event: evt.Event) -> None:
        # An abort of the peer closes the connection before pynetdicom tells of it.
        self._close(event, "aborted" if event.assoc.acse.is_aborted("a-abort") else "lost")

    def _close(self, event: evt.Event, ending: str) -> None:
        if token := self._tokens.pop(event.assoc, None):
            self._associations.closed(token, ending)


def _to_dataset(response: StoreResponse) -> Dataset:
    dataset = Dataset()
    dataset.Status = response.status
    if response.comment:
        dataset.ErrorComment = response.comment
    return dataset
