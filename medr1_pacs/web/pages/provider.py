"""Signing in by the site's OpenID provider: to it, and back from it."""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from dataclasses import dataclass

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from medr1_pacs.db.provided_accounts import find_or_add_provided, set_provided_roles
from medr1_pacs.db.sign_ins import tell_failed_sign_in
from medr1_pacs.errors import AccountRefused, ProviderUnavailable, SignInRefused
from medr1_pacs.openid.claims import groups_of
from medr1_pacs.openid.client import Conversation, ProviderClient
from medr1_pacs.records.words import SignInMethod
from medr1_pacs.web.dependencies import CameBy, FrontDoor
from medr1_pacs.web.security.access import NotFound
from medr1_pacs.web.security.cookies import Cookie, read_cookie, remove_cookie, set_cookie
from medr1_pacs.web.security.door import Door, Transport
from medr1_pacs.web.security.entering import enter
from medr1_pacs.web.security.failures import insecure_message, refuse
from medr1_pacs.web.security.paths import safe_path

router = APIRouter()

CALLBACK = "/sign-in/provider/callback"
CONVERSATION_S = 600
"""How long somebody may take at the provider."""
_FAILED = " Begin again at the sign-in page."


@router.get("/sign-in/provider")
def go_to_provider(
    request: Request, transport: CameBy, door: FrontDoor, next: str = "/"
) -> Response:
    """Lead to the provider."""
    client = _client(request)
    if not transport.is_private:
        return refuse(request, insecure_message(request), 403)
    conversation = Conversation.begin()
    try:
        url = client.authorization_url(conversation, _callback_url(door, transport))
    except ProviderUnavailable as error:
        return _show_away(request, error)
    kept = _Kept(conversation, safe_path(next), door.now().timestamp())
    response = RedirectResponse(url, 303)
    set_cookie(response, Cookie.PROVIDER, kept.to_cookie(), transport, max_age_s=CONVERSATION_S)
    return response


@router.get(CALLBACK)
def come_back(
    request: Request,
    transport: CameBy,
    door: FrontDoor,
    code: str = "",
    state: str = "",
    iss: str | None = None,
) -> Response:
    """Sign in whom the provider sends back with a code."""
    client = _client(request)
    kept = _Kept.from_cookie(read_cookie(request, Cookie.PROVIDER) or "")
    try:
        if not transport.is_private:
            raise SignInRefused(insecure_message(request))
        if kept is None or door.now().timestamp() - kept.begun_at_s > CONVERSATION_S:
            raise SignInRefused("this sign-in was not begun in this browser, or too long ago")
        if not hmac.compare_digest(state.encode(), kept.conversation.state.encode()):
            raise SignInRefused("this answer belongs to another sign-in")
        if not code or iss not in (None, client.provider.issuer):
            raise SignInRefused("the provider did not sign you in")
        account_id = _identify(request, client, code, kept.conversation)
        response = enter(request, account_id, SignInMethod.PROVIDER, kept.following)
    except (SignInRefused, AccountRefused) as error:
        with request.app.state.database.write() as session:
            tell_failed_sign_in(session, None, SignInMethod.PROVIDER, address=transport.address)
        response = refuse(request, f"{error}.{_FAILED}", 403)
    except ProviderUnavailable as error:
        response = _show_away(request, error)
    remove_cookie(response, Cookie.PROVIDER, transport)
    return response


def _identify(
    request: Request, client: ProviderClient, code: str, conversation: Conversation
) -> int:
    """Return the account of whom the provider vouches for, with the roles its groups give now."""
    door: Door = request.app.state.door
    now, provider = door.now(), client.provider
    claims = client.redeem(
        code,
        conversation,
        _callback_url(door, request.state.transport),
        now_s=now.timestamp(),
    )
    given = provider.roles_of(groups_of(claims, provider.groups_claim))
    subject = claims["sub"]
    with request.app.state.database.write() as session:
        account_id = find_or_add_provided(
            session,
            provider.issuer,
            subject,
            wanted_name=str(claims.get("preferred_username") or subject),
            is_wanted=bool(given),
            now=now,
        )
        if account_id is not None:
            set_provided_roles(
                session,
                account_id,
                {(one.project, one.role) for one in given if one.project is not None},
                is_administrator=any(one.project is None for one in given)
                if provider.names_administrators
                else None,
                rules=door.rules,
                now=now,
            )
    if account_id is None or not given:
        raise SignInRefused("none of your groups has a role here: ask an administrator")
    return account_id


@dataclass(frozen=True, slots=True)
class _Kept:
    """What the browser brings back, in a cookie that no script reads."""

    conversation: Conversation
    following: str
    begun_at_s: float

    def to_cookie(self) -> str:
        one = self.conversation
        values = [one.state, one.nonce, one.code_verifier, self.following, self.begun_at_s]
        return base64.urlsafe_b64encode(json.dumps(values).encode()).decode()

    @classmethod
    def from_cookie(cls, text: str) -> _Kept | None:
        try:
            values = json.loads(base64.urlsafe_b64decode(text.encode()))
            state, nonce, verifier, following, begun_at_s = values
            return cls(
                Conversation(str(state), str(nonce), str(verifier)),
                safe_path(str(following)),
                float(begun_at_s),
            )
        except (binascii.Error, ValueError, TypeError):
            return None


def _client(request: Request) -> ProviderClient:
    client: ProviderClient | None = request.app.state.provider_client
    if client is None:
        raise NotFound("No provider is configured here.")
    return client


def _callback_url(door: Door, transport: Transport) -> str:
    return (door.url.rstrip("/") or transport.origin) + CALLBACK


def _show_away(request: Request, error: Exception) -> Response:
    local = (
        " Whoever has a local account can sign in by it meanwhile."
        if request.app.state.door.has_local_accounts
        else ""
    )
    return refuse(request, f"{error}. Try again in a while.{local}", 503)
