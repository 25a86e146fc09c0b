"""Reading is recorded: who looked at what and how, before it is shown, and without identities."""

from __future__ import annotations

import json
import re

import pytest
from factories import make_instance
from typer.testing import CliRunner

from medr1_pacs.cli import app as commands
from medr1_pacs.db import reading, research, snapshots
from medr1_pacs.db.reading import NOT_KEPT, describe_filters
from medr1_pacs.db.research import iterate_found
from medr1_pacs.db.tables import AuditEvent, Project, Snapshot, Study
from medr1_pacs.errors import DatabaseUnavailable
from medr1_pacs.filters import AnswerFilters, parse_filters
from medr1_pacs.records.reading import Reading
from medr1_pacs.steps.citing import make_snapshot

sqlite = pytest.mark.parametrize("site", ["sqlite"], indirect=True)

UID = "1.2.3.4"
PAGES = "/projects/default"


@pytest.fixture
def read_events(rows):
    """What reading left behind, the first first."""

    def read_events():
        return [row for row in rows(AuditEvent) if row.action in set(Reading)]

    return read_events


@pytest.fixture
def place(answered, database):
    """A site with an answered radiograph of a patient, and a snapshot; returns the answer's id."""
    answered(make_instance(StudyInstanceUID=UID))
    answered()
    make_snapshot(database, "default", "Table 1", AnswerFilters(), actor="test")
    return next(iterate_found(database, "default", AnswerFilters())).answer_id


@pytest.fixture
def researcher(app, sign_in):
    return sign_in(app, "ada", {"default": ["researcher"]})


@pytest.fixture
def row_ids(database):
    """Object type -> the row that an event of it names."""
    with database.read() as session:
        return {
            "project": session.query(Project).filter_by(name="default").one().id,
            "snapshot": session.query(Snapshot).one().id,
            "study": session.query(Study).filter_by(study_instance_uid=UID).one().id,
        }


# -- what is recorded --------------------------------------------------------------------------

READ = [
    (f"{PAGES}/answers", "answers.queried", "project", "page"),
    (f"{PAGES}/answers.csv", "answers.queried", "project", "csv"),
    (f"{PAGES}/answers.jsonl", "answers.queried", "project", "jsonl"),
    ("/api/v1/answers", "answers.queried", "project", "api"),
    ("/api/v1/answers?format=csv", "answers.queried", "project", "csv"),
    ("/api/v1/answers?format=jsonl", "answers.queried", "project", "jsonl"),
    ("/api/v1/answers/counts", "answers.queried", "project", "api"),
    (f"{PAGES}/answers/{{answer}}", "answer.viewed", "answer", "page"),
    ("/api/v1/answers/{answer}", "answer.viewed", "answer", "api"),
    ("/api/v1/answers/{answer}/picture", "answer.viewed", "answer", "picture"),
    (f"{PAGES}/accuracy", "accuracy.queried", "project", "page"),
    (f"{PAGES}/accuracy.csv", "accuracy.queried", "project", "csv"),
    ("/api/v1/accuracy", "accuracy.queried", "project", "api"),
    (f"{PAGES}/snapshots/Table 1", "snapshot.viewed", "snapshot", "page"),
    (f"{PAGES}/snapshots/Table 1/answers.csv", "snapshot.viewed", "snapshot", "csv"),
    ("/api/v1/snapshots/Table 1", "snapshot.viewed", "snapshot", "api"),
    ("/api/v1/snapshots/Table 1/answers", "snapshot.viewed", "snapshot", "jsonl"),
]


@sqlite
@pytest.mark.parametrize(("path", "action", "object_type", "how"), READ, ids=lambda value: value)
def test_what_a_researcher_reads_is_an_event(
    place, researcher, read_events, row_ids, path, action, object_type, how
):
    answer = researcher.get(path.format(answer=place))

    [event] = read_events()
    assert answer.status_code == 200
    assert (event.actor, event.action, event.object_type) == ("ada", action, object_type)
    assert event.object_id == (row_ids | {"answer": place})[object_type]
    assert event.new_value["how"] == how


@sqlite
def test_a_program_reads_in_the_name_of_its_account(app, place, give_token, read_events):
    give_token(app, "ada", {"default": ["researcher"]}).get("/api/v1/answers")

    assert [event.actor for event in read_events()] == ["ada"]


COMMANDS = [
    ("query", "answers.queried", "project", "command"),
    ("query --count", "answers.queried", "project", "command"),
    ("query --facets --format csv", "answers.queried", "project", "csv"),
    ("query --format jsonl", "answers.queried", "project", "jsonl"),
    ("query --format sqlite --out {file}", "answers.queried", "project", "sqlite"),
    ("accuracy", "accuracy.queried", "project", "command"),
    ("accuracy --format json", "accuracy.queried", "project", "command"),
    ("snapshots show Table*1", "snapshot.viewed", "snapshot", "jsonl"),
    ("snapshots verify Table*1", "snapshot.viewed", "snapshot", "verification"),
    ("answers", "answers.listed", "site", "command"),
    ("answers --format csv", "answers.listed", "site", "csv"),
    ("studies --json", "studies.listed", "site", "command"),
]


@pytest.fixture
def run(site, monkeypatch):
    """Run a command; `*` stands for a blank within an argument."""
    monkeypatch.setenv("MEDR1_DATA_DIR", str(site.data_dir))

    def run(line):
        arguments = [argument.replace("*", " ") for argument in line.split()]
        return CliRunner().invoke(commands, arguments, catch_exceptions=False)

    return run


@sqlite
@pytest.mark.parametrize(("line", "action", "object_type", "how"), COMMANDS)
def test_what_a_command_reads_is_an_event_of_the_operator(
    place, run, read_events, row_ids, tmp_path, line, action, object_type, how
):
    result = run(line.format(file=tmp_path / "answers.sqlite"))

    [event] = read_events()
    assert result.exit_code == 0, result.output
    assert (event.actor, event.action, event.object_type) == ("operator", action, object_type)
    assert event.object_id == row_ids.get(object_type)
    assert event.new_value["how"] == how


@sqlite
@pytest.mark.parametrize(
    "line", ["query --dictionary", "query modality=nothing", "snapshots list", "questions list"]
)
def test_a_command_that_reads_of_nobody_is_no_event(place, run, read_events, line):
    run(line)

    assert read_events() == []


@sqlite
@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"{PAGES}/answers?modality=nothing", 422),
        (f"{PAGES}/answers/4711", 404),
        ("/api/v1/answers/4711", 404),
        ("/api/v1/answers/4711/picture", 404),
        (f"{PAGES}/snapshots/None", 404),
        ("/api/v1/snapshots/None/answers", 404),
        ("/projects/heart/answers", 404),
        (f"{PAGES}/dictionary", 200),
        (f"{PAGES}/snapshots", 200),
        (f"{PAGES}/answers/{{answer}}/picture.png", 200),
    ],
)
def test_what_shows_nothing_or_is_part_of_a_page_is_no_event(
    place, researcher, read_events, path, status
):
    assert researcher.get(path.format(answer=place)).status_code == status

    assert read_events() == []


@sqlite
def test_the_grouping_of_accuracy_is_kept(place, researcher, read_events):
    researcher.get(f"{PAGES}/accuracy?by=scanner&by=modality&modality=X-Ray")

    [event] = read_events()
    assert event.new_value == {
        "how": "page",
        "filters": {"modality": ["X-Ray"]},
        "by": ["scanner", "modality"],
    }


# -- a study -----------------------------------------------------------------------------------


@sqlite
def test_the_page_of_a_study_is_an_event_each_time_and_its_refreshing_is_none(
    app, place, sign_in, read_events, row_ids
):
    administrator = sign_in(app, "eve", is_administrator=True)
    for path in ("studies", "fragments/studies", "fragments/studies", "studies"):
        assert administrator.get(f"/operations/{path}/{UID}").status_code == 200

    seen = [(event.actor, event.action, event.object_id) for event in read_events()]
    assert seen == [("eve", "study.viewed", row_ids["study"])] * 2


@sqlite
def test_a_part_of_a_page_that_nobody_opened_is_an_event(app, place, sign_in, read_events):
    sign_in(app, "eve", is_administrator=True).get(f"/operations/studies/{UID}")
    other = sign_in(app, "other", is_administrator=True)

    other.get(f"/operations/fragments/studies/{UID}")

    assert [event.actor for event in read_events()] == ["eve", "other"]


@sqlite
def test_a_study_that_was_not_received_is_no_event(app, place, sign_in, read_events):
    administrator = sign_in(app, "eve", is_administrator=True)

    assert administrator.get("/operations/studies/1.2.3.99").status_code == 404
    assert read_events() == []


@sqlite
def test_who_looked_is_no_part_of_what_happened_to_a_study(app, place, sign_in):
    administrator = sign_in(app, "eve", is_administrator=True)
    administrator.get(f"/operations/studies/{UID}")

    assert "study.viewed" not in administrator.get(f"/operations/studies/{UID}").text


@sqlite
def test_who_looked_is_told_to_no_researcher(place, researcher):
    path = f"/api/v1/answers/{place}"
    first = researcher.get(path).json()["history"]

    assert researcher.get(path).json()["history"] == first
    assert "answer.parsed" in first


# -- before it is shown ------------------------------------------------------------------------


@pytest.fixture
def unwritable(monkeypatch):
    """Let the log be what cannot be written."""

    def refuse(*_, **__):
        raise DatabaseUnavailable("the database does not answer")

    monkeypatch.setattr(reading, "add_event", refuse)


@sqlite
@pytest.mark.parametrize("path", sorted({path for path, *_ in READ}))
def test_a_page_that_cannot_be_recorded_is_not_shown(place, researcher, unwritable, path):
    answer = researcher.get(path.format(answer=place))

    assert answer.status_code == 503
    assert "radiograph" not in answer.text.lower()


@sqlite
@pytest.mark.parametrize("path", ["studies", "fragments/studies"])
def test_a_study_that_cannot_be_recorded_is_not_shown(app, place, sign_in, unwritable, path):
    administrator = sign_in(app, "eve", is_administrator=True)

    assert administrator.get(f"/operations/{path}/{UID}").status_code == 503


@sqlite
@pytest.mark.parametrize("line", sorted({line for line, *_ in COMMANDS}))
def test_a_command_that_cannot_be_recorded_prints_nothing(
    place, site, monkeypatch, unwritable, tmp_path, line
):
    monkeypatch.setenv("MEDR1_DATA_DIR", str(site.data_dir))
    arguments = [word.replace("*", " ") for word in line.format(file=tmp_path / "x").split()]

    result = CliRunner().invoke(commands, arguments)

    assert isinstance(result.exception, DatabaseUnavailable)
    assert result.stdout == ""


@sqlite
@pytest.mark.parametrize(
    "path",
    [
        f"{PAGES}/answers",
        "/api/v1/answers?format=jsonl",
        f"{PAGES}/snapshots/Table 1/answers.csv",
    ],
)
def test_the_event_is_there_before_the_first_answer_is_read(
    place, researcher, read_events, monkeypatch, path
):
    recorded = []
    read_answers = research.read_answers

    def read(*arguments):
        recorded.append(len(read_events()))
        return read_answers(*arguments)

    for module in (research, snapshots):
        monkeypatch.setattr(module, "read_answers", read)
    researcher.get(path)

    assert set(recorded) == {1}


# -- without identities ------------------------------------------------------------------------


@pytest.fixture
def described(database, place):
    """What an event keeps of filters."""

    def described(project="default", **query):
        with database.read() as session:
            project_id = session.query(Project.id).filter_by(name=project).scalar()
            return describe_filters(session, project_id, parse_filters(query))

    return described


def test_of_words_only_their_number_is_kept(described):
    assert described(words=["Zaubernuss Quirina"]) == {"words": 2}


def test_values_of_closed_sets_and_dates_are_kept(described):
    query = {
        "modality": ["CT", "X-Ray"],
        "truth": ["known"],
        "versions": ["all"],
        "since": ["2024"],
    }

    assert described(**query) == query


@pytest.mark.parametrize(
    "name",
    ["anatomy", "question", "choice", "scanner", "sex", "age_band", "year", "patient"],
)
def test_a_value_that_nothing_has_is_not_kept(described, name):
    assert described(**{name: ["Zaubernuss"]}) == {name: [NOT_KEPT]}


def test_values_that_answers_have_are_kept(described, database):
    answer = next(iterate_found(database, "default", AnswerFilters()))
    query = {
        "question": [answer.question_id],
        "choice": [answer.choice],
        "scanner": [answer.scanner_key or "(none)"],
        "anatomy": ["(none)"],
        "patient": [answer.patient_pseudonym],
        "study": [answer.study_instance_uid],
    }

    assert described(**query) == query


def test_a_real_uid_is_not_kept(described):
    assert described(study=[UID]) == {"study": [NOT_KEPT]}


def test_a_pseudonym_of_another_project_is_not_kept(described, database):
    answer = next(iterate_found(database, "default", AnswerFilters()))

    kept = described(project="none", patient=[answer.patient_pseudonym])

    assert kept == {"patient": [NOT_KEPT]}


@sqlite
def test_what_is_typed_into_a_page_is_in_no_event(place, researcher, rows):
    researcher.get(
        f"{PAGES}/answers?words=Zaubernuss&anatomy=Quirina&patient=PID-77801&study={UID}"
    )

    kept = json.dumps([row.new_value for row in rows(AuditEvent)])
    assert '"words": 1' in kept
    assert not re.search("Zaubernuss|Quirina|PID-77801", kept)
