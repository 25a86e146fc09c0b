"""A custodian brings truths on a page, and everybody who researches sees that they came."""

from __future__ import annotations

import re

import pytest
from factories import make_instance

from medr1_pacs.db.tables import AuditEvent, ReferenceImport, ReferenceStatement
from medr1_pacs.records.words import Certainty, TruthSource
from medr1_pacs.web.pages import references as pages
from medr1_pacs.web.security import bodies

pytestmark = pytest.mark.parametrize("site", ["sqlite"], indirect=True)

PAGE = "/projects/default/references"
GOOD = b"accession_number,question_id,truth\nA-1,ct-lung-pattern,nodule or mass\n"
FAULTY = GOOD + b"A-77801,ct-lung-pattern,Nodule or mass\n" * 250


@pytest.fixture
def custodian(answered, app, sign_in):
    """A browser of a custodian, where an answered study has the accession number A-1."""
    answered(make_instance())
    return sign_in(app, "cleo", {"default": ["custodian"]})


def bring(browser, data=GOOD, do="import", **form):
    files = {"file": ("truths.csv", data, "text/csv")}
    return browser.post(PAGE, data={"do": do, **form}, files=files)


def test_a_file_is_imported_and_listed(custodian, rows):
    page = bring(custodian, source="reader_panel", certainty="consensus", stated_by="The panel")

    assert page.status_code == 200
    assert "1 new, 0 changed, 0 unchanged, 0 faulty" in page.text
    [statement], [brought] = rows(ReferenceStatement), rows(ReferenceImport)
    assert (statement.certainty, statement.stated_by) == (Certainty.CONSENSUS, "The panel")
    assert (brought.source, brought.imported_by) == (TruthSource.READER_PANEL, "cleo")
    assert "reader panel" in custodian.get(PAGE).text


def test_a_check_writes_nothing(custodian, rows):
    page = bring(custodian, do="check")

    assert "Nothing was written" in page.text
    assert "1 new" in page.text
    assert rows(ReferenceImport) == []


def test_faults_are_told_by_line_and_nobody_is_named(custodian, rows):
    page = bring(custodian, FAULTY)

    assert page.status_code == 422
    assert "Nothing was imported: 250 of 251 lines have faults" in page.text
    assert "unmatched" in page.text
    assert "3, 4, 5" in page.text
    assert "and 50 more" in page.text
    assert "77801" not in page.text
    assert rows(ReferenceImport) == []


def test_faulty_lines_can_be_left_out(custodian, rows):
    page = bring(custodian, FAULTY, leave_out_faulty="true")

    assert page.status_code == 200
    assert [(row.lines, row.statements) for row in rows(ReferenceImport)] == [(251, 1)]


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"", "the file is empty"), (b"question_id,truth,name\nq,Y,n", "column 'name' is not known")],
)
def test_a_file_that_is_none_is_refused(custodian, data, message):
    page = bring(custodian, data)

    assert page.status_code == 422
    assert message in page.text.lower().replace("&#39;", "'")


@pytest.mark.parametrize(
    "form", [{"source": "gossip"}, {"certainty": "sure"}, {"stated_by": "x" * 65}, {"do": "guess"}]
)
def test_a_form_that_is_none_of_ours_is_refused(custodian, rows, form):
    assert bring(custodian, **form).status_code == 422
    assert rows(ReferenceImport) == []


def test_a_file_that_is_too_large_is_refused(custodian, monkeypatch):
    monkeypatch.setattr(pages, "UPLOAD_MAX_BYTES", len(GOOD) - 1)

    page = bring(custodian)

    assert page.status_code == 422
    assert "divide it" in page.text


@pytest.mark.parametrize("is_announced", [True, False])
def test_a_body_that_is_too_large_is_not_read(custodian, rows, monkeypatch, is_announced):
    monkeypatch.setattr(bodies, "BODY_MAX_BYTES", 100)
    request = custodian.build_request("POST", PAGE, data={"do": "import"}, files={"file": GOOD})
    if not is_announced:
        content = request.read()
        request = custodian.build_request(
            "POST",
            PAGE,
            content=iter([content[:60], content[60:]]),
            headers={"Content-Type": request.headers["Content-Type"]},
        )
        assert "content-length" not in request.headers

    page = custodian.send(request)

    assert page.status_code == 413
    assert "divide the file" in page.text
    assert rows(ReferenceImport) == []


@pytest.mark.parametrize("role", ["researcher", "auditor"])
def test_who_reads_sees_what_was_brought_and_no_form(custodian, app, sign_in, role):
    bring(custodian)

    page = sign_in(app, role, {"default": [role]}).get(PAGE).text

    assert "cleo" in page
    assert "<input" not in page.replace('<input type="hidden"', "")


@pytest.mark.parametrize(
    ("role", "links"),
    [
        ("custodian", ["exports", "references", "re-identify", "withdrawals"]),
        (
            "auditor",
            ["reading", "answers", "accuracy", "snapshots", "dictionary", "exports", "references"],
        ),
    ],
)
def test_the_start_leads_there(custodian, app, sign_in, role, links):
    page = sign_in(app, role, {"default": [role]}).get("/").text

    assert re.findall(r'href="/projects/default/([\w-]+)"', page) == links


def test_the_event_names_who_brought_it(custodian, rows):
    bring(custodian)

    [event] = [row for row in rows(AuditEvent) if row.action == "reference.imported"]
    assert event.actor == "cleo"
