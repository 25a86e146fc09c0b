"""Readers judge cases at the reading page, by keyboard alone, over a project of five modalities."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from looking import RULES, barriers, keep_picture
from playwright.sync_api import Page, expect
from reading_project import CINE_FRAMES, PROJECT, begin_protocol, fill_reading_project
from sqlalchemy import select
from whole_site import PASSWORD, WholeSite, open_whole_site

from medr1_pacs.db.reading_progress import list_protocols
from medr1_pacs.db.tables import Account, Assignment, ReadingProtocol, Review
from medr1_pacs.records.review_words import AssignmentState, Phase
from medr1_pacs.records.reviews import Reader
from medr1_pacs.steps.reading_protocols import end_protocol
from medr1_pacs.steps.reviewing import open_next

CT, XRAY, ULTRASOUND = "ct-lung-pattern", "xr-chest-finding", "us-liver-echo"
SAW = "The model saw this frame"
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def whole_site(
    migrated_sqlite: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WholeSite]:
    """The project that is read, in the place of the site that has something of everything."""
    data_dir = tmp_path_factory.mktemp("reading") / "data"
    shutil.copytree(migrated_sqlite, data_dir)
    with open_whole_site(data_dir) as site:
        fill_reading_project(site)
        yield site


@dataclass
class Desk:
    """A reader at the reading page, who has nothing but a keyboard."""

    page: Page
    locked: list[tuple[Any, ...]] = field(default_factory=list)
    """What was typed, as the rows of reviews are to be."""

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def type(self, key: str, text: str) -> None:
        """Write into what a key leads to, and leave it."""
        self.press(key)
        self.page.keyboard.type(text)
        self.press("Escape")

    def submit(self) -> None:
        self.press("Control+Enter")

    def find(self, name: str) -> Any:
        return self.page.locator(f"#{name}")

    @property
    def options(self) -> list[str]:
        return self.page.locator("#options label span").all_inner_texts()

    def expect_state(self, state: str) -> None:
        expect(self.page.locator(f"body[data-state={state}]")).to_be_attached()
        expect(self.find("submit")).not_to_have_attribute("aria-disabled", "true")

    def expect_phase(self, phase: str) -> None:
        expect(self.page.locator("#steps [aria-current]")).to_have_text(phase)

    def expect_picture(self) -> None:
        """Expect that the frame is there."""
        expect(self.find("zoom")).not_to_have_text("")
        expect(self.find("frame-message")).to_have_text("")

    def choice(self) -> str | None:
        checked = self.page.locator("#options label:has(:checked) span")
        return checked.inner_text() if checked.count() else None

    def lock_blind(self) -> None:
        """Lock the first option, and wait for the model's side."""
        self.press("1", "Shift+7")
        self.submit()
        self.expect_phase("With the model")

    def lock_both(self) -> None:
        self.lock_blind()
        self.press("g", "3")
        self.submit()
        expect(self.page.locator("#steps [aria-current]")).not_to_have_text("With the model")


@pytest.fixture
def sit_down(whole_site: WholeSite, page_of: Callable[..., Page]) -> Callable[..., Desk]:
    """Let a reader open the page of a protocol, which is started unless its path is given."""

    def sit_down(account: str = "anna", path: str = "", **fields: Any) -> Desk:
        if not path:
            path = begin(whole_site, **({"readers": [account]} | fields))
        desk = Desk(page_of(account, path))
        expect(desk.page.locator("body:not([data-state=opening])")).to_be_attached()
        return desk

    return sit_down


def begin(site: WholeSite, **fields: Any) -> str:
    """Start a protocol of its own, of CT alone unless told; returns its page.

    Those of the tests before are ended: what is open in one is closed in another.
    """
    with site.database.read() as session:
        earlier = [each for each in list_protocols(session, PROJECT) if each.ended_at is None]
    for each in earlier:
        end_protocol(site.database, PROJECT, each.name, each.version, reason="a test", actor="test")
    return begin_protocol(site, f"reading-{next(_numbers)}", **({"questions": [CT]} | fields))


def find_reviews(site: WholeSite, account: str, path: str) -> list[Review]:
    """Return what somebody locked by a protocol, in order."""
    name = path.split("/")[4]
    with site.database.read() as session:
        return list(
            session.scalars(
                select(Review)
                .join(Assignment, Assignment.id == Review.assignment_id)
                .join(ReadingProtocol, ReadingProtocol.id == Assignment.protocol_id)
                .join(Account, Account.id == Review.account_id)
                .where(ReadingProtocol.name == name, Account.name == account)
                .order_by(Review.id)
            )
        )


def path_of(desk: Desk) -> str:
    return desk.page.evaluate("location.pathname")


# -- the whole of it -----------------------------------------------------------------------------


def judge(desk: Desk, number: int, shift: int) -> None:
    """Fill in what somebody says of a case, and note it."""
    phase = desk.page.locator("#steps [aria-current]").inner_text()
    is_assisted = phase == "With the model"
    options, flags, comment, grade, error = desk.options, [], None, None, None
    if number % 7 == 6:
        if desk.find("cannot").get_attribute("aria-pressed") == "false":
            desk.press("x")
            desk.page.keyboard.type("It moved.")
            desk.press("Escape")
        choice, confidence, why = None, None, "It moved."
    else:
        place = (number + shift) % len(options)
        digit = 1 + (number + shift) % 9
        desk.press(str(place + 1), f"Shift+{digit}")
        choice, confidence, why = options[place], 10 * digit, None
    if number % 3 == 0:
        desk.press("b")
        flags.append("bad_image")
    if number % 4 == 0:
        comment = f"Case {number}: x, 1 and ? are text here."
        desk.type("c", comment)
    if is_assisted:
        grade = 1 + number % 5
        desk.press("g", str(grade), "e", "3")
        error = "localization"
    word = {
        "On your own": Phase.BLIND,
        "With the model": Phase.ASSISTED,
        "Adjudication": Phase.ADJUDICATION,
    }[phase]
    desk.locked.append((word, choice, why, confidence, flags, grade, error, comment))


def rows_of(reviews: list[Review]) -> list[tuple[Any, ...]]:
    return [
        (
            each.phase,
            each.choice_text,
            each.cannot_assess,
            each.confidence,
            each.flags,
            each.reasoning_grade,
            each.reasoning_error,
            each.comment,
        )
        for each in reviews
    ]


def read_all(desk: Desk, shift: int) -> int:
    """Judge every case until nothing is left; returns how many."""
    for number in itertools.count():
        if desk.page.locator("body[data-state=nothing]").count():
            return number
        desk.expect_state("reading")
        desk.expect_picture()
        done = desk.find("progress").inner_text()
        judge(desk, number, shift)
        desk.submit()
        if desk.page.locator("#steps span").count() == 2:
            desk.expect_phase("With the model")
            judge(desk, number, shift)
            desk.submit()
        expect(desk.find("progress")).not_to_have_text(done)
        expect(desk.page.locator("body:not([data-state=opening])")).to_be_attached()
    raise AssertionError("unreachable")


@pytest.mark.timeout(300)
def test_two_readers_and_an_adjudicator_finish_a_protocol_by_keyboard_alone(whole_site, sit_down):
    path = begin_protocol(
        whole_site, "acceptance", readers=["anna", "ben"], adjudicators=["carla"], cases=20
    )
    desks = {}
    for account, shift in (("anna", 0), ("ben", 1)):
        desks[account] = sit_down(account, path)
        assert read_all(desks[account], shift) == 20
    desks["carla"] = sit_down("carla", path)
    adjudicated = read_all(desks["carla"], 2)

    assert adjudicated >= 10
    for account, desk in desks.items():
        expect(desk.find("nothing-title")).to_be_focused()
        assert rows_of(find_reviews(whole_site, account, path)) == desk.locked
    with whole_site.database.read() as session:
        states = session.scalars(
            select(Assignment.state)
            .join(ReadingProtocol, ReadingProtocol.id == Assignment.protocol_id)
            .where(ReadingProtocol.name == "acceptance")
        ).all()
    assert set(states) == {AssignmentState.DONE}
    assert len(states) == 40 + adjudicated


# -- what is filled in ---------------------------------------------------------------------------


def test_a_draft_survives_a_reload(sit_down):
    desk = sit_down(cases=1)
    desk.press("2", "Shift+4", "t")
    desk.type("c", "The upper lobe?")
    expect(desk.find("saved")).to_have_text("Saved")

    desk.page.reload()

    desk.expect_state("reading")
    assert desk.choice() == desk.options[1]
    expect(desk.find("confidence-said")).to_have_text("40")
    expect(desk.find("comment")).to_have_value("The upper lobe?")
    expect(desk.page.locator("[data-flag=text_in_image]")).to_have_attribute("aria-pressed", "true")


def test_what_was_typed_last_is_kept_when_the_page_is_left(sit_down):
    desk = sit_down(cases=1)
    desk.press("3", "Shift+9")

    desk.page.goto("/account")
    desk.page.go_back()

    desk.expect_state("reading")
    expect(desk.find("confidence-said")).to_have_text("90")


def test_half_a_letter_at_the_end_of_a_text_does_not_keep_it_from_being_kept(sit_down):
    desk = sit_down(cases=1)
    desk.find("comment").evaluate(
        """(place) => {
            place.value = "cut \\ud83d";
            place.dispatchEvent(new Event("input", { bubbles: true }));
        }"""
    )

    expect(desk.find("saved")).to_have_text("Saved")
    desk.page.reload()
    expect(desk.find("comment")).to_have_value("cut \ufffd")


def test_a_draft_of_the_phase_before_is_no_draft_of_this_one(whole_site, sit_down):
    desk = sit_down(cases=1)
    desk.type("c", "Only before the model")
    desk.lock_blind()

    desk.page.reload()

    desk.expect_phase("With the model")
    expect(desk.find("comment")).to_have_value("")
    assert desk.choice() == desk.options[0]


def test_a_case_that_cannot_be_assessed_says_why(whole_site, sit_down):
    desk = sit_down(cases=1, arm="blind")
    desk.press("1", "Shift+8")

    desk.type("x", "Half of the lung is missing")
    desk.submit()

    desk.expect_state("nothing")
    [review] = find_reviews(whole_site, "anna", path_of(desk))
    assert (review.choice_text, review.confidence) == (None, None)
    assert review.cannot_assess == "Half of the lung is missing"


def test_a_case_that_can_be_assessed_after_all_keeps_the_text_aside(sit_down):
    desk = sit_down(cases=1)
    desk.type("x", "Too dark")

    desk.press("1")
    expect(desk.find("why")).to_be_hidden()
    desk.press("x")

    expect(desk.find("why")).to_have_value("Too dark")
    assert desk.choice() is None


def test_flags_and_a_comment_are_locked(whole_site, sit_down):
    desk = sit_down(cases=1, arm="blind")
    desk.press("1", "Shift+0", "b", "q", "t", "t")
    desk.type("c", "A second look is needed")

    desk.submit()

    desk.expect_state("nothing")
    [review] = find_reviews(whole_site, "anna", path_of(desk))
    assert review.flags == ["bad_image", "wrong_question"]
    assert (review.confidence, review.comment) == (100, "A second look is needed")


def test_a_finding_is_hallucinated_where_somebody_told_of_it_alone(sit_down):
    desk = sit_down(cases=1)
    flag = desk.page.locator("[data-flag=hallucinated_finding]")
    expect(flag).to_be_hidden()
    desk.press("h")

    desk.lock_blind()

    expect(flag).to_be_visible()
    expect(flag).to_have_attribute("aria-pressed", "false")
    desk.press("h")
    expect(flag).to_have_attribute("aria-pressed", "true")


def test_keys_are_text_while_somebody_types(sit_down):
    desk = sit_down(cases=1)
    desk.expect_picture()
    window = desk.find("window").inner_text()

    desk.type("c", "x 1 b ? w i [ n")

    expect(desk.find("comment")).to_have_value("x 1 b ? w i [ n")
    expect(desk.find("help")).to_be_hidden()
    assert desk.choice() is None
    expect(desk.find("window")).to_have_text(window)
    expect(desk.find("question")).to_be_focused()


def test_arrows_move_the_confidence_where_it_has_the_focus_and_frames_everywhere(sit_down):
    desk = sit_down(cases=1)
    desk.press("Shift+5", "1")
    desk.page.locator("#options input").first.focus()
    frame = desk.find("frame").inner_text()

    desk.press("ArrowUp")
    expect(desk.find("frame")).not_to_have_text(frame)
    assert desk.choice() == desk.options[0]

    desk.find("confidence").focus()
    desk.press("ArrowRight", "ArrowRight", "ArrowLeft", "ArrowDown")
    expect(desk.find("confidence-said")).to_have_text("55")
    expect(desk.find("frame")).to_have_text(frame)


def test_enter_in_a_field_locks_nothing(whole_site, sit_down):
    desk = sit_down(cases=1)
    desk.press("1", "Shift+5")
    desk.page.locator("#options input").first.focus()

    desk.press("Enter")

    desk.page.wait_for_timeout(200)
    assert find_reviews(whole_site, "anna", path_of(desk)) == []


def test_an_impatient_reader_locks_once(whole_site, sit_down):
    desk = sit_down(cases=2, arm="blind")
    desk.press("1", "Shift+5")

    for _ in range(3):
        desk.submit()

    expect(desk.find("progress")).to_have_text("1 done, 1 left")
    desk.expect_state("reading")
    assert len(find_reviews(whole_site, "anna", path_of(desk))) == 1
    assert desk.choice() is None


# -- the pictures --------------------------------------------------------------------------------


def test_the_pictures_obey_their_keys(sit_down):
    desk = sit_down(cases=1)
    desk.expect_picture()
    stage, window, frame = (
        desk.page.locator(".viewer-stage"),
        desk.find("window"),
        desk.find("frame"),
    )
    begun = window.inner_text()
    assert "lung" in begun

    desk.press("w")
    expect(window).not_to_have_text(begun)
    desk.press("i")
    expect(window).to_contain_text("inverted")
    desk.press("r")
    assert "is-measuring" in stage.get_attribute("class")
    desk.press("r", "0")
    expect(window).to_have_text(begun)
    desk.press("End")
    last = int(frame.inner_text().split()[-1])
    expect(frame).to_have_text(f"frame {last} of {last}")
    desk.press("ArrowUp")
    expect(frame).to_have_text(f"frame {last - 1} of {last}")
    desk.press("Home", "PageDown", "PageUp")
    expect(frame).to_have_text(f"frame 1 of {last}")


def test_a_series_is_left_and_found_again_at_its_frame(sit_down):
    desk = sit_down(cases=1)
    name, frame = desk.find("series-name"), desk.find("frame")
    desk.press("Home")
    first = (name.inner_text(), frame.inner_text())

    desk.press("]")
    expect(name).not_to_have_text(first[0])
    expect(desk.page.locator("#series [aria-current]")).to_contain_text(name.inner_text())
    desk.press("]", "[")

    expect(name).to_have_text(first[0])
    expect(frame).to_have_text(first[1])


def test_a_cine_plays_by_the_space_bar(sit_down):
    desk = sit_down(cases=1, questions=[ULTRASOUND])
    desk.expect_picture()
    frame = desk.find("frame")
    begun = frame.inner_text()
    assert begun.endswith(f"of {CINE_FRAMES}")

    desk.press(" ")

    expect(frame).not_to_have_text(begun)


def test_a_button_beside_the_pictures_is_pressed_and_chosen(sit_down):
    desk = sit_down(cases=1)
    desk.expect_picture()

    desk.page.get_by_role("button", name="bone", exact=True).click()

    expect(desk.find("window")).to_contain_text("bone")
    pressed = desk.page.locator("#presets [aria-pressed=true]")
    expect(pressed).to_have_text("bone")
    desk.press("w")
    expect(pressed).not_to_have_text("bone")


# -- the model's side ----------------------------------------------------------------------------


def test_nothing_of_the_model_is_in_the_page_before_the_lock(sit_down):
    desk = sit_down(cases=1)
    expect(desk.find("evidence")).to_be_hidden()
    expect(desk.find("evidence-parts")).to_be_empty()

    desk.lock_blind()

    expect(desk.find("evidence")).to_be_visible()
    expect(desk.find("evidence").locator("img").first).to_be_visible()
    expect(desk.find("locked")).to_contain_text(f"{desk.options[0]}, confidence 70")


def test_a_reveal_leaves_the_picture_and_begins_with_the_locked_answer(sit_down):
    desk = sit_down(cases=1)
    desk.expect_picture()
    desk.press("Home", "w", "w", "i", "+")
    before = [desk.find(name).inner_text() for name in ("frame", "window", "zoom")]

    desk.lock_blind()

    assert [desk.find(name).inner_text() for name in ("frame", "window", "zoom")] == before
    assert desk.choice() == desk.options[0]
    expect(desk.find("confidence-said")).to_have_text("70")
    expect(desk.find("mark")).to_have_text(SAW)


def test_the_pictures_that_the_model_saw_are_walked_through(sit_down):
    desk = sit_down(cases=1)
    desk.lock_blind()
    places = desk.page.locator(".evidence .where").all_inner_texts()

    for place in places:
        desk.press("m")
        series, frame = place.removeprefix("series ").split(", frame ")
        expect(desk.find("frame")).to_contain_text(f"frame {frame} of")
        expect(desk.find("mark")).to_have_text(SAW)
        shown = desk.page.locator("#series li").nth(int(series) - 1).locator("button")
        expect(shown).to_have_attribute("aria-current", "true")


def test_the_reasoning_has_to_be_graded_and_its_error_may_be_named(whole_site, sit_down, watch):
    watch.expect_status(409)
    desk = sit_down(cases=1)
    desk.lock_blind()

    desk.submit()
    expect(desk.find("message")).to_have_text("Grade the model's reasoning, 1 to 5.")
    desk.press("g", "2", "e", "4", "3")
    desk.submit()

    desk.expect_state("nothing")
    review = find_reviews(whole_site, "anna", path_of(desk))[-1]
    assert (review.reasoning_grade, review.reasoning_error) == (2, "knowledge")
    assert review.choice_text == "Emphysema or bullae"


def test_an_adjudicator_sees_what_the_readers_said_without_their_names(whole_site, sit_down):
    path = begin(whole_site, arm="blind", cases=1, readers=["anna", "ben"], adjudicators=["carla"])
    for account, digit in (("anna", "1"), ("ben", "2")):
        desk = sit_down(account, path)
        desk.press(digit, "Shift+6")
        desk.type("c", f"Option {digit} for me")
        desk.submit()
        desk.expect_state("nothing")

    desk = sit_down("carla", path)

    said = desk.find("evidence").inner_text()
    assert {"Reader A", "Reader B"} <= set(desk.page.locator(".readers h3").all_inner_texts())
    assert "Option 1 for me" in said
    assert "confidence 60" in said
    assert "anna" not in desk.page.content().replace("carla", "")


# -- case after case -----------------------------------------------------------------------------


def test_an_earlier_case_is_amended_with_a_reason(whole_site, sit_down, watch):
    watch.expect_status(409)
    desk = sit_down(cases=2, arm="blind")
    desk.press("1", "Shift+5")
    desk.submit()
    expect(desk.find("progress")).to_have_text("1 done, 1 left")
    desk.expect_state("reading")
    desk.press("2")

    desk.press("p")
    desk.expect_state("earlier")
    expect(desk.find("answer")).to_have_attribute("disabled", "")
    desk.press("3", "a")
    desk.expect_state("amending")
    desk.press("Escape")
    desk.press("3", "Shift+9")
    desk.submit()
    expect(desk.find("message")).to_have_text("Say why the answer changes.")
    desk.find("reason").focus()
    desk.page.keyboard.type("A slip of the key")
    desk.submit()
    expect(desk.find("saved")).to_have_text("Amended; both answers are kept")

    reviews = find_reviews(whole_site, "anna", path_of(desk))
    assert [(each.version, each.confidence, each.reason) for each in reviews] == [
        (1, 50, None),
        (2, 90, "A slip of the key"),
    ]
    desk.press("n")
    desk.expect_state("reading")
    assert desk.choice() == desk.options[1]


def test_an_earlier_case_that_is_closed_costs_nothing_of_the_open_one(whole_site, sit_down, watch):
    watch.expect_status(404)
    # A washout of a second: what is locked may be looked at for no longer than that.
    desk = sit_down(cases=3, arm="blind", repeats=1, washout_days=1 / 86_400)
    desk.expect_picture()
    desk.press("1", "Shift+7")
    desk.submit()
    expect(desk.find("progress")).to_have_text("1 done, 3 left")
    desk.expect_state("reading")
    desk.page.wait_for_timeout(1_500)

    desk.press("p")
    expect(desk.find("message")).to_contain_text("This case is closed for you by now")
    desk.type("c", "Faint, on the left")
    desk.press("2")

    expect(desk.find("saved")).to_have_text("Saved")
    desk.page.reload()
    desk.expect_state("reading")
    expect(desk.find("comment")).to_have_value("Faint, on the left")
    assert desk.choice() == desk.options[1]


def test_an_amendment_that_is_given_up_changes_nothing(whole_site, sit_down):
    desk = sit_down(cases=2, arm="blind")
    desk.press("1", "Shift+5")
    desk.submit()
    expect(desk.find("progress")).to_have_text("1 done, 1 left")
    desk.expect_state("reading")

    desk.press("p")
    desk.expect_state("earlier")
    desk.press("a", "Escape", "3", "Escape")

    desk.expect_state("earlier")
    assert desk.choice() == desk.options[0]
    assert len(find_reviews(whole_site, "anna", path_of(desk))) == 1


def test_a_case_is_not_passed_over(sit_down):
    desk = sit_down(cases=2)
    question = desk.find("question").inner_text()

    desk.press("n")
    expect(desk.find("message")).to_have_text("This case comes first: lock it.")
    desk.press("p")

    expect(desk.find("message")).to_contain_text("Nothing earlier was locked")
    expect(desk.find("question")).to_have_text(question)


def test_practice_tells_what_is_true(sit_down):
    desk = sit_down(questions=["xr-technique"], arm="blind", practice=2, cases=1)
    expect(desk.page.locator("#steps")).to_contain_text("Practice")
    desk.press(str(desk.options.index("Angiogram") + 1), "Shift+3")

    desk.submit()
    desk.expect_state("feedback")
    expect(desk.find("feedback")).to_have_text("Not right. The truth is: Plain radiograph")
    desk.submit()
    desk.expect_state("reading")
    desk.press(str(desk.options.index("Plain radiograph") + 1), "Shift+9")
    desk.submit()

    expect(desk.find("feedback")).to_have_text("Right. The truth is: Plain radiograph")
    desk.press("n")
    desk.expect_state("reading")
    expect(desk.page.locator("#steps")).not_to_contain_text("Practice")


def test_who_is_done_is_told_when_the_next_case_is_due(sit_down):
    desk = sit_down(arm="blind", cases=1, repeats=1, washout_days=7)
    desk.press("1", "Shift+5")
    desk.submit()

    desk.expect_state("nothing")
    due = datetime.now(UTC) + timedelta(days=7)
    expect(desk.find("nothing-says")).to_contain_text("The next case is due on")
    expect(desk.find("nothing-says")).to_contain_text(f"{due.year}")
    assert desk.find("nothing").get_by_role("link").get_attribute("href") == (
        f"/projects/{PROJECT}/reading"
    )


# -- what goes wrong -----------------------------------------------------------------------------


def test_what_is_missing_is_said_and_nothing_is_lost(sit_down, watch):
    watch.expect_status(409)
    desk = sit_down(cases=1)
    desk.press("2", "b")

    desk.submit()

    expect(desk.find("message")).to_have_text("Say how confident you are, 0 to 100.")
    desk.expect_state("reading")
    assert desk.choice() == desk.options[1]
    desk.press("Shift+5")
    expect(desk.find("message")).to_be_hidden()


def test_a_case_that_somebody_else_was_given_leads_to_the_next(whole_site, sit_down, watch):
    watch.expect_status(404)
    path = begin(whole_site, arm="blind", reads=1, cases=2, readers=["anna", "ben"])
    desk = sit_down("anna", path)
    with whole_site.database.read() as session:
        ids = {row.name: row.id for row in session.scalars(select(Account))}
        protocol_id = session.scalars(
            select(ReadingProtocol.id).where(ReadingProtocol.name == path.split("/")[4])
        ).one()
    later = datetime.now(UTC) + timedelta(hours=2)
    for _ in range(2):  # both cases, the second when the claim of the first has ended too
        open_next(whole_site.database, Reader(protocol_id, ids["ben"]), now=later)
    expired = find_open(whole_site, protocol_id, ids["anna"])
    assert expired == []

    desk.press("1", "Shift+5")
    desk.submit()

    desk.expect_state("gone")
    expect(desk.find("message")).to_contain_text("is not open for you any more")
    desk.submit()
    desk.expect_state("reading")
    expect(desk.find("message")).to_be_hidden()


def find_open(site: WholeSite, protocol_id: int, account_id: int) -> list[int]:
    with site.database.read() as session:
        return list(
            session.scalars(
                select(Assignment.id).where(
                    Assignment.protocol_id == protocol_id,
                    Assignment.account_id == account_id,
                    Assignment.state == AssignmentState.OPEN,
                )
            )
        )


def test_who_is_signed_out_signs_in_again_and_goes_on(
    whole_site, sit_down, new_context, sign_in_by_form, watch
):
    watch.expect_status(401)
    watch.expect_status(403)
    path = begin(whole_site, arm="blind", cases=1, readers=["anna"])
    page = sign_in_by_form(new_context().new_page(), "anna")
    page.goto(path)
    desk = Desk(page)
    desk.expect_state("reading")
    desk.press("1", "Shift+5")
    expect(desk.find("saved")).to_have_text("Saved")
    page.context.clear_cookies()

    desk.submit()
    message = desk.find("message")
    expect(message).to_contain_text("You are no longer signed in. What you filled in is still here")
    with page.context.expect_page() as opened:
        message.get_by_role("link").click()
    sign_in_by_form(opened.value, "anna", PASSWORD)
    page.bring_to_front()
    desk.submit()

    desk.expect_state("nothing")
    assert len(find_reviews(whole_site, "anna", path)) == 1


def test_a_draft_that_could_not_be_kept_is_tried_again(sit_down, watch):
    watch.expect_status(503)
    desk = sit_down(cases=1)
    desk.page.route(
        "**/draft", lambda route: route.fulfill(status=503, json={"detail": "the database is away"})
    )

    desk.press("1")
    expect(desk.find("saved")).to_have_text("Not saved yet; trying again")
    expect(desk.find("message")).to_have_text("The database is away.")
    desk.page.unroute("**/draft")

    expect(desk.find("saved")).to_have_text("Saved")
    expect(desk.find("message")).to_be_hidden()
    assert desk.choice() == desk.options[0]


def test_a_next_case_that_does_not_come_is_asked_for_again(sit_down, watch):
    watch.expect_status(503)
    desk = sit_down(cases=2, arm="blind")
    desk.page.route(
        "**/next", lambda route: route.fulfill(status=503, json={"detail": "the database is away"})
    )
    desk.page.reload()
    desk.expect_state("unopened")
    expect(desk.find("message")).to_have_text("The database is away.")

    desk.page.unroute("**/next")
    desk.submit()

    desk.expect_state("reading")
    expect(desk.find("message")).to_be_hidden()


# -- time ----------------------------------------------------------------------------------------


def test_time_counts_until_30_seconds_after_the_last_input(sit_down):
    desk = sit_down(cases=1)
    desk.page.clock.install()
    desk.page.reload()
    desk.expect_state("reading")
    desk.page.clock.fast_forward(20_000)
    desk.press("1")
    desk.page.clock.fast_forward(500_000)
    with desk.page.expect_request(
        lambda request: "/draft" in request.url and request.post_data_json["draft"]["confidence"]
    ) as sent:
        desk.press("Shift+5")
        desk.page.clock.run_for(3_000)

    assert 50_000 <= sent.value.post_data_json["active_ms"] < 60_000


# -- what is seen --------------------------------------------------------------------------------


def show_blind(sit_down: Callable[..., Desk], site: WholeSite) -> Desk:
    desk = sit_down(cases=2)
    desk.press("2")
    return desk


def show_revealed(sit_down: Callable[..., Desk], site: WholeSite) -> Desk:
    desk = sit_down(cases=1)
    desk.lock_blind()
    return desk


def show_radiograph(sit_down: Callable[..., Desk], site: WholeSite) -> Desk:
    desk = sit_down(cases=1, questions=[XRAY])
    desk.lock_blind()
    desk.press("g", "4", "e", "1")
    return desk


def show_color(sit_down: Callable[..., Desk], site: WholeSite) -> Desk:
    desk = sit_down(cases=1, questions=["dm-suspicion"])
    desk.press("x")
    return desk


def show_adjudication(sit_down: Callable[..., Desk], site: WholeSite) -> Desk:
    path = begin(site, arm="blind", cases=1, readers=["anna", "ben"], adjudicators=["carla"])
    for account, digit in (("anna", "1"), ("ben", "4")):
        desk = sit_down(account, path)
        desk.press(digit, "Shift+6")
        desk.type("c", "Denser at the base of the left lung, without a meniscus.")
        desk.submit()
        desk.expect_state("nothing")
    return sit_down("carla", path)


def show_feedback(sit_down: Callable[..., Desk], site: WholeSite) -> Desk:
    desk = sit_down(questions=["xr-technique"], arm="blind", practice=1, cases=1)
    desk.press("4", "Shift+3")
    desk.submit()
    desk.expect_state("feedback")
    return desk


def show_amending(sit_down: Callable[..., Desk], site: WholeSite) -> Desk:
    desk = sit_down(cases=2)
    desk.lock_both()
    desk.press("p")
    desk.expect_state("earlier")
    desk.press("a")
    return desk


def show_refused(sit_down: Callable[..., Desk], site: WholeSite) -> Desk:
    desk = sit_down(cases=1)
    desk.submit()
    expect(desk.find("message")).to_be_visible()
    return desk


def show_nothing(sit_down: Callable[..., Desk], site: WholeSite) -> Desk:
    desk = sit_down(cases=1, arm="blind")
    desk.press("1", "Shift+3")
    desk.submit()
    desk.expect_state("nothing")
    return desk


def show_help(sit_down: Callable[..., Desk], site: WholeSite) -> Desk:
    desk = sit_down(cases=1)
    desk.press("?")
    return desk


STATES = {
    "reading": show_blind,
    "reading-revealed": show_revealed,
    "reading-radiograph": show_radiograph,
    "reading-color": show_color,
    "reading-adjudication": show_adjudication,
    "reading-feedback": show_feedback,
    "reading-amending": show_amending,
    "reading-refused": show_refused,
    "reading-nothing": show_nothing,
    "reading-keys": show_help,
}


@pytest.mark.parametrize("state", STATES)
def test_every_state_fits_the_screen_and_keeps_nobody_from_using_it(
    state, sit_down, whole_site, watch
):
    if state == "reading-refused":
        watch.expect_status(409)
    desk = STATES[state](sit_down, whole_site)
    if state not in ("reading-nothing", "reading-keys"):
        desk.expect_picture()

    assert desk.page.evaluate(
        "[document.documentElement.scrollWidth, document.documentElement.scrollHeight]"
    ) == [1440, 900]
    if state not in ("reading-amending", "reading-nothing"):
        assert (
            desk.page.evaluate(
                "(({ scrollHeight, clientHeight }) => scrollHeight - clientHeight)"
                "(document.querySelector('#panel .scroll'))"
            )
            <= 0
        )
    for scheme, rules in RULES.items():
        desk.page.emulate_media(color_scheme=scheme)
        keep_picture(desk.page, f"{state}-{scheme}")
        assert barriers(desk.page, rules) == []


@pytest.mark.parametrize(("width", "height"), [(1280, 720), (720, 900)])
def test_a_smaller_screen_is_used_without_scrolling_sideways(sit_down, width, height):
    desk = sit_down(cases=1)
    desk.lock_blind()

    desk.page.set_viewport_size({"width": width, "height": height})

    assert desk.page.evaluate("document.documentElement.scrollWidth") == width
    assert desk.page.locator(".viewer-stage").bounding_box()["height"] > 400
    expect(desk.find("submit")).to_be_visible()


def test_the_help_tells_every_key_that_a_button_tells(sit_down):
    desk = sit_down(cases=1)
    printed = set(desk.page.locator("main button kbd, header kbd").all_inner_texts())

    desk.press("?")
    told = set(desk.page.locator("#help dt kbd").all_inner_texts())

    assert printed <= told
    desk.press("x", "Escape")
    expect(desk.find("help")).to_be_hidden()
    expect(desk.find("cannot")).to_have_attribute("aria-pressed", "false")


def test_the_focus_is_seen_wherever_tab_leads(sit_down):
    desk = sit_down(cases=1)
    rings: list[list[str]] = []
    for _ in range(60):
        desk.press("Tab")
        if desk.page.evaluate("document.activeElement === document.body"):
            continue  # behind the last one is the browser's own
        rings.append(
            desk.page.evaluate(
                """() => {
                  const element = document.activeElement;
                  const seen = element.matches(".chips-row input") ? element.nextSibling : element;
                  const { outlineStyle, boxShadow } = getComputedStyle(seen);
                  return [element.id || element.textContent, outlineStyle, boxShadow];
                }"""
            )
        )

    assert len(rings) > 25
    assert [ring for ring in rings if ring[1] == "none" and ring[2] == "none"] == []


def test_somebody_who_is_not_in_the_protocol_does_not_learn_of_it(whole_site, page_of, watch):
    watch.expect_status(404)
    path = begin(whole_site, cases=1, readers=["anna"])

    page = page_of("ben", path)

    expect(page.get_by_role("heading", name="Not found")).to_be_visible()
