"""The page of accuracy, its file, the API and the command: the same numbers everywhere."""

from __future__ import annotations

import csv
import io
import json
import re
from html import unescape

import pytest
from typer.testing import CliRunner

from medr1_pacs.cli import app as commands
from medr1_pacs.demo.studies import make_study
from medr1_pacs.records.words import Modality
from medr1_pacs.statistics import wilson_interval
from medr1_pacs.web.pages import accuracy

pytestmark = pytest.mark.parametrize("site", ["sqlite"], indirect=True)

PAGE = "/projects/default/accuracy"
QUERIES = [
    "",
    "?by=overall",
    "?by=scanner&by=question&by=sex",
    "?modality=X-Ray&by=question",
    "?by=modality&truth=known",
]


@pytest.fixture
def researcher(answered, app, sign_in):
    """A researcher of a project with radiographs of three patients, one of whom came twice."""
    for seed, letter in enumerate("ABCA", 1):
        study = make_study(Modality.XRAY, seed)
        for ds in study:
            ds.PatientID, ds.IssuerOfPatientID = f"P{min(seed, 3)}", "H"
        answered(*study, checkpoint="xray", raw_output=f"<answer>{letter}</answer>")
    return sign_in(app, "researcher", {"default": ["researcher"]})


def table_of(page: str) -> list[list[str]]:
    """Return the texts of the cells of the table's body."""
    body = re.search(r"<table class=\"accuracy\">.*<tbody>(.*)</tbody>", page, re.S)[1]
    return [
        [
            " ".join(unescape(re.sub(r"<[^>]+>", "", cell)).split())
            for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.S)
        ]
        for row in re.findall(r"<tr>(.*?)</tr>", body, re.S)
    ]


def percent(text: str) -> str:
    return f"{100 * float(text):.1f} %"


def as_shown(record: dict[str, str]) -> list[str]:
    """Return a record of the file as the page writes it, without the method."""
    names = list(record)[: list(record).index("accuracy")]
    groups = [record[name] or "not known" for name in names] or ["all answers"]
    if not record["accuracy"]:
        return [*groups, "–", "–", "–", "–", "–", "–", record["unknown_truth"]]
    low = percent(record["low"]).removesuffix(" %")
    counts = [record[name] for name in ("right", "answers", "patients", "unparsed")]
    shown = [percent(record["accuracy"]), f"{low} to {percent(record['high'])}"]
    return [*groups, *shown, *counts, record["unknown_truth"]]


@pytest.mark.parametrize("query", QUERIES)
def test_the_page_and_its_file_say_the_same(researcher, query):
    page = researcher.get(PAGE + query).text
    file = researcher.get(f"{PAGE}.csv{query}").text

    records = list(csv.DictReader(io.StringIO(file)))
    without_method = [[*row[:-6], *row[-5:]] for row in table_of(page)]
    assert without_method == [as_shown(record) for record in records]
    assert records


@pytest.mark.parametrize("query", QUERIES)
def test_the_figure_says_what_the_table_says(researcher, query):
    page = researcher.get(PAGE + query).text

    drawn = re.findall(r'<text class="figures"[^>]*>([^<]*)</text>', page)
    assert drawn == [
        f"{row[-8]} ({row[-7]}), {row[-3]} patient{'s' * (row[-3] != '1')}"
        if row[-8] != "–"
        else "–"
        for row in table_of(page)
    ]


def test_the_api_says_the_same_as_the_file(researcher, app, give_token):
    program = give_token(app, "researcher")
    answer = program.get("/api/v1/accuracy?by=question").json()

    records = csv.DictReader(io.StringIO(researcher.get(f"{PAGE}.csv?by=question").text))
    groups = [{name: as_cell(each) for name, each in g.items()} for g in answer["groups"]]
    assert groups == list(records)
    assert answer["by"] == ["question"]


def as_cell(value: object) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def test_the_command_says_the_same_as_the_file(researcher, site, monkeypatch):
    monkeypatch.setenv("MEDR1_DATA_DIR", str(site.data_dir))
    asked = ["accuracy", "modality=X-Ray", "--by", "question", "--format", "csv"]

    result = CliRunner().invoke(commands, asked, catch_exceptions=False)

    file = researcher.get(f"{PAGE}.csv?modality=X-Ray&by=question").text
    assert result.stdout.splitlines() == file.splitlines()


def test_the_command_prints_an_array_or_a_table(researcher, site, monkeypatch):
    monkeypatch.setenv("MEDR1_DATA_DIR", str(site.data_dir))
    asked = ["accuracy", "question=xr-technique"]

    [row] = json.loads(CliRunner().invoke(commands, [*asked, "--format", "json"]).stdout)
    table = CliRunner().invoke(commands, asked).stdout

    assert (row["checkpoint"], row["answers"], row["patients"]) == ("xray", 4, 3)
    assert percent(row["accuracy"]) in table


def test_the_command_refuses_to_group_by_everything(researcher):
    asked = ["accuracy", *(f"--by={name}" for name in ("sex", "year", "task", "scanner"))]

    result = CliRunner().invoke(commands, asked)

    assert result.exit_code == 2
    assert "at most 3" in result.output


@pytest.mark.parametrize("truth", ["", "&truth=known&truth=unknown", "&truth=right&truth=unknown"])
def test_the_answers_behind_a_row_are_a_click_away(researcher, truth):
    page = researcher.get(f"{PAGE}?by=question&modality=X-Ray{truth}").text
    rows = [row for row in table_of(page) if row[-4] != "–"]
    links = [
        unescape(each) for each in re.findall(r'href="(/projects/default/answers\?[^"]+)"', page)
    ]

    for row in rows:
        [link] = [
            each
            for each in links
            if f"question={row[0]}" in each and "truth=" in each and "truth=unknown" not in each
        ]
        total = re.search(r"<strong>([\d,]+)</strong> found", researcher.get(link).text)[1]
        assert total == row[-4]
    assert rows


def test_nothing_found_is_said(researcher):
    page = researcher.get(f"{PAGE}?modality=CT")

    assert page.status_code == 200
    assert "No answer is found with all of this" in page.text
    assert "<svg" not in page.text


def test_filters_by_what_came_out_are_warned_of(researcher):
    warning = "choose answers by what came out"

    assert warning in researcher.get(f"{PAGE}?truth=right").text
    assert warning not in researcher.get(f"{PAGE}?modality=X-Ray").text


def test_figures_of_few_patients_are_marked(researcher):
    assert "few patients" in researcher.get(PAGE).text
    assert 'class="dot few"' in researcher.get(PAGE).text


def test_a_page_shows_so_many_groups_and_its_file_all(researcher, monkeypatch):
    monkeypatch.setattr(accuracy, "ROWS_MAX", 1)
    page = researcher.get(f"{PAGE}?by=question").text
    file = researcher.get(f"{PAGE}.csv?by=question").text

    assert len(table_of(page)) == 1
    assert "The first 1 groups" in page
    assert len(file.splitlines()) > 2


def test_a_grouping_that_there_is_not_is_refused(researcher):
    assert researcher.get(f"{PAGE}?by=patient").status_code == 422
    assert researcher.get(f"{PAGE}?by=sex&by=year&by=task&by=scanner").status_code == 422


def test_a_single_patient_with_several_answers_has_the_interval_of_one(answered, app, sign_in):
    answered(*make_study(Modality.XRAY, 1), checkpoint="xray", raw_output="<answer>A</answer>")
    client = sign_in(app, "researcher", {"default": ["researcher"]})

    file = client.get(f"{PAGE}.csv?by=overall").text

    [record] = csv.DictReader(io.StringIO(file))
    expected = wilson_interval(float(record["accuracy"]), 1)
    assert (float(record["low"]), float(record["high"])) == expected
    assert (record["method"], record["patients"]) == ("wilson_by_patient", "1")
    assert int(record["answers"]) > 1
