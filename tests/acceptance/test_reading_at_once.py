"""Eight readers at once over a protocol of hundreds of cases, with sessions that die and double
clicks: every planned read is made exactly once, in each reader's order, and times add up."""

from __future__ import annotations

import random
import threading
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from browsers import browse, have_account, make_pages, sign_in
from fakes import FakeClock
from readers import ReaderClient, make_protocol, start
from reading_rows import add_answered_studies
from sqlalchemy import select

from medr1_pacs.db.tables import Account, Assignment, ReadingCase, ReadingProtocol, Review
from medr1_pacs.records.review_words import AssignmentState, Phase, ProtocolState, ReadKind
from medr1_pacs.reviews.order import order_key

# pytest finds a fixture by its name in here.
__all__ = ["browse", "have_account", "make_pages", "sign_in"]

pytestmark = [
    pytest.mark.parametrize("site", ["postgresql"], indirect=True),
    pytest.mark.timeout(900),
]

READERS = tuple(f"reader-{letter}" for letter in "abcdefgh")
CASES = 500
SHARED = 10
REPEATS = 3
WASHOUT_DAYS = 2
CLAIM_S = 600
YEAR_S = 365 * 86_400


@dataclass
class Simulated:
    """What the simulation did, to be found again in the rows."""

    clock: FakeClock
    lock: threading.Lock = field(default_factory=threading.Lock)
    active_ms: Counter[str] = field(default_factory=Counter)
    abandoned: set[int] = field(default_factory=set)
    opened: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))

    def pass_s(self, seconds: float) -> None:
        with self.lock:
            self.clock.pass_s(seconds)


class Sitting:
    """Somebody reads until nothing is left, whatever happens to their browser."""

    def __init__(self, name: str, sign_in_again, simulated: Simulated, seed: int) -> None:
        self.name, self.simulated = name, simulated
        self.chance = random.Random(seed)
        self.sign_in_again = sign_in_again
        self.reader = sign_in_again(name)

    def read(self) -> None:
        while (case := self.reader.next()) is not None:
            self.simulated.opened[self.name].append(case["read"])
            if self.chance.random() < 0.02:
                # Somebody goes home in the middle, and another one may take the case over.
                self.simulated.abandoned.add(case["read"])
                self.simulated.pass_s(CLAIM_S + 1)
                self.reader = self.sign_in_again(self.name)
                continue
            if self.chance.random() < 0.05:
                self._draft(case)
                self.reader = self.sign_in_again(self.name)  # the browser died
                again = self.reader.next()
                if again is None or again["read"] != case["read"]:
                    self.simulated.abandoned.add(case["read"])
                    continue
            self._judge()

    def _draft(self, case) -> None:
        self.reader.client.put(
            f"{self.reader.base}/reads/{case['read']}/draft",
            json={"draft": {"confidence": 40}, "active_ms": 0},
        )

    def _judge(self) -> None:
        while self.reader.case["phase"] is not None:
            seconds = self.chance.uniform(5, 60)
            self.simulated.pass_s(seconds)
            options = self.reader.case["question"]["options"]
            read_id, phase = self.reader.case["read"], self.reader.case["phase"]
            url = f"{self.reader.base}/reads/{read_id}/lock"
            filled = self.reader.judge(
                self.chance.choice(options), active_ms=int(seconds * 1_000), phase=phase
            )
            clicks = 2 if self.chance.random() < 0.1 else 1
            answers = self._click(clicks, url, filled)
            if {answer.status_code for answer in answers} != {200}:
                # Somebody else was given the case while time flew.
                assert {answer.status_code for answer in answers} == {404}, answers[0].text
                self.simulated.abandoned.add(read_id)
                return
            self.simulated.active_ms[self.name] += int(seconds * 1_000)
            self.reader.case = answers[0].json()["case"]

    def _click(self, clicks: int, url: str, filled: dict[str, object]) -> list[Any]:
        with ThreadPoolExecutor(clicks) as fingers:
            clicked = [
                fingers.submit(self.reader.client.post, url, json=filled) for _ in range(clicks)
            ]
            return [each.result() for each in clicked]


def test_eight_readers_at_once_make_every_planned_read_exactly_once(database, make_pages, sign_in):
    with database.write() as session:
        add_answered_studies(session, CASES)
    clock = FakeClock()
    simulated = Simulated(clock)
    # Hours pass for everybody while one reader clicks: a session ends here when a browser dies.
    app = make_pages(
        now=clock.now, monotonic=clock.monotonic, session_idle_s=YEAR_S, session_max_s=YEAR_S
    )
    signing_in = threading.Lock()

    def sign_in_again(name):
        with signing_in:
            client = sign_in(app, name, {"default": ["reader"]})
        return ReaderClient(client, "/api/v1/projects/default/reading/chest/1")

    for name in READERS:
        sign_in_again(name)
    protocol_id = start(
        database,
        make_protocol(
            readers=READERS,
            arm="sequential",
            reads=2,
            overlap=SHARED / CASES,
            repeats=REPEATS,
            washout_days=WASHOUT_DAYS,
            claim_minutes=CLAIM_S / 60,
        ),
    )

    for sitting in range(2):
        people = [
            Sitting(name, sign_in_again, simulated, seed=100 * sitting + place)
            for place, name in enumerate(READERS)
        ]
        with ThreadPoolExecutor(len(people)) as pool:
            list(pool.map(Sitting.read, people))
        clock.pass_s(WASHOUT_DAYS * 86_400)

    with database.read() as session:
        row = session.get_one(ReadingProtocol, protocol_id)
        reads = session.scalars(select(Assignment)).all()
        reviews = session.scalars(select(Review).order_by(Review.id)).all()
        number_of = dict(session.execute(select(ReadingCase.id, ReadingCase.number)).all())
        name_of = dict(session.execute(select(Account.id, Account.name)).all())
    planned = SHARED * len(READERS) + (CASES - SHARED) * 2 + REPEATS * len(READERS)
    assert row.state is ProtocolState.FINISHED
    assert [read.state for read in reads] == [AssignmentState.DONE] * planned
    assert Counter((each.assignment_id, each.phase) for each in reviews) == Counter(
        (read.id, phase) for read in reads for phase in (Phase.BLIND, Phase.ASSISTED)
    )
    firsts = [(read.case_id, read.account_id) for read in reads if read.kind is ReadKind.FIRST]
    assert len(firsts) == len(set(firsts))
    _check_orders(reads, simulated, number_of, name_of)
    _check_washout(reads)
    _check_times(reviews, simulated, name_of)


def _check_orders(reads, simulated, number_of, name_of) -> None:
    """What somebody met follows their own order, but for what others gave up meanwhile."""
    for account_id, name in name_of.items():
        own = sorted(
            (read for read in reads if read.account_id == account_id), key=lambda read: read.place
        )
        assert [read.place for read in own] == sorted({read.place for read in own})
        firsts = [
            number_of[read.case_id]
            for read in own
            if read.kind is ReadKind.FIRST and read.id not in simulated.abandoned
        ]
        keys = [order_key("chest 1 0\n1", name, number) for number in firsts]
        assert all(before < after for before, after in pairwise(keys)), name


def _check_washout(reads) -> None:
    done = {
        (read.case_id, read.account_id): read.done_at
        for read in reads
        if read.kind is ReadKind.FIRST
    }
    repeats = [read for read in reads if read.kind is ReadKind.REPEAT]
    assert len(repeats) == REPEATS * len(READERS)
    for read in repeats:
        waited = read.opened_at - done[read.case_id, read.account_id]
        assert waited >= timedelta(days=WASHOUT_DAYS)


def _check_times(reviews, simulated, name_of) -> None:
    assert all(each.active_ms <= each.wall_ms for each in reviews)
    found: Counter[str] = Counter()
    for each in reviews:
        found[name_of[each.account_id]] += each.active_ms
    for name, active_ms in simulated.active_ms.items():
        assert found[name] == pytest.approx(active_ms, rel=0.05)
