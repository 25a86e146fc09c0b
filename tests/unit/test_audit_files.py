"""The key of the log, its heads outside of the database, and syslog."""

from __future__ import annotations

import logging
import socket
import stat
from datetime import UTC, datetime

import pytest

from medr1_pacs.audit.signing import SigningKey
from medr1_pacs.errors import AuditFilesUnusable, SettingInvalid
from medr1_pacs.storage.audit_files import (
    HeadsFile,
    SyslogHeads,
    load_signing_key,
    make_signing_key,
    replace_signing_key,
)

KEY = SigningKey.generate("medr1-pacs/test")
NOTE = "medr1-pacs/test\n0\nAAAA\n\n— medr1-pacs/test BBBB\n"
NOW = datetime(2026, 1, 2, tzinfo=UTC)


def test_a_key_is_made_once_and_is_ours_alone(tmp_path):
    path = tmp_path / "audit.key"

    assert make_signing_key(path, KEY) == KEY
    assert make_signing_key(path, SigningKey.generate("medr1-pacs/other")) == KEY
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_key_that_replaces_another_is_ours_alone_and_the_only_one(tmp_path):
    path = tmp_path / "audit.key"
    make_signing_key(path, KEY)
    new = SigningKey.generate(KEY.name)

    replace_signing_key(path, new)

    assert load_signing_key(path) == new
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["audit.key"]


def test_a_missing_key_is_named_with_both_remedies(tmp_path):
    with pytest.raises(SettingInvalid, match=r"is missing.*restore it.*`medr1-pacs audit restart`"):
        load_signing_key(tmp_path / "audit.key")


@pytest.mark.parametrize(
    "content",
    ["", "secret", str(KEY.verifier), str(KEY)[:-3], str(KEY) + "x"],
    ids=["empty", "a word", "a public key", "cut off", "longer"],
)
def test_a_file_that_holds_no_key_is_refused_and_not_quoted(tmp_path, content):
    path = tmp_path / "audit.key"
    path.write_text(content)

    with pytest.raises(SettingInvalid) as raised:
        load_signing_key(path)

    assert content not in str(raised.value) or not content


def test_a_key_is_not_shown_by_itself():
    assert str(KEY) not in repr(KEY)


def test_heads_are_kept_in_their_order(tmp_path):
    heads = HeadsFile(tmp_path / "heads")
    assert heads.read_last() is None
    with heads.lock():
        heads.add(NOTE, NOW)
        heads.add(NOTE.replace("\n0\n", "\n1\n"), NOW)

    assert [head.note.split("\n")[1] for head in heads.iterate()] == ["0", "1"]
    assert heads.read_last().signed_at == NOW.isoformat()


def test_heads_whose_folder_is_missing_are_no_heads_of_an_empty_log(tmp_path):
    with pytest.raises(AuditFilesUnusable, match="its folder is missing"):
        HeadsFile(tmp_path / "away" / "heads").read_last()


def test_heads_that_are_damaged_say_so(tmp_path):
    path = tmp_path / "heads"
    path.write_text("no head\n")

    with pytest.raises(AuditFilesUnusable, match=r"damaged: restore it \(MEDR1_AUDIT_HEADS_FILE\)"):
        HeadsFile(path).read_last()


def test_heads_that_cannot_be_read_say_so(tmp_path):
    (tmp_path / "heads").mkdir()

    with pytest.raises(AuditFilesUnusable, match="cannot be read: Is a directory"):
        list(HeadsFile(tmp_path / "heads").iterate())


def test_heads_that_are_missing_are_none_yet(tmp_path):
    assert list(HeadsFile(tmp_path / "heads").iterate()) == []


def test_a_key_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(SettingInvalid, match=r"the key of the audit log cannot be read"):
        load_signing_key(tmp_path)


def test_a_head_is_sent_to_syslog_in_one_line():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(5)
        SyslogHeads(f"127.0.0.1:{server.getsockname()[1]}")(NOTE)

        line = server.recv(4096).decode()

    said = "medr1-pacs: medr1-pacs/test | 0 | AAAA | — medr1-pacs/test BBBB"
    assert line.rstrip("\x00").endswith(said)
    assert "\n" not in line


def test_a_syslog_that_is_away_is_told_and_stops_nothing(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        SyslogHeads(str(tmp_path / "no-socket"))(NOTE)

    assert "could not be sent to syslog" in caplog.text
