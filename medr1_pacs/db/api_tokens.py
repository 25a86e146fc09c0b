"""What programs of an account may do for it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import select, update
from sqlalchemy.orm import Session, joinedload

from medr1_pacs.db.accounts import caller_of
from medr1_pacs.db.audit import add_event
from medr1_pacs.db.sign_ins import STAMP_S
from medr1_pacs.db.tables import Account, ApiToken, Project, ProjectMember
from medr1_pacs.errors import AccountRefused
from medr1_pacs.records.people import FoundCaller, Scope, TokenSummary
from medr1_pacs.tokens import API_TOKEN_PREFIX, hash_token, make_token

DAYS_MAX = 366
_NAME_MAX = 64


def add_token(
    session: Session,
    account_id: int,
    name: str,
    scopes: Collection[Scope],
    *,
    project: str | None = None,
    days: int,
    actor: str,
    now: datetime,
) -> str:
    """Make a token; returns its secret, which is stored nowhere.

    Raises
    ------
    AccountRefused
        It has no name or scope, lasts too long, or is for a project that is not the account's.
    """
    account = session.get_one(Account, account_id, with_for_update=True)
    if account.closed_at is not None:
        raise AccountRefused(f"the account {account.name} is closed")
    name = name.strip()
    if not 1 <= len(name) <= _NAME_MAX:
        raise AccountRefused(f"a token has a name of 1 to {_NAME_MAX} characters")
    if not scopes:
        raise AccountRefused(f"a token needs a scope: {', '.join(Scope)}")
    if not 1 <= days <= DAYS_MAX:
        raise AccountRefused(f"a token is valid for 1 to {DAYS_MAX} days")
    token = make_token(API_TOKEN_PREFIX)
    row = ApiToken(
        account_id=account_id,
        name=name,
        token_sha256=hash_token(token),
        scopes=sorted(scope.value for scope in set(scopes)),
        project_id=_project_id(session, account, project) if project else None,
        created_at=now,
        expires_at=now + timedelta(days=days),
    )
    session.add(row)
    session.flush()
    new = {"account": account.name, "scopes": row.scopes, "project": project, "days": days}
    add_event(session, "api_token.added", "api_token", row.id, actor=actor, new=new)
    return token


def revoke_token(
    session: Session, token_id: int, *, account_id: int, actor: str, now: datetime
) -> None:
    """End a token; another account's is none."""
    row = session.scalar(
        select(ApiToken)
        .where(ApiToken.id == token_id, ApiToken.account_id == account_id)
        .with_for_update()
    )
    if row is None or row.revoked_at is not None:
        return
    row.revoked_at = now
    add_event(session, "api_token.revoked", "api_token", row.id, actor=actor)


def list_tokens(session: Session, account_id: int, *, now: datetime) -> list[TokenSummary]:
    """Return an account's valid tokens, the latest first."""
    rows = session.execute(
        select(ApiToken, Project.name)
        .outerjoin(Project, Project.id == ApiToken.project_id)
        .where(
            ApiToken.account_id == account_id,
            ApiToken.revoked_at.is_(None),
            ApiToken.expires_at > now,
        )
        .order_by(ApiToken.id.desc())
    )
    return [
        TokenSummary(
            token_id=row.id,
            name=row.name,
            scopes=tuple(Scope(scope) for scope in row.scopes),
            project=project,
            created_at=row.created_at,
            expires_at=row.expires_at,
            used_at=row.used_at,
        )
        for row, project in rows
    ]


def find_caller_by_token(session: Session, token: str, *, now: datetime) -> FoundCaller | None:
    """Return whom a program asks for, with the roles of this moment.

    A token for one project has that project's roles alone, and is no administrator's.
    """
    row = session.scalar(
        select(ApiToken)
        .options(joinedload(ApiToken.account))
        .where(ApiToken.token_sha256 == hash_token(token))
    )
    if row is None or row.revoked_at is not None or row.expires_at <= now:
        return None
    if row.account.closed_at is not None:
        return None
    caller = caller_of(session, row.account, scopes=frozenset(Scope(s) for s in row.scopes))
    if row.project_id is not None:
        project = session.get_one(Project, row.project_id).name
        roles = {name: given for name, given in caller.roles.items() if name == project}
        caller = replace(caller, roles=roles, is_administrator=False)
    is_due = row.used_at is None or now - row.used_at >= timedelta(seconds=STAMP_S)
    return FoundCaller(caller, row.id, is_due)


def stamp_token(session: Session, token_id: int, now: datetime) -> None:
    """Note that a token is in use."""
    session.execute(update(ApiToken).where(ApiToken.id == token_id).values(used_at=now))


def _project_id(session: Session, account: Account, project: str) -> int:
    found = session.scalar(
        select(Project.id)
        .join(ProjectMember, ProjectMember.project_id == Project.id)
        .where(ProjectMember.account_id == account.id, Project.name == project)
        .limit(1)
    )
    if found is None:
        raise AccountRefused(f"{account.name} is in no project {project!r}")
    return found
