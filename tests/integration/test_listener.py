import logging
import shutil
import socket
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

import pydicom
import pytest
from factories import dataset_bytes, make_instance, make_uid, read_meta, real_file
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from pynetdicom.sop_class import Verification
from servers import find_program, wait_until

from medr1_pacs.admission import parse_allowed_peers
from medr1_pacs.db.associations import record_associations
from medr1_pacs.db.sessions import Database
from medr1_pacs.db.tables import Association, Instance, QuarantinedInstance
from medr1_pacs.errors import DatabaseUnavailable, SettingInvalid
from medr1_pacs.listener.associations import AssociationLog
from medr1_pacs.listener.server import Listener
from medr1_pacs.storage.instances import InstanceStore

SUCCESS = 0x0000


def sqlite_only(test):
    return pytest.mark.parametrize("site", ["sqlite"], indirect=True)(test)


def data_set_of(path: Path) -> bytes:
    _, offset = read_meta(path)
    return path.read_bytes()[offset:]


def test_an_echo_is_answered(store, listen, associate):
    association = associate(listen(store))

    assert association.send_c_echo().Status == SUCCESS


@pytest.mark.parametrize(
    "syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian]
)
def test_an_acknowledged_instance_is_on_disk_as_it_was_sent(store, listen, associate, syntax):
    ds = make_instance(transfer_syntax_uid=syntax)

    assert associate(listen(store), syntax).send_c_store(ds).Status == SUCCESS

    (stored,) = store.incoming(9)
    meta, _ = read_meta(store.incoming_path(stored))
    assert data_set_of(store.incoming_path(stored)) == dataset_bytes(ds)
    assert (meta.sop_instance_uid, meta.transfer_syntax_uid) == (ds.SOPInstanceUID, syntax)
    assert (meta.calling_ae_title, meta.called_ae_title) == ("SCANNER", "MEDR1")


def test_a_received_instance_is_indexed(store, listen, associate, write_rows, index, rows):
    ds = make_instance()
    associate(listen(store, write_rows)).send_c_store(ds)

    assert index().new == 1

    (instance,) = rows(Instance)
    assert instance.sop_instance_uid == ds.SOPInstanceUID
    wait_until(lambda: rows(Association), "the heartbeat wrote the association")
    assert instance.association_token == rows(Association)[0].token


def test_the_called_ae_title_is_kept(store, listen, associate):
    listener = listen(store, called_ae_titles=frozenset({"LUNG"}))

    associate(listener, called="LUNG").send_c_store(make_instance())

    (stored,) = store.incoming(9)
    assert read_meta(store.incoming_path(stored))[0].called_ae_title == "LUNG"


def test_unknown_private_and_odd_elements_arrive_as_they_were_sent(store, listen, associate):
    ds = make_instance(PatientName="Grün^Äöü", SpecificCharacterSet="ISO_IR 100")
    ds.private_block(0x0099, "TEST", create=True).add_new(0x01, "UN", b"\x00\xff" * 3)

    associate(listen(store)).send_c_store(ds)

    (stored,) = store.incoming(9)
    assert data_set_of(store.incoming_path(stored)) == dataset_bytes(ds)


REAL_FILES = [
    "CT_small.dcm",  # Explicit little endian
    "MR_small_implicit.dcm",
    "MR_small_bigendian.dcm",
    "MR_small_RLE.dcm",
    "SC_rgb_jpeg_dcmtk.dcm",  # JPEG Baseline
    "JPEG-lossy.dcm",  # JPEG Extended
    "JPEG2000.dcm",
    "JPEGLSNearLossless_16.dcm",
    "SC_jpeg_no_color_transform.dcm",
    "MR_small_jpeg_ls_lossless.dcm",
    "GDCMJ2K_TextGBR.dcm",  # JPEG 2000 Lossless
    "rtplan.dcm",
]


def test_storescu_sends_real_files_of_many_syntaxes(store, listen, tmp_path):
    listener = listen(store)
    storescu = find_program("storescu", "usr/bin")
    files = [real_file(name) for name in REAL_FILES]

    for path in files:
        done = subprocess.run(
            [
                storescu,
                "-aec",
                "MEDR1",
                "-R",
                *_propose(path),
                "127.0.0.1",
                str(listener.port),
                str(path),
            ],
            env={"TCP_NODELAY": "1", "PATH": "/usr/bin"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, (path.name, done.stdout + done.stderr)

    received = [store.incoming_path(stored) for stored in store.incoming(99)]
    assert len(received) == len(files)
    for sent, got in zip(files, received, strict=True):
        assert read_meta(got)[0].transfer_syntax_uid == (
            pydicom.dcmread(sent, stop_before_pixels=True).file_meta.TransferSyntaxUID
        )
        assert pydicom.dcmread(got).get("PixelData") == pydicom.dcmread(sent).get("PixelData")


def _propose(path: Path) -> list[str]:
    """Return DCMTK's option that proposes a file's transfer syntax."""
    options = {
        "1.2.840.10008.1.2": "-xi",
        "1.2.840.10008.1.2.2": "-xb",
        "1.2.840.10008.1.2.5": "-xr",
        "1.2.840.10008.1.2.4.50": "-xy",
        "1.2.840.10008.1.2.4.51": "-xx",
        "1.2.840.10008.1.2.4.57": "-xs",
        "1.2.840.10008.1.2.4.70": "-xs",
        "1.2.840.10008.1.2.4.80": "-xt",
        "1.2.840.10008.1.2.4.81": "-xu",
        "1.2.840.10008.1.2.4.90": "-xv",
        "1.2.840.10008.1.2.4.91": "-xw",
    }
    syntax = pydicom.dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID
    return [options.get(syntax, "-xe")]


def test_dcmsend_sends_a_folder_over_one_association(
    store, listen, tmp_path, write_rows, index, rows
):
    listener, dcmsend = listen(store, write_rows), find_program("dcmsend", "usr/bin")
    folder = tmp_path / "to send"
    folder.mkdir()
    for name in ("CT_small.dcm", "MR_small.dcm", "MR_small_RLE.dcm", "JPEG2000.dcm"):
        shutil.copy(real_file(name), folder)

    done = subprocess.run(
        [
            dcmsend,
            "-aec",
            "MEDR1",
            "+sd",
            "--decompress-never",
            "127.0.0.1",
            str(listener.port),
            str(folder),
        ],
        env={"TCP_NODELAY": "1", "PATH": "/usr/bin"},
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert index().total == 4
    assert len(rows(Instance)) + len(rows(QuarantinedInstance)) == 4
    wait_until(lambda: [row.instances for row in rows(Association)] == [4], "all are counted")


def test_echoscu_is_answered(store, listen):
    listener = listen(store)

    done = subprocess.run(
        [find_program("echoscu", "usr/bin"), "-aec", "MEDR1", "127.0.0.1", str(listener.port)],
        check=False,
    )

    assert done.returncode == 0


def test_deflated_is_not_accepted(store, listen, associate):
    association = associate(listen(store), DeflatedExplicitVRLittleEndian)

    assert [context.abstract_syntax for context in association.accepted_contexts] == [Verification]


def test_a_sender_that_offers_deflated_among_others_gets_another(store, listen, associate):
    association = associate(listen(store), [DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian])

    accepted = {c.abstract_syntax: c.transfer_syntax for c in association.accepted_contexts}
    assert accepted[CTImageStorage] == [ImplicitVRLittleEndian]


def test_a_peer_that_is_not_allowed_is_rejected(store, listen, associate, rejection):
    listener = listen(store, peers=parse_allowed_peers(["PACS1@127.0.0.1"]))

    # PS3.8 Table 9-21: rejected-permanent, service user, calling AE title not recognized
    assert rejection(listener, "STRANGER") == (1, 1, 3)
    assert associate(listener, ae_title="PACS1").is_established
    assert store.incoming(1) == []


def test_below_the_disk_reserve_nothing_is_kept_and_the_sender_is_told(tmp_path, listen, associate):
    store = InstanceStore(tmp_path / "storage", reserve_bytes=1 << 62)

    status = associate(listen(store)).send_c_store(make_instance())

    assert status.Status == 0xA700
    assert "free" in status.ErrorComment
    assert store.incoming(1) == []


def test_a_full_backlog_refuses_and_keeps_what_was_acknowledged(tmp_path, listen, associate):
    store = InstanceStore(tmp_path / "storage", backlog_max=2)
    association = associate(listen(store))

    statuses = [association.send_c_store(make_instance()).Status for _ in range(4)]

    assert statuses == [SUCCESS, SUCCESS, 0xA700, 0xA700]
    assert len(store.incoming(9)) == 2


def test_a_sync_that_fails_is_no_success(tmp_path, listen, associate, monkeypatch):
    store = InstanceStore(tmp_path / "storage")
    association = associate(listen(store))

    def fail(descriptor):
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", fail)
        assert association.send_c_store(make_instance()).Status == 0xA700
    assert store.incoming(1) == []
    assert association.send_c_store(make_instance()).Status == SUCCESS


def test_an_error_nobody_foresaw_is_no_success(store, listen, associate, monkeypatch):
    monkeypatch.setattr(InstanceStore, "put", lambda *_, **__: 1 / 0)

    assert associate(listen(store)).send_c_store(make_instance()).Status == 0xC211


def test_a_command_without_a_usable_uid_cannot_be_understood(store, listen, associate, monkeypatch):
    monkeypatch.setattr("pydicom.config.settings.reading_validation_mode", 0)
    association = associate(listen(store))

    status = send_under(association, make_instance(), "1.2.3x")

    assert status == 0xC000
    assert store.incoming(1) == []


def send_under(association, ds, uid):
    """Send a data set whose command names another SOP Instance UID; returns the status."""
    from io import BytesIO

    from pynetdicom.dimse_primitives import C_STORE

    request = C_STORE()
    request.MessageID = 1
    request.AffectedSOPClassUID = CTImageStorage
    request._affected_sop_instance_uid = pydicom.uid.UID(uid, 0)
    request.Priority = 2
    request.DataSet = BytesIO(dataset_bytes(ds))
    context = next(c for c in association.accepted_contexts if c.abstract_syntax == CTImageStorage)
    association._reactor_checkpoint.clear()
    association.dimse.send_msg(request, context.context_id)
    _, response = association.dimse.get_msg(block=True)
    association._reactor_checkpoint.set()
    return response.Status


def test_a_data_set_under_another_uid_is_acknowledged_and_quarantined(
    store, listen, associate, index, rows
):
    assert send_under(associate(listen(store)), make_instance(), make_uid()) == SUCCESS

    assert index().quarantined == 1
    assert rows(QuarantinedInstance)[0].reason == "uid_mismatch"


def test_while_the_database_is_away_instances_are_acknowledged_and_kept(
    store, listen, associate, index, rows
):
    away = Database("postgresql+psycopg://medr1@127.0.0.1:1/nowhere")

    def write_rows(records):
        with away.write() as session:
            record_associations(session, records, datetime.now(UTC))

    association = associate(listen(store, write_rows))
    statuses = [association.send_c_store(make_instance()).Status for _ in range(5)]
    away.dispose()

    assert statuses == [SUCCESS] * 5
    assert index().new == 5
    assert len(rows(Instance)) == 5


def test_an_association_is_recorded_while_it_is_open_and_when_it_ends(
    store, listen, associate, write_rows, rows
):
    association = associate(listen(store, write_rows))
    association.send_c_store(make_instance())
    wait_until(lambda: [row.instances for row in rows(Association)] == [1], "it is recorded")
    (row,) = rows(Association)
    assert (row.calling_ae_title, row.called_ae_title, row.peer_address, row.closed_at) == (
        "SCANNER",
        "MEDR1",
        "127.0.0.1",
        None,
    )
    wait_until(lambda: rows(Association)[0].heartbeat_at > row.heartbeat_at, "the heart beats")

    association.release()

    wait_until(lambda: rows(Association)[0].closed_at, "it is closed")
    assert rows(Association)[0].ending == "released"


@pytest.mark.parametrize("how", ["aborted", "lost"])
@sqlite_only
def test_an_association_that_breaks_off_is_closed_with_its_ending(
    store, listen, associate, write_rows, rows, how
):
    association = associate(listen(store, write_rows))
    association.send_c_store(make_instance())
    wait_until(lambda: rows(Association), "it is recorded")

    if how == "aborted":
        association.abort()
    else:
        association.dul.socket.socket.shutdown(socket.SHUT_RDWR)

    wait_until(lambda: rows(Association)[0].closed_at, "it is closed")
    assert rows(Association)[0].ending == how


@sqlite_only
def test_associations_of_an_outage_are_recorded_when_the_database_is_back(
    store, listen, associate, write_rows, rows
):
    outages = [DatabaseUnavailable("away"), RuntimeError("a table is missing"), None]

    def sometimes(records):
        if outages and (outage := outages.pop(0)):
            raise outage
        write_rows(records)

    association = associate(listen(store, sometimes))
    association.send_c_store(make_instance())
    association.release()

    wait_until(lambda: [row.ending for row in rows(Association)] == ["released"], "it is recorded")


@sqlite_only
def test_an_association_that_brought_nothing_is_not_worth_a_row(
    store, listen, associate, write_rows, rows
):
    listener = listen(store, write_rows)
    associate(listener).send_c_echo()
    associate(listener).send_c_store(make_instance())

    wait_until(lambda: rows(Association), "the other one is recorded")
    assert [row.instances for row in rows(Association)] == [1]


@sqlite_only
def test_what_is_open_is_recorded_as_closed_when_the_listener_stops(
    store, listen, associate, write_rows, rows
):
    listener = Listener(
        store, AssociationLog(write_rows), ae_title="MEDR1", host="127.0.0.1", port=0
    )
    with listener:
        associate(listener).send_c_store(make_instance())
        wait_until(lambda: rows(Association), "it is recorded")

    assert rows(Association)[0].ending == "aborted"


def test_a_port_in_use_is_named_with_the_remedy(store, listen):
    listener = listen(store)

    with pytest.raises(SettingInvalid, match=rf"port {listener.port}.*MEDR1_DICOM_PORT"):
        listen(store, port=listener.port)


def test_an_address_of_another_machine_is_named(store, listen):
    with pytest.raises(SettingInvalid, match=r"cannot listen on 192\.0\.2\.1"):
        listen(store, host="192.0.2.1")


def test_a_silent_association_is_aborted(store, listen, associate):
    association = associate(listen(store, association_idle_s=0.3))

    wait_until(lambda: association.is_aborted or not association.is_established, "it is aborted")


def test_senders_at_once_lose_nothing(store, listen, associate):
    listener = listen(store)
    associations = [associate(listener) for _ in range(4)]

    sent = set()
    for association in associations * 5:
        ds = make_instance()
        assert association.send_c_store(ds).Status == SUCCESS
        sent.add(ds.SOPInstanceUID)

    metas = [read_meta(store.incoming_path(stored))[0] for stored in store.incoming(99)]
    assert {meta.sop_instance_uid for meta in metas} == sent


def test_no_log_record_of_receiving_names_a_patient(store, listen, associate, caplog):
    ds = make_instance(PatientName="Canary^Tweety", PatientID="CANARY", StudyDate="CANARYDATE")

    with caplog.at_level(logging.DEBUG, "medr1_pacs"):
        assert associate(listen(store)).send_c_store(ds).Status == SUCCESS
        send_under(associate(listen(store)), ds, "not a uid")

    ours = [record for record in caplog.records if record.name.startswith("medr1_pacs")]
    assert ours
    assert [record for record in ours if "canary" in str(vars(record)).lower()] == []


def test_the_listener_can_be_stopped_while_it_receives(store, listen, associate):
    listener = Listener(
        store, AssociationLog(lambda rows: None), ae_title="MEDR1", host="127.0.0.1", port=0
    )
    with listener:
        association = associate(listener)
        association.send_c_store(make_instance())
        started = time.monotonic()

    assert time.monotonic() - started < 10
    assert len(store.incoming(9)) == 1
