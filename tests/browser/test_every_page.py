"""Every page for everybody: in the light and in the dark, by keyboard, and as a picture."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest
from looking import RULES, barriers, keep_picture
from playwright.sync_api import Page, expect
from sqlalchemy import select
from whole_site import (
    PASSWORD,
    RECEIVED_SEED,
    UNDRAWABLE_SEED,
    let_processes_work,
    study_uid,
)

from medr1_pacs.db.quarantine import list_quarantined
from medr1_pacs.db.research import find_page, iterate_found
from medr1_pacs.db.tables import Study
from medr1_pacs.filters import AnswerFilters, parse_filters
from medr1_pacs.records.words import Modality, StudyState
from medr1_pacs.steps.citing import make_snapshot

ANSWERS = "/projects/lung/answers"
TABS_MAX = 150


@dataclass(frozen=True, slots=True)
class Shown:
    """A page as somebody sees it; `{...}` in its path stands for what the site calls something.

    A page that only a form leads to has the name of the button that is pressed.
    """

    name: str
    path: str
    account: str = ""
    button: str = ""
    status: int = 200


PAGES = [
    Shown("sign-in", "/sign-in"),
    Shown("sign-in-link", "/sign-in/link/once"),
    Shown("start", "/", "researcher"),
    Shown("start-of-a-reader", "/", "reader"),
    Shown("start-of-an-administrator", "/", "administrator"),
    Shown("answers", ANSWERS, "researcher"),
    Shown("answers-narrowed", f"{ANSWERS}?modality=CT&truth=wrong", "researcher"),
    Shown("answers-superseded", f"{ANSWERS}?versions=all&study={{superseded}}", "researcher"),
    Shown("answers-none", f"{ANSWERS}?words=unicorn", "researcher"),
    Shown("answer", f"{ANSWERS}/{{wrong}}", "researcher"),
    Shown("answer-unparsed", f"{ANSWERS}/{{unparsed}}", "auditor"),
    Shown("accuracy", "/projects/lung/accuracy", "researcher"),
    Shown("accuracy-of-many", "/projects/lung/accuracy?by=scanner&by=question", "auditor"),
    Shown("accuracy-none", "/projects/lung/accuracy?words=unicorn", "researcher"),
    Shown("re-identify", "/projects/lung/re-identify", "custodian"),
    Shown("re-identify-refused", "/projects/lung/re-identify", "custodian", "Show who it is", 422),
    Shown("start-of-a-custodian", "/", "custodian"),
    Shown("snapshots", "/projects/lung/snapshots", "researcher"),
    Shown("snapshot", "/projects/lung/snapshots/Table%201", "researcher"),
    Shown("exports", "/projects/lung/exports", "researcher"),
    Shown("exports-of-some", "/projects/lung/exports?modality=CT&truth=wrong", "auditor"),
    Shown("exports-of-a-custodian", "/projects/lung/exports", "custodian"),
    Shown("exports-none", "/projects/heart/exports", "cardiologist"),
    Shown("references", "/projects/lung/references", "custodian"),
    Shown("references-of-a-researcher", "/projects/lung/references", "researcher"),
    Shown("reading", "/projects/lung/reading", "researcher"),
    Shown("reading-of-a-reader", "/projects/lung/reading", "reader"),
    Shown("reading-of-an-auditor", "/projects/lung/reading", "auditor"),
    Shown("reading-none", "/projects/heart/reading", "cardiologist"),
    Shown("protocol", "/projects/lung/reading/chest-findings/1", "researcher"),
    Shown("protocol-of-a-reader", "/projects/lung/reading/chest-findings/1", "reader"),
    Shown("protocol-over", "/projects/lung/reading/projection-pilot/1", "researcher"),
    Shown("protocol-new", "/projects/lung/reading/new", "researcher"),
    Shown("protocol-checked", "/projects/lung/reading/new", "researcher", "Check"),
    Shown("protocol-refused", "/projects/heart/reading/new", "cardiologist", "Check", 422),
    Shown("dictionary", "/projects/lung/dictionary", "researcher"),
    Shown("api", "/api", "researcher"),
    Shown("account", "/account", "researcher"),
    Shown("account-refused", "/account", "researcher", "Make a token", 400),
    Shown("not-allowed", "/operations", "researcher", status=403),
    Shown("not-found", "/projects/heart/answers", "researcher", status=404),
    Shown("operations", "/operations", "administrator"),
    Shown("operations-none", "/operations?search=none", "administrator"),
    Shown("study", "/operations/studies/{held}", "administrator"),
    Shown("study-failed", "/operations/studies/{failed}", "administrator"),
    Shown("study-receiving", "/operations/studies/{receiving}", "administrator"),
    Shown("quarantine", "/operations/quarantine", "administrator"),
    Shown("quarantined", "/operations/quarantine/{quarantined}", "administrator"),
    Shown("study-withdrawn", "/operations/studies/{gone}", "administrator"),
    Shown("withdrawals", "/operations/withdrawals", "administrator"),
    Shown("withdrawal", "/operations/withdrawals/1", "administrator"),
    Shown("withdrawals-of-a-project", "/projects/lung/withdrawals", "custodian"),
    Shown("refused", "/operations/refused", "administrator"),
    Shown("audit", "/operations/audit", "administrator"),
    Shown("audit-narrowed", "/operations/audit?actor=administrator&action=study", "administrator"),
    Shown("audit-none", "/operations/audit?object_type=study&object_id=0", "administrator"),
    Shown("audit-refused", "/operations/audit?since=yesterday", "administrator", status=422),
    Shown("accounts", "/accounts", "administrator"),
    Shown("accounts-link", "/accounts", "administrator", "One-time link"),
]
by_name = pytest.mark.parametrize("shown", PAGES, ids=lambda shown: shown.name)


@pytest.fixture(scope="module")
def called(whole_site) -> dict[str, object]:
    """What the site calls that which paths are about."""
    make_snapshot(
        whole_site.database,
        "lung",
        "Table 1",
        AnswerFilters(modality=("CT",)),
        description="Every CT answer of the first year",
        actor="researcher",
    )

    def first(**query: list[str]) -> int:
        page = find_page(session, "lung", parse_filters(query), limit=1)
        return page.answers[0].answer_id

    everything = iterate_found(whole_site.database, "lung", parse_filters({"versions": ["all"]}))
    superseded = next(answer for answer in everything if not answer.is_current)
    with whole_site.database.read() as session:
        return {
            "superseded": superseded.study_instance_uid,
            "wrong": first(truth=["wrong"], modality=["X-Ray"]),
            "unparsed": first(parse_status=["no_answer"]),
            "held": study_uid(Modality.CT, 1),
            "failed": study_uid(Modality.XRAY, UNDRAWABLE_SEED),
            "receiving": study_uid(Modality.MRI, RECEIVED_SEED),
            "gone": session.scalars(
                select(Study.study_instance_uid).where(Study.state == StudyState.WITHDRAWN)
            ).one(),
            "quarantined": list_quarantined(session, limit=1)[0].stored_name,
        }


@pytest.fixture
def show(new_context, page_of, called, watch, whole_site):
    """Open a page as its person does, while the processes of the site live."""

    def show(shown: Shown) -> Page:
        let_processes_work(whole_site)
        if shown.status != 200:
            watch.expect_status(shown.status)
        path = shown.path.format(**called)
        if shown.account:
            page = page_of(shown.account, path)
        else:
            page = new_context().new_page()
            page.goto(path)
        if shown.button:
            press(page, shown.button)
        return page

    return show


def press(page: Page, button: str) -> None:
    """Press a button although its form is not filled in."""
    page.locator("form").evaluate_all("forms => forms.forEach(form => form.noValidate = true)")
    with page.expect_navigation():
        page.get_by_role("button", name=button).first.click()


@by_name
def test_nothing_on_a_page_keeps_anybody_from_using_it(show, shown):
    page = show(shown)
    for scheme, rules in RULES.items():
        page.emulate_media(color_scheme=scheme)
        keep_picture(page, f"{shown.name}-{scheme}")

        assert barriers(page, rules) == []


def test_what_is_not_fresh_any_more_says_so_and_can_be_read(page_of, watch):
    watch.expect_status(503)
    page = page_of("administrator", "/operations")
    page.route("**/fragments/**", lambda route: route.fulfill(status=503))
    page.clock.install()
    page.reload()
    page.clock.run_for(6_000)
    page.locator("[data-stale]").wait_for()

    for scheme, rules in RULES.items():
        page.emulate_media(color_scheme=scheme)
        assert barriers(page, rules) == []


def focused(page: Page) -> tuple[str, str]:
    """Return what has the focus: its text, and the width of the ring around it."""
    text, ring = page.evaluate("""() => {
        const element = document.activeElement, style = getComputedStyle(element);
        const name = element.innerText || element.getAttribute("aria-label") || element.id;
        return [name, style.outlineStyle === "none" ? "0px" : style.outlineWidth];
    }""")
    return re.sub(r"\s+", " ", text).strip(), ring


def tab_to(page: Page, text: str) -> None:
    """Press Tab until something with this text has the focus."""
    for _ in range(TABS_MAX):
        page.keyboard.press("Tab")
        name, ring = focused(page)
        assert ring != "0px", f"the focus is not seen on {name!r}"
        if text in name:
            return
    pytest.fail(f"{text!r} was not reached in {TABS_MAX} steps")


@pytest.fixture
def answers(page_of) -> Page:
    return page_of("researcher", ANSWERS)


def test_the_first_step_by_keyboard_leads_to_the_content(answers):
    answers.keyboard.press("Tab")
    assert focused(answers)[0] == "To the content"

    answers.keyboard.press("Enter")

    assert answers.evaluate("document.activeElement.id") == "main"
    answers.keyboard.press("Tab")
    assert answers.evaluate("document.activeElement.closest('main') !== null")


def test_a_facet_is_chosen_by_keyboard(answers):
    tab_to(answers, "MRI")
    answers.keyboard.press("Enter")

    answers.wait_for_url("**modality=MRI*")
    tab_to(answers, "Modality: MRI")
    answers.keyboard.press("Enter")
    answers.wait_for_url(lambda url: "modality" not in url)


def test_an_answer_is_opened_by_keyboard(answers):
    question = answers.locator("a.question").first.inner_text()
    tab_to(answers, question)
    answers.keyboard.press("Enter")

    expect(answers.get_by_role("heading", name=question)).to_be_visible()


def test_an_administrator_opens_a_study_by_keyboard(page_of):
    page = page_of("administrator", "/operations")
    uid = page.locator("table.studies td a").first.inner_text()
    tab_to(page, uid)
    page.keyboard.press("Enter")

    expect(page.get_by_role("heading", name=f"Study {uid}")).to_be_visible()


def test_somebody_signs_in_by_keyboard(new_context):
    page = new_context().new_page()
    page.goto("/sign-in")
    page.keyboard.type("auditor")
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")

    expect(page.get_by_role("heading", name="Your projects")).to_be_visible()
