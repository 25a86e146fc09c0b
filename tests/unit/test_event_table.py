"""The log in the URL, and an event in words."""

from datetime import date

import pytest

from medr1_pacs.filters import FilterInvalid
from medr1_pacs.records.audit import EventFilters
from medr1_pacs.web.pages.event_table import link_to, parse_query, say_action, say_change

FILTERS = EventFilters(
    object_type="study",
    object_id=7,
    actor="anna",
    action="study.viewed",
    since=date(2024, 1, 17),
    until=date(2024, 2, 1),
)


def test_filters_come_back_from_their_url():
    assert parse_query(FILTERS.to_query().items()) == FILTERS


def test_a_form_that_is_sent_empty_is_no_filter():
    assert parse_query([(name, " ") for name in FILTERS.to_query()]) == EventFilters()


def test_the_page_is_no_filter():
    assert parse_query([("before", "12")]) == EventFilters()


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ([("actr", "anna")], "there is no filter 'actr'"),
        ([("actor", "anna"), ("actor", "bert")], "takes one value"),
        ([("actor", "a" * 129)], "at most 128 characters"),
        ([("actor", "a\x00")], "no NUL"),
        ([("object_id", "7")], "needs its type"),
        ([("object_type", "study"), ("object_id", "-1")], "use the number of a row"),
        ([("object_type", "study"), ("object_id", "²")], "use the number of a row"),
        ([("object_type", "study"), ("object_id", "9" * 19)], "use the number of a row"),
        ([("since", "yesterday")], "since: use a day"),
        ([("since", "2024-02-31")], "since: use a day"),
        ([("until", "20240131")], "until: use a day"),
    ],
)
def test_what_is_no_filter_is_refused(query, message):
    with pytest.raises(FilterInvalid, match=message):
        parse_query(query)


def test_the_next_page_keeps_the_filters():
    assert link_to(EventFilters(actor="a&b"), before=12) == (
        "/operations/audit?actor=a%26b&before=12"
    )
    assert link_to(EventFilters()) == "/operations/audit"


def test_an_action_is_said_in_words():
    assert say_action("account.signed_in") == "account: signed in"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ({}, {}, ""),
        ({}, {"how": "page", "words": 2}, "how: page · words: 2"),
        ({"state": "asked"}, {"state": "failed"}, "state: asked → failed"),
        ({"role": "reader"}, {}, "role: reader → –"),
        ({}, {"is_demo": False}, "is demo: no"),
        ({}, {"count": 0}, "count: 0"),
        ({}, {"filters": {}}, "filters: –"),
        ({}, {"filters": {"age_band": ["60-69", "90+"], "words": 2}},
         "filters: age band 60-69, 90+; words 2"),
    ],
)  # fmt: skip
def test_a_change_is_said_in_a_line(old, new, said):
    assert say_change(old, new) == said
