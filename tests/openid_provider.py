"""A local OpenID provider that signs what a test tells it to."""

from __future__ import annotations

import base64
import hmac
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from authlib.oauth2.rfc7636 import create_s256_code_challenge
from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT_ID, CLIENT_SECRET = "medr1", "s3cret/with+signs"
CODE = "the code"


def encode(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


@dataclass
class StandIn:
    """The provider, while it is served; what it says of a person can be changed at any time."""

    issuer: str = ""
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "first"}))
    published: list[RSAKey] = field(default_factory=list)
    claims: dict[str, Any] = field(default_factory=dict)
    """Over those that a right answer has; None leaves one out."""
    algorithm: str = "RS256"
    now_s: float = 0.0
    asked: dict[str, str] = field(default_factory=dict)
    """The query that the browser came with."""
    requests: list[str] = field(default_factory=list)

    def sign(self) -> str:
        claims = {
            "iss": self.issuer,
            "aud": CLIENT_ID,
            "sub": "subject-1",
            "exp": self.now_s + 300,
            "iat": self.now_s,
            "nonce": self.asked.get("nonce"),
            "preferred_username": "Clara",
            "groups": ["lung-readers"],
        } | self.claims
        claims = {name: value for name, value in claims.items() if value is not None}
        header = {"alg": self.algorithm, "kid": self.key.kid}
        if self.algorithm in ("none", "HS256"):
            return self._sign_as_anybody(header, claims)
        return jwt.encode(header, claims, self.key, algorithms=[self.algorithm])

    def _sign_as_anybody(self, header: dict[str, Any], claims: dict[str, Any]) -> str:
        """Sign not at all, or with the public key as if it were a secret; joserfc would not."""
        signed = ".".join(encode(json.dumps(one).encode()) for one in (header, claims))
        public = self.key.as_pem(private=False)
        mac = hmac.digest(public, signed.encode(), "sha256") if self.algorithm != "none" else b""
        return f"{signed}.{encode(mac)}"

    def answer(self, method: str, path: str, body: str, headers: Any) -> tuple[int, Any]:
        self.requests.append(path)
        if path == "/.well-known/openid-configuration":
            return 200, {
                "issuer": self.issuer,
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token",
                "jwks_uri": f"{self.issuer}/keys",
            }
        if path == "/keys":
            keys = self.published or [self.key]
            return 200, {"keys": [key.as_dict(private=False) for key in keys]}
        form = {name: values[0] for name, values in parse_qs(body).items()}
        basic = base64.b64encode(b"medr1:s3cret%2Fwith%2Bsigns").decode()
        if (
            path != "/token"
            or headers["Authorization"] != f"Basic {basic}"
            or form["code"] != CODE
            or form["redirect_uri"] != self.asked["redirect_uri"]
            or create_s256_code_challenge(form["code_verifier"]) != self.asked["code_challenge"]
        ):
            return 400, {"error": "invalid_grant"}
        return 200, {"access_token": "a", "token_type": "Bearer", "id_token": self.sign()}

    def meet(self, location: str) -> str:
        """Take the browser that was sent here; returns the path and query it is sent back to."""
        self.asked = {k: v[0] for k, v in parse_qs(urlsplit(location).query).items()}
        assert location.startswith(f"{self.issuer}/authorize?")
        assert self.asked["code_challenge_method"] == "S256"
        back = urlsplit(self.asked["redirect_uri"])
        return f"{back.path}?code={CODE}&state={self.asked['state']}".replace(" ", "%20")


class ServedProvider:
    """Serves a stand-in on a free port of this machine."""

    def __enter__(self) -> StandIn:
        stand_in = StandIn()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.respond()

            def do_POST(self) -> None:
                self.respond()

            def respond(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length).decode()
                status, content = stand_in.answer(self.command, self.path, body, self.headers)
                data = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        stand_in.issuer = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        return stand_in

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
