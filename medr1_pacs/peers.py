"""Our side as a DICOM SCU: send data sets to a storage SCP, ask whether it is there."""

from __future__ import annotations

import socket
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager

from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import Verification

from medr1_pacs.errors import TransientError

STORE_PATIENCE_S = 300.0
"""How long one C-STORE may wait for its status: a peer that syncs before it answers waits for its
disk, which may just be writing gigabytes of somebody else's."""


def echo(host: str, port: int, *, called_ae_title: str, calling_ae_title: str = "MEDR1") -> bool:
    """Whether a peer accepts an association and answers a C-ECHO."""
    # pynetdicom logs an error for each refused connection; a peer that is only starting up is none.
    try:
        socket.create_connection((host, port), timeout=5).close()
    except OSError:
        return False
    ae = AE(calling_ae_title)
    ae.add_requested_context(Verification)
    with _associate(ae, host, port, called_ae_title) as association:
        if not association.is_established:
            return False
        status = association.send_c_echo()
        return bool(status) and status.Status == 0x0000


def send_instances(
    datasets: Sequence[Dataset],
    host: str,
    port: int,
    *,
    called_ae_title: str,
    calling_ae_title: str = "MEDR1",
) -> Iterator[int]:
    """Send data sets, each in its own transfer syntax, over one association; yields each status.

    Raises
    ------
    TransientError
        The peer accepts no association, or the association broke.
    """
    ae = AE(calling_ae_title)
    wanted = {
        (str(dataset.SOPClassUID), str(dataset.file_meta.TransferSyntaxUID)) for dataset in datasets
    }
    ae.requested_contexts = [build_context(*pair) for pair in sorted(wanted)]
    ae.dimse_timeout = ae.network_timeout = STORE_PATIENCE_S
    with _associate(ae, host, port, called_ae_title) as association:
        if not association.is_established:
            raise TransientError(f"no association with {called_ae_title} on {host}:{port}")
        _give_back_stolen_responses(association)
        for dataset in datasets:
            status = association.send_c_store(dataset)
            if "Status" not in status:
                raise TransientError(f"the association with {called_ae_title} broke")
            yield status.Status


@contextmanager
def _associate(
    ae: AE, host: str, port: int, called_ae_title: str
) -> Generator[Association, None, None]:
    """Ask for an association; in the end it is released and its connection closed.

    pynetdicom 3.0.4 leaves the socket open when the peer was the first to close the connection, as
    one that rejects does.
    """
    connections: list[socket.socket] = []

    def keep(event: evt.Event) -> None:
        connections.append(event.assoc.dul.socket.socket)

    handlers = [(evt.EVT_CONN_OPEN, keep)]
    association = ae.associate(host, port, ae_title=called_ae_title, evt_handlers=handlers)
    try:
        yield association
    finally:
        association.release()  # nothing, unless it is established
        for connection in connections:
            connection.close()


def _give_back_stolen_responses(association: Association) -> None:
    """Keep a requestor's own thread from swallowing the response that a sender waits for.

    pynetdicom 3.0.4 pauses that thread (`_run_reactor`) while a message is sent, but a send that
    follows another at once can find it still marked as paused and go on while it runs; it then
    takes the response off the queue and serves it as a request, and the sender waits for ever. A
    requestor is sent no requests here, so whatever its thread finds belongs to a sender.
    """

    def give_back(message: object, context_id: int) -> None:
        association.dimse.msg_queue.put((context_id, message))

    association._serve_request = give_back
