"""Who is signed in where: sessions, the devices they are known by, and one-time links.

A browser holds a random secret, its row the hash. What a secret lets in is asked of the rows at
every request, so that a role that was taken or an account that was closed ends at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session, joinedload

from medr1_pacs.db.accounts import caller_of
from medr1_pacs.db.audit import SERVICE, add_event
from medr1_pacs.db.tables import Account, AccountSession, KnownDevice, SignInLink
from medr1_pacs.errors import SignInRefused
from medr1_pacs.records.people import FoundCaller, OpenSession
from medr1_pacs.records.words import SignInMethod
from medr1_pacs.tokens import hash_token, make_token

STAMP_S = 60
"""A row says to the minute when its secret was last used: not every request is a write."""
LINK_HOURS = 24
_ADDRESS_MAX = 64


@dataclass(frozen=True, slots=True)
class Opened:
    """The secrets of a browser that just signed in."""

    token: str
    device_token: str


def open_session(
    session: Session,
    account_id: int,
    method: SignInMethod,
    *,
    address: str,
    device_token: str | None,
    max_s: int,
    now: datetime,
) -> Opened:
    """Sign an account in; its browser is known from now on."""
    account = session.get_one(Account, account_id, with_for_update=True)
    if account.closed_at is not None:
        raise SignInRefused("the account is closed")
    token = make_token()
    session.add(
        AccountSession(
            account_id=account_id,
            token_sha256=hash_token(token),
            method=method,
            address=address[:_ADDRESS_MAX],
            created_at=now,
            seen_at=now,
            ends_at=now + timedelta(seconds=max_s),
        )
    )
    device = _find_device(session, account_id, device_token) if device_token else None
    is_known = device is not None
    if device_token is None or device is None:
        device_token = _add_device(session, account_id, now)
    else:
        device.seen_at = now
    new = {"method": method.value, "address": address, "is_known_device": is_known}
    add_event(session, "account.signed_in", "account", account_id, actor=account.name, new=new)
    return Opened(token, device_token)


def find_caller_by_session(
    session: Session, token: str, *, now: datetime, idle_s: int
) -> FoundCaller | None:
    """Return who the browser with this secret is signed in as, with the roles of this moment."""
    row = session.scalar(
        select(AccountSession)
        .options(joinedload(AccountSession.account))
        .where(AccountSession.token_sha256 == hash_token(token))
    )
    if row is None or not _is_open(row, now, idle_s) or row.account.closed_at is not None:
        return None
    caller = caller_of(session, row.account, session_id=row.id)
    return FoundCaller(caller, row.id, now - row.seen_at >= timedelta(seconds=STAMP_S))


def stamp_session(session: Session, session_id: int, now: datetime) -> None:
    """Note that a session is in use."""
    session.execute(
        update(AccountSession)
        .where(AccountSession.id == session_id, AccountSession.seen_at < now)
        .values(seen_at=now)
    )


def end_session(
    session: Session, session_id: int, *, account_id: int, actor: str, now: datetime
) -> None:
    """Sign an account out of one browser; another account's session is none."""
    row = session.scalar(
        select(AccountSession)
        .where(AccountSession.id == session_id, AccountSession.account_id == account_id)
        .with_for_update()
    )
    if row is None or row.ended_at is not None:
        return
    row.ended_at = now
    old = {"session": session_id, "address": row.address}
    add_event(session, "account.signed_out", "account", account_id, actor=actor, old=old)


def list_sessions(
    session: Session, account_id: int, *, now: datetime, idle_s: int
) -> list[OpenSession]:
    """Return where an account is signed in, the latest first."""
    rows = session.scalars(
        select(AccountSession)
        .where(AccountSession.account_id == account_id, AccountSession.ended_at.is_(None))
        .order_by(AccountSession.id.desc())
    )
    return [
        OpenSession(
            session_id=row.id,
            method=row.method,
            address=row.address,
            created_at=row.created_at,
            seen_at=row.seen_at,
            ends_at=row.ends_at,
        )
        for row in rows
        if _is_open(row, now, idle_s)
    ]


def tell_failed_sign_in(
    session: Session, account_id: int | None, method: SignInMethod, *, address: str
) -> None:
    """Note a sign-in that failed. A name that is no account's is not: it may be a password."""
    new = {"method": method.value, "address": address}
    add_event(session, "account.sign_in_failed", "account", account_id, actor=SERVICE, new=new)


def is_known_device(session: Session, account_id: int, device_token: str) -> bool:
    """Whether the account signed in before in the browser with this secret."""
    return _find_device(session, account_id, device_token) is not None


# -- one-time links ----------------------------------------------------------------------------


def make_link(session: Session, account_id: int, *, actor: str, now: datetime) -> str:
    """Make a link's secret, for `LINK_HOURS`; links of the account before it end."""
    account = session.get_one(Account, account_id, with_for_update=True)
    if account.closed_at is not None:
        raise SignInRefused(f"the account {account.name} is closed")
    session.execute(
        update(SignInLink)
        .where(SignInLink.account_id == account_id, SignInLink.used_at.is_(None))
        .values(expires_at=now)
    )
    token = make_token()
    link = SignInLink(
        account_id=account_id,
        token_sha256=hash_token(token),
        created_at=now,
        expires_at=now + timedelta(hours=LINK_HOURS),
    )
    session.add(link)
    add_event(session, "account.link_made", "account", account_id, actor=actor)
    return token


def use_link(session: Session, token: str, *, only_administrators: bool, now: datetime) -> int:
    """Spend a link; returns whose it was.

    Raises
    ------
    SignInRefused
        It is unknown, used, too old, or of somebody whom it does not let in.
    """
    link = session.scalar(
        select(SignInLink).where(SignInLink.token_sha256 == hash_token(token)).with_for_update()
    )
    if link is None or link.used_at is not None or link.expires_at <= now:
        raise SignInRefused(
            f"this link was used before, or is older than {LINK_HOURS} hours: ask for another"
        )
    account = session.get_one(Account, link.account_id)
    if account.closed_at is not None or (only_administrators and not account.is_administrator):
        raise SignInRefused("this link lets nobody in")
    link.used_at = now
    add_event(session, "account.link_used", "account", account.id, actor=account.name)
    return account.id


def forget_spent(session: Session, before: datetime, devices_before: datetime) -> None:
    """Remove the rows of secrets that let nobody in since a time: the events of each stay."""
    session.execute(delete(AccountSession).where(AccountSession.ends_at < before))
    session.execute(delete(SignInLink).where(SignInLink.expires_at < before))
    session.execute(delete(KnownDevice).where(KnownDevice.seen_at < devices_before))


# -- within ------------------------------------------------------------------------------------


def _is_open(row: AccountSession, now: datetime, idle_s: int) -> bool:
    return (
        row.ended_at is None and now < row.ends_at and now - row.seen_at < timedelta(seconds=idle_s)
    )


def _add_device(session: Session, account_id: int, now: datetime) -> str:
    token = make_token()
    session.add(
        KnownDevice(
            account_id=account_id, token_sha256=hash_token(token), created_at=now, seen_at=now
        )
    )
    return token


def _find_device(session: Session, account_id: int, device_token: str) -> KnownDevice | None:
    return session.scalar(
        select(KnownDevice).where(
            KnownDevice.account_id == account_id,
            KnownDevice.token_sha256 == hash_token(device_token),
        )
    )
