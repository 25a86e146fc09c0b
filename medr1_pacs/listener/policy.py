"""Who may open an association, and with which presentation contexts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from pynetdicom import AllStoragePresentationContexts
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.sop_class import Verification

from medr1_pacs.errors import SettingInvalid

# Everything a PACS sends pictures in; Deflated is left out (1 MB inflates to gigabytes), video
# until its frames can be decoded.
TRANSFER_SYNTAXES = (
    "1.2.840.10008.1.2.1",  # Explicit VR Little Endian
    "1.2.840.10008.1.2",  # Implicit VR Little Endian
    "1.2.840.10008.1.2.2",  # Explicit VR Big Endian (retired)
    "1.2.840.10008.1.2.5",  # RLE Lossless
    "1.2.840.10008.1.2.4.50",  # JPEG Baseline
    "1.2.840.10008.1.2.4.51",  # JPEG Extended
    "1.2.840.10008.1.2.4.57",  # JPEG Lossless
    "1.2.840.10008.1.2.4.70",  # JPEG Lossless, first-order prediction
    "1.2.840.10008.1.2.4.80",  # JPEG-LS Lossless
    "1.2.840.10008.1.2.4.81",  # JPEG-LS Near-lossless
    "1.2.840.10008.1.2.4.90",  # JPEG 2000 Lossless
    "1.2.840.10008.1.2.4.91",  # JPEG 2000
    "1.2.840.10008.1.2.4.201",  # HTJ2K Lossless
    "1.2.840.10008.1.2.4.202",  # HTJ2K Lossless RPCL
    "1.2.840.10008.1.2.4.203",  # HTJ2K
)


def supported_contexts() -> list[PresentationContext]:
    """Return C-ECHO and every storage SOP class in every transfer syntax we keep."""
    contexts = [build_context(Verification)]
    for storage in AllStoragePresentationContexts:
        contexts.append(build_context(storage.abstract_syntax, list(TRANSFER_SYNTAXES)))
    return contexts


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
