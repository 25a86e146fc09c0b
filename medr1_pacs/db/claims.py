"""Claims on work rows: an owner, a random token, and an end.

    waiting --claim--> waiting, claimed --result--> done
                           |--raised error--> one attempt, due later; after three: failed
                           '--claim expired--> suspect, next claimed alone

A row that was lost together with others did not necessarily kill its worker, so the loss costs it
no attempt; it is *suspect* and next claimed alone. Lost alone, it is the likely cause: that counts.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, exists, func, or_, select, update
from sqlalchemy.orm import Session

from medr1_pacs.db.tables import Generation, Rendering
from medr1_pacs.records import Claim

CLAIM_S = 20.0
"""How long a claim holds without renewal."""
RENEW_S = 5.0
"""How often its owner renews it."""
ATTEMPTS_MAX = 3

WorkTable = type[Rendering] | type[Generation]
OnFailed = Callable[[Session, Sequence[int]], None]


def database_now(session: Session) -> datetime:
    """The database's clock, which all claimants of one database share."""
    if session.get_bind().dialect.name == "sqlite":
        return datetime.now(UTC)
    now = session.scalar(select(func.clock_timestamp()))
    assert isinstance(now, datetime)
    return now


def claim_rows(
    session: Session,
    table: WorkTable,
    eligible: Sequence[ColumnElement[bool]],
    *,
    owner: str,
    limit: int,
) -> Claim | None:
    """Claim up to `limit` rows that are due, oldest first; a suspect one alone.

    `eligible` says which rows count as waiting. Concurrent claimants never get the same row.
    """
    now = database_now(session)
    statement = (
        select(table.id, table.is_suspect)
        .where(table.claim_token.is_(None), table.due_at <= now, *eligible)
        .order_by(table.due_at, table.id)
        .limit(limit)
        .with_for_update(skip_locked=True, of=table)
    )
    found = session.execute(statement).all()
    if not found:
        return None
    claimable = found[:1] if found[0].is_suspect else [row for row in found if not row.is_suspect]
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


def renew_claim(session: Session, table: WorkTable, token: str) -> bool:
    """Push the end of a claim back; False when no row holds the token any more."""
    until = database_now(session) + timedelta(seconds=CLAIM_S)
    result: Any = session.execute(
        update(table).where(table.claim_token == token).values(claimed_until=until)
    )
    return bool(result.rowcount)


def release_claim(
    session: Session, table: WorkTable, token: str, *, wait_s: float = 0.0, error: str | None = None
) -> None:
    """Give rows back unharmed: no attempt is counted, and nobody suspects them."""
    due_at = database_now(session) + timedelta(seconds=wait_s)
    session.execute(
        update(table)
        .where(table.claim_token == token)
        .values(**_UNCLAIMED, due_at=due_at, error=error)
    )


def release_row(session: Session, table: WorkTable, claim: Claim, row_id: int) -> None:
    """Give one row of a claim back unharmed."""
    session.execute(
        update(table)
        .where(table.id == row_id, table.claim_token == claim.token)
        .values(**_UNCLAIMED, due_at=database_now(session))
    )


def claim_alone_next(session: Session, table: WorkTable, claim: Claim, error: str) -> None:
    """Give rows back of which one raised an error, each to be claimed alone next time."""
    session.execute(
        update(table)
        .where(table.claim_token == claim.token)
        .values(**_UNCLAIMED, is_suspect=True, due_at=database_now(session), error=error)
    )


def has_expired_claims(session: Session) -> bool:
    """Whether a claim ended without a result; a cheap look before the write lock is taken."""
    now = database_now(session)
    return any(
        session.scalar(
            select(exists().where(table.claim_token.is_not(None), table.claimed_until < now))
        )
        for table in (Rendering, Generation)
    )


def expire_claims(
    session: Session,
    table: WorkTable,
    fail: OnFailed,
    *,
    dead_owners: Sequence[str] = (),
) -> int:
    """Take back the rows whose claim ended without a result, or whose owner is known to be dead."""
    now = database_now(session)
    lost = session.execute(
        select(table.id, table.is_claimed_alone, table.attempts)
        .where(
            table.claim_token.is_not(None),
            or_(table.claimed_until < now, table.claimed_by.in_(dead_owners)),
        )
        .with_for_update(skip_locked=True, of=table)
    ).all()
    for row in lost:
        attempts = row.attempts + bool(row.is_claimed_alone)
        session.execute(
            update(table)
            .where(table.id == row.id)
            .values(
                **_UNCLAIMED,
                is_suspect=True,
                attempts=attempts,
                due_at=now + _wait(attempts),
                error="its worker was lost while working on it",
            )
        )
    worn_out = [row.id for row in lost if row.attempts + bool(row.is_claimed_alone) >= ATTEMPTS_MAX]
    if worn_out:
        fail(session, worn_out)
    return len(lost)


def record_attempt(
    session: Session, table: WorkTable, token: str, row_id: int, error: str, fail: OnFailed
) -> None:
    """Note that working on a row raised an error; after three attempts the row rests as failed."""
    row: Any = session.get(table, row_id, with_for_update=True)
    if row is None or row.claim_token != token:
        return  # somebody else has it by now
    row.attempts += 1
    row.error = error
    row.due_at = database_now(session) + _wait(row.attempts)
    row.claimed_by = row.claim_token = row.claimed_until = None
    session.flush()
    if row.attempts >= ATTEMPTS_MAX:
        fail(session, [row_id])


def _wait(attempts: int) -> timedelta:
    return timedelta(seconds=2.0**attempts if attempts else 0.0)


_UNCLAIMED: dict[str, Any] = {"claimed_by": None, "claim_token": None, "claimed_until": None}
