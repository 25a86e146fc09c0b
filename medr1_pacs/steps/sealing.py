"""audit: give events their places in the log, and sign its heads.

    events -> leaves, in the order of commits -> head -> outside the database -> in it

One process at a time seals. It stands on the last head outside, and signs nothing that does not
begin with what that head says.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from medr1_pacs.audit.keys import follow_keys
from medr1_pacs.audit.merkle import Frontier
from medr1_pacs.audit.notes import (
    NoteInvalid,
    SignedNote,
    TreeHead,
    VerifierKey,
    format_note,
    parse_note,
    verify_note,
)
from medr1_pacs.audit.signing import SigningKey
from medr1_pacs.db.key_statements import list_key_statements
from medr1_pacs.db.sealing import (
    Moment,
    add_head,
    add_leaves,
    count_leaves,
    find_edge,
    has_heads,
    list_unsealed,
    look_at_moment,
    number_transaction,
    read_events,
)
from medr1_pacs.db.sessions import Database
from medr1_pacs.db.verifying import see_one_moment
from medr1_pacs.errors import AuditFilesUnusable, LogInconsistent, SettingInvalid
from medr1_pacs.storage.audit_files import HeadsFile, load_signing_key

logger = logging.getLogger(__name__)

LOG = "audit"
"""The type of object that events of the log itself are about."""
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


@dataclass(slots=True)
class _Settling:
    """Ids that need not be looked at again, once nobody can commit one of them any more."""

    last_drawn: int
    since: float
    begun: int | None = None
    """Whoever drew one of them is a transaction up to this number; None: it may be none yet."""


class Sealer:
    """Seals the log of one database.

    Parameters
    ----------
    keys
        What sign its heads, the first of which names the log; two while one replaces the other. Or
        the file of the key, which is read each time: another key signs as soon as it is there.
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
        keys: tuple[SigningKey, ...] | Path,
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
        self._last: tuple[str, tuple[SigningKey, ...], TreeHead] | None = None
        self._signed_from = float("-inf")
        self._passed_over: set[int] = set()
        self._settled: int | None = None
        self._settling: _Settling | None = None
        self._gone_through: int | None = None
        self._looked_at_all_at = time.monotonic()

    @property
    def origin(self) -> str:
        """Return which log it is."""
        return self.key.name

    @property
    def key(self) -> SigningKey:
        """Return what signs now, heads and exports; raises `AuditFilesUnusable`."""
        return self._load_keys()[0]

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
            The heads outside cannot be read or written, or the key cannot be read.
        """
        with self._heads.lock():
            return self.seal_locked(sign=sign)

    def seal_locked(self, *, sign: bool = False) -> Sealed:
        """Do as `seal`. The lock of the heads is held, as by who replaces the key."""
        keys = self._load_keys()
        head = self._last_head(keys)
        events, has_more = 0, True
        while has_more:
            count, has_more = self._seal_batch(keys[0].name, head)
            events += count
            if not sign:
                break
        note = None
        if not has_more and (sign or time.monotonic() >= self._signed_from):
            note = self._sign(keys, head)
        return Sealed(events, has_more, note)

    def current_head(self) -> str:
        """Give places to all that was committed, and return the head of it."""
        note = self.seal(sign=True).head
        if note is None:
            last = self._heads.read_last()
            assert last is not None, "an empty log is signed too"
            note = last.note
        return note

    def _load_keys(self) -> tuple[SigningKey, ...]:
        if not isinstance(self._keys, Path):
            return self._keys
        try:
            return (load_signing_key(self._keys),)
        except SettingInvalid as error:
            raise AuditFilesUnusable(str(error)) from error

    def _last_head(self, keys: tuple[SigningKey, ...]) -> TreeHead | None:
        if self._begins:
            return None
        last = self._heads.read_last()
        if last is not None:
            if self._last is None or self._last[:2] != (last.note, keys):
                self._last = last.note, keys, self._read_head(last.note, keys)
            return self._last[2]
        with self._database.read() as session:
            if has_heads(session, keys[0].name):
                raise LogInconsistent(
                    "the audit log was signed before, but its heads are not in "
                    f"{self._heads.path}: restore that file, or name where it is in "
                    "MEDR1_AUDIT_HEADS_FILE. Nothing is signed without it"
                )
        return None

    def _read_head(self, note: str, keys: tuple[SigningKey, ...]) -> TreeHead:
        """Return the last head, also where a key signed it that ours replaced since."""
        ours = [key.verifier for key in keys]
        try:
            return read_head(note, ours)
        except LogInconsistent:
            with self._database.read() as session:
                statements = list_key_statements(session, ours[0])
            return read_head(note, follow_keys(ours, statements).all)

    def _seal_batch(self, origin: str, head: TreeHead | None) -> tuple[int, bool]:
        """Seal some events; returns how many, and whether there may be more.

        A backlog is gone through once. Only what begins with all that may be unsealed, and comes
        to its end, is as of one moment: no transaction is half in it.
        """
        began_at = time.monotonic()
        begins_with_all = self._gone_through is None
        after = self._settled if begins_with_all else self._gone_through
        if begins_with_all and began_at - self._looked_at_all_at >= _LOOK_AT_ALL_S:
            after, self._looked_at_all_at = None, began_at
        with self._database.write() as session:
            see_one_moment(session)
            moment = look_at_moment(session)
            if self._edge is None or self._edge.size != count_leaves(session):
                self._edge = find_edge(session, origin, head)
            grown = Frontier(self._edge.size, self._edge.hashes)
            ids = list_unsealed(session, after=after, limit=BATCH, but_not=self._passed_over)
            placed = add_leaves(session, read_events(session, ids), grown)
        # Not before it is committed: a tree that was rolled back never was.
        self._edge = grown
        self._pass_over(set(ids) - set(placed))
        is_of_one_moment = begins_with_all and len(ids) < BATCH
        self._gone_through = ids[-1] if len(ids) == BATCH else None
        if is_of_one_moment:
            self._settle(moment, began_at)
        return len(placed), not is_of_one_moment

    def _pass_over(self, ids: Iterable[int]) -> None:
        """Go on without events that can have no place: one row must not keep all from theirs."""
        if found := sorted(ids):
            self._passed_over.update(found)
            logger.warning(
                "events that cannot be hashed were put into the audit log, and have no place in "
                "it; see `medr1-pacs audit verify --database`: %s",
                ", ".join(map(str, found)),
                extra={"action": "seal", "event_ids": found},
            )

    def _settle(self, moment: Moment, began_at: float) -> None:
        """Look no more at ids that nobody can commit any more; what could be seen has its places.

        Whoever drew one has a transaction some seconds later, with a number below one that is drawn
        then. Once all of these had ended at the moment of a look, that look saw what they
        committed: not before is an id left behind.
        """
        settling = self._settling
        if settling is None:
            if moment.last_drawn is not None and moment.last_drawn != self._settled:
                self._settling = _Settling(moment.last_drawn, time.monotonic())
            return
        if settling.begun is None:
            if began_at - settling.since >= _SETTLED_S:
                with self._database.write() as session:
                    settling.begun = number_transaction(session)
        elif moment.oldest_running is None or moment.oldest_running > settling.begun:
            self._settled, self._settling = settling.last_drawn, None

    def _sign(self, keys: tuple[SigningKey, ...], head: TreeHead | None) -> str | None:
        """Sign all that has its place, as of one moment; None where the last head is of it."""
        edge = self._edge
        assert edge is not None, "a batch was sealed before"
        self._signed_from = time.monotonic() + self._interval_s
        if head is not None and head.size == edge.size:
            return None
        origin = keys[0].name
        text = TreeHead(origin, edge.size, edge.root()).text()
        note = format_note(SignedNote(text, tuple(key.sign(text) for key in keys)))
        now = datetime.now(UTC)
        # First outside: what nobody outside has seen could still be rewritten.
        self._heads.add(note, now)
        self._begins = False
        with self._database.write() as session:
            add_head(session, origin, edge, note, now)
        self._publish(note)
        return note


class NoSealer:
    """Stands where a sealer cannot be: arrivals and answers go on without one, and events wait."""

    def __init__(self, why: str) -> None:
        self._why = why

    def seal(self, *, sign: bool = False) -> Sealed:
        """Raise `AuditFilesUnusable`, which says why nobody seals."""
        raise AuditFilesUnusable(self._why)


def read_head(note: str, keys: Sequence[VerifierKey]) -> TreeHead:
    """Return the head in a note that one of our keys signed, the first of which names the log.

    Raises
    ------
    LogInconsistent
        It is no head, another log's, or not signed by these keys.
    """
    try:
        signed = parse_note(note)
        head = TreeHead.parse(signed.text)
        is_ours = verify_note(signed, keys)
    except NoteInvalid as error:
        raise LogInconsistent(f"the last head of the audit log cannot be used: {error}") from error
    if head.origin != keys[0].name or not is_ours:
        raise LogInconsistent(
            f"the last head outside is of the log {head.origin}, not signed by {keys[0]}: "
            "restore the key, or the heads, that belong to the other"
        )
    return head
