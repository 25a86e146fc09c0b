"""One file of the backlog that cannot be read, moved or named holds up itself alone."""

from __future__ import annotations

import os
import struct
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest
from factories import make_instance, make_uid, part10_bytes, put_instance
from sqlalchemy import update

from medr1_pacs.db.set_aside import list_set_aside
from medr1_pacs.db.tables import Instance, QuarantinedInstance, Study, StudyVersion
from medr1_pacs.errors import StorageUnavailable
from medr1_pacs.parsing import HeaderReader
from medr1_pacs.records.words import StudyState
from medr1_pacs.steps import indexing
from medr1_pacs.steps.completing import complete_studies
from medr1_pacs.steps.setting_aside import tell_set_aside

pytestmark = pytest.mark.parametrize("site", ["sqlite"], indirect=True)


@pytest.fixture
def refuse_links(monkeypatch):
    """Refuse hard links as `fs.protected_hardlinks` does for another user's file."""

    def refuse(source, target):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)


@pytest.fixture
def refuse_reads(store, monkeypatch):
    """Let reading some files of the backlog fail as a bad sector does."""
    bad = set()
    read = indexing.read_received

    def read_unless_bad(path, stored, *arguments, **options):
        if stored in bad:
            raise OSError(5, "Input/output error")
        return read(path, stored, *arguments, **options)

    monkeypatch.setattr(indexing, "read_received", read_unless_bad)
    return bad


def test_a_file_that_cannot_be_linked_is_copied(store, index, rows, refuse_links):
    stored = put_instance(store, make_instance())

    assert index().new == 1

    assert [row.stored_name for row in rows(Instance)] == [stored.name]
    store.verify(stored, rows(Instance)[0].sha256)
    assert store.incoming(1) == []


def test_a_file_that_nobody_received_stays_and_stops_nothing(store, index, rows, tmp_path):
    (tmp_path / "storage/incoming/scan1.dcm").write_bytes(part10_bytes(make_instance()))
    put_instance(store, make_instance())

    assert index().new == 1

    assert (tmp_path / "storage/incoming/scan1.dcm").exists()
    assert len(rows(Instance)) == 1


def test_a_file_that_nobody_received_is_told_by_its_inode_and_not_by_its_name(
    store, database, tmp_path
):
    foreign = tmp_path / "storage/incoming/Doe^Jane.dcm"
    foreign.write_bytes(b"x")

    tell_set_aside(database, store, [])

    with database.read() as session:
        (told,) = list_set_aside(session)
    assert told.name == f"inode {foreign.stat().st_ino}"
    assert "Doe" not in told.reason


def test_a_hundred_files_that_cannot_be_read_leave_room_for_the_next(
    store, index, indexer, rows, refuse_reads
):
    refuse_reads.update(put_instance(store, make_instance()) for _ in range(100))
    good = put_instance(store, make_instance())

    while index().total == 0 and not rows(Instance):
        pass

    assert [row.stored_name for row in rows(Instance)] == [good.name]
    assert len(indexer.set_aside) == 100


def test_a_file_that_was_set_aside_is_tried_again(store, index, indexer, rows, refuse_reads):
    stored = put_instance(store, make_instance())
    refuse_reads.add(stored)
    index()
    assert indexer.set_aside.keys() == {stored.name}

    refuse_reads.clear()
    assert index().total == 0  # not yet
    indexer._retry_at[stored.name] = 0.0
    assert index().new == 1

    assert indexer.set_aside == {}


def test_a_file_that_was_set_aside_and_is_gone_is_forgotten(store, index, indexer, refuse_reads):
    stored = put_instance(store, make_instance())
    refuse_reads.add(stored)
    index()

    store.forget(stored)
    indexer._retry_at[stored.name] = 0.0
    index()

    assert indexer.set_aside == {}


def test_a_file_that_the_disk_does_not_even_describe_holds_up_no_other(
    store, index, indexer, rows, refuse_reads, monkeypatch
):
    bad, good = put_instance(store, make_instance()), None
    refuse_reads.add(bad)
    index()
    indexer._retry_at[bad.name] = 0.0
    real = Path.lstat

    def lstat(path):
        if path.name == bad.name:
            raise OSError(5, "Input/output error")
        return real(path)

    monkeypatch.setattr(Path, "lstat", lstat)
    good = put_instance(store, make_instance())
    index()

    assert [row.stored_name for row in rows(Instance)] == [good.name]


def test_a_header_that_takes_too_long_is_set_aside_and_then_quarantined(store, indexer, rows):
    stored = put_instance(store, make_instance())
    with HeaderReader(timeout_s=0.3) as headers:
        real = headers._child._started

        def suspended():
            process = real()
            psutil.Process(process.pid).suspend()
            return process

        headers._child._started = suspended
        slow = replace(indexer, headers=headers)
        assert slow.index().total == 0
        assert "not read in time" in slow.set_aside[stored.name].reason
        slow._retry_at[stored.name] = 0.0
        assert slow.index().quarantined == 1

    assert "ended after 0.3 s" in rows(QuarantinedInstance)[0].detail


def test_what_was_read_is_recorded_before_slow_headers_take_all_the_time(
    store, index, rows, monkeypatch
):
    monkeypatch.setattr(indexing, "READ_S", 0.0)
    for _ in range(3):
        put_instance(store, make_instance())

    assert index().total == 1
    assert len(rows(Instance)) == 1


def test_two_names_of_one_foreign_file_are_told_once(store, database, tmp_path):
    foreign = tmp_path / "storage/incoming/a.txt"
    foreign.write_bytes(b"x")
    os.link(foreign, foreign.with_name("b.txt"))

    tell_set_aside(database, store, [])

    with database.read() as session:
        assert len(list_set_aside(session)) == 1


def test_a_parser_that_was_killed_once_condemns_nothing(store, indexer, rows, monkeypatch):
    put_instance(store, make_instance())
    with HeaderReader() as headers:
        headers._child._started().kill()
        headers._child._process.wait()
        monkeypatch.setattr(
            type(headers._child._process), "poll", lambda process: None, raising=True
        )
        assert replace(indexer, headers=headers).index().new == 1

    assert rows(QuarantinedInstance) == []


def test_a_disk_that_gives_nothing_holds_up_all_and_sets_nothing_aside(
    store, index, indexer, refuse_reads, monkeypatch
):
    refuse_reads.update(put_instance(store, make_instance()) for _ in range(3))

    def fail():
        raise StorageUnavailable("the storage folder cannot be written: Stale file handle")

    monkeypatch.setattr(store, "check_usable", fail)

    with pytest.raises(StorageUnavailable):
        index()
    assert indexer.set_aside == {}


def test_a_long_private_element_is_not_read(store, indexer, rows):
    ds = make_instance()
    block = ds.private_block(0x0011, "SITE", create=True)
    block.add_new(0x01, "OB", bytes(300 << 20))
    put_instance(store, ds)

    with HeaderReader(memory_bytes=450 << 20) as headers:
        assert replace(indexer, headers=headers).index().new == 1

    assert len(rows(Instance)) == 1


def test_bytes_that_kill_the_parser_go_to_quarantine(store, indexer, rows, monkeypatch):
    killing, good = put_instance(store, make_instance(Rows=9)), put_instance(store, make_instance())
    with HeaderReader() as headers:
        headers.read(store.incoming_path(good))
        read = headers._child.ask

        def die(request, understand):
            if killing.name in request["path"]:
                child = psutil.Process(headers._child._started().pid)
                child.suspend()
                threading.Timer(0.1, child.kill).start()
            return read(request, understand)

        monkeypatch.setattr(headers._child, "ask", die)
        assert replace(indexer, headers=headers).index().total == 2

    assert [row.stored_name for row in rows(QuarantinedInstance)] == [killing.name]
    assert "the parser died of SIGKILL" in rows(QuarantinedInstance)[0].detail
    assert [row.stored_name for row in rows(Instance)] == [good.name]


def test_a_header_that_takes_more_memory_than_a_parser_may_have_goes_to_quarantine(
    store, indexer, rows
):
    ds = make_instance(PatientName="x" * 100)
    stored = put_instance(store, ds)
    path = store.incoming_path(stored)
    content = path.read_bytes()
    # A sequence of undefined length that we look for, made of items without end.
    item = struct.pack("<HHI", 0xFFFE, 0xE000, 0)
    head = struct.pack("<HH2sHI", 0x0008, 0x2218, b"SQ", 0, 0xFFFFFFFF)
    start = content.index(struct.pack("<HH", 0x0010, 0x0010))
    path.write_bytes(content[:start] + head + item * 1_000_000)

    with HeaderReader(memory_bytes=330 << 20, timeout_s=120) as headers:
        replace(indexer, headers=headers).index()

    assert [row.stored_name for row in rows(QuarantinedInstance)] == [stored.name]


def test_a_study_waits_ten_quiet_times_for_a_file_of_it_that_was_set_aside(
    store, index, indexer, database, rows, refuse_reads
):
    token = "a" * 16
    put_instance(store, make_instance(), association_token=token)
    bad = put_instance(store, make_instance(), association_token=token)
    put_instance(store, make_instance(StudyInstanceUID=make_uid()), association_token="b" * 16)
    refuse_reads.add(bad)
    index()

    def complete_after(minutes):
        with database.write() as session:
            ago = datetime.now(UTC) - timedelta(minutes=minutes)
            session.execute(update(Study).values(last_received_at=ago))
        complete_studies(database, quiet_s=60, set_aside=indexer.set_aside.values())
        return [row.state for row in rows(Study)]

    assert complete_after(minutes=9) == [StudyState.RECEIVING, StudyState.COMPLETE]
    assert complete_after(minutes=11) == [StudyState.COMPLETE] * 2
    assert sorted(row.missing for row in rows(StudyVersion)) == [
        "",
        f"without 1 set aside: {bad.name}",
    ]


def test_a_class_that_the_command_did_not_announce_goes_to_quarantine(store, index, rows):
    put_instance(store, make_instance(), sop_class_uid="1.2.840.10008.5.1.4.1.1.4")

    index()

    assert "SOPClassUID differs" in rows(QuarantinedInstance)[0].detail
