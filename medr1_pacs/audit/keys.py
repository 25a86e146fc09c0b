"""Which keys speak for a log: the trusted ones, and those that they vouch for.

A key that replaces another is named in a statement that both sign:

    medr1-pacs audit log key
    ORIGIN
    OLD KEY
    NEW KEY
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from medr1_pacs.audit.ed25519 import verify
from medr1_pacs.audit.notes import (
    ED25519,
    NoteInvalid,
    SignedNote,
    TreeHead,
    VerifierKey,
    Verify,
    parse_note,
    verify_note,
)

STATEMENT = "medr1-pacs audit log key"
STATEMENTS_MAX = 100
"""Each costs two verifications before anything is known to be signed."""


def statement_text(old: VerifierKey, new: VerifierKey) -> str:
    """Return what both keys sign when the one replaces the other."""
    return f"{STATEMENT}\n{old.name}\n{old}\n{new}\n"


@dataclass(frozen=True)
class LogKeys:
    """Keys that speak for logs."""

    current: tuple[VerifierKey, ...]
    """The trusted ones, and those that have replaced them: what is made now is signed by these."""
    earlier: tuple[VerifierKey, ...]
    """Those that were replaced by a current one: they signed what was there by then, and nothing
    since. Whoever stole one makes no new export with it."""

    @property
    def all(self) -> tuple[VerifierKey, ...]:
        return (*self.current, *self.earlier)


def follow_keys(trusted: Iterable[VerifierKey], statements: Sequence[str] = ()) -> LogKeys:
    """Return the trusted keys, and those to which statements lead that both sides signed.

    Keys of witnesses speak for no log.

    Raises
    ------
    NoteInvalid
        A statement is none, or is not signed by both keys that it names; or there are too many.
    """
    if len(statements) > STATEMENTS_MAX:
        raise NoteInvalid(f"There are more than {STATEMENTS_MAX} statements of keys.")
    pairs = [read_statement(statement) for statement in statements]
    current = _follow([key for key in trusted if key.algorithm == ED25519], pairs)
    both = _follow(current, [(new, old) for old, new in pairs])
    return LogKeys(tuple(current), tuple(both[len(current) :]))


def keys_of(origin: str, keys: Iterable[VerifierKey]) -> list[VerifierKey]:
    """Return the keys that may sign heads of a log: those that bear its name."""
    return [key for key in keys if key.algorithm == ED25519 and key.name == origin]


def statements_to(key: VerifierKey, statements: Iterable[str]) -> list[str]:
    """Return the statements that lead to a key, of whatever somebody says are some, in their
    order."""
    read = []
    for statement in statements:
        try:
            read.append((*read_statement(statement), statement))
        except NoteInvalid:
            continue
    wanted = _follow([key], [(new, old) for old, new, _ in read])
    return [statement for old, new, statement in read if old in wanted and new in wanted]


@dataclass(frozen=True)
class OpenedHead:
    """A head, and which of the trusted keys of its log signed it."""

    note: SignedNote
    head: TreeHead
    signers: tuple[VerifierKey, ...]
    """None: nobody who is trusted said so."""


def open_head(
    note: str | bytes, keys: Iterable[VerifierKey], verify: Verify = verify
) -> OpenedHead:
    """Read a head, and verify what keys of its log signed.

    Raises
    ------
    NoteInvalid
        It is none, or a signature that says to be by one of the keys is not.
    """
    signed = parse_note(note)
    head = TreeHead.parse(signed.text)
    found = verify_note(signed, keys_of(head.origin, keys), verify)
    return OpenedHead(signed, head, tuple(one.key for one in found))


def _follow(
    known: Sequence[VerifierKey], pairs: Sequence[tuple[VerifierKey, VerifierKey]]
) -> list[VerifierKey]:
    keys = list(known)
    found = True
    while found:
        found = False
        for one, next_one in pairs:
            if one in keys and next_one not in keys:
                keys.append(next_one)
                found = True
    return keys


def read_statement(statement: str) -> tuple[VerifierKey, VerifierKey]:
    """Return the old and the new key of a statement; raises `NoteInvalid`."""
    note = parse_note(statement)
    lines = note.text.split("\n")
    if len(lines) != 5 or lines[0] != STATEMENT:
        raise NoteInvalid("The statement that one key replaces another has not its form.")
    old, new = VerifierKey.parse(lines[2]), VerifierKey.parse(lines[3])
    if not old.algorithm == new.algorithm == ED25519:
        raise NoteInvalid("The statement that one key replaces another is not of keys of a log.")
    if not old.name == new.name == lines[1]:
        raise NoteInvalid("The statement that one key replaces another is of another log.")
    if len(verify_note(note, [old, new])) != 2:
        raise NoteInvalid("The statement that one key replaces another is not signed by both.")
    return old, new
