"""Rows as commands print them."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime

from factories import make_answer

from medr1_pacs.cli.printing import print_csv


def printed(capsys, answer):
    print_csv([answer.to_json()])
    [row] = csv.DictReader(io.StringIO(capsys.readouterr().out))
    return row


def test_lists_and_objects_of_an_answer_are_json_in_csv(capsys):
    answer = make_answer(options=("CT", "MRI"), option_order=(1, 0), versions={"torch": "2"})

    row = printed(capsys, answer)

    assert json.loads(row["options"]) == ["CT", "MRI"]
    assert json.loads(row["option_order"]) == [1, 0]
    assert json.loads(row["versions"]) == {"torch": "2"}
    assert json.loads(row["decoding"]) == answer.decoding.to_json()


def test_an_answer_is_what_its_json_says():
    answer = make_answer(answered_at=datetime(2026, 3, 2, 12, tzinfo=UTC), options=("CT", "MRI"))

    values = json.loads(json.dumps(answer.to_json()))

    assert values == answer.to_json()
    assert values["answered_at"] == "2026-03-02T12:00:00+00:00"
    assert list(values) == list(type(answer).__slots__)
