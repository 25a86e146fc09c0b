"""Readers at their browsers, and the protocols that they read by."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi.testclient import TestClient
from pydicom.dataset import Dataset
from sqlalchemy import select

from medr1_pacs.db.claiming import claim_next
from medr1_pacs.db.locking import amend_review, lock_review
from medr1_pacs.db.protocols import find_people, lock_project, start_protocol
from medr1_pacs.db.reads import get_read
from medr1_pacs.db.sessions import Database
from medr1_pacs.db.study_answers import list_candidates
from medr1_pacs.db.tables import Account
from medr1_pacs.demo.studies import make_study
from medr1_pacs.records.review_words import Phase, ReasoningError, ReviewFlag
from medr1_pacs.records.reviews import Judgement, OpenRead, Reader
from medr1_pacs.records.words import Modality
from medr1_pacs.reviews.planning import plan_reading
from medr1_pacs.reviews.protocol_rules import author_protocol
from medr1_pacs.reviews.protocols import ReadingProtocol
from medr1_pacs.steps.reading_protocols import start_checked_protocol

QUESTION = "xr-chest-finding"
OPTIONS = ("No abnormality", "Airspace opacity", "Pleural effusion", "Pneumothorax")


def make_chest(seed: int, patient: str = "") -> list[Dataset]:
    """Make a chest radiograph of somebody of their own."""
    study = make_study(Modality.XRAY, seed)
    for ds in study:
        ds.PatientID, ds.IssuerOfPatientID = patient or f"P{seed}", "H"
    return list(study)


def make_protocol(**fields: Any) -> ReadingProtocol:
    """Make a protocol of one blind reader, or of what keywords say."""
    values = {"name": "chest", "questions": [QUESTION], "readers": ["anna"], "arm": "blind"}
    given = {name: value for name, value in (values | fields).items() if value is not None}
    return author_protocol(given)


@dataclass
class ReaderClient:
    """Somebody who reads by a protocol, over HTTP."""

    client: TestClient
    base: str
    case: dict[str, Any] = field(default_factory=dict)

    def next(self) -> dict[str, Any] | None:
        """Open the next case."""
        answer = self.client.post(f"{self.base}/next")
        assert answer.status_code == 200, answer.text
        self.case = answer.json()["case"]
        return self.case

    def progress(self) -> dict[str, Any]:
        return self.client.post(f"{self.base}/next").json()["progress"]

    def judge(self, choice: str | None = None, **fields: Any) -> dict[str, Any]:
        """Return what is filled in for the running phase."""
        filled = {
            "phase": self.case["phase"],
            "choice_text": choice or self.case["question"]["options"][0],
            "confidence": 80,
            "active_ms": 0,
        }
        model = self.case["model"]
        if model and any(each["reasoning"] for each in model["pictures"]):
            filled["reasoning_grade"] = 3
        return filled | fields

    def lock(self, choice: str | None = None, **fields: Any) -> Any:
        """Lock the running phase of the open case; returns the answer."""
        url = f"{self.base}/reads/{self.case['read']}/lock"
        answer = self.client.post(url, json=self.judge(choice, **fields))
        if answer.status_code == 200:
            self.case = answer.json()["case"]
        return answer

    def url(self, read: int | None = None) -> str:
        """Return the address of a read: of the one that is open, unless another is meant."""
        return f"{self.base}/reads/{read or self.case['read']}"

    def look(self, read: int, part: str = "") -> Any:
        """Ask for a read, or for a part of it; returns the answer."""
        return self.client.get(self.url(read) + part)

    def amend(self, read: int, choice: str, phase: str = "blind", **fields: Any) -> Any:
        """Put another choice in the place of a locked one; returns the answer."""
        said = {"phase": phase, "choice_text": choice, "confidence": 50, "reason": "a slip"}
        return self.client.post(f"{self.url(read)}/amend", json=said | fields)

    def keep(self, draft: dict[str, Any]) -> Any:
        """Keep what is filled in so far of the open case; returns the answer."""
        return self.client.put(f"{self.url()}/draft", json={"draft": draft, "active_ms": 0})

    def upcoming(self) -> dict[str, Any]:
        """Return what comes after the open case."""
        return self.client.get(f"{self.base}/upcoming").json()

    def read_one(self, *choices: str | None) -> int:
        """Open the next case and lock all of it, with a choice a phase; returns its read."""
        read = self.next()["read"]
        for choice in choices or (None,) * len(self.case["phases"]):
            answer = self.lock(choice)
            assert answer.status_code == 200, answer.text
        return read

    def read_all(self, choose: Callable[[dict[str, Any]], str | None] = lambda case: None) -> int:
        """Read every case that there is; returns how many."""
        count = 0
        while self.next() is not None:
            while self.case and self.case["phase"] is not None:  # else it is closed at once
                answer = self.lock(choose(self.case))
                assert answer.status_code == 200, answer.text
            count += 1
        return count


@dataclass
class DeskReader:
    """Somebody who reads by a protocol, without a browser."""

    database: Database
    protocol_id: int
    account: str
    now: datetime = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

    @property
    def reader(self) -> Reader:
        named = select(Account.id).where(Account.name == self.account)
        with self.database.read() as session:
            return Reader(self.protocol_id, session.scalars(named).one())

    def open(self) -> OpenRead:
        """Open the next read, or the one that is open."""
        reader, self.now = self.reader, self.now + timedelta(seconds=20)
        with self.database.write() as session:
            read = claim_next(session, reader, now=self.now).assignment_id
            assert read is not None
            return get_read(session, reader, read, now=self.now)

    def lock(self, read: OpenRead, phase: Phase, **said: Any) -> None:
        """Lock a phase of an open read, with its first option unless something else is said."""
        self.now += timedelta(seconds=30)
        with self.database.write() as session:
            lock_review(
                session, self.reader, read.assignment_id, phase, _judge(read, phase, said),
                active_ms=9_000, now=self.now,
            )  # fmt: skip

    def amend(self, read: OpenRead, phase: Phase, reason: str, **said: Any) -> None:
        """Put another answer in the place of a locked one."""
        self.now += timedelta(seconds=5)
        with self.database.write() as session:
            amend_review(
                session, self.reader, read.assignment_id, phase, _judge(read, phase, said),
                reason=reason, now=self.now,
            )  # fmt: skip


def _judge(read: OpenRead, phase: Phase, said: Mapping[str, Any]) -> Judgement:
    values = {"choice_text": read.options[0], "confidence": 80}
    if phase is Phase.ASSISTED:
        values |= {"reasoning_grade": 3, "reasoning_error": ReasoningError.LOGIC}
    return Judgement(**(values | said))


def read_at_a_desk(reader: DeskReader, reads: int) -> None:
    """Read so many cases of a sequential protocol, the first amended, the second not assessed, and
    leave another one open after its first phase."""
    for number in range(reads):
        read = reader.open()
        if number == 1:
            reader.lock(read, Phase.BLIND, choice_text=None, confidence=None,
                        cannot_assess="Ask Dr. Zaubernuss")  # fmt: skip
        else:
            reader.lock(read, Phase.BLIND, flags=(ReviewFlag.BAD_IMAGE,), comment="=faint")
        reader.lock(read, Phase.ASSISTED, choice_text=read.options[-1])
        if number == 0:
            reader.amend(read, Phase.ASSISTED, "a slip of the mouse", confidence=20)
    reader.lock(reader.open(), Phase.BLIND)


def start(database: Database, protocol: ReadingProtocol, project: str = "default") -> int:
    """Start a protocol as its lead does."""
    return start_checked_protocol(database, project, protocol, actor="lead")


def start_regardless(
    database: Database, protocol: ReadingProtocol, project: str = "default"
) -> int:
    """Start a protocol whatever its people read elsewhere, as an earlier release let them; row ids
    are the same each time."""
    with database.write() as session:
        people = find_people(session, project, protocol)
        candidates = list_candidates(session, project, protocol.questions, None)
        return start_protocol(
            session,
            lock_project(session, project),
            protocol,
            plan_reading(protocol, candidates),
            people,
            actor="lead",
            now=datetime.now(UTC),
        )
