"""Is an ID token for us, from the provider, and of now? (OpenID Connect Core 1.0, 3.1.3.7)

Pure: the keys and the time are handed in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from medr1_pacs.errors import SignInRefused
from medr1_pacs.openid.provider import Provider

ALGORITHMS = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
)  # fmt: skip
"""Of key pairs alone: by a secret that both sides know, or by none, anybody could sign."""
LEEWAY_S = 60
"""By how much the clocks of provider and service may differ."""
ISSUED_MAX_S = 600
"""How old an ID token may be that was asked for a moment ago."""


class KeyUnknown(Exception):
    """The token names a key that is not among those of the provider; it may be a new one."""


def read_claims(id_token: str, keys: KeySet) -> dict[str, Any]:
    """Return what an ID token says when the provider signed it.

    Raises
    ------
    SignInRefused
        It is malformed, or another signed it.
    KeyUnknown
        Its key is none of these.
    """
    try:
        kid = jws.extract_compact(id_token.encode()).headers().get("kid")
    except (JoseError, ValueError) as error:
        raise SignInRefused("the provider's answer is malformed") from error
    fitting = [key for key in keys.keys if key.key_type != "oct" and kid in (None, key.kid)]
    if not fitting:
        raise KeyUnknown
    for key in fitting:
        try:
            return dict(jwt.decode(id_token, key, algorithms=ALGORITHMS).claims)
        except (JoseError, ValueError):
            continue
    raise SignInRefused("the provider's answer is not signed by the provider")


def check_claims(
    claims: Mapping[str, Any], provider: Provider, *, nonce: str, now_s: float
) -> None:
    """Raise `SignInRefused` for a token of another issuer, client, time or sign-in."""
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    party = claims.get("azp")
    subject = claims.get("sub")
    checks = {
        "issuer": claims.get("iss") == provider.issuer,
        "audience": provider.client_id in audiences,
        "authorized party": party == provider.client_id or (party is None and len(audiences) == 1),
        "expiry": _seconds(claims, "exp") > now_s - LEEWAY_S,
        "time of issue": now_s - ISSUED_MAX_S - LEEWAY_S
        < _seconds(claims, "iat")
        < now_s + LEEWAY_S,
        "beginning": "nbf" not in claims or _seconds(claims, "nbf") < now_s + LEEWAY_S,
        "nonce": claims.get("nonce") == nonce,
        "subject": isinstance(subject, str) and bool(subject),
    }
    if wrong := [name for name, is_right in checks.items() if not is_right]:
        raise SignInRefused(f"the provider's answer has the wrong {', '.join(wrong)}")


def groups_of(claims: Mapping[str, Any], claim: str) -> frozenset[str]:
    """Return the groups that a token names; one alone may stand without a list."""
    groups = claims.get(claim)
    if isinstance(groups, str):
        return frozenset({groups})
    return frozenset(map(str, groups)) if isinstance(groups, list) else frozenset()


def _seconds(claims: Mapping[str, Any], name: str) -> float:
    value = claims.get(name)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else float("nan")
