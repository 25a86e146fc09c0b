"""audit: whether the log and the records that it tells of are what was signed.

    leaves + events -> roots = signed heads        nothing of the log was changed
    records -> hashes = those of their events      no record was changed

Against somebody who can write the database and has no signing key. What is found is located to the
record, the place in the log, or the interval between two signed heads.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from medr1_pacs.audit.events import Event
from medr1_pacs.audit.findings import CLOCK_BACK_S, Clock, Report
from medr1_pacs.audit.keys import (
    STATEMENTS_MAX,
    LogKeys,
    OpenedHead,
    follow_keys,
    open_head,
    read_statement,
)
from medr1_pacs.audit.merkle import HASH_BYTES, Frontier
from medr1_pacs.audit.notes import NoteInvalid, TreeHead, VerifierKey, parse_note
from medr1_pacs.audit.records import FORMS
from medr1_pacs.audit.signing import verify_quickly
from medr1_pacs.db.facets import list_faults
from medr1_pacs.db.past import KEPT_BY
from medr1_pacs.db.recording import Record, iterate_record_ids, read_records
from medr1_pacs.db.sealing import UNREADABLE, Head
from medr1_pacs.db.sessions import Database
from medr1_pacs.db.verifying import (
    HeldRole,
    Place,
    hash_past_values,
    iterate_places,
    iterate_unsealed,
    list_closed,
    list_heads,
    list_held_roles,
    list_past_without_event,
    list_protocols,
    list_studies,
    list_superseded,
    list_unreadable,
    list_uses,
    see_one_moment,
)

ROTATED = "log.key_rotated"
RESTARTED = "log.restarted"
GIVEN, REMOVED = "account.role_given", "account.role_removed"
SUPERSEDED = "reference.superseded"
_BATCH = 2_000
_UNSEALED_MAX = timedelta(minutes=10)
"""How long an event may wait for its place before it is said that nobody seals."""


@dataclass(frozen=True, slots=True)
class KeptHead:
    """A head that somebody kept, and where."""

    where: str
    note: str


class LogReport(Report):
    """What was looked at, and what was found."""

    def __init__(self) -> None:
        super().__init__()
        self.events = 0
        self.records = 0
        self.unsealed = 0
        self.head: TreeHead | None = None
        """The largest that is signed by a trusted key, and agrees with the events."""


def verify_database(
    database: Database,
    trusted: Collection[VerifierKey],
    kept: Sequence[KeptHead] = (),
) -> LogReport:
    """Check the whole log, and every record that it tells of.

    Parameters
    ----------
    trusted
        Keys that sign heads, from outside; those that they vouch for are followed.
    kept
        Heads that were kept outside of the database, of any log that it ever was.
    """
    report = LogReport()
    with database.read() as session:
        see_one_moment(session)
        log = _Log(report)
        records = _Records(report)
        batch: list[Event] = []

        def look_at_records() -> None:
            records.look_at(batch, lambda kind, ids: read_records(session, kind, ids))
            records.compare_past(batch, lambda ids: hash_past_values(session, ids))
            batch.clear()

        for place in iterate_places(session):
            if (event := log.look_at(place)) is not None:
                batch.append(event)
            if len(batch) == _BATCH:
                look_at_records()
        look_at_records()
        log.compare(list_heads(session), kept, trusted)
        unsealed = list(iterate_unsealed(session))
        report.unsealed = len(unsealed)
        for event_id in list_unreadable(session):
            report.add(f"event {event_id}", "it cannot be read, and has no place: put in")
        log.look_at_unsealed(unsealed, datetime.now(UTC))
        records.look_at(unsealed, lambda kind, ids: read_records(session, kind, ids))
        records.look_for_untold(lambda kind: iterate_record_ids(session, kind))
        records.compare_roles(
            list_held_roles(session), lambda kind, ids: read_records(session, kind, ids)
        )
        records.compare_hidden(lambda patient_id: list_studies(session, patient_id))
        records.compare_past_gone()
        records.compare_uses(list_uses(session))
        records.compare_closed(list_closed(session))
        records.compare_superseded(list_superseded(session))
        records.compare_protocols(list_protocols(session))
        for event_id in list_past_without_event(session):
            report.add(f"what event {event_id} kept", "no such event keeps anything: put in")
        for study_id in list_faults(session):
            report.add(f"study {study_id}", "research is shown something else than its rows say")
    return report


# -- the log ---------------------------------------------------------------------------------------


class _Log:
    """Checks leaves against events, and roots against heads.

    The roots at every size where somebody may say a head are needed, and heads are known only
    after the leaves: so the hashes are kept, 32 bytes an event.
    """

    def __init__(self, report: LogReport) -> None:
        self._report = report
        self._leaves = bytearray()
        self._statements: list[str] = []
        self._clock = Clock(report)
        self._next = 0

    def look_at(self, place: Place) -> Event | None:
        """Look at the next place; returns its event where it is what was sealed."""
        report = self._report
        if place.seq != self._next:
            missing = f"places {self._next} to {place.seq - 1}"
            report.add(missing, "are missing from the log")
            # What follows moves up, and no root is right any more: that is the truth.
            self._next = place.seq
        self._next += 1
        report.events += 1
        self._leaves += place.leaf if len(place.leaf) == HASH_BYTES else bytes(HASH_BYTES)
        where = f"place {place.seq} (event {place.event_id})"
        if place.event is None:
            what = "the event was deleted" if place.is_readable else "the event cannot be read"
            report.add(where, what)
            return None
        if place.event.leaf_or_none() != place.leaf:
            report.add(where, "the event is not the one that was sealed: it was changed")
            return None
        if place.event_id <= 0:
            report.add(where, "an event of ours has no such number: put in")
        self._clock.look_at(where, place.event.at)
        if place.event.action == ROTATED:
            self._look_at_statement(where, place.event)
        return place.event

    def _look_at_statement(self, where: str, event: Event) -> None:
        """Take what says that another key signs from now on."""
        try:
            statement = event.told["new"]["statement"]
            read_statement(statement)
        except (NoteInvalid, KeyError, TypeError, AttributeError) as error:
            self._report.add(where, f"it does not say which key follows: {error}")
            return
        self._statements.append(statement)

    def compare(
        self, recorded: Sequence[Head], kept: Sequence[KeptHead], trusted: Collection[VerifierKey]
    ) -> None:
        """Compare the roots of the leaves with every head that is signed."""
        report = self._report
        if len(self._statements) > STATEMENTS_MAX:
            report.add("the log", f"there are more than {STATEMENTS_MAX} statements of keys")
            del self._statements[STATEMENTS_MAX:]
        keys = follow_keys(trusted, self._statements)
        signed: list[tuple[OpenedHead, str]] = []
        others: Counter[str] = Counter()
        for row in recorded:
            signed += self._open(KeptHead(f"recorded head of {row.size}", row.note), keys, others)
        for one in kept:
            ended: Counter[str] = Counter()
            signed += self._open(one, keys, ended)
            for origin in ended:
                report.add(one.where, f"it is of another log, {origin}")
        report.is_signed = bool(signed)
        for origin, number in others.items():
            what = f"{number} recorded heads are of the log {origin}, which ended or was restarted"
            report.add("the database", what, is_fault=False)
        for row, fault in zip(recorded, _misrecorded(recorded), strict=True):
            if fault:
                report.add(f"recorded head of {row.size}", fault)
        replaced = _find_replaced([head for head, _ in signed], self._statements)
        for head, where in signed:
            if all(replaced.get(key, head.head.size) < head.head.size for key in head.signers):
                report.add(where, "it is signed by a key that another one had replaced by then")
        heads = sorted(signed, key=lambda one: one[0].head.size)
        self._compare_roots([(head.head, where) for head, where in heads])

    def _open(
        self, head: KeptHead, keys: LogKeys, others: Counter[str]
    ) -> list[tuple[OpenedHead, str]]:
        """Return a head that a trusted key signed, or nothing; counts those of other logs."""
        report = self._report
        try:
            opened = open_head(head.note, keys.all, verify_quickly)
        except NoteInvalid as error:
            report.add(head.where, str(error))
            return []
        if opened.signers:
            return [(opened, head.where)]
        if any(key.name == opened.head.origin for key in keys.all):
            report.add(head.where, "no trusted key signed it")
        else:
            others[opened.head.origin] += 1
        return []

    def _compare_roots(self, heads: Sequence[tuple[TreeHead, str]]) -> None:
        report, edge = self._report, Frontier()
        leaves = memoryview(self._leaves)
        size_there, good = len(self._leaves) // HASH_BYTES, "the beginning"
        differing: list[tuple[TreeHead, str, str]] = []
        for head, where in heads:
            if head.size > size_there:
                report.add(
                    where,
                    f"the log had {head.size} events and has {size_there}: it was cut off, "
                    "or an older copy of it was put back",
                )
                continue
            for place in range(edge.size, head.size):
                edge.add(bytes(leaves[HASH_BYTES * place : HASH_BYTES * (place + 1)]))
            if edge.root() == head.root:
                good = f"{where} ({head.size} events)"
                report.head = head
            else:
                differing.append((head, where, good))
        for head, where, before in differing:
            if report.head is not None and head.size <= report.head.size:
                # What is here was signed too, and as a whole: it was not changed afterwards.
                report.add(where, f"two histories were signed: here is that of {good}")
                continue
            report.add(
                f"between {before} and {where} ({head.size} events)",
                "the events are not those that the head was signed over: some were changed, "
                "deleted, inserted or put in another order, or another history was signed",
            )
            break
        if edge.size < size_there and not heads:
            report.add("the log", "no head of it is signed")

    def look_at_unsealed(self, events: Iterable[Event], now: datetime) -> None:
        """Say of events that have no place and should have one."""
        for event in events:
            if event.leaf_or_none() is None:
                self._report.add(f"event {event.event_id}", "it can have no place: put in")
                continue
            waits = now - datetime.fromisoformat(event.at)
            if waits < -timedelta(seconds=CLOCK_BACK_S):
                self._report.add(
                    f"event {event.event_id}",
                    f"it has no place, and its time {event.at} has not come: put in, or the clock "
                    "is wrong",
                )
            elif waits > _UNSEALED_MAX:
                self._report.add(
                    f"event {event.event_id}",
                    f"it is not in the log after {waits.total_seconds() / 60:.0f} minutes: it was "
                    "put in behind it, or nobody seals (is the sweep running?)",
                )


def _find_replaced(
    heads: Sequence[OpenedHead], statements: Sequence[str]
) -> dict[VerifierKey, int]:
    """Return key -> the size of the first head that the one in its place signed without it.

    Not the place of the statement: a key signs on whose replacement a crash interrupted.
    """
    replaced: dict[VerifierKey, int] = {}
    pairs = [read_statement(statement) for statement in statements]
    for old, new in reversed(pairs):  # of a chain the last one first
        sizes = [
            head.head.size for head in heads if new in head.signers and old not in head.signers
        ]
        sizes += [replaced[key] for key in (new, old) if key in replaced]
        if sizes:
            replaced[old] = min(sizes)
    return replaced


def _misrecorded(heads: Sequence[Head]) -> Iterator[str]:
    """Yield of each recorded head what its columns say otherwise than its note; or nothing."""
    for head in heads:
        try:
            checkpoint = TreeHead.parse(parse_note(head.note).text)
            edge = Frontier(head.size, head.frontier)
        except (NoteInvalid, ValueError) as error:
            yield str(error)
            continue
        is_equal = (checkpoint.origin, checkpoint.size, checkpoint.root) == (
            head.origin,
            head.size,
            head.root,
        ) and edge.root() == head.root
        yield "" if is_equal else "its columns say something else than what was signed"


# -- the records -----------------------------------------------------------------------------------

_BY_EVENT = tuple(kind for kind in FORMS if kind != "project_member")
"""Records that are never deleted; roles are, and are compared with all that was given and taken."""

_READ_KINDS = ("reading_case", "review")
"""Records of reading protocols: they are a project's, which may lose a study that others keep."""

_Read = Callable[[str, Collection[int]], Iterable[Record]]


class _Records:
    """Checks records against the events that tell of them."""

    def __init__(self, report: LogReport) -> None:
        self._report = report
        self._told: dict[str, set[int]] = {kind: set() for kind in FORMS}
        self._roles: dict[tuple[int | None, str, str | None], str | None] = {}
        self._withdrawn: set[int] = set()
        self._past_gone: list[tuple[int, int | None]] = []
        self._uses: set[tuple[int, str]] = set()
        self._ended_uses: set[tuple[int, str]] = set()
        self._hidden: list[tuple[str, int, set[int], int | None, int | None]] = []
        self._withdrawn_cases: set[int] = set()
        self._protocols: dict[int, tuple[str, str]] = {}
        self._closed: set[int] = set()
        self._superseded: set[int] = set()

    def look_at(self, events: Sequence[Event], read: _Read) -> None:
        """Compare records with what events say of them."""
        expected: dict[str, dict[int, list[Event]]] = {}
        for event in events:
            try:
                self._follow(event)
            except (KeyError, TypeError, AttributeError) as error:
                self._report.add(
                    f"event {event.event_id}", f"it has not the form of its action: {error!r}"
                )
            if event.record is None or event.object_type not in _BY_EVENT:
                continue
            if event.action in (GIVEN, REMOVED):
                continue  # about an account, with the hash of the role
            if event.object_id is None:
                self._report.add(f"event {event.event_id}", "it tells of a record without an id")
                continue
            of_kind = expected.setdefault(event.object_type, {})
            of_kind.setdefault(event.object_id, []).append(event)
        for kind, of_kind in expected.items():
            self._told[kind].update(of_kind)
            found: set[int] = set()
            for record in self._read_each(kind, of_kind, read, found):
                found.add(record.object_id)
                self._report.records += 1
                self._compare(kind, record, of_kind[record.object_id])
            for object_id in sorted(of_kind.keys() - found):
                event_id = of_kind[object_id][0].event_id
                self._report.add(f"{kind} {object_id}", f"it is gone; event {event_id} tells of it")

    def _read_each(
        self, kind: str, object_ids: Collection[int], read: _Read, found: set[int]
    ) -> Iterator[Record]:
        """Yield the records that can be read; of the others say so, and note them as found."""
        try:
            yield from list(read(kind, object_ids))
            return
        except UNREADABLE:
            pass
        for object_id in object_ids:
            try:
                records = list(read(kind, [object_id]))
            except UNREADABLE as error:
                found.add(object_id)
                what = f"a value of it is none of its kind ({type(error).__name__}): changed"
                self._report.add(f"{kind} {object_id}", what)
                continue
            yield from records

    def _compare(self, kind: str, record: Record, events: Sequence[Event]) -> None:
        """Compare a record, which never changes, with every event that tells of it."""
        where = f"{kind} {record.object_id}"
        try:
            actual = record.sha256(kind)
        except (ValueError, TypeError) as error:
            self._report.add(where, f"it cannot be hashed: {error}")
            return
        for event in events:
            if actual != event.record:
                self._report.add(
                    where, f"it is not what event {event.event_id} ({event.action}) says: changed"
                )
                return
        if record.commitments is not None and record.has_texts(kind):
            self._report.add(where, "its texts are gone by its hash, and there are texts")
        elif record.commitments is not None:
            study_id, patient_id = (record.values.get(key) for key in ("study_id", "patient_id"))
            studies = {study_id} if study_id is not None else set()
            is_read = kind in _READ_KINDS
            case_id = record.values["case_id"] if is_read else None
            self._hidden.append((kind, record.object_id, studies, patient_id, case_id))

    def _follow(self, event: Event) -> None:
        if event.action == "account.added" and event.told.get("new", {}).get("is_administrator"):
            self._roles[event.object_id, "administrator", None] = None
        elif event.action in (GIVEN, REMOVED):
            told = event.told["new" if event.action == GIVEN else "old"]
            key = (event.object_id, told["role"], told["project"])
            if event.action == GIVEN:
                self._roles[key] = event.record
            else:
                self._roles.pop(key, None)
        elif event.action == "project_member.adopted":
            told = event.told["new"]
            self._roles[told["account_id"], told["role"], told["project"]] = event.record
        elif event.action == "study.withdrawn" and event.object_id is not None:
            self._withdrawn.add(event.object_id)
        elif event.action == "study.project_added" and event.object_id is not None:
            self._uses.add((event.object_id, event.told["new"]["project"]))
        elif event.action == "study.project_withdrawn" and event.object_id is not None:
            self._ended_uses.add((event.object_id, event.told["old"]["project"]))
        elif event.action == "account.closed" and event.object_id is not None:
            self._closed.add(event.object_id)
        elif event.action == "account.reopened" and event.object_id is not None:
            self._closed.discard(event.object_id)
        elif event.action == SUPERSEDED and event.object_id is not None:
            self._superseded.add(event.object_id)
        elif event.object_id is not None:
            self._follow_reading(event, event.object_id)

    def _follow_reading(self, event: Event, object_id: int) -> None:
        if event.action == "case.withdrawn":
            self._withdrawn_cases.add(object_id)
        elif event.action == "protocol.started":
            self._protocols[object_id] = event.told["new"]["definition_sha256"], "started"
        elif event.action in ("protocol.finished", "protocol.stopped"):
            digest, _ = self._protocols[object_id]
            self._protocols[object_id] = digest, event.action.removeprefix("protocol.")

    def compare_past(
        self, events: Iterable[Event], hash_past: Callable[[Collection[int]], Mapping[int, str]]
    ) -> None:
        """Compare what is kept of rows as they were with the hash that the event of it tells."""
        told = {}
        for event in events:
            new = event.told.get("new")
            if event.action in KEPT_BY and isinstance(new, dict) and "sha256" in new:
                told[event.event_id] = (event.object_id, new["sha256"])
        kept = hash_past(told) if told else {}
        for event_id, (study_id, sha256) in told.items():
            if event_id not in kept:
                self._past_gone.append((event_id, study_id))
            elif kept[event_id] != sha256:
                self._report.add(f"what event {event_id} kept", "it is not what was kept: changed")

    def compare_past_gone(self) -> None:
        """Say of what was kept and is gone, and whose study was not withdrawn."""
        for event_id, study_id in self._past_gone:
            if study_id not in self._withdrawn:
                what = "it is gone, and no event withdrew its study: deleted"
                self._report.add(f"what event {event_id} kept", what)

    def look_for_untold(self, read_ids: Callable[[str], Iterable[int]]) -> None:
        """Say of records that no event tells of."""
        for kind in _BY_EVENT:
            for object_id in read_ids(kind):
                if object_id not in self._told[kind]:
                    self._report.add(f"{kind} {object_id}", "no event tells of it: put in")

    def compare_roles(self, held: Sequence[HeldRole], read: _Read) -> None:
        """Compare the roles that accounts have with those that events gave and took."""
        left = dict(self._roles)
        members = [each.member_id for each in held if each.member_id is not None]
        hashes = {
            record.object_id: record.sha256("project_member")
            for record in self._read_each("project_member", members, read, set())
        }
        for each in held:
            where = f"account {each.account_id}, role {each.role}" + (
                f" in {each.project}" if each.project else ""
            )
            key = (each.account_id, each.role, each.project)
            self._report.records += 1
            if key not in left:
                self._report.add(where, "no event gave it")
            elif each.member_id is not None and left[key] != hashes.get(each.member_id):
                self._report.add(where, "it is not what the event that gave it says: changed")
            left.pop(key, None)
        for account_id, role, project in left:
            where = f"account {account_id}, role {role}" + (f" in {project}" if project else "")
            self._report.add(where, "it was given, and no event took it: deleted")

    def compare_hidden(self, list_studies: Callable[[int], set[int]]) -> None:
        """Say of records whose texts are gone, and whose study was not withdrawn."""
        for kind, object_id, studies, patient_id, case_id in self._hidden:
            if case_id in self._withdrawn_cases:
                continue
            if not studies and patient_id is not None:
                studies = list_studies(patient_id)
            if not studies or not studies <= self._withdrawn:
                self._report.add(
                    f"{kind} {object_id}", "its texts are gone, and no event withdrew its study"
                )

    def compare_uses(self, uses: Mapping[tuple[int, str], bool]) -> None:
        """Compare which projects use which studies, or used them, with what events say.

        `uses`: (study, project) -> whether the project finds it no more.
        """
        for study_id, project in sorted(self._uses - uses.keys()):
            self._report.add(
                f"study {study_id}", f"it was given to {project}, which has it no more: deleted"
            )
        for (study_id, project), has_ended in uses.items():
            where, use = f"study {study_id}", (study_id, project)
            was_ended = study_id in self._withdrawn or use in self._ended_uses
            if use not in self._uses:
                self._report.add(where, f"no event gave it to {project}")
            elif has_ended and not was_ended:
                what = f"no event withdrew it from {project}, which finds it no more"
                self._report.add(where, what)
            elif was_ended and not has_ended:
                self._report.add(where, f"it was withdrawn, and {project} finds it")

    def compare_closed(self, closed: Collection[int]) -> None:
        """Compare which accounts let nobody in with what events say of them."""
        for object_id in sorted(self._closed ^ set(closed)):
            self._report.add(
                f"account {object_id}",
                "it was closed, and is open"
                if object_id in self._closed
                else "it is closed, and no event says so",
            )

    def compare_protocols(self, protocols: Mapping[int, tuple[str, str]]) -> None:
        """Compare reading protocols with the events by which they were started and ended.

        `protocols`: row id -> (hash of its definition, state).
        """
        for object_id in sorted(self._protocols.keys() | protocols.keys()):
            where = f"reading_protocol {object_id}"
            if object_id not in protocols:
                self._report.add(where, "it is gone, and an event tells of it: deleted")
            elif object_id not in self._protocols:
                self._report.add(where, "no event tells of it: put in")
            elif protocols[object_id] != self._protocols[object_id]:
                self._report.add(where, "its definition or state is not what events say: changed")

    def compare_superseded(self, superseded: Collection[int]) -> None:
        """Compare which truths count with what events say of them."""
        for object_id in sorted(self._superseded ^ set(superseded)):
            self._report.add(
                f"reference_standard {object_id}",
                "its source has said otherwise since, and it counts"
                if object_id in self._superseded
                else "it does not count, and no event says why",
            )
