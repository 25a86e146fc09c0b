"""Which keys speak for a log, and for what."""

from __future__ import annotations

import pytest

from medr1_pacs.audit.keys import STATEMENTS_MAX, follow_keys, open_head, statement_text
from medr1_pacs.audit.merkle import EMPTY_ROOT
from medr1_pacs.audit.notes import (
    COSIGNATURE,
    NoteInvalid,
    SignedNote,
    TreeHead,
    format_note,
)
from medr1_pacs.audit.signing import SigningKey

LOG = "medr1-pacs/test"
FIRST, SECOND, THIRD = (SigningKey(LOG, bytes([n]) * 32) for n in (1, 2, 3))
OTHER = SigningKey("medr1-pacs/other", bytes([4]) * 32)
WITNESS = SigningKey("lab.hospital.org", bytes([5]) * 32, COSIGNATURE)


def statement(old, new, signed_by=None):
    text = statement_text(old.verifier, new.verifier)
    keys = (old, new) if signed_by is None else signed_by
    return format_note(SignedNote(text, tuple(key.sign(text, 1) for key in keys)))


def head(*keys, origin=LOG):
    text = TreeHead(origin, 0, EMPTY_ROOT).text()
    return format_note(SignedNote(text, tuple(key.sign(text, 1) for key in keys)))


CHAIN = [statement(FIRST, SECOND), statement(SECOND, THIRD)]


def test_a_trusted_key_vouches_for_those_that_replace_it():
    keys = follow_keys([FIRST.verifier], CHAIN[::-1])

    assert keys.current == (FIRST.verifier, SECOND.verifier, THIRD.verifier)
    assert keys.earlier == ()


def test_a_key_that_was_replaced_signs_nothing_new():
    keys = follow_keys([THIRD.verifier], CHAIN)

    assert keys.current == (THIRD.verifier,)
    assert set(keys.earlier) == {FIRST.verifier, SECOND.verifier}


def test_a_stolen_key_that_was_replaced_names_no_successor_of_its_own():
    thief = SigningKey(LOG, bytes([9]) * 32)

    keys = follow_keys([SECOND.verifier], [*CHAIN, statement(FIRST, thief)])

    assert thief.verifier not in keys.all


def test_a_witness_speaks_for_no_log():
    own = SigningKey(WITNESS.name, bytes([6]) * 32)

    assert follow_keys([WITNESS.verifier]).all == ()
    with pytest.raises(NoteInvalid, match=r"not of keys of a log"):
        follow_keys([WITNESS.verifier], [statement(WITNESS, own)])


def test_a_statement_that_one_side_did_not_sign_leads_nowhere():
    with pytest.raises(NoteInvalid, match=r"not signed by both"):
        follow_keys([FIRST.verifier], [statement(FIRST, SECOND, signed_by=[SECOND])])


def test_more_statements_than_a_log_ever_has_are_refused():
    with pytest.raises(NoteInvalid, match=r"more than 100"):
        follow_keys([FIRST.verifier], CHAIN * STATEMENTS_MAX)


@pytest.mark.parametrize(
    ("keys", "signed_by"),
    [([FIRST], [FIRST]), ([FIRST, SECOND], [FIRST, SECOND]), ([OTHER], []), ([WITNESS], [])],
    ids=["its own", "two of its own", "another log's", "a witness's"],
)
def test_a_head_is_signed_by_keys_of_its_own_log(keys, signed_by):
    opened = open_head(head(*keys), [key.verifier for key in (FIRST, SECOND, OTHER, WITNESS)])

    assert opened.signers == tuple(key.verifier for key in signed_by)
