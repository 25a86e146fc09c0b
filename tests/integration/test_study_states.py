"""A study's state is decided once: whoever decides holds the study meanwhile."""

from __future__ import annotations

import threading
import time

import pytest
from factories import make_instance, put_instance
from sqlalchemy import func, inspect, select, text, update

from medr1_pacs.db.studies import fail_study, list_failed, retry_failed
from medr1_pacs.db.tables import AuditEvent, Generation, Instance, Study, StudyVersion
from medr1_pacs.records.words import StudyState
from medr1_pacs.steps.completing import complete_studies
from medr1_pacs.steps.planning import withdraw_waiting_prompts

ON_POSTGRESQL = pytest.mark.parametrize("site", ["postgresql"], indirect=True)


@pytest.fixture
def failed_study(store, index, database, rows):
    """A study of one instance whose plan failed; returns its UID."""
    put_instance(store, make_instance())
    index()
    complete_studies(database, quiet_s=0)
    with database.write() as session:
        fail_study(session, rows(Study)[0].id, 1, "it cannot be planned")
    return rows(Study)[0].study_instance_uid


def at_once(*actions):
    """Run actions in threads; the second begins when the first is in its transaction."""
    threads = [threading.Thread(target=action) for action in actions]
    for thread in threads:
        thread.start()
        time.sleep(0.5)
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()


@ON_POSTGRESQL
def test_two_who_retry_a_study_at_once_retry_it_once(database, failed_study, rows):
    outcomes = []

    def retry():
        with database.write() as session:
            outcomes.append(retry_failed(session, failed_study, "operator"))
            time.sleep(1)

    at_once(retry, retry)

    assert sorted(outcomes) == [False, True]
    assert [event.action for event in rows(AuditEvent)].count("study.retried") == 1


@ON_POSTGRESQL
def test_a_late_instance_during_a_retry_is_part_of_the_next_version(
    database, failed_study, store, indexer, rows, index
):
    def retry():
        with database.write() as session:
            retry_failed(session, failed_study, "operator")
            time.sleep(1)

    put_instance(store, make_instance())
    at_once(retry, index)

    (study,) = rows(Study)
    assert (study.state, study.version) == (StudyState.RECEIVING, 2)
    complete_studies(database, quiet_s=0)
    assert [row.version for row in rows(StudyVersion)] == [1, 2]


def test_a_study_that_was_reopened_meanwhile_is_not_failed(database, rows, store, index):
    put_instance(store, make_instance())
    index()
    complete_studies(database, quiet_s=0)
    put_instance(store, make_instance())
    index()

    with database.write() as session:
        fail_study(session, rows(Study)[0].id, 1, "it cannot be planned")

    assert rows(Study)[0].state is StudyState.RECEIVING


def test_failed_studies_are_found_by_their_reason(database, failed_study):
    with database.read() as session:
        assert list_failed(session) == [failed_study]
        assert list_failed(session, reason="cannot be planned") == [failed_study]
        assert list_failed(session, reason="CUDA") == []


@pytest.fixture
def waiting_prompts(database, add_work):
    """Let many prompts of one study wait for the demo checkpoint."""

    def waiting_prompts(count):
        add_work(Generation, 1)
        with database.write() as session:
            for table, columns in (
                ("rendering", "frame_number"),
                ("prompt", "rendering_id"),
                ("generation", "prompt_id"),
            ):
                described = inspect(session.connection()).get_columns(table)
                names = [c["name"] for c in described if c["name"] not in ("id", columns)]
                listed = ", ".join(names)
                session.execute(
                    text(
                        "WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n "
                        f"WHERE i < {count}) INSERT INTO {table} (id, {columns}, {listed}) "
                        f"SELECT i, i, {listed} FROM n, {table} WHERE {table}.id = 1"
                    )
                )
            session.execute(update(Study).values(state=StudyState.ASKED))

    return waiting_prompts


@pytest.mark.parametrize(
    "count", [70_000, pytest.param(200_000, marks=pytest.mark.soak)]
)  # PostgreSQL's driver takes 65,535 parameters a statement
def test_leaving_the_demo_withdraws_any_number_of_prompts(database, waiting_prompts, rows, count):
    waiting_prompts(count)

    began_at = time.monotonic()
    assert withdraw_waiting_prompts(database, "demo") == 1
    assert withdraw_waiting_prompts(database, "demo") == 0
    print(f"withdrew {count} prompts in {time.monotonic() - began_at:.1f} s")

    with database.read() as session:
        assert session.scalar(select(func.count(Generation.id))) == 0
    assert (rows(Study)[0].state, rows(Study)[0].version) == (StudyState.RECEIVING, 2)


def test_an_instance_can_be_current_once(database, store, index, rows):
    for center in (40, 50):
        put_instance(store, make_instance(SOPInstanceUID="1.2.3", WindowCenter=center))
        index()

    with pytest.raises(Exception, match=r"UNIQUE|another process"), database.write() as session:
        session.execute(update(Instance).values(superseded_at=None))

    assert [row.superseded_at is None for row in rows(Instance)] == [False, True]
