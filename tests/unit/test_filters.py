from dataclasses import fields

import pytest

from medr1_pacs.filters import CHOICES, FACETS, AnswerFilters, FilterInvalid, parse_filters
from medr1_pacs.records.words import Correctness


def test_without_any_the_current_protocol_answers_of_real_checkpoints_are_meant():
    filters = parse_filters({})

    assert (filters.versions, filters.kind, filters.demo) == ("current", ("protocol",), "no")
    assert filters.to_query() == {}


def test_what_was_read_is_written_as_it_was():
    query = {
        "modality": ["CT", "MRI"],
        "truth": ["known"],
        "since": ["2024"],
        "words": ["left lobe"],
        "demo": ["yes"],
    }

    assert parse_filters(query).to_query() == query
    assert parse_filters(parse_filters(query).to_query()) == parse_filters(query)


def test_empty_and_repeated_values_are_dropped():
    filters = parse_filters({"modality": ["", "CT", " CT "], "since": [""]})

    assert filters == AnswerFilters(modality=("CT",))


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"modalty": ["CT"]}, "there is no filter 'modalty'; use modality, "),
        ({"modality": ["XX"]}, "modality = 'XX': use one of CT, MRI"),
        ({"truth": ["maybe"]}, "truth = 'maybe': use one of right, wrong, unknown, known"),
        ({"since": ["17.1.2024"]}, "use 2024, 2024-01 or 2024-01-17"),
        ({"since": ["2024", "2025"]}, "'since' takes one value"),
        ({"study": ["../etc"]}, "is not a UID"),
        ({"words": ["--"]}, "use 1 to 20 words"),
        ({"words": ["a " * 21]}, "use 1 to 20 words"),
        ({"anatomy": ["x" * 129]}, "at most 128 characters"),
        ({"scanner": ["\x00"]}, "no NUL character"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(query, message):
    with pytest.raises(FilterInvalid) as refused:
        parse_filters(query)

    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("truth", "meant"),
    [
        (("known",), {Correctness.RIGHT, Correctness.WRONG}),
        (("known", "unknown"), set(Correctness)),
        (("wrong",), {Correctness.WRONG}),
        ((), set()),
    ],
)
def test_known_is_right_or_wrong(truth, meant):
    assert AnswerFilters(truth=truth).correctness == meant


def test_words_are_searched_for_whatever_their_case_and_signs():
    assert AnswerFilters(words='Left-sided "OR" (Größe)').word_list == (
        "left",
        "sided",
        "or",
        "größe",
    )


def test_a_value_is_added_and_taken_away():
    ct = AnswerFilters().with_value("modality", "CT")
    both = ct.with_value("modality", "MRI")

    assert both.modality == ("CT", "MRI")
    assert both.without_value("modality", "MRI") == ct
    assert ct.without_value("modality", "CT") == AnswerFilters()
    assert AnswerFilters(demo="yes").without_value("demo", "yes") == AnswerFilters()


def test_every_filter_with_choices_exists():
    assert set(CHOICES) <= {field.name for field in fields(AnswerFilters)}
    assert set(FACETS) <= {field.name for field in fields(AnswerFilters)}
