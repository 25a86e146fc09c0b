"""The order in which readers meet cases, and which comes next."""

import hashlib
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from medr1_pacs.records.review_words import ReadKind
from medr1_pacs.reviews.order import (
    NextRead,
    WaitingRead,
    choose_next,
    order_key,
    reader_order,
)

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
WEEK = timedelta(days=7)


def choose(*waiting, now=NOON, washout=WEEK) -> NextRead:
    return choose_next(waiting, seed="chest 1 0", reader="anna", washout=washout, now=now)


def test_an_order_is_by_the_hash_of_seed_reader_and_case():
    def key(number):
        return hashlib.sha256(f"chest 1 0\nanna\n{number}".encode()).digest()

    assert order_key("chest 1 0", "anna", 3) == key(3)
    assert reader_order("chest 1 0", "anna", range(1, 9)) == sorted(range(1, 9), key=key)


def test_readers_and_seeds_have_orders_of_their_own():
    orders = {
        tuple(reader_order(seed, reader, range(20)))
        for seed in ("chest 1 0", "chest 1 1")
        for reader in ("anna", "ben")
    }

    assert len(orders) == 4


@given(st.permutations(range(12)))
def test_an_order_is_the_same_from_whatever_order_and_loses_no_case(numbers):
    assert reader_order("s", "anna", numbers) == reader_order("s", "anna", range(12))
    assert sorted(reader_order("s", "anna", numbers)) == list(range(12))


def test_practice_comes_before_firsts_and_those_before_seconds_and_repeats():
    kinds = [ReadKind.REPEAT, ReadKind.SECOND, ReadKind.FIRST, ReadKind.PRACTICE]
    waiting = [WaitingRead(place, place, kind, None) for place, kind in enumerate(kinds)]

    met = []
    while waiting:
        chosen = choose(*waiting).assignment_id
        met.append(kinds[chosen])
        waiting = [read for read in waiting if read.assignment_id != chosen]

    assert met == kinds[::-1]


def test_a_case_waits_until_its_washout_is_over_to_the_second():
    read = WaitingRead(7, 1, ReadKind.REPEAT, NOON - WEEK)

    assert choose(read, now=NOON) == NextRead(7)
    assert choose(read, now=NOON - timedelta(seconds=1)) == NextRead(None, NOON)


def test_a_case_that_was_never_read_does_not_wait():
    assert choose(WaitingRead(7, 1, ReadKind.FIRST, None)) == NextRead(7)


def test_a_case_that_waits_is_passed_over():
    waits = WaitingRead(1, 1, ReadKind.FIRST, NOON)

    assert choose(waits, WaitingRead(2, 2, ReadKind.REPEAT, None)) == NextRead(2)


def test_where_all_wait_the_first_that_is_due_is_told():
    waiting = [
        WaitingRead(number, number, ReadKind.REPEAT, NOON - timedelta(days=number))
        for number in (1, 3, 2)
    ]

    assert choose(*waiting) == NextRead(None, NOON + timedelta(days=4))


def test_where_nothing_is_left_there_is_nothing_to_wait_for():
    assert choose() == NextRead(None, None)


def test_without_a_washout_everything_is_due():
    assert choose(WaitingRead(1, 1, ReadKind.REPEAT, NOON), washout=timedelta(0)) == NextRead(1)
