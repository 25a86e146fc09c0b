"""Protocols that are started while something else is under way: each waits, or is refused."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from factories import NOON
from readers import make_chest, make_protocol, start
from sqlalchemy import select, text

from medr1_pacs.db import taking
from medr1_pacs.db.tables import (
    Assignment,
    Project,
    ProjectStudy,
    ReadingCase,
    ReadingProtocol,
    Study,
)
from medr1_pacs.errors import ProtocolRefused
from medr1_pacs.records.review_words import AssignmentState, ProtocolState
from medr1_pacs.records.words import StudyState
from medr1_pacs.steps import reading_protocols

pytestmark = pytest.mark.parametrize("site", ["postgresql"], indirect=True)

WAITING = text(
    "SELECT count(*) FROM pg_stat_activity "
    "WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


@pytest.fixture
def pool():
    with ThreadPoolExecutor(2) as pool:
        yield pool


@pytest.fixture
def chests(answered):
    """Two chest radiographs that the model answered about."""
    for seed in (1, 2):
        answered(*make_chest(seed), checkpoint="xray")


@pytest.fixture
def people(have_account):
    for name in ("anna", "ben"):
        have_account(name, {"default": ["reader"]})


def wait_for_lock(database, action: Future) -> None:
    """Wait until an action is over, or waits for a row that somebody else has locked."""
    for _ in range(500):
        if action.done():
            return
        with database.read() as session:
            if session.scalar(WAITING):
                return
        time.sleep(0.02)
    raise AssertionError("it neither ended nor waited")


@pytest.fixture
def meanwhile(database, pool, monkeypatch):
    """Let something begin in the middle of the first start; returns what comes of it."""

    def meanwhile(action):
        begun = []
        plan = reading_protocols.plan_protocol

        def plan_then(*arguments, **keywords):
            planned = plan(*arguments, **keywords)
            if not begun:
                begun.append(pool.submit(action))
                wait_for_lock(database, begun[0])
            return planned

        monkeypatch.setattr(reading_protocols, "plan_protocol", plan_then)
        return begun

    return meanwhile


def test_a_study_is_withdrawn_while_a_protocol_starts_and_both_are_done(
    chests, people, database, pool, rows, withdrawer, ask_to_withdraw, monkeypatch
):
    study_id = rows(Study)[0].id
    ask_to_withdraw(rows=[study_id])
    begun = []
    take_use = taking._take_use

    def start_then_take(*arguments):
        begun.append(pool.submit(start, database, make_protocol()))
        wait_for_lock(database, begun[0])
        return take_use(*arguments)

    monkeypatch.setattr(taking, "_take_use", start_then_take)

    assert withdrawer.carry_out() == 1
    begun[0].result(20)

    assert rows(Study)[0].state is StudyState.WITHDRAWN
    withdrawn = {row.id for row in rows(ReadingCase) if row.study_id == study_id}
    assert [row.withdrawn_at is not None for row in rows(ReadingCase)] == [
        row.id in withdrawn for row in rows(ReadingCase)
    ]
    states = {row.state for row in rows(Assignment) if row.case_id in withdrawn}
    assert states == {AssignmentState.DROPPED}
    assert rows(ReadingProtocol)[0].state is ProtocolState.STARTED


def test_of_a_double_click_the_second_is_told_that_it_was_started(
    chests, people, database, rows, meanwhile
):
    second = meanwhile(lambda: start(database, make_protocol(arm="sequential")))

    start(database, make_protocol(arm="sequential"))

    with pytest.raises(ProtocolRefused, match="chest 1 was started already"):
        second[0].result(20)
    assert len(rows(ReadingProtocol)) == 1


def test_of_two_that_conflict_one_is_started(chests, people, database, rows, meanwhile):
    other = make_protocol(name="panel", readers=["ben", "anna"], reference=True)
    second = meanwhile(lambda: start(database, other))

    start(database, make_protocol(readers=["anna", "ben"]))

    with pytest.raises(ProtocolRefused, match="anna has read for an evaluation 2 of these cases"):
        second[0].result(20)
    assert [row.name for row in rows(ReadingProtocol)] == ["chest"]


def test_of_two_that_conflict_in_two_projects_one_is_started(
    chests, people, have_account, database, rows, meanwhile
):
    for name in ("anna", "ben"):
        have_account(name, {"heads": ["reader"]})
    with database.write() as session:
        heads = session.scalars(select(Project.id).where(Project.name == "heads")).one()
        session.add_all(
            ProjectStudy(project_id=heads, study_id=study.id, rule="both", added_at=NOON)
            for study in rows(Study)
        )
    other = make_protocol(readers=["ben", "anna"], arm="sequential")
    second = meanwhile(lambda: start(database, other, "heads"))

    start(database, make_protocol(readers=["anna", "ben"]))

    with pytest.raises(ProtocolRefused, match="anna is in chest 1 too"):
        second[0].result(20)
    assert len(rows(ReadingProtocol)) == 1
