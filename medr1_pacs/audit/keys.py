"""Which keys speak for a log: the trusted ones, and those that they vouch for.

A key that replaces another is named in a statement that both sign:

    medr1-pacs audit log key
    ORIGIN
    OLD KEY
    NEW KEY
"""

from __future__ import annotations

from collections.abc import Iterable

from medr1_pacs.audit.notes import NoteInvalid, VerifierKey, parse_note, verify_note

STATEMENT = "medr1-pacs audit log key"


def statement_text(old: VerifierKey, new: VerifierKey) -> str:
    """Return what both keys sign when the one replaces the other."""
    return f"{STATEMENT}\n{old.name}\n{old}\n{new}\n"


def follow_keys(trusted: Iterable[VerifierKey], statements: Iterable[str]) -> list[VerifierKey]:
    """Return the trusted keys, and all that statements signed by both sides lead to from them.

    Raises
    ------
    NoteInvalid
        A statement is none, or is not signed by both keys that it names.
    """
    keys = list(trusted)
    pairs = [_read_statement(statement) for statement in statements]
    found = True
    while found:
        found = False
        for pair in pairs:
            for known, other in (pair, pair[::-1]):
                if known in keys and other not in keys:
                    keys.append(other)
                    found = True
    return keys


def _read_statement(statement: str) -> tuple[VerifierKey, VerifierKey]:
    note = parse_note(statement)
    lines = note.text.split("\n")
    if len(lines) != 5 or lines[0] != STATEMENT:
        raise NoteInvalid("The statement that one key replaces another has not its form.")
    old, new = VerifierKey.parse(lines[2]), VerifierKey.parse(lines[3])
    if not old.name == new.name == lines[1]:
        raise NoteInvalid("The statement that one key replaces another is of another log.")
    if len(verify_note(note, [old, new])) != 2:
        raise NoteInvalid("The statement that one key replaces another is not signed by both.")
    return old, new
