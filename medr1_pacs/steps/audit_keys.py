"""audit: another key for the log, and another log after a restore."""

from __future__ import annotations

import secrets
from pathlib import Path

from medr1_pacs.audit.keys import statement_text
from medr1_pacs.audit.notes import SignedNote, format_note
from medr1_pacs.audit.signing import SigningKey
from medr1_pacs.db.audit import add_event
from medr1_pacs.db.sessions import Database
from medr1_pacs.errors import AuditFilesUnusable, LogInconsistent, RestartRefused
from medr1_pacs.steps.sealing import LOG, Sealer
from medr1_pacs.steps.verifying import RESTARTED, ROTATED
from medr1_pacs.storage.audit_files import HeadsFile, load_signing_key, replace_signing_key


def new_log_name() -> str:
    """Return a name for a log that no other has."""
    return f"medr1-pacs/{secrets.token_hex(4)}"


def rotate_key(database: Database, key_path: Path, heads: HeadsFile, *, actor: str) -> SigningKey:
    """Let another key sign the log from now on; the old one signs that it does.

    The head of the change is signed by both, and the old key is gone then. Nobody signs with it
    afterwards: whoever seals reads the key under the same lock. A crash on the way leaves the old
    key, which signs on.
    """
    with heads.lock():
        old = load_signing_key(key_path)
        new = SigningKey.generate(old.name)
        text = statement_text(old.verifier, new.verifier)
        statement = format_note(SignedNote(text, (old.sign(text), new.sign(text))))
        with database.write() as session:
            add_event(
                session,
                ROTATED,
                LOG,
                None,
                actor=actor,
                old={"key": str(old.verifier)},
                new={"key": str(new.verifier), "statement": statement},
            )
        Sealer(database, (old, new), heads).seal_locked(sign=True)
        replace_signing_key(key_path, new)
    return new


def restart_log(
    database: Database, key_path: Path, heads: HeadsFile, *, reason: str, actor: str
) -> SigningKey:
    """Begin another log with the events that there are, as after a restored backup.

    The heads of the earlier one stay outside: whoever kept one sees that it ended, where, and why.

    Raises
    ------
    RestartRefused
        The log goes on from its last head, which everybody who kept one expects of it.
    """
    with heads.lock():
        if _goes_on(database, key_path, heads):
            raise RestartRefused(
                "the audit log goes on from its last head: nothing is lost, and whoever kept a "
                "head would take another log for a forged one. `medr1-pacs audit rotate-key` "
                "replaces a key"
            )
        last = heads.read_last()
        new = SigningKey.generate(new_log_name())
        with database.write() as session:
            add_event(
                session,
                RESTARTED,
                LOG,
                None,
                actor=actor,
                old={"head": last.note if last else None},
                new={"key": str(new.verifier)},
                reason=reason,
            )
        Sealer(database, (new,), heads, begins=True).seal_locked(sign=True)
        replace_signing_key(key_path, new)
    return new


def _goes_on(database: Database, key_path: Path, heads: HeadsFile) -> bool:
    """Whether the log can still be signed as what its last head says."""
    try:
        Sealer(database, key_path, heads).seal_locked(sign=True)
    except (LogInconsistent, AuditFilesUnusable):
        return False
    return True
