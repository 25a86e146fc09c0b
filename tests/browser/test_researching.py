"""What people of a project do with its answers in a browser."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Locator, Page, expect
from whole_site import PASSWORD

ANSWERS = "/projects/lung/answers"
ALL_ANSWERS, ALL_HEART_ANSWERS = 116, 39
ROWS_A_PAGE = 50


def rows_of(page: Page) -> list[str]:
    """Return where the questions of a list lead, in its order."""
    links = page.locator("table.answers a.question")
    return [link.get_attribute("href") or "" for link in links.all()]


def follow(link: Locator) -> None:
    """Follow a link to another page, and wait until it is there: `count` waits for nothing."""
    with link.page.expect_navigation():
        link.click()


def total_of(page: Page) -> int:
    return int(page.locator(".total strong").inner_text().replace(",", ""))


def choose(page: Page, facet: str, value: str) -> None:
    """Click on a value of a facet."""
    box = page.locator("details.facet", has=page.locator("summary", has_text=facet)).first
    follow(box.locator(f"a:has(span:text-is('{value}'))"))


def download(page: Page, link: str) -> Path:
    with page.expect_download() as started:
        page.get_by_role("link", name=link, exact=True).click()
    return Path(started.value.path())


@pytest.fixture
def answers(page_of) -> Page:
    """A researcher at the answers of their project."""
    return page_of("researcher", ANSWERS)


@pytest.fixture
def wrong_ct_answers(page_of) -> Page:
    """A researcher at the wrong answers about CT."""
    return page_of("researcher", f"{ANSWERS}?modality=CT&truth=wrong")


def test_wrong_ct_answers_are_three_clicks_away(page_of):
    page = page_of("researcher")
    page.get_by_role("link", name="Answers").click()
    choose(page, "Modality", "CT")
    choose(page, "Truth", "wrong")

    rows = page.locator("table.answers tbody tr")
    assert 0 < rows.count() == total_of(page)
    for row in rows.all():
        expect(row.locator("td").nth(4)).to_contain_text("wrong")
        expect(row.locator("td").nth(5)).to_contain_text("CT")


def test_a_facet_that_narrows_the_list_down_is_unfolded(answers):
    box = answers.locator("details.facet", has=answers.locator("summary", has_text="Checkpoint"))
    expect(box).not_to_have_attribute("open", "")

    box.locator("summary").first.click()
    follow(box.locator("a").first)

    expect(box).to_have_attribute("open", "")


def test_a_colleague_sees_the_same_rows_under_the_same_url(wrong_ct_answers, page_of):
    colleague = page_of("colleague", wrong_ct_answers.url)

    assert rows_of(colleague) == rows_of(wrong_ct_answers) != []


def test_the_url_leads_who_is_not_signed_in_there_by_way_of_the_form(
    wrong_ct_answers, new_context, sign_in_by_form
):
    page = new_context().new_page()
    page.goto(wrong_ct_answers.url)
    page.get_by_label("Name").fill("colleague")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()

    page.wait_for_url(wrong_ct_answers.url)
    assert rows_of(page) == rows_of(wrong_ct_answers)


def test_words_are_found_in_the_reasoning(answers):
    answers.get_by_label("Words in the reasoning").fill("BRIGHT marker")
    answers.keyboard.press("Enter")
    answers.wait_for_url("**words=BRIGHT*")

    reasonings = answers.locator("td.reasoning").all_inner_texts()
    assert 0 < total_of(answers) < ALL_ANSWERS
    assert all("bright marker" in text for text in reasonings)


def test_paging_reaches_the_last_answer_and_comes_back(answers):
    first = rows_of(answers)
    seen = list(first)
    while (older := answers.get_by_role("link", name="Older")).count():
        follow(older)
        seen += rows_of(answers)

    assert len(seen) == len(set(seen)) == ALL_ANSWERS == total_of(answers)
    while (newer := answers.get_by_role("link", name="Newer")).count():
        follow(newer)
    assert rows_of(answers) == first


def test_the_oldest_are_one_click_away(answers):
    newest = rows_of(answers)
    follow(answers.get_by_role("link", name="Oldest"))
    assert not answers.get_by_role("link", name="Older").count()
    assert len(rows_of(answers)) == ROWS_A_PAGE

    follow(answers.get_by_role("link", name="Newest"))
    assert rows_of(answers) == newest


@pytest.mark.parametrize("is_narrowed", [False, True], ids=["all", "narrowed"])
def test_downloads_have_as_many_rows_as_were_found(answers, is_narrowed):
    if is_narrowed:
        choose(answers, "Modality", "MRI")
    lines = download(answers, "JSON Lines").read_text("utf-8").splitlines()
    with download(answers, "CSV").open(encoding="utf-8-sig", newline="") as file:
        table = list(csv.DictReader(file))

    assert len(lines) == len(table) == total_of(answers)
    assert [str(json.loads(line)["answer_id"]) for line in lines] == [
        row["answer_id"] for row in table
    ]


def test_a_snapshot_opens_unchanged_and_its_download_has_its_hash(wrong_ct_answers):
    page, found = wrong_ct_answers, total_of(wrong_ct_answers)
    page.get_by_label("Name", exact=True).fill("Table 2")
    page.get_by_label("What it is for").fill("The wrong CT answers")
    page.get_by_role("button", name="Make a snapshot").click()
    expect(page.get_by_role("heading", name="Snapshot Table 2")).to_be_visible()
    page.get_by_role("link", name="Snapshots").click()
    page.get_by_role("link", name="Table 2").click()

    expect(page.get_by_text("unchanged", exact=True)).to_be_visible()
    assert total_of(page) == found
    sha256 = page.locator("dd code").first.inner_text()
    assert hashlib.sha256(download(page, "JSON Lines").read_bytes()).hexdigest() == sha256


def test_a_name_is_given_to_one_snapshot(answers, watch):
    watch.expect_status(409)
    for _ in range(2):
        answers.goto(f"{ANSWERS}?modality=MRI")
        answers.get_by_label("Name", exact=True).fill("Twice")
        answers.get_by_role("button", name="Make a snapshot").click()

    expect(answers.get_by_text("No snapshot was made")).to_be_visible()
    follow(answers.get_by_role("link", name="Back"))
    assert answers.url.endswith(f"{ANSWERS}?modality=MRI")


def test_an_answer_shows_the_picture_and_everything_that_made_it(wrong_ct_answers):
    page = wrong_ct_answers
    page.locator("table.answers a.question").first.click()

    picture = page.get_by_role("img", name="The picture as the model saw it")
    assert picture.evaluate("async image => (await image.decode(), image.naturalWidth)") == 392
    assert page.locator("ol.options li").count() > 1
    expect(page.locator("ol.options .mark")).to_have_text("chosen")
    expect(page.locator("ol.options .right")).to_have_text("truth")
    expect(page.locator("blockquote")).not_to_be_empty()
    made = page.locator("dl.provenance")
    for field in ("checkpoint_revision", "png_sha256", "decoding", "window_source"):
        expect(made.locator(f"dt:text-is('{field}') + dd")).not_to_be_empty()
    assert page.locator("ol.history li").count() > 1


def test_every_picture_of_a_list_is_shown(answers):
    pictures = answers.locator("table.answers img")
    for picture in pictures.all():
        picture.scroll_into_view_if_needed()
    answers.wait_for_load_state("networkidle")

    widths = pictures.evaluate_all("images => images.map(image => image.naturalWidth)")
    assert set(widths) == {392}


def test_a_program_reads_the_same_answers_by_a_token(answers, site_url):
    answers.get_by_role("link", name="researcher").click()
    answers.get_by_label("Name, to know it by").fill("notebook")
    answers.get_by_label("answers:read").check()
    answers.get_by_role("button", name="Make a token").click()
    token = answers.locator("section:has-text('The new token') code").inner_text()

    answer = httpx.get(
        f"{site_url}/api/v1/answers",
        params={"format": "jsonl", "project": "lung"},
        headers={"Authorization": f"Bearer {token}"},
    )

    assert len(answer.text.splitlines()) == ALL_ANSWERS


def test_a_password_that_is_refused_is_an_alert_and_no_success(page_of, watch):
    watch.expect_status(400)
    page = page_of("colleague", "/account")
    page.get_by_label("Present password").fill(PASSWORD)
    page.get_by_label("New password").fill("seven calm lions asleep")
    page.get_by_label("The same again").fill("eight calm lions asleep")
    page.get_by_role("button", name="Set the password").click()

    expect(page.get_by_role("alert")).to_have_text("The two new passwords differ.")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/operations", 403),
        ("/accounts", 403),
        ("/projects/heart/answers", 404),
        ("/projects/heart/snapshots", 404),
    ],
)
def test_a_researcher_is_refused_what_is_not_theirs(answers, watch, path, status):
    watch.expect_status(status)

    response = answers.goto(path)

    assert response.status == status
    assert not answers.get_by_role("link", name="Operations").count()


def test_a_researcher_of_another_project_sees_that_one_alone(page_of):
    page = page_of("cardiologist")

    assert page.locator("main h2").all_inner_texts() == ["Heart and vessels"]
    page.get_by_role("link", name="Answers").click()
    assert total_of(page) == ALL_HEART_ANSWERS


def test_an_auditor_sees_the_same_answers_and_no_form_for_a_snapshot(page_of, answers):
    auditor = page_of("auditor", ANSWERS)

    assert rows_of(auditor) == rows_of(answers)
    assert not auditor.get_by_role("button", name="Make a snapshot").count()


def test_an_auditor_who_posts_a_snapshot_is_refused(page_of, site_url):
    auditor = page_of("auditor")
    token = auditor.locator("input[name=csrf_token]").first.get_attribute("value")

    response = auditor.request.post(
        "/projects/lung/snapshots",
        form={"name": "Mine", "csrf_token": token},
        headers={"Origin": site_url},
    )

    assert response.status == 403
    auditor.goto("/projects/lung/snapshots")
    assert not auditor.get_by_role("link", name="Mine").count()


def test_a_reader_sees_the_project_and_no_way_to_its_answers(page_of, watch):
    watch.expect_status(403)
    page = page_of("reader")

    expect(page.get_by_role("heading", name="Lung nodules 2026")).to_be_visible()
    assert not page.get_by_role("link", name="Answers").count()
    assert page.goto(ANSWERS).status == 403


def test_signing_out_ends_the_session_for_a_copied_cookie_too(new_context, sign_in_by_form):
    page = sign_in_by_form(new_context().new_page(), "researcher")
    thief = new_context(storage_state=page.context.storage_state()).new_page()
    thief.goto(ANSWERS)
    assert total_of(thief) == ALL_ANSWERS

    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/sign-in")

    thief.reload()
    expect(thief.get_by_role("heading", name="Sign in")).to_be_visible()
