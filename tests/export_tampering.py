"""What somebody does to an export who has no key, and where it must be found.

Whoever is careful lets the manifest say the hashes of the changed files, and signs it with a key of
their own or not at all: then the manifest is found, and beside it what a record's hash tells.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from audited_site import LOG, AuditedSite, size_of
from database_tampering import Expected, NoVictim

from medr1_pacs.audit.canonical import canonical_json
from medr1_pacs.audit.export_form import KEY_OF, MANIFEST, RECORDS, SIGNED
from medr1_pacs.audit.merkle import Frontier, leaf_hash
from medr1_pacs.audit.notes import SignedNote, TreeHead, format_note, parse_note
from medr1_pacs.audit.proofs import consistency_proof, split_hashes
from medr1_pacs.audit.records import FORMS
from medr1_pacs.audit.signing import SigningKey

CARELESS, CAREFUL = "the manifest is left", "the manifest is made to fit"


class Folder:
    """An export that is changed, and changed back."""

    def __init__(self, path: Path, site: AuditedSite, rng: random.Random) -> None:
        self.path = path
        self.site = site
        self.rng = rng
        self._originals: dict[str, bytes | None] = {}
        self.names = sorted(
            each.relative_to(path).as_posix() for each in path.rglob("*") if each.is_file()
        )

    @property
    def ending(self) -> str:
        return "csv" if "answers.csv" in self.names else "jsonl"

    # -- files ---------------------------------------------------------------------------------

    def read(self, name: str) -> bytes:
        return (self.path / name).read_bytes()

    def write(self, name: str, data: bytes | None) -> None:
        path = self.path / name
        if name not in self._originals:
            self._originals[name] = path.read_bytes() if path.exists() else None
        if data is None:
            path.unlink()
        else:
            path.write_bytes(data)

    def undo(self) -> None:
        """Let everything be as it was."""
        for name, data in self._originals.items():
            if data is None:
                (self.path / name).unlink(missing_ok=True)
            else:
                (self.path / name).write_bytes(data)
        self._originals.clear()

    # -- the manifest --------------------------------------------------------------------------

    @property
    def manifest(self) -> dict[str, Any]:
        return json.loads(self.read(MANIFEST))

    def write_manifest(self, manifest: dict[str, Any]) -> None:
        self.write(MANIFEST, json.dumps(manifest, ensure_ascii=False, indent=1).encode())

    def fit_manifest(self) -> None:
        """Let the manifest know what was changed."""
        manifest = self.manifest
        for name in [each for each in self._originals if each not in _OUTSIDE]:
            path = self.path / name
            if not path.exists():
                manifest["files"].pop(name, None)
                continue
            data = path.read_bytes()
            about = manifest["files"].setdefault(name, {})
            about |= {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        self.write_manifest(manifest)

    def finish(self, expected: Expected, files: Sequence[str], rows: Sequence[str]) -> Expected:
        """Choose whether the manifest is made to fit, and expect what follows from that.

        Parameters
        ----------
        files
            That are not those of the manifest any more.
        rows
            That are found whoever signs, since something that is hashed says otherwise.
        """
        careless = self.rng.random() < 0.3
        if not careless:
            self.fit_manifest()
            if self.rng.random() < 0.3:
                self._sign_by_another()
        expected.what += f" ({CARELESS if careless else CAREFUL})"
        expected.wheres = (*(files if careless else [MANIFEST]), *rows)
        return expected

    def _sign_by_another(self) -> None:
        manifest = self.manifest
        key = SigningKey.generate(LOG)
        body = {name: value for name, value in manifest.items() if name != "signature"}
        body["key"] = str(key.verifier)
        signature = base64.b64encode(key.sign_bytes(SIGNED + canonical_json(body))).decode()
        self.write_manifest(body | {"signature": signature})

    # -- tables --------------------------------------------------------------------------------

    def table(self, table: str) -> str:
        return f"{table}.{self.ending}"

    def rows(self, name: str) -> list[dict[str, Any]]:
        data = self.read(name)
        if name.endswith(".csv"):
            return list(csv.DictReader(io.StringIO(data.decode(), newline="")))
        return [json.loads(line) for line in data.splitlines()]

    def write_rows(self, name: str, rows: list[dict[str, Any]], names: Sequence[str]) -> None:
        if name.endswith(".csv"):
            text = io.StringIO()
            writer = csv.DictWriter(text, names, lineterminator="\r\n")
            writer.writeheader()
            writer.writerows(rows)
            self.write(name, text.getvalue().encode())
            return
        lines = (json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in rows)
        self.write(name, "".join(f"{line}\n" for line in lines).encode())

    def line_of(self, name: str, index: int) -> str:
        """Return how a finding names a row."""
        if not name.endswith(".csv"):
            return f"{name} line {index + 1}"
        reader = csv.reader(io.StringIO(self.read(name).decode(), newline=""))
        for _ in range(index + 2):
            next(reader)
        return f"{name} line {reader.line_num}"

    def change(self, name: str, edit: Callable[[list[dict[str, Any]]], int | None]) -> int | None:
        """Change the rows of a table; returns what `edit` does."""
        rows = self.rows(name)
        if not rows:
            raise NoVictim
        names = list(rows[0])
        at = edit(rows)
        self.write_rows(name, rows, names)
        return at

    def other(self, value: Any) -> Any:
        """Return another value as a cell holds it."""
        if value is None or value == "":
            return "x" if not isinstance(value, str) else "added"
        if isinstance(value, bool):
            return not value
        if isinstance(value, int | float):
            return value + 1
        if isinstance(value, dict):
            return value | {"added": True}
        if isinstance(value, list):
            return [*value, "added"]
        if value in ("true", "false"):
            return "false" if value == "true" else "true"
        if value[0] in "[{":
            parsed = json.loads(value)
            return json.dumps(self.other(parsed), separators=(",", ":"), ensure_ascii=False)
        at = self.rng.randrange(len(value))
        if value.isdigit():
            return str(int(value) + 1)
        if all(each in "0123456789abcdef" for each in value):
            return value[:at] + ("0" if value[at] != "0" else "1") + value[at + 1 :]
        return value[:at] + ("x" if value[at] != "x" else "y") + value[at + 1 :]


_OUTSIDE = (MANIFEST, "consistency.json", "cosignatures.txt")
Kind = Callable[[Folder], Expected]
KINDS: dict[str, Kind] = {}


def _kind(name: str) -> Callable[[Kind], Kind]:
    def register(function: Kind) -> Kind:
        assert name not in KINDS
        KINDS[name] = function
        return function

    return register


# -- records ---------------------------------------------------------------------------------------


def _edit_row(table: str) -> Kind:
    kind = RECORDS[table]

    def edit(folder: Folder) -> Expected:
        name = folder.table(table)
        known = (*FORMS[kind].shown, *FORMS[kind].committed)
        column = ""

        def change(rows: list[dict[str, Any]]) -> int:
            nonlocal column
            at = folder.rng.randrange(len(rows))
            salts = ("record_salt", "truth_salt", "certainty_salt", "stated_by_sha256")
            column = folder.rng.choice([each for each in rows[at] if each in (*known, *salts)])
            rows[at][column] = folder.other(rows[at][column])
            return at

        at = folder.change(name, change)
        return folder.finish(
            Expected(what=f"{column} in {name}, row {at}"), [name], [folder.line_of(name, at or 0)]
        )

    return edit


def _drop_row(table: str) -> Kind:
    kind = RECORDS[table]

    def drop(folder: Folder) -> Expected:
        name, gone = folder.table(table), 0

        def change(rows: list[dict[str, Any]]) -> None:
            nonlocal gone
            gone = int(rows.pop(folder.rng.randrange(len(rows)))[KEY_OF[kind]])

        folder.change(name, change)
        return folder.finish(Expected(what=f"{kind} {gone}"), [name], [f"{kind} {gone}"])

    return drop


def _add_row(table: str) -> Kind:
    kind = RECORDS[table]

    def add(folder: Folder) -> Expected:
        name = folder.table(table)

        def change(rows: list[dict[str, Any]]) -> int:
            new = max(int(row[KEY_OF[kind]]) for row in rows) + folder.rng.randrange(500, 900)
            rows.append(folder.rng.choice(rows) | {KEY_OF[kind]: new})
            return len(rows) - 1

        at = folder.change(name, change) or 0
        return folder.finish(
            Expected(what=f"row {at} of {name}"), [name], [folder.line_of(name, at)]
        )

    return add


def _repeat_row(table: str) -> Kind:
    def repeat(folder: Folder) -> Expected:
        name = folder.table(table)

        def change(rows: list[dict[str, Any]]) -> int:
            at = folder.rng.randrange(len(rows))
            rows.insert(at, rows[at])
            return at + 1

        at = folder.change(name, change) or 0
        return folder.finish(
            Expected(what=f"row {at} of {name}"), [name], [folder.line_of(name, at)]
        )

    return repeat


def _swap_rows(table: str) -> Kind:
    def swap(folder: Folder) -> Expected:
        name = folder.table(table)

        def change(rows: list[dict[str, Any]]) -> int:
            if len(rows) < 2:
                raise NoVictim
            one, other = sorted(folder.rng.sample(range(len(rows)), 2))
            rows[one], rows[other] = rows[other], rows[one]
            return one + 1

        at = folder.change(name, change) or 0
        return folder.finish(
            Expected(what=f"row {at - 1} of {name}"), [name], [folder.line_of(name, at)]
        )

    return swap


for _table in RECORDS:
    KINDS[f"edit {_table}"] = _edit_row(_table)
    KINDS[f"drop a row of {_table}"] = _drop_row(_table)
    KINDS[f"add a row to {_table}"] = _add_row(_table)
    KINDS[f"repeat a row of {_table}"] = _repeat_row(_table)
for _table in ("answers", "questions", "references", "reading_cases", "reviews"):
    KINDS[f"swap two rows of {_table}"] = _swap_rows(_table)


def _edit_columns(table: str, columns: Sequence[str], is_found: bool) -> Kind:
    """Edit what no record has; `is_found`: other columns, or events, say what it must be."""

    def edit(folder: Folder) -> Expected:
        name, column = folder.table(table), folder.rng.choice(columns)

        def change(rows: list[dict[str, Any]]) -> int:
            at = folder.rng.randrange(len(rows))
            value = rows[at][column]
            empty = value is None or value == ""
            rows[at][column] = (
                ("true" if column.startswith("is_") else "x") if empty else (folder.other(value))
            )
            return at

        at = folder.change(name, change) or 0
        rows = [folder.line_of(name, at)] if is_found else []
        return folder.finish(Expected(what=f"{column} of {name}, row {at}"), [name], rows)

    return edit


KINDS["edit what follows in answers"] = _edit_columns("answers", ("is_correct", "decoding"), True)
KINDS["edit what follows in references"] = _edit_columns("references", ("is_superseded",), True)
KINDS["edit what no record has in answers"] = _edit_columns(
    "answers",
    ("patient_pseudonym", "study_instance_uid", "modality", "age_years", "is_current",
     "answered_on", "sop_instance_uid"),
    False,
)  # fmt: skip
KINDS["edit left_out"] = _edit_columns("left_out", ("reason",), False)
KINDS["edit selections"] = _edit_columns("selections", ("reason", "frame_number"), False)
KINDS["edit answers_wide"] = _edit_columns("answers_wide", ("checkpoint", "kind"), False)
KINDS["edit reading_protocols"] = _edit_columns(
    "reading_protocols", ("name", "version", "definition", "definition_sha256", "state"), True
)
KINDS["edit reading_people"] = _edit_columns(
    "reading_people", ("account_id", "part", "label"), True
)
KINDS["edit assignments"] = _edit_columns("assignments", ("place", "state"), True)
KINDS["edit accounts"] = _edit_columns("accounts", ("roles", "had_roles", "is_closed"), True)
KINDS["edit counts"] = _edit_columns("counts", ("number",), True)


@_kind("edit a truth and what follows from it")
def _edit_truth(folder: Folder) -> Expected:
    name = folder.table("answers")

    def change(rows: list[dict[str, Any]]) -> int:
        at = folder.rng.randrange(len(rows))
        row = rows[at]
        row["truth"] = row["choice_text"] if row["choice_text"] else "Chest"
        row["is_correct"] = (
            ("true" if name.endswith("csv") else True)
            if row["choice_text"]
            else ("false" if name.endswith("csv") else False)
        )
        return at

    before = folder.read(name)
    at = folder.change(name, change)
    if folder.read(name) == before:
        raise NoVictim
    return folder.finish(Expected(what=f"truth in {name}, row {at}"), [name], [])


@_kind("hide an answer among those left out")
def _hide_answer(folder: Folder) -> Expected:
    """Rows, counts and manifest agree: only the signature of the manifest tells."""
    if folder.ending != "csv":
        raise NoVictim
    rows = folder.rows("answers.csv")
    names = list(rows[0])
    gone = rows.pop(folder.rng.randrange(len(rows)))
    folder.write_rows("answers.csv", rows, names)
    left = [*folder.rows("left_out.csv"), {"answer_id": gone["answer_id"], "reason": "filter"}]
    left.sort(key=lambda row: int(row["answer_id"]))
    folder.write_rows("left_out.csv", left, ["answer_id", "reason"])
    counts = folder.rows("counts.csv")
    for row in counts:
        row["number"] = {"exported": str(len(rows)), "left_out": str(len(left))}.get(
            row["name"], row["number"]
        )
    folder.write_rows("counts.csv", counts, list(counts[0]))
    manifest = folder.manifest
    manifest["counts"] |= {"exported": len(rows), "left_out": len(left)}
    folder.write_manifest(manifest)
    folder.fit_manifest()
    return Expected(what=f"answer {gone['answer_id']}", wheres=(MANIFEST,))


@_kind("leave an answer out of left_out, or put one in")
def _change_left_out(folder: Folder) -> Expected:
    if folder.ending != "csv":
        raise NoVictim
    rows = folder.rows("left_out.csv")
    at = folder.rng.randrange(len(rows))
    if folder.rng.random() < 0.5:
        gone = rows.pop(at)
        folder.write_rows("left_out.csv", rows, ["answer_id", "reason"])
        found = [f"answer {gone['answer_id']}"]
    else:
        rows.append({"answer_id": "90000", "reason": "filter"})
        folder.write_rows("left_out.csv", rows, ["answer_id", "reason"])
        found = [folder.line_of("left_out.csv", len(rows) - 1)]
    return folder.finish(Expected(what=f"row {at}"), ["left_out.csv"], found)


@_kind("drop an account")
def _drop_account(folder: Folder) -> Expected:
    name = folder.table("accounts")
    folder.change(name, lambda rows: rows.pop(folder.rng.randrange(len(rows))) and 0)
    return folder.finish(Expected(what="an account"), [name], [name])


@_kind("drop a planned read")
def _drop_assignment(folder: Folder) -> Expected:
    name = folder.table("assignments")
    folder.change(name, lambda rows: rows.pop(folder.rng.randrange(len(rows))) and 0)
    return folder.finish(Expected(what="a planned read"), [name], [name])


@_kind("edit the salt of a field, or what is in its place")
def _edit_salt(folder: Folder) -> Expected:
    name, column = folder.table("reviews"), folder.rng.choice(("salts", "commitments"))

    def change(rows: list[dict[str, Any]]) -> int:
        at = folder.rng.randrange(len(rows))
        value = rows[at][column]
        values = json.loads(value) if isinstance(value, str) else value
        if not values:
            raise NoVictim
        field = folder.rng.choice(sorted(values))
        values[field] = folder.other(values[field])
        rows[at][column] = json.dumps(values) if isinstance(value, str) else values
        return at

    at = folder.change(name, change) or 0
    return folder.finish(
        Expected(what=f"{column} of {name}, row {at}"), [name], [folder.line_of(name, at)]
    )


@_kind("freeze a case after it was read")
def _freeze_late(folder: Folder) -> Expected:
    """The event is moved, and its place with it."""

    def change(rows: list[dict[str, Any]]) -> int:
        frozen = [at for at, row in enumerate(rows) if row["action"] == "case.frozen"]
        opened = max(at for at, row in enumerate(rows) if row["action"] == "read.opened")
        moved = rows.pop(folder.rng.choice(frozen))
        rows.insert(opened, moved | {"seq": rows[opened - 1]["seq"] + 1})
        return opened

    at = folder.change("events.jsonl", change) or 0
    return folder.finish(
        Expected(what=f"to line {at + 1}"), ["events.jsonl"], [f"events.jsonl line {at + 1}"]
    )


@_kind("edit what is left of the withdrawn")
def _edit_withdrawn(folder: Folder) -> Expected:
    what = ""

    def change(rows: list[dict[str, Any]]) -> int:
        nonlocal what
        at = folder.rng.randrange(len(rows))
        part = folder.rng.choice(("record", "commitments"))
        field = folder.rng.choice(sorted(rows[at][part]))
        rows[at][part] = rows[at][part] | {field: folder.other(rows[at][part][field])}
        what = f"{part}.{field} of row {at}"
        return at

    at = folder.change("withdrawn.jsonl", change) or 0
    return folder.finish(
        Expected(what=what), ["withdrawn.jsonl"], [f"withdrawn.jsonl line {at + 1}"]
    )


@_kind("drop a withdrawn record")
def _drop_withdrawn(folder: Folder) -> Expected:
    gone: dict[str, Any] = {}

    def change(rows: list[dict[str, Any]]) -> None:
        gone.update(rows.pop(folder.rng.randrange(len(rows))))

    folder.change("withdrawn.jsonl", change)
    where = f"{gone['kind']} {gone['id']}"
    return folder.finish(Expected(what=where), ["withdrawn.jsonl"], [where])


# -- the log ---------------------------------------------------------------------------------------

_OF_EVENT = (
    "seq", "event", "action", "object", "scope", "account", "record", "actor", "at", "told",
    "reason",
)  # fmt: skip


@_kind("edit an event")
def _edit_event(folder: Folder) -> Expected:
    field = folder.rng.choice(_OF_EVENT)

    def change(rows: list[dict[str, Any]]) -> int:
        at = folder.rng.randrange(len(rows))
        value = rows[at][field]
        if field in ("actor", "at", "told", "reason") and isinstance(value, list):
            part = folder.rng.randrange(2)
            value = list(value)
            value[part] = folder.other(value[part])
            rows[at][field] = value
        elif field in ("object", "scope"):
            rows[at][field] = [folder.other(value[0]), value[1]]
        else:
            rows[at][field] = folder.other(value) if value is not None else 1
        return at

    at = folder.change("events.jsonl", change) or 0
    return folder.finish(
        Expected(what=f"{field} of row {at}"), ["events.jsonl"], [f"events.jsonl line {at + 1}"]
    )


@_kind("drop an event")
def _drop_event(folder: Folder) -> Expected:
    """Where nothing is counted by it and no record, the signature of the manifest tells alone."""
    gone: dict[str, Any] = {}

    def change(rows: list[dict[str, Any]]) -> None:
        gone.update(rows.pop(folder.rng.randrange(len(rows))))

    folder.change("events.jsonl", change)
    found = []
    if gone["record"] and gone["action"] in ("answer.parsed", "reference.derived"):
        kind, row_id = gone["object"]
        tables = [folder.table(table) for table, of in RECORDS.items() if of == kind]
        found = [
            folder.line_of(name, at)
            for name in tables
            for at, row in enumerate(folder.rows(name))
            if int(row[KEY_OF[kind]]) == row_id and gone["action"] == "answer.parsed"
        ]
    return folder.finish(Expected(what=f"event {gone['event']}"), ["events.jsonl"], found)


@_kind("repeat an event")
def _repeat_event(folder: Folder) -> Expected:
    def change(rows: list[dict[str, Any]]) -> int:
        at = folder.rng.randrange(len(rows))
        rows.insert(at, rows[at])
        return at + 1

    at = folder.change("events.jsonl", change) or 0
    return folder.finish(
        Expected(what=f"line {at}"), ["events.jsonl"], [f"events.jsonl line {at + 1}"]
    )


@_kind("put events in another order")
def _swap_events(folder: Folder) -> Expected:
    def change(rows: list[dict[str, Any]]) -> int:
        one, other = sorted(folder.rng.sample(range(len(rows)), 2))
        rows[one], rows[other] = rows[other], rows[one]
        return one + 1

    at = folder.change("events.jsonl", change) or 0
    return folder.finish(
        Expected(what=f"line {at}"), ["events.jsonl"], [f"events.jsonl line {at + 1}"]
    )


@_kind("add an event")
def _add_event(folder: Folder) -> Expected:
    def change(rows: list[dict[str, Any]]) -> int:
        at = folder.rng.randrange(len(rows))
        rows.insert(at, folder.rng.choice(rows) | {"event": 90_000})
        return at

    at = folder.change("events.jsonl", change) or 0
    return folder.finish(
        Expected(what=f"line {at + 1}"), ["events.jsonl"], [f"events.jsonl line {at + 1}"]
    )


@_kind("change the leaves")
def _change_leaves(folder: Folder) -> Expected:
    leaves = [bytes(each) for each in split_hashes(folder.read("leaves.bin"))]
    at = folder.rng.randrange(len(leaves) - 1)
    how = folder.rng.choice(("flip", "drop", "swap", "append", "repeat"))
    if how == "flip":
        leaves[at] = bytes([leaves[at][0] ^ 1]) + leaves[at][1:]
    elif how == "drop":
        del leaves[at]
    elif how == "swap":
        leaves[at], leaves[at + 1] = leaves[at + 1], leaves[at]
    else:
        leaves.insert(len(leaves) if how == "append" else at, leaves[at])
    folder.write("leaves.bin", b"".join(leaves))
    return folder.finish(Expected(what=f"{how} leaf {at}"), ["leaves.bin"], ["leaves.bin"])


@_kind("show an older head")
def _older_head(folder: Folder) -> Expected:
    """Head, leaves and events are those of an earlier day, which was signed, too."""
    heads = [
        head for head in folder.site.heads if size_of(head.note) < folder.manifest["log"]["size"]
    ]
    old, kept = folder.rng.choice(heads), folder.site.heads[-1]
    checkpoint = TreeHead.parse(parse_note(old.note).text)
    manifest = folder.manifest
    manifest["log"] |= {"head": old.note}
    found = [MANIFEST, kept.where]
    if folder.rng.random() < 0.7:
        manifest["log"] |= {"size": checkpoint.size, "root": checkpoint.root.hex()}
        folder.write("leaves.bin", folder.read("leaves.bin")[: 32 * checkpoint.size])
        rows = [row for row in folder.rows("events.jsonl") if row["seq"] < checkpoint.size]
        folder.write_rows("events.jsonl", rows, [])
    folder.write_manifest(manifest)
    folder.fit_manifest()
    return Expected(what=f"of {checkpoint.size}", wheres=tuple(found), kept=(kept,))


@_kind("sign another history")
def _other_history(folder: Folder) -> Expected:
    """An event is another, with its leaf, and root and head fit; the key is another of the name."""
    leaves = [bytes(each) for each in split_hashes(folder.read("leaves.bin"))]
    at = folder.rng.randrange(len(leaves))
    leaves[at] = leaf_hash(b"another event")
    edge = Frontier()
    for leaf in leaves:
        edge.add(leaf)
    folder.write("leaves.bin", b"".join(leaves))
    key = SigningKey.generate(LOG)
    words = TreeHead(LOG, len(leaves), edge.root()).text()
    manifest = folder.manifest
    head = format_note(SignedNote(words, (key.sign(words),)))
    manifest["log"] |= {"head": head, "root": edge.root().hex()}
    manifest["key"] = str(key.verifier)
    folder.write_manifest(manifest)
    folder.fit_manifest()
    body = {name: value for name, value in folder.manifest.items() if name != "signature"}
    signature = base64.b64encode(key.sign_bytes(SIGNED + canonical_json(body))).decode()
    folder.write_manifest(body | {"signature": signature})
    fitting = [head for head in folder.site.heads if at < size_of(head.note) <= len(leaves)]
    kept = folder.rng.choice(fitting) if fitting else None
    return Expected(
        what=f"leaf {at}",
        wheres=(MANIFEST, "the head of the log", *(["leaves.bin"] if kept else [])),
        kept=(kept,) if kept else (),
    )


@_kind("change what proves that the log goes on")
def _change_consistency(folder: Folder) -> Expected:
    values = json.loads(folder.read("consistency.json"))
    how = folder.rng.choice(("proof", "drop", "first_head", "head", "unsigned", "cut"))
    if how == "proof":
        at = folder.rng.randrange(len(values["proof"]))
        values["proof"][at] = folder.other(values["proof"][at])
    elif how == "drop":
        values["proof"].pop()
    elif how == "first_head":
        values["first_head"] = folder.site.heads[1].note
    elif how == "head":
        values["head"] = folder.site.heads[2].note
    elif how == "unsigned":  # the proof holds, and nobody ever signed where it begins
        leaves = [bytes(each) for each in split_hashes(folder.read("leaves.bin"))]
        first = folder.rng.randrange(1, len(leaves))
        edge = Frontier()
        for leaf in leaves[:first]:
            edge.add(leaf)
        words = TreeHead(LOG, first, edge.root()).text()
        key = SigningKey.generate(LOG)
        values["first_head"] = format_note(SignedNote(words, (key.sign(words),)))
        values["proof"] = [each.hex() for each in consistency_proof(leaves, first, len(leaves))]
    text = json.dumps(values, ensure_ascii=False)
    if how == "cut":
        text = text[: folder.rng.randrange(len(text) - 1)]
    folder.write("consistency.json", text.encode())
    return Expected(what=how, wheres=("consistency.json",))


@_kind("change the cosignatures")
def _change_cosignatures(folder: Folder) -> Expected:
    text = folder.read("cosignatures.txt").decode()
    how = folder.rng.choice(("size", "cut", "other head", "bytes"))
    if how == "size":
        lines = text.split("\n")
        lines[1] = str(int(lines[1]) + 1)
        text = "\n".join(lines)
    elif how == "cut":
        text = text[: folder.rng.randrange(40)]
    elif how == "other head":
        text = folder.site.heads[0].note
    folder.write("cosignatures.txt", b"\xff\xfe" if how == "bytes" else text.encode())
    return Expected(what=how, wheres=("cosignatures.txt",))


# -- the manifest and files ------------------------------------------------------------------------


@_kind("edit the manifest")
def _edit_manifest(folder: Folder) -> Expected:
    manifest = folder.manifest
    where, name = folder.rng.choice(
        [(manifest, each) for each in manifest if each not in ("files", "log", "format")]
        + [(manifest["counts"], each) for each in manifest["counts"]]
        + [(manifest["log"], each) for each in ("origin", "root", "key_statements")]
        + [(manifest["shows"], each) for each in manifest["shows"]]
        + [(manifest["versions"], each) for each in manifest["versions"]]
        + [(about, "bytes") for about in manifest["files"].values()]
    )
    where[name] = folder.other(where[name])
    folder.write_manifest(manifest)
    what = {id(manifest["counts"]): "counts.", id(manifest["log"]): "log."}.get(id(where), "")
    found = "the keys of the log" if name == "key_statements" else MANIFEST
    return Expected(what=f"{what}{name}", wheres=(found, MANIFEST))


@_kind("remove a file")
def _remove_file(folder: Folder) -> Expected:
    name = folder.rng.choice([each for each in folder.names if each not in _OUTSIDE])
    folder.write(name, None)
    if name.endswith(".png"):  # which a list names, and no manifest
        return Expected(what=name, wheres=(name,))
    return folder.finish(Expected(what=name), [name], [])


@_kind("swap two files")
def _swap_files(folder: Folder) -> Expected:
    pictures = [each for each in folder.names if each.endswith(".png")]
    names = pictures if len(pictures) > 1 and folder.rng.random() < 0.5 else folder.names
    one, other = folder.rng.sample([each for each in names if each not in _OUTSIDE], 2)
    first, second = folder.read(one), folder.read(other)
    if first == second:
        raise NoVictim
    folder.write(one, second)
    folder.write(other, first)
    rows = [name for name in (one, other) if name.endswith(".png")]
    return folder.finish(Expected(what=f"{one}, {other}"), [one, other], rows)


@_kind("add a file")
def _add_file(folder: Folder) -> Expected:
    name = folder.rng.choice(("more.csv", "med-r1/images/other.png", "answers.xlsx"))
    if not (folder.path / name).parent.is_dir():
        raise NoVictim
    folder.write(name, b"more")
    return Expected(what=name, remark=name)


@_kind("change a picture or a list")
def _change_picture(folder: Folder) -> Expected:
    names = [each for each in folder.names if each.startswith("med-r1/")]
    if not names:
        raise NoVictim
    name = folder.rng.choice(names)
    data = bytearray(folder.read(name))
    data[folder.rng.randrange(len(data))] ^= 1
    folder.write(name, bytes(data))
    return folder.finish(Expected(what=name), [name], [name] if name.endswith(".png") else [])


@_kind("change what explains it")
def _change_words(folder: Folder) -> Expected:
    name = folder.rng.choice(("GUIDE.md", "verify.py", "dictionary.csv"))
    data = folder.read(name)
    folder.write(name, data[: folder.rng.randrange(len(data))] + b"# nothing to see\n")
    return folder.finish(Expected(what=name), [name], [])


@_kind("cut a file off")
def _cut(folder: Folder) -> Expected:
    name = folder.rng.choice([each for each in folder.names if each != "cosignatures.txt"])
    data = folder.read(name)
    if len(data) < 2:
        raise NoVictim
    at = folder.rng.randrange(len(data) - 1)
    folder.write(name, data[:at])
    expected = Expected(what=f"{name} at {at} of {len(data)} bytes")
    if name in _OUTSIDE:
        expected.wheres = (name,)
        return expected
    return folder.finish(expected, [name], ["leaves.bin"] if name == "leaves.bin" else [])


@_kind("put nonsense in the place of rows")
def _put_nonsense(folder: Folder) -> Expected:
    """Whatever is there, a check goes on to its end and says where."""
    names = [
        each
        for each in folder.names
        if each.endswith((".csv", ".jsonl"))
        and not each.startswith(("dictionary", "selections", "answers_wide", "reading/"))
    ]
    name = folder.rng.choice(names)
    lines = folder.read(name).splitlines(keepends=True)
    at = folder.rng.randrange(len(lines) + 1)
    nonsense = (
        [b"{}\n", b"[]\n", b"null\n", b"7\n", b'"x"\n', b"\xff\n", b"[" * 5_000 + b"\n", b'{"seq":'
         b'"1","event":null}\n', b'{"answer_id": 1e400}\n', b'{"kind":[],"id":{}}\n']
        if name.endswith("jsonl")
        else [b"\xff\r\n", b'"\r\n', b"x\r\n", b"\0\r\n", b"," * 70 + b"\r\n"]
    )  # fmt: skip
    lines.insert(at, folder.rng.choice(nonsense))
    folder.write(name, b"".join(lines))
    found = f"{name} line {at + 1}" if name.endswith("jsonl") else name
    return folder.finish(Expected(what=f"{name}, line {at + 1}"), [name], [found])


def tamper(
    kind: str, folder: Path, site: AuditedSite, rng: random.Random
) -> tuple[Folder, Expected]:
    """Change an export; the caller changes it back."""
    for _ in range(40):
        changed = Folder(folder, site, rng)
        try:
            return changed, KINDS[kind](changed)
        except NoVictim:
            changed.undo()
            folder = rng.choice(sorted(site.exports.values()))
    raise AssertionError(f"no export can be tampered with by {kind!r}")
