"""pynetdicom's events -> plain values, and back."""

from __future__ import annotations

from weakref import WeakKeyDictionary

from pydicom.dataset import Dataset
from pynetdicom import evt
from pynetdicom.association import Association

from medr1_pacs.listener.associations import AssociationLog
from medr1_pacs.listener.refusals import find_refused_contexts
from medr1_pacs.listener.store_request import (
    SUCCESS,
    StoreResponse,
    answer_store_request,
    refuse_too_large,
)
from medr1_pacs.part10 import FileMeta
from medr1_pacs.storage.instances import InstanceStore


class Handlers:
    """The event handlers of one listener; `bindings` is what pynetdicom takes."""

    def __init__(self, store: InstanceStore, associations: AssociationLog) -> None:
        self._store = store
        self._associations = associations
        self._tokens: WeakKeyDictionary[Association, str] = WeakKeyDictionary()

    @property
    def bindings(self) -> list[tuple[evt.EventType, object]]:
        return [
            (evt.EVT_ACCEPTED, self.handle_accepted),
            (evt.EVT_C_ECHO, self.handle_echo),
            (evt.EVT_C_STORE, self.handle_store),
            (evt.EVT_RELEASED, self.handle_released),
            (evt.EVT_ABORTED, self.handle_aborted),
            (evt.EVT_CONN_CLOSE, self.handle_closed),
        ]

    def handle_accepted(self, event: evt.Event) -> None:
        association = event.assoc
        self._tokens[association] = self._associations.opened(
            association.requestor.ae_title,
            association.acceptor.primitive.called_ae_title.strip(),
            association.requestor.address,
            find_refused_contexts(association),
        )

    def handle_echo(self, event: evt.Event) -> int:
        return SUCCESS

    def handle_store(self, event: evt.Event) -> Dataset:
        """Store one instance; acknowledge it only once its bytes and its name are durable."""
        association, request = event.assoc, event.request
        if request.DataSet.is_exceeded:
            return _to_dataset(refuse_too_large(request.DataSet.limit_bytes))
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
        self._close(event.assoc, "released")

    def handle_aborted(self, event: evt.Event) -> None:
        self._close(event.assoc, "aborted")

    def handle_closed(self, event: evt.Event) -> None:
        # An abort of either side closes the connection before pynetdicom tells of it.
        association = event.assoc
        is_aborted = association.is_aborted or association.acse.is_aborted("a-abort")
        self._close(association, "aborted" if is_aborted else "lost")

    def ended(self, association: Association) -> None:
        """Close what ended without any of these events."""
        self._close(association, "lost")

    def _close(self, association: Association, ending: str) -> None:
        if token := self._tokens.pop(association, None):
            self._associations.closed(token, ending)


def _to_dataset(response: StoreResponse) -> Dataset:
    dataset = Dataset()
    dataset.Status = response.status
    if response.comment:
        dataset.ErrorComment = response.comment
    return dataset
