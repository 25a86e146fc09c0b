"""Whether an export is what was signed, and its records what the log says of them.

    manifest -> files -> leaves -> head -> events -> records -> counts

Standard library alone: this file, with those it imports, is the `verify.py` that travels with every
export. Whoever doubts an export runs the verifier of another installation, or their own.
"""

from __future__ import annotations

import argparse
import base64
import csv
import hashlib
import io
import itertools
import json
import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any

from medr1_pacs.audit.canonical import canonical_json, field_salt, open_commitment
from medr1_pacs.audit.ed25519 import verify
from medr1_pacs.audit.events import COMMITTED, leaf_of
from medr1_pacs.audit.export_form import (
    BOOLEANS,
    CONSISTENCY,
    COSIGNATURES,
    COUNTED,
    EVENTS,
    FORMAT,
    INTEGERS,
    KEY_OF,
    LEAVES,
    MANIFEST,
    OUTSIDE,
    RECORDS,
    SIGNED,
    STRUCTURES,
    WITHDRAWN,
    count_event,
    finish_counts,
    follow_role,
)
from medr1_pacs.audit.findings import CLOCK_BACK_S, Finding
from medr1_pacs.audit.keys import follow_keys
from medr1_pacs.audit.merkle import Frontier, verify_consistency
from medr1_pacs.audit.notes import (
    ED25519,
    Checkpoint,
    NoteInvalid,
    VerifierKey,
    parse_note,
    verify_note,
)
from medr1_pacs.audit.records import FORMS, record_sha256

FINDINGS_MAX = 1_000
"""Findings after which a check goes on counting, and says no more of each."""
_HASH_BYTES = 32
_DAMAGED = (
    ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError, RecursionError,
)  # fmt: skip
"""What reading values raises that are not what they should be, whoever wrote them."""
_PROVEN = ("first_head", "head")
_BEGINS_A_FORMULA = tuple("=+-@＝＋－＠\t\r\n")


class ExportReport:
    """What was looked at, and what was found."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.more_faults = 0
        self.checked: list[str] = []
        self.unchecked: list[str] = []
        self.is_signed = False

    @property
    def faults(self) -> int:
        """How many were found."""
        return sum(one.is_fault for one in self.findings) + self.more_faults

    @property
    def is_sound(self) -> bool:
        """Whether a trusted key signed it and nothing speaks against it."""
        return self.is_signed and not any(one.is_fault for one in self.findings)

    def add(self, where: str, what: str, is_fault: bool = True) -> None:
        """Note what is not as it should be."""
        if len(self.findings) < FINDINGS_MAX or not any(one.is_fault for one in self.findings):
            self.findings.append(Finding(where, what, is_fault))
        else:
            self.more_faults += is_fault

    def lines(self) -> Iterator[str]:
        """Yield the report, a line each."""
        for checked in self.checked:
            yield f"ok: {checked}"
        for finding in self.findings:
            yield str(finding)
        if self.more_faults:
            yield f"and {self.more_faults} more faults"
        for unchecked in self.unchecked:
            yield f"not checked: {unchecked}"
        if not self.is_signed:
            yield (
                "NOT VERIFIED: the signature is unchecked, since no key was given from outside "
                "(--key FILE)"
                if not any(one.is_fault for one in self.findings)
                else "NOT VERIFIED"
            )
        else:
            yield "VERIFIED" if self.is_sound else "NOT VERIFIED"


class _Unreadable(Exception):
    """A file of the export is not what it should be, so nothing more can be said of it."""


def check_export(
    folder: Path, keys: Sequence[VerifierKey] = (), expected: Sequence[tuple[str, str]] = ()
) -> ExportReport:
    """Check an export.

    Parameters
    ----------
    keys
        That are trusted, from outside the export; without any, its signature is unchecked.
    expected
        (where, note) of heads that were kept from earlier: this log must go on from them.
    """
    report = ExportReport()
    try:
        _Check(folder, list(keys), expected, report).run()
    except _Unreadable as error:
        report.add(*error.args)
    return report


class _Check:
    def __init__(
        self,
        folder: Path,
        keys: list[VerifierKey],
        expected: Sequence[tuple[str, str]],
        report: ExportReport,
    ) -> None:
        self._folder = folder
        self._keys = keys
        self._expected = expected
        self._report = report
        self._manifest: dict[str, Any] = {}
        self._size = 0
        self._records = {kind: _RecordHashes() for kind in KEY_OF}
        self._counts = dict.fromkeys(COUNTED, 0)
        self._roles: dict[int, tuple[list[str], list[str]]] = {}
        self._closed: set[int] = set()
        self._superseded: set[int] = set()
        self._withdrawn: set[int] = set()

    def run(self) -> None:
        self._read_manifest()
        self._check_signature()
        self._check_files()
        head = self._check_head()
        self._check_leaves(head)
        self._check_events()
        self._check_records()
        self._check_derived()
        if not self._expected:
            self._report.unchecked.append(
                "that the log goes on from what you saw before (--expect-head FILE)"
            )

    # -- the manifest ------------------------------------------------------------------------------

    def _read_manifest(self) -> None:
        path = self._folder / MANIFEST
        try:
            manifest = json.loads(path.read_text("utf-8"))
            files, log = manifest["files"], manifest["log"]
            self._size = int(log["size"])
            if manifest["format"] != FORMAT:
                raise _Unreadable(
                    MANIFEST,
                    f"it is of the form {manifest['format']!r}, this verifier reads {FORMAT!r}",
                )
            if not all(isinstance(files[name]["sha256"], str) for name in files):
                raise ValueError("a file has no hash")
        except OSError as error:
            raise _Unreadable(MANIFEST, f"it cannot be read: {error.strerror}") from error
        except _DAMAGED as error:
            raise _Unreadable(MANIFEST, f"it is damaged: {error!r}") from error
        self._manifest = manifest

    def _check_signature(self) -> None:
        report, manifest = self._report, self._manifest
        statements = manifest["log"].get("key_statements", [])
        try:
            self._keys = follow_keys(self._keys, statements)
        except _DAMAGED as error:
            report.add("the keys of the log", str(error))
        body = {name: value for name, value in manifest.items() if name != "signature"}
        try:
            signed = SIGNED + canonical_json(body)
            signature = base64.b64decode(manifest.get("signature", ""), validate=True)
            own = VerifierKey.parse(manifest.get("key", ""))
        except _DAMAGED as error:
            report.add(MANIFEST, f"it is not signed: {error}")
            return
        if not verify(own.public_key, signed, signature):
            report.add(MANIFEST, "it was changed: its signature is not of it by the key it names")
        elif not self._keys:
            return
        elif own in self._keys and own.algorithm == ED25519:
            report.is_signed = True
            report.checked.append(f"the manifest is signed by {own}")
        else:
            report.add(
                MANIFEST,
                f"it is signed by {own}, which is none of the keys that you trust and that none "
                "of them vouches for",
            )

    def _check_files(self) -> None:
        report, files = self._report, self._manifest["files"]
        there = {
            str(PurePosixPath(*path.relative_to(self._folder).parts))
            for path in self._folder.rglob("*")
            if path.is_file() or path.is_symlink()
        }
        for name in sorted(there - files.keys() - set(OUTSIDE)):
            report.add(name, "the manifest does not know this file", is_fault=False)
        wrong = 0
        for name, about in sorted(files.items()):
            path = self._folder / name
            if not _is_inside(name) or name not in there:
                report.add(name, "the file is missing")
                wrong += 1
            elif _sha256_of(path) != about["sha256"]:
                report.add(name, "the file is not the one of the manifest: it was changed")
                wrong += 1
            elif path.suffix == ".png" and path.stem != about["sha256"]:
                report.add(name, "it is not the picture that its name says")
                wrong += 1
        if not wrong:
            report.checked.append(f"{len(files)} files are those that the manifest names")

    # -- the log -----------------------------------------------------------------------------------

    def _check_head(self) -> Checkpoint:
        log, report = self._manifest["log"], self._report
        try:
            note = parse_note(log["head"])
            head = Checkpoint.parse(note.text)
            if self._keys:
                if signers := verify_note(note, self._keys):
                    by = " and ".join(str(one.key) for one in signers)
                    report.checked.append(f"the head of {head.size} events is signed by {by}")
                else:
                    report.add("the head of the log", "no key that you trust signed it")
        except _DAMAGED as error:
            raise _Unreadable("the head of the log", str(error)) from error
        try:
            self._check_cosignatures(head)
        except (*_DAMAGED, OSError) as error:
            report.add(COSIGNATURES, f"they are damaged: {error}")
        if (head.origin, head.size, head.root.hex()) != (
            log.get("origin"),
            log["size"],
            log.get("root"),
        ):
            report.add(MANIFEST, "what it says of the log is not what the head says")
            self._size = head.size
        return head

    def _check_cosignatures(self, head: Checkpoint) -> None:
        path = self._folder / COSIGNATURES
        if not path.exists():
            self._report.unchecked.append("cosignatures: there are none")
            return
        note = parse_note(path.read_bytes())
        if Checkpoint.parse(note.text) != head:
            self._report.add(COSIGNATURES, "they are of another head")
            return
        for one in verify_note(note, self._keys):
            if one.timestamp is not None:
                when = datetime.fromtimestamp(one.timestamp).astimezone().isoformat()
                self._report.checked.append(f"the head is cosigned by {one.key.name} at {when}")

    def _check_leaves(self, head: Checkpoint) -> None:
        """Compute the root again, at every size where somebody says one."""
        report = self._report
        heads = self._expected_heads(head)
        edge = Frontier()
        due = sorted([*heads, (head.size, head.root, "the head of the log")], key=lambda d: d[0])
        try:
            leaves = (self._folder / LEAVES).open("rb")
        except OSError as error:
            raise _Unreadable(LEAVES, f"it cannot be read: {error.strerror}") from error
        with leaves:
            for size, root, where in due:
                while edge.size < size and len(leaf := leaves.read(_HASH_BYTES)) == _HASH_BYTES:
                    edge.add(leaf)
                if edge.size < size:
                    report.add(LEAVES, f"it has {edge.size} hashes, {where} is of {size}")
                    return
                if edge.root() != root:
                    report.add(
                        LEAVES,
                        f"the hashes of the first {size} events do not give the root of {where}: "
                        "the log is another one, or was changed",
                    )
                elif where == "the head of the log":
                    report.checked.append(f"the hashes of {size} events give the root of the head")
                else:
                    report.checked.append(f"the log goes on from {where}, of {size} events")
            if leaves.read(1):
                report.add(LEAVES, f"it has more hashes than the {head.size} of the head")

    def _expected_heads(self, head: Checkpoint) -> list[tuple[int, bytes, str]]:
        """Return (size, root, where) of the heads that the leaves have to agree with."""
        report, heads = self._report, []
        for where, text in self._expected:
            try:
                note = parse_note(text)
                kept = Checkpoint.parse(note.text)
                is_signed = not self._keys or bool(verify_note(note, self._keys))
            except NoteInvalid as error:
                report.add(where, str(error))
                continue
            if not is_signed:
                report.add(where, "no key that you trust signed this head")
            elif kept.origin != head.origin:
                report.add(where, f"it is of another log, {kept.origin}; this one is {head.origin}")
            elif kept.size > head.size:
                report.add(
                    where,
                    f"it is of {kept.size} events, and this export's log has {head.size}: it was "
                    "cut off, an older copy was put back, or the export is as of an earlier head",
                )
            else:
                heads.append((kept.size, kept.root, where))
        self._check_consistency(head)
        return heads

    def _check_consistency(self, head: Checkpoint) -> None:
        path = self._folder / CONSISTENCY
        if not path.exists():
            return
        try:
            values = json.loads(path.read_text("utf-8"))
            note = parse_note(values["first_head"])
            first, last = (Checkpoint.parse(parse_note(values[n]).text) for n in _PROVEN)
            proof = [bytes.fromhex(each) for each in values["proof"]]
            is_signed = not self._keys or bool(verify_note(note, self._keys))
        except (*_DAMAGED, OSError) as error:
            self._report.add(CONSISTENCY, f"it is damaged: {error!r}")
            return
        if not is_signed:
            self._report.add(CONSISTENCY, "no key that you trust signed its first head")
        elif last != head:
            self._report.add(CONSISTENCY, "it is of another head than the export's")
        elif verify_consistency(first.size, head.size, proof, first.root, head.root):
            self._report.checked.append(
                f"{CONSISTENCY}: the log goes on from the head of {first.size} events"
            )
        else:
            self._report.add(
                CONSISTENCY,
                f"the log does not go on from the head of {first.size} events: two histories",
            )

    # -- events ------------------------------------------------------------------------------------

    def _check_events(self) -> None:
        report, count, hidden_times, last = self._report, 0, 0, None
        last_seq = -1
        with (
            _open_lines(self._folder / EVENTS) as lines,
            (self._folder / LEAVES).open("rb") as leaves,
        ):
            for number, line in enumerate(lines, 1):
                where = f"{EVENTS} line {number}"
                try:
                    event = json.loads(line)
                    seq, name = event["seq"], f"event {event['event']} (place {event['seq']})"
                    leaf = leaf_of(
                        event_id=event["event"],
                        action=event["action"],
                        object_type=event["object"][0],
                        object_id=event["object"][1],
                        study_id=event["scope"][0],
                        project_id=event["scope"][1],
                        account_id=event["account"],
                        record=event["record"],
                        commitments={field: _commitment_of(event[field]) for field in COMMITTED},
                    )
                    leaves.seek(_HASH_BYTES * seq)
                    is_sealed = seq < self._size and leaves.read(_HASH_BYTES) == leaf
                except (*_DAMAGED, OSError) as error:
                    report.add(where, f"it is damaged: {error!r}")
                    continue
                count += 1
                if not is_sealed:
                    report.add(f"{where}, {name}", "it is not the event that was sealed: changed")
                    continue
                if seq <= last_seq:
                    report.add(f"{where}, {name}", "it is not in the order of the log")
                last_seq = seq
                last, is_hidden = self._check_clock(f"{where}, {name}", event["at"], last)
                hidden_times += is_hidden
                try:
                    self._follow(event)
                except _DAMAGED as error:
                    report.add(f"{where}, {name}", f"it has not the form of its action: {error!r}")
        report.checked.append(f"{count} events are in the log")
        if hidden_times:
            report.unchecked.append("clocks: the times of events are hidden in this export")

    def _check_clock(
        self, where: str, at: Any, last: tuple[str, datetime] | None
    ) -> tuple[tuple[str, datetime] | None, bool]:
        if isinstance(at, str):
            return last, True
        now = datetime.fromisoformat(at[1])
        if last is not None and (last[1] - now).total_seconds() > CLOCK_BACK_S:
            self._report.add(
                where,
                f"its time {at[1]} is {(last[1] - now).total_seconds():.0f} s before that of "
                f"{last[0]}",
                is_fault=False,
            )
        return (where, now), False

    def _follow(self, event: Mapping[str, Any]) -> None:
        object_type, object_id = event["object"]
        action = event["action"]
        told = event["told"][1] if isinstance(event["told"], list) else {}
        count_event(self._counts, action, told)
        if told or action in ("account.closed", "account.reopened"):
            follow_role(
                self._roles, self._closed, action, object_id, told, self._manifest["project"]
            )
        if object_type in self._records and event["record"] is not None:
            digest = bytes.fromhex(event["record"])
            self._records[object_type].add(object_id, digest, event["scope"][0], event["seq"])
        if action == "reference.superseded":
            self._superseded.add(object_id)
        elif action in ("study.withdrawn", "study.project_withdrawn"):
            self._withdrawn.add(object_id)

    # -- records -----------------------------------------------------------------------------------

    def _check_records(self) -> None:
        for kind, hashes in self._records.items():
            hashes.sort()
            for object_id in hashes.differing():
                self._report.add(
                    f"{kind} {object_id}", "two events say of it that it is something else: changed"
                )
        for table, kind in RECORDS.items():
            for file in self._tables(table):
                self._check_table(file, kind)
        self._check_withdrawn()
        for file in self._tables("left_out"):
            for where, row in _rows(self._folder / file, self._report):
                self._counts["left_out"] += 1
                with self._noting_damage(where):
                    if not self._records["answer"].note(int(row["answer_id"])):
                        self._report.add(where, f"no event tells of answer {row['answer_id']}")
            break
        for kind, hashes in self._records.items():
            for object_id in hashes.unseen():
                self._report.add(
                    f"{kind} {object_id}",
                    "an event tells of it, and the export neither has it nor says why: deleted",
                )

    @contextmanager
    def _noting_damage(self, where: str) -> Iterator[None]:
        """Say of a row that it is damaged where it is not what rows are."""
        try:
            yield
        except _DAMAGED as error:
            self._report.add(where, f"the row is damaged: {error!r}")

    def _tables(self, table: str) -> list[str]:
        """Return the files of a table that can be read; the others have equal rows."""
        names = [f"{table}.csv", f"{table}.jsonl"]
        return [name for name in names if name in self._manifest["files"]]

    def _check_table(self, file: str, kind: str) -> None:
        report, hashes, key = self._report, self._records[kind], KEY_OF[kind]
        count, last, faults = 0, 0, report.faults
        for where, row in _rows(self._folder / file, report):
            count += 1
            if count == 1 and file.endswith(".csv") and key not in row:
                report.add(
                    file,
                    f"it has no column {key}: was it saved by a spreadsheet, or another program?",
                )
                break
            with self._noting_damage(where):
                object_id = int(row[key])
                name = f"{where}, {kind} {object_id}"
                hashes.note(object_id)
                if object_id <= last:
                    report.add(name, "it is there twice, or out of order")
                last = object_id
                with self._noting_damage(name):
                    self._check_row(name, row, kind, object_id)
        if kind == "answer" and file == self._tables("answers")[0]:
            self._counts["exported"] = count
        if report.faults == faults:
            report.checked.append(f"{file}: {count} records are what their events say")

    def _check_row(self, name: str, row: Mapping[str, Any], kind: str, object_id: int) -> None:
        report, expected = self._report, self._records[kind].get(object_id)
        if expected is None:
            report.add(name, "no event tells of it: put in")
        elif not _has_hash(row, kind, expected):
            place = self._records[kind].place_of(object_id)
            report.add(
                name,
                f"it is not the record that its event says: changed (the event has place {place})",
            )
        if kind == "answer":
            self._check_answer(name, row)
        elif kind == "reference_standard" and (
            (object_id in self._superseded) is not _is_true(row["is_superseded"])
        ):
            report.add(name, "whether it counts is not what events say")

    def _check_answer(self, where: str, row: Mapping[str, Any]) -> None:
        decoding = row["decoding"]
        text = json.dumps(
            json.loads(decoding) if isinstance(decoding, str) else decoding, sort_keys=True
        )
        if hashlib.sha256(text.encode()).hexdigest() != row["decoding_sha256"]:
            self._report.add(where, "`decoding` is not what `decoding_sha256` says")
        is_right = None if row["truth"] in ("", None) else row["choice_text"] == row["truth"]
        given = None if row["is_correct"] in ("", None) else _is_true(row["is_correct"])
        if given is not is_right:
            self._report.add(where, "`is_correct` is not what choice and truth say")

    def _check_withdrawn(self) -> None:
        count, faults = 0, self._report.faults
        for where, row in _rows(self._folder / WITHDRAWN, self._report):
            count += 1
            with self._noting_damage(where):
                kind, object_id = row["kind"], row["id"]
                self._counts["withdrawn"] += kind == "answer"
                self._records[kind].note(object_id)
                expected = self._records[kind].get(object_id)
                digest = record_sha256(kind, row["record"], row["commitments"])
                if expected is None or digest != expected.hex():
                    self._report.add(
                        f"{where}, {kind} {object_id}",
                        "what is left of it is not what its event says: changed",
                    )
                elif self._records[kind].study_of(object_id) not in self._withdrawn:
                    self._report.add(
                        f"{where}, {kind} {object_id}",
                        "its study was withdrawn after the head, by an event that is not here",
                        is_fault=False,
                    )
        if count and self._report.faults == faults:
            self._report.checked.append(f"{count} withdrawn records are what their events say")

    # -- what is derived ---------------------------------------------------------------------------

    def _check_derived(self) -> None:
        report, faults = self._report, self._report.faults
        finish_counts(self._counts)
        given = self._manifest.get("counts")
        if self._counts != given:
            given = given if isinstance(given, dict) else {}
            for name, number in self._counts.items():
                if given.get(name) != number:
                    report.add(MANIFEST, f"{name}: it says {given.get(name)}, there are {number}")
        counts = self._counts
        if counts["answered"] != counts["exported"] + counts["left_out"] + counts["withdrawn"]:
            report.add(
                "the counts",
                f"{counts['answered']} answers are not {counts['exported']} exported, "
                f"{counts['left_out']} left out and {counts['withdrawn']} withdrawn",
            )
        for file in self._tables("counts"):
            for where, row in _rows(self._folder / file, report):
                with self._noting_damage(where):
                    if counts.get(row["name"]) != int(row["number"]):
                        report.add(where, f"{row['name']}: there are {counts.get(row['name'])}")
        for file in self._tables("accounts"):
            self._check_accounts(file)
        if report.faults == faults:
            report.checked.append("counts and roles are those of the events and the rows")

    def _check_accounts(self, file: str) -> None:
        given = {}
        for where, row in _rows(self._folder / file, self._report):
            with self._noting_damage(where):
                values = {name: _structure(row[name]) for name in ("roles", "had_roles")}
                given[int(row["account_id"])] = (where, values, _is_true(row["is_closed"]))
        for account_id in sorted(given.keys() | self._roles.keys()):
            has, had = self._roles.get(account_id, ([], []))
            expected = (
                {"roles": sorted(has), "had_roles": sorted(had)},
                account_id in self._closed,
            )
            where, *actual = given.get(account_id, (file,))
            if tuple(actual) != expected:
                self._report.add(where, f"account {account_id}: its roles are not what events say")


# -- hashes of records -----------------------------------------------------------------------------


class _RecordHashes:
    """Row id -> the hash that its event carries, its place and the study; 56 bytes each, since
    there are millions."""

    def __init__(self) -> None:
        self._ids = array("q")
        self._studies = array("q")
        self._places = array("q")
        self._hashes = bytearray()
        self._seen = bytearray()
        self._next = 0

    def add(self, object_id: int, digest: bytes, study_id: int | None, place: int) -> None:
        if len(digest) != _HASH_BYTES:
            raise ValueError("the hash of a record has 32 bytes")
        self._ids.append(object_id)
        self._studies.append(study_id or 0)
        self._places.append(place)
        self._hashes += digest

    def sort(self) -> None:
        """Put them in order, of one record as they were added."""
        ids = self._ids
        order: Sequence[int] = range(len(ids))
        if any(ids[n] > ids[n + 1] for n in range(len(ids) - 1)):
            order = sorted(order, key=ids.__getitem__)
            hashes = bytearray()
            for n in order:
                hashes += self._hashes[_HASH_BYTES * n : _HASH_BYTES * (n + 1)]
            self._ids, self._hashes = array("q", (ids[n] for n in order)), hashes
            self._studies = array("q", (self._studies[n] for n in order))
            self._places = array("q", (self._places[n] for n in order))
        self._seen = bytearray(len(self._ids))

    def differing(self) -> Iterator[int]:
        """Yield the records of which two events say different things."""
        for place in range(1, len(self._ids)):
            if self._ids[place] == self._ids[place - 1] and self._at(place) != self._at(place - 1):
                yield self._ids[place]

    def get(self, object_id: int) -> bytes | None:
        """Return the hash of the last event of a record."""
        place = self._find(object_id)
        return None if place is None else self._at(place)

    def place_of(self, object_id: int) -> int | None:
        """Return the place in the log of the last event of a record."""
        place = self._find(object_id)
        return None if place is None else self._places[place]

    def study_of(self, object_id: int) -> int | None:
        """Return the study that a record is about, by the last event of it."""
        place = self._find(object_id)
        return None if place is None else self._studies[place]

    def _at(self, place: int) -> bytes:
        return bytes(self._hashes[_HASH_BYTES * place : _HASH_BYTES * (place + 1)])

    def note(self, object_id: int) -> bool:
        """Note that a record was looked at; False where no event tells of it."""
        place = self._find(object_id)
        if place is None:
            return False
        self._seen[place] = 1
        return True

    def unseen(self) -> Iterator[int]:
        """Yield the records that nobody looked at."""
        for place, seen in enumerate(self._seen):
            is_last = place + 1 == len(self._ids) or self._ids[place + 1] != self._ids[place]
            if not seen and is_last:
                yield self._ids[place]

    def _find(self, object_id: int) -> int | None:
        ids, at = self._ids, self._next
        # Rows come in the order of ids, so the next one is nearly always where it is looked first.
        if not (at < len(ids) and ids[at] == object_id):
            at = bisect_left(ids, object_id)
        while at + 1 < len(ids) and ids[at + 1] == object_id:
            at += 1
        if at >= len(ids) or ids[at] != object_id:
            return None
        self._next = at + 1 if at + 1 < len(ids) else at
        return at


def _has_hash(row: Mapping[str, Any], kind: str, expected: bytes) -> bool:
    """Whether a row is the record with this hash.

    A cell of CSV does not tell nothing from an empty text, nor an apostrophe of the text from one
    that keeps a spreadsheet from taking it for a formula: either may be meant.
    """
    form = FORMS[kind]
    values = {name: _in_the_open(name, row[name]) for name in form.in_the_open}
    salt = row.get("record_salt")
    choices = []
    for name in form.committed:
        if f"{name}_sha256" in row:
            choices.append([row[f"{name}_sha256"]])
            continue
        salt_of_field = row[f"{name}_salt"] if salt is None else field_salt(salt, name)
        choices.append(
            [open_commitment(salt_of_field, value) for value in _meanings(name, row[name])]
        )
    wanted = expected.hex()
    for commitments in itertools.product(*choices):
        if (
            record_sha256(kind, values, dict(zip(form.committed, commitments, strict=True)))
            == wanted
        ):
            return True
    return False


def _in_the_open(name: str, value: Any) -> Any:
    if not isinstance(value, str):
        return repr(value) if isinstance(value, float) else value
    if value == "":
        return None
    if name in INTEGERS:
        return int(value)
    if name in BOOLEANS:
        return _is_true(value)
    return json.loads(value) if name in STRUCTURES else value


def _meanings(name: str, value: Any) -> list[Any]:
    if not isinstance(value, str):
        return [value]
    if name in STRUCTURES:
        return [json.loads(value)]
    if value == "":
        return ["", None] if name == "raw_output" else [None, ""]
    if value[0] == "'" and value[1:].startswith(_BEGINS_A_FORMULA):
        return [value[1:], value]
    return [value]


def _structure(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


def _is_true(value: Any) -> bool:
    return value is True or value == "true"


def _commitment_of(field: Any) -> str:
    """Return the commitment to a field of an event, which is shown with its salt, or not."""
    if isinstance(field, str):
        return field
    salt, value = field
    return open_commitment(salt, value)


# -- files -----------------------------------------------------------------------------------------


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts


def _sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError:
        return ""
    return digest.hexdigest()


def _open_lines(path: Path) -> io.BufferedReader:
    try:
        return path.open("rb")
    except OSError as error:
        raise _Unreadable(path.name, f"it cannot be read: {error.strerror}") from error


def _rows(path: Path, report: ExportReport) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (where, row) of a table."""
    try:
        if path.suffix == ".csv":
            yield from _csv_rows(path)
        else:
            with path.open("rb") as file:
                for number, line in enumerate(file, 1):
                    where = f"{path.name} line {number}"
                    try:
                        row = json.loads(line)
                    except _DAMAGED as error:
                        report.add(where, f"it is damaged: {error!r}")
                        continue
                    yield where, row
    except (OSError, ValueError, csv.Error) as error:
        report.add(path.name, f"it cannot be read on: {error}")


def _csv_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    csv.field_size_limit(1 << 30)
    with path.open(encoding="utf-8", errors="surrogatepass", newline="") as file:
        reader = csv.reader(file, strict=True)
        names = next(reader, [])
        for row in reader:
            where = f"{path.name} line {reader.line_num}"
            if len(row) != len(names):
                raise ValueError(f"line {reader.line_num} has {len(row)} cells, not {len(names)}")
            yield where, dict(zip(names, row, strict=True))


# -- as a program ----------------------------------------------------------------------------------


def read_keys(path: Path) -> list[VerifierKey]:
    """Return the keys in a file, one a line.

    Raises
    ------
    ValueError
        There is none, or something else; the message names the file.
    """
    lines = [line.strip() for line in _read_text(path).splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    try:
        keys = [VerifierKey.parse(line) for line in lines]
    except NoteInvalid as error:
        raise ValueError(f"{path}: this is not a whole key (mistyped?). {error}") from error
    if not keys:
        raise ValueError(f"{path}: there is no key in it")
    return keys


def read_head(path: Path) -> str:
    """Return the head in a file: by itself, quoted as in a manifest, or the last one of several.

    Raises
    ------
    ValueError
        There is none; the message names the file.
    """
    text = _read_text(path)
    try:
        if text.startswith(('"', "{")):
            lines = [line for line in text.splitlines() if line.strip()]
            values = json.loads(text if text.startswith('"') else _whole_or_last(text, lines))
            text = values if isinstance(values, str) else str(_head_in(values))
        note = text.strip("\r\n ") + "\n"
        Checkpoint.parse(parse_note(note).text)
    except _DAMAGED as error:
        raise ValueError(f"{path}: this is not a whole head (mistyped?). {error}") from error
    return note


def _whole_or_last(text: str, lines: Sequence[str]) -> str:
    """Return a document, or the last line where every line is one."""
    return text if len(lines) > 1 and lines[0].strip() == "{" else lines[-1]


def _head_in(values: Any) -> Any:
    return values["log"]["head"] if "log" in values else values["head"]


def _read_text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: it cannot be read: {error.strerror}") from error
    for mark, encoding in ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if data.startswith(mark):  # as some shells write what is printed
            return data.decode(encoding, "replace").replace("\r\n", "\n")
    return data.decode("utf-8-sig", "replace").replace("\r\n", "\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the export in a folder, and say what was found; 0: it is what a trusted key signed."""
    parser = argparse.ArgumentParser(
        description="Check an export of medr1-pacs. See GUIDE.md beside this file.",
    )
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).resolve().parent)
    parser.add_argument(
        "--key", type=Path, help="file with the key of the log, which you got from elsewhere"
    )
    parser.add_argument(
        "--expect-head", type=Path, action="append", default=[],
        help="file with a head that you kept from earlier; again for more",
    )  # fmt: skip
    parser.add_argument(
        "--save-head", type=Path, help="file to write the head of this export to: keep it"
    )
    options = parser.parse_args(arguments)
    try:
        keys = read_keys(options.key) if options.key else []
        expected = [(str(path), read_head(path)) for path in options.expect_head]
        if options.save_head:
            save_head(options.folder, options.save_head)
    except (OSError, ValueError) as error:
        print(f"verify: {error}", file=sys.stderr)
        return 2
    report = check_export(options.folder, keys, expected)
    for line in report.lines():
        print(line)
    return 0 if report.is_sound else 1


def save_head(folder: Path, path: Path) -> None:
    """Write the head of an export to a file that is not there yet.

    Raises
    ------
    ValueError
        The export has none that is whole.
    OSError
        There is such a file, or it cannot be written.
    """
    head = read_head(folder / MANIFEST)
    with path.open("x", encoding="utf-8", newline="\n") as file:
        file.write(head)


if __name__ == "__main__":
    sys.exit(main())
