"""The conversation with the provider: discovery, keys, and a code for an ID token."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from medr1_pacs.errors import ProviderUnavailable, SignInRefused
from medr1_pacs.openid.claims import KeyUnknown, check_claims, read_claims
from medr1_pacs.openid.provider import Provider
from medr1_pacs.tokens import make_token

SCOPE = "openid profile"
_TIMEOUT_S = 10.0
_ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri")


@dataclass(frozen=True, slots=True)
class Conversation:
    """What a browser keeps between leaving for the provider and coming back."""

    state: str
    nonce: str
    code_verifier: str

    @classmethod
    def begin(cls) -> Conversation:
        return cls(make_token(), make_token(), make_token())


class ProviderClient:
    """Talks to one provider; what it publishes is read at first use and kept.

    Every method raises `ProviderUnavailable` when the provider does not answer, or not as one.
    """

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        self._lock = threading.Lock()
        self._metadata: dict[str, Any] | None = None
        self._keys: KeySet | None = None

    def authorization_url(self, conversation: Conversation, redirect_uri: str) -> str:
        """Return where the browser goes (PKCE: RFC 7636)."""
        url: str = prepare_grant_uri(
            self._read_metadata()["authorization_endpoint"],
            client_id=self.provider.client_id,
            response_type="code",
            redirect_uri=redirect_uri,
            scope=SCOPE,
            state=conversation.state,
            nonce=conversation.nonce,
            code_challenge=create_s256_code_challenge(conversation.code_verifier),
            code_challenge_method="S256",
        )
        return url

    def redeem(
        self, code: str, conversation: Conversation, redirect_uri: str, *, now_s: float
    ) -> dict[str, Any]:
        """Return the claims about who came back with a code; raises `SignInRefused`."""
        id_token = self._fetch_id_token(code, conversation, redirect_uri)
        try:
            claims = read_claims(id_token, self._read_keys())
        except KeyUnknown:
            try:  # the provider may have changed its key since
                claims = read_claims(id_token, self._read_keys(anew=True))
            except KeyUnknown as error:
                raise SignInRefused("the provider's answer is signed by an unknown key") from error
        check_claims(claims, self.provider, nonce=conversation.nonce, now_s=now_s)
        return claims

    def _fetch_id_token(self, code: str, conversation: Conversation, redirect_uri: str) -> str:
        metadata, provider = self._read_metadata(), self.provider
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": conversation.code_verifier,
        }
        authentication: tuple[str, str] | None = None
        methods = metadata.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        if provider.client_secret is not None and "client_secret_basic" in methods:
            # RFC 6749 2.3.1: both are form-encoded before they become a user and a password.
            authentication = (quote(provider.client_id, ""), quote(provider.client_secret, ""))
        else:
            form["client_id"] = provider.client_id
            if provider.client_secret is not None:
                form["client_secret"] = provider.client_secret
        answer = self._ask("POST", metadata["token_endpoint"], form, authentication)
        if not isinstance(answer.get("id_token"), str):
            raise SignInRefused("the provider did not accept this sign-in: begin again")
        return str(answer["id_token"])

    def _read_metadata(self) -> dict[str, Any]:
        """Read the discovery document (OpenID Connect Discovery 1.0, 4)."""
        with self._lock:
            if self._metadata is None:
                issuer = self.provider.issuer
                url = issuer.rstrip("/") + "/.well-known/openid-configuration"
                metadata = self._ask("GET", url)
                if metadata.get("issuer") != issuer:
                    raise ProviderUnavailable(f"{url} is of another issuer than {issuer}")
                for name in _ENDPOINTS:
                    self._check_endpoint(name, metadata.get(name))
                self._metadata = metadata
            return self._metadata

    def _check_endpoint(self, name: str, url: object) -> None:
        # http only where the issuer itself is, on this machine.
        schemes = ("https://",) if self.provider.issuer.startswith("https://") else ("http",)
        if not isinstance(url, str) or not url.startswith(schemes):
            raise ProviderUnavailable(f"the provider names no {name} that can be used")

    def _read_keys(self, *, anew: bool = False) -> KeySet:
        url = self._read_metadata()["jwks_uri"]
        with self._lock:
            if self._keys is None or anew:
                try:
                    given = self._ask("GET", url)
                    self._keys = KeySet.import_key_set(given)  # type: ignore[arg-type] # - unchecked
                except (JoseError, KeyError, TypeError, ValueError) as error:
                    raise ProviderUnavailable(f"{url} holds no keys") from error
            return self._keys

    def _ask(
        self,
        method: str,
        url: str,
        form: Mapping[str, str] | None = None,
        authentication: tuple[str, str] | None = None,
    ) -> dict[str, Any]:
        try:
            answer = httpx.request(method, url, data=form, auth=authentication, timeout=_TIMEOUT_S)
            content = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            name = type(error).__name__
            raise ProviderUnavailable(f"the provider does not answer at {url} ({name})") from error
        if answer.status_code >= 500 or not isinstance(content, dict):
            raise ProviderUnavailable(f"the provider answers {answer.status_code} at {url}")
        return content
