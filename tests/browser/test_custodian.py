"""What a custodian does in a browser, with the vault of a real service behind it."""

from __future__ import annotations

from playwright.sync_api import expect

from medr1_pacs.db.research import iterate_found
from medr1_pacs.filters import AnswerFilters

PAGE = "/projects/lung/re-identify"


def test_a_custodian_is_shown_who_it_is_and_puts_it_away(page_of, whole_site):
    answer = next(iterate_found(whole_site.database, "lung", AnswerFilters()))
    page = page_of("custodian")
    page.get_by_role("link", name="Re-identify a patient").click()
    page.get_by_label("pseudonym").fill(answer.patient_pseudonym)
    page.get_by_label("Reason").fill("An incidental finding")
    page.get_by_role("button", name="Show who it is").click()

    identities = page.locator("table.identities")
    expect(identities).to_contain_text("PHANTOM^CT")
    expect(identities).to_contain_text("PHANTOM-CT-1")

    page.get_by_role("link", name="Put it away").click()
    expect(page.get_by_role("cell", name="An incidental finding")).to_be_visible()
    expect(page.locator("body")).not_to_contain_text("PHANTOM")


def test_a_custodian_who_gives_no_reason_stays_at_the_form(page_of):
    page = page_of("custodian", PAGE)
    page.get_by_label("pseudonym").fill("f" * 32)
    page.get_by_role("button", name="Show who it is").click()

    expect(page.get_by_label("Reason")).to_be_focused()
    assert page.url.endswith(PAGE)
