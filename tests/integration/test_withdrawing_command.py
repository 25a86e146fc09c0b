"""`medr1-pacs studies withdraw`, as somebody with a shell types it."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime

import pytest
from factories import SITE_KEY, make_instance
from typer.testing import CliRunner

from medr1_pacs.cli import app
from medr1_pacs.cli import withdrawing as command
from medr1_pacs.db.leases import take_lease
from medr1_pacs.db.projects import declare_projects
from medr1_pacs.db.tables import Study, Withdrawal, WithdrawnKey
from medr1_pacs.db.vault import PatientIdentityRow
from medr1_pacs.errors import WithdrawalRefused
from medr1_pacs.projects import Project, ProjectRules
from medr1_pacs.records.words import StudyState

pytestmark = pytest.mark.parametrize("site", ["sqlite"], indirect=True)

UID = str(make_instance().StudyInstanceUID)
WHY = ("--reason", "consent was withdrawn")


@pytest.fixture
def run(site, answered, site_key_of_tests, monkeypatch):
    """Run `studies` over a site with an answered study; returns the result."""
    answered(make_instance())
    monkeypatch.setenv("MEDR1_DATA_DIR", str(site.data_dir))
    return lambda *arguments: CliRunner().invoke(app, ["studies", *arguments])


@pytest.fixture
def site_key_of_tests(site):
    """The key by which the rows were written."""
    (site.data_dir / "site.key").write_bytes(SITE_KEY)
    (site.data_dir / "site.key").chmod(0o600)


def test_a_study_goes_and_its_certificate_is_printed(run, rows):
    result = run("withdraw", UID, *WHY, "--json")

    assert result.exit_code == 0, result.output
    certificate = json.loads(result.stdout)
    assert certificate["finished_at"]
    assert certificate["requested_by"] == "operator"
    assert [study["instances"] for study in certificate["studies"]] == [1]
    assert [row.state for row in rows(Study)] == [StudyState.WITHDRAWN]


def test_a_patient_goes_by_the_patient_id(run, rows):
    result = run("withdraw", "--patient", "T-1", *WHY)

    assert result.exit_code == 0, result.output
    assert rows(PatientIdentityRow) == []
    assert "T-1" not in result.output


def test_who_is_not_here_is_withheld_when_something_comes(run, rows):
    result = run("withdraw", "--patient", "T-2", *WHY, "--json")

    assert result.exit_code == 0, result.output
    assert "what comes is turned away" in result.stderr
    assert json.loads(result.stdout)["studies"] == []
    assert all(row.key for row in rows(WithdrawnKey))
    assert [row.state for row in rows(Study)] != [StudyState.WITHDRAWN]


@pytest.mark.parametrize(
    "arguments",
    [
        ("withdraw", *WHY),
        ("withdraw", UID, "--patient", "T-1", *WHY),
        ("withdraw", UID),
        ("withdraw", UID, "--reason", "x"),
        ("withdraw", UID, "--issuer", "CLINIC", *WHY),
        ("withdraw", "study one", *WHY),
        ("due", "--on", "soon"),
    ],
)
def test_what_cannot_be_meant_is_wrong_usage_and_nothing_goes(run, rows, arguments):
    assert run(*arguments).exit_code == 2
    assert rows(Withdrawal) == []


def test_a_project_that_there_is_not_is_refused(run, rows):
    result = run("withdraw", UID, "--project", "lungs", *WHY)

    assert isinstance(result.exception, WithdrawalRefused)
    assert rows(Withdrawal) == []


def test_while_a_service_runs_it_is_asked_and_waited_for(run, database, rows, monkeypatch):
    monkeypatch.setattr(command, "PATIENCE_S", 0.5)
    with database.write() as session:
        take_lease(session, "sweep", "sweep@elsewhere/1/1", is_gone=lambda _: False)

    result = run("withdraw", UID, *WHY)

    assert result.exit_code == 1
    assert "has not begun" in result.stderr
    assert [row.finished_at for row in rows(Withdrawal)] == [None]
    assert [row.state for row in rows(Study)] != [StudyState.WITHDRAWN]


def test_withdrawals_are_listed(run):
    run("withdraw", UID, *WHY)

    [record] = json.loads(run("certificate", "--json").stdout)
    assert record["reason"] == "consent was withdrawn"
    assert run("certificate", str(record["withdrawal"])).exit_code == 0
    assert isinstance(run("certificate", "99").exception, WithdrawalRefused)


def test_what_is_due_on_a_day_is_counted(run, database):
    rules = ProjectRules((Project("default", ends_on=date(2027, 6, 30), retention_days=0),))
    with database.write() as session:
        declare_projects(session, rules, datetime.now(UTC))

    def due(day):
        return json.loads(run("due", "--on", day, "--json").stdout)[0]["due"]

    assert (due("2027-06-29"), due("2027-06-30")) == (0, 1)
