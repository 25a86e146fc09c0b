import threading
from dataclasses import replace
from datetime import timedelta

import pytest
from factories import make_engine_identity, make_output
from sqlalchemy import update

from medr1_pacs.db.claims import database_now
from medr1_pacs.db.generations import (
    GENERATIONS,
    claim_generations,
    record_answers,
    record_generated,
    set_ready,
)
from medr1_pacs.db.renderings import RENDERINGS, claim_renderings, record_picture
from medr1_pacs.db.tables import Answer, AuditEvent, Generation, Rendering
from medr1_pacs.db.workers import record_heartbeat
from medr1_pacs.records.answers import ParsedAnswer, UnparsedGeneration
from medr1_pacs.records.listed import WorkerListing
from medr1_pacs.records.planned import Decoding
from medr1_pacs.records.words import GenerationState, ParseStatus, RenderingState
from medr1_pacs.records.work import Claim, RenderedPicture

QUEUE = {Rendering: RENDERINGS, Generation: GENERATIONS}
PICTURE = RenderedPicture("r" * 64, "a" * 64, "b" * 64, 40.0, 400.0, "preset", 0.1)


@pytest.fixture(params=[Rendering, Generation], ids=["rendering", "generation"])
def table(request):
    return request.param


@pytest.fixture
def claim(database):
    """Claim rows of a table that are due."""

    def claim(table, limit=8, owner="worker 1"):
        with database.write() as session:
            return QUEUE[table].claim(session, owner=owner, limit=limit)

    return claim


@pytest.fixture
def expire(database):
    """Let every claim of a table end, as if its worker had died long ago, and take rows back."""

    def expire(table):
        with database.write() as session:
            past = database_now(session) - timedelta(seconds=1)
            session.execute(
                update(table).where(table.claim_token.is_not(None)).values(claimed_until=past)
            )
        with database.write() as session:
            return QUEUE[table].expire(session)

    return expire


@pytest.fixture
def make_due(database):
    """Let waiting times pass."""

    def make_due(table):
        with database.write() as session:
            session.execute(update(table).values(due_at=database_now(session)))

    return make_due


def test_claimants_at_once_never_share_a_row_and_leave_none(database, table, add_work):
    ids = add_work(table, 40)
    claimed, start = [], threading.Barrier(4)

    def work(owner):
        start.wait()
        for _ in ids:
            with database.write() as session:
                claim = QUEUE[table].claim(session, owner=owner, limit=3)
            claimed.extend(claim.row_ids if claim else ())

    threads = [threading.Thread(target=work, args=(f"worker {n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(claimed) == ids


@pytest.mark.parametrize("site", ["postgresql"], indirect=True)  # SQLite has one writer at a time
def test_a_row_that_somebody_is_claiming_is_passed_over(database, add_work):
    first, second = add_work(Rendering, 2)

    with database.write() as session, database.write() as other:
        assert RENDERINGS.claim(session, owner="a", limit=1).row_ids == (first,)
        assert RENDERINGS.claim(other, owner="b", limit=2).row_ids == (second,)


def test_the_oldest_due_rows_are_claimed_first_up_to_the_limit(claim, table, add_work):
    ids = add_work(table, 5)

    assert claim(table, limit=2).row_ids == tuple(ids[:2])
    assert claim(table, limit=9).row_ids == tuple(ids[2:])
    assert claim(table) is None


def test_a_row_that_is_not_due_yet_is_left(database, claim, table, add_work):
    add_work(table, 1)
    with database.write() as session:
        session.execute(update(table).values(due_at=database_now(session) + timedelta(hours=1)))

    assert claim(table) is None


def test_a_claim_says_whose_it_is_and_until_when(database, claim, table, add_work, rows):
    add_work(table, 1)

    made = claim(table, owner="host/7/0")

    (row,) = rows(table)
    with database.read() as session:
        left = row.claimed_until - database_now(session)
    assert (row.claimed_by, row.claim_token) == ("host/7/0", made.token)
    assert timedelta(seconds=15) < left <= timedelta(seconds=20)


def test_a_renewed_claim_lasts_longer(database, claim, table, add_work, rows):
    add_work(table, 1)
    made = claim(table)
    with database.write() as session:
        session.execute(update(table).values(claimed_until=database_now(session)))
        before = database_now(session)

    with database.write() as session:
        assert QUEUE[table].renew(session, made)

    assert rows(table)[0].claimed_until >= before + timedelta(seconds=19)


def test_a_claim_that_was_taken_back_cannot_be_renewed(database, claim, expire, table, add_work):
    add_work(table, 1)
    made = claim(table)
    expire(table)

    with database.write() as session:
        assert not QUEUE[table].renew(session, made)


def test_rows_that_are_given_back_are_unharmed(database, claim, table, add_work, rows):
    ids = add_work(table, 2)
    made = claim(table)

    with database.write() as session:
        QUEUE[table].give_back(session, made)

    assert [(row.attempts, row.is_suspect, row.error) for row in rows(table)] == [
        (0, False, None)
    ] * 2
    assert claim(table).row_ids == tuple(ids)


def test_a_living_claim_does_not_expire(database, claim, table, add_work):
    add_work(table, 1)
    claim(table)

    with database.write() as session:
        assert QUEUE[table].expire(session) == 0


def test_the_claim_of_an_owner_known_to_be_dead_ends_at_once(database, claim, table, add_work):
    add_work(table, 2)
    claim(table, limit=1, owner="dead")
    claim(table, limit=1, owner="alive")

    with database.write() as session:
        assert QUEUE[table].release(session, ["dead"]) == 1


def test_rows_that_were_lost_together_are_suspect_and_next_claimed_alone(
    claim, expire, table, add_work, rows
):
    ids = add_work(table, 3)
    claim(table)

    assert expire(table) == 3

    assert [(row.is_suspect, row.attempts) for row in rows(table)] == [(True, 0)] * 3
    assert [claim(table).row_ids for _ in ids] == [(row_id,) for row_id in ids]


def test_the_claim_of_an_owner_that_lives_ends_unharmed(database, claim, table, add_work, rows):
    add_work(table, 1)
    claim(table, owner="answer@here/1/1")
    with database.write() as session:
        now = database_now(session)
        record_heartbeat(session, WorkerListing("answer@here/1/1", "answer", [], now, now))
        session.execute(update(table).values(claimed_until=now - timedelta(seconds=1)))

    with database.write() as session:
        assert QUEUE[table].expire(session) == 1

    (row,) = rows(table)
    assert (row.claim_token, row.attempts, row.is_suspect) == (None, 0, True)


def test_a_row_that_a_kill_from_outside_lost_alone_rests_after_ten_of_them(
    database, claim, table, add_work, rows
):
    add_work(table, 1)

    for loss in range(1, 11):
        claim(table, owner="killed")
        with database.write() as session:
            assert QUEUE[table].release(session, ["killed"], were_killed=True) == 1
            session.execute(update(table).values(due_at=database_now(session)))
        assert (rows(table)[0].attempts, rows(table)[0].losses) == (0, loss)

    assert rows(table)[0].state == "failed"


def test_rows_that_a_kill_from_outside_lost_together_count_nothing(
    database, claim, table, add_work, rows
):
    add_work(table, 2)
    claim(table, owner="killed")

    with database.write() as session:
        QUEUE[table].release(session, ["killed"], were_killed=True)

    assert [(row.attempts, row.losses) for row in rows(table)] == [(0, 0)] * 2


def test_healthy_rows_are_claimed_together_around_a_suspect_one(database, claim, table, add_work):
    ids = add_work(table, 4)
    with database.write() as session:
        session.execute(update(table).where(table.id == ids[1]).values(is_suspect=True))

    assert claim(table).row_ids == (ids[0], ids[2], ids[3])
    assert claim(table).row_ids == (ids[1],)


def test_a_row_lost_alone_three_times_rests_as_failed_with_its_reason(
    claim, expire, make_due, table, add_work, rows
):
    add_work(table, 1)

    for attempts in (1, 2, 3):
        assert claim(table, limit=1) is not None
        expire(table)
        assert rows(table)[0].attempts == attempts
        make_due(table)

    (row,) = rows(table)
    assert row.state in (RenderingState.FAILED, GenerationState.FAILED)
    assert row.error == "its worker was lost while working on it"
    assert row.claim_token is None


def test_a_row_lost_alone_waits_before_it_is_tried_again(claim, expire, table, add_work):
    add_work(table, 1)
    claim(table, limit=1)

    expire(table)

    assert claim(table) is None


def test_a_raised_error_counts_and_waits_longer_each_time(
    database, claim, make_due, table, add_work, rows
):
    (row_id,) = add_work(table, 1)
    waits = []
    for _ in range(2):
        made = claim(table, limit=1)
        with database.write() as session:
            QUEUE[table].record_attempt(session, made, row_id, "ValueError: no")
            waits.append(session.get(table, row_id).due_at - database_now(session))
        make_due(table)

    (row,) = rows(table)
    assert (row.attempts, row.error) == (2, "ValueError: no")
    assert row.state in (RenderingState.PLANNED, GenerationState.WAITING)
    assert timedelta(seconds=1) < waits[0] < timedelta(seconds=3) < waits[1]


def test_three_raised_errors_are_the_end(database, claim, make_due, table, add_work, rows):
    (row_id,) = add_work(table, 1)

    for _ in range(3):
        made = claim(table, limit=1)
        with database.write() as session:
            QUEUE[table].record_attempt(session, made, row_id, "ValueError: no")
        make_due(table)

    (row,) = rows(table)
    assert row.state in (RenderingState.FAILED, GenerationState.FAILED)
    assert row.error == "ValueError: no"


def test_an_error_under_a_stale_token_is_not_counted(database, claim, table, add_work, rows):
    (row_id,) = add_work(table, 1)
    claim(table)

    with database.write() as session:
        QUEUE[table].record_attempt(session, Claim("stale", (row_id,)), row_id, "late")

    assert rows(table)[0].attempts == 0


def test_a_batch_that_raised_is_tried_one_by_one_without_counting(
    database, claim, table, add_work, rows
):
    ids = add_work(table, 3)
    made = claim(table)

    with database.write() as session:
        QUEUE[table].give_back_suspect(session, made, "ValueError: one of them")

    assert [row.attempts for row in rows(table)] == [0, 0, 0]
    assert [claim(table).row_ids for _ in ids] == [(row_id,) for row_id in ids]


def test_a_picture_under_a_stale_token_is_refused(database, add_work, expire, rows):
    (rendering_id,) = add_work(Rendering, 1)
    with database.write() as session:
        stale, _ = claim_renderings(session, owner="slow", limit=1)
    expire(Rendering)

    with database.write() as session:
        assert not record_picture(session, stale, rendering_id, PICTURE)
        RENDERINGS.give_up(session, stale, rendering_id, "late")

    (row,) = rows(Rendering)
    assert (row.state, row.error) == (
        RenderingState.PLANNED,
        "its worker was lost while working on it",
    )


def test_the_first_picture_stays(database, add_work, rows):
    (rendering_id,) = add_work(Rendering, 1)
    with database.write() as session:
        claim, _ = claim_renderings(session, owner="w", limit=1)
        assert record_picture(session, claim, rendering_id, PICTURE)

    with database.write() as session:
        again = replace(PICTURE, png_sha256="c" * 64)
        assert not record_picture(session, claim, rendering_id, again)

    assert rows(Rendering)[0].png_sha256 == "a" * 64


def test_a_generation_under_a_stale_token_is_refused(database, add_work, expire, rows):
    add_work(Generation, 1)
    with database.write() as session:
        stale, (item,) = claim_generations(session, "demo", owner="slow", limit=1)
    expire(Generation)
    with database.write() as session:
        session.execute(update(Generation).values(due_at=database_now(session)))
        live, _ = claim_generations(session, "demo", owner="quick", limit=1)

    with database.write() as session:
        identity = make_engine_identity()
        late, right = (make_output(raw_output=text) for text in ("late", "right"))
        assert not record_generated(session, stale, item, late, identity)
        assert record_generated(session, live, item, right, identity)
        assert not record_generated(session, live, item, late, identity)

    assert rows(Generation)[0].raw_output == "right"


def test_the_first_parse_of_a_generation_stays(database, add_work, rows):
    (generation_id,) = add_work(Generation, 1)
    with database.write() as session:
        claim, (item,) = claim_generations(session, "demo", owner="worker", limit=1)
        assert record_generated(session, claim, item, make_output(), make_engine_identity())

    for choice in ("A", "B"):
        with database.write() as session:
            parsed = ParsedAnswer(ParseStatus.PARSED, None, choice)
            unparsed = UnparsedGeneration(
                generation_id=generation_id,
                study_id=1,
                raw_output="",
                finish_reason="stop",
                options=("CT", "MRI"),
            )
            record_answers(session, [(unparsed, parsed)])

    (answer,) = rows(Answer)
    assert (answer.choice, answer.choice_text) == ("A", "CT")
    assert [event.action for event in rows(AuditEvent) if event.object_type == "answer"] == [
        "answer.parsed"
    ]


def test_generations_are_claimed_for_one_checkpoint_and_with_a_picture_only(database, add_work):
    add_work(Generation, 2)
    with database.write() as session:
        set_ready(session, 1, False)

    with database.write() as session:
        assert claim_generations(session, "ct", owner="w", limit=9) is None
        claim, work = claim_generations(session, "demo", owner="w", limit=9)

    assert isinstance(claim, Claim)
    assert [(item.png_sha256, item.decoding) for item in work] == [
        ("f" * 64, Decoding(think=True, max_new_tokens=256))
    ]
