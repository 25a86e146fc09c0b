"""Where a browser is, and where it is led after signing in."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from medr1_pacs.web.security.forwarding import client_address
from medr1_pacs.web.security.paths import safe_path


@pytest.mark.parametrize(
    ("hops", "address"),
    [
        (["10.0.0.1", "192.0.2.9"], "192.0.2.9"),
        (["10.0.0.1", "192.0.2.9", "127.0.0.1"], "192.0.2.9"),
        (["10.0.0.1", "10.0.0.2", "192.0.2.9", "198.51.100.1"], "192.0.2.9"),
        (["10.0.0.1"], "10.0.0.1"),
        (["10.0.0.1", "unknown", "127.0.0.1"], ""),
        (["10.0.0.1", "2001:db8::1"], "2001:db8::1"),
    ],
)
def test_the_browser_is_the_nearest_hop_that_is_no_proxy(hops, address):
    assert client_address(hops, [ip_network("10.0.0.0/24")]) == address


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "account",
        "//evil",
        "/\\evil",
        "http://evil",
        "/a\\b",
        "/a\r\nSet-Cookie: x",
        "/ /evil",
    ],
)
def test_what_is_no_local_path_leads_home(text):
    assert safe_path(text) == "/"


@pytest.mark.parametrize("text", ["/", "/account", "/a/b?c=d&e=%2F#f"])
def test_a_local_path_stays_as_it_is(text):
    assert safe_path(text) == text
