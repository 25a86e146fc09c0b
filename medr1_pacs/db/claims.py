"""Claims on work rows: an owner, a random token, and an end.

    waiting --claim--> waiting, claimed --result--> done
                           |--raised error--> one attempt, due later; after three: failed
                           '--claim expired--> suspect, next claimed alone

A row that was lost together with others did not necessarily kill its worker, so the loss costs it
no attempt; it is *suspect* and next claimed alone. Lost alone, it is the likely cause: that counts.
Where a signal from outside is known to have killed the worker, the row is not to blame, and the
loss is counted apart; ten of them rest it all the same, for the kernel's memory killer sends that
signal too. `steps.claiming` calls `expire` each second for claims that ran out, and `release` for
those of processes that are known to be gone.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, exists, func, select, update
from sqlalchemy.orm import Session

from medr1_pacs.db.tables import Generation, Rendering, Worker
from medr1_pacs.processes import HEARTBEAT_S
from medr1_pacs.records.words import GenerationState, RenderingState
from medr1_pacs.records.work import Claim

CLAIM_S = 20.0
"""How long a claim holds without renewal."""
RENEW_S = 5.0
"""How often its owner renews it."""
ATTEMPTS_MAX = 3
LOSSES_MAX = 10
_WAIT_MAX_S = 60.0

UNCLAIMED: dict[str, Any] = {"claimed_by": None, "claim_token": None, "claimed_until": None}


def database_now(session: Session) -> datetime:
    """The database's clock, which all claimants of one database share."""
    if session.get_bind().dialect.name == "sqlite":
        return datetime.now(UTC)
    now = session.scalar(select(func.clock_timestamp()))
    assert isinstance(now, datetime)
    return now


@dataclass(frozen=True, slots=True)
class WorkQueue:
    """The claimable rows of one table. Nobody outside of `db` sees the table.

    Every method runs in the session of its caller, and touches only rows that carry the token it
    is given: a claim that was lost changes nothing.
    """

    table: type[Rendering] | type[Generation]
    waiting_state: RenderingState | GenerationState
    """The state of a row that waits for its result, claimed or not."""
    fail: Callable[[Session, Sequence[int]], None]
    """Lets rows rest as failed, with the error they carry."""

    def claim(
        self, session: Session, *also: ColumnElement[bool], owner: str, limit: int
    ) -> Claim | None:
        """Claim up to `limit` rows that wait and are due, oldest first; a suspect one alone.

        `also` narrows the rows down. Concurrent claimants never get the same row.
        """
        table, now = self.table, database_now(session)
        found = session.execute(
            select(table.id, table.is_suspect)
            .where(*self.due(now), *also)
            .order_by(table.due_at, table.id)
            .limit(limit)
            .with_for_update(skip_locked=True, of=table)
        ).all()
        if not found:
            return None
        claimable = (
            found[:1] if found[0].is_suspect else [row for row in found if not row.is_suspect]
        )
        ids = [row.id for row in claimable]
        token = secrets.token_hex(16)
        session.execute(
            update(table)
            .where(table.id.in_(ids))
            .values(
                claimed_by=owner,
                claim_token=token,
                claimed_until=now + timedelta(seconds=CLAIM_S),
                is_claimed_alone=len(ids) == 1,
            )
        )
        return Claim(token, tuple(ids))

    def due(self, now: datetime) -> tuple[ColumnElement[bool], ...]:
        """Say which rows could be claimed now."""
        table = self.table
        return (
            table.state == self.waiting_state,
            table.claim_token.is_(None),
            table.due_at <= now,
        )

    def renew(self, session: Session, claim: Claim) -> bool:
        """Push the end of a claim back; False when no row holds it any more."""
        until = database_now(session) + timedelta(seconds=CLAIM_S)
        return self._update_claimed(session, claim, claimed_until=until)

    def finish(self, session: Session, claim: Claim, row_id: int, **values: Any) -> bool:
        """Write the result of one row and end its claim; False when the claim was lost."""
        rows = (self.table.id == row_id, self.table.state == self.waiting_state)
        return self._update_claimed(session, claim, *rows, **values, error=None, **UNCLAIMED)

    def give_back(
        self, session: Session, claim: Claim, *, wait_s: float = 0.0, error: str | None = None
    ) -> None:
        """Give rows back unharmed: no attempt is counted, and nobody suspects them."""
        due_at = database_now(session) + timedelta(seconds=wait_s)
        self._update_claimed(session, claim, due_at=due_at, error=error, **UNCLAIMED)

    def give_back_one(self, session: Session, claim: Claim, row_id: int) -> None:
        """Give one row of a claim back unharmed."""
        row = self.table.id == row_id
        self._update_claimed(session, claim, row, due_at=database_now(session), **UNCLAIMED)

    def give_back_suspect(self, session: Session, claim: Claim, error: str) -> None:
        """Give rows back of which one raised an error, each to be claimed alone next time."""
        now = database_now(session)
        self._update_claimed(session, claim, is_suspect=True, due_at=now, error=error, **UNCLAIMED)

    def record_loss(self, session: Session, claim: Claim, error: str) -> None:
        """Give rows back whose worker is lost with its device: no attempt, but who was claimed
        alone may be what breaks it, and rests after ten losses."""
        held = self.table.claim_token == claim.token
        self._take_back(session, held, were_killed=True, error=error)

    def record_attempt(self, session: Session, claim: Claim, row_id: int, error: str) -> None:
        """Note that working on a row raised an error; after three the row rests as failed."""
        row = self.lock_claimed(session, claim, row_id)
        if row is None:
            return
        self._unclaim(row, error)
        row.due_at = database_now(session) + _wait(row.attempts)
        session.flush()
        if row.attempts >= ATTEMPTS_MAX:
            self.fail(session, [row_id])

    def give_up(self, session: Session, claim: Claim, row_id: int, error: str) -> None:
        """Let a row rest as failed at once: working on it again would fail in the same way."""
        row = self.lock_claimed(session, claim, row_id)
        if row is None:
            return
        self._unclaim(row, error)
        session.flush()
        self.fail(session, [row_id])

    def has_expired(self, session: Session) -> bool:
        """Whether a claim ended without a result; a cheap look before the write lock is taken."""
        claimed, now = self.table.claim_token.is_not(None), database_now(session)
        return bool(session.scalar(select(exists().where(claimed, self.table.claimed_until < now))))

    def expire(self, session: Session) -> int:
        """Take back the rows whose claim ended without a result; returns how many.

        An owner that lives could not renew or record: the database was away for longer than it
        kept its result. That is nobody's fault, but each row is claimed alone next.
        """
        now = database_now(session)
        ended = self.table.claimed_until < now
        # Of one that died with its claim, the last heartbeat is older than that by now.
        since = now - timedelta(seconds=2 * HEARTBEAT_S)
        living = select(Worker.name).where(Worker.heartbeat_at > since)
        freed = session.scalars(
            select(self.table.id)
            .where(self.table.claim_token.is_not(None), ended, self.table.claimed_by.in_(living))
            .with_for_update(skip_locked=True, of=self.table)
        ).all()
        session.execute(
            update(self.table)
            .where(self.table.id.in_(freed))
            .values(**UNCLAIMED, is_suspect=True, due_at=now)
        )
        return len(freed) + self._take_back(session, ended)

    def release(self, session: Session, owners: Sequence[str], *, were_killed: bool = False) -> int:
        """Take back what processes held that are gone; returns how many rows.

        `were_killed`: by a signal from outside, so that what they worked on is not to blame.
        """
        held = self.table.claimed_by.in_(owners)
        return self._take_back(session, held, were_killed=were_killed)

    def _take_back(
        self,
        session: Session,
        lost_rows: ColumnElement[bool],
        *,
        were_killed: bool = False,
        error: str = "its worker was lost while working on it",
    ) -> int:
        table, now = self.table, database_now(session)
        lost = session.execute(
            select(table.id, table.is_claimed_alone, table.attempts, table.losses)
            .where(table.claim_token.is_not(None), lost_rows)
            .with_for_update(skip_locked=True, of=table)
        ).all()
        worn_out = []
        for row in lost:
            attempts = row.attempts + (row.is_claimed_alone and not were_killed)
            losses = row.losses + (row.is_claimed_alone and were_killed)
            session.execute(
                update(table)
                .where(table.id == row.id)
                .values(
                    **UNCLAIMED,
                    is_suspect=True,
                    attempts=attempts,
                    losses=losses,
                    due_at=now + _wait(attempts + losses),
                    error=error,
                )
            )
            if attempts >= ATTEMPTS_MAX or losses >= LOSSES_MAX:
                worn_out.append(row.id)
        if worn_out:
            self.fail(session, worn_out)
        return len(lost)

    def _update_claimed(
        self, session: Session, claim: Claim, *rows: ColumnElement[bool], **values: Any
    ) -> bool:
        result: Any = session.execute(
            update(self.table).where(self.table.claim_token == claim.token, *rows).values(**values)
        )
        return bool(result.rowcount)

    def lock_claimed(self, session: Session, claim: Claim, row_id: int) -> Any:
        """Return the locked row; None when somebody else has it by now."""
        row: Any = session.get(self.table, row_id, with_for_update=True)
        return row if row is not None and row.claim_token == claim.token else None

    @staticmethod
    def _unclaim(row: Any, error: str) -> None:
        row.attempts += 1
        row.error = error
        row.claimed_by = row.claim_token = row.claimed_until = None


def _wait(attempts: int) -> timedelta:
    return timedelta(seconds=min(2.0**attempts, _WAIT_MAX_S) if attempts else 0.0)
