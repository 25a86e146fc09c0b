"""Who may open an association, and which called AE titles it may ask for.

Pure: `MEDR1_ALLOWED_PEERS` as values, and questions to them. AE titles are compared as they are
written, case and all, without leading and trailing spaces (PS3.5 Table 6.2-1).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from medr1_pacs.errors import SettingInvalid

# PS3.5 Table 6.2-1, VR AE; spaces alone are no title.
_AE_TITLE = re.compile(r"(?! *$)[\x20-\x5b\x5d-\x7e]{1,16}")
# An AE title may hold an `@`: the last one before an address counts.
_LINE = re.compile(r"(?P<calling>.+)@\s*(?P<network>[0-9A-Fa-f.:/]+)\s*(?:->(?P<called>.*))?")
_EXAMPLES = "PACS1@10.1.2.3, *@10.1.0.0/16 or PACS1@10.1.2.3->LUNG+HEART"


class Rejection(IntEnum):
    """Why an association is rejected: Reason/Diag. of an A-ASSOCIATE-RJ (PS3.8 Table 9-21)."""

    CALLING_AE_TITLE_NOT_RECOGNIZED = 0x03
    CALLED_AE_TITLE_NOT_RECOGNIZED = 0x07


@dataclass(frozen=True, slots=True)
class AllowedPeer:
    """One line of the allow list."""

    calling_ae_title: str | None
    """None is any."""
    network: IPv4Network | IPv6Network
    called_ae_titles: frozenset[str] | None = None
    """What it may call; None is every known title."""

    def has_title(self, calling_ae_title: str) -> bool:
        return self.calling_ae_title in (None, calling_ae_title)

    def has_address(self, address: str) -> bool:
        return any(ip_address(a) in self.network for a in (address, plain_address(address)))

    def may_call(self, called_ae_title: str) -> bool:
        return self.called_ae_titles is None or called_ae_title in self.called_ae_titles


def is_ae_title(text: str) -> bool:
    """Whether a text is 1 to 16 printable characters without a backslash, not all spaces."""
    return bool(_AE_TITLE.fullmatch(text))


def plain_address(address: str) -> str:
    """Return an address as the allow list has it: `::ffff:10.1.2.3` is the IPv4 peer 10.1.2.3.

    On `::` the system presents IPv4 peers so (RFC 4291 2.5.5.2).
    """
    parsed = ip_address(address)
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    return str(mapped or parsed)


def parse_allowed_peers(lines: Sequence[str]) -> tuple[AllowedPeer, ...]:
    """Read `AE_TITLE@ADDRESS` or `AE_TITLE@NETWORK/BITS`; `*` is any calling AE title.

    `->TITLE+TITLE` behind it binds the peer to those called AE titles.

    Raises
    ------
    SettingInvalid
        A line that is none of these.
    """
    return tuple(_parse_line(line) for line in lines)


def _parse_line(line: str) -> AllowedPeer:
    try:
        found = _LINE.fullmatch(line.strip())
        if found is None:
            raise ValueError("expected an AE title, '@' and an address")
        calling, network, called = found.group("calling", "network", "called")
        titles = None if called is None else frozenset(map(_checked, called.split("+")))
        if titles and "*" in titles:
            raise ValueError("without '->' a peer may call every known title")
        return AllowedPeer(
            None if calling.strip() == "*" else _checked(calling), ip_network(network), titles
        )
    except ValueError as error:
        raise SettingInvalid(
            f"MEDR1_ALLOWED_PEERS: {line!r} is not AE_TITLE@ADDRESS, as in {_EXAMPLES} ({error})"
        ) from error


def _checked(text: str) -> str:
    title = text.strip(" ")
    if not is_ae_title(title):
        raise ValueError(f"{title!r} is no AE title: 1 to 16 characters without a backslash")
    return title


def known_called_titles(
    peers: Sequence[AllowedPeer], *titles: str, rules: frozenset[str] = frozenset()
) -> frozenset[str]:
    """Return every called AE title that a site uses: its own, its rules', its allow list's."""
    bound = (peer.called_ae_titles or frozenset() for peer in peers)
    return frozenset(title.strip(" ") for title in titles).union(rules, *bound)


def _lines_of(peers: Sequence[AllowedPeer], calling_ae_title: str) -> list[AllowedPeer]:
    """Return the lines that name a title; only one that none names is any of `*`.

    Else whoever a `*` admits could call itself by the name of a peer with a line of its own.
    """
    named = [peer for peer in peers if peer.calling_ae_title is not None]
    own = [peer for peer in named if peer.has_title(calling_ae_title)]
    return own or [peer for peer in peers if peer.calling_ae_title is None]


def may_connect(peers: Sequence[AllowedPeer], address: str) -> bool:
    """Whether any line covers an address; without a list, which needs loopback, loopback may."""
    if not peers:
        return ip_address(plain_address(address)).is_loopback
    return any(peer.has_address(address) for peer in peers)


def find_rejection(
    peers: Sequence[AllowedPeer],
    known_titles: frozenset[str],
    *,
    calling_ae_title: str,
    called_ae_title: str,
    address: str,
) -> Rejection | None:
    """Return why an association is rejected; None when it is admitted."""
    lines = [p for p in _lines_of(peers, calling_ae_title) if p.has_address(address)]
    if not lines and (peers or not may_connect(peers, address)):
        return Rejection.CALLING_AE_TITLE_NOT_RECOGNIZED
    is_bound_elsewhere = bool(lines) and not any(peer.may_call(called_ae_title) for peer in lines)
    if called_ae_title not in known_titles or is_bound_elsewhere:
        return Rejection.CALLED_AE_TITLE_NOT_RECOGNIZED
    return None
