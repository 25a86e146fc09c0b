"""Who the provider is, and what its groups give."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from medr1_pacs.provider_roles import GroupRole


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """An OpenID provider as the site names it."""

    issuer: str
    """Exactly as its ID tokens say it."""
    client_id: str
    client_secret: str | None = None
    """None: a public client, which PKCE alone protects."""
    groups_claim: str = "groups"
    group_roles: tuple[GroupRole, ...] = ()

    def roles_of(self, groups: Collection[str]) -> frozenset[GroupRole]:
        """Return what somebody in these groups is."""
        return frozenset(given for given in self.group_roles if given.group in groups)

    @property
    def names_administrators(self) -> bool:
        """Whether a group says who administers the site."""
        return any(given.project is None for given in self.group_roles)
