"""How fast passwords may be guessed, and that nobody is locked out by it."""

from __future__ import annotations

import pytest
from fakes import FakeClock

from medr1_pacs.web.security.limits import Buckets, Rate, SignInLimits, network_of

ATTACKER, ELSEWHERE = "203.0.113.7", "198.51.100.1"


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def limits(clock):
    return SignInLimits(clock.monotonic)


def guess(limits, count, address=ATTACKER, account="anna", device=None):
    """Return how many of so many attempts at once are admitted."""
    return sum(limits.admit(address, account, device) == 0 for _ in range(count))


def test_of_a_thousand_guesses_at_once_ten_are_looked_at(limits):
    assert guess(limits, 1_000) == 10


def test_a_guesser_who_goes_on_for_an_hour_gets_one_more_each_five_seconds(limits, clock):
    admitted = guess(limits, 10)
    for _ in range(3_600):
        clock.pass_s(1)
        admitted += guess(limits, 3)

    assert admitted == 10 + 3_600 // 5


def test_a_refused_attempt_says_how_long_to_wait_and_costs_nothing(limits, clock):
    guess(limits, 10)
    clock.pass_s(2)

    assert limits.admit(ATTACKER, "anna", None) == pytest.approx(3)
    clock.pass_s(3)
    assert limits.admit(ATTACKER, "anna", None) == 0


def test_the_owner_in_a_known_browser_is_not_slowed_by_a_guesser_at_the_same_address(limits):
    guess(limits, 1_000)

    assert guess(limits, 1, device="annas") == 1


def test_the_owner_at_another_address_is_not_slowed(limits):
    guess(limits, 1_000)

    assert guess(limits, 1, address=ELSEWHERE) == 1


def test_the_owner_at_the_same_address_waits_five_seconds(limits, clock):
    guess(limits, 1_000)
    clock.pass_s(5)

    assert guess(limits, 1) == 1


def test_one_address_that_tries_many_names_is_slowed_to_one_a_second(limits, clock):
    admitted = sum(guess(limits, 1, account=f"name{number}") for number in range(1_000))
    clock.pass_s(10)
    admitted += sum(guess(limits, 1, account=f"other{number}") for number in range(1_000))

    assert admitted == 100 + 10


def test_a_known_browser_is_slowed_by_its_own_attempts(limits):
    assert guess(limits, 100, device="stolen") == 10
    assert guess(limits, 1, device="annas") == 1


def test_a_browser_known_to_one_account_is_not_to_another(limits):
    guess(limits, 10, account="anna", device="shared")

    assert guess(limits, 1, account="bert", device="shared") == 1


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:aaaa:bbbb:cccc:dddd", "2001:db8:1:2::"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("", ""),
    ],
)
def test_a_guesser_is_known_by_what_they_cannot_change(address, network):
    assert network_of(address) == network


def test_of_too_many_buckets_the_one_not_used_for_the_longest_is_forgotten(clock):
    buckets = Buckets(Rate(1, 60), clock.monotonic, buckets_max=3)
    for key in ("a", "b", "c", "a", "d"):
        buckets.take(key)

    assert len(buckets) == 3
    assert buckets.wait_s("b") == 0
    assert all(buckets.wait_s(key) > 0 for key in ("c", "a", "d"))


def test_memory_is_bounded_however_many_addresses_guess(clock):
    limits = SignInLimits(clock.monotonic, buckets_max=50)
    for number in range(1_000):
        limits.admit(f"10.0.{number // 256}.{number % 256}", "anna", None)

    assert len(limits._names) == len(limits._addresses) == 50
