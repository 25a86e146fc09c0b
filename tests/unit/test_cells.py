"""Rows as texts, whichever format they are written in."""

from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medr1_pacs.exports.cells import CellKind, Table, cell, kind_of
from medr1_pacs.exports.comma_separated import csv_lines

COLUMNS = {"n": "int", "x": "float | None", "is_y": "bool", "many": "Sequence[str]", "t": "str"}
ROW = {"n": 3, "x": 0.5, "is_y": True, "many": ["a", 'b"'], "t": "so, and so"}
texts = st.text(st.characters(exclude_categories=["Cs"]))


@pytest.mark.parametrize(
    ("python_type", "kind"),
    [
        ("int", CellKind.INTEGER),
        ("float | None", CellKind.FRACTION),
        ("bool | None", CellKind.TRUTH),
        ("Mapping[str, str]", CellKind.STRUCTURE),
        ("Decoding", CellKind.STRUCTURE),
        ("ParseStatus", CellKind.TEXT),
        ("str | None", CellKind.TEXT),
    ],
)
def test_a_type_says_what_its_cells_are(python_type, kind):
    assert kind_of(python_type) is kind


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("", ""),
        (CellKind.TRUTH, "bool"),
        (True, "true"),
        (7, "7"),
        (1e-05, "1e-05"),
        (40.0, "40.0"),
        (["ä"], '["ä"]'),
        ({"a": 1}, '{"a": 1}'),
    ],
)
def test_a_value_is_a_text(value, expected):
    assert cell(value) == expected


@settings(deadline=None)
@given(st.lists(st.tuples(texts, texts), max_size=5))
def test_csv_is_what_the_csv_module_writes(rows):
    table = Table({"a": "str", "b": "str"})
    cells = [table.cells({"a": a, "b": b}) for a, b in rows]

    written = table.csv_header() + table.csv(cells)

    expected = csv_lines(["a", "b"], [{"a": a, "b": b} for a, b in rows])
    assert written == "".join(expected)


def test_csv_has_nothing_as_an_empty_cell_and_lists_as_json():
    table = Table(COLUMNS)

    [row] = csv.reader(io.StringIO(table.csv([table.cells(ROW | {"x": None})])))

    assert row == ["3", "", "true", '["a", "b\\""]', "so, and so"]


def test_a_text_that_a_spreadsheet_would_calculate_is_kept_from_it():
    table = Table({"t": "str", "n": "int"})

    assert table.csv([["=1+1", "-1"]]) == "'=1+1,-1\r\n"


def test_lines_of_json_have_the_values_by_their_kind():
    table = Table(COLUMNS)

    [line] = table.json_lines([table.cells(ROW)])

    assert line.endswith("}\n")
    assert json.loads(line) == ROW


def test_a_data_frame_has_the_values_by_their_kind_and_structures_as_json():
    table = Table(COLUMNS)
    nothing = dict.fromkeys(COLUMNS)

    values = table.values([table.cells(ROW), table.cells(nothing)])

    assert values == {
        "n": [3, None],
        "x": [0.5, None],
        "is_y": [True, None],
        "many": ['["a", "b\\""]', None],
        "t": ["so, and so", None],
    }
