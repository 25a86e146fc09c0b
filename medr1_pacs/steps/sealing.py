"""audit: give events their places in the log, and sign its heads.

    events -> leaves, in the order of commits -> head -> outside the database -> in it

One process at a time seals. It stands on the last head outside, and signs nothing that does not
begin with what that head says.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from medr1_pacs.audit.merkle import Frontier
from medr1_pacs.audit.notes import (
    Checkpoint,
    NoteInvalid,
    SignedNote,
    format_note,
    parse_note,
    verify_note,
)
from medr1_pacs.audit.signing import SigningKey
from medr1_pacs.db.sealing import (
    Moment,
    add_head,
    add_leaves,
    count_leaves,
    find_edge,
    has_heads,
    list_unsealed,
    look_at_moment,
)
from medr1_pacs.db.sessions import Database
from medr1_pacs.errors import AuditFilesUnusable, LogInconsistent
from medr1_pacs.storage.audit_files import HeadsFile

BATCH = 2_000
"""Events that get their places in one transaction."""
_SETTLED_S = 5.0
"""What a statement may take between drawing the id of an event and having a transaction."""
_LOOK_AT_ALL_S = 3_600.0
"""How often events are looked for that took longer."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """What one call did."""

    events: int
    has_more: bool
    """There may be more: the next call need not wait."""
    head: str | None
    """The note, where one was signed."""


class Sealer:
    """Seals the log of one database.

    Parameters
    ----------
    keys
        What sign its heads, the first of which names the log; two while one replaces the other.
    heads
        Outside the database, where nobody who writes that can change them.
    interval_s
        How long after a head the next one is signed, if anything happened.
    publish
        Called with each head, as to tell a syslog server.
    begins
        Another log begins here, whatever the last head outside says.
    """

    def __init__(
        self,
        database: Database,
        keys: tuple[SigningKey, ...],
        heads: HeadsFile,
        *,
        interval_s: float = 0.0,
        publish: Callable[[str], None] = lambda note: None,
        begins: bool = False,
    ) -> None:
        self._database = database
        self._keys = keys
        self._heads = heads
        self._interval_s = interval_s
        self._publish = publish
        self._begins = begins
        self._edge: Frontier | None = None
        self._last: tuple[str, Checkpoint] | None = None
        self._signed_from = float("-inf")
        self._settled = 0
        self._gone_through = 0
        self._looked_at_all_at = time.monotonic()
        self._settling: tuple[int, Moment, float] | None = None

    @property
    def origin(self) -> str:
        """Return which log it is."""
        return self._keys[0].name

    def seal(self, *, sign: bool = False) -> Sealed:
        """Give places to what happened, some thousand events at a time; sign when it is time.

        Parameters
        ----------
        sign
            Go on to the last event, and sign a head there unless the last head is of it.

        Raises
        ------
        LogInconsistent
            The log does not begin with what its last head says: nothing is signed.
        AuditFilesUnusable
            The heads outside cannot be read or written.
        """
        with self._heads.lock():
            head = self._last_head()
            events, has_more = 0, True
            while has_more:
                count, has_more = self._seal_batch(head)
                events += count
                if not sign:
                    break
            note = None
            if not has_more and (sign or time.monotonic() >= self._signed_from):
                note = self._sign(head)
            return Sealed(events, has_more, note)

    def current_head(self) -> str:
        """Give places to all that was committed, and return the head of it."""
        note = self.seal(sign=True).head
        if note is None:
            last = self._heads.read_last()
            assert last is not None, "an empty log is signed too"
            note = last.note
        return note

    def _last_head(self) -> Checkpoint | None:
        if self._begins:
            return None
        last = self._heads.read_last()
        if last is not None:
            if self._last is None or self._last[0] != last.note:
                self._last = last.note, read_head(last.note, self._keys)
            return self._last[1]
        with self._database.read() as session:
            if has_heads(session, self.origin):
                raise LogInconsistent(
                    "the audit log was signed before, but its heads are not in "
                    f"{self._heads.path}: restore that file, or name where it is in "
                    "MEDR1_AUDIT_HEADS_FILE. Nothing is signed without it"
                )
        return None

    def _seal_batch(self, head: Checkpoint | None) -> tuple[int, bool]:
        """Seal some events; returns how many, and whether there may be more.

        A backlog is gone through once. Only what begins with all that may be unsealed, and comes
        to its end, is as of one moment: no transaction is half in it.
        """
        with self._database.write() as session:
            moment = look_at_moment(session)
            self._settle(moment)
            if self._edge is None or self._edge.size != count_leaves(session):
                self._edge = find_edge(session, self.origin, head)
            grown = Frontier(self._edge.size, self._edge.hashes)
            after = max(self._settled, self._gone_through)
            events = list_unsealed(session, after=after, limit=BATCH)
            add_leaves(session, events, grown)
        # Not before it is committed: a tree that was rolled back never was.
        self._edge = grown
        is_of_one_moment = after == self._settled and len(events) < BATCH
        newest = events[-1].id if events else after
        self._gone_through = newest if len(events) == BATCH else 0
        if is_of_one_moment and moment is None:
            self._settled = newest
        elif is_of_one_moment and self._settling is None and moment is not None:
            self._settling = (newest, moment, time.monotonic())
        return len(events), not is_of_one_moment

    def _settle(self, moment: Moment | None) -> None:
        """Look no more at ids below which every transaction has ended; now and then at all."""
        now = time.monotonic()
        if now - self._looked_at_all_at >= _LOOK_AT_ALL_S:
            self._settled, self._settling, self._looked_at_all_at = 0, None, now
        if self._settling is None or moment is None:
            return
        newest, then, since = self._settling
        if moment.oldest_running >= then.next_to_run and now - since >= _SETTLED_S:
            self._settled, self._settling = newest, None

    def _sign(self, head: Checkpoint | None) -> str | None:
        """Sign all that has its place, as of one moment; None where the last head is of it."""
        edge = self._edge
        assert edge is not None, "a batch was sealed before"
        self._signed_from = time.monotonic() + self._interval_s
        if head is not None and head.size == edge.size:
            return None
        text = Checkpoint(self.origin, edge.size, edge.root()).text()
        note = format_note(SignedNote(text, tuple(key.sign(text) for key in self._keys)))
        now = datetime.now(UTC)
        # First outside: what nobody outside has seen could still be rewritten.
        self._heads.add(note, now)
        self._begins = False
        with self._database.write() as session:
            add_head(session, self.origin, edge, note, now)
        self._publish(note)
        return note


class NoSealer:
    """Stands where a sealer cannot be: arrivals and answers go on without one, and events wait."""

    def __init__(self, why: str) -> None:
        self._why = why

    def seal(self, *, sign: bool = False) -> Sealed:
        """Raise `AuditFilesUnusable`, which says why nobody seals."""
        raise AuditFilesUnusable(self._why)


def read_head(note: str, keys: tuple[SigningKey, ...]) -> Checkpoint:
    """Return the head in a note that we signed.

    Raises
    ------
    LogInconsistent
        It is no head, another log's, or not signed by these keys.
    """
    try:
        signed = parse_note(note)
        head = Checkpoint.parse(signed.text)
        is_ours = verify_note(signed, [key.verifier for key in keys])
    except NoteInvalid as error:
        raise LogInconsistent(f"the last head of the audit log cannot be used: {error}") from error
    if head.origin != keys[0].name or not is_ours:
        raise LogInconsistent(
            f"the last head outside is of the log {head.origin}, not signed by {keys[0].verifier}: "
            "restore the key, or the heads, that belong to the other"
        )
    return head
