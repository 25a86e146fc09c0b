"""The table of studies in the URL."""

from __future__ import annotations

import pytest

from medr1_pacs.records.operating import StudyQuery, StudySort
from medr1_pacs.records.words import Modality, StudyState
from medr1_pacs.web.pages.study_table import column_heads, link_to, parse_query


@pytest.mark.parametrize(
    "query",
    [
        StudyQuery(),
        StudyQuery(search="1.2.3", state=StudyState.FAILED, modality=Modality.XRAY, page=3),
        StudyQuery(sort=StudySort.ANSWERS, is_ascending=True),
    ],
)
def test_a_link_leads_back_to_its_query(query):
    _, _, text = link_to(query).partition("?")
    parameters = dict(pair.split("=") for pair in text.split("&")) if text else {}

    assert parse_query(parameters) == query


@pytest.mark.parametrize(
    "parameters",
    [
        {"state": "", "modality": "", "page": ""},
        {"state": "lost", "modality": "XX", "sort": "name", "order": "up", "page": "-1"},
        {"page": "²"},
        {"page": "0"},
    ],
)
def test_what_nobody_could_have_chosen_is_left_out(parameters):
    assert parse_query(parameters) == StudyQuery()


def test_a_page_beyond_all_is_the_last_that_may_be_asked_for():
    assert parse_query({"page": "9" * 30}).page == 10_000


def test_a_search_is_no_longer_than_a_uid():
    assert len(parse_query({"search": "1" * 1000}).search) == 64


def test_the_head_of_the_order_at_hand_turns_it_round_and_goes_to_the_first_page():
    heads = column_heads(StudyQuery(sort=StudySort.ANSWERS, page=4))

    assert heads[StudySort.ANSWERS].href == "/operations?sort=answers&order=ascending"
    assert heads[StudySort.ANSWERS].aria_sort == "descending"
    assert heads[StudySort.STATE].href == "/operations?sort=state"
    assert heads[StudySort.STATE].aria_sort == "none"
