"""What is hashed of an event and of a record, byte for byte: it must never change by itself."""

from __future__ import annotations

import hashlib
import json

import pytest

from medr1_pacs.audit.canonical import (
    canonical_json,
    commit,
    commit_by_field_salt,
    field_salt,
)
from medr1_pacs.audit.events import Event
from medr1_pacs.audit.records import FORMS, commit_fields, record_sha256

SALT = "00112233445566778899aabbccddeeff"
EVENT = Event(
    event_id=17,
    action="account.role_given",
    object_type="account",
    object_id=3,
    study_id=None,
    project_id=2,
    account_id=1,
    record="ab" * 32,
    salt=SALT,
    actor="anna",
    at="2026-01-02T03:04:05.678901Z",
    told={"new": {"role": "auditor", "project": "lung"}},
    reason=None,
)


def sha256(data):
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"b": [1, None, True], "a": "ü"}, '{"a":"ü","b":[1,null,true]}'),
        ('\u2028\x7f"\\\n', '"\u2028\x7f\\"\\\\\\n"'),
        ([], "[]"),
        ({"e": {}}, '{"e":{}}'),
    ],
)
def test_canonical_json_is_sorted_without_spaces_in_utf_8(value, expected):
    assert canonical_json(value) == expected.encode()


@pytest.mark.parametrize("value", [0.5, [1.0], {"a": {"b": [0.1]}}, float("nan")])
def test_a_fraction_has_no_canonical_form(value):
    with pytest.raises(ValueError, match="write it as a text"):
        canonical_json(value)


def test_a_commitment_is_opened_by_the_salt_of_its_field_alone():
    salt_of_field = hashlib.sha256(bytes.fromhex(SALT) + b"at").digest()[:16]

    assert field_salt(SALT, "at") == salt_of_field.hex()
    assert commit(SALT, "at", "now") == sha256(salt_of_field + b'"now"')
    assert commit_by_field_salt(field_salt(SALT, "at"), "now") == commit(SALT, "at", "now")
    assert commit_by_field_salt(field_salt(SALT, "actor"), "now") != commit(SALT, "at", "now")


def test_an_event_is_hashed_as_the_canonical_json_of_its_form():
    form = {
        "account": 1,
        "action": "account.role_given",
        "actor": commit(SALT, "actor", "anna"),
        "at": commit(SALT, "at", EVENT.at),
        "event": 17,
        "form": 1,
        "object": ["account", 3],
        "reason": commit(SALT, "reason", None),
        "record": "ab" * 32,
        "scope": [None, 2],
        "told": commit(SALT, "told", EVENT.told),
    }

    assert EVENT.leaf() == hashlib.sha256(b"\x00" + canonical_json(form)).digest()


def test_the_leaf_of_an_event_is_the_same_for_ever():
    assert EVENT.leaf().hex() == EXPECTED_LEAF


@pytest.mark.parametrize("kind", FORMS)
def test_the_hash_of_a_record_is_the_same_for_ever(kind):
    form = FORMS[kind]
    values = {name: name for name in (*form.in_the_open, *form.committed)}

    digest = record_sha256(kind, values, commit_fields(kind, SALT, values))

    assert digest == EXPECTED_RECORDS[kind]


def test_a_record_with_a_field_that_was_added_is_of_the_next_version():
    form = FORMS["reading_case"]
    before = {name: name for name in (*form.in_the_open, *form.committed)}
    commitments = commit_fields("reading_case", SALT, before)
    values = before | {"pictures": [[1, [[2, 3]]]]}
    canonical = {
        "form": ["reading_case", 2],
        "record": {name: values[name] for name in form.shown},
        "commitments": commitments,
    }

    assert record_sha256("reading_case", values, commitments) == sha256(canonical_json(canonical))
    assert (
        record_sha256("reading_case", before | {"pictures": None}, commitments)
        == (EXPECTED_RECORDS["reading_case"])
    )


def test_a_record_is_hashed_by_the_commitments_to_its_texts():
    values = {"account_id": 3, "name": "anna"}
    commitments = commit_fields("account", SALT, values)
    canonical = {
        "form": ["account", 1],
        "record": {"account_id": 3},
        "commitments": {"name": commit(SALT, "name", "anna")},
    }

    assert record_sha256("account", {"account_id": 3}, commitments) == sha256(
        json.dumps(canonical, sort_keys=True, separators=(",", ":")).encode()
    )


EXPECTED_LEAF = "0ccebb99ce27a2d01d24bb4a3b408175b92a150b91d0712d335ca36bd7acbb36"
EXPECTED_RECORDS = {
    "answer": "d7d9f3f1984c764701992711204d7896484b639103ca190f1bc1d1f23df7b4c3",
    "reference_standard": "55b6da80c8317bd307a6bdf4e6cc40cefadd0099325758eba889f2d958e1b049",
    "reference_statement": "04a909fff10e323f7a493f94fb02214bd67dc1565e0b6c6e63c954365baa29c6",
    "question": "490aef1b008507f7b6b47f5efef323c092005617f8eb481ee47a90310c737619",
    "checkpoint": "be1b4a12437ff6f209fa8fe877dad28cdaa591260ba1fa0f699b1a4d4a9a4f1d",
    "account": "4a5e244532864505fe8621aa3145da02f47784f46542d646fa3726f46075227a",
    "project_member": "06592de2e774fc9bc1a1ed94c112597a86aecf7b611ed46ffa4dde8cb3968a89",
    "reading_case": "6e1f833aa26bd08866e09bd1352e84faf665c330570b38f38f64a6397067cf6a",
    "review": "73a85f9b0b6511b540016eca9d1a3994f18ff0693ea2918657630f45489ec33b",
}


@pytest.mark.parametrize("salt", ["ab" * 15, "ab" * 17, "zz" * 16, ""])
def test_a_salt_has_sixteen_bytes(salt):
    for make in (commit_by_field_salt, lambda salt, value: commit(salt, "at", value)):
        with pytest.raises(ValueError, match=r"salt|hex"):
            make(salt, "now")
