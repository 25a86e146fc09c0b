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


# -- reading protocols -----------------------------------------------------------------------------

_TOLD = {
    "name": "chest", "version": 1, "definition_sha256": "ab" * 32, "cases": 2, "reads": 2,
    "readers": [3], "adjudicators": [],
}  # fmt: skip


def started(seq, **told):
    told = {"new": _TOLD | told}
    return make_event(seq, "protocol.started", "reading_protocol", told=told, scope=(None, 1))


def frozen(seq, case):
    told = {"new": {"protocol_id": 1, "number": case}}
    return make_event(
        seq, "case.frozen", "reading_case", case, told=told, scope=(None, 1), record="ab" * 32
    )


def opened(seq, case=1):
    told = {"new": {"case_id": case, "place": 1}}
    return make_event(seq, "read.opened", "assignment", 20 + case, told=told, scope=(None, 1))


def locked(seq, review, version=1, *, action="review.locked", read=21):
    told = {"new": {"assignment_id": read, "case_id": 1, "phase": "blind", "version": version}}
    return make_event(seq, action, "review", review, told=told, scope=(None, 1), record="ab" * 32)


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        (
            [started(0), frozen(1, 1), opened(2), frozen(3, 2)],
            "reading_case 2: it was frozen after a case of its protocol was opened",
        ),
        ([started(0), frozen(1, 1)], "reading_protocol 1: it was started with 2 cases"),
        ([frozen(0, 1)], "reading_case 1: it was frozen for a protocol that nobody had started"),
        (
            [started(0), frozen(1, 1), frozen(2, 2), locked(3, 31)],
            "review 31: nobody had opened its read when it was locked",
        ),
        (
            [started(0), frozen(1, 1), frozen(2, 2), opened(3, 2), locked(4, 31, read=22)],
            "review 31: nobody had opened its read when it was locked",
        ),
        (
            [started(0), frozen(1, 1), frozen(2, 2), opened(3), locked(4, 31), locked(5, 32)],
            "review 32: it is an answer of version 1, and 2 follows",
        ),
        (
            [
                started(0), frozen(1, 1), frozen(2, 2), opened(3), locked(4, 31),
                locked(5, 32, 3, action="review.amended"),
            ],
            "review 32: it is an amendment of version 3, and 2 follows",
        ),
        ([started(0), opened(1)], "events.jsonl line 2, event 1 (place 1): it has not the form"),
        (
            [started(0, readers=7), frozen(1, 1), frozen(2, 2)],
            "reading protocols: it is damaged",
        ),
    ],
    ids=["late", "fewer", "of none", "unopened", "another's", "twice", "skipped", "unfrozen",
         "people"],
)  # fmt: skip
def test_a_log_in_which_readers_were_not_blind_is_a_fault_whoever_signs_it(
    tmp_path, events, expected
):
    people = "protocol_id,account_id,part,label\r\n1,3,reader,Reader A\r\n"
    folder = write_export(tmp_path, events, {"reading_people.csv": people.encode()})

    assert any(fault.startswith(expected) for fault in faults(folder)), faults(folder)


def faults_of_read(folder, **changes):
    """Return what is said of an open read in a table that is right but for changes."""
    events = [started(0), frozen(1, 1), frozen(2, 2), opened(3)]
    row = {
        "assignment_id": "21", "case_id": "1", "read_kind": "first", "arm": "blind",
        "is_pooled": "true", "account_id": "", "place": "1", "state": "open",
    } | changes  # fmt: skip
    table = f"{','.join(row)}\r\n{','.join(row.values())}\r\n"
    write_export(folder, events, {"assignments.csv": table.encode()})
    return [each for each in faults(folder) if each.startswith("assignments.csv line 2")]


@pytest.mark.parametrize(
    "changes",
    [
        {"state": "done"},
        {"account_id": "4"},
        {"place": "2"},
        {"place": "one"},
        {"case_id": "2"},
        {"case_id": "9"},
        {"arm": "asleep"},
    ],
    ids=["state", "reader", "place", "nonsense", "case", "no case", "arm"],
)
def test_a_read_that_is_not_where_events_say_is_a_fault(tmp_path, changes):
    assert faults_of_read(tmp_path) == []
    assert len(faults_of_read(tmp_path, **changes)) >= 1
