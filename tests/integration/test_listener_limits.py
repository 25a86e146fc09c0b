"""Nobody who reaches the port can close it: what a connection, a PDU and a message may cost."""

from __future__ import annotations

import socket
import struct
import threading
import time
from contextlib import ExitStack
from io import BytesIO

import pytest
from factories import dataset_bytes, make_instance
from pynetdicom import AE, evt
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.sop_class import Verification
from servers import wait_until

from medr1_pacs.admission import parse_allowed_peers
from medr1_pacs.db.tables import Association
from medr1_pacs.listener import acceptor, server
from medr1_pacs.listener import associations as association_log
from medr1_pacs.listener.associations import AssociationLog
from medr1_pacs.listener.messages import LimitedBytes
from medr1_pacs.listener.server import Listener
from medr1_pacs.storage.instances import InstanceStore

SUCCESS = 0x0000
LISTED, UNLISTED = "127.0.0.1", "127.0.0.2"
HALF_A_HEADER = b"\x01\x00\x00"
FOUR_GIB = struct.pack(">BxL", 0x01, 0xFFFFFFFF)


@pytest.fixture
def connect():
    """Open bare connections from an address of this machine."""
    with ExitStack() as connections:

        def connect(listener, source=LISTED, sending=b""):
            address = ("127.0.0.1", listener.port)
            connection = socket.create_connection(address, 5, source_address=(source, 0))
            connections.enter_context(connection)
            if sending:
                connection.sendall(sending)
            return connection

        yield connect


def read_to_end(connection) -> bytes:
    """Return what the listener sent before it closed."""
    received = b""
    try:
        while data := connection.recv(4096):
            received += data
    except ConnectionResetError:
        pass
    return received


def is_open(connection) -> bool:
    connection.setblocking(False)
    try:
        return bool(connection.recv(1))
    except BlockingIOError:
        return True
    except ConnectionResetError:
        return False


def allow(*lines):
    return {"peers": parse_allowed_peers(lines or [f"*@{LISTED}"])}


def test_a_connection_from_an_address_of_no_line_is_closed_at_once(store, listen, connect, caplog):
    listener = listen(store, **allow())

    assert read_to_end(connect(listener, UNLISTED)) == b""
    assert is_open(connect(listener, LISTED))
    (record,) = [r for r in caplog.records if getattr(r, "action", "") == "reject"]
    assert record.peer_address == UNLISTED


def test_a_flood_of_unlisted_connections_is_a_line_a_second(store, listen, connect, caplog):
    listener = listen(store, **allow())

    for _ in range(100):
        read_to_end(connect(listener, UNLISTED))
    wait_until(lambda: sum(getattr(r, "count", 0) for r in caplog.records) == 100, "all are told")

    assert len([r for r in caplog.records if getattr(r, "action", "") == "reject"]) <= 5


def test_connections_without_an_association_hold_no_slot(store, listen, connect, associate):
    listener = listen(store, max_associations=1)
    connections = [connect(listener, sending=data) for data in (b"", HALF_A_HEADER) * 3]

    association = associate(listener)

    assert association.send_c_echo().Status == SUCCESS
    assert association.send_c_store(make_instance()).Status == SUCCESS
    assert all(is_open(connection) for connection in connections)


def test_an_association_beyond_the_limit_is_rejected_for_the_moment(
    store, listen, associate, rejection
):
    listener = listen(store, max_associations=1)
    first = associate(listener)

    # PS3.8 Table 9-21: rejected-transient, presentation related, local-limit-exceeded
    assert rejection(listener) == (2, 3, 2)
    first.release()
    wait_until(lambda: rejection(listener) is None, "the slot is free again")


def test_as_many_associations_as_the_setting_says_are_open_at_once(store, listen, associate):
    listener = listen(store, max_associations=13)  # pynetdicom's own default is ten

    assert all(associate(listener).is_established for _ in range(13))


def test_a_connection_that_asks_for_nothing_is_closed(store, listen, connect, monkeypatch):
    monkeypatch.setattr(acceptor, "REQUEST_MAX_S", 0.2)
    listener = listen(store)
    connections = [connect(listener, sending=data) for data in (b"", HALF_A_HEADER)]

    for connection in connections:
        assert read_to_end(connection) == b""


def test_of_too_many_connections_the_oldest_is_closed(store, listen, connect, monkeypatch):
    monkeypatch.setattr(acceptor, "WAITING_MAX", 2)
    listener = listen(store)

    oldest, *newer = [connect(listener, sending=HALF_A_HEADER) for _ in range(3)]

    assert read_to_end(oldest) == b""
    assert all(is_open(connection) for connection in newer)


@pytest.mark.parametrize(
    ("first_pdu", "reason"),
    [
        (FOUR_GIB, 0x06),  # invalid PDU parameter value
        (b"GET / HTTP/1.1\r\n\r\n"[:6], 0x01),  # unrecognized PDU
        (struct.pack(">BxL", 0x04, 100), 0x02),  # unexpected PDU
        (struct.pack(">BxL", 0x01, 60) + bytes(60), 0x06),  # no room for AE titles
    ],
)
def test_a_first_pdu_that_is_no_request_of_a_legal_length_is_refused(
    store, listen, connect, first_pdu, reason
):
    answer = read_to_end(connect(listen(store), sending=first_pdu))

    assert answer == bytes([7, 0, 0, 0, 0, 4, 0, 0, 2, reason])  # A-ABORT of the provider


def test_a_request_that_cannot_be_decoded_holds_no_slot(store, listen, connect, associate):
    listener = listen(store, max_associations=1)
    fixed = struct.pack(">HH16s16s32x", 1, 0, b"MEDR1".ljust(16), b"SCANNER".ljust(16))
    request = struct.pack(">BxL", 0x01, len(fixed) + 8) + fixed + b"\x20\x00\xff\xff" + bytes(4)

    assert read_to_end(connect(listener, sending=request)).startswith(b"\x07")  # A-ABORT
    wait_until(lambda: associate(listener).is_established, "the slot is free", timeout_s=2)


@pytest.mark.parametrize("bytes_at_once", [1, 7, 100])
def test_a_request_that_comes_in_pieces_is_served(store, listen, associate, bytes_at_once):
    listener = listen(store)
    with socket.create_server(("127.0.0.1", 0)) as relay:
        threading.Thread(target=relay_slowly, args=(relay, listener.port, bytes_at_once)).start()
        ae = AE("SCANNER")
        ae.add_requested_context(Verification)
        association = ae.associate(*relay.getsockname(), ae_title="MEDR1")

        assert association.send_c_echo().Status == SUCCESS
        association.release()


def relay_slowly(relay, port, bytes_at_once):
    """Pass one connection on, the first 200 bytes in pieces."""
    inward, _ = relay.accept()
    outward = socket.create_connection(("127.0.0.1", port))
    outward.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def back():
        while data := outward.recv(4096):
            inward.sendall(data)

    with inward, outward:
        answering = threading.Thread(target=back)
        answering.start()
        sent = 0
        while data := inward.recv(bytes_at_once if sent < 200 else 4096):
            outward.sendall(data)
            sent += len(data)
        outward.shutdown(socket.SHUT_WR)
        answering.join()


@pytest.mark.parametrize(
    "header",
    [
        struct.pack(">BxL", 0x04, 0xFFFFFFFF),
        struct.pack(">BxL", 0x04, 262_144 + 7),
        struct.pack(">BxL", 0x05, 1 << 17),
    ],
)
def test_a_pdu_larger_than_was_offered_aborts_the_association(
    store, listen, associate, caplog, header
):
    listener = listen(store)
    association = associate(listener)
    association.send_c_store(make_instance())

    received = []
    association.bind(evt.EVT_PDU_RECV, lambda event: received.append(event.pdu))

    association.dul.socket.socket.sendall(header)

    wait_until(lambda: association.is_aborted, "it is aborted")
    # PS3.8 Table 9-26: service provider, invalid PDU parameter value
    assert [(pdu.source, pdu.reason_diagnostic) for pdu in received] == [(2, 6)]
    (record,) = [r for r in caplog.records if getattr(r, "action", "") == "abort"]
    assert "is the most" in record.message
    assert len(store.incoming(9)) == 1


@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
def test_an_association_that_broke_a_limit_is_recorded_as_aborted(
    store, listen, associate, write_rows, rows
):
    association = associate(listen(store, write_rows))
    association.send_c_store(make_instance())
    association.dul.socket.socket.sendall(struct.pack(">BxL", 0x04, 0xFFFFFFFF))

    wait_until(lambda: [row.ending for row in rows(Association)] == ["aborted"], "it is closed")


@pytest.mark.parametrize("sent", [b"\x04\x00\x00", struct.pack(">BxL", 0x04, 1000) + bytes(10)])
def test_half_a_pdu_does_not_hold_an_association_open(store, listen, associate, sent):
    listener = listen(store, association_idle_s=0.5)
    threads = threading.active_count()
    association = associate(listener)
    association.dul.socket.socket.sendall(sent)

    wait_until(lambda: not association.is_established, "the listener ended it", timeout_s=10)
    wait_until(lambda: threading.active_count() <= threads, "its threads ended", timeout_s=10)


def test_an_instance_beyond_the_limit_is_refused_and_the_next_is_kept(store, listen, associate):
    association = associate(listen(store, instance_max_bytes=1 << 20))
    large = make_instance(Rows=1024, Columns=1024, PixelData=bytes(2 << 20))

    refused = association.send_c_store(large)

    assert refused.Status == 0xC001
    assert "MEDR1_INSTANCE_MAX_MB (1 MiB)" in refused.ErrorComment
    assert store.incoming(9) == []
    assert association.send_c_store(make_instance()).Status == SUCCESS
    assert len(store.incoming(9)) == 1


def test_of_an_instance_beyond_the_limit_nothing_is_kept_in_memory():
    collected = LimitedBytes(100)
    for _ in range(1000):
        collected.write(bytes(30))

    assert collected.is_exceeded
    assert len(collected.getbuffer()) == 0


def send_fragment(association, control: int, data: bytes) -> None:
    """Send one P-DATA-TF with one PDV (PS3.8 9.3.5.1)."""
    pdv = struct.pack(">LBB", len(data) + 2, 1, control) + data
    association.dul.socket.socket.sendall(struct.pack(">BxL", 0x04, len(pdv)) + pdv)


def test_a_command_without_an_end_aborts_the_association(store, listen, associate):
    association = associate(listen(store))

    for _ in range(3):
        send_fragment(association, 0x01, bytes(30_000))
    send_fragment(association, 0x03, b"")

    wait_until(lambda: association.is_aborted, "it is aborted")


def test_a_requestor_that_waits_for_no_response_is_read_no_faster_than_is_stored(
    store, listen, associate, monkeypatch
):
    go_on, put = threading.Event(), InstanceStore.put

    def put_slowly(*arguments, **keywords):
        assert go_on.wait(30)
        return put(*arguments, **keywords)

    monkeypatch.setattr(InstanceStore, "put", put_slowly)
    listener = listen(store)
    association = associate(listener)
    for message_id in range(1, 6):
        send_without_waiting(association, message_id)
    time.sleep(0.5)
    (accepted,) = [t for t in threading.enumerate() if getattr(t, "is_acceptor", False)]
    queued = accepted.dimse.msg_queue.qsize()
    go_on.set()

    assert queued == 1
    wait_until(lambda: len(store.incoming(9)) == 5, "all are stored")


def send_without_waiting(association, message_id):
    ds = make_instance()
    request = C_STORE()
    request.MessageID, request.Priority = message_id, 2
    request.AffectedSOPClassUID = ds.SOPClassUID
    request.AffectedSOPInstanceUID = ds.SOPInstanceUID
    request.DataSet = BytesIO(dataset_bytes(ds))
    context = next(c for c in association.accepted_contexts if c.abstract_syntax == ds.SOPClassUID)
    association.dimse.send_msg(request, context.context_id)


@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
def test_whatever_is_half_open_the_listener_stops_and_writes_its_rows(
    store, associate, connect, write_rows, rows
):
    listener = Listener(
        store, AssociationLog(write_rows), ae_title="MEDR1", host="127.0.0.1", port=0
    )
    with listener:
        for data in (b"", HALF_A_HEADER, struct.pack(">BxL", 0x01, 1000) + bytes(10)):
            connect(listener, sending=data)
        stalled, closed = associate(listener), associate(listener)
        for association in (stalled, closed):
            association.send_c_store(make_instance())
        closed.release()
        stalled.dul.socket.socket.sendall(b"\x04\x00\x00")
        time.sleep(0.2)
        started = time.monotonic()

    assert time.monotonic() - started < 8
    assert sorted(row.ending for row in rows(Association)) == ["aborted", "released"]


def test_a_database_that_hangs_does_not_keep_the_listener_open(store, associate, monkeypatch):
    monkeypatch.setattr(association_log, "ASSOCIATION_HEARTBEAT_S", 0.05)
    hanging, go_on = threading.Event(), threading.Event()

    def hang(_rows):
        hanging.set()
        go_on.wait(30)

    with Listener(store, AssociationLog(hang), ae_title="MEDR1", host="127.0.0.1", port=0) as one:
        associate(one).send_c_store(make_instance())
        assert hanging.wait(10)
        started = time.monotonic()
    stopped_s = time.monotonic() - started
    go_on.set()

    assert stopped_s < 8


def test_an_error_while_admitting_admits_nobody(store, listen, associate, monkeypatch):
    listener = listen(store)
    with monkeypatch.context() as patch:
        patch.setattr(server, "find_rejection", lambda *_, **__: 1 / 0)

        assert not associate(listener).is_established
    assert associate(listener).is_established


@pytest.mark.parametrize(
    ("source", "calling", "called", "answer"),
    [
        (LISTED, "PACS1", "LUNG", None),
        (LISTED, "PACS1", "MEDR1", (1, 1, 7)),  # known, and not one of its own
        (LISTED, "PACS1", "WHATEVER", (1, 1, 7)),
        (LISTED, "STRANGER", "LUNG", (1, 1, 3)),
        ("127.0.0.3", "PACS2", "MEDR1", None),
        ("127.0.0.3", "PACS2", "LUNG", None),
        ("127.0.0.3", "PACS2", "WHATEVER", (1, 1, 7)),
    ],
)
def test_a_peer_is_bound_to_what_it_may_call(
    store, listen, associate, rejection, source, calling, called, answer
):
    listener = listen(
        store,
        **allow(f"PACS1@{LISTED}->LUNG+HEART", "PACS2@127.0.0.3"),
        called_ae_titles=frozenset({"LUNG", "HEART"}),
    )

    assert rejection(listener, calling, called, source) == answer
    if answer is None:
        association = associate(listener, ae_title=calling, called=called, source=source)
        assert association.send_c_echo().Status == SUCCESS


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
def test_on_an_ipv6_socket_an_ipv4_peer_meets_its_ipv4_line(store, listen, associate, connect):
    listener = listen(store, host="::", **allow())

    assert associate(listener).send_c_echo().Status == SUCCESS
    assert read_to_end(connect(listener, UNLISTED)) == b""


def test_the_accept_loop_turns_while_nothing_happens(store, listen):
    listener = listen(store)

    time.sleep(1.2)

    assert listener.accept_loop_age_s < 1.0


def test_an_accept_loop_that_hangs_grows_old(store, listen, connect, monkeypatch):
    go_on = threading.Event()
    monkeypatch.setattr(server, "may_connect", lambda *_: go_on.wait(10))
    listener = listen(store)
    connect(listener)

    wait_until(lambda: listener.accept_loop_age_s > 1.0, "it grows old")
    go_on.set()
    wait_until(lambda: listener.accept_loop_age_s < 1.0, "it turns again")
