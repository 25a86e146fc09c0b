"""Who asks: an account as a request knows it, and what it may do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from medr1_pacs.records.words import Role


class Scope(StrEnum):
    """What an API token may be given; a browser's session has what its account has."""

    ANSWERS_READ = "answers:read"  #: answers, pictures, counts and snapshots of one's projects
    SNAPSHOTS_WRITE = "snapshots:write"  #: name what was found
    OPERATIONS_READ = "operations:read"  #: where studies are; of administrators
    OPERATIONS_WRITE = "operations:write"  #: retry, complete, drop; of administrators


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Somebody who is signed in, or a program with a token of theirs."""

    account_id: int
    account: str
    """The name one signs in with; the actor of audit events."""
    is_administrator: bool = False
    roles: Mapping[str, frozenset[Role]] = field(default_factory=dict)
    """Project name -> what the account is there; a token's project alone, where it names one."""
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

    def has_role(self, project: str, *roles: Role) -> bool:
        return not self.roles.get(project, frozenset()).isdisjoint(roles)
