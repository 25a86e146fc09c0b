"""Where requests come from, which hosts they are for, and the headers of every answer."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

pytestmark = pytest.mark.parametrize("site", ["sqlite"], indirect=True)

PROXY = "10.0.0.1"
REMEDY = "MEDR1_WEB_CERTIFICATE"


@pytest.fixture
def proxied(make_pages, browse):
    """A browser behind a proxy that the site trusts, under a public name."""

    def proxied(**headers):
        app = make_pages(url="https://medr1.example.org", proxies=(ip_network(f"{PROXY}/32"),))
        client = browse(app, base_url="http://internal:8080", client=(PROXY, 1))
        client.headers.update({name.replace("_", "-"): text for name, text in headers.items()})
        return client

    return proxied


def test_behind_a_trusted_proxy_with_https_one_can_sign_in(proxied):
    answer = proxied(
        X_Forwarded_For="192.0.2.9", X_Forwarded_Proto="https", X_Forwarded_Host="medr1.example.org"
    ).get("/sign-in")

    assert answer.status_code == 200
    assert answer.headers["set-cookie"].startswith("__Host-medr1_before=")
    assert "max-age" in answer.headers["strict-transport-security"]


def test_behind_a_trusted_proxy_without_https_nobody_can(proxied):
    for proto in ({}, {"X_Forwarded_Proto": "http"}):
        answer = proxied(
            X_Forwarded_For="192.0.2.9", X_Forwarded_Host="medr1.example.org", **proto
        ).get("/sign-in")

        assert answer.status_code == 403
        assert REMEDY in answer.text
        assert "strict-transport-security" not in answer.headers


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-Proto": "https"},
        {"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "https"},
        {"X-Forwarded-Host": "localhost", "X-Forwarded-Proto": "https"},
    ],
)
def test_what_a_stranger_says_of_forwarding_is_not_believed(make_pages, browse, headers):
    app = make_pages(hosts=frozenset({"pacs"}), proxies=(ip_network("10.0.0.1/32"),))
    client = browse(app, base_url="http://pacs", client=("192.0.2.9", 1))

    assert client.get("/sign-in", headers=headers).status_code == 403


def test_from_beyond_this_machine_nobody_signs_in_without_https(make_pages, browse):
    app = make_pages(hosts=frozenset({"pacs"}))
    for arguments in (
        {"base_url": "http://pacs", "client": ("192.0.2.9", 1)},
        {"base_url": "http://127.0.0.1", "client": ("192.0.2.9", 1)},
        {"base_url": "http://pacs", "client": ("127.0.0.1", 1)},
    ):
        client = browse(app, **arguments)
        for answer in (client.get("/sign-in"), client.get("/sign-in/link/x")):
            assert (answer.status_code, REMEDY in answer.text) == (403, True)
        assert client.post("/sign-in", data={"name": "anna"}).status_code == 403


def test_what_an_unknown_proxy_on_this_machine_forwards_is_not_from_this_machine(app, browse):
    answer = browse(app).get("/sign-in", headers={"X-Forwarded-For": "192.0.2.9"})

    assert answer.status_code == 403


def test_a_session_is_not_believed_where_others_can_read_it(make_pages, sign_in):
    app = make_pages(hosts=frozenset({"pacs"}))
    browser = sign_in(app, base_url="http://pacs", client=("192.0.2.9", 1))

    assert browser.get("/account").status_code == 303


def test_over_https_from_anywhere_one_can_sign_in(make_pages, browse):
    app = make_pages(hosts=frozenset({"pacs"}))
    client = browse(app, base_url="https://pacs", client=("192.0.2.9", 1))

    assert client.get("/sign-in").status_code == 200


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8080", "[::1]:8080", "LOCALHOST", "pacs"])
def test_requests_for_our_names_are_answered(make_pages, browse, host):
    client = browse(make_pages(url="http://pacs:8080"))

    assert client.get("/static/medr1.css", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil", "10.0.0.1"]
)
def test_requests_for_other_names_are_misdirected(app, browse, host):
    answer = browse(app).get("/sign-in", headers={"Host": host})

    assert answer.status_code == 421
    assert "MEDR1_WEB_HOSTS" in answer.text


@pytest.mark.parametrize("host", ["", "a b", "localhost@evil", "localhost/x", "[::1"])
def test_requests_for_no_name_are_malformed(app, browse, host):
    assert browse(app).get("/sign-in", headers={"Host": host}).status_code == 400


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_health_is_told_under_any_name(app, browse, path):
    assert browse(app).get(path, headers={"Host": "10.0.0.7:8080"}).status_code in (200, 503)


def test_every_answer_has_the_headers(app, browse, sign_in, monkeypatch):
    client = browse(app, raise_server_exceptions=False)
    boss = sign_in(app, is_administrator=True, raise_server_exceptions=False)
    answers = [
        client.get("/sign-in"),
        client.get("/"),
        client.get("/unknown"),
        client.get("/healthz"),
        client.get("/api/v1/unknown"),
        client.get("/sign-in", headers={"Host": "evil"}),
        client.post("/sign-in", headers={"Origin": "https://evil"}),
        boss.get("/"),
    ]
    monkeypatch.setattr(app.state, "door", None)
    answers.append(boss.get("/accounts"))

    assert answers[-1].status_code == 500
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none';")
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "same-origin"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["cross-origin-opener-policy"] == "same-origin"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert "permissions-policy" in answer.headers


def test_static_files_may_be_kept_and_are_asked_for_again(app, browse):
    assert browse(app).get("/static/medr1.css").headers["cache-control"] == "no-cache"


def test_no_page_has_inline_script_or_style(app, browse, signed_in_client):
    pages = [signed_in_client.get(path).text for path in ("/", "/account", "/accounts")]
    pages.append(browse(app).get("/sign-in").text)

    for page in pages:
        assert "Research use only. Never for clinical decisions." in page
        assert not [bad for bad in ("<script>", "<style", " style=", " onclick=") if bad in page]
