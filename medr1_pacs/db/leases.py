"""Leases: what one process alone may do, until a time that it keeps pushing back.

As claims are: an owner, a random token, an end; `LEASE_S` without renewal, and another may take it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from medr1_pacs.db.claims import database_now
from medr1_pacs.db.rows import insert_into
from medr1_pacs.db.tables import Lease

LEASE_S = 20.0
"""How long a lease holds without renewal."""


def take_lease(
    session: Session, name: str, holder: str, *, is_gone: Callable[[str], bool]
) -> str | None:
    """Take a lease that nobody holds; returns its token, None while somebody else holds it.

    `is_gone`: whether a holder is known to have ended; its lease need not run out.
    """
    before = get_lease_holder(session, name)
    if before is not None and is_gone(before):
        give_up_lease(session, name, before)
    now, token = database_now(session), secrets.token_hex(16)
    values = {"holder": holder, "token": token, "held_until": _end(now)}
    session.execute(
        insert_into(session, Lease).values(name=name, **values).on_conflict_do_nothing()
    )
    session.execute(
        update(Lease).where(Lease.name == name, Lease.held_until < now).values(**values)
    )
    held = session.scalar(select(Lease.token).where(Lease.name == name))
    return token if held == token else None


def renew_lease(session: Session, name: str, token: str) -> bool:
    """Push the end of a lease back; False when it was lost to somebody else."""
    renewed = session.execute(
        update(Lease)
        .where(Lease.name == name, Lease.token == token)
        .values(held_until=_end(database_now(session)))
        .returning(Lease.id)
    )
    return renewed.first() is not None


def get_lease_holder(session: Session, name: str) -> str | None:
    """Return who holds a lease, or held it last."""
    return session.scalar(select(Lease.holder).where(Lease.name == name))


def give_up_lease(session: Session, name: str, holder: str) -> None:
    """End the lease of a holder that is done, or known to be gone."""
    session.execute(delete(Lease).where(Lease.name == name, Lease.holder == holder))


def _end(now: datetime) -> datetime:
    return now + timedelta(seconds=LEASE_S)
