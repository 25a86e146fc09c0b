"""The log as administrators browse it: its pages, its filters, and that looking is an event."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta

import pytest
from factories import STUDY_UID, make_instance, put_instance

from medr1_pacs.db import reading
from medr1_pacs.db.audit import add_event, find_events, list_object_types, new_salt
from medr1_pacs.db.reading import NOT_KEPT
from medr1_pacs.db.tables import Account, AuditEvent, Study
from medr1_pacs.errors import DatabaseUnavailable
from medr1_pacs.records.audit import EventFilters
from medr1_pacs.records.reading import Reading
from medr1_pacs.web.pages.audit import EVENTS_A_PAGE

sqlite = pytest.mark.parametrize("site", ["sqlite"], indirect=True)

LOG = "/operations/audit"
DAY = datetime(2024, 1, 17, tzinfo=UTC)


@pytest.fixture
def administrator(app, sign_in):
    return sign_in(app, "eve", is_administrator=True)


@pytest.fixture
def log(database):
    """Write events of these actions about a thing; keywords as `add_event`."""

    def log(*actions, object_type="thing", object_id=1, **values):
        with database.write() as session:
            for action in actions:
                add_event(session, action, object_type, object_id, **values)

    return log


@pytest.fixture
def logged(database):
    """The actions of events that filters find, the latest first."""

    def logged(before=None, limit=100, **filters):
        with database.read() as session:
            found = find_events(session, EventFilters(**filters), before=before, limit=limit)
        return [event.action for event in found]

    return logged


def numbers_on(page) -> list[int]:
    return [int(number) for number in re.findall(r'<td class="number">(\d+)</td>', page.text)]


# -- finding -----------------------------------------------------------------------------------


def test_events_are_found_by_what_they_are_about(log, logged):
    log("thing.made")
    log("thing.broken", object_id=2)
    log("other.made", object_type="other")

    assert logged(object_type="thing") == ["thing.broken", "thing.made"]
    assert logged(object_type="thing", object_id=1) == ["thing.made"]


def test_events_are_found_by_who_did_it(log, logged):
    log("thing.made", actor="anna")
    log("thing.broken", actor="ann")

    assert logged(actor="anna") == ["thing.made"]


def test_events_are_found_by_their_action_or_its_beginning(log, logged):
    log("thing.made", "thing.broken", "things.made", "thingXmade", "thing")

    assert logged(action="thing") == ["thing", "thing.broken", "thing.made"]
    assert logged(action="thing.made") == ["thing.made"]
    assert logged(action="thin_") == []


def test_events_are_found_by_day_to_its_end(logged, database):
    moments = {
        "before": DAY - timedelta(microseconds=1),
        "first": DAY,
        "last": DAY + timedelta(days=1, microseconds=-1),
        "after": DAY + timedelta(days=1),
    }
    with database.write() as session:
        session.add_all(
            AuditEvent(
                occurred_at=moment,
                actor="service",
                action=action,
                object_type="study",
                object_id=1,
                salt=new_salt(),
            )
            for action, moment in moments.items()
        )

    assert logged(since=DAY.date(), until=DAY.date()) == ["last", "first"]
    assert logged(since=DAY.date()) == ["after", "last", "first"]
    assert logged(until=DAY.date()) == ["last", "first", "before"]


@pytest.mark.parametrize("day", [date.min, date.max])
def test_the_first_and_the_last_day_that_there_are_can_be_asked_for(log, logged, day):
    log("thing.made")

    assert logged(since=date.min, until=date.max) == ["thing.made"]
    assert logged(since=day, until=day) == []


def test_pages_follow_each_other_without_gap_or_overlap(log, logged, rows):
    log("a", "b", "c", "d")
    [first, *_] = rows(AuditEvent)

    assert logged(limit=2) == ["d", "c"]
    assert logged(limit=2, before=first.id + 2) == ["b", "a"]


def test_each_type_is_listed_once(log, database):
    for object_type in ("thing", "other", "thing"):
        log("made", object_type=object_type)

    with database.read() as session:
        assert list_object_types(session) == ["other", "thing"]


# -- the page ----------------------------------------------------------------------------------


@sqlite
def test_an_event_is_shown_with_all_that_it_says(administrator, log):
    log(
        "thing.state_changed",
        object_id=7,
        actor="anna",
        old={"state": "asked"},
        new={"state": "failed"},
        reason="the picture is lost",
    )

    page = administrator.get(LOG).text
    row = re.search(r"<tr>(?:(?!</tr>).)*state changed.*?</tr>", page, re.S)[0]
    assert "thing: state changed" in row
    assert f'<a href="{LOG}?object_type=thing&amp;object_id=7">thing 7</a>' in row
    assert f'<a href="{LOG}?actor=anna">anna</a>' in row
    assert "state: asked → failed" in row
    assert "the picture is lost" in row
    assert re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", row)


@sqlite
def test_what_an_event_says_is_no_markup(administrator, log):
    log("thing.made", actor="<b>x", new={"<i>": "<script>"}, reason="<u>")

    assert not re.search(r"<b>x|<i>|<script>|<u>", administrator.get(LOG).text)


@sqlite
def test_the_log_is_read_to_its_end_page_by_page(administrator, log, rows):
    log(*["thing.made"] * (2 * EVENTS_A_PAGE + 1))
    path, seen = f"{LOG}?object_type=thing", []
    while path:
        page = administrator.get(path)
        seen.append(numbers_on(page))
        following = re.search(r'rel="next" href="([^"]+)"', page.text)
        path = following and following[1].replace("&amp;", "&")

    things = [row.id for row in rows(AuditEvent) if row.object_type == "thing"]
    assert [len(numbers) for numbers in seen] == [EVENTS_A_PAGE, EVENTS_A_PAGE, 1]
    assert [number for numbers in seen for number in numbers] == things[::-1]


@sqlite
def test_the_form_holds_what_was_asked_for(administrator, log):
    log("thing.made", actor="anna")

    page = administrator.get(f"{LOG}?object_type=thing&object_id=1&actor=anna&action=thing"
                             "&since=2024-01-17&until=2999-12-31").text  # fmt: skip

    assert '<option value="thing" selected>' in page
    for name, value in {
        "object_id": "1",
        "actor": "anna",
        "action": "thing",
        "since": "2024-01-17",
        "until": "2999-12-31",
    }.items():
        assert re.search(rf'name="{name}"[^>]* value="{value}"', page), name
    assert "thing: made" in page


@sqlite
def test_a_form_that_is_sent_as_it_is_shows_everything(administrator, log):
    log("thing.made")

    page = administrator.get(f"{LOG}?object_type=&object_id=&actor=&action=&since=&until=")

    assert "thing: made" in page.text


@sqlite
@pytest.mark.parametrize(
    "query", ["since=yesterday", "actr=anna", "object_id=1", "before=x", "before=-1", "actor=%00"]
)
def test_what_is_no_filter_is_refused_and_no_event(administrator, rows, query):
    before = len(rows(AuditEvent))

    assert administrator.get(f"{LOG}?{query}").status_code == 422
    assert len(rows(AuditEvent)) == before


@sqlite
def test_where_nothing_is_found_the_page_leads_back(administrator):
    page = administrator.get(f"{LOG}?actor=nobody").text

    assert f'No event matches. <a href="{LOG}">' in page


# -- looking is an event -----------------------------------------------------------------------


@pytest.fixture
def views(rows):
    """What looking at the log left behind."""
    return lambda: [row for row in rows(AuditEvent) if row.action == Reading.AUDIT_VIEWED]


@sqlite
def test_each_look_at_the_log_is_an_event_with_its_filters(administrator, log, views):
    log("thing.made", actor="anna")
    administrator.get(LOG)
    administrator.get(f"{LOG}?actor=anna&since=2024-01-17")

    first, second = views()
    assert (first.actor, first.object_type, first.object_id) == ("eve", "audit", None)
    assert first.new_value == {"filters": {}}
    assert second.new_value == {"filters": {"actor": "anna", "since": "2024-01-17"}}


@sqlite
def test_a_filter_that_finds_nothing_is_not_kept_as_it_was_typed(administrator, views):
    administrator.get(f"{LOG}?actor=Zaubernuss&action=Quirina&object_type=thing&object_id=7")

    [event] = views()
    assert event.new_value["filters"] == {
        "actor": NOT_KEPT,
        "action": NOT_KEPT,
        "object_type": NOT_KEPT,
        "object_id": "7",
    }


@sqlite
def test_a_look_is_seen_by_the_next_one(administrator):
    assert "audit: viewed" not in administrator.get(LOG).text
    assert "audit: viewed" in administrator.get(LOG).text


@sqlite
def test_a_log_that_cannot_be_written_is_not_shown(administrator, log, monkeypatch):
    log("thing.made")

    def refuse(*_, **__):
        raise DatabaseUnavailable("the database does not answer")

    monkeypatch.setattr(reading, "add_event", refuse)

    answer = administrator.get(LOG)
    assert answer.status_code == 503
    assert "thing: made" not in answer.text


# -- ways to it --------------------------------------------------------------------------------


def links_on(page) -> list[str]:
    return [link.replace("&amp;", "&") for link in re.findall(r'href="([^"]+)"', page.text)]


@sqlite
def test_the_page_of_a_study_leads_to_its_events(administrator, index, store, rows):
    put_instance(store, make_instance())
    index()
    [study] = rows(Study)
    page = administrator.get(f"/operations/studies/{STUDY_UID}")

    path = f"{LOG}?object_type=study&object_id={study.id}"
    assert path in links_on(page)
    assert "study: viewed" in administrator.get(path).text


@sqlite
@pytest.mark.parametrize("path", ["/accounts", "/account"])
def test_an_account_leads_to_what_it_did_and_to_what_happened_to_it(administrator, rows, path):
    [account] = rows(Account)
    links = links_on(administrator.get(path))

    assert {
        f"{LOG}?actor=eve",
        f"{LOG}?object_type=account&object_id={account.id}",
    } <= set(links)


@sqlite
def test_whoever_is_no_administrator_is_not_led_to_the_log(app, sign_in):
    researcher = sign_in(app, "ada", {"default": ["researcher"]})

    assert not [link for link in links_on(researcher.get("/account")) if LOG in link]
