"""Processes and servers are killed while work is done: nothing is lost, nothing happens twice."""

from __future__ import annotations

import random
import time

import psutil
import pytest
from factories import make_instance
from sqlalchemy import func, select

from medr1_pacs.db.tables import Answer, Generation, Instance
from medr1_pacs.demo.studies import make_study
from medr1_pacs.records.words import GenerationState, Modality

WAIT_MAX_S = 30.0
"""How long a prompt may wait, once a worker is back, before somebody may work on it again."""


def kill_answer_worker_amid_a_batch(service, rng: random.Random) -> None:
    """Wait until prompts are claimed, then kill the worker at a random moment; check that what it
    held is free again soon after its successor is there."""
    database = service.database()

    def claimed() -> list[int]:
        with database.read() as session:
            return list(
                session.scalars(select(Generation.id).where(Generation.claim_token.is_not(None)))
            )

    service.wait_until(claimed, 120)
    time.sleep(rng.random() * 0.5)
    held, victim = claimed(), service.children()["worker answer"]
    with database.read() as session:
        tokens = dict(
            session.execute(
                select(Generation.id, Generation.claim_token).where(Generation.id.in_(held))
            ).all()
        )
    victim.kill()
    service.wait_until(
        lambda: is_running(service.children().get("worker answer"), not_pid=victim.pid), 90
    )

    def is_free() -> bool:
        with database.read() as session:
            rows = session.execute(
                select(Generation.id, Generation.claim_token, Generation.state).where(
                    Generation.id.in_(held)
                )
            ).all()
        return not any(
            row.claim_token is not None
            and row.claim_token == tokens[row.id]
            and row.state is GenerationState.WAITING
            for row in rows
        )

    service.wait_until(is_free, WAIT_MAX_S)
    database.dispose()


def is_running(process: psutil.Process | None, *, not_pid: int) -> bool:
    return process is not None and process.pid != not_pid and process.is_running()


def assert_each_prompt_has_one_answer(service) -> None:
    database = service.database()
    with database.read() as session:
        states = dict(
            session.execute(
                select(Generation.state, func.count(Generation.id)).group_by(Generation.state)
            ).all()
        )
        answers = session.scalar(select(func.count(Answer.id)))
        distinct = session.scalar(select(func.count(func.distinct(Answer.generation_id))))
    database.dispose()
    assert set(states) == {GenerationState.ANSWERED}, states
    assert answers == distinct == states[GenerationState.ANSWERED]


def kill_and_check(service, *, kills: int, seeds: int) -> None:
    service.start()
    for seed in range(seeds):
        for modality in Modality:
            assert set(service.send(make_study(modality, 8000 + seed))) == {0x0000}
    rng = random.Random(20)
    for _ in range(kills):
        kill_answer_worker_amid_a_batch(service, rng)
    service.wait_for_settled(8 * seeds, timeout_s=900)
    assert {row["state"] for row in service.studies()} == {"answered"}
    assert_each_prompt_has_one_answer(service)


def test_an_answer_worker_killed_amid_a_batch_loses_nothing(make_service):
    kill_and_check(make_service(MEDR1_BATCH_SIZE="4"), kills=3, seeds=1)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_an_answer_worker_killed_twenty_times_loses_nothing(make_service):
    kill_and_check(make_service(MEDR1_BATCH_SIZE="4"), kills=20, seeds=6)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_an_answer_worker_killed_twenty_times_loses_nothing_on_a_site(site_service):
    site_service.environ["MEDR1_BATCH_SIZE"] = "4"
    kill_and_check(site_service, kills=20, seeds=6)


def test_a_broker_that_restarts_empty_holds_nothing_up(site_service, redis_server):
    site_service.start()
    for modality in (Modality.CT, Modality.FUNDUS):
        assert set(site_service.send(make_study(modality, 8101))) == {0x0000}
    redis_server.kill()
    time.sleep(3)
    redis_server.start()

    site_service.wait_for_settled(2)

    assert_each_prompt_has_one_answer(site_service)


def stop_postgresql_while_sending(service, server, *, stopped_s: float) -> None:
    service.start()
    instances = [make_instance() for _ in range(60)]
    assert set(service.send(instances[:20])) == {0x0000}
    server.stop()
    stopped_at = time.monotonic()
    assert set(service.send(instances[20:40])) == {0x0000}
    time.sleep(max(0.0, stopped_s - (time.monotonic() - stopped_at)))
    server.start()
    assert set(service.send(instances[40:])) == {0x0000}

    database = service.database()

    def recorded() -> set[str]:
        with database.read() as session:
            return set(session.scalars(select(Instance.sop_instance_uid)))

    sent = {str(dataset.SOPInstanceUID) for dataset in instances}
    service.wait_until(lambda: recorded() == sent, 90)
    database.dispose()


def test_instances_acknowledged_while_the_database_is_away_are_recorded(
    site_service, postgresql_server
):
    stop_postgresql_while_sending(site_service, postgresql_server, stopped_s=5)


@pytest.mark.soak
def test_a_database_away_for_twenty_seconds_loses_no_acknowledged_instance(
    site_service, postgresql_server
):
    stop_postgresql_while_sending(site_service, postgresql_server, stopped_s=20)
