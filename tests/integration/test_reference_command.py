"""`medr1-pacs reference`, as somebody with a shell types it."""

from __future__ import annotations

import json

import pytest
from factories import make_instance
from typer.testing import CliRunner

from medr1_pacs.cli import app
from medr1_pacs.db.tables import ReferenceImport, ReferenceStatement
from medr1_pacs.errors import ReferenceRefused
from medr1_pacs.records.words import Certainty, TruthSource

pytestmark = pytest.mark.parametrize("site", ["sqlite"], indirect=True)

HEADER = "accession_number,question_id,truth"
GOOD = "A-1,ct-lung-pattern,Nodule or mass"
FAULTY = "A-77801,ct-lung-pattern,Nodule or mass"


@pytest.fixture
def write(tmp_path):
    """Write a file of truths; returns its path."""

    def write(*lines):
        path = tmp_path / "truths.csv"
        path.write_text("\n".join((HEADER, *lines)), "utf-8")
        return str(path)

    return write


@pytest.fixture
def run(site, answered, monkeypatch):
    """Run `reference` over a site with an answered study; returns the result."""
    answered(make_instance())
    monkeypatch.setenv("MEDR1_DATA_DIR", str(site.data_dir))
    return lambda *arguments: CliRunner().invoke(app, ["reference", *arguments])


def test_a_file_is_imported_and_listed(run, write, rows):
    done = run(
        "import", write(GOOD), "--project", "default", "--source", "reader_panel",
        "--stated-by", "The panel", "--certainty", "consensus", "--json",
    )  # fmt: skip

    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == {
        "lines": 1, "new": 1, "changed": 0, "unchanged": 0, "faults": {}
    }  # fmt: skip
    [statement] = rows(ReferenceStatement)
    assert (statement.certainty, statement.stated_by) == (Certainty.CONSENSUS, "The panel")
    [listed] = json.loads(run("list", "--project", "default", "--json").stdout)
    assert (listed["source"], listed["imported_by"]) == (TruthSource.READER_PANEL, "operator")
    assert (listed["lines"], listed["statements"]) == (1, 1)
    assert "operator" in run("list", "--project", "default").stdout


def test_the_project_is_the_default_one_unless_said_otherwise(run, write):
    assert run("import", write(GOOD)).exit_code == 0

    [listed] = json.loads(run("list", "--json").stdout)
    assert listed == json.loads(run("list", "--project", "default", "--json").stdout)[0]


def test_a_dry_run_says_what_would_be(run, write, rows):
    done = run("import", write(GOOD), "--project", "default", "--dry-run")

    assert done.exit_code == 0
    assert done.stdout == "1 lines: 1 new, 0 changed, 0 unchanged, 0 faulty\n"
    assert rows(ReferenceImport) == []


@pytest.mark.parametrize("more", [[], ["--dry-run"]])
def test_faults_are_reported_and_refuse_the_file(run, write, rows, more):
    done = run("import", write(GOOD, FAULTY), "--project", "default", "--json", *more)

    assert done.exit_code == 1
    assert json.loads(done.stdout)["faults"] == {"unmatched": [3]}
    assert rows(ReferenceImport) == []
    if not more:
        assert isinstance(done.exception, ReferenceRefused)
        assert "1 of 2 lines have faults (1 unmatched)" in str(done.exception)
        assert "77801" not in str(done.exception)


def test_faulty_lines_can_be_left_out(run, write, rows):
    done = run("import", write(GOOD, FAULTY), "--project", "default", "--leave-out-faulty")

    assert done.exit_code == 0
    assert done.stdout.splitlines()[1] == "unmatched: 1, lines 3"
    assert len(rows(ReferenceStatement)) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["import"],
        ["import", "missing.csv"],
        ["import", "{file}", "--source", "gossip"],
        ["import", "{file}", "--certainty", "perhaps"],
    ],
)
def test_wrong_usage_ends_with_two(run, write, arguments):
    file = write(GOOD)

    assert run(*(each.format(file=file) for each in arguments)).exit_code == 2
