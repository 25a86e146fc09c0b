"""Who asks: an account as a request knows it, and what it may do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from medr1_pacs.records.words import Role, SignInMethod


class Scope(StrEnum):
    """What an API token may be given; a browser's session has what its account has."""

    ANSWERS_READ = "answers:read"  #: answers, pictures, counts and snapshots of one's projects
    SNAPSHOTS_WRITE = "snapshots:write"  #: name what was found
    OPERATIONS_READ = "operations:read"  #: where studies are; of administrators


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Somebody who is signed in, or a program with a token of theirs."""

    account_id: int
    account: str
    """The name one signs in with; the actor of audit events."""
    is_administrator: bool = False
    roles: Mapping[str, frozenset[Role]] = field(default_factory=dict)
    """Project name -> what the account is there; a token's project alone, where it names one."""
    blinded_in: frozenset[str] = frozenset()
    """Projects of which the person sees no answers, in whatever role, until a reading protocol that
    they are in is over."""
    scopes: frozenset[Scope] | None = None
    """Of a token; None for a browser, which may do all that its account may."""
    session_id: int | None = None
    """The browser's session; None for a token."""
    csrf_token: str = ""
    """What every form of a browser's session must carry."""

    @property
    def projects(self) -> tuple[str, ...]:
        return tuple(sorted(self.roles))

    def has_scope(self, scope: Scope) -> bool:
        return self.scopes is None or scope in self.scopes

    def is_blinded(self, project: str | None = None) -> bool:
        """Whether answers of a project, or of any, are hidden from the person at the moment."""
        return bool(self.blinded_in) if project is None else project in self.blinded_in

    def has_role(self, project: str, *roles: Role) -> bool:
        return not self.roles.get(project, frozenset()).isdisjoint(roles)


@dataclass(frozen=True, slots=True)
class GivenRole:
    """What an account is in a project."""

    project: str
    role: Role
    is_from_provider: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountSummary:
    """An account as administrators see it."""

    account_id: int
    name: str
    full_name: str
    is_administrator: bool
    has_password: bool
    is_from_provider: bool
    """Signs in by the OpenID provider."""
    roles: tuple[GivenRole, ...]
    created_at: datetime
    closed_at: datetime | None

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "full_name": self.full_name,
            "is_administrator": self.is_administrator,
            "has_password": self.has_password,
            "is_from_provider": self.is_from_provider,
            "roles": [
                {
                    "project": given.project,
                    "role": given.role.value,
                    "is_from_provider": given.is_from_provider,
                }
                for given in self.roles
            ],
            "created_at": self.created_at.isoformat(),
            "closed_at": self.closed_at.isoformat() if self.closed_at else None,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What a password is checked against."""

    account_id: int
    account: str
    password_hash: str | None
    is_administrator: bool
    is_from_provider: bool
    """Never has a password: whom the provider lets in no more would come in by it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenSession:
    """A browser in which an account is signed in."""

    session_id: int
    method: SignInMethod
    address: str
    created_at: datetime
    seen_at: datetime
    ends_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenSummary:
    """An API token as its owner sees it; the secret was shown once."""

    token_id: int
    name: str
    scopes: tuple[Scope, ...]
    project: str | None
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None


@dataclass(frozen=True, slots=True)
class FoundCaller:
    """Who a secret belongs to, and whether the row that says so is due to be stamped as used."""

    caller: Caller
    row_id: int
    is_due: bool
