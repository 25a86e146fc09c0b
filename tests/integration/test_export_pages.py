"""Exports by page: asked for, watched, downloaded, removed."""

from __future__ import annotations

import io
import re
import zipfile

import pytest

from medr1_pacs.db.reading import NOT_KEPT
from medr1_pacs.db.tables import AuditEvent, ProjectExport
from medr1_pacs.records.words import ExportState

pytestmark = pytest.mark.parametrize("site", ["sqlite"], indirect=True)

EXPORTS = "/projects/default/exports"
FORM = {"formats": ["csv", "parquet"], "has_pictures": "true", "as_of": ""}


@pytest.fixture
def researcher(app, answered, sign_in):
    answered()
    return sign_in(app, "anna", {"default": ["researcher"]})


@pytest.fixture
def finished(researcher, make_finished_export):
    return make_finished_export("default", "anna")


def actions(rows):
    return [event.action for event in rows(AuditEvent) if event.action.startswith("export.")]


def test_what_the_answers_page_found_is_what_is_asked_for(researcher, rows):
    answers = researcher.get("/projects/default/answers?modality=X-Ray&words=seen").text
    [link] = re.findall(r'href="([^"]+)">Export these', answers)
    link = link.replace("&amp;", "&")
    page = researcher.get(link).text
    assert "Modality: <b>X-Ray</b>; words: <b>seen</b>" in page
    [target] = re.findall(r'action="(/projects/default/exports\?[^"]+)"', page)

    answer = researcher.post(target.replace("&amp;", "&"), data=FORM, follow_redirects=True)

    assert "Modality: X-Ray; words: seen" in answer.text
    assert "waits" in answer.text
    [row] = rows(ProjectExport)
    assert row.requested_by == "anna"
    assert row.request == {
        "filters": {"modality": ["X-Ray"], "words": ["seen"]},
        "is_everything": False,
        "formats": ["csv", "parquet"],
        "as_of": None,
        "has_pictures": True,
    }


def test_what_is_typed_as_a_filter_is_in_no_event(researcher, rows):
    researcher.post(f"{EXPORTS}?patient=Quirina&anatomy=Zaubernuss&words=PID77801", data=FORM)

    [event] = [event for event in rows(AuditEvent) if event.action == "export.requested"]
    assert event.new_value["filters"] == {
        "patient": [NOT_KEPT],
        "anatomy": [NOT_KEPT],
        "words": 1,
    }


def test_everything_leaves_the_filters_aside(researcher, rows, sealer):
    sealer.current_head()
    researcher.post(f"{EXPORTS}?modality=CT", data=FORM | {"is_everything": "true", "as_of": "12"})

    [row] = rows(ProjectExport)
    assert (row.request["filters"], row.request["is_everything"]) == ({}, True)
    assert row.request["as_of"] == 12


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ({"formats": ["parquet"]}, 409),
        ({"formats": []}, 409),
        ({"formats": ["sqlite"]}, 422),
        ({"as_of": "yesterday"}, 422),
        ({"as_of": "9" * 18}, 409),
        ({"as_of": "9" * 19}, 422),
        ({"is_everything": "perhaps"}, 422),
    ],
)
def test_what_cannot_be_meant_is_refused(researcher, rows, form, status):
    assert researcher.post(EXPORTS, data=FORM | form).status_code == status
    assert rows(ProjectExport) == []


def test_the_number_of_events_is_explained_where_it_is_typed(researcher):
    page = researcher.get(EXPORTS).text

    [hint] = re.findall(r'name="as_of"[^>]*aria-describedby="([^"]+)"', page)
    [text] = re.findall(rf'id="{hint}">([^<]+)<', page)
    assert "its number under “As of events”" in text


def test_the_list_calls_formats_as_the_form_does(researcher):
    page = researcher.post(
        EXPORTS, data=FORM | {"formats": ["jsonl", "parquet"]}, follow_redirects=True
    ).text

    assert "JSON Lines, Parquet" in page
    assert re.search(r'value="jsonl"> JSON Lines</label>', page)
    assert "<caption>Exports of this project" in page


def test_times_and_reasons_are_not_for_the_page(researcher):
    names = re.findall(r'name="(\w+)"', researcher.get(EXPORTS).text)

    assert set(names) - {"viewport"} == {
        "csrf_token",
        "is_everything",
        "formats",
        "has_pictures",
        "as_of",
    }


def test_a_download_is_a_zip_of_the_folder_and_noted(researcher, finished, rows):
    page = researcher.get(EXPORTS).text
    assert f"{EXPORTS}/{finished}/export.zip" in page

    answer = researcher.get(f"{EXPORTS}/{finished}/export.zip")

    assert answer.headers["content-disposition"] == 'attachment; filename="default-12.zip"'
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.namelist() == ["default-12/answers.csv"]
    assert actions(rows) == ["export.requested", "export.downloaded"]


def test_looking_at_the_progress_is_no_event(researcher, rows, database):
    researcher.post(EXPORTS, data=FORM)
    events = len(rows(AuditEvent))
    page = researcher.get(EXPORTS).text
    assert 'data-refresh-url="/projects/default/fragments/exports"' in page

    for _ in range(3):
        assert "waits" in researcher.get("/projects/default/fragments/exports").text

    assert len(rows(AuditEvent)) == events


def test_nothing_is_polled_once_all_are_over(researcher, finished):
    assert "data-refresh" not in researcher.get(EXPORTS).text


def test_what_is_not_finished_or_not_there_is_not_downloaded(researcher, finished, rows, exports):
    researcher.post(EXPORTS, data=FORM)
    waiting = rows(ProjectExport)[-1].id
    for folder in exports.list_folders():
        exports.remove(folder)

    for export_id in (waiting, finished, 10_000):
        assert researcher.get(f"{EXPORTS}/{export_id}/export.zip").status_code == 404

    assert "export.downloaded" not in actions(rows)


def test_an_export_is_removed_by_who_asked_and_not_by_a_colleague(
    app, researcher, finished, sign_in, rows
):
    colleague = sign_in(app, "bert", {"default": ["researcher", "auditor"]})
    path = f"{EXPORTS}/{finished}/remove"
    assert path not in colleague.get(EXPORTS).text
    assert colleague.post(path).status_code == 403

    page = researcher.post(path, follow_redirects=True).text

    assert "Somebody of the project removed it" in page
    assert [row.state for row in rows(ProjectExport)] == [ExportState.REMOVED]
    assert researcher.post(path).status_code == 409


def test_a_custodian_removes_any_and_downloads_none(app, finished, sign_in):
    custodian = sign_in(app, "carla", {"default": ["custodian"]})
    page = custodian.get(EXPORTS).text
    assert "Download" not in page
    assert "Ask for an export" not in page
    assert custodian.get(f"{EXPORTS}/{finished}/export.zip").status_code == 403

    assert custodian.post(f"{EXPORTS}/{finished}/remove").status_code == 303


def test_after_a_withdrawal_the_page_says_why_it_is_gone(
    researcher, finished, ask_to_withdraw, withdrawer
):
    ask_to_withdraw(rows=[1])
    withdrawer.carry_out()

    assert "A study was withdrawn: ask again." in researcher.get(EXPORTS).text
