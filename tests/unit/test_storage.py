import errno
import hashlib
import os
import stat
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from medr1_pacs.errors import PictureLost, StorageFull, StorageUnavailable
from medr1_pacs.storage.instances import InstanceStore, StoredName


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "storage"


def raise_on_fsync(monkeypatch, number):
    def fail(descriptor):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)


def test_what_was_put_is_on_disk_to_the_byte(store):
    stored = store.put([b"head", memoryview(b"body")])

    assert store.incoming_path(stored).read_bytes() == b"headbody"


def test_a_name_says_when_and_over_which_association_an_instance_came(store):
    before = datetime.now(UTC)

    stored = store.put([b"x"], association_token="abc123")

    assert before <= stored.received_at <= datetime.now(UTC)
    assert stored.association_token == "abc123"


def test_instances_lie_by_the_day_they_were_received(store):
    stored = StoredName(f"{1_767_225_599_000_000_000}-0-0.dcm")  # 2025-12-31 23:59:59 UTC

    assert stored.day_folder == "2025/12/31"
    assert store.instance_path(stored).parent.parts[-4:] == ("instances", "2025", "12", "31")


def test_bytes_name_and_folder_are_synced_before_put_returns(store, monkeypatch):
    steps = []
    real_fsync, real_rename = os.fsync, Path.rename

    def fsync(descriptor):
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        steps.append("sync folder" if is_folder else "sync file")
        real_fsync(descriptor)

    def rename(path, target):
        steps.append("rename")
        return real_rename(path, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "rename", rename)
    store.put([b"x"])

    assert steps == ["sync file", "rename", "sync folder"]


def test_the_backlog_is_given_oldest_first(store):
    stored = [store.put([bytes([number])]) for number in range(5)]

    assert store.incoming(3) == stored[:3]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_named_and_leaves_nothing_behind(store, folder, monkeypatch, number):
    raise_on_fsync(monkeypatch, number)

    with pytest.raises(StorageFull):
        store.put([b"x" * 1000])

    assert files_in(folder) == []


def test_a_broken_disk_is_named_and_leaves_nothing_behind(store, folder, monkeypatch):
    raise_on_fsync(monkeypatch, errno.EIO)

    with pytest.raises(StorageUnavailable):
        store.put([b"x"])

    assert files_in(folder) == []


def test_a_sender_that_breaks_off_leaves_nothing_behind(store, folder):
    def parts():
        yield b"half"
        raise ConnectionResetError

    with pytest.raises(StorageUnavailable):
        store.put(parts())

    assert files_in(folder) == []


def test_below_the_reserve_nothing_is_accepted(folder):
    store = InstanceStore(folder, reserve_bytes=1 << 62)

    with pytest.raises(StorageFull, match="MiB are free"):
        store.put([b"x"])


def test_a_full_backlog_refuses_until_it_is_indexed(folder):
    store = InstanceStore(folder, backlog_max=2)
    first, _ = store.put([b"1"]), store.put([b"2"])
    with pytest.raises(StorageFull, match="2 received instances wait"):
        store.put([b"3"])

    store.keep(first)
    store.forget(first)

    # another process indexes: this one counts again after two seconds
    reopened = InstanceStore(folder, backlog_max=2)
    assert reopened.backlog() == 1
    reopened.put([b"3"])


def test_the_backlog_limit_holds_for_senders_at_once(folder):
    store = InstanceStore(folder, backlog_max=20)

    def send():
        for _ in range(10):
            try:
                store.put([b"x"])
            except StorageFull:
                return

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    # each of the four may have been past the check when the limit was reached
    assert 20 <= store.backlog() <= 23


def test_keeping_and_forgetting_twice_does_no_harm(store):
    stored = store.put([b"x"])

    for _ in range(2):
        store.keep(stored)
    for _ in range(2):
        store.forget(stored)

    assert store.instance_path(stored).read_bytes() == b"x"
    assert store.incoming(10) == []


def test_an_instance_has_both_names_until_it_is_forgotten(store):
    stored = store.put([b"x"])

    store.keep(stored)

    assert store.incoming(10) == [stored]
    assert store.incoming_path(stored).samefile(store.instance_path(stored))


def test_an_instance_in_quarantine_keeps_its_bytes(store):
    stored = store.put([b"bad"])

    store.quarantine(stored)
    store.forget(stored)

    assert store.quarantine_path(stored).read_bytes() == b"bad"
    assert list(store.settled()) == [(stored, store.quarantine_path(stored))]


def test_a_discarded_duplicate_is_gone_under_every_name(store, folder):
    stored = store.put([b"x"])
    store.keep(stored)

    store.discard(stored)

    assert files_in(folder) == []


def test_a_kept_instance_can_return_to_the_backlog(store):
    stored = store.put([b"x"])
    store.keep(stored)
    store.forget(stored)

    for _ in range(2):
        store.return_to_incoming(stored, store.instance_path(stored))

    assert store.incoming(10) == [stored]
    assert list(store.settled()) == [(stored, store.instance_path(stored))]


def test_only_old_unfinished_files_are_removed(store, folder):
    unfinished = folder / "incoming" / "1-0-0.abcd.part"
    unfinished.write_bytes(b"half")
    assert store.remove_unfinished() == 0

    os.utime(unfinished, (0, 0))

    assert store.remove_unfinished() == 1
    assert not unfinished.exists()


def test_unfinished_files_are_no_backlog(store, folder):
    (folder / "incoming" / "1-0-0.abcd.part").write_bytes(b"half")

    assert store.incoming(10) == []
    assert store.backlog() == 0


def test_a_picture_is_found_under_its_hash_and_stored_once(pictures, folder):
    png = b"\x89PNG picture"

    names = {pictures.put(png) for _ in range(2)}

    assert names == {hashlib.sha256(png).hexdigest()}
    assert len(files_in(folder)) == 1
    assert pictures.read(names.pop()) == png


def test_a_changed_picture_is_not_shown(pictures):
    png_sha256 = pictures.put(b"\x89PNG picture")
    pictures.path(png_sha256).write_bytes(b"\x89PNG forgery")

    with pytest.raises(PictureLost, match="changed on disk"):
        pictures.read(png_sha256)


def test_a_missing_picture_is_named(pictures):
    with pytest.raises(PictureLost, match="is missing"):
        pictures.read("0" * 64)


def test_a_relative_folder_stays_where_it_was(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = InstanceStore(Path("storage"))
    monkeypatch.chdir("/")

    stored = store.put([b"x"])

    assert store.incoming_path(stored).parent == tmp_path / "storage" / "incoming"
