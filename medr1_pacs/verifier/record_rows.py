"""Whether a row of a table is the record that an event carries the hash of."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from typing import Any

from medr1_pacs.audit.canonical import commit_by_field_salt, field_salt
from medr1_pacs.audit.export_form import BOOLEANS, INTEGERS, STRUCTURES
from medr1_pacs.audit.records import FORMS, record_sha256

_BEGINS_A_FORMULA = tuple("=+-@＝＋－＠\t\r\n")


def has_hash(row: Mapping[str, Any], kind: str, expected: bytes) -> bool:
    """Whether a row is the record with this hash.

    A cell of CSV does not tell nothing from an empty text, nor an apostrophe of the text from one
    that keeps a spreadsheet from taking it for a formula: either may be meant.
    """
    form = FORMS[kind]
    values = {name: _in_the_open(name, row[name]) for name in form.in_the_open}
    values |= {name: _in_the_open(name, row[name]) for name in form.added if name in row}
    salt = row.get("record_salt")
    salts, hidden = (structure_of(row.get(name) or {}) for name in ("salts", "commitments"))
    choices = []
    for name in form.committed:
        if f"{name}_sha256" in row:
            choices.append([row[f"{name}_sha256"]])
            continue
        if name in hidden:
            if row[name] not in ("", None):
                return False  # it is shown, and nothing says that it is what was hashed
            choices.append([hidden[name]])
            continue
        if salt is not None:
            salt_of_field = field_salt(salt, name)
        else:
            salt_of_field = salts[name] if name in salts else row[f"{name}_salt"]
        choices.append(
            [commit_by_field_salt(salt_of_field, value) for value in _meanings(name, row[name])]
        )
    wanted = expected.hex()
    for commitments in itertools.product(*choices):
        if (
            record_sha256(kind, values, dict(zip(form.committed, commitments, strict=True)))
            == wanted
        ):
            return True
    return False


def structure_of(value: Any) -> Any:
    """Return a list or an object, which a cell of CSV has as JSON."""
    return json.loads(value) if isinstance(value, str) else value


def is_true(value: Any) -> bool:
    """Whether a boolean is true, which a cell of CSV has as a word."""
    return value is True or value == "true"


def _in_the_open(name: str, value: Any) -> Any:
    if not isinstance(value, str):
        return repr(value) if isinstance(value, float) else value
    if value == "":
        return None
    if name in INTEGERS:
        return int(value)
    if name in BOOLEANS:
        return is_true(value)
    return json.loads(value) if name in STRUCTURES else value


def _meanings(name: str, value: Any) -> list[Any]:
    if not isinstance(value, str):
        return [value]
    if name in STRUCTURES:
        return [json.loads(value) if value else None]
    if value == "":
        return ["", None] if name == "raw_output" else [None, ""]
    if value[0] == "'" and value[1:].startswith(_BEGINS_A_FORMULA):
        return [value[1:], value]
    return [value]
