"""The server itself: HTTPS by the certificate of a site, and no forwarding headers by default."""

from __future__ import annotations

import http.client
import ssl
import threading
import time
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from medr1_pacs.demo.tour import free_port
from medr1_pacs.errors import SettingInvalid, TransientError
from medr1_pacs.healthcheck import check_web
from medr1_pacs.settings import Settings
from medr1_pacs.web.server import serve

pytestmark = pytest.mark.parametrize("site", ["sqlite"], indirect=True)


@pytest.fixture
def certificate(tmp_path):
    """A certificate for this machine and its key, as PEM files."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "medr1")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    paths = tmp_path / "certificate.pem", tmp_path / "key.pem"
    paths[0].write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return paths


@pytest.fixture
def served(app, monkeypatch):
    """Serve the application in a thread; returns its port."""
    servers, threads = [], []
    start = uvicorn.Server.run

    def run(server, sockets=None):
        servers.append(server)
        start(server, sockets)

    monkeypatch.setattr(uvicorn.Server, "run", run)

    def served(**keywords):
        port = free_port()
        thread = threading.Thread(target=serve, args=(app, "127.0.0.1", port), kwargs=keywords)
        thread.start()
        threads.append(thread)
        deadline = time.monotonic() + 20
        while not (servers and servers[-1].started):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return port

    yield served
    for server in servers:
        server.should_exit = True
    for thread in threads:
        thread.join(20)


def ask(connection, **headers):
    connection.request("GET", "/sign-in", headers=headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer


def test_with_a_certificate_the_pages_are_served_by_https(served, certificate):
    port = served(certificate=certificate[0], key=certificate[1])
    context = ssl.create_default_context(cafile=str(certificate[0]))

    answer = ask(http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=context))

    assert answer.status == 200
    assert answer.headers["Set-Cookie"].startswith("__Host-medr1_")
    assert answer.headers["Strict-Transport-Security"]


def test_the_health_check_asks_by_https_where_there_is_a_certificate(served, certificate):
    port = served(certificate=certificate[0], key=certificate[1])

    check_web(Settings(web_port=port, web_certificate=certificate[0], web_key=certificate[1]))
    with pytest.raises(TransientError):
        check_web(Settings(web_port=port))


def test_a_program_on_this_machine_does_not_say_where_a_request_is_from(served):
    port = served()

    plain = ask(http.client.HTTPConnection("127.0.0.1", port, timeout=10))
    claimed = ask(
        http.client.HTTPConnection("127.0.0.1", port, timeout=10),
        **{"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "https"},
    )

    assert (plain.status, claimed.status) == (200, 403)
    assert "Strict-Transport-Security" not in claimed.headers


def test_a_certificate_that_cannot_be_used_is_a_wrong_setting(app, tmp_path):
    path = tmp_path / "empty.pem"
    path.touch()

    with pytest.raises(SettingInvalid, match="MEDR1_WEB_CERTIFICATE"):
        serve(app, "127.0.0.1", free_port(), certificate=path, key=path)
