"""Signing in by an OpenID provider, against one that is served here."""

from __future__ import annotations

import re

import pytest
from fakes import FakeClock
from joserfc.jwk import RSAKey
from openid_provider import CLIENT_ID, CLIENT_SECRET, ServedProvider

from medr1_pacs.db.accounts import give_role, list_accounts
from medr1_pacs.db.tables import AuditEvent
from medr1_pacs.openid import Provider
from medr1_pacs.projects import Project, ProjectRules
from medr1_pacs.provider_roles import GroupRole
from medr1_pacs.records.words import Role

pytestmark = pytest.mark.parametrize("site", ["sqlite"], indirect=True)

RULES = ProjectRules((Project("default"), Project("lung")))
GROUP_ROLES = (
    GroupRole("lung-readers", Role.READER, "lung"),
    GroupRole("lung-research", Role.RESEARCHER, "lung"),
    GroupRole("it", Role.ADMINISTRATOR, None),
)


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def idp(clock):
    with ServedProvider() as stand_in:
        stand_in.now_s = clock.now().timestamp()
        yield stand_in


@pytest.fixture
def app(make_pages, idp, clock):
    provider = Provider(
        issuer=idp.issuer,
        client_id=CLIENT_ID,
        client_secret=CLIENT_SECRET,
        group_roles=GROUP_ROLES,
    )
    return make_pages(
        url="http://127.0.0.1",
        provider=provider,
        rules=RULES,
        now=clock.now,
        monotonic=clock.monotonic,
    )


@pytest.fixture
def client(app, browse):
    return browse(app)


@pytest.fixture
def accounts(database):
    """Return name -> account."""

    def accounts():
        with database.read() as session:
            return {account.name: account for account in list_accounts(session)}

    return accounts


def sign_in(client, idp, following="/account"):
    """Go to the provider and come back; returns the answer to coming back."""
    answer = client.get("/sign-in/provider", params={"next": following})
    return client.get(idp.meet(answer.headers["location"]))


def is_signed_in(client):
    return client.get("/account").status_code == 200


def test_whom_the_provider_vouches_for_comes_in_with_the_roles_of_their_groups(
    client, idp, accounts
):
    answer = sign_in(client, idp, "/account?tab=tokens")

    assert (answer.status_code, answer.headers["location"]) == (303, "/account?tab=tokens")
    assert is_signed_in(client)
    account = accounts()["clara"]
    assert [(one.project, one.role, one.is_from_provider) for one in account.roles] == [
        ("lung", Role.READER, True)
    ]
    assert account.is_from_provider
    assert not account.has_password


def test_the_second_sign_in_is_of_the_same_account_under_another_name(client, idp, accounts):
    sign_in(client, idp)
    idp.claims = {"preferred_username": "clara-married"}
    sign_in(client, idp)

    assert list(accounts()) == ["clara"]


def test_what_the_provider_publishes_is_read_once(client, idp):
    for _ in range(3):
        sign_in(client, idp)

    assert idp.requests.count("/.well-known/openid-configuration") == 1
    assert idp.requests.count("/keys") == 1


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"nonce": "another"}, "nonce"),
        ({"nonce": None}, "nonce"),
        ({"iss": "https://evil.example"}, "issuer"),
        ({"aud": "another"}, "audience"),
        ({"aud": None}, "audience"),
        ({"aud": [CLIENT_ID, "another"]}, "authorized party"),
        ({"azp": "another"}, "authorized party"),
        ({"exp": 1_000}, "expiry"),
        ({"exp": None}, "expiry"),
        ({"iat": 1_000}, "time of issue"),
        ({"iat": 9_999_999_999}, "time of issue"),
        ({"iat": None}, "time of issue"),
        ({"nbf": 9_999_999_999}, "beginning"),
        ({"sub": None}, "subject"),
        ({"sub": ""}, "subject"),
    ],
)
def test_an_answer_that_is_not_for_this_sign_in_is_refused(client, idp, accounts, claims, why):
    idp.claims = claims

    answer = sign_in(client, idp)

    assert (answer.status_code, why in answer.text) == (403, True)
    assert not is_signed_in(client)
    assert accounts() == {}


def test_several_audiences_are_good_when_we_are_the_authorized_party(client, idp):
    idp.claims = {"aud": [CLIENT_ID, "another"], "azp": CLIENT_ID}

    assert sign_in(client, idp).status_code == 303


@pytest.mark.parametrize("algorithm", ["none", "HS256"])
def test_an_answer_that_anybody_could_have_signed_is_refused(client, idp, algorithm):
    idp.algorithm = algorithm

    answer = sign_in(client, idp)

    assert (answer.status_code, "not signed by the provider" in answer.text) == (403, True)
    assert not is_signed_in(client)


@pytest.mark.parametrize("algorithm", ["RS512", "PS256"])
def test_an_answer_by_another_algorithm_of_key_pairs_is_good(client, idp, algorithm):
    idp.algorithm = algorithm

    assert sign_in(client, idp).status_code == 303


@pytest.mark.parametrize("kid", ["first", "another"])
def test_an_answer_that_another_key_signed_is_refused(client, idp, kid):
    idp.published = [idp.key]
    idp.key = RSAKey.generate_key(2048, {"kid": kid})

    assert sign_in(client, idp).status_code == 403
    assert not is_signed_in(client)


def test_a_new_key_of_the_provider_is_fetched_once(client, idp):
    sign_in(client, idp)
    idp.key = RSAKey.generate_key(2048, {"kid": "second"})

    assert sign_in(client, idp).status_code == 303
    assert sign_in(client, idp).status_code == 303
    assert idp.requests.count("/keys") == 2


def test_an_answer_with_another_state_is_refused_and_its_code_not_redeemed(client, idp):
    back = idp.meet(client.get("/sign-in/provider").headers["location"])
    answer = client.get(back.replace("state=", "state=x"))

    assert answer.status_code == 403
    assert "/token" not in idp.requests


def test_an_answer_to_another_browser_is_refused(app, browse, client, idp):
    back = idp.meet(client.get("/sign-in/provider").headers["location"])

    assert browse(app).get(back).status_code == 403
    assert client.get(back).status_code == 303


def test_an_answer_is_taken_once(client, idp):
    back = idp.meet(client.get("/sign-in/provider").headers["location"])

    assert client.get(back).status_code == 303
    assert client.get(back).status_code == 403


def test_whoever_takes_longer_than_ten_minutes_begins_again(client, idp, clock):
    back = idp.meet(client.get("/sign-in/provider").headers["location"])
    clock.pass_s(601)

    assert client.get(back).status_code == 403


@pytest.mark.parametrize("query", ["error=access_denied&state=", "iss=https://evil&code=x&state="])
def test_somebody_the_provider_sends_back_without_a_yes_is_not_signed_in(client, idp, query):
    idp.meet(client.get("/sign-in/provider").headers["location"])
    answer = client.get(f"/sign-in/provider/callback?{query}{idp.asked['state']}")

    assert answer.status_code == 403


def test_a_wrong_code_is_refused(client, idp):
    back = idp.meet(client.get("/sign-in/provider").headers["location"])

    assert client.get(back.replace("code=the", "code=a")).status_code == 403


def test_somebody_without_a_group_that_counts_is_not_let_in_and_gets_no_account(
    client, idp, accounts
):
    idp.claims = {"groups": ["cooks"]}

    answer = sign_in(client, idp)

    assert (answer.status_code, "None of your groups" in answer.text) == (403, True)
    assert accounts() == {}


def test_groups_are_looked_at_again_at_every_sign_in(client, idp, accounts, database, clock):
    sign_in(client, idp)
    with database.write() as session:
        give_role(
            session, "clara", Role.AUDITOR, "default", rules=RULES, actor="x", now=clock.now()
        )

    def sign_in_with(*groups):
        idp.claims = {"groups": list(groups)}
        status = sign_in(client, idp).status_code
        account = accounts()["clara"]
        return status, account.is_administrator, [(g.project, g.role) for g in account.roles]

    local = ("default", Role.AUDITOR)
    assert sign_in_with("lung-research", "it") == (
        303,
        True,
        [local, ("lung", Role.RESEARCHER)],
    )
    assert sign_in_with("lung-readers") == (303, False, [local, ("lung", Role.READER)])
    assert sign_in_with("cooks") == (403, False, [local])


def test_a_local_account_of_the_same_name_is_not_taken_over(client, idp, accounts, have_account):
    have_account("clara", is_administrator=True)

    sign_in(client, idp)

    found = accounts()
    assert set(found) == {"clara", "clara-2"}
    assert not found["clara"].is_from_provider
    assert not found["clara-2"].is_administrator


def test_whoever_comes_from_the_provider_cannot_set_a_password_to_come_in_without_it(
    client, idp, accounts
):
    sign_in(client, idp)
    page = client.get("/account").text
    token = re.search(r'csrf_token" value="(\w+)"', page)[1]
    new = "seven green bicycles"
    form = {"new_password": new, "repeated": new, "csrf_token": token}

    assert "new_password" not in page
    assert client.post("/account/password", data=form).status_code == 400
    assert not accounts()["clara"].has_password


def test_a_failed_sign_in_is_an_event(client, idp, rows):
    idp.claims = {"nonce": "another"}
    sign_in(client, idp)

    [event] = rows(AuditEvent)
    assert (event.action, event.new_value["method"]) == ("account.sign_in_failed", "provider")


def test_a_provider_that_is_away_is_said_and_local_accounts_go_on(make_pages, browse):
    provider = Provider(issuer="http://127.0.0.1:9", client_id="x", group_roles=GROUP_ROLES)
    client = browse(make_pages(provider=provider))

    answer = client.get("/sign-in/provider")

    assert answer.status_code == 503
    assert "local account" in answer.text
    assert 'name="password"' in client.get("/sign-in").text


def test_a_discovery_document_of_another_issuer_is_not_believed(client, idp):
    idp.issuer += "/other"

    assert client.get("/sign-in/provider").status_code == 503


def test_without_a_provider_there_is_no_such_page(make_pages, browse):
    client = browse(make_pages())

    assert client.get("/sign-in/provider").status_code == 404
    assert "/sign-in/provider" not in client.get("/sign-in").text
