"""What somebody does who can write the database and has no key, and where it must be found.

Every kind is a function that changes something in a copy and says what to expect.
"""

from __future__ import annotations

import copy
import enum
import random
import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from audited_site import LOG, AuditedSite, size_of
from sqlalchemy import (
    Connection,
    create_engine,
    delete,
    func,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from medr1_pacs.audit.findings import Finding
from medr1_pacs.audit.merkle import Frontier
from medr1_pacs.audit.notes import SignedNote, TreeHead, format_note
from medr1_pacs.audit.signing import SigningKey
from medr1_pacs.db.audit import canonical_event
from medr1_pacs.db.recording import hash_record, keep_commitments
from medr1_pacs.db.sessions import Database
from medr1_pacs.db.tables import AuditEvent, Base
from medr1_pacs.steps.verifying import KeptHead

TABLES = Base.metadata.tables


class NoVictim(Exception):
    """This copy has nothing that can be tampered with so; another choice may do."""


@dataclass(kw_only=True)
class Expected:
    """Where a tampering must be found."""

    what: str
    """What was done, to tell by."""
    wheres: tuple[str, ...] = ()
    """Each is the beginning of a finding's `where`."""
    place: int | None = None
    """Lies in the interval that a finding names."""
    remark: str | None = None
    """As `wheres`, of a finding that is no fault."""
    records: frozenset[tuple[str, int]] = frozenset()
    """That an export must find, too, where it has them."""
    events: frozenset[int] = frozenset()
    """As `records`."""
    can_be_exported: bool = True
    kept: tuple[KeptHead, ...] | None = None
    """Heads to check with instead of all that were kept."""

    def missing(self, findings: Sequence[Finding]) -> list[str]:
        """Return what is not found."""
        faults = [one for one in findings if one.is_fault]
        missing = [where for where in self.wheres if not any(_names(one, where) for one in faults)]
        if self.place is not None and not any(_spans(one, self.place) for one in faults):
            missing.append(f"an interval with place {self.place}")
        if self.remark is not None and not any(_names(one, self.remark) for one in findings):
            missing.append(f"a remark of {self.remark}")
        return missing


def _names(finding: Finding, where: str) -> bool:
    return re.match(re.escape(where) + r"(?!\d)", finding.where) is not None


def _spans(finding: Finding, place: int) -> bool:
    found = re.fullmatch(
        r"between (?:the beginning|.*\((\d+) events\)) and .* \((\d+) events\)", finding.where
    )
    return bool(found) and int(found[1] or 0) <= place < int(found[2])


class Intruder:
    """Writes a database past its triggers and references."""

    def __init__(
        self, connection: Connection, rng: random.Random, site: AuditedSite, database: Database
    ) -> None:
        self.connection = connection
        self.rng = rng
        self.site = site
        self.database = database
        self._disarm()

    def _disarm(self) -> None:
        if self.connection.dialect.name == "postgresql":
            self.connection.execute(text("SET session_replication_role = replica"))
            return
        self.connection.commit()  # a copy is thrown away: nothing of it need be durable
        self.connection.execute(text("PRAGMA synchronous = OFF"))
        triggers = self.connection.execute(
            text("SELECT name FROM sqlite_master WHERE type = 'trigger'")
        )
        for name in triggers.scalars().all():
            if name.startswith("audit_"):
                self.connection.execute(text(f"DROP TRIGGER {name}"))

    # -- rows ----------------------------------------------------------------------------------

    def ids(self, table: str, *conditions: Any) -> list[int]:
        key = next(iter(TABLES[table].primary_key.columns))
        return list(self.connection.execute(select(key).where(*conditions).order_by(key)).scalars())

    def choose(self, table: str, *conditions: Any) -> int:
        return self.one_of(self.ids(table, *conditions))

    def one_of(self, values: Iterable[Any]) -> Any:
        values = list(values)
        if not values:
            raise NoVictim
        return self.rng.choice(values)

    def row(self, table: str, row_id: int) -> dict[str, Any]:
        key = next(iter(TABLES[table].primary_key.columns))
        found = self.connection.execute(select(TABLES[table]).where(key == row_id)).one()
        return dict(found._mapping)

    def set(self, table: str, row_id: int, **values: Any) -> None:
        key = next(iter(TABLES[table].primary_key.columns))
        try:
            with self.connection.begin_nested():
                self.connection.execute(update(TABLES[table]).where(key == row_id).values(**values))
        except IntegrityError as error:  # a constraint, which another choice may get by
            raise NoVictim from error

    def drop(self, table: str, *conditions: Any) -> None:
        self.connection.execute(delete(TABLES[table]).where(*conditions))

    def add(self, table: str, **values: Any) -> int:
        try:
            with self.connection.begin_nested():
                added = self.connection.execute(insert(TABLES[table]).values(**values))
        except IntegrityError as error:
            raise NoVictim from error
        return int(added.inserted_primary_key[0])

    def new_id(self, table: str) -> int:
        key = next(iter(TABLES[table].primary_key.columns))
        return int(self.connection.execute(select(func.max(key))).scalar_one()) + 1

    def edit(self, table: str, row_id: int, names: Sequence[str]) -> str:
        """Change one field to something else that the column takes; returns which."""
        name = self.rng.choice(list(names))
        row = self.row(table, row_id)
        self.set(table, row_id, **{name: self.other(table, name, row[name])})
        return f"{table} {row_id}: {name}"

    def other(self, table: str, name: str, value: Any) -> Any:
        """Return another value for a column."""
        column = TABLES[table].columns[name]
        if column.foreign_keys:
            [reference] = column.foreign_keys
            others = self.ids(reference.column.table.name)
            return self.one_of(each for each in others if each != value)
        enumerated = getattr(column.type, "enum_class", None)
        if enumerated is not None:
            return self.one_of(each for each in enumerated if each != value)
        if isinstance(value, enum.Enum):
            return self.one_of(each for each in type(value) if each != value)
        return self._different(value, column)

    def _different(self, value: Any, column: Any) -> Any:
        if isinstance(value, bool):
            return not value
        if isinstance(value, int):
            return value + self.rng.choice((1, 2, 7))
        if isinstance(value, float):
            return value + 0.001
        if isinstance(value, datetime):
            return value + timedelta(microseconds=1)
        if isinstance(value, dict | list):
            return self._restructured(value)
        if value is None:
            return _SOMETHING.get(column.type.python_type, "something")
        if re.fullmatch("[0-9a-f]{32,64}", value):  # a hash or a salt stays one
            at = self.rng.randrange(len(value))
            return value[:at] + ("0" if value[at] != "0" else "1") + value[at + 1 :]
        if len(value) <= 1:
            return "B" if value != "B" else "C"
        at = self.rng.randrange(len(value))
        return value[:at] + ("x" if value[at] != "x" else "y") + value[at + 1 :]

    def _restructured(self, value: Any) -> Any:
        changed = copy.deepcopy(value)
        if isinstance(changed, list):
            if len(changed) > 1 and self.rng.random() < 0.5 and changed[0] != changed[-1]:
                changed.reverse()
                if changed != value:
                    return changed
            return [*changed, changed[-1] if changed else "x"]
        if changed and self.rng.random() < 0.5:
            name = self.rng.choice(sorted(changed))
            old = changed[name]
            changed[name] = f"{old}x" if isinstance(old, str) else [old]
            return changed
        return changed | {"added": True}

    # -- the log -------------------------------------------------------------------------------

    @property
    def size(self) -> int:
        return len(self.ids("audit_leaf"))

    def place_of(self, event_id: int) -> int:
        leaf = TABLES["audit_leaf"]
        return int(
            self.connection.execute(
                select(leaf.c.seq).where(leaf.c.event_id == event_id)
            ).scalar_one()
        )

    def event_at(self, place: int) -> int:
        return int(self.row("audit_leaf", place)["event_id"])

    def any_place(self, *, below: int | None = None) -> int:
        return self.rng.randrange(below or self.size)

    def named(self, place: int) -> str:
        return f"place {place} (event {self.event_at(place)})"

    def seal_again(self, place: int) -> None:
        """Let a leaf say what its event says now."""
        leaf = self.row("audit_leaf", place)
        event = AuditEvent(**self.row("audit_event", leaf["event_id"]))
        digest = canonical_event(event, leaf["study_id"], leaf["project_id"]).leaf()
        self.set("audit_leaf", place, sha256=digest.hex())

    def shift(self, first: int, by: int) -> None:
        """Move all places from one on up or down."""
        self.connection.execute(
            text(f"UPDATE audit_leaf SET seq = -seq - 1 WHERE seq >= {first:d}")
        )
        self.connection.execute(
            text(f"UPDATE audit_leaf SET seq = -seq - 1 + {by:d} WHERE seq < 0")
        )

    def add_event(self, like: int, **values: Any) -> int:
        """Add an event that is like another but for some values."""
        row = self.row("audit_event", like) | {"salt": f"{self.rng.getrandbits(128):032x}"}
        return self.add("audit_event", **(row | {"id": self.new_id("audit_event")} | values))

    def hash_record(self, kind: str, row_id: int) -> str:
        """Return the hash of a record as it is now, as the service itself computes it."""
        with Session(self.connection, join_transaction_mode="create_savepoint") as session:
            return hash_record(session, kind, row_id)

    def birth_of(self, kind: str, row_id: int) -> int:
        """Return the event that tells of a record first."""
        event = TABLES["audit_event"].c
        return self.ids(
            "audit_event",
            event.object_type == kind,
            event.object_id == row_id,
            event.record_sha256.is_not(None),
            event.action.not_in(("account.role_given", "account.role_removed")),
        )[0]

    def heads_of(self, leaves: Sequence[bytes], key: SigningKey) -> None:
        """Put heads in the place of the recorded ones, over other leaves and by another key."""
        edge, rows = (
            Frontier(),
            {row: self.row("audit_head", row) for row in self.ids("audit_head")},
        )
        for row_id, row in sorted(rows.items(), key=lambda item: item[1]["size"]):
            if row["size"] > len(leaves):
                self.drop("audit_head", TABLES["audit_head"].c.id == row_id)
                continue
            while edge.size < row["size"]:
                edge.add(leaves[edge.size])
            words = TreeHead(key.name, edge.size, edge.root()).text()
            self.set(
                "audit_head",
                row_id,
                origin=key.name,
                root_sha256=edge.root().hex(),
                frontier=[each.hex() for each in edge.hashes],
                note=format_note(SignedNote(words, (key.sign(words),))),
            )

    def leaves(self) -> list[bytes]:
        leaf = TABLES["audit_leaf"]
        rows = self.connection.execute(select(leaf.c.sha256).order_by(leaf.c.seq))
        return [bytes.fromhex(each) for each in rows.scalars()]


_SOMETHING: dict[type, Any] = {
    int: 1,
    float: 0.5,
    bool: True,
    datetime: datetime(2026, 1, 1, tzinfo=UTC),
    dict: {"added": True},
    list: ["added"],
}

Kind = Callable[[Intruder], Expected]
"""Raises `NoVictim` where this choice cannot be tampered with so."""
KINDS: dict[str, Kind] = {}


def _kind(name: str) -> Callable[[Kind], Kind]:
    def register(function: Kind) -> Kind:
        assert name not in KINDS
        KINDS[name] = function
        return function

    return register


def _records(kind: str, ids: Iterable[int], what: str, *also: str) -> Expected:
    """Expect records to be found, and what else is named."""
    ids = sorted(set(ids))
    return Expected(
        what=what,
        wheres=(*(f"{kind} {each}" for each in ids), *also),
        records=frozenset((kind, each) for each in ids),
    )


# -- answers ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Chain:
    """The rows that an answer is made of."""

    answer: int
    generation: int
    prompt: int
    rendering: int
    instance: int
    series: int
    study: int
    question: int
    checkpoint: int
    is_withdrawn: bool


def _chains(intruder: Intruder, *, withdrawn: bool = False) -> list[_Chain]:
    rows = intruder.connection.execute(
        text(
            "SELECT answer.id, generation.id, prompt.id, rendering.id, instance.id, series.id, "
            "series.study_id, prompt.question_id, generation.checkpoint_id, "
            "answer.record_salt IS NULL FROM answer "
            "JOIN generation ON generation.id = answer.generation_id "
            "JOIN prompt ON prompt.id = generation.prompt_id "
            "JOIN rendering ON rendering.id = prompt.rendering_id "
            "JOIN instance ON instance.id = rendering.instance_id "
            "JOIN series ON series.id = instance.series_id ORDER BY answer.id"
        )
    )
    return [chain for row in rows if (chain := _Chain(*row)).is_withdrawn == withdrawn]


def _edit_part(part: str, table: str, names: Sequence[str]) -> Kind:
    def edit(intruder: Intruder) -> Expected:
        chains = _chains(intruder)
        row_id = getattr(intruder.one_of(chains), part)
        what = intruder.edit(table, row_id, names)
        return _records(
            "answer", (each.answer for each in chains if getattr(each, part) == row_id), what
        )

    return edit


_PARTS = {
    "answer": ("choice", "choice_text", "reasoning", "parse_status", "record_salt"),
    "generation": (
        "run", "png_sha256", "engine", "versions", "dtype", "attention", "finish_reason",
        "prompt_tokens", "completion_tokens", "seconds", "chat_text", "raw_output",
        "checkpoint_id", "prompt_id",
    ),
    "prompt": (
        "kind", "coverage", "requested_checkpoint", "options", "option_order", "prompt_text",
        "prompt_sha256", "decoding", "decoding_sha256", "rendering_id", "question_id",
    ),
    "rendering": ("frame_number", "instance_id"),
    "instance": ("series_id",),
    "series": ("study_id",),
}  # fmt: skip
for _part, _names_of in _PARTS.items():
    KINDS[f"edit {_part} of an answer"] = _edit_part(_part, _part, _names_of)


@_kind("swap two answers")
def _swap_answers(intruder: Intruder) -> Expected:
    chains = _chains(intruder)
    first, second = intruder.one_of(chains).answer, intruder.one_of(chains).answer
    one, other = intruder.row("answer", first), intruder.row("answer", second)
    names = ("choice", "choice_text", "reasoning", "parse_status")
    if all(one[name] == other[name] for name in names):
        raise NoVictim
    for row_id, row in ((first, other), (second, one)):
        intruder.set("answer", row_id, **{name: row[name] for name in names})
    return _records("answer", (first, second), f"answers {first} and {second}")


@_kind("edit a withdrawn answer")
def _edit_withdrawn(intruder: Intruder) -> Expected:
    chain = intruder.one_of(_chains(intruder, withdrawn=True))
    choices = (
        ("answer", chain.answer, ("choice", "parse_status", "record_commitments")),
        ("generation", chain.generation, ("engine", "prompt_tokens")),
        ("prompt", chain.prompt, ("decoding_sha256",)),
    )
    table, row_id, names = intruder.rng.choice(choices)
    if intruder.rng.random() < 0.3:
        intruder.set("answer", chain.answer, reasoning="There was another text")
        expected = _records("answer", [chain.answer], f"text of withdrawn answer {chain.answer}")
        expected.records = frozenset()  # an export shows no text of it, whatever there is
        return expected
    if "record_commitments" in names and intruder.rng.random() < 0.5:
        kept = dict(intruder.row("answer", row_id)["record_commitments"])
        kept[intruder.rng.choice(sorted(kept))] = f"{intruder.rng.getrandbits(256):064x}"
        intruder.set("answer", row_id, record_commitments=kept)
        return _records("answer", [chain.answer], f"commitment of answer {chain.answer}")
    names = tuple(name for name in names if name != "record_commitments")
    what = intruder.edit(table, row_id, names)
    return _records("answer", [chain.answer], f"withdrawn: {what}")


@_kind("erase the texts of a record")
def _erase_texts(intruder: Intruder) -> Expected:
    """The commitments stay, as they do of what is withdrawn, so the hash is right."""
    kind = intruder.rng.choice(("answer", *_TEXTS_OF))
    row_id = intruder.choose(kind, TABLES[kind].c.record_salt.is_not(None))
    with Session(intruder.connection, join_transaction_mode="create_savepoint") as session:
        keep_commitments(session, kind, [row_id])
        session.commit()
    if kind == "answer":
        [chain] = [each for each in _chains(intruder, withdrawn=True) if each.answer == row_id]
        intruder.set("answer", row_id, reasoning=None, choice_text=None)
        intruder.set("generation", chain.generation, raw_output=None, chat_text=None)
        intruder.set("prompt", chain.prompt, prompt_text="", options=[])
    else:
        intruder.set(kind, row_id, **_TEXTS_OF[kind])
    return _records(kind, [row_id], f"texts of {kind} {row_id}")


_TEXTS_OF: dict[str, dict[str, Any]] = {
    "reference_standard": {"truth": None, "certainty": None},
    "reference_statement": {"truth": None, "certainty": None},
    "reading_case": {"truth": None, "model_side": None},
    "review": {
        "choice_text": None, "cannot_assess": None, "comment": None, "reason": None, "flags": [],
    },
}  # fmt: skip
"""Kind of record -> what a withdrawal puts in the place of its texts."""


@_kind("take a study out of a project")
def _take_study(intruder: Intruder) -> Expected:
    chain = intruder.one_of(_chains(intruder))
    uses = TABLES["project_study"].c
    for use in intruder.ids("project_study", uses.study_id == chain.study):
        intruder.set("project_study", use, withdrawn_at=datetime.now(UTC))
    answers = [each.answer for each in _chains(intruder) if each.study == chain.study]
    expected = _records("answer", answers, f"study {chain.study}")
    if intruder.rng.random() < 0.5:
        intruder.drop("answer_facet", TABLES["answer_facet"].c.study_id == chain.study)
    else:
        expected.records = frozenset()  # an export has them, whatever pages show
    expected.wheres = (f"study {chain.study}",)
    return expected


@_kind("delete a study from a project")
def _delete_use(intruder: Intruder) -> Expected:
    chain = intruder.one_of(_chains(intruder))
    answers = [each.answer for each in _chains(intruder) if each.study == chain.study]
    intruder.drop("answer_facet", TABLES["answer_facet"].c.study_id == chain.study)
    intruder.drop("project_study", TABLES["project_study"].c.study_id == chain.study)
    expected = _records("answer", answers, f"uses of study {chain.study}")
    expected.wheres = (f"study {chain.study}",)
    return expected


@_kind("delete an answer")
def _delete_answer(intruder: Intruder) -> Expected:
    chain = intruder.one_of(_chains(intruder, withdrawn=intruder.rng.random() < 0.1))
    intruder.drop("answer_facet", TABLES["answer_facet"].c.answer_id == chain.answer)
    part = intruder.rng.choice(("answer", "generation", "prompt"))
    intruder.drop(part, TABLES[part].c.id == getattr(chain, part))
    if part != "answer" and intruder.rng.random() < 0.5:
        intruder.drop("answer", TABLES["answer"].c.id == chain.answer)
    return _records("answer", [chain.answer], f"{part} of answer {chain.answer}")


@_kind("insert an answer")
def _insert_answer(intruder: Intruder) -> Expected:
    chain = intruder.one_of(_chains(intruder))
    generation = intruder.row("generation", chain.generation)
    new = {"id": intruder.new_id("generation"), "run": 2}
    generation_id = intruder.add("generation", **(generation | new))
    new = {"id": intruder.new_id("answer"), "generation_id": generation_id}
    answer_id = intruder.add("answer", **(intruder.row("answer", chain.answer) | new))
    facet = TABLES["answer_facet"]
    for row in intruder.connection.execute(
        select(facet).where(facet.c.answer_id == chain.answer)
    ).all():
        intruder.add("answer_facet", **(dict(row._mapping) | {"answer_id": answer_id}))
    return _records("answer", [answer_id], f"answer {answer_id}")


# -- the other records -----------------------------------------------------------------------------

_FIELDS = {
    "question": (
        "question_id", "version", "question_sha256", "modality", "task", "role", "definition",
        "record_salt",
    ),
    "checkpoint": ("name", "revision", "sha256", "is_demo"),
    "reference_standard": (
        "truth", "certainty", "stated_by", "source", "unit", "version", "instance_id",
        "question_id", "statement_id", "record_salt",
    ),
    "reference_statement": (
        "import_id", "unit", "patient_id", "study_id", "instance_id", "side", "question_id",
        "version", "truth", "certainty", "stated_by", "record_salt",
    ),
    "reading_case": (
        "number", "kind", "study_id", "study_version_id", "question_id", "rendering_id",
        "study_answer_id", "model_side", "truth", "truth_source", "record_salt",
    ),
    "review": (
        "assignment_id", "case_id", "account_id", "phase", "version", "reason", "is_after_reveal",
        "choice_text", "cannot_assess", "confidence", "flags", "reasoning_grade",
        "reasoning_error", "comment", "place", "active_ms", "wall_ms", "opened_at", "locked_at",
        "record_salt",
    ),
    "account": ("name", "record_salt"),
}  # fmt: skip


def _edit_record(kind: str, names: Sequence[str]) -> Kind:
    def edit(intruder: Intruder) -> Expected:
        conditions = []
        if "record_salt" in names:  # of what was withdrawn another is edited
            conditions = [TABLES[kind].c.record_salt.is_not(None)]
        row_id = intruder.choose(kind, *conditions)
        return _records(kind, [row_id], intruder.edit(kind, row_id, names))

    return edit


def _delete_record(kind: str) -> Kind:
    def drop(intruder: Intruder) -> Expected:
        row_id = intruder.choose(kind)
        answers = [each.answer for each in _chains(intruder) if getattr(each, kind, None) == row_id]
        intruder.drop(kind, TABLES[kind].c.id == row_id)
        expected = _records(kind, [row_id], f"{kind} {row_id}")
        if kind in ("question", "checkpoint"):  # which an export knows by what was answered
            expected.records = frozenset(("answer", each) for each in answers)
        return expected

    return drop


def _insert_record(kind: str) -> Kind:
    unique = {
        "question": "question_sha256",
        "checkpoint": "sha256",
        "reference_standard": "version",
        "reference_statement": "version",
        "reading_case": "number",
        "review": "version",
        "account": "name",
    }[kind]

    def add(intruder: Intruder) -> Expected:
        row = intruder.row(kind, intruder.choose(kind))
        other = intruder.other(kind, unique, row[unique])
        row_id = intruder.add(kind, **(row | {"id": intruder.new_id(kind), unique: other}))
        return _records(kind, [row_id], f"{kind} {row_id}")

    return add


for _name, _fields in _FIELDS.items():
    KINDS[f"edit {_name}"] = _edit_record(_name, _fields)
    KINDS[f"delete {_name}"] = _delete_record(_name)
    KINDS[f"insert {_name}"] = _insert_record(_name)


@_kind("edit of which kind a read is, or in which arm")
def _edit_read(intruder: Intruder) -> Expected:
    """No record by itself: each review of it says what it was."""
    review = TABLES["review"].c
    reviewed = [
        intruder.row("review", each)["assignment_id"]
        for each in intruder.ids("review", review.record_salt.is_not(None))
    ]
    row_id = intruder.one_of(reviewed)
    what = intruder.edit("assignment", row_id, ("kind", "arm"))
    return _records("review", intruder.ids("review", review.assignment_id == row_id), what)


@_kind("edit a reading protocol")
def _edit_protocol(intruder: Intruder) -> Expected:
    row_id = intruder.choose("reading_protocol")
    what = intruder.edit("reading_protocol", row_id, ("definition", "definition_sha256", "state"))
    return Expected(what=what, wheres=(f"reading_protocol {row_id}",))


@_kind("let a truth count, or not")
def _supersede(intruder: Intruder) -> Expected:
    row_id = intruder.choose("reference_standard")
    row = intruder.row("reference_standard", row_id)
    now = None if row["superseded_at"] is not None else datetime.now(UTC)
    intruder.set("reference_standard", row_id, superseded_at=now)
    expected = _records("reference_standard", [row_id], f"superseded_at of {row_id}")
    if row["record_salt"] is None:  # an export does not say whether what is withdrawn counted
        expected.records = frozenset()
    return expected


@_kind("put a value that is none of its column's kind")
def _put_nonsense(intruder: Intruder) -> Expected:
    """A check goes on to its end, whatever stands there."""
    table, name, value, where = intruder.rng.choice(_NONSENSE)
    if intruder.connection.dialect.name == "postgresql" and name not in ("parse_status", "role"):
        raise NoVictim
    conditions = [TABLES[table].c.record_salt.is_not(None)] if where is not None else []
    row_id = intruder.choose(table, *conditions)
    if table == "project_member":
        expected = Expected(what="", wheres=(_role(intruder, row_id),))
    elif where is None:
        place = intruder.any_place()
        row_id = intruder.event_at(place)
        expected = Expected(what="", wheres=(intruder.named(place),))
    else:
        expected = _records(where, [row_id], "")
    expected.can_be_exported = False  # nobody reads it on
    expected.what = f"{table}.{name} {row_id} is {value!r}"
    intruder.connection.execute(
        text(f"UPDATE {table} SET {name} = :value WHERE id = :id"), {"value": value, "id": row_id}
    )
    return expected


_NONSENSE = (
    ("answer", "parse_status", "guessed", "answer"),
    ("answer", "choice", b"\xff", "answer"),
    ("answer", "record_commitments", "[", "answer"),
    ("answer", "record_salt", "salt", "answer"),
    ("reference_standard", "source", "hearsay", "reference_standard"),
    ("reading_case", "model_side", "{", "reading_case"),
    ("review", "phase", "asleep", "review"),
    ("review", "locked_at", "yesterday", "review"),
    ("question", "definition", "{", "question"),
    ("project_member", "role", "king", "project_member"),
    ("audit_event", "occurred_at", "yesterday", None),
    ("audit_event", "new_value", "{", None),
    ("audit_event", "old_value", "7", None),
    ("audit_event", "salt", "salt", None),
    ("audit_event", "actor", b"\xff", None),
)


@_kind("edit a role")
def _edit_role(intruder: Intruder) -> Expected:
    row_id = intruder.choose("project_member")
    where = _role(intruder, row_id)
    what = intruder.edit(
        "project_member", row_id, ("role", "account_id", "project_id", "is_from_provider")
    )
    return Expected(what=what, wheres=(where, _role(intruder, row_id)))


@_kind("delete a role")
def _delete_role(intruder: Intruder) -> Expected:
    row_id = intruder.choose("project_member")
    where = _role(intruder, row_id)
    intruder.drop("project_member", TABLES["project_member"].c.id == row_id)
    return Expected(what=where, wheres=(where,))


@_kind("insert a role")
def _insert_role(intruder: Intruder) -> Expected:
    row = intruder.row("project_member", intruder.choose("project_member"))
    name = intruder.rng.choice(("role", "account_id", "project_id"))
    new = {name: intruder.other("project_member", name, row[name])}
    row_id = intruder.add(
        "project_member", **(row | new | {"id": intruder.new_id("project_member")})
    )
    where = _role(intruder, row_id)
    return Expected(what=where, wheres=(where,))


@_kind("make an administrator, or unmake one")
def _administrate(intruder: Intruder) -> Expected:
    row_id = intruder.choose("account")
    intruder.set(
        "account", row_id, is_administrator=not intruder.row("account", row_id)["is_administrator"]
    )
    where = f"account {row_id}, role administrator"
    return Expected(what=where, wheres=(where,))


@_kind("close an account, or open one")
def _close_account(intruder: Intruder) -> Expected:
    row_id = intruder.choose("account")
    was = intruder.row("account", row_id)["closed_at"]
    intruder.set("account", row_id, closed_at=None if was else datetime.now(UTC))
    return Expected(what=f"closed_at of account {row_id}", wheres=(f"account {row_id}",))


def _role(intruder: Intruder, row_id: int) -> str:
    row = intruder.row("project_member", row_id)
    project = intruder.row("project", row["project_id"])["name"]
    return f"account {row['account_id']}, role {row['role'].value} in {project}"


# -- records together with their events ------------------------------------------------------------

_TOLD_KINDS = (
    "answer", "question", "checkpoint", "reference_standard", "reading_case", "review", "account",
)  # fmt: skip


def _edit_told(intruder: Intruder) -> tuple[str, int, int]:
    """Edit a record; returns its kind, its row id, and the event that tells of it."""
    kind = intruder.rng.choice(_TOLD_KINDS)
    if kind == "answer":
        row_id = intruder.one_of(_chains(intruder)).answer
        intruder.edit("answer", row_id, ("choice", "reasoning"))
    else:
        row_id = intruder.choose(kind, *_has_salt(kind))
        names = [name for name in _FIELDS[kind] if name in _SAFE]
        intruder.edit(kind, row_id, names)
    return kind, row_id, intruder.birth_of(kind, row_id)


_SAFE = frozenset({"task", "revision", "is_demo", "truth", "stated_by", "name", "choice_text"})


def _has_salt(kind: str) -> list[Any]:
    return [] if kind == "checkpoint" else [TABLES[kind].c.record_salt.is_not(None)]


@_kind("edit a record and what its event says")
def _edit_record_and_event(intruder: Intruder) -> Expected:
    kind, row_id, event_id = _edit_told(intruder)
    intruder.set("audit_event", event_id, record_sha256=intruder.hash_record(kind, row_id))
    return Expected(
        what=f"{kind} {row_id}, event {event_id}",
        wheres=(intruder.named(intruder.place_of(event_id)),),
        events=frozenset({event_id}),
    )


@_kind("edit a record, its event and the leaf")
def _edit_record_event_and_leaf(intruder: Intruder) -> Expected:
    kind, row_id, event_id = _edit_told(intruder)
    intruder.set("audit_event", event_id, record_sha256=intruder.hash_record(kind, row_id))
    place = intruder.place_of(event_id)
    intruder.seal_again(place)
    return Expected(what=f"{kind} {row_id}, event {event_id}, place {place}", place=place)


@_kind("edit a record and add an event that says so")
def _edit_record_and_add_event(intruder: Intruder) -> Expected:
    kind, row_id, event_id = _edit_told(intruder)
    intruder.add_event(
        event_id,
        record_sha256=intruder.hash_record(kind, row_id),
        occurred_at=datetime.now(UTC),
    )
    return _records(kind, [row_id], f"{kind} {row_id}, told again")


@_kind("edit a record and let an event that says so be sealed")
def _edit_record_and_let_seal(intruder: Intruder) -> Expected:
    expected = _edit_record_and_add_event(intruder)
    _let_seal(intruder)
    return expected


def _let_seal(intruder: Intruder) -> str:
    """Let the sealer, who suspects nothing, seal and sign; returns the head."""
    intruder.connection.commit()
    path = intruder.site.folder / f"heads-{intruder.rng.getrandbits(64):x}.jsonl"
    try:
        return intruder.site.sealer(intruder.database, path).current_head()
    finally:
        path.unlink()
        intruder.database.dispose()


# -- events ----------------------------------------------------------------------------------------

_EVENT_FIELDS = (
    "occurred_at", "actor", "action", "object_type", "object_id", "old_value", "new_value",
    "reason", "account_id", "salt", "record_sha256",
)  # fmt: skip


def _edit_event(intruder: Intruder, place: int) -> str:
    event_id = intruder.event_at(place)
    return intruder.edit("audit_event", event_id, _EVENT_FIELDS)


@_kind("edit an event")
def _edit_one_event(intruder: Intruder) -> Expected:
    place = intruder.any_place()
    what, event_id = _edit_event(intruder, place), intruder.event_at(place)
    return Expected(what=what, wheres=(intruder.named(place),), events=frozenset({event_id}))


@_kind("edit an event and its leaf")
def _edit_event_and_leaf(intruder: Intruder) -> Expected:
    place = intruder.any_place()
    what = _edit_event(intruder, place)
    intruder.seal_again(place)
    return Expected(what=f"{what}, sealed again", place=place)


@_kind("edit the id of an event")
def _renumber_event(intruder: Intruder) -> Expected:
    place, new_id = intruder.any_place(), intruder.new_id("audit_event")
    old_id = intruder.event_at(place)
    intruder.set("audit_event", old_id, id=new_id)
    if intruder.rng.random() < 0.5:
        return Expected(what=f"event {old_id} is {new_id}", wheres=(intruder.named(place),))
    intruder.set("audit_leaf", place, event_id=new_id)
    return Expected(what=f"event {old_id} is {new_id}, place too", wheres=(intruder.named(place),))


@_kind("swap two events")
def _swap_events(intruder: Intruder) -> Expected:
    one, other = intruder.any_place(), intruder.any_place()
    if one == other:
        raise NoVictim
    events = intruder.event_at(one), intruder.event_at(other)
    rows = [intruder.row("audit_event", each) for each in events]
    for event_id, row in zip(events, reversed(rows), strict=True):
        intruder.set("audit_event", event_id, **{name: row[name] for name in _EVENT_FIELDS})
    return Expected(
        what=f"events {events}",
        wheres=(intruder.named(one), intruder.named(other)),
        events=frozenset(events),
    )


@_kind("delete an event")
def _delete_event(intruder: Intruder) -> Expected:
    place = intruder.any_place()
    event_id = intruder.event_at(place)
    intruder.drop("audit_event", TABLES["audit_event"].c.id == event_id)
    return Expected(
        what=f"event {event_id}",
        wheres=(f"place {place} (event {event_id})",),
        events=frozenset({event_id}),
    )


@_kind("delete an event and its record")
def _delete_event_and_record(intruder: Intruder) -> Expected:
    chain = intruder.one_of(_chains(intruder))
    event_id = intruder.birth_of("answer", chain.answer)
    intruder.drop("answer_facet", TABLES["answer_facet"].c.answer_id == chain.answer)
    intruder.drop("answer", TABLES["answer"].c.id == chain.answer)
    intruder.drop("audit_event", TABLES["audit_event"].c.id == event_id)
    return Expected(
        what=f"answer {chain.answer} and event {event_id}",
        wheres=(intruder.named(intruder.place_of(event_id)),),
        events=frozenset({event_id}),
    )


@_kind("delete events and their leaves")
def _delete_places(intruder: Intruder) -> Expected:
    count = intruder.rng.choice((1, 1, 2, 5))
    first = intruder.any_place(below=intruder.size - count)
    events = [intruder.event_at(place) for place in range(first, first + count)]
    leaf = TABLES["audit_leaf"].c
    intruder.drop("audit_leaf", leaf.seq.between(first, first + count - 1))
    intruder.drop("audit_event", TABLES["audit_event"].c.id.in_(events))
    return Expected(
        what=f"places from {first}: {count}", wheres=(f"places {first} to {first + count - 1}",)
    )


@_kind("delete a leaf")
def _delete_leaf(intruder: Intruder) -> Expected:
    place = intruder.any_place(below=intruder.size - 1)
    intruder.drop("audit_leaf", TABLES["audit_leaf"].c.seq == place)
    return Expected(what=f"leaf {place}", wheres=(f"places {place} to {place}",))


@_kind("delete an event and close the gap")
def _delete_and_close(intruder: Intruder) -> Expected:
    place = intruder.any_place(below=intruder.size - 1)
    event_id = intruder.event_at(place)
    intruder.drop("audit_leaf", TABLES["audit_leaf"].c.seq == place)
    intruder.drop("audit_event", TABLES["audit_event"].c.id == event_id)
    intruder.shift(place + 1, -1)
    return Expected(what=f"event {event_id}, place {place}", place=place)


@_kind("insert an event between others")
def _insert_event(intruder: Intruder) -> Expected:
    place, like = intruder.any_place(), intruder.event_at(intruder.any_place())
    new = intruder.add_event(like)
    intruder.shift(place, 1)
    scope = intruder.row("audit_leaf", intruder.place_of(like))
    intruder.add("audit_leaf", **(scope | {"seq": place, "event_id": new}))
    intruder.seal_again(place)
    return Expected(what=f"event like {like} at {place}", place=place)


@_kind("insert an event without a place")
def _insert_unsealed(intruder: Intruder) -> Expected:
    new = intruder.add_event(
        intruder.event_at(intruder.any_place()),
        occurred_at=datetime.now(UTC) - timedelta(days=1),
    )
    return Expected(what=f"event {new}", wheres=(f"event {new}",))


@_kind("insert an event of tomorrow, which nobody misses yet")
def _insert_future(intruder: Intruder) -> Expected:
    like = intruder.event_at(intruder.any_place())
    new = intruder.add_event(like, occurred_at=datetime.now(UTC) + timedelta(days=1))
    return Expected(what=f"event {new}", wheres=(f"event {new}",))


@_kind("insert an event with a false time, which is sealed")
def _insert_back_dated(intruder: Intruder) -> Expected:
    like = intruder.event_at(intruder.any_place())
    event = intruder.row("audit_event", like)
    back = event["occurred_at"] - timedelta(seconds=intruder.rng.randrange(600, 90_000))
    new = intruder.add_event(like, occurred_at=back, object_id=None, record_sha256=None,
                             action="study.state_changed", object_type="study")  # fmt: skip
    _let_seal(intruder)
    where = f"place {intruder.place_of(new)} (event {new})"
    return Expected(what=f"event {new}", remark=where)


@_kind("swap the places of two events")
def _swap_places(intruder: Intruder) -> Expected:
    one, other = sorted((intruder.any_place(), intruder.any_place()))
    if one == other:
        raise NoVictim
    for old, new in ((one, -1), (other, one), (-1, other)):
        intruder.set("audit_leaf", old, seq=new)
    return Expected(what=f"places {one} and {other}", place=one)


@_kind("swap the events of two leaves")
def _swap_leaves(intruder: Intruder) -> Expected:
    one, other = intruder.any_place(), intruder.any_place()
    if one == other:
        raise NoVictim
    events = intruder.event_at(one), intruder.event_at(other)
    for place, event_id in ((one, -1), (other, events[0]), (one, events[1])):
        intruder.set("audit_leaf", place, event_id=event_id)
    return Expected(
        what=f"leaves {one} and {other}", wheres=(intruder.named(one), intruder.named(other))
    )


@_kind("move an event to another place")
def _move_event(intruder: Intruder) -> Expected:
    start, end = sorted((intruder.any_place(), intruder.any_place()))
    if start == end:
        raise NoVictim
    intruder.set("audit_leaf", start, seq=100_000)
    intruder.connection.execute(
        text(f"UPDATE audit_leaf SET seq = -seq WHERE seq > {start:d} AND seq <= {end:d}")
    )
    intruder.connection.execute(text("UPDATE audit_leaf SET seq = -seq - 1 WHERE seq < 0"))
    intruder.set("audit_leaf", 100_000, seq=end)
    return Expected(what=f"place {start} to {end}", place=start)


@_kind("edit a leaf")
def _edit_leaf(intruder: Intruder) -> Expected:
    place = intruder.any_place()
    intruder.edit("audit_leaf", place, ("sha256",))
    event_id = intruder.event_at(place)
    return Expected(
        what=f"leaf {place}", wheres=(intruder.named(place),), events=frozenset({event_id})
    )


@_kind("move an event out of its study or project")
def _edit_scope(intruder: Intruder) -> Expected:
    place = intruder.any_place()
    row = intruder.row("audit_leaf", place)
    name = intruder.rng.choice(("study_id", "project_id"))
    other = intruder.one_of(each for each in (None, 1, 2, 3) if each != row[name])
    intruder.set("audit_leaf", place, **{name: other})
    return Expected(what=f"{name} of place {place}", wheres=(intruder.named(place),))


# -- the whole log ---------------------------------------------------------------------------------


def _cut(intruder: Intruder, size: int) -> None:
    leaf, event, head = (TABLES[name].c for name in ("audit_leaf", "audit_event", "audit_head"))
    events = [intruder.event_at(place) for place in range(size, intruder.size)]
    intruder.drop("audit_leaf", leaf.seq >= size)
    intruder.drop("audit_event", event.id.in_(events))
    intruder.drop("audit_head", head.size > size)


@_kind("cut the log off")
def _truncate(intruder: Intruder) -> Expected:
    size = intruder.rng.randrange(1, intruder.size)
    _cut(intruder, size)
    larger = [head.where for head in intruder.site.heads if size_of(head.note) > size]
    return Expected(what=f"at {size}", wheres=tuple(larger))


@_kind("cut the log off, one head kept")
def _truncate_one_kept(intruder: Intruder) -> Expected:
    kept = intruder.one_of(intruder.site.heads)
    size = intruder.rng.randrange(0, size_of(kept.note))
    _cut(intruder, size)
    return Expected(what=f"at {size}", wheres=(kept.where,), kept=(kept,))


@_kind("put an older copy back")
def _restore(intruder: Intruder) -> Expected:
    size = intruder.one_of(sorted(intruder.site.snapshots)[:-1])
    _put(intruder, intruder.site.snapshots[size])
    larger = [head.where for head in intruder.site.heads if size_of(head.note) > size]
    return Expected(what=f"of {size} events", wheres=tuple(larger))


def _put(intruder: Intruder, path: Path) -> None:
    target = Path(intruder.database.url.removeprefix("sqlite:///"))
    intruder.connection.commit()
    intruder.connection.close()
    shutil.copyfile(path, target)


def _reopen(intruder: Intruder) -> None:
    intruder.connection = intruder.connection.engine.connect()
    intruder._disarm()


@_kind("put an older copy back and go on otherwise")
def _restore_and_go_on(intruder: Intruder) -> Expected:
    sizes = sorted(intruder.site.snapshots)
    size = intruder.one_of(sizes[:-1])
    _put(intruder, intruder.site.snapshots[size])
    _reopen(intruder)
    for place in range(size, sizes[-1] + intruder.rng.randrange(3)):
        new = intruder.add_event(intruder.event_at(0), occurred_at=datetime.now(UTC))
        scope = intruder.row("audit_leaf", 0)
        intruder.add("audit_leaf", **(scope | {"seq": place, "event_id": new}))
        intruder.seal_again(place)
    return Expected(what=f"from {size} events", place=size)


def _rewrite(intruder: Intruder, name: str) -> tuple[int, str]:
    """Edit some events, seal all of them again, and sign heads with a key of our own."""
    places = sorted({intruder.any_place() for _ in range(intruder.rng.randrange(1, 4))})
    what = "; ".join(_edit_event(intruder, place) for place in places)
    for place in places:
        intruder.seal_again(place)
    intruder.heads_of(intruder.leaves(), SigningKey.generate(name))
    return places[0], what


@_kind("rewrite the log, heads signed by another key of its name")
def _rewrite_same_name(intruder: Intruder) -> Expected:
    place, what = _rewrite(intruder, LOG)
    sizes = [size_of(head.note) for head in intruder.site.heads]
    recorded = tuple(f"recorded head of {size}" for size in sizes)
    return Expected(what=what, place=place, wheres=recorded)


@_kind("rewrite the log, heads signed under another name")
def _rewrite_other_name(intruder: Intruder) -> Expected:
    place, what = _rewrite(intruder, "medr1-pacs/00000002")
    return Expected(what=what, place=place)


@_kind("rewrite the log, one head kept")
def _rewrite_one_kept(intruder: Intruder) -> Expected:
    kept = intruder.site.heads[-1]
    place, what = _rewrite(intruder, "medr1-pacs/00000002")
    return Expected(what=what, place=place, kept=(kept,))


@_kind("show two auditors two histories")
def _fork(intruder: Intruder) -> Expected:
    """The key is ours: one auditor kept a head of another continuation."""
    sizes = sorted(intruder.site.snapshots)
    at = intruder.rng.randrange(len(sizes) - 1)
    _put(intruder, intruder.site.snapshots[sizes[at]])
    _reopen(intruder)
    for _ in range(intruder.rng.randrange(1, sizes[-1] - sizes[at] + 1)):
        intruder.add_event(intruder.event_at(0), occurred_at=datetime.now(UTC))
    intruder.connection.commit()
    heads = intruder.site.folder / "fork.jsonl"
    lines = (intruder.site.folder / "heads.jsonl").read_text("utf-8").splitlines(keepends=True)
    fork = intruder.site.sealer(intruder.database, heads)
    heads.write_text("".join(lines[: at + 1]), "utf-8")
    note = fork.current_head()
    intruder.database.dispose()
    heads.unlink()
    _put(intruder, intruder.site.database)
    kept = KeptHead("the head of the other auditor", note)
    return Expected(what=f"from {sizes[at]} to {size_of(note)}", wheres=(kept.where,), kept=(kept,))


@_kind("edit a recorded head")
def _edit_head(intruder: Intruder) -> Expected:
    row_id = intruder.choose("audit_head")
    row = intruder.row("audit_head", row_id)
    name = intruder.rng.choice(("size", "root_sha256", "frontier", "note", "origin"))
    if name == "frontier":
        other = [f"{intruder.rng.getrandbits(256):064x}", *row["frontier"][1:]]
    elif name == "note":
        words = TreeHead(LOG, row["size"], bytes.fromhex(row["root_sha256"])).text()
        key = SigningKey.generate(LOG)
        other = format_note(SignedNote(words, (key.sign(words),)))
    else:
        other = intruder.other("audit_head", name, row[name])
    intruder.set("audit_head", row_id, **{name: other})
    size = other if name == "size" else row["size"]
    return Expected(what=f"{name} of head {row_id}", wheres=(f"recorded head of {size}",))


# -- what research is shown ------------------------------------------------------------------------


@_kind("edit what research is shown of an answer")
def _edit_facet(intruder: Intruder) -> Expected:
    chain = intruder.one_of(_chains(intruder))
    facet = TABLES["answer_facet"]
    row = intruder.connection.execute(
        select(facet).where(facet.c.answer_id == chain.answer)
    ).first()
    if row is None:
        raise NoVictim
    name = intruder.rng.choice(("truth", "is_current", "outcome_id", "origin_id"))
    value = intruder.other("answer_facet", name, row._mapping[name])
    intruder.connection.execute(
        update(facet).where(facet.c.answer_id == chain.answer).values(**{name: value})
    )
    # What is shown as the truth is compared with what references say in an export, too.
    records = frozenset({("answer", chain.answer)} if name == "truth" else ())
    return Expected(
        what=f"{name} of answer {chain.answer}", wheres=(f"study {chain.study}",), records=records
    )


@_kind("insert what research was shown before")
def _insert_past(intruder: Intruder) -> Expected:
    chain = intruder.one_of(_chains(intruder))
    event_id = intruder.rng.choice((intruder.event_at(intruder.any_place()), -9))
    intruder.add(
        "past_value",
        event_id=event_id,
        project_id=None,
        object_type="answer",
        object_id=chain.answer,
        was={"truth": intruder.row("answer", chain.answer)["choice_text"]},
    )
    return Expected(what=f"of answer {chain.answer}", wheres=(f"what event {event_id} kept",))


@_kind("edit what research was shown before")
def _edit_past(intruder: Intruder) -> Expected:
    row_id = intruder.choose("past_value")
    row = intruder.row("past_value", row_id)
    if intruder.rng.random() < 0.5:
        intruder.drop("past_value", TABLES["past_value"].c.id == row_id)
    else:
        intruder.set("past_value", row_id, was=row["was"] | {"truth": "something else"})
    return Expected(what=f"{row_id}", wheres=(f"what event {row['event_id']} kept",))


class Scene:
    """One copy of the database, tampered with again and again.

    Parameters
    ----------
    put_back
        Lets the copy be as the site left it.
    """

    def __init__(self, site: AuditedSite, url: str, put_back: Callable[[], None]) -> None:
        self.site = site
        self.database = Database(url)
        self._engine = create_engine(url, poolclass=NullPool)
        self._put_back = put_back

    def reset(self) -> None:
        self.database.dispose()
        self._put_back()

    def tamper(self, kind: str, rng: random.Random) -> Expected:
        """Do it, to another victim where one cannot be tampered with so."""
        for _ in range(40):
            self.reset()
            with self._engine.connect() as connection:
                intruder = Intruder(connection, rng, self.site, self.database)
                try:
                    expected = KINDS[kind](intruder)
                except NoVictim:
                    continue
                if not intruder.connection.closed:
                    intruder.connection.commit()
                    intruder.connection.close()
                return expected
        raise AssertionError(f"nobody can be tampered with by {kind!r}")
