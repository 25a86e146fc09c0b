"""Which passwords are taken, and how they are checked."""

from __future__ import annotations

import pytest
from fakes import make_passwords
from pwdlib.hashers.argon2 import Argon2Hasher

from medr1_pacs.errors import PasswordRefused
from medr1_pacs.passwords import Passwords, check_password

GOOD = "coffee table lantern"


@pytest.fixture(scope="module")
def passwords():
    return make_passwords()


def test_the_right_password_is_right_and_any_other_wrong(passwords):
    password_hash = passwords.hash(GOOD)

    assert passwords.verify(GOOD, password_hash).is_right
    assert not passwords.verify(GOOD + " ", password_hash).is_right


def test_a_hash_is_argon2id_and_differs_each_time(passwords):
    first, second = passwords.hash(GOOD), passwords.hash(GOOD)

    assert first.startswith("$argon2id$")
    assert first != second


def test_nobodys_password_is_wrong_whatever_it_is(passwords):
    assert not passwords.verify(GOOD, None).is_right


def test_a_name_that_nobody_has_costs_one_check_like_any_other():
    class CountingHasher(Argon2Hasher):
        checks = 0

        def verify(self, password, hash):
            CountingHasher.checks += 1
            return super().verify(password, hash)

    passwords = Passwords(CountingHasher(time_cost=1, memory_cost=8, parallelism=1))
    passwords.verify(GOOD, None)
    passwords.verify("x" * 5_000, None)
    passwords.verify("wrong", passwords.hash(GOOD))

    assert CountingHasher.checks == 3


def test_the_same_letters_typed_in_another_way_are_the_same_password(passwords):
    password_hash = passwords.hash("stra\u00dfe fu\u0308r vier")

    assert passwords.verify("stra\u00dfe f\u00fcr vier", password_hash).is_right


def test_a_hash_with_old_parameters_is_replaced_when_its_password_comes(passwords):
    old = passwords.hash(GOOD)
    stronger = Passwords(Argon2Hasher(time_cost=2, memory_cost=16, parallelism=1))

    verdict = stronger.verify(GOOD, old)

    assert verdict.is_right
    assert verdict.new_hash is not None
    assert stronger.verify(GOOD, verdict.new_hash).new_hash is None


def test_a_wrong_password_replaces_no_hash(passwords):
    stronger = Passwords(Argon2Hasher(time_cost=2, memory_cost=16, parallelism=1))

    assert stronger.verify("wrong", passwords.hash(GOOD)).new_hash is None


def test_what_is_longer_than_a_password_may_be_is_wrong(passwords):
    password_hash = passwords.hash("ab" * 512)

    assert passwords.verify("ab" * 512, password_hash).is_right
    assert not passwords.verify("ab" * 512 + "c", password_hash).is_right


def test_half_a_surrogate_pair_is_a_character_like_another(passwords):
    assert passwords.verify("\ud800 and more", passwords.hash("\ud800 and more")).is_right


@pytest.mark.parametrize("password", [GOOD, "k9#vQz!2mWxL", "ab1" * 4 + "xyzw", "é" * 3 + GOOD])
def test_a_password_that_is_hard_to_guess_is_taken(password):
    check_password(password, "anna")


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("k9#vQz!2mWx", "at least 12"),
        ("ab1 " * 257, "at most 1024"),
        ("the one of ANNA at noon", "account's name"),
        ("password2026!", "tried first"),
        ("Qwertz123456", "tried first"),
        ("aaaaaaaaaaaaaaaa", "tried first"),
        ("abcabcabcabcabc", "tried first"),
        ("Welcome-2026-admin", "tried first"),
    ],
)
def test_a_password_that_is_tried_early_is_refused_and_the_reason_said(password, why):
    with pytest.raises(PasswordRefused, match=why):
        check_password(password, "anna")
