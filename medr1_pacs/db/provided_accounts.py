"""Accounts of people whom the OpenID provider vouches for, and the roles that its groups give."""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from medr1_pacs.db.accounts import (
    NAME_MAX,
    RESERVED_NAMES,
    add_account,
    clean_name,
    get_project,
    tell_role,
)
from medr1_pacs.db.audit import SERVICE
from medr1_pacs.db.tables import Account, Project, ProjectMember
from medr1_pacs.projects import ProjectRules
from medr1_pacs.records.words import Role


def find_or_add_provided(
    session: Session,
    issuer: str,
    subject: str,
    *,
    wanted_name: str,
    is_wanted: bool,
    now: datetime,
) -> int | None:
    """Return the id of the account of somebody whom the provider vouches for.

    A new one, added only when wanted, never takes the name of another account: it gets a number
    behind its own.
    """
    account = session.scalar(
        select(Account).where(Account.issuer == issuer, Account.subject == subject)
    )
    if account is None:
        if not is_wanted:
            return None
        name = _free_name(session, wanted_name, subject)
        account_id = add_account(session, name, actor=SERVICE, now=now)
        account = session.get_one(Account, account_id)
        account.issuer, account.subject = issuer, subject
    return account.id


def set_provided_roles(
    session: Session,
    account_id: int,
    given: Collection[tuple[str, Role]],
    *,
    is_administrator: bool | None,
    rules: ProjectRules,
    now: datetime,
) -> None:
    """Make the roles by groups those that the groups give now; roles given here stay.

    Parameters
    ----------
    given
        Project and role of each.
    is_administrator
        None: no group gives it, so it is given and taken here.
    """
    account = session.get_one(Account, account_id, with_for_update=True)
    has = session.execute(
        select(ProjectMember, Project.name)
        .join(Project, Project.id == ProjectMember.project_id)
        .where(ProjectMember.account_id == account_id)
    )
    had = {(name, member.role): member for member, name in has}
    for (project, role), member in had.items():
        if member.is_from_provider and (project, role) not in given:
            session.delete(member)
            tell_role(session, "account.role_removed", account, role, project, SERVICE)
    for project, role in sorted(set(given) - set(had)):
        row = get_project(session, project, rules, now)
        member = ProjectMember(
            account_id=account_id,
            project_id=row.id,
            role=role,
            is_from_provider=True,
            added_at=now,
        )
        session.add(member)
        tell_role(session, "account.role_given", account, role, project, SERVICE, member)
    if is_administrator is not None and is_administrator != account.is_administrator:
        account.is_administrator = is_administrator
        action = "account.role_given" if is_administrator else "account.role_removed"
        tell_role(session, action, account, Role.ADMINISTRATOR, None, SERVICE)


def _free_name(session: Session, wanted: str, subject: str) -> str:
    base = re.sub(r"[^a-z0-9._@+-]", "-", clean_name(wanted or subject)).lstrip("._@+-")
    base = base[: NAME_MAX - 4] or "account"
    taken = {
        *session.scalars(select(Account.name).where(Account.name.startswith(base)))
    } | RESERVED_NAMES
    numbered = (f"{base}-{number}" for number in range(2, len(taken) + 3))
    return next(name for name in (base, *numbered) if name not in taken)
