"""Who may open an association."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from medr1_pacs.errors import SettingInvalid


@dataclass(frozen=True, slots=True)
class AllowedPeer:
    """One line of the allow list; an AE title of None is any."""

    ae_title: str | None
    network: IPv4Network | IPv6Network

    def admits(self, ae_title: str, address: str) -> bool:
        return (self.ae_title in (None, ae_title)) and ip_address(address) in self.network


def parse_allowed_peers(lines: Sequence[str]) -> tuple[AllowedPeer, ...]:
    """Read `AE_TITLE@ADDRESS` or `AE_TITLE@NETWORK/BITS`; `*` is any AE title.

    Raises
    ------
    SettingInvalid
        A line that is neither.
    """
    peers = []
    for line in lines:
        ae_title, at, network = line.rpartition("@")
        try:
            if not at or not ae_title:
                raise ValueError("no '@'")
            peers.append(AllowedPeer(None if ae_title == "*" else ae_title, ip_network(network)))
        except ValueError as error:
            raise SettingInvalid(
                f"MEDR1_ALLOWED_PEERS: {line!r} is not AE_TITLE@ADDRESS, as in "
                f"PACS1@10.1.2.3 or *@10.1.0.0/16 ({error})"
            ) from error
    return tuple(peers)


def is_admitted(peers: Sequence[AllowedPeer], ae_title: str, address: str) -> bool:
    """Whether a requestor may associate; without a list, which needs loopback, everyone may."""
    return not peers or any(peer.admits(ae_title, address) for peer in peers)
