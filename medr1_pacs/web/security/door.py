"""What a site says of how people come in, and what one request came in by."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

from medr1_pacs.openid import Provider
from medr1_pacs.passwords import Passwords
from medr1_pacs.projects import ProjectRules

Network = IPv4Network | IPv6Network

_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:\d{1,5})?")


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """How people come in; the default is right for a browser on this machine."""

    url: str = ""
    """The public URL, without a path; empty: links are made for where the request came in."""
    hosts: frozenset[str] = frozenset()
    """Host names that requests may be for, besides the URL's and those of loopback."""
    proxies: tuple[Network, ...] = ()
    """From where alone forwarding headers are believed."""
    session_idle_s: int = 3_600
    session_max_s: int = 43_200
    has_local_accounts: bool = True
    """Whether one may sign in by a password."""
    provider: Provider | None = None
    rules: ProjectRules = field(default_factory=ProjectRules)
    """The projects in which a role can be given."""
    passwords: Passwords = field(default_factory=Passwords)
    now: Callable[[], datetime] = _utc_now
    monotonic: Callable[[], float] = time.monotonic

    def allows_host(self, name: str) -> bool:
        return is_loopback_name(name) or name in self.hosts or name == self.url_host

    @property
    def url_host(self) -> str:
        return host_name(urlsplit(self.url).netloc) or ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transport:
    """How a request came in, after what trusted proxies say."""

    address: str
    """Of the browser; empty where nobody knows."""
    is_https: bool
    origin: str
    """Scheme, host and port that it is for, as a browser writes them in Origin."""
    is_private: bool
    """Whether nobody on the way can read what it holds: by HTTPS, or within this machine."""


def host_name(header: str) -> str | None:
    """Return the name in a Host header, or None where it is malformed."""
    match = _HOST.fullmatch(header.strip().lower())
    return match[1].strip("[]").rstrip(".") if match else None


def is_loopback_name(name: str) -> bool:
    return name == "localhost" or is_loopback_address(name)


def is_loopback_address(text: str) -> bool:
    try:
        address = ip_address(text)
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped.is_loopback
    return address.is_loopback
