"""Reading protocols: written, checked, started, ended; and what a reference panel says is true."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime

from medr1_pacs.db.panels import find_unstated_panel, state_panel
from medr1_pacs.db.protocols import (
    get_protocol_id,
    lock_people,
    lock_project,
    start_protocol,
    stop_protocol,
)
from medr1_pacs.db.reading_plans import count_asked, list_readers, plan_protocol
from medr1_pacs.db.sessions import Database
from medr1_pacs.db.unblinding import unblind
from medr1_pacs.records.review_words import CaseKind
from medr1_pacs.records.reviews import ReadingPlan
from medr1_pacs.reviews.protocol_text import write_template
from medr1_pacs.reviews.protocols import ReadingProtocol


@dataclass(frozen=True, slots=True)
class ReaderLoad:
    """What a protocol asks of one of its readers."""

    reader: str
    reads: float
    """Of those that any reader could read, an equal share."""
    hours: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedProtocol:
    """What a protocol comes to, before it is started."""

    protocol: ReadingProtocol
    plan: ReadingPlan
    loads: tuple[ReaderLoad, ...]
    warnings: tuple[str, ...] = ()
    """What it can be started with, and should be thought of before."""

    def to_json(self) -> dict[str, object]:
        """Return it as plain JSON values: how many cases, how long, who."""
        plan = self.plan
        return {
            "name": self.protocol.name,
            "version": self.protocol.version,
            "definition_sha256": self.protocol.definition_sha256,
            "cases": plan.count(CaseKind.CASE),
            "controls": plan.count(CaseKind.CONTROL),
            "practice": plan.count(CaseKind.PRACTICE),
            "reads": len(plan.reads),
            "left_out": dict(plan.left_out),
            "warnings": list(self.warnings),
            "readers": [
                {"reader": load.reader, "reads": round(load.reads, 1), "hours": load.hours}
                for load in self.loads
            ],
        }


def offer_protocol(database: Database, project: str) -> str:
    """Return a file to begin with: it names who may read in a project, and what is asked there."""
    with database.read() as session:
        return write_template(list_readers(session, project), count_asked(session, project))


def check_protocol(database: Database, project: str, protocol: ReadingProtocol) -> CheckedProtocol:
    """Return what a protocol comes to on the studies that there are now.

    Raises
    ------
    ProtocolRefused
        It cannot be started, and why.
    """
    with database.read() as session:
        planned = plan_protocol(session, project, protocol, now=datetime.now(UTC))
    return CheckedProtocol(
        protocol=protocol,
        plan=planned.plan,
        loads=_loads(protocol, planned.plan),
        warnings=planned.warnings,
    )


def start_checked_protocol(
    database: Database, project: str, protocol: ReadingProtocol, *, actor: str
) -> int:
    """Freeze a protocol and its cases, and let its readers read; returns its row id.

    Raises
    ------
    ProtocolRefused
        It cannot be started, and why.
    """
    with database.write() as session:
        # Before anything is looked at: of two who start at once the second sees what the first did.
        project_id = lock_project(session, project)
        lock_people(session, [*protocol.readers, *protocol.adjudicators])
        now = datetime.now(UTC)
        planned = plan_protocol(session, project, protocol, now=now)
        return start_protocol(
            session, project_id, protocol, planned.plan, planned.people, actor=actor, now=now
        )


def end_protocol(
    database: Database, project: str, name: str, version: int, *, reason: str, actor: str
) -> None:
    """End a protocol early; blinding is over by that.

    Raises
    ------
    ProtocolNotFound
        The project has no such protocol.
    ProtocolRefused
        It is over already, or no reason is given.
    """
    with database.write() as session:
        protocol_id = get_protocol_id(session, project, name, version)
        stop_protocol(session, protocol_id, reason=reason, actor=actor, now=datetime.now(UTC))


def unblind_person(
    database: Database,
    project: str,
    name: str,
    version: int,
    account: str,
    *,
    reason: str,
    actor: str,
) -> None:
    """Let somebody see the answers before a protocol is over; they read no more of it.

    Raises
    ------
    ProtocolNotFound
        The project has no such protocol.
    ProtocolRefused
        They are not in it, see the answers already, or no reason is given.
    """
    with database.write() as session:
        # Who starts a protocol with them at the same time sees it, or is seen.
        lock_people(session, [account])
        protocol_id = get_protocol_id(session, project, name, version)
        unblind(session, protocol_id, account, reason=reason, actor=actor, now=datetime.now(UTC))


def state_panels(database: Database) -> int:
    """Let panels that are done say what is true, as the sweep does; returns of how many cases."""
    stated = 0
    while True:
        with database.read() as session:
            protocol_id = find_unstated_panel(session)
        if protocol_id is None:
            return stated
        with database.write() as session:
            stated += state_panel(session, protocol_id, datetime.now(UTC))


def _loads(protocol: ReadingProtocol, plan: ReadingPlan) -> tuple[ReaderLoad, ...]:
    counts = Counter(read.reader for read in plan.reads)
    pooled = counts[None] / len(protocol.readers)
    loads = []
    for reader in protocol.readers:
        reads = pooled + counts[reader]
        loads.append(ReaderLoad(reader, reads, round(reads * protocol.minutes_a_read / 60, 2)))
    return tuple(loads)
