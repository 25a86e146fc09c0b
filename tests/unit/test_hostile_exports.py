"""Exports by somebody who has a key that is trusted, or none, and wants the verifier to fail."""

from __future__ import annotations

import base64
import hashlib
import json

import pytest

from medr1_pacs.audit.canonical import canonical_json, commit, field_salt
from medr1_pacs.audit.events import COMMITTED, leaf_of
from medr1_pacs.audit.export_form import COUNTED, FORMAT, SIGNED
from medr1_pacs.audit.merkle import Frontier
from medr1_pacs.audit.notes import SignedNote, TreeHead, format_note
from medr1_pacs.audit.signing import SigningKey
from medr1_pacs.verifier.export_check import check_export

KEY = SigningKey("medr1-pacs/hostile", bytes(32))
SALT = "ab" * 16
ID_TOO_LARGE = 2**70


def make_event(seq, action, kind="study", object_id=1, *, told=None, scope=(1, None), **more):
    """Return an event as an export shows it, and its leaf, which anybody can make."""
    values = {"actor": "service", "at": "2026-01-02T03:04:05.000006Z", "told": told or {}}
    values |= {"reason": None} | more
    record = values.pop("record", None)
    commitments = {name: commit(SALT, name, values[name]) for name in COMMITTED}
    leaf = leaf_of(
        event_id=seq, action=action, object_type=kind, object_id=object_id, study_id=scope[0],
        project_id=scope[1], account_id=None, record=record, commitments=commitments,
    )  # fmt: skip
    shown = {name: [field_salt(SALT, name), values[name]] for name in COMMITTED}
    event = {"seq": seq, "event": seq, "action": action, "object": [kind, object_id]}
    return event | {"scope": list(scope), "account": None, "record": record} | shown, leaf


def write_export(folder, events=(), tables=None, **changes):
    """Write an export of these events, signed; `changes`: of the manifest."""
    edge = Frontier()
    for _, leaf in events:
        edge.add(leaf)
    text = TreeHead(KEY.name, edge.size, edge.root()).text()
    written = {
        "events.jsonl": "".join(json.dumps(event) + "\n" for event, _ in events).encode(),
        "leaves.bin": b"".join(leaf for _, leaf in events),
        "withdrawn.jsonl": b"",
    } | (tables or {})
    for name, data in written.items():
        (folder / name).write_bytes(data)
    body = {
        "format": FORMAT,
        "project": "lung",
        "log": {
            "origin": KEY.name, "size": edge.size, "root": edge.root().hex(),
            "head": format_note(SignedNote(text, (KEY.sign(text),))),
        },
        "counts": dict.fromkeys(COUNTED, 0),
        "files": {
            name: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
            for name, data in written.items()
        },
        "key": str(KEY.verifier),
    } | changes  # fmt: skip
    signature = base64.b64encode(KEY.sign_bytes(SIGNED + canonical_json(body))).decode()
    (folder / "manifest.json").write_text(json.dumps(body | {"signature": signature}), "utf-8")
    return folder


def faults(folder):
    return [f"{one.where}: {one.what}" for one in check_export(folder, [KEY.verifier]).findings]


def test_what_is_forged_here_would_be_verified(tmp_path):
    folder = write_export(
        tmp_path, [make_event(0, "study.created"), make_event(1, "study.planned")]
    )

    assert list(check_export(folder, [KEY.verifier]).lines())[-1] == "VERIFIED"


@pytest.mark.parametrize(
    "event",
    [
        make_event(0, "answer.parsed", "answer", 7, record="zz"),
        make_event(0, "answer.parsed", "answer", 7, record="ab"),
        make_event(0, "answer.parsed", "answer", ID_TOO_LARGE, record="ab" * 32),
        make_event(0, "answer.parsed", "answer", 7, record="ab" * 32, scope=(ID_TOO_LARGE, None)),
        make_event(0, "study.created", at="yesterday"),
        make_event(0, "study.created", at="0999-01-01T00:00:00"),
    ],
    ids=["hash", "length", "id", "scope", "time", "zone"],
)
def test_an_event_that_is_none_is_a_fault(tmp_path, event):
    folder = write_export(tmp_path, [event, make_event(1, "study.planned")])

    assert any("events.jsonl line 1" in fault for fault in faults(folder))


@pytest.mark.parametrize(
    "changes",
    [
        {"files": []},
        {"files": {"events.jsonl": {}}},
        {"log": {"head": "none"}},
        {"log": []},
        {"counts": 7},
        {"key": 7},
        {"format": "medr1-pacs export 0"},
    ],
    ids=["files", "hashes", "head", "log", "counts", "key", "format"],
)
def test_a_manifest_that_is_none_is_a_fault(tmp_path, changes):
    assert any("manifest.json" in fault for fault in faults(write_export(tmp_path, **changes)))


@pytest.mark.parametrize(
    ("table", "rows"),
    [
        ("accounts.csv", 'account_id,roles,had_roles,is_closed\r\ns,"[]","[]",false\r\n'),
        ("accounts.jsonl", '{"account_id": "s"}\n'),
        ("answers.csv", "answer_id\r\nseventeen\r\n"),
        ("answers.jsonl", '[17]\n{"answer_id": 17}\n'),
        ("references.jsonl", '{"reference_id": 1e400}\n'),
        ("left_out.csv", "answer_id,reason\r\n,\r\n"),
        ("counts.csv", "name,number\r\nanswered,many\r\n"),
        ("withdrawn.jsonl", '{"kind": "nothing", "id": []}\n'),
    ],
)
def test_a_table_that_is_none_is_a_fault(tmp_path, table, rows):
    folder = write_export(tmp_path, tables={table: rows.encode()})

    assert any(table in fault for fault in faults(folder))


def test_a_file_that_never_ends_is_not_read(tmp_path):
    folder = write_export(tmp_path)
    (folder / "withdrawn.jsonl").unlink()
    (folder / "withdrawn.jsonl").symlink_to("/dev/zero")

    assert "withdrawn.jsonl: it is no plain file: it was changed" in faults(folder)


def test_a_folder_that_is_a_link_is_not_followed(tmp_path):
    folder = write_export(tmp_path)
    (folder / "more").symlink_to("/proc")

    assert faults(folder) == ["more: the manifest does not know this file"]


def test_nothing_in_an_export_speaks_to_the_terminal(tmp_path):
    name = "\x1b[2J\nVERIFIED\n\x1b[8m\u202e\ud800"
    files = {name: {"sha256": "ab" * 32, "bytes": 1}}
    lines = list(check_export(write_export(tmp_path, format=name)).lines())
    lines += check_export(write_export(tmp_path, files=files)).lines()

    assert all(line.isprintable() for line in lines)


def test_an_export_of_another_log_is_not_believed_by_a_key_that_is_trusted_for_its_own(tmp_path):
    text = TreeHead("medr1-pacs/another", 0, Frontier().root()).text()
    head = format_note(SignedNote(text, (KEY.sign(text),)))
    log = {"origin": "medr1-pacs/another", "size": 0, "root": Frontier().root().hex()}

    found = faults(write_export(tmp_path, log=log | {"head": head}))

    assert any("none of the keys that you trust" in fault for fault in found)


def test_thousands_of_remarks_are_counted_and_not_listed(tmp_path):
    times = ("2026-01-02T03:04:05.000006Z", "2026-01-02T01:04:05.000006Z")
    events = [make_event(n, "study.created", at=times[n % 2]) for n in range(3_000)]

    *lines, verdict = check_export(write_export(tmp_path, events), [KEY.verifier]).lines()

    assert verdict == "VERIFIED"
    assert "and 500 more remarks" in lines
