"""Whether an export is what was signed, and its records what the log says of them.

    manifest -> files -> leaves -> head -> events -> records -> counts

Standard library alone: this file, with those it imports, is the `verify.py` that travels with every
export. Whoever doubts an export runs the verifier of another installation, or their own. Whatever
is in an export may have been written by somebody who wants it believed.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any

from medr1_pacs.audit.canonical import canonical_json, commit_by_field_salt
from medr1_pacs.audit.ed25519 import verify
from medr1_pacs.audit.events import COMMITTED, leaf_of
from medr1_pacs.audit.export_form import (
    CONSISTENCY,
    COSIGNATURES,
    COUNTED,
    EVENTS,
    EVERYTHING,
    FORMAT,
    KEY_OF,
    LEAVES,
    MANIFEST,
    OUTSIDE,
    PICTURES,
    RECORDS,
    SIGNED,
    WITHDRAWN,
    count_event,
    finish_counts,
    follow_role,
)
from medr1_pacs.audit.findings import Clock, Report, printable
from medr1_pacs.audit.keys import LogKeys, follow_keys, keys_of, open_head
from medr1_pacs.audit.merkle import HASH_BYTES, Frontier, verify_consistency
from medr1_pacs.audit.notes import (
    COSIGNATURE,
    NoteInvalid,
    TreeHead,
    VerifierKey,
    parse_note,
    verify_note,
)
from medr1_pacs.audit.records import record_sha256
from medr1_pacs.verifier.files import (
    DAMAGED,
    Unreadable,
    describe_damage,
    list_files,
    open_plain,
    read_rows,
    sha256_of,
)
from medr1_pacs.verifier.known_records import RecordHashes, Truths
from medr1_pacs.verifier.reading_check import ReadingCheck
from medr1_pacs.verifier.record_rows import has_hash, is_true, structure_of

_OWN_HEAD = "the head of the log"
_PROVEN = ("first_head", "head")
_SHA256 = re.compile("[0-9a-f]{64}")


class ExportReport(Report):
    """What was looked at, and what was found."""

    def __init__(self, *, has_keys: bool) -> None:
        super().__init__()
        self.checked: list[str] = []
        self.unchecked: list[str] = []
        self._has_keys = has_keys

    @property
    def is_a_strangers(self) -> bool:
        """Whether keys are trusted and none of them signed it: what it says of itself proves
        nothing."""
        return self._has_keys and not self.is_signed

    def lines(self) -> Iterator[str]:
        """Yield the report, a line each, the verdict last."""
        yield from map(printable, self.lines_of_findings())
        ok = "ok by its own words" if self.is_a_strangers else "ok"
        yield from (printable(f"{ok}: {checked}") for checked in self.checked)
        yield from (printable(f"not checked: {unchecked}") for unchecked in self.unchecked)
        if self.is_sound:
            yield "VERIFIED"
        elif self.is_signed or self.faults:
            yield "NOT VERIFIED"
        else:
            yield (
                "NOT VERIFIED: the signature is unchecked, since no key was given from outside "
                "(--key FILE)"
            )


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
    report = ExportReport(has_keys=bool(keys))
    try:
        _Check(folder, keys, expected, report).run()
    except Unreadable as error:
        report.add(*error.args)
    return report


class _Check:
    def __init__(
        self,
        folder: Path,
        keys: Sequence[VerifierKey],
        expected: Sequence[tuple[str, str]],
        report: ExportReport,
    ) -> None:
        self._folder = folder
        self._trusted = keys
        self._keys = LogKeys((), ())
        self._expected = expected
        self._report = report
        self._manifest: dict[str, Any] = {}
        self._head = TreeHead("none", 0, bytes(HASH_BYTES))
        self._records = {kind: RecordHashes() for kind in KEY_OF}
        self._truths: dict[str, Truths] = {}
        self._counts = dict.fromkeys(COUNTED, 0)
        self._roles: dict[int, tuple[list[str], list[str]]] = {}
        self._closed: set[int] = set()
        self._superseded: set[int] = set()
        self._withdrawn: set[int] = set()
        self._reading = ReadingCheck(report)

    def run(self) -> None:
        self._read_manifest()
        for what, check in (
            ("the signature", self._check_signature),
            ("the files", self._check_files),
            ("the head of the log", self._check_head),
            (LEAVES, self._check_leaves),
            (EVENTS, self._check_events),
            ("the records", self._check_records),
            ("reading protocols", self._check_reading),
            ("what is derived", self._check_derived),
        ):
            with self._noting_damage(what):
                check()
        if not self._expected:
            self._report.unchecked.append(
                "that the log goes on from what you saw before (--expect-head FILE)"
            )

    # -- the manifest ------------------------------------------------------------------------------

    def _read_manifest(self) -> None:
        try:
            with open_plain(self._folder / MANIFEST) as file:
                manifest = json.load(file)
            if manifest["format"] != FORMAT:
                raise Unreadable(
                    MANIFEST,
                    f"it is of the form {manifest['format']!r}, this verifier reads {FORMAT!r}",
                )
            head = TreeHead.parse(parse_note(manifest["log"]["head"]).text)
            for name, about in manifest["files"].items():
                if not (isinstance(about["sha256"], str) and isinstance(about["bytes"], int)):
                    raise ValueError(f"of the file {name} it says no hash or no size")
        except OSError as error:
            raise Unreadable(MANIFEST, f"it cannot be read: {error.strerror}") from error
        except DAMAGED as error:
            raise Unreadable(MANIFEST, f"it is damaged: {describe_damage(error)}") from error
        self._manifest, self._head = manifest, head

    def _check_signature(self) -> None:
        report, manifest = self._report, self._manifest
        body = {name: value for name, value in manifest.items() if name != "signature"}
        try:
            signed = SIGNED + canonical_json(body)
            signature = base64.b64decode(manifest.get("signature", ""), validate=True)
            own = VerifierKey.parse(manifest.get("key", ""))
        except DAMAGED as error:
            report.add(MANIFEST, f"it is not signed: {describe_damage(error)}")
            return
        if not verify(own.public_key, signed, signature):
            report.add(MANIFEST, "it was changed: its signature is not of it by the key it names")
        try:
            statements = manifest["log"].get("key_statements", [])
            self._keys = follow_keys(self._trusted, statements)
        except DAMAGED as error:
            self._keys = follow_keys(self._trusted)
            report.add("the keys of the log", describe_damage(error))
        if not self._trusted or report.faults:
            return
        if own in keys_of(self._head.origin, self._keys.current):
            report.is_signed = True
            report.checked.append(f"the manifest is signed by {own}")
        elif own in self._keys.earlier:
            report.add(MANIFEST, f"it is signed by {own}, which another key has replaced")
        else:
            report.add(
                MANIFEST,
                f"it is signed by {own}, which is none of the keys that you trust and that none "
                "of them vouches for",
            )

    def _check_files(self) -> None:
        report, files, faults = self._report, self._manifest["files"], self._report.faults
        there = list_files(self._folder)
        for name, about in sorted(files.items()):
            path, is_plain = self._folder / name, there.pop(name, None)
            if is_plain is None:
                report.add(name, "the file is missing")
            elif not is_plain:
                report.add(name, "it is no plain file: it was changed")
            elif path.stat().st_size != about["bytes"] or sha256_of(path) != about["sha256"]:
                report.add(name, "the file is not the one of the manifest: it was changed")
        pictures = self._check_pictures(there)
        for name in OUTSIDE:
            if not there.pop(name, True):
                raise Unreadable(name, "it is no plain file")
        for name in sorted(there):
            report.add(name, "the manifest does not know this file", is_fault=False)
        if report.faults == faults:
            report.checked.append(
                f"{_count(len(files), 'file')} and {_count(pictures, 'picture')}: as the manifest "
                "names them"
            )

    def _check_pictures(self, there: dict[str, bool]) -> int:
        """Check each picture against its name, which is its hash; returns how many there are."""
        if PICTURES not in self._manifest["files"]:
            return 0
        number = 0
        with open_plain(self._folder / PICTURES) as lines:
            for number, line in enumerate(lines, 1):
                sha256 = line.decode("ascii", "replace").removesuffix("\n")
                name = f"{PurePosixPath(PICTURES).with_suffix('')}/{sha256}.png"
                if not _SHA256.fullmatch(sha256):
                    self._report.add(f"{PICTURES} line {number}", "it is no hash of a picture")
                elif not there.pop(name, False):
                    self._report.add(name, "the picture is missing, or is listed twice")
                elif sha256_of(self._folder / name) != sha256:
                    self._report.add(name, "it is not the picture that its name says")
        return number

    # -- the log -----------------------------------------------------------------------------------

    def _check_head(self) -> None:
        log, report, head = self._manifest["log"], self._report, self._head
        if self._trusted:
            if signers := open_head(log["head"], self._keys.all).signers:
                by = " and ".join(map(str, signers))
                report.checked.append(f"the head of {head.size} events is signed by {by}")
            else:
                report.add("the head of the log", "no key of it that you trust signed it")
        if (head.origin, head.size, head.root.hex()) != (
            log.get("origin"),
            log.get("size"),
            log.get("root"),
        ):
            report.add(MANIFEST, "what it says of the log is not what the head says")
        with self._noting_damage(COSIGNATURES):
            self._check_cosignatures(head)

    def _check_cosignatures(self, head: TreeHead) -> None:
        path = self._folder / COSIGNATURES
        if not path.exists():
            self._report.unchecked.append("cosignatures: there are none")
            return
        note = parse_note(path.read_bytes())
        if TreeHead.parse(note.text) != head:
            self._report.add(COSIGNATURES, "they are of another head")
            return
        witnesses = [key for key in self._trusted if key.algorithm == COSIGNATURE]
        cosigned = verify_note(note, witnesses)
        for one in cosigned:
            when = datetime.fromtimestamp(one.timestamp or 0).astimezone().isoformat()
            self._report.checked.append(f"the head is cosigned by {one.key.name} at {when}")
        if not cosigned:
            self._report.unchecked.append("cosignatures: none is by a witness whose key you have")

    def _check_leaves(self) -> None:
        """Compute the root again, at every size where somebody says one."""
        report, head = self._report, self._head
        heads = self._expected_heads(head)
        edge = Frontier()
        due = sorted([*heads, (head.size, head.root, _OWN_HEAD)], key=lambda d: d[0])
        with open_plain(self._folder / LEAVES) as leaves:
            for size, root, where in due:
                while edge.size < size and len(leaf := leaves.read(HASH_BYTES)) == HASH_BYTES:
                    edge.add(leaf)
                if edge.size < size:
                    report.add(LEAVES, f"it has {edge.size} hashes, {where} is of {size}")
                    return
                if edge.root() != root:
                    report.add(
                        LEAVES,
                        f"the hashes of the first {size} events do not give the root of {where}: "
                        + (
                            "they were changed"
                            if where == _OWN_HEAD
                            else "there are two histories, for which it takes the key or the "
                            "service"
                        ),
                    )
                elif where == _OWN_HEAD:
                    report.checked.append(f"the hashes of {size} events give the root of the head")
                else:
                    report.checked.append(f"the log goes on from {where}, of {size} events")
            if leaves.read(1):
                report.add(LEAVES, f"it has more hashes than the {head.size} of the head")

    def _expected_heads(self, head: TreeHead) -> list[tuple[int, bytes, str]]:
        """Return (size, root, where) of the heads that the leaves have to agree with."""
        report, heads = self._report, []
        for where, text in self._expected:
            try:
                opened = open_head(text, self._keys.all)
            except NoteInvalid as error:
                report.add(where, str(error))
                continue
            kept = opened.head
            if self._trusted and not opened.signers:
                report.add(where, "no key of its log that you trust signed this head")
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

    def _check_consistency(self, head: TreeHead) -> None:
        path = self._folder / CONSISTENCY
        if not path.exists():
            return
        try:
            values = json.loads(path.read_text("utf-8"))
            opened, now = (open_head(values[name], self._keys.all) for name in _PROVEN)
            proof = [bytes.fromhex(each) for each in values["proof"]]
        except (*DAMAGED, OSError) as error:
            self._report.add(CONSISTENCY, f"it is damaged: {describe_damage(error)}")
            return
        first = opened.head
        if self._trusted and not opened.signers:
            self._report.add(CONSISTENCY, "no key that you trust signed its first head")
        elif now.head != head or first.origin != head.origin:
            self._report.add(CONSISTENCY, "it is of other heads than the export's")
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
        report, count, hidden_times, clock = self._report, 0, 0, Clock(self._report)
        faults, last_seq = report.faults, -1
        with (
            open_plain(self._folder / EVENTS) as lines,
            open_plain(self._folder / LEAVES) as leaves,
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
                    is_sealed = 0 <= seq < self._head.size
                    if is_sealed:
                        leaves.seek(HASH_BYTES * seq)
                        is_sealed = leaves.read(HASH_BYTES) == leaf
                except (*DAMAGED, OSError) as error:
                    report.add(where, f"it is damaged: {describe_damage(error)}")
                    continue
                count += 1
                if not is_sealed:
                    report.add(f"{where}, {name}", "it is not the event that was sealed: changed")
                    continue
                if seq <= last_seq:
                    report.add(f"{where}, {name}", "it is not in the order of the log")
                last_seq = seq
                if isinstance(event["at"], str):
                    hidden_times += 1
                else:
                    clock.look_at(f"{where}, {name}", event["at"][1])
                try:
                    self._follow(event)
                except DAMAGED as error:
                    what = f"it has not the form of its action: {describe_damage(error)}"
                    report.add(f"{where}, {name}", what)
        if report.faults == faults:
            report.checked.append(f"{count} events are in the log")
        if hidden_times:
            report.unchecked.append("clocks: the times of events are hidden in this export")

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
        self._reading.events.follow(action, object_id, event["account"], told, event["seq"])

    # -- records -----------------------------------------------------------------------------------

    def _check_records(self) -> None:
        for kind, hashes in self._records.items():
            hashes.sort()
            for object_id in hashes.differing():
                self._report.add(
                    f"{kind} {object_id}", "two events say of it that it is something else: changed"
                )
        # References first: what they say is the truth of an answer.
        for table, kind in reversed(RECORDS.items()):
            for file in self._tables(table):
                with self._noting_damage(file):
                    self._check_table(file, kind)
        self._check_withdrawn()
        for file in self._tables("left_out")[:1]:
            for where, row in self._rows(file):
                self._counts["left_out"] += 1
                if self._manifest.get("filters") == EVERYTHING:
                    self._report.add(where, "it is left out, and the filters leave nothing out")
                with self._noting_damage(where):
                    if not self._records["answer"].note(int(row["answer_id"])):
                        self._report.add(where, f"no event tells of answer {row['answer_id']}")
        for kind, hashes in self._records.items():
            for object_id in hashes.unseen():
                self._report.add(
                    f"{kind} {object_id}",
                    "an event tells of it, and the export neither has it nor says why: deleted",
                )

    @contextmanager
    def _noting_damage(self, where: str) -> Iterator[None]:
        """Say of a file or a row that it is damaged where it is not what it should be."""
        try:
            yield
        except (*DAMAGED, OSError) as error:
            self._report.add(where, f"it is damaged: {describe_damage(error)}")

    def _rows(self, file: str) -> Iterator[tuple[str, dict[str, Any]]]:
        return read_rows(self._folder / file, self._report.add)

    def _tables(self, table: str) -> list[str]:
        """Return the files of a table that can be read; of Parquet the hash alone is checked."""
        names = [f"{table}.csv", f"{table}.jsonl"]
        return [name for name in names if name in self._manifest["files"]]

    def _check_table(self, file: str, kind: str) -> None:
        report, hashes, key = self._report, self._records[kind], KEY_OF[kind]
        count, last, faults = 0, 0, report.faults
        truths = self._truths.setdefault(PurePosixPath(file).suffix, Truths())
        for where, row in self._rows(file):
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
                    self._check_row(name, row, kind, object_id, truths)
        if kind == "reference_standard":
            truths.sort()
        if kind == "answer" and file == self._tables("answers")[0]:
            self._counts["exported"] = count
        if report.faults == faults:
            report.checked.append(
                f"{file}: {_count(count, 'record')}, as the events say (the columns with `record` "
                "in dictionary.csv)" + ("; truths, as the references say" * (kind == "answer"))
            )

    def _check_row(
        self, name: str, row: Mapping[str, Any], kind: str, object_id: int, truths: Truths
    ) -> None:
        report, expected = self._report, self._records[kind].get(object_id)
        if expected is None:
            report.add(name, "no event tells of it: put in")
        elif not has_hash(row, kind, expected):
            place = self._records[kind].place_of(object_id)
            report.add(
                name,
                f'it is not the record that its event says: changed. The event is "seq":{place} in '
                f"{EVENTS}",
            )
        if kind == "answer":
            self._check_answer(name, row, truths)
        elif kind == "reference_standard":
            is_superseded = is_true(row["is_superseded"])
            if (object_id in self._superseded) is not is_superseded:
                report.add(name, "whether it counts is not what events say")
            if not is_superseded:
                truths.add(row)
        elif kind == "review":
            self._reading.look_at_review(name, row)

    def _check_answer(self, where: str, row: Mapping[str, Any], truths: Truths) -> None:
        decoding = row["decoding"]
        text = json.dumps(
            json.loads(decoding) if isinstance(decoding, str) else decoding, sort_keys=True
        )
        if hashlib.sha256(text.encode()).hexdigest() != row["decoding_sha256"]:
            self._report.add(where, "`decoding` is not what `decoding_sha256` says")
        if (row["truth"] or None) != truths.get(row["instance_id"], row["question_row"]):
            self._report.add(where, "`truth` is not what the references say")
        is_right = None if row["truth"] in ("", None) else row["choice_text"] == row["truth"]
        given = None if row["is_correct"] in ("", None) else is_true(row["is_correct"])
        if given is not is_right:
            self._report.add(where, "`is_correct` is not what choice and truth say")

    def _check_withdrawn(self) -> None:
        count, faults = 0, self._report.faults
        for where, row in self._rows(WITHDRAWN):
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
                elif not self._is_withdrawn(kind, object_id, row["record"]):
                    self._report.add(
                        f"{where}, {kind} {object_id}",
                        "its study was withdrawn after the head, by an event that is not here",
                        is_fault=False,
                    )
        if count and self._report.faults == faults:
            self._report.checked.append(f"{count} withdrawn records are what their events say")

    def _is_withdrawn(self, kind: str, object_id: int, record: Mapping[str, Any]) -> bool:
        """Whether an event says that a record, or the study of it, was withdrawn."""
        if kind in ("reading_case", "review"):
            return record["case_id"] in self._reading.events.withdrawn
        return self._records[kind].study_of(object_id) in self._withdrawn

    # -- what is derived ---------------------------------------------------------------------------

    def _check_derived(self) -> None:
        report, faults = self._report, self._report.faults
        finish_counts(self._counts)
        given = self._manifest.get("counts")
        if self._counts != given:
            if not isinstance(given, dict):
                report.add(MANIFEST, "it has no counts")
                given = self._counts
            for name, number in self._counts.items():
                if given.get(name, 0) != number:  # an earlier version did not count all of these
                    report.add(MANIFEST, f"{name}: it says {given.get(name)}, there are {number}")
        counts = self._counts
        if counts["answered"] != counts["exported"] + counts["left_out"] + counts["withdrawn"]:
            report.add(
                "the counts",
                f"{counts['answered']} answers are not {counts['exported']} exported, "
                f"{counts['left_out']} left out and {counts['withdrawn']} withdrawn",
            )
        for file in self._tables("counts"):
            for where, row in self._rows(file):
                with self._noting_damage(where):
                    if counts.get(row["name"]) != int(row["number"]):
                        report.add(where, f"{row['name']}: there are {counts.get(row['name'])}")
        for file in self._tables("accounts"):
            self._check_accounts(file)
        if report.faults == faults:
            report.checked.append("counts and roles are those of the events")

    def _check_reading(self) -> None:
        faults = self._report.faults
        self._reading.check_order()
        for table, check in (
            ("reading_protocols", self._reading.check_protocols),
            ("reading_people", self._reading.check_people),
            ("assignments", self._reading.check_assignments),
        ):
            for file in self._tables(table):
                check(file, self._rows(file))
        if self._reading.events.protocols and self._report.faults == faults:
            self._report.checked.append(
                "every case was frozen before any of its protocol was opened, and every answer of "
                "a reader locked after that; protocols and reads are as the events say"
            )

    def _check_accounts(self, file: str) -> None:
        given = {}
        for where, row in self._rows(file):
            with self._noting_damage(where):
                values = {name: structure_of(row[name]) for name in ("roles", "had_roles")}
                given[int(row["account_id"])] = (where, values, is_true(row["is_closed"]))
        for account_id in sorted(given.keys() | self._roles.keys()):
            has, had = self._roles.get(account_id, ([], []))
            expected = (
                {"roles": sorted(has), "had_roles": sorted(had)},
                account_id in self._closed,
            )
            where, *actual = given.get(account_id, (file,))
            if tuple(actual) != expected:
                self._report.add(where, f"account {account_id}: its roles are not what events say")


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _commitment_of(field: Any) -> str:
    """Return the commitment to a field of an event, which is shown with its salt, or not."""
    if isinstance(field, str):
        return field
    salt, value = field
    return commit_by_field_salt(salt, value)
