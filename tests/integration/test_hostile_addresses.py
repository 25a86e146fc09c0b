"""Addresses and names that try to be read as something else than they are."""

from __future__ import annotations

import re
from html import unescape

import pytest

from medr1_pacs.filters import AnswerFilters
from medr1_pacs.projects import Project, ProjectRule, ProjectRules
from medr1_pacs.steps.citing import make_snapshot

pytestmark = pytest.mark.parametrize("site", ["sqlite"], indirect=True)

ODD = 'Lunge "n\'Herz" & <b>?#+;=é\u202fx'


@pytest.fixture
def odd(answered, indexer, database, make_finished_export):
    """A project, with an export, and a snapshot whose names mean something to browsers."""
    indexer.rules = ProjectRules(
        (Project("default"), Project(ODD)), (ProjectRule(ODD, {"called_ae_title": "ODD"}),)
    )
    answered(called_ae_title="ODD")
    make_snapshot(database, ODD, '"; filename="x.html', AnswerFilters(), actor="test")
    make_finished_export(ODD, "anna")


def test_every_link_of_a_project_with_an_odd_name_leads_where_it_says(odd, app, sign_in):
    client = sign_in(app, roles={ODD: ["researcher"]})
    waiting, seen = ["/"], {"/"}
    while waiting:
        answer = client.get(waiting.pop(0))
        assert answer.status_code == 200, answer.request.url
        if "text/html" in answer.headers["content-type"]:
            links = map(unescape, re.findall(r'(?:href|src)="(/[^"?]*)', answer.text))
            new = dict.fromkeys(link for link in links if link not in seen)
            waiting += new
            seen |= new.keys()

    assert len([url for url in seen if "/snapshots/" in url]) >= 3
    assert any("picture.png" in url for url in seen)
    assert any(url.endswith("/exports/1/export.zip") for url in seen)


def test_the_name_of_a_file_is_made_of_letters_alone(odd, app, sign_in):
    client = sign_in(app, roles={ODD: ["researcher"]})
    page = client.get("/").text
    [project] = {unescape(each) for each in re.findall(r'href="(/projects/[^"]+)/answers"', page)}

    for path in (
        "answers.csv",
        "snapshots/%22; filename=%22x.html/answers.csv",
        "exports/1/export.zip",
    ):
        header = client.get(f"{project}/{path}").headers["content-disposition"]
        assert re.fullmatch(r'attachment; filename="[A-Za-z0-9._-]+\.(csv|zip)"', header)


def test_a_redirect_after_a_form_stays_in_its_project(odd, app, sign_in):
    client = sign_in(app, roles={ODD: ["researcher"]})
    page = client.get("/").text
    [project] = {unescape(each) for each in re.findall(r'href="(/projects/[^"]+)/answers"', page)}

    made = client.post(f"{project}/snapshots", data={"name": "a?b#c&d;e"})

    assert made.status_code == 303
    assert client.get(made.headers["location"]).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "//accounts",
        "/accounts//",
        "/%2Faccounts",
        "/static/../accounts",
        "/static/..%2faccounts",
        "/static/%2e%2e/accounts",
        "/static//etc/passwd",
        "/healthz/../accounts",
        "/sign-in/../accounts",
        "/./accounts",
        "/ACCOUNTS",
        "/accounts;a=b",
        "/accounts%00",
        "/projects/lung%2Fanswers",
        "/projects/heart/..%2Flung/answers",
        "/projects/lung/snapshots/..%2f..%2fheart%2fsnapshots%2fTable",
        "/projects/lung/answers/1%2Fpicture.png",
        "//evil.example/projects/lung/answers",
    ],
)
def test_no_other_spelling_of_an_address_opens_anything(app, browse, sign_in, path):
    for client in (browse(app), sign_in(app, roles={"heart": ["researcher"]})):
        answer = client.get(f"http://127.0.0.1{path}")

        assert answer.status_code in (303, 307, 403, 404)
        assert re.match(r"$|/(?!/)|http://127\.0\.0\.1/", answer.headers.get("location", ""))


@pytest.mark.parametrize("following", ["//evil.example", "/%5Cevil.example", "/\tevil", "https:a"])
def test_whoever_is_signed_in_is_led_to_no_other_site(app, sign_in, following):
    answer = sign_in(app).get("/sign-in", params={"next": following})

    assert re.match(r"/(?![/\\])", answer.headers["location"])


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "127.0.0.1@evil", ""])
def test_a_redirect_never_repeats_the_name_of_another_host(app, browse, host):
    answer = browse(app).get("/accounts/", headers={"Host": host})

    assert answer.status_code in (400, 421)
    assert "location" not in answer.headers
