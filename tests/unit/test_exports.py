"""Rows as files, and what a spreadsheet makes of them."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime

import pytest
from factories import make_answer
from hypothesis import given
from hypothesis import strategies as st

from medr1_pacs.exports.comma_separated import csv_lines
from medr1_pacs.exports.json_lines import json_line
from medr1_pacs.exports.markdown import dictionary_page
from medr1_pacs.records.dictionary import DictionaryEntry


def read_back(*rows):
    text = "".join(csv_lines(list(rows[0]), rows))
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_lists_and_objects_are_json_in_csv():
    answer = make_answer(options=("CT", "MRI"), option_order=(1, 0), versions={"torch": "2"})

    [row] = read_back(answer.to_json())

    assert json.loads(row["options"]) == ["CT", "MRI"]
    assert json.loads(row["option_order"]) == [1, 0]
    assert json.loads(row["versions"]) == {"torch": "2"}
    assert json.loads(row["decoding"]) == answer.decoding.to_json()


def test_without_rows_there_is_the_header():
    assert list(csv_lines(["answer_id", "choice"], [])) == ["answer_id,choice\r\n"]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1"])
def test_a_text_that_begins_like_a_formula_gets_an_apostrophe(text):
    assert read_back({"reasoning": text}) == [{"reasoning": f"'{text}"}]


def test_numbers_and_truth_values_stay_what_they_are():
    [row] = read_back({"window_center": -600.0, "run": 1, "is_demo": False, "kvp": None})

    assert row == {"window_center": "-600.0", "run": "1", "is_demo": "false", "kvp": ""}


@given(st.text(st.characters(codec="utf-8")))
def test_any_text_survives_csv(text):
    [row] = read_back({"answer_id": 1, "raw_output": text})

    assert row["raw_output"].removeprefix("'") == text.removeprefix("'")
    assert not row["raw_output"].startswith(("=", "+", "-", "@", "\t", "\r"))


@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8")), st.integers() | st.text(st.characters(codec="utf-8"))
    )
)
def test_a_json_line_is_one_line_and_reads_back(row):
    line = json_line(row)

    assert line.count("\n") == 1
    assert json.loads(line) == row


def test_an_answer_is_what_its_json_says():
    answer = make_answer(answered_at=datetime(2026, 3, 2, 12, tzinfo=UTC), options=("CT", "MRI"))

    values = json.loads(json.dumps(answer.to_json()))

    assert values == answer.to_json()
    assert values["answered_at"] == "2026-03-02T12:00:00+00:00"
    assert list(values) == list(type(answer).__slots__)


def test_a_bar_does_not_end_a_cell_of_the_dictionary():
    page = dictionary_page([DictionaryEntry("kvp", "float | None", "kV.")])

    assert page.endswith("\n| `kvp` | `float \\| None` | kV. |\n")
