"""`medr1-pacs query` and `snapshots`, as a researcher with a shell types them."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import sqlite3
from contextlib import closing

import pytest
from typer.testing import CliRunner

from medr1_pacs.cli import app

pytestmark = pytest.mark.parametrize("site", ["sqlite"], indirect=True)


@pytest.fixture
def run(site, answered, monkeypatch):
    """Run a command over a site with an answered radiograph; returns what it prints on stdout."""
    answered()
    monkeypatch.setenv("MEDR1_DATA_DIR", str(site.data_dir))

    def run(*arguments, exit_code=0):
        result = CliRunner().invoke(app, arguments, catch_exceptions=exit_code == 0)
        assert result.exit_code == exit_code, result.output
        return result.stdout if exit_code == 0 else result.output

    return run


def test_answers_are_found_by_filters(run):
    lines = run("query", "modality=X-Ray", "choice=A", "--format", "jsonl").splitlines()

    assert {json.loads(line)["modality"] for line in lines} == {"X-Ray"}
    assert run("query", "modality=CT", "--format", "jsonl") == ""
    assert int(run("query", "modality=X-Ray", "--count")) == len(lines)


def test_csv_has_its_header_and_a_record_an_answer(run):
    rows = list(csv.DictReader(io.StringIO(run("query", "--format", "csv"))))

    assert len(rows) == int(run("query", "--count"))
    assert rows[0]["study_instance_uid"].startswith("2.25.")


def test_facets_are_counted(run):
    rows = csv.DictReader(io.StringIO(run("query", "--facets", "--format", "csv")))

    assert {row["facet"]: row for row in rows}["modality"]["value"] == "X-Ray"


def test_the_dictionary_says_what_each_column_is(run):
    entries = [
        json.loads(line) for line in run("query", "--dictionary", "--format", "jsonl").splitlines()
    ]

    [first] = run("query", "--format", "jsonl").splitlines()[:1]
    assert [entry["name"] for entry in entries] == list(json.loads(first))


def test_research_gets_a_file_of_its_own(run, tmp_path):
    path = tmp_path / "answers.sqlite"

    run("query", "modality=X-Ray", "--format", "sqlite", "--out", str(path))

    with closing(sqlite3.connect(path)) as file:
        file.row_factory = sqlite3.Row
        rows = [dict(row) for row in file.execute("SELECT * FROM research_answers")]
        meanings = dict(file.execute("SELECT name, meaning FROM dictionary"))
        tables = {
            row[0] for row in file.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        }
    lines = run("query", "modality=X-Ray", "--format", "jsonl").splitlines()
    assert [row["answer_id"] for row in rows] == [json.loads(line)["answer_id"] for line in lines]
    assert set(meanings) == set(rows[0])
    assert tables == {"research_answers", "dictionary"}


def test_a_file_that_is_there_is_not_written_over(run, tmp_path):
    path = tmp_path / "answers.sqlite"
    path.write_text("mine")

    message = run("query", "--format", "sqlite", "--out", str(path), exit_code=2)

    assert "exists: name a file that does not" in " ".join(message.split())
    assert path.read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["modality=XX"], "use one of CT, MRI"),
        (["CT"], "write FILTER=VALUE"),
        (["--format", "sqlite"], "belong together"),
        (["--out", "x"], "belong together"),
    ],
)
def test_what_cannot_be_meant_is_wrong_usage(run, arguments, message):
    assert message in " ".join(run("query", *arguments, exit_code=2).replace("│", " ").split())


def test_a_snapshot_is_made_listed_printed_and_verified(run):
    sha256 = run("snapshots", "make", "Table 2", "modality=X-Ray").split()[0]

    assert hashlib.sha256(run("snapshots", "show", "Table 2").encode()).hexdigest() == sha256
    assert json.loads(run("snapshots", "list", "--json"))[0]["sha256"] == sha256
    assert run("snapshots", "verify", "Table 2") == "Table 2: unchanged\n"
