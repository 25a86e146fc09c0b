"""Where a request comes from: forwarding headers are believed from trusted proxies alone."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv6Address, ip_address

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from medr1_pacs.web.security.door import (
    Door,
    Network,
    Transport,
    host_name,
    is_loopback_address,
    is_loopback_name,
)

_FORWARDING = ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded")


class Forwarding:
    """Puts the `Transport` into the request's state, and corrects address, scheme and host."""

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self._app = app
        self._proxies = door.proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope = believe(scope, self._proxies)
        await self._app(scope, receive, send)


def believe(scope: Scope, proxies: Sequence[Network]) -> Scope:
    """Return the request as the browser sent it, with its transport."""
    headers = Headers(scope=scope)
    peer = scope["client"][0] if scope.get("client") else ""
    is_proxied = any(name in headers for name in _FORWARDING)
    address, scheme, host = peer, scope["scheme"], headers.get("host", "")
    if is_trusted(peer, proxies):
        address = client_address([peer, *reversed(_list(headers, "x-forwarded-for"))], proxies)
        scheme = _last(headers, "x-forwarded-proto") or scheme
        host = _last(headers, "x-forwarded-host") or host
        is_proxied = False
    is_https = scheme == "https"
    # What an unknown proxy on this machine forwards comes from loopback, and is from anywhere.
    is_within = (
        is_loopback_address(address) and is_loopback_name(host_name(host) or "") and not is_proxied
    )
    transport = Transport(
        address=address,
        is_https=is_https,
        origin=f"{'https' if is_https else 'http'}://{host.lower()}",
        is_private=is_https or is_within,
    )
    return {
        **scope,
        "scheme": "https" if is_https else "http",
        "client": (address, 0),
        "headers": [
            *((name, value) for name, value in scope["headers"] if name != b"host"),
            *([(b"host", host.encode("latin-1"))] if host else []),
        ],
        "state": {**scope.get("state", {}), "transport": transport},
    }


def client_address(hops: Sequence[str], proxies: Sequence[Network]) -> str:
    """Return the first hop, from us outwards, that is no proxy of the site; empty: unreadable."""
    for hop in hops:
        if not is_trusted(hop, proxies):
            try:
                return str(ip_address(hop))
            except ValueError:
                return ""
    return hops[-1]


def is_trusted(address: str, proxies: Sequence[Network]) -> bool:
    try:
        found = ip_address(address)
    except ValueError:
        return False
    if isinstance(found, IPv6Address) and found.ipv4_mapped:
        found = found.ipv4_mapped
    return any(found in network for network in proxies)


def _list(headers: Headers, name: str) -> list[str]:
    values = ",".join(headers.getlist(name)).split(",")
    return [value.strip() for value in values if value.strip()]


def _last(headers: Headers, name: str) -> str:
    """Return what the nearest proxy said."""
    values = _list(headers, name)
    return values[-1].lower() if values else ""
