"""Signing in and out, and what is shown to those who may not: over HTTP, as a browser does it."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from datetime import UTC, datetime, timedelta
from html import unescape

import httpx
import pytest
from fakes import FakeClock, make_passwords
from pwdlib.hashers.argon2 import Argon2Hasher
from sqlalchemy import update

from medr1_pacs.db.accounts import (
    close_account,
    find_credentials,
    list_accounts,
    remove_role,
    set_password,
)
from medr1_pacs.db.sign_ins import make_link
from medr1_pacs.db.tables import AccountSession, AuditEvent, KnownDevice, SignInLink
from medr1_pacs.errors import DatabaseUnavailable
from medr1_pacs.passwords import Passwords
from medr1_pacs.records.people import Scope
from medr1_pacs.records.words import Role
from medr1_pacs.steps.tidying import tidy
from medr1_pacs.web.security.access import NotFound, OperationsReader, SignedIn
from medr1_pacs.web.security.callers import STRANGERS_BODY_MAX

pytestmark = pytest.mark.parametrize("site", ["sqlite"], indirect=True)

PASSWORD = "coffee table lantern"


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def app(make_pages, clock):
    return make_pages(now=clock.now, monotonic=clock.monotonic)


@pytest.fixture
def have_password(have_account, database, clock):
    """Make sure that an account has a password."""

    def have_password(account="anna", **keywords):
        account_id = have_account(account, **keywords)
        with database.write() as session:
            password_hash = make_passwords().hash(PASSWORD)
            set_password(session, account_id, password_hash, actor="test", now=clock.now())
        return account_id

    return have_password


@pytest.fixture
def link_for(have_account, database, clock):
    """Make a one-time link; returns its path."""

    def link_for(account="anna", **keywords):
        account_id = have_account(account, **keywords)
        with database.write() as session:
            token = make_link(session, account_id, actor="test", now=clock.now())
        return f"/sign-in/link/{token}"

    return link_for


def csrf_token(client, path):
    """Return what the first form of a page carries."""
    return re.search(r'name="csrf_token" value="(\w+)"', client.get(path).text)[1]


def type_password(client, password=PASSWORD, name="anna", **fields):
    """Open the sign-in page, fill its form, and send it."""
    form = {"name": name, "password": password, "csrf_token": csrf_token(client, "/sign-in")}
    return client.post("/sign-in", data=form | fields)


def is_signed_in(client):
    return client.get("/account").status_code == 200


# -- by a password -----------------------------------------------------------------------------


def test_the_right_password_lets_in_and_leads_to_the_page_that_was_asked_for(
    app, browse, have_password
):
    have_password()
    client = browse(app)

    asked = client.get("/account?tab=tokens")
    assert asked.headers["location"] == "/sign-in?next=/account%3Ftab%3Dtokens"
    answer = type_password(client, next="/account?tab=tokens")

    assert (answer.status_code, answer.headers["location"]) == (303, "/account?tab=tokens")
    assert is_signed_in(client)


@pytest.mark.parametrize("name", ["anna", "nobody", ""])
def test_a_wrong_password_and_a_wrong_name_are_answered_alike(app, browse, have_password, name):
    have_password()
    client = browse(app)

    answer = type_password(client, "wrong", name=name)

    assert answer.status_code == 403
    assert "The name or the password is wrong." in answer.text
    assert not is_signed_in(client)


def test_a_closed_account_is_a_wrong_name(app, browse, have_password, database, clock):
    have_password()
    with database.write() as session:
        close_account(session, "anna", actor="test", now=clock.now())

    assert type_password(browse(app)).status_code == 403


@pytest.mark.parametrize(
    "following",
    ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)", "/a\nb"],
)
def test_nobody_is_led_to_another_site(app, browse, have_password, following):
    have_password()

    assert type_password(browse(app), next=following).headers["location"] == "/"


def test_the_cookie_is_for_this_service_and_no_script(app, browse, have_password):
    have_password()
    cookies = type_password(browse(app)).headers.get_list("set-cookie")

    [session] = [cookie for cookie in cookies if cookie.startswith("medr1_session=")]
    assert {part.strip() for part in session.split(";")[1:]} == {
        "HttpOnly",
        "Path=/",
        "SameSite=lax",
    }


def test_over_https_the_cookies_have_the_prefix_that_binds_them(app, browse, have_password):
    have_password()
    answer = type_password(browse(app, base_url="https://127.0.0.1"))

    cookies = [
        cookie for cookie in answer.headers.get_list("set-cookie") if "Max-Age=0" not in cookie
    ]
    assert len(cookies) == 2
    assert all(cookie.startswith("__Host-medr1_") and "Secure" in cookie for cookie in cookies)


def test_every_sign_in_has_a_new_secret_and_ends_the_one_before(app, browse, have_password, rows):
    have_password()
    client = browse(app)
    type_password(client)
    first = client.cookies["medr1_session"]
    client.cookies.set("medr1_session", first)
    form = {"name": "anna", "password": PASSWORD, "csrf_token": csrf_token(client, "/account")}
    answer = client.post("/sign-in", data=form)

    assert f"medr1_session={first}" not in answer.headers["set-cookie"]
    assert [row.ended_at is None for row in rows(AccountSession)] == [False, True]


def test_attempts_are_events_and_hold_no_password_and_no_unknown_name(
    app, browse, have_password, rows
):
    have_password()
    client = browse(app)
    type_password(client, "wrong")
    type_password(client, "wrong", name="secret-typed-as-name")
    type_password(client)

    told = [e for e in rows(AuditEvent) if e.action.startswith("account.sign")]
    assert [(e.action, e.object_id is not None) for e in told] == [
        ("account.sign_in_failed", True),
        ("account.sign_in_failed", False),
        ("account.signed_in", True),
    ]
    assert told[-1].actor == "anna"
    everything = " ".join(f"{e.old_value} {e.new_value} {e.reason} {e.actor}" for e in told)
    assert "wrong" not in everything
    assert "secret-typed-as-name" not in everything
    assert PASSWORD not in everything


def test_a_hash_with_old_parameters_is_replaced_at_sign_in(app, browse, have_password, database):
    account_id = have_password()
    with database.write() as session:
        old = find_credentials(session, "anna").password_hash
    object.__setattr__(app.state.door, "passwords", Passwords(Argon2Hasher(2, 16, 1)))
    assert type_password(browse(app)).status_code == 303

    with database.read() as session:
        new = find_credentials(session, "anna")
    assert new.account_id == account_id
    assert new.password_hash != old
    assert type_password(browse(app)).status_code == 303


# -- guessers ----------------------------------------------------------------------------------


def test_a_thousand_wrong_passwords_neither_get_in_nor_lock_the_owner_out(
    app, browse, have_password, link_for, clock
):
    have_password()
    known, guesser = browse(app), browse(app)
    type_password(known)
    known.cookies.delete("medr1_session")
    clock.pass_s(3_600)
    form = {"name": "anna", "csrf_token": csrf_token(guesser, "/sign-in")}

    answers = [
        guesser.post("/sign-in", data=form | {"password": f"guess {number}"})
        for number in range(1_000)
    ]

    assert [answer.status_code for answer in answers] == [403] * 10 + [429] * 990
    assert type_password(browse(app)).status_code == 429  # the owner, at the guesser's address
    assert type_password(known).status_code == 303
    assert (
        type_password(browse(app, base_url="https://127.0.0.1", client=("10.1.1.1", 1))).status_code
        == 303
    )
    clock.pass_s(5)
    assert type_password(browse(app)).status_code == 303
    client, path = browse(app), link_for()
    token = csrf_token(client, path)
    assert client.post(path, data={"csrf_token": token}).status_code == 303


def test_a_refused_attempt_says_when_the_next_is_possible(app, browse, have_password):
    have_password()
    client = browse(app)
    for _ in range(10):
        type_password(client, "wrong")

    answer = type_password(client)

    assert (answer.status_code, answer.headers["retry-after"]) == (429, "5")
    assert "possible in 5 s, at 12:00:05 UTC" in answer.text


def test_a_known_device_of_another_account_helps_a_guesser_nothing(app, browse, have_password):
    have_password("anna")
    have_password("mallory")
    client, mallory = browse(app), browse(app)
    type_password(mallory, name="mallory")
    mallory.cookies.delete("medr1_session")
    for _ in range(10):
        type_password(client, "wrong")

    assert type_password(mallory, "wrong").status_code == 429


def test_no_stranger_sends_more_than_a_form(app, browse):
    client = browse(app)

    assert client.post("/sign-in", content=b"x" * (STRANGERS_BODY_MAX + 1)).status_code == 413


def test_two_passwords_are_looked_at_at_once_whoever_waits(make_pages, have_password):
    class SlowHasher(Argon2Hasher):
        running, most = 0, 0
        lock = threading.Lock()

        def verify(self, password, hash):
            with self.lock:
                SlowHasher.running += 1
                SlowHasher.most = max(SlowHasher.most, SlowHasher.running)
            time.sleep(0.02)
            with self.lock:
                SlowHasher.running -= 1
            return super().verify(password, hash)

    have_password()
    app = make_pages()
    object.__setattr__(app.state.door, "passwords", Passwords(SlowHasher(1, 8, 1)))

    async def guess_at_once():
        transport = httpx.ASGITransport(app, client=("127.0.0.1", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            page = (await client.get("/sign-in")).text
            token = re.search(r'csrf_token" value="(\w+)"', page)[1]
            form = {"name": "anna", "password": "wrong", "csrf_token": token}
            sent = (client.post("/sign-in", data=form) for _ in range(8))
            return [answer.status_code for answer in await asyncio.gather(*sent)]

    assert asyncio.run(guess_at_once()) == [403] * 8
    assert SlowHasher.most == 2


# -- by a link ---------------------------------------------------------------------------------


def test_looking_at_a_link_does_not_spend_it(app, browse, link_for):
    path = link_for()
    for _ in range(3):
        assert browse(app).get(path).status_code == 200
    client = browse(app)

    answer = client.post(path, data={"csrf_token": csrf_token(client, path)})

    assert answer.headers["location"] == "/account"
    assert is_signed_in(client)


def test_a_used_link_lets_nobody_in(app, browse, link_for):
    path = link_for()
    for status in (303, 403):
        client = browse(app)
        answer = client.post(path, data={"csrf_token": csrf_token(client, path)})
        assert answer.status_code == status
    assert not is_signed_in(client)


def test_whoever_came_by_a_link_sets_a_password_without_the_old_one(
    app, browse, have_password, link_for
):
    have_password()
    path, client = link_for(), browse(app)
    client.post(path, data={"csrf_token": csrf_token(client, path)})
    new = "seven green bicycles"
    form = {"new_password": new, "repeated": new, "csrf_token": csrf_token(client, "/account")}

    assert client.post("/account/password", data=form).status_code == 200
    assert type_password(browse(app), PASSWORD).status_code == 403
    assert type_password(browse(app), new).status_code == 303


def test_without_local_accounts_a_link_lets_administrators_in_alone(make_pages, browse, link_for):
    app = make_pages(has_local_accounts=False)
    for keywords, status in (({}, 403), ({"is_administrator": True}, 303)):
        name = "boss" if keywords else "anna"
        path, client = link_for(name, **keywords), browse(app)
        # The clock of this application is the real one: the link is made anew by it.
        with app.state.database.write() as session:
            account_id = find_credentials(session, name).account_id
            token = make_link(session, account_id, actor="test", now=app.state.door.now())
        path = f"/sign-in/link/{token}"
        answer = client.post(path, data={"csrf_token": csrf_token(client, path)})
        assert answer.status_code == status


def test_without_local_accounts_the_right_password_lets_nobody_in(
    make_pages, browse, have_password
):
    have_password()
    client = browse(make_pages(has_local_accounts=False))
    client.get("/sign-in/link/any")
    form = {"name": "anna", "password": PASSWORD}
    form["csrf_token"] = csrf_token(client, "/sign-in/link/any")

    assert client.post("/sign-in", data=form).status_code == 403
    assert not is_signed_in(client)


# -- whose form --------------------------------------------------------------------------------


FORMS = [
    "/sign-out",
    "/account/tokens",
    "/account/password",
    "/account/sessions/1/end",
    "/account/tokens/1/revoke",
    "/accounts",
    "/accounts/anna/close",
    "/accounts/anna/link",
    "/accounts/anna/roles",
]


@pytest.mark.parametrize("path", FORMS)
@pytest.mark.parametrize("given", [None, "", "0" * 64, "é"])
def test_a_form_without_the_token_of_its_session_changes_nothing(app, sign_in, rows, path, given):
    client = sign_in(app, is_administrator=True)
    del client.headers["X-CSRF-Token"]
    before = len(rows(AuditEvent))

    answer = client.post(path, data={} if given is None else {"csrf_token": given})

    assert answer.status_code == 403
    assert len(rows(AuditEvent)) == before


def test_the_token_of_another_session_is_none(app, sign_in):
    anna, bert = sign_in(app, "anna"), sign_in(app, "bert")
    anna.headers["X-CSRF-Token"] = bert.headers["X-CSRF-Token"]

    assert anna.post("/sign-out").status_code == 403


def test_the_sign_in_form_belongs_to_the_browser_that_it_was_given_to(app, browse, have_password):
    have_password()
    others = csrf_token(browse(app), "/sign-in")
    client = browse(app)

    assert type_password(client, csrf_token=others).status_code == 403
    form = {"name": "anna", "password": PASSWORD}
    assert browse(app).post("/sign-in", data=form).status_code == 403


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 303),
        ({"Sec-Fetch-Site": "none"}, 303),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:81"}, 403),
        ({"Origin": "https://127.0.0.1"}, 403),
        ({"Origin": "http://127.0.0.1"}, 303),
        ({"Origin": "null", "Sec-Fetch-Site": "same-origin"}, 303),
        ({}, 303),
    ],
)
def test_what_another_sites_page_sends_is_refused_even_with_the_token(
    app, sign_in, headers, status
):
    assert sign_in(app).post("/sign-out", headers=headers).status_code == status


# -- who asks ----------------------------------------------------------------------------------


def test_signing_out_ends_the_session_and_not_the_browsers_cookie_alone(app, sign_in):
    client = sign_in(app)
    secret = client.cookies["medr1_session"]

    assert client.post("/sign-out").headers["location"] == "/sign-in"
    client.cookies.set("medr1_session", secret)
    assert not is_signed_in(client)


def test_a_session_that_idled_leads_to_the_sign_in(app, sign_in, clock):
    client = sign_in(app)
    clock.pass_s(3_599)
    assert is_signed_in(client)
    clock.pass_s(3_599)
    assert is_signed_in(client)  # the request before was seen
    clock.pass_s(3_600)
    assert client.get("/account").headers["location"] == "/sign-in?next=/account"


def test_a_role_that_is_taken_ends_at_once(app, sign_in, have_account, database):
    have_account("other", is_administrator=True)
    client = sign_in(app, is_administrator=True)
    assert client.get("/accounts").status_code == 200
    with database.write() as session:
        remove_role(session, "anna", Role.ADMINISTRATOR, None, actor="test")

    assert client.get("/accounts").status_code == 403


@pytest.mark.parametrize("path", ["/operations", "/accounts"])
def test_pages_of_administrators_are_theirs_alone(app, browse, sign_in, path):
    assert browse(app).get(path).status_code == 303
    assert (
        sign_in(app, roles={"lung": ["researcher", "auditor", "reader"]}).get(path).status_code
        == 403
    )
    assert sign_in(app, "boss", is_administrator=True).get(path).status_code == 200


@pytest.mark.parametrize("path", ["/healthz", "/static/medr1.css", "/sign-in"])
def test_what_is_open_needs_nobody(app, browse, path):
    assert browse(app).get(path).status_code == 200


def test_a_token_is_for_the_api_alone(app, give_token):
    program = give_token(app, is_administrator=True)

    assert program.get("/").status_code == 303


@pytest.fixture
def api(app):
    """The application with two routes of an API, as later ones will be."""

    @app.get("/api/v1/me")
    def me(caller: SignedIn) -> dict[str, object]:
        return {"account": caller.account, "scopes": sorted(caller.scopes or ())}

    @app.post("/api/v1/work")
    def work(caller: OperationsReader) -> dict[str, str]:
        return {"account": caller.account}

    @app.get("/api/v1/none")
    def none(caller: SignedIn) -> None:
        raise NotFound("there is no such thing")

    return app


def test_a_program_with_a_token_is_its_account(api, give_token):
    answer = give_token(api, scopes=[Scope.ANSWERS_READ]).get("/api/v1/me")

    assert answer.json() == {"account": "anna", "scopes": ["answers:read"]}


def test_a_program_needs_no_form_and_its_scopes_bind_it(api, give_token):
    allowed = give_token(api, is_administrator=True, scopes=[Scope.OPERATIONS_READ])
    lacking = give_token(api, is_administrator=True, scopes=[Scope.ANSWERS_READ])

    assert allowed.post("/api/v1/work").status_code == 200
    assert lacking.post("/api/v1/work").status_code == 403


@pytest.mark.parametrize("token", ["", "medr1_", "medr1_wrong", "other"])
def test_without_a_valid_token_the_api_asks_for_one(api, browse, token):
    answer = browse(api).get("/api/v1/me", headers={"Authorization": f"Bearer {token}"})

    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert "detail" in answer.json()


def test_a_token_that_others_could_read_is_not_believed_and_the_program_is_told(api, give_token):
    program = give_token(api)
    program.headers["X-Forwarded-For"] = "192.0.2.9"  # of a proxy that nobody named

    answer = program.get("/api/v1/me")

    assert answer.status_code == 401
    assert "MEDR1_TRUSTED_PROXIES" in answer.json()["detail"]


def test_a_request_with_a_wrong_token_is_not_the_one_of_the_cookie(api, sign_in):
    client = sign_in(api)

    assert client.get("/api/v1/me").status_code == 200
    headers = {"Authorization": "Bearer medr1_wrong"}
    assert client.get("/api/v1/me", headers=headers).status_code == 401


def test_a_browser_at_the_api_needs_the_token_of_its_forms(api, sign_in):
    client = sign_in(api, is_administrator=True)
    assert client.post("/api/v1/work").status_code == 200
    del client.headers["X-CSRF-Token"]

    assert client.post("/api/v1/work").status_code == 403


def test_refusals_are_json_for_programs_and_pages_for_people(api, app, browse, sign_in):
    client = sign_in(api)

    assert client.get("/api/v1/none").json() == {"detail": "there is no such thing"}
    assert client.get("/api/v1/unknown").status_code == 404
    assert "<h1>Not found</h1>" in client.get("/unknown").text
    assert "<h1>Not allowed</h1>" in client.get("/accounts").text


def test_a_database_that_is_away_is_no_sign_out(app, sign_in, monkeypatch):
    client = sign_in(app)

    def away():
        raise DatabaseUnavailable("the database does not answer")

    monkeypatch.setattr(app.state.database, "read", away)
    answer = client.get("/account")

    assert answer.status_code == 503
    assert "back as soon as the database is" in answer.text


# -- one's own account, and everybody's --------------------------------------------------------


def test_a_token_made_on_the_page_is_shown_once_and_works(api, sign_in, browse):
    client = sign_in(api, roles={"lung": ["researcher"]})
    form = {"name": "notebook", "scopes": ["answers:read"], "project": "lung", "days": "30"}

    page = client.post("/account/tokens", data=form).text

    [secret] = re.findall(r"medr1_[\w-]{43}", page)
    assert secret not in client.get("/account").text
    headers = {"Authorization": f"Bearer {secret}"}
    assert browse(api).get("/api/v1/me", headers=headers).json()["account"] == "anna"
    [token_id] = re.findall(r"/account/tokens/(\d+)/revoke", client.get("/account").text)
    client.post(f"/account/tokens/{token_id}/revoke")
    assert browse(api).get("/api/v1/me", headers=headers).status_code == 401


def test_a_token_that_cannot_be_is_refused_with_the_reason(app, sign_in):
    answer = sign_in(app).post("/account/tokens", data={"name": "x", "days": "30"})

    assert answer.status_code == 400
    assert "needs a scope" in answer.text


@pytest.mark.parametrize(
    ("form", "why"),
    [
        ({"password": "wrong"}, "present password is wrong"),
        ({"repeated": "other"}, "differ"),
        ({"new_password": "short", "repeated": "short"}, "at least 12"),
    ],
)
def test_a_password_is_changed_by_whoever_knows_it(app, browse, have_password, form, why):
    have_password()
    client = browse(app)
    type_password(client)
    good = {"password": PASSWORD, "new_password": "seven green bicycles"}
    good |= {"repeated": good["new_password"], "csrf_token": csrf_token(client, "/account")}

    refused = client.post("/account/password", data=good | form)
    assert (refused.status_code, why in unescape(refused.text)) == (400, True)
    assert client.post("/account/password", data=good).status_code == 200


def test_a_changed_password_ends_the_other_browsers(app, browse, have_password):
    have_password()
    here, there = browse(app), browse(app)
    type_password(here)
    type_password(there)
    new = "seven green bicycles"
    form = {"password": PASSWORD, "new_password": new, "repeated": new}
    here.post("/account/password", data=form | {"csrf_token": csrf_token(here, "/account")})

    assert is_signed_in(here)
    assert not is_signed_in(there)


def test_an_administrator_adds_somebody_who_comes_in_by_the_link(app, sign_in, browse, database):
    boss = sign_in(app, "boss", is_administrator=True)
    page = boss.post("/accounts", data={"name": "Bert", "full_name": "Bert B."}).text
    [path] = re.findall(r"http://127\.0\.0\.1(/sign-in/link/[\w-]{43})", page)
    give = boss.post("/accounts/bert/roles", data={"role": "reader", "project": "default"})
    client = browse(app)
    client.post(path, data={"csrf_token": csrf_token(client, path)})

    assert give.status_code == 303
    assert is_signed_in(client)
    with database.read() as session:
        [bert] = [one for one in list_accounts(session) if one.name == "bert"]
    assert [(given.project, given.role) for given in bert.roles] == [("default", Role.READER)]


def test_an_administrator_takes_what_was_given_and_closes(app, sign_in, database):
    boss = sign_in(app, "boss", is_administrator=True)
    bert = sign_in(app, "bert", {"lung": ["reader"]})

    boss.post("/accounts/bert/roles/remove", data={"role": "reader", "project": "lung"})
    boss.post("/accounts/bert/close")

    assert not is_signed_in(bert)
    with database.read() as session:
        [found] = [one for one in list_accounts(session) if one.name == "bert"]
    assert (found.roles, found.closed_at is not None) == ((), True)
    assert boss.post("/accounts/bert/reopen").status_code == 303


def test_what_cannot_be_changed_is_said_on_the_page(app, sign_in):
    boss = sign_in(app, "boss", is_administrator=True)

    last = boss.post("/accounts/boss/close")
    assert (last.status_code, "last administrator" in last.text) == (400, True)
    assert boss.post("/accounts/nobody/close").status_code == 404
    assert boss.post("/accounts", data={"name": "boss"}).status_code == 400


def test_a_project_that_nobody_declared_is_none_to_give_a_role_in(app, sign_in):
    boss = sign_in(app, "boss", is_administrator=True)
    sign_in(app, "bert")
    form = {"role": "reader", "project": "heart"}

    assert boss.post("/accounts/bert/roles", data=form).status_code == 400


def test_a_link_leads_where_it_says_and_to_no_other_site(app, browse, have_account, database):
    account_id = have_account()
    for following, target in (
        ("/projects/lung/answers", "/projects/lung/answers"),
        ("//elsewhere", "/"),
    ):
        with database.write() as session:
            token = make_link(session, account_id, actor="test", now=app.state.door.now())
        client = browse(app)
        page = client.get(f"/sign-in/link/{token}", params={"next": following})
        fields = dict(re.findall(r'name="(csrf_token|next)" value="([^"]*)"', page.text))

        response = client.post(f"/sign-in/link/{token}", data=fields)

        assert (response.status_code, response.headers["location"]) == (303, target)


@pytest.mark.parametrize(("days_ago", "left"), [(1, [1, 1, 1]), (500, [0, 0, 0])])
def test_secrets_that_let_nobody_in_for_long_are_forgotten(
    app, sign_in, have_account, database, rows, store, pictures, days_ago, left
):
    sign_in(app)
    ended = datetime.now(UTC) - timedelta(days=days_ago)
    with database.write() as session:
        make_link(session, have_account(), actor="test", now=app.state.door.now())
        session.execute(update(AccountSession).values(ends_at=ended))
        session.execute(update(SignInLink).values(expires_at=ended))
        session.execute(update(KnownDevice).values(seen_at=ended))

    tidy(database, store, pictures)

    assert [len(rows(table)) for table in (AccountSession, SignInLink, KnownDevice)] == left
