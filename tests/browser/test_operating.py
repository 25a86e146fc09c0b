"""What an administrator does in a browser: studies, quarantine, accounts."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect
from whole_site import MEMBERS, RECEIVED_SEED, SUPERSEDED_SEED, UNDRAWABLE_SEED, study_uid

from medr1_pacs.records.words import Modality
from medr1_pacs.steps.completing import complete_study


@pytest.fixture
def operations(page_of) -> Page:
    """An administrator at the operations."""
    return page_of("administrator", "/operations")


@pytest.fixture
def accounts(page_of) -> Page:
    """An administrator at the accounts."""
    return page_of("administrator", "/accounts")


def count_of(page: Page, state: str):
    """Find how many studies are in a state, beside the list."""
    return page.locator(f".counts li:has(.state:text-is('{state}')) b")


def open_study(page: Page, uid: str) -> None:
    page.get_by_label("Study Instance UID holds").fill(uid[-12:])
    page.get_by_role("button", name="Show").click()
    page.get_by_role("link", name=uid).click()
    expect(page.get_by_role("heading", name=f"Study {uid}")).to_be_visible()


def test_what_changed_is_seen_without_a_reload(operations, whole_site):
    operations.evaluate("window.isTheSamePage = true")
    receiving = int(count_of(operations, "receiving").inner_text())

    complete_study(whole_site.database, study_uid(Modality.MRI, RECEIVED_SEED), actor="sweep")

    expect(count_of(operations, "receiving")).to_have_text(str(receiving - 1), timeout=10_000)
    assert operations.evaluate("window.isTheSamePage")


def test_what_is_marked_to_be_copied_is_not_replaced(operations):
    operations.clock.install()
    operations.reload()
    asked = []
    operations.on("request", lambda request: asked.append(request.resource_type))
    operations.locator(".panel").first.evaluate(
        "panel => document.getSelection().selectAllChildren(panel)"
    )
    operations.clock.run_for(20_000)
    assert "fetch" not in asked

    operations.evaluate("document.getSelection().removeAllRanges()")
    with operations.expect_request("**/operations/fragments/status"):
        operations.clock.run_for(20_000)


def test_a_failed_study_is_tried_again(operations):
    open_study(operations, study_uid(Modality.XRAY, UNDRAWABLE_SEED))
    expect(operations.locator("dl.facts .state")).to_have_text("failed")

    operations.get_by_role("button", name="Try again what failed").click()

    expect(operations.get_by_role("status")).to_contain_text("is tried again")
    expect(operations.locator("dl.facts .state")).to_have_text("asked")


def test_a_study_is_called_complete_before_its_time(operations):
    open_study(operations, study_uid(Modality.CT, SUPERSEDED_SEED))
    expect(operations.locator("dl.facts .state")).to_have_text("receiving")

    operations.get_by_role("button", name="Call it complete now").click()

    expect(operations.get_by_role("status")).to_contain_text("is complete")
    expect(operations.locator("dl.facts .state")).to_have_text("complete")


def test_a_held_instance_is_refused(operations):
    operations.get_by_role("link", name="accept or refuse it").click()
    operations.get_by_role("button", name="Refuse").click()

    expect(operations.get_by_role("status")).to_contain_text("is refused")
    expect(operations.get_by_role("button", name="Accept")).to_have_count(0)


def test_a_file_in_quarantine_is_dropped_with_a_reason(operations):
    operations.get_by_role("link", name="Quarantine", exact=True).click()
    operations.locator("td a").first.click()
    operations.get_by_label("Why its bytes may go").fill("Sent again by the scanner")
    operations.get_by_role("button", name="Delete it for good").click()

    expect(operations.get_by_role("status")).to_contain_text("is deleted")
    expect(operations.locator("td.why", has_text="Sent again by the scanner")).to_be_visible()
    operations.get_by_role("link", name="Quarantine", exact=True).click()
    expect(operations.get_by_text("Nothing: whatever was received can be used")).to_be_visible()


def test_who_was_refused_what_is_listed(operations):
    operations.get_by_role("link", name="Refused by us").click()

    expect(operations.locator("td", has_text="CT1").first).to_be_visible()
    expect(operations.locator("tbody tr")).to_have_count(2)


def test_no_two_buttons_of_the_accounts_are_called_the_same(accounts):
    buttons = accounts.get_by_role("main").get_by_role("button")
    names = [button.get_attribute("aria-label") or button.inner_text() for button in buttons.all()]

    assert len(names) == len(set(names)) > len(MEMBERS)


def add_account(page: Page, name: str) -> str:
    """Add an account; returns its one-time link."""
    page.get_by_label("Name to sign in with").fill(name)
    page.get_by_role("button", name="Add, and make a one-time link").click()
    expect(page.get_by_role("heading", name=f"A one-time link for {name}")).to_be_visible()
    return page.locator("section[aria-labelledby=link-title] code").inner_text()


def test_a_one_time_link_lets_its_person_in_once(accounts, new_context, watch):
    watch.expect_status(403)
    link = add_account(accounts, "newcomer")
    newcomer, another = new_context().new_page(), new_context().new_page()

    for page in (newcomer, another):
        page.goto(link)
        page.get_by_role("button", name="Sign in").click()

    expect(newcomer.get_by_role("heading", name="newcomer")).to_be_visible()
    assert another.locator("main").get_by_text("newcomer").count() == 0
    expect(another.get_by_role("navigation", name="Account")).to_have_count(0)


def test_who_came_by_a_link_signs_in_by_the_password_that_they_set(
    accounts, new_context, sign_in_by_form
):
    newcomer = new_context().new_page()
    newcomer.goto(add_account(accounts, "second"))
    newcomer.get_by_role("button", name="Sign in").click()
    newcomer.get_by_label("New password").fill("seven calm lions asleep")
    newcomer.get_by_label("The same again").fill("seven calm lions asleep")
    newcomer.get_by_role("button", name="Set the password").click()
    expect(newcomer.get_by_role("status")).to_contain_text("is changed")

    page = sign_in_by_form(new_context().new_page(), "second", "seven calm lions asleep")

    expect(page.get_by_text("You are in no project yet")).to_be_visible()


def test_a_closed_account_is_signed_out_and_let_in_no_more(accounts, new_context, watch):
    newcomer = new_context().new_page()
    newcomer.goto(add_account(accounts, "leaver"))
    newcomer.get_by_role("button", name="Sign in").click()
    newcomer.get_by_role("heading", name="leaver").wait_for()

    accounts.locator("tr", has_text="leaver").get_by_role("button", name="Close").click()

    expect(accounts.locator("tr.past", has_text="leaver")).to_be_visible()
    newcomer.goto("/account")
    expect(newcomer.get_by_role("heading", name="Sign in")).to_be_visible()


def test_a_role_opens_the_project_at_once(accounts, new_context):
    newcomer = new_context().new_page()
    newcomer.goto(add_account(accounts, "joiner"))
    newcomer.get_by_role("button", name="Sign in").click()
    newcomer.get_by_role("heading", name="joiner").wait_for()
    accounts.get_by_label("Role for joiner").select_option("auditor")
    accounts.get_by_label("Project for joiner").select_option("heart")
    accounts.locator("tr", has_text="joiner").get_by_role("button", name="Give").click()

    newcomer.goto("/")

    expect(newcomer.get_by_role("heading", name="Heart and vessels")).to_be_visible()
