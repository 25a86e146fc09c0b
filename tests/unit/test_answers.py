import pytest
from hypothesis import given
from hypothesis import strategies as st

from medr1_pacs.answers import parse_generation
from medr1_pacs.records.answers import ParsedAnswer
from medr1_pacs.records.words import ParseStatus

PARSED, NO_ANSWER = ParseStatus.PARSED, ParseStatus.NO_ANSWER
NOT_AN_OPTION, TRUNCATED = ParseStatus.NOT_AN_OPTION, ParseStatus.TRUNCATED


@pytest.mark.parametrize(
    ("raw_output", "finish_reason", "expected"),
    [
        ("<think>lung</think><answer>B</answer>", "stop", ParsedAnswer(PARSED, "lung", "B")),
        ("<think> a\nb </think>\n<answer> B </answer>", "stop", ParsedAnswer(PARSED, "a\nb", "B")),
        ("<answer>A</answer>", "stop", ParsedAnswer(PARSED, None, "A")),
        ("It is dark. <answer>A</answer>", "stop", ParsedAnswer(PARSED, "It is dark.", "A")),
        ("dark</think><answer>A</answer>", "stop", ParsedAnswer(PARSED, "dark", "A")),
        ("<think>dark<answer>A</answer>", "stop", ParsedAnswer(PARSED, "dark", "A")),
        (
            "<think>a <think>b</think> c</think><answer>C</answer>",
            "stop",
            ParsedAnswer(PARSED, "a <think>b</think> c", "C"),
        ),
        # the authors search: of several tags the first counts, even inside the thinking
        (
            "<think>x <answer>A</answer></think><answer>B</answer>",
            "stop",
            ParsedAnswer(PARSED, "x", "A"),
        ),
        (
            "<answer>A or B</answer><answer>B</answer>",
            "stop",
            ParsedAnswer(PARSED, "<answer>A or B</answer>", "B"),
        ),
        # complete although the limit was met
        ("<answer>A</answer>", "length", ParsedAnswer(PARSED, None, "A")),
        ("<answer>b</answer>", "stop", ParsedAnswer(NOT_AN_OPTION, None, None)),
        ("<answer>E</answer>", "stop", ParsedAnswer(NOT_AN_OPTION, None, None)),
        ("<answer>AB</answer>", "stop", ParsedAnswer(NOT_AN_OPTION, None, None)),
        ("<answer>Chest</answer>", "stop", ParsedAnswer(NOT_AN_OPTION, None, None)),
        ("<think>t</think><answer>A) Chest</answer>", "stop", ParsedAnswer(NO_ANSWER, "t", None)),
        ("<answer></answer>", "stop", ParsedAnswer(NO_ANSWER, None, None)),
        ("B", "stop", ParsedAnswer(NO_ANSWER, None, None)),
        ("", "stop", ParsedAnswer(NO_ANSWER, None, None)),
        ("<think>so it goes", "length", ParsedAnswer(TRUNCATED, "so it goes", None)),
        ("<think>t</think><answer>", "length", ParsedAnswer(TRUNCATED, "t", None)),
        ("<answer>A) x</answer> and", "length", ParsedAnswer(NO_ANSWER, None, None)),
    ],
)  # fmt: skip
def test_a_generation_parses_by_the_authors_rule(raw_output, finish_reason, expected):
    assert parse_generation(raw_output, 4, finish_reason) == expected


@pytest.mark.parametrize(("option_count", "status"), [(2, NOT_AN_OPTION), (3, PARSED)])
def test_only_offered_letters_are_options(option_count, status):
    assert parse_generation("<answer>C</answer>", option_count, "stop").status is status


_PIECES = st.lists(
    st.sampled_from(["<think>", "</think>", "<answer>", "</answer>", "A", "b", " ", "\n", "é"])
    | st.text(max_size=5)
).map("".join)


@given(_PIECES, st.integers(2, 4), st.sampled_from(["stop", "length", "other"]))
def test_the_parser_never_raises_and_chooses_only_offered_letters(raw, option_count, finish):
    answer = parse_generation(raw, option_count, finish)

    assert (answer.choice is not None) == (answer.status is PARSED)
    assert answer.choice is None or answer.choice in "ABCD"[:option_count]
