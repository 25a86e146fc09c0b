"""Accounts, roles, sessions, links and tokens as rows, on both databases."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta

import pytest
from fakes import FakeClock

from medr1_pacs.db.accounts import (
    add_account,
    close_account,
    find_credentials,
    give_role,
    has_administrator,
    list_accounts,
    remove_role,
    reopen_account,
    set_password,
)
from medr1_pacs.db.api_tokens import (
    add_token,
    find_caller_by_token,
    list_tokens,
    revoke_token,
    stamp_token,
)
from medr1_pacs.db.provided_accounts import find_or_add_provided, set_provided_roles
from medr1_pacs.db.sign_ins import (
    end_session,
    find_caller_by_session,
    forget_spent,
    is_known_device,
    list_sessions,
    make_link,
    open_session,
    stamp_session,
    use_link,
)
from medr1_pacs.db.tables import (
    Account,
    AccountSession,
    ApiToken,
    AuditEvent,
    KnownDevice,
    SignInLink,
)
from medr1_pacs.errors import AccountNotFound, AccountRefused, SignInRefused
from medr1_pacs.projects import Project, ProjectRules
from medr1_pacs.records.people import Scope
from medr1_pacs.records.words import Role, SignInMethod
from medr1_pacs.tokens import hash_token

RULES = ProjectRules((Project("default"), Project("lung", approval_number="EK-17")))
IDLE_S, MAX_S = 3_600, 43_200


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def write(database):
    """Do something in a transaction of its own."""

    def write(function, *arguments, **keywords):
        with database.write() as session:
            return function(session, *arguments, **keywords)

    return write


@pytest.fixture
def add(write, clock):
    """Add an account; returns its id."""

    def add(name="anna", **keywords):
        return write(add_account, name, actor="operator", now=clock.now(), **keywords)

    return add


@pytest.fixture
def give(write, clock):
    """Give an account a role."""

    def give(role, project=None, name="anna"):
        write(give_role, name, role, project, rules=RULES, actor="operator", now=clock.now())

    return give


@pytest.fixture
def enter(write, clock):
    """Sign an account in; returns the browser's secrets."""

    def enter(account_id, device_token=None):
        return write(
            open_session,
            account_id,
            SignInMethod.PASSWORD,
            address="10.1.2.3",
            device_token=device_token,
            max_s=MAX_S,
            now=clock.now(),
        )

    return enter


@pytest.fixture
def find(database, clock):
    """Return who a browser's secret lets in now."""

    def find(token):
        with database.read() as session:
            found = find_caller_by_session(session, token, now=clock.now(), idle_s=IDLE_S)
        return found and found.caller

    return find


@pytest.fixture
def find_program(database, clock):
    """Return who a program's token lets in now."""

    def find_program(token):
        with database.read() as session:
            found = find_caller_by_token(session, token, now=clock.now())
        return found and found.caller

    return find_program


@pytest.fixture
def make_token(write, clock):
    """Make a token of an account."""

    def make_token(account_id, *scopes, project=None, days=30):
        scopes = scopes or (Scope.ANSWERS_READ,)
        return write(
            add_token,
            account_id,
            "mine",
            scopes,
            project=project,
            days=days,
            actor="anna",
            now=clock.now(),
        )

    return make_token


@pytest.fixture
def events(rows):
    """Return (actor, action, old, new) of every event, oldest first."""

    def events():
        return [(e.actor, e.action, e.old_value, e.new_value) for e in rows(AuditEvent)]

    return events


# -- accounts ----------------------------------------------------------------------------------


def test_an_account_is_found_by_its_name_in_capitals_too(add, database):
    account_id = add("Anna")

    with database.read() as session:
        found = find_credentials(session, " ANNA ")
    assert (found.account_id, found.account) == (account_id, "anna")


@pytest.mark.parametrize("name", ["", "a b", "-anna", "a/b", "operator", "service", "a" * 65, "ä"])
def test_a_name_that_is_none_is_refused(add, name):
    with pytest.raises(AccountRefused, match="is no name"):
        add(name)


def test_a_name_is_given_once_even_of_a_closed_account(add, write, clock):
    add("anna")
    write(close_account, "anna", actor="operator", now=clock.now())

    with pytest.raises(AccountRefused, match="already"):
        add("anna")


def test_a_role_makes_the_row_of_a_declared_project(add, give, database):
    add()
    give(Role.READER, "lung")

    with database.read() as session:
        [account] = list_accounts(session)
    assert [(given.project, given.role) for given in account.roles] == [("lung", Role.READER)]


def test_a_role_in_a_project_that_nobody_declared_is_refused(add, give):
    add()

    with pytest.raises(AccountRefused, match="no project 'heart'"):
        give(Role.READER, "heart")


@pytest.mark.parametrize(("role", "project"), [(Role.ADMINISTRATOR, "lung"), (Role.READER, None)])
def test_a_role_of_the_site_has_no_project_and_any_other_has_one(add, give, role, project):
    add()

    with pytest.raises(AccountRefused):
        give(role, project)


def test_the_account_of_a_change_must_exist(give):
    with pytest.raises(AccountNotFound):
        give(Role.READER, "lung")


def test_the_last_administrator_is_neither_closed_nor_made_less(add, write, clock, database):
    add("anna", is_administrator=True)
    add("bert", is_administrator=True)
    write(close_account, "bert", actor="operator", now=clock.now())

    with pytest.raises(AccountRefused, match="last administrator"):
        write(close_account, "anna", actor="operator", now=clock.now())
    with pytest.raises(AccountRefused, match="last administrator"):
        write(remove_role, "anna", Role.ADMINISTRATOR, None, actor="operator")
    with database.read() as session:
        assert has_administrator(session)


def test_two_administrators_who_close_each_other_at_once_leave_one(add, write, clock, database):
    names = [f"admin{number}" for number in range(4)]
    for name in names:
        add(name, is_administrator=True)

    def close(name):
        with suppress(AccountRefused):
            write(close_account, name, actor="operator", now=clock.now())

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(close, names))

    with database.read() as session:
        still_open = [one.name for one in list_accounts(session) if one.closed_at is None]
    assert len(still_open) == 1


def test_a_reopened_account_has_its_roles_and_none_of_its_sessions(
    add, give, enter, find, write, clock
):
    account_id = add()
    give(Role.READER, "lung")
    token = enter(account_id).token
    write(close_account, "anna", actor="operator", now=clock.now())
    write(reopen_account, "anna", actor="operator")

    assert find(token) is None
    assert find(enter(account_id).token).roles == {"lung": {Role.READER}}


def test_every_change_of_an_account_is_an_event(add, give, write, clock, events):
    account_id = add()
    give(Role.READER, "lung")
    give(Role.READER, "lung")
    write(remove_role, "anna", Role.READER, "lung", actor="boss")
    write(remove_role, "anna", Role.READER, "lung", actor="boss")
    write(set_password, account_id, "a hash", actor="anna", now=clock.now())
    write(close_account, "anna", actor="boss", now=clock.now())
    write(reopen_account, "anna", actor="boss")

    role = {"role": "reader", "project": "lung"}
    assert events() == [
        ("operator", "account.added", None, {"name": "anna", "is_administrator": False}),
        ("operator", "account.role_given", None, role),
        ("boss", "account.role_removed", role, None),
        ("anna", "account.password_set", None, None),
        ("boss", "account.closed", None, None),
        ("boss", "account.reopened", None, None),
    ]


# -- sessions ----------------------------------------------------------------------------------


def test_a_browser_that_signed_in_is_known_by_its_secret_and_by_no_other(add, enter, find):
    account_id = add()
    token = enter(account_id).token

    assert find(token).account == "anna"
    assert find(token[:-1]) is None
    assert find("") is None


def test_no_row_holds_a_secret(add, enter, make_token, write, clock, rows):
    account_id = add()
    opened = enter(account_id)
    link, token = write(make_link, account_id, actor="x", now=clock.now()), make_token(account_id)

    hashes = [
        row.token_sha256
        for table in (AccountSession, KnownDevice, SignInLink, ApiToken)
        for row in rows(table)
    ]
    secrets = [opened.token, opened.device_token, link, token]
    assert hashes == [hash_token(secret) for secret in secrets]
    assert token.startswith("medr1_")


def test_a_session_ends_when_it_idles(add, enter, find, clock):
    token = enter(add()).token

    clock.pass_s(IDLE_S - 1)
    assert find(token)
    clock.pass_s(1)
    assert find(token) is None


def test_a_session_in_use_goes_on_until_its_end_however_busy(add, enter, find, write, clock):
    token = enter(add()).token
    for _ in range(23):
        clock.pass_s(IDLE_S // 2)
        write(stamp_session, find(token).session_id, clock.now())

    assert find(token)
    clock.pass_s(IDLE_S // 2)
    assert find(token) is None


def test_a_session_is_due_for_its_stamp_once_a_minute(add, enter, database, clock):
    token = enter(add()).token

    def is_due():
        with database.read() as session:
            return find_caller_by_session(session, token, now=clock.now(), idle_s=IDLE_S).is_due

    clock.pass_s(59)
    assert not is_due()
    clock.pass_s(1)
    assert is_due()


def test_what_a_session_may_do_is_what_its_account_may_at_this_moment(
    add, enter, find, give, write
):
    token = enter(add()).token
    give(Role.READER, "lung")
    give(Role.AUDITOR, "lung")
    give(Role.ADMINISTRATOR)
    before = find(token)
    write(remove_role, "anna", Role.READER, "lung", actor="operator")

    assert before.roles == {"lung": {Role.READER, Role.AUDITOR}}
    assert before.is_administrator
    assert find(token).roles == {"lung": {Role.AUDITOR}}


def test_closing_an_account_ends_all_that_lets_it_in(
    add, enter, make_token, find, find_program, write, clock
):
    account_id = add()
    opened, token = enter(account_id), make_token(account_id)
    link = write(make_link, account_id, actor="x", now=clock.now())

    write(close_account, "anna", actor="operator", now=clock.now())

    assert find(opened.token) is None
    assert find_program(token) is None
    with pytest.raises(SignInRefused):
        write(use_link, link, only_administrators=False, now=clock.now())
    with pytest.raises(SignInRefused, match="closed"):
        enter(account_id)


def test_a_closed_account_is_nobody_whatever_its_sessions_and_tokens_say(
    add, enter, make_token, find, find_program, database, clock
):
    account_id = add()
    opened, token = enter(account_id), make_token(account_id)
    with database.write() as session:
        session.get_one(Account, account_id).closed_at = clock.now()

    assert find(opened.token) is None
    assert find_program(token) is None


def test_a_new_password_ends_every_other_session_and_known_device(
    add, enter, find, write, clock, database
):
    account_id = add()
    here, there = enter(account_id), enter(account_id)
    keep = find(here.token).session_id

    write(set_password, account_id, "h", actor="anna", now=clock.now(), keep_session_id=keep)

    assert find(here.token)
    assert find(there.token) is None
    with database.read() as session:
        assert not is_known_device(session, account_id, there.device_token)


def test_one_ends_ones_own_sessions_and_nobody_elses(add, enter, find, write, clock):
    anna, bert = add("anna"), add("bert")
    token = enter(anna).token
    session_id = find(token).session_id

    write(end_session, session_id, account_id=bert, actor="bert", now=clock.now())
    assert find(token)
    write(end_session, session_id, account_id=anna, actor="anna", now=clock.now())
    assert find(token) is None


def test_the_list_of_sessions_has_the_open_ones_alone(add, enter, find, write, clock, database):
    account_id = add()
    ended, kept = enter(account_id).token, enter(account_id).token
    write(
        end_session,
        find(ended).session_id,
        account_id=account_id,
        actor="anna",
        now=clock.now(),
    )

    with database.read() as session:
        listed = list_sessions(session, account_id, now=clock.now(), idle_s=IDLE_S)
    assert [(one.session_id, one.address) for one in listed] == [
        (find(kept).session_id, "10.1.2.3")
    ]


def test_a_device_is_known_to_the_account_that_signed_in_there_alone(add, enter, database):
    anna, bert = add("anna"), add("bert")
    device = enter(anna).device_token

    with database.read() as session:
        assert is_known_device(session, anna, device)
        assert not is_known_device(session, bert, device)
    assert enter(anna, device).device_token == device
    assert enter(bert, device).device_token != device


def test_a_device_that_is_used_is_not_forgotten(add, enter, clock, write, database):
    anna = add("anna")
    device = enter(anna).device_token
    clock.pass_s(300 * 86_400)
    enter(anna, device)

    write(forget_spent, before=clock.now(), devices_before=clock.now() - timedelta(days=100))

    with database.read() as session:
        assert is_known_device(session, anna, device)


# -- links -------------------------------------------------------------------------------------


def test_a_link_lets_in_once(add, write, clock):
    account_id = add()
    link = write(make_link, account_id, actor="boss", now=clock.now())

    assert write(use_link, link, only_administrators=False, now=clock.now()) == account_id
    with pytest.raises(SignInRefused, match="used before"):
        write(use_link, link, only_administrators=False, now=clock.now())


def test_of_many_who_use_one_link_at_once_one_comes_in(add, write, clock):
    link = write(make_link, add(), actor="boss", now=clock.now())

    def use(_):
        try:
            return write(use_link, link, only_administrators=False, now=clock.now())
        except SignInRefused:
            return None

    with ThreadPoolExecutor(4) as pool:
        assert len([one for one in pool.map(use, range(4)) if one]) == 1


def test_a_link_ends_after_a_day(add, write, clock):
    link = write(make_link, add(), actor="boss", now=clock.now())
    clock.pass_s(timedelta(days=1).total_seconds())

    with pytest.raises(SignInRefused, match="24 hours"):
        write(use_link, link, only_administrators=False, now=clock.now())


def test_a_new_link_ends_the_one_before(add, write, clock):
    account_id = add()
    first = write(make_link, account_id, actor="boss", now=clock.now())
    write(make_link, account_id, actor="boss", now=clock.now())

    with pytest.raises(SignInRefused):
        write(use_link, first, only_administrators=False, now=clock.now())


def test_where_links_are_for_administrators_nobody_else_spends_one(add, write, clock):
    link = write(make_link, add(), actor="boss", now=clock.now())

    with pytest.raises(SignInRefused, match="nobody"):
        write(use_link, link, only_administrators=True, now=clock.now())
    assert write(use_link, link, only_administrators=False, now=clock.now())


# -- tokens ------------------------------------------------------------------------------------


def test_a_token_has_its_scopes_and_its_accounts_roles(add, give, make_token, find_program):
    account_id = add()
    give(Role.RESEARCHER, "lung")
    caller = find_program(make_token(account_id, Scope.ANSWERS_READ))

    assert caller.scopes == {Scope.ANSWERS_READ}
    assert caller.roles == {"lung": {Role.RESEARCHER}}
    assert caller.session_id is None


def test_a_token_of_a_project_has_the_roles_there_alone(add, give, make_token, find_program):
    account_id = add()
    give(Role.RESEARCHER, "lung")
    give(Role.RESEARCHER, "default")
    give(Role.ADMINISTRATOR)
    caller = find_program(make_token(account_id, *Scope, project="lung"))

    assert caller.projects == ("lung",)
    assert not caller.is_administrator


def test_a_token_is_for_a_project_of_ones_own(add, make_token, give):
    add("bert")
    give(Role.READER, "lung", name="bert")

    with pytest.raises(AccountRefused, match="in no project"):
        make_token(add("anna"), project="lung")


@pytest.mark.parametrize("days", [0, 367])
def test_a_token_lasts_a_year_at_most(add, make_token, days):
    with pytest.raises(AccountRefused, match="366 days"):
        make_token(add(), days=days)


def test_a_token_ends_on_its_day_and_when_it_is_revoked(
    add, make_token, find_program, write, clock, database
):
    account_id = add()
    short, revoked = make_token(account_id, days=1), make_token(account_id)
    with database.read() as session:
        token_id = list_tokens(session, account_id, now=clock.now())[0].token_id

    write(revoke_token, token_id, account_id=account_id + 1, actor="bert", now=clock.now())
    assert find_program(revoked)
    write(revoke_token, token_id, account_id=account_id, actor="anna", now=clock.now())
    assert find_program(revoked) is None
    assert find_program(short)
    clock.pass_s(86_400)
    assert find_program(short) is None


def test_a_tokens_use_is_due_for_its_stamp_once_a_minute(add, make_token, database, write, clock):
    token = make_token(add())

    def found():
        with database.read() as session:
            return find_caller_by_token(session, token, now=clock.now())

    assert found().is_due
    write(stamp_token, found().row_id, clock.now())
    clock.pass_s(59)
    assert not found().is_due


# -- of the provider ---------------------------------------------------------------------------


def test_somebody_the_provider_vouches_for_never_gets_a_local_accounts_name(add, write, clock):
    local = add("anna")

    def provided(subject):
        return write(
            find_or_add_provided,
            "https://idp",
            subject,
            wanted_name="Anna",
            is_wanted=True,
            now=clock.now(),
        )

    first, second = provided("s1"), provided("s2")
    assert len({local, first, second}) == 3
    assert provided("s1") == first


def test_roles_by_groups_are_those_of_now_and_roles_given_here_stay(
    add, give, write, clock, database
):
    account_id = add()
    give(Role.AUDITOR, "default")

    def provide(*given):
        write(
            set_provided_roles,
            account_id,
            given,
            is_administrator=None,
            rules=RULES,
            now=clock.now(),
        )
        with database.read() as session:
            [account] = list_accounts(session)
        return [(one.project, one.role, one.is_from_provider) for one in account.roles]

    local = ("default", Role.AUDITOR, False)
    assert provide(("lung", Role.READER)) == [local, ("lung", Role.READER, True)]
    assert provide(("lung", Role.RESEARCHER)) == [local, ("lung", Role.RESEARCHER, True)]
    assert provide() == [local]
