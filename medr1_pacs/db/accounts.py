"""Accounts, and what each may do.

Each change is an event, written with it. Whoever calls has asked whether the actor may do it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session, selectinload

from medr1_pacs.db.audit import OPERATOR, SERVICE, add_event, new_salt
from medr1_pacs.db.projects import find_or_add_project
from medr1_pacs.db.protocols import find_blinded
from medr1_pacs.db.recording import hash_record
from medr1_pacs.db.tables import (
    Account,
    AccountSession,
    ApiToken,
    KnownDevice,
    Project,
    ProjectMember,
    SignInLink,
)
from medr1_pacs.errors import AccountNotFound, AccountRefused
from medr1_pacs.projects import ProjectRules
from medr1_pacs.records.people import AccountSummary, Caller, Credentials, GivenRole
from medr1_pacs.records.words import Role

NAME_MAX = 64
_NAME = re.compile(r"[a-z0-9][a-z0-9._@+-]*")
RESERVED_NAMES = {OPERATOR, SERVICE}
"""Actors of events that are no account's."""


def clean_name(name: str) -> str:
    """Return a name as it is stored: one signs in with it in capitals, too."""
    return name.strip().lower()


def add_account(
    session: Session,
    name: str,
    *,
    actor: str,
    now: datetime,
    full_name: str = "",
    is_administrator: bool = False,
) -> int:
    """Add an account that can do nothing yet; returns its id.

    Raises
    ------
    AccountRefused
        The name is no name, or another account's, be it closed.
    """
    name = clean_name(name)
    if not _NAME.fullmatch(name) or len(name) > NAME_MAX or name in RESERVED_NAMES:
        raise AccountRefused(
            f"{name!r} is no name for an account: 1 to {NAME_MAX} letters a to z, digits and "
            f"any of . _ @ + - behind the first, and none of {', '.join(sorted(RESERVED_NAMES))}"
        )
    if _find(session, name) is not None:
        raise AccountRefused(f"there is an account {name} already, open or closed")
    account = Account(
        name=name,
        full_name=full_name,
        is_administrator=is_administrator,
        created_at=now,
        record_salt=new_salt(),
    )
    session.add(account)
    session.flush()
    new = {"name": name, "is_administrator": is_administrator}
    add_event(
        session,
        "account.added",
        "account",
        account.id,
        actor=actor,
        new=new,
        record_sha256=hash_record(session, "account", account.id),
    )
    return account.id


def close_account(session: Session, name: str, *, actor: str, now: datetime) -> None:
    """Let nobody in by an account any more; raises `AccountRefused` for the last administrator."""
    administrators = _lock_administrators(session)
    account = _get_open(session, name)
    _keep_one(administrators, account)
    account.closed_at = now
    _end(session, account.id, now)
    add_event(session, "account.closed", "account", account.id, actor=actor)


def reopen_account(session: Session, name: str, *, actor: str) -> None:
    """Let an account in again, with the roles it had; its sessions and tokens stay ended."""
    account = _get(session, name)
    if account.closed_at is None:
        return
    account.closed_at = None
    add_event(session, "account.reopened", "account", account.id, actor=actor)


def give_role(
    session: Session,
    name: str,
    role: Role,
    project: str | None,
    *,
    rules: ProjectRules,
    actor: str,
    now: datetime,
) -> None:
    """Give an open account a role: in a project, or `administrator` of the site."""
    account = _get_open(session, name)
    if _is_of_site(role, project):
        if not account.is_administrator:
            account.is_administrator = True
            tell_role(session, "account.role_given", account, role, None, actor)
        return
    assert project is not None, "a role that is not the site's has a project"
    row = get_project(session, project, rules, now)
    member = _find_member(session, account, row, role)
    if member is None:
        member = ProjectMember(account_id=account.id, project_id=row.id, role=role, added_at=now)
        session.add(member)
    elif member.is_from_provider:
        member.is_from_provider = False  # from now on it stays without the group
    else:
        return
    tell_role(session, "account.role_given", account, role, project, actor, member)


def remove_role(
    session: Session, name: str, role: Role, project: str | None, *, actor: str
) -> None:
    """Take a role from an account; raises `AccountRefused` for the last administrator's."""
    administrators = _lock_administrators(session)
    account = _get(session, name)
    if _is_of_site(role, project):
        if account.is_administrator:
            _keep_one(administrators, account)
            account.is_administrator = False
            tell_role(session, "account.role_removed", account, role, None, actor)
        return
    row = session.scalar(select(Project).where(Project.name == project))
    member = _find_member(session, account, row, role) if row else None
    if member is not None:
        session.delete(member)
        tell_role(session, "account.role_removed", account, role, project, actor)


def set_password(
    session: Session,
    account_id: int,
    password_hash: str,
    *,
    actor: str,
    now: datetime,
    keep_session_id: int | None = None,
) -> None:
    """Store the hash of a new password; every other browser has to sign in again.

    Raises
    ------
    AccountRefused
        The account is the provider's: whom that lets in no more would come in by a password.
    """
    account = session.get_one(Account, account_id, with_for_update=True)
    if account.subject is not None:
        raise AccountRefused(f"{account.name} signs in by the provider, never by a password")
    account.password_hash = password_hash
    end_sessions(session, account_id, now, keep_session_id=keep_session_id)
    session.execute(delete(KnownDevice).where(KnownDevice.account_id == account_id))
    add_event(session, "account.password_set", "account", account_id, actor=actor)


def renew_hash(session: Session, account_id: int, old_hash: str, new_hash: str) -> None:
    """Store the same password with newer parameters, unless it was changed meanwhile."""
    session.execute(
        update(Account)
        .where(Account.id == account_id, Account.password_hash == old_hash)
        .values(password_hash=new_hash)
    )


def find_credentials(session: Session, name: str) -> Credentials | None:
    """Return what a password is checked against; a closed account has none."""
    account = _find(session, name)
    if account is None or account.closed_at is not None:
        return None
    return _credentials(account)


def get_credentials(session: Session, account_id: int) -> Credentials:
    return _credentials(session.get_one(Account, account_id))


def _credentials(account: Account) -> Credentials:
    return Credentials(
        account_id=account.id,
        account=account.name,
        password_hash=account.password_hash,
        is_administrator=account.is_administrator,
        is_from_provider=account.subject is not None,
    )


def list_accounts(session: Session) -> list[AccountSummary]:
    """Return every account by its name, closed ones last."""
    members = _members(session)
    accounts = session.scalars(
        select(Account).order_by(Account.closed_at.is_not(None), Account.name)
    )
    return [_summarise(account, members.get(account.id, ())) for account in accounts]


def has_administrator(session: Session) -> bool:
    """Whether somebody open can give others what they need."""
    return session.scalar(_open_administrators().limit(1)) is not None


def caller_of(session: Session, account: Account, **fields: Any) -> Caller:
    """Return a caller with the roles that the account has at this moment."""
    found = session.execute(
        select(Project.name, ProjectMember.role)
        .join(Project, Project.id == ProjectMember.project_id)
        .where(ProjectMember.account_id == account.id)
    )
    roles: dict[str, frozenset[Role]] = {}
    for project, role in found:
        roles[project] = roles.get(project, frozenset()) | {role}
    return Caller(
        account_id=account.id,
        account=account.name,
        is_administrator=account.is_administrator,
        roles=roles,
        blinded_in=find_blinded(session, account.id),
        **fields,
    )


def end_sessions(
    session: Session, account_id: int, now: datetime, *, keep_session_id: int | None = None
) -> None:
    """Sign an account out of every browser, or of every other one."""
    session.execute(
        update(AccountSession)
        .where(
            AccountSession.account_id == account_id,
            AccountSession.ended_at.is_(None),
            AccountSession.id != (keep_session_id or 0),
        )
        .values(ended_at=now)
    )


# -- within ------------------------------------------------------------------------------------


def _find(session: Session, name: str) -> Account | None:
    return session.scalar(select(Account).where(Account.name == clean_name(name)))


def _get(session: Session, name: str) -> Account:
    account = session.scalar(
        select(Account).where(Account.name == clean_name(name)).with_for_update()
    )
    if account is None:
        raise AccountNotFound(f"there is no account {clean_name(name)!r}")
    return account


def _get_open(session: Session, name: str) -> Account:
    account = _get(session, name)
    if account.closed_at is not None:
        raise AccountRefused(f"the account {account.name} is closed")
    return account


def _is_of_site(role: Role, project: str | None) -> bool:
    if (role is Role.ADMINISTRATOR) != (project is None):
        raise AccountRefused(
            "administrator is a role of the whole site, without a project"
            if project is not None
            else f"a {role} is one of a project: say which"
        )
    return project is None


def _open_administrators() -> Any:
    return select(Account.id).where(Account.is_administrator, Account.closed_at.is_(None))


def _lock_administrators(session: Session) -> set[int]:
    """Lock them before any other account, in one order: those who close each other take turns."""
    found = _open_administrators().order_by(Account.id).with_for_update()
    return set(session.scalars(found))


def _keep_one(administrators: set[int], leaving: Account) -> None:
    if leaving.is_administrator and administrators <= {leaving.id}:
        raise AccountRefused(
            f"{leaving.name} is the last administrator: make somebody else one first"
        )


def get_project(session: Session, name: str, rules: ProjectRules, now: datetime) -> Project:
    project = find_or_add_project(session, name, rules, now)
    if project is None:
        raise AccountRefused(f"there is no project {name!r}: MEDR1_PROJECTS declares them")
    return project


def _find_member(
    session: Session, account: Account, project: Project, role: Role
) -> ProjectMember | None:
    return session.scalar(
        select(ProjectMember).where(
            ProjectMember.account_id == account.id,
            ProjectMember.project_id == project.id,
            ProjectMember.role == role,
        )
    )


def tell_role(
    session: Session,
    action: str,
    account: Account,
    role: Role,
    project: str | None,
    actor: str,
    member: ProjectMember | None = None,
) -> None:
    """Tell that a role was given or removed; `member`: the row that gives it."""
    session.flush()
    value = {"role": role.value, "project": project}
    is_given = action == "account.role_given"
    add_event(
        session,
        action,
        "account",
        account.id,
        actor=actor,
        old=None if is_given else value,
        new=value if is_given else None,
        record_sha256=hash_record(session, "project_member", member.id) if member else None,
    )


def _end(session: Session, account_id: int, now: datetime) -> None:
    end_sessions(session, account_id, now)
    session.execute(
        update(ApiToken)
        .where(ApiToken.account_id == account_id, ApiToken.revoked_at.is_(None))
        .values(revoked_at=now)
    )
    session.execute(
        update(SignInLink)
        .where(SignInLink.account_id == account_id, SignInLink.used_at.is_(None))
        .values(expires_at=now)
    )
    session.execute(delete(KnownDevice).where(KnownDevice.account_id == account_id))


def _members(session: Session) -> dict[int, list[ProjectMember]]:
    members: dict[int, list[ProjectMember]] = {}
    for member in session.scalars(
        select(ProjectMember).options(selectinload(ProjectMember.project))
    ):
        members.setdefault(member.account_id, []).append(member)
    return members


def _summarise(account: Account, members: Iterable[ProjectMember]) -> AccountSummary:
    given = (GivenRole(m.project.name, m.role, m.is_from_provider) for m in members)
    return AccountSummary(
        account_id=account.id,
        name=account.name,
        full_name=account.full_name,
        is_administrator=account.is_administrator,
        has_password=account.password_hash is not None,
        is_from_provider=account.subject is not None,
        roles=tuple(sorted(given, key=lambda one: (one.project, one.role))),
        created_at=account.created_at,
        closed_at=account.closed_at,
    )
