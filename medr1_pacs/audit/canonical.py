"""One form in bytes of what is hashed, and hashes of what can be hidden later.

Canonical JSON is RFC 8785 for what we hash: sorted keys, no spaces, UTF-8, and no floats, whose
text is a matter of taste. A commitment is a hash that its field's salt opens: whoever has the salt
can check the value, whoever has it not cannot guess it.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

SALT_BYTES = 16

# Made once: this runs for millions.
_write_json = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode


def canonical_json(value: Any) -> bytes:
    """Return the bytes of strings, integers, booleans, null, lists and objects.

    Raises
    ------
    ValueError
        There is a float in it.
    """
    return canonical_text(value).encode("utf-8", "surrogatepass")


def canonical_text(value: Any) -> str:
    """Return canonical JSON as a text; raises `ValueError` for a float."""
    if type(value) is not str:
        _refuse_floats(value)
    return _write_json(value)


def _refuse_floats(value: Any) -> None:
    if isinstance(value, float):
        raise ValueError(f"{value!r} has no canonical form: write it as a text")
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list | tuple):
        return
    for each in value:
        if type(each) is not str:
            _refuse_floats(each)


def field_salt(salt: str, field: str) -> str:
    """Return the salt of one field, as 32 hex digits: it opens that field and no other."""
    return _field_salt(_salt_bytes(salt), field).hex()


def commit(salt: str, field: str, value: Any) -> str:
    """Return the hash that stands for a field's value, as 64 hex digits.

    Raises
    ------
    ValueError
        The salt has not 16 bytes, or the value no canonical form.
    """
    return _commitment(_field_salt(_salt_bytes(salt), field), value)


def commit_by_field_salt(salt_of_field: str, value: Any) -> str:
    """Return the hash that stands for a value, by the salt of its field.

    Raises
    ------
    ValueError
        The salt has not 16 bytes: a longer one could hold the beginning of another value.
    """
    return _commitment(_salt_bytes(salt_of_field), value)


def _salt_bytes(salt: str) -> bytes:
    data = bytes.fromhex(salt)
    if len(data) != SALT_BYTES:
        raise ValueError(f"a salt has {SALT_BYTES} bytes, not {len(data)}")
    return data


def _field_salt(salt: bytes, field: str) -> bytes:
    return hashlib.sha256(salt + field.encode()).digest()[:SALT_BYTES]


def _commitment(salt_of_field: bytes, value: Any) -> str:
    return hashlib.sha256(salt_of_field + canonical_json(value)).hexdigest()
