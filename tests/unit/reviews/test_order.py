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
    iterate_order,
    order_key,
    reader_order,
)

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
WEEK = timedelta(days=7)


def choose(*waiting, now=NOON, washout=WEEK, last=None) -> NextRead:
    """Choose among reads; `last`: case -> when it was last read."""
    ordered = iterate_order(waiting, seed="chest 1 0", reader="anna")
    return choose_next(ordered, lambda cases: last or {}, washout=washout, now=now)


def waits(assignment_id, number=1, kind=ReadKind.FIRST) -> WaitingRead:
    return WaitingRead(assignment_id, number, kind, f"case {number}")


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


def test_practice_comes_before_firsts_and_those_before_seconds():
    kinds = [ReadKind.SECOND, ReadKind.FIRST, ReadKind.PRACTICE]
    waiting = [waits(place, place, kind) for place, kind in enumerate(kinds)]

    met = []
    while waiting:
        chosen = choose(*waiting).assignment_id
        met.append(kinds[chosen])
        waiting = [read for read in waiting if read.assignment_id != chosen]

    assert met == kinds[::-1]


def meet(*kinds) -> list[WaitingRead]:
    """Return twenty cases, each read in all of these kinds, in the order in which they are met."""
    waiting = [
        waits(100 * place + number, number, kind)
        for place, kind in enumerate(kinds)
        for number in range(20)
    ]
    met = []
    while waiting:
        chosen = choose(*waiting).assignment_id
        met += [read for read in waiting if read.assignment_id == chosen]
        waiting = [read for read in waiting if read.assignment_id != chosen]
    return met


def test_repeats_whose_washout_is_over_are_among_the_firsts():
    kinds = [read.kind for read in meet(ReadKind.FIRST, ReadKind.REPEAT)]

    half = kinds[: len(kinds) // 2]
    assert 5 <= half.count(ReadKind.REPEAT) <= 15


def test_a_repeat_has_another_place_than_the_first_read_of_its_case():
    met = meet(ReadKind.FIRST, ReadKind.REPEAT)

    firsts = [read.case_number for read in met if read.kind is ReadKind.FIRST]
    repeats = [read.case_number for read in met if read.kind is ReadKind.REPEAT]
    assert sorted(firsts) == sorted(repeats)
    assert firsts != repeats


def test_a_case_waits_until_its_washout_is_over_to_the_second():
    read, last = waits(7, kind=ReadKind.REPEAT), {"case 1": NOON - WEEK}

    assert choose(read, last=last) == NextRead(7)
    early = choose(read, last=last, now=NOON - timedelta(seconds=1))
    assert early == NextRead(None, due_at=NOON)


def test_a_case_that_was_never_read_does_not_wait():
    assert choose(waits(7)) == NextRead(7)


def test_a_case_that_waits_is_passed_over():
    reads = waits(1, 1), waits(2, 2)

    assert choose(*reads, last={"case 1": NOON}) == NextRead(2)


def test_what_follows_is_what_would_be_chosen_then():
    reads = [waits(number, number) for number in range(9)]

    first = choose(*reads)
    second = choose(*(read for read in reads if read.assignment_id != first.assignment_id))

    assert first.following_id == second.assignment_id


def test_where_all_wait_the_first_that_is_due_is_told():
    numbers = range(1, 200)
    last = {f"case {number}": NOON - timedelta(minutes=number) for number in numbers}

    found = choose(*(waits(number, number) for number in numbers), last=last)

    assert found == NextRead(None, due_at=NOON - timedelta(minutes=199) + WEEK)


def test_where_nothing_is_left_there_is_nothing_to_wait_for():
    assert choose() == NextRead(None)


def test_without_a_washout_everything_is_due():
    assert choose(waits(1), washout=timedelta(0), last={"case 1": NOON}) == NextRead(1)
