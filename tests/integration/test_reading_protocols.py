"""Reading protocols are made, checked, started and ended; what is hidden from whom meanwhile."""

from __future__ import annotations

import json
import re
import runpy
from datetime import UTC, datetime, timedelta
from html import unescape

import pytest
from fakes import FakeClock
from readers import QUESTION, ReaderClient, make_chest, make_protocol, start
from reading_project import make_read_study
from sqlalchemy import text as sql
from sqlalchemy import update
from typer.testing import CliRunner

from medr1_pacs.cli import app as command_line
from medr1_pacs.db.audit import list_events
from medr1_pacs.db.protocols import find_blinded, get_definition
from medr1_pacs.db.reading_plans import plan_protocol
from medr1_pacs.db.reading_progress import list_people_progress, list_protocols
from medr1_pacs.db.research import iterate_found
from medr1_pacs.db.tables import (
    Account,
    Assignment,
    AuditEvent,
    Instance,
    ReadingCase,
    ReadingProtocol,
    ReferenceImport,
    ReferenceStandard,
    ReferenceStatement,
    Review,
    Study,
)
from medr1_pacs.db.verifying import list_protocols as list_hashes
from medr1_pacs.demo.studies import make_study
from medr1_pacs.errors import ProtocolNotFound, ProtocolRefused
from medr1_pacs.filters import AnswerFilters
from medr1_pacs.installation import MIGRATIONS
from medr1_pacs.records.review_words import AssignmentState, ProtocolState
from medr1_pacs.records.words import Certainty, Modality, TruthSource
from medr1_pacs.reviews.protocol_text import write_protocol
from medr1_pacs.reviews.protocols import hash_definition
from medr1_pacs.steps.reading_protocols import (
    check_protocol,
    end_protocol,
    offer_protocol,
    state_panels,
    unblind_person,
)

PAGE = "/projects/default/reading"
R0008 = MIGRATIONS / "research" / "r0008_what_a_case_is.py"
BOTH = pytest.mark.parametrize("site", ["sqlite", "postgresql"], indirect=True)
ONE = pytest.mark.parametrize("site", ["sqlite"], indirect=True)
READER = {"default": ["reader"]}


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def pages(make_pages, clock):
    return make_pages(now=clock.now, monotonic=clock.monotonic)


@pytest.fixture
def read(pages, sign_in):
    """Sign a reader in; keywords as `ReaderClient`."""

    def read(account, name="chest", version=1, roles=("reader",)):
        client = sign_in(pages, account, {"default": list(roles)})
        return ReaderClient(client, f"/api/v1/projects/default/reading/{name}/{version}")

    return read


@pytest.fixture
def chests(answered):
    """Let the model answer about so many chest radiographs, always with its first option."""

    def chests(count):
        for seed in range(1, count + 1):
            answered(*make_chest(seed), checkpoint="xray")

    return chests


@pytest.fixture
def people(have_account):
    """Make readers of the project; returns nothing."""

    def people(*names):
        for name in names:
            have_account(name, READER)

    return people


@pytest.fixture
def lead(pages, sign_in):
    """The browser of a researcher who judges nothing."""
    return sign_in(pages, "lead", {"default": ["researcher"]})


@pytest.fixture
def run(site, monkeypatch):
    """Run `protocols` over the site; returns the result."""
    monkeypatch.setenv("MEDR1_DATA_DIR", str(site.data_dir))
    return lambda *arguments: CliRunner().invoke(command_line, ["protocols", *arguments])


@pytest.fixture
def write(tmp_path):
    """Write a protocol's file; returns its path."""

    def write(text):
        path = tmp_path / "protocol.toml"
        path.write_text(text, "utf-8")
        return str(path)

    return write


def refusals(database, protocol, project="default") -> list[str]:
    with pytest.raises(ProtocolRefused) as caught:
        check_protocol(database, project, protocol)
    return str(caught.value).splitlines()


def account_id(rows, name) -> int:
    return next(row.id for row in rows(Account) if row.name == name)


def blinded(database, rows, name) -> set[str]:
    with database.read() as session:
        return set(find_blinded(session, account_id(rows, name)))


# -- what is refused ---------------------------------------------------------------------------


@BOTH
def test_people_who_may_not_read_are_refused_by_name(chests, people, have_account, database):
    chests(1)
    people("anna")
    have_account("rita", {"default": ["researcher"]})

    [problem] = refusals(database, make_protocol(readers=["anna", "rita", "nobody"]))

    assert problem.startswith("readers: rita, nobody: no open account with the role `reader`")


@ONE
def test_a_project_that_is_not_there_has_no_protocol(chests, people, database):
    people("anna")
    with pytest.raises(ProtocolNotFound, match="no project 'moon'"):
        start(database, make_protocol(), "moon")


@BOTH
def test_a_version_starts_once(chests, people, database, rows):
    chests(1)
    people("anna")
    start(database, make_protocol())

    with pytest.raises(ProtocolRefused, match="give it version 2"):
        start(database, make_protocol(title="Another title"))

    start(database, make_protocol(version=2))
    assert [row.version for row in rows(ReadingProtocol)] == [1, 2]


@ONE
def test_controls_need_truths(chests, people, database):
    chests(2)
    people("anna")

    [problem] = refusals(database, make_protocol(controls=1))

    assert problem.startswith("controls: 1 cases with a known truth are needed, and there are 0")


@ONE
def test_a_question_that_nobody_is_asked_has_no_case(chests, people, database):
    chests(1)
    people("anna")

    [problem] = refusals(database, make_protocol(questions=["ct-lung-pattern"]))

    assert problem == (
        "questions: no study of the project default is asked any of these at the moment"
    )


@BOTH
@pytest.mark.parametrize(
    ("first", "second", "what"),
    [(True, False, "said the truth of"), (False, True, "read for an evaluation")],
)
def test_who_says_the_truth_of_a_case_does_not_read_it_for_an_evaluation(
    chests, people, database, first, second, what
):
    chests(2)
    people("anna", "ben")
    start(database, make_protocol(reference=first))

    assert refusals(database, make_protocol(version=2, reference=second)) == [
        f"readers: anna has {what} 2 of these cases in chest 1: name somebody else, or other cases"
    ]
    check_protocol(database, "default", make_protocol(version=2, reference=first))
    check_protocol(database, "default", make_protocol(name="x2", readers=["ben"], reference=second))


@BOTH
@pytest.mark.parametrize("is_reference", [True, False], ids=["panel", "evaluation"])
def test_what_was_stopped_before_anybody_read_keeps_nobody_from_its_cases(
    chests, people, database, is_reference
):
    chests(2)
    people("anna")
    start(database, make_protocol(reference=is_reference))
    end_protocol(database, "default", "chest", 1, reason="the wrong file", actor="lead")

    check_protocol(database, "default", make_protocol(version=2, reference=not is_reference))


@BOTH
def test_of_an_evaluation_that_was_stopped_counts_what_somebody_read(
    chests, read, people, database
):
    chests(3)
    anna = read("anna")
    people("ben")
    start(database, make_protocol(readers=["anna", "ben"]))
    anna.read_one()
    end_protocol(database, "default", "chest", 1, reason="a test", actor="lead")

    panel = {"version": 2, "reference": True}
    assert refusals(database, make_protocol(**panel, readers=["anna", "ben"])) == [
        "readers: anna has read for an evaluation 1 of these cases in chest 1: "
        "name somebody else, or other cases"
    ]
    check_protocol(database, "default", make_protocol(**panel, readers=["ben"]))


@BOTH
def test_nobody_reads_a_study_in_two_running_protocols_that_show_different_things(
    chests, people, database
):
    chests(2)
    people("anna", "ben", "carla")
    start(database, make_protocol(readers=["anna", "ben"], adjudicators=["carla"]))

    blind = {"readers": ["anna", "ben"], "version": 2}
    check_protocol(database, "default", make_protocol(**blind))
    sights = refusals(database, make_protocol(**blind, arm="sequential"))
    parts = refusals(database, make_protocol(version=2, readers=["carla"]))

    assert [line.partition(", ")[0] for line in sights] == [
        "readers: anna is in chest 1 too",
        "readers: ben is in chest 1 too",
    ]
    assert [line.partition(":")[2].partition(":")[0] for line in parts] == [
        " carla is in chest 1 too, and reads 2 of these cases in one of the two and adjudicates in "
        "the other"
    ]


@BOTH
def test_who_was_unblinded_reads_the_studies_after_a_washout_alone(chests, people, database):
    chests(2)
    people("anna", "ben")
    start(database, make_protocol(readers=["anna", "ben"], arm="sequential"))
    unblind_person(database, "default", "chest", 1, "anna", reason="is ill", actor="lead")
    unblinded = datetime.now(UTC)

    def plan(days, washout_days):
        protocol = make_protocol(version=2, washout_days=washout_days)
        with database.read() as session:
            now = unblinded + timedelta(days=days)
            return plan_protocol(session, "default", protocol, now=now).warnings

    [warning] = plan(days=8, washout_days=7)
    assert warning.startswith("anna may still look at the answers of 2 of these cases in chest 1")
    for days, washout_days in ((6, 7), (900, 0)):
        with pytest.raises(ProtocolRefused, match="anna was let see the answers of 2 of these"):
            plan(days, washout_days)


@ONE
def test_of_a_protocol_that_is_over_it_is_warned_and_nobody_is_refused(
    chests, people, lead, database, run, write
):
    chests(2)
    people("anna")
    start(database, make_protocol())
    end_protocol(database, "default", "chest", 1, reason="a test", actor="lead")
    text = write_protocol(make_protocol(version=2))

    page = lead.post(f"{PAGE}/new", data={"definition": text}).text
    said = run("check", write(text)).stdout
    [warning] = json.loads(run("check", write(text), "--json").stdout)["warnings"]
    start(database, make_protocol(version=2))

    assert warning.startswith("anna may have seen what was said of 2 of these cases: chest 1 is")
    assert f"warning: {warning}" in said
    assert f"<li>{warning}</li>" in page


@ONE
def test_a_version_that_is_there_is_told_by_a_check(chests, people, database):
    chests(1)
    people("anna")
    start(database, make_protocol())

    [problem] = refusals(database, make_protocol())

    assert problem.startswith("version: chest 1 was started already")


@BOTH
def test_a_case_of_an_earlier_release_gets_the_key_that_it_has_now(
    answered, people, database, rows
):
    answered(*make_study(Modality.CT, 1))
    people("anna")
    questions = ["ct-region", "ct-lung-pattern", "ct-chest-level"]
    start(database, make_protocol(questions=questions))
    expected = [row.case_key for row in rows(ReadingCase)]
    assert {key.count(" ") for key in expected} == {1, 3}  # of studies, and of frames

    with database.write() as session:
        session.execute(update(ReadingCase).values(case_key=""))
        session.execute(sql(runpy.run_path(str(R0008))["KEYS"]))

    assert [row.case_key for row in rows(ReadingCase)] == expected


@ONE
def test_cases_that_several_checkpoints_answered_are_warned_of(answered, people, database):
    answered(*make_chest(1), checkpoint="xray")
    answered(*make_chest(2), checkpoint="demo")
    people("anna")

    [warning] = check_protocol(database, "default", make_protocol(arm="assisted")).warnings
    one = make_protocol(arm="assisted", filters={"checkpoint": ["xray"]})

    assert warning.startswith(f"1 case of {QUESTION} is answered by demo at ")
    assert warning.endswith("; filter by `checkpoint`")
    assert check_protocol(database, "default", one).warnings == ()


@ONE
def test_row_ids_tell_nothing_of_what_a_read_is(chests, people, database, rows):
    chests(8)
    people("anna", "ben")
    values = {"readers": ["anna", "ben"], "reads": 1, "overlap": 0.5}

    orders = set()
    for number in range(4):
        start(database, make_protocol(name=f"chest-{number}", **values))
    for protocol in rows(ReadingProtocol):
        reads = sorted(
            (row for row in rows(Assignment) if row.protocol_id == protocol.id),
            key=lambda row: row.id,
        )
        orders.add(tuple(row.is_pooled for row in reads))
    assert {len(order) for order in orders} == {12}
    assert len(orders) > 1


@BOTH
def test_what_was_stored_without_its_defaults_is_read_on_and_verified(
    chests, read, lead, database, rows
):
    chests(2)
    anna = read("anna")
    protocol_id = start(database, make_protocol())
    definition = {
        "name": "chest", "questions": [QUESTION], "readers": ["anna"], "arm": "blind",
    }  # fmt: skip
    sha256 = hash_definition(definition)
    with database.write() as session:
        row = session.get_one(ReadingProtocol, protocol_id)
        row.definition, row.definition_sha256 = definition, sha256

    assert anna.read_all() == 2

    assert rows(ReadingProtocol)[0].state is ProtocolState.FINISHED
    assert f"<code>{sha256}</code>" in lead.get(f"{PAGE}/chest/1").text
    with database.read() as session:
        assert list_hashes(session) == {protocol_id: (sha256, "finished")}


@BOTH
def test_numbers_come_back_from_the_database_as_they_were_hashed(chests, people, database):
    chests(1)
    people("anna")
    protocol = make_protocol(
        overlap=-0.0, washout_days=0.1, minutes_a_read=1e-7, claim_minutes=1_440, title="é ☃ 𝄞"
    )

    protocol_id = start(database, protocol)

    with database.read() as session:
        assert list_hashes(session) == {protocol_id: (protocol.definition_sha256, "started")}
        assert get_definition(session, protocol_id) == protocol


# -- the form ----------------------------------------------------------------------------------


@BOTH
def test_the_form_begins_with_readers_and_questions_of_the_project(
    chests, people, have_account, database, lead
):
    chests(2)
    people("anna", "ben")
    have_account("rita", {"default": ["researcher"]})

    page = lead.get(f"{PAGE}/new")

    assert in_text_area(page) == offer_protocol(database, "default")
    assert 'readers = ["anna", "ben"]' in offer_protocol(database, "default")
    assert f"#   {QUESTION}: 2 studies" in offer_protocol(database, "default")


def in_text_area(page) -> str:
    return unescape(re.search(r"<textarea[^>]*>\n(.*?)</textarea>", page.text, re.S)[1])


@ONE
def test_a_check_says_what_it_comes_to_and_starts_nothing(chests, people, lead, rows):
    chests(3)
    people("anna", "ben")
    text = write_protocol(make_protocol(readers=["anna", "ben"], cases=2, minutes_a_read=30))

    page = lead.post(f"{PAGE}/new", data={"definition": text, "do": "check"})

    assert page.status_code == 200
    assert "2 cases, 0 controls, 0 for practice: 4 planned reads" in page.text
    assert '<th scope="row">ben</th><td class="number">2</td><td class="number">1.0</td>' in (
        page.text
    )
    assert "More than the protocol takes" in page.text
    assert in_text_area(page) == text
    assert rows(ReadingProtocol) == []


@ONE
def test_complaints_stand_line_by_line_and_the_text_stays(chests, people, lead):
    text = 'name = "Chest"\nquestions = ["x"]\nreaders = ["a"]\ncolour = 1\n<script>'

    unreadable = lead.post(f"{PAGE}/new", data={"definition": text})
    wrong = lead.post(f"{PAGE}/new", data={"definition": text.replace("<script>", "")})

    assert (unreadable.status_code, wrong.status_code) == (422, 422)
    assert "this is no TOML" in unreadable.text
    assert "&lt;script&gt;" in unreadable.text
    assert wrong.text.count("<li>") - lead.get(f"{PAGE}/new").text.count("<li>") == 2
    assert "name: use 2 to 64 lower-case letters" in wrong.text
    assert "colour: unknown field" in wrong.text
    assert 'name="checked_sha256"' not in wrong.text


@ONE
def test_a_text_that_is_no_protocol_at_all_is_a_complaint(lead):
    for text in ("title = " + "[" * 5_000, "seed = " + "9" * 5_000):
        page = lead.post(f"{PAGE}/new", data={"definition": text})
        assert (page.status_code, "this is no protocol" in page.text.lower()) == (422, True)


@ONE
def test_what_was_checked_is_started(chests, people, lead, rows):
    chests(2)
    people("anna")
    text = write_protocol(make_protocol())
    checked = lead.post(f"{PAGE}/new", data={"definition": text})
    sha256 = re.search(r'name="checked_sha256" value="(\w+)"', checked.text)[1]

    answer = lead.post(
        f"{PAGE}/new", data={"definition": text, "do": "start", "checked_sha256": sha256}
    )

    assert answer.headers["location"] == f"{PAGE}/chest/1"
    [row] = rows(ReadingProtocol)
    assert row.started_by == "lead"
    assert (sha256, row.definition_sha256) == (
        make_protocol().checked_sha256,
        make_protocol().definition_sha256,
    )
    shown = lead.get(f"{PAGE}/chest/1").text
    assert "2 cases, 0 controls, 0 for practice" in shown
    assert "0 of 2 reads are done" in shown


@ONE
@pytest.mark.parametrize(
    "was",
    [None, make_protocol(), make_protocol(cases=1, readers=["ben"])],
    ids=["nothing", "another-number", "another-reader"],
)
def test_what_was_not_checked_is_checked_again(chests, people, lead, rows, was):
    chests(2)
    people("anna", "ben")
    changed = write_protocol(make_protocol(cases=1))
    checked_sha256 = was.checked_sha256 if was else ""
    form = {"definition": changed, "do": "start", "checked_sha256": checked_sha256}

    page = lead.post(f"{PAGE}/new", data=form)

    assert "Nothing was started: the text is another than was checked" in page.text
    assert make_protocol(cases=1).checked_sha256 in page.text
    assert rows(ReadingProtocol) == []


# -- the lists ---------------------------------------------------------------------------------


@ONE
def test_a_reader_sees_their_own_progress_and_nobody_elses(chests, people, read, lead, database):
    chests(2)
    anna, ben = read("anna"), read("ben")
    start(database, make_protocol(readers=["anna", "ben"], title="Chests"))
    start(database, make_protocol(name="other", readers=["ben"]))
    ben.read_all()

    listed, shown = anna.client.get(PAGE).text, anna.client.get(f"{PAGE}/chest/1").text

    assert "0 done, 2 left" in " ".join(re.sub("<[^>]+>", "", listed).split())
    assert f'href="{PAGE}/chest/1/read"' in listed
    assert f"{PAGE}/other" not in listed
    assert "0 cases done, 2 left" in shown
    for told in ("ben", "of 4", "Reader B", "controls", "Results"):
        assert told not in listed + shown
    assert anna.client.get(f"{PAGE}/other/1").status_code == 404


@ONE
def test_a_lead_sees_how_far_everybody_is(chests, read, lead, database, clock):
    chests(2)
    anna, ben = read("anna"), read("ben")
    start(database, make_protocol(readers=["anna", "ben"], claim_minutes=10))
    anna.next()
    clock.pass_s(601)
    ben.next()
    ben.lock()

    with database.read() as session:
        [listing] = list_protocols(session, "default")
        people = list_people_progress(session, listing.protocol_id, now=clock.now())
    page = lead.get(f"{PAGE}/chest/1").text

    assert (listing.cases, listing.reads, listing.done) == (2, 4, 1)
    assert [(each.account, each.done, each.open, each.overdue) for each in people] == [
        ("anna", 0, 1, 1),
        ("ben", 1, 0, 0),
    ]
    assert "1 of 4 reads are done" in page
    assert "1 of 4" in lead.get(PAGE).text
    assert "End early" in page


@ONE
def test_an_auditor_sees_and_changes_nothing(chests, people, pages, sign_in, database):
    chests(1)
    people("anna")
    start(database, make_protocol())
    auditor = sign_in(pages, "otto", {"default": ["auditor"]})

    assert "0 of 1" in auditor.get(PAGE).text
    page = auditor.get(f"{PAGE}/chest/1").text

    assert "What it says" in page
    assert "End early" not in page
    assert auditor.post(f"{PAGE}/chest/1/stop", data={"reason": "x"}).status_code == 403


@ONE
def test_what_waits_for_its_washout_says_from_when(chests, read, database, clock):
    chests(1)
    anna = read("anna")
    start(database, make_protocol(repeats=1, washout_days=7))
    anna.read_all()

    page, listed = anna.client.get(f"{PAGE}/chest/1").text, anna.client.get(PAGE).text

    assert "waits for its washout" in page
    assert "the next one from" in listed
    assert f"{PAGE}/chest/1/read" not in page + listed


@ONE
def test_what_is_over_leads_to_its_results(chests, read, lead, database):
    chests(1)
    anna = read("anna")
    start(database, make_protocol())
    anna.read_all()

    for client in (anna.client, lead):
        for path in (PAGE, f"{PAGE}/chest/1"):
            page = client.get(path).text
            assert f"{PAGE}/chest/1/results" in page
            assert "chest/1/read" not in page


# -- ending ------------------------------------------------------------------------------------


@BOTH
def test_stopping_drops_what_is_left_and_ends_blinding(chests, read, lead, database, rows):
    chests(2)
    anna = read("anna")
    start(database, make_protocol(arm="sequential"))
    anna.next()
    assert blinded(database, rows, "anna") == {"default"}

    refused = lead.post(f"{PAGE}/chest/1/stop", data={"reason": " "})
    done = lead.post(f"{PAGE}/chest/1/stop", data={"reason": "too few readers"})
    again = lead.post(f"{PAGE}/chest/1/stop", data={"reason": "too few readers"})

    assert [each.status_code for each in (refused, done, again)] == [422, 303, 422]
    assert {row.state for row in rows(Assignment)} == {AssignmentState.DROPPED}
    assert blinded(database, rows, "anna") == set()
    assert anna.lock().status_code == 404
    [event] = [row for row in rows(AuditEvent) if row.action == "protocol.stopped"]
    assert (event.actor, event.reason) == ("lead", "too few readers")


@BOTH
def test_unblinding_somebody_leaves_what_is_pooled_to_the_others(
    chests, read, lead, database, rows
):
    chests(2)
    anna, ben = read("anna"), read("ben")
    start(database, make_protocol(readers=["anna", "ben"], reads=1))
    anna.next()

    form = {"account": "anna", "reason": "she changes the ward"}
    assert lead.post(f"{PAGE}/chest/1/unblind", data=form).status_code == 303

    assert blinded(database, rows, "anna") == set()
    assert blinded(database, rows, "ben") == {"default"}
    assert anna.next() is None
    assert ben.read_all() == 2
    assert "ended" in lead.get(f"{PAGE}/chest/1").text
    page = anna.client.get(f"{PAGE}/chest/1").text
    assert f"{PAGE}/chest/1/read" not in page
    [event] = [row for row in rows(AuditEvent) if row.action == "protocol.unblinded"]
    assert event.reason == "she changes the ward"


@ONE
@pytest.mark.parametrize(
    ("form", "why"),
    [
        ({"account": "anna", "reason": " "}, "Say why"),
        ({"account": "carl", "reason": "x"}, "The protocol chest 1 has nobody"),
    ],
)
def test_unblinding_needs_somebody_and_a_reason(chests, people, lead, database, form, why):
    chests(1)
    people("anna", "carl")
    start(database, make_protocol())

    answer = lead.post(f"{PAGE}/chest/1/unblind", data=form)

    assert answer.status_code == 422
    assert why in answer.text


@BOTH
def test_readers_who_disagree_are_adjudicated_although_the_third_is_unblinded(
    chests, read, database, rows
):
    chests(1)
    anna, ben, carla = read("anna"), read("ben"), read("carla")
    read("dora")
    start(database, make_protocol(readers=["anna", "ben", "dora"], adjudicators=["carla"]))
    anna.read_all(lambda case: "Pneumothorax")
    ben.read_all(lambda case: "Pleural effusion")
    assert carla.next() is None

    unblind_person(database, "default", "chest", 1, "dora", reason="is ill", actor="lead")

    assert carla.next()["phase"] == "adjudication"
    carla.lock("Pneumothorax")
    assert rows(ReadingProtocol)[0].state is ProtocolState.FINISHED


# -- a panel -----------------------------------------------------------------------------------


def truths(database) -> set[str | None]:
    """Return the truths of the answers about the question that the panel judges."""
    found = iterate_found(database, "default", AnswerFilters(question=(QUESTION,)))
    return {answer.truth for answer in found}


@BOTH
def test_what_a_panel_agrees_on_becomes_the_truth(chests, read, database, rows):
    chests(1)
    anna, ben = read("anna"), read("ben")
    start(database, make_protocol(readers=["anna", "ben"], reference=True))
    assert truths(database) == {None}
    anna.read_all(lambda case: "Pneumothorax")
    assert rows(ReferenceImport) == []

    ben.read_all(lambda case: "Pneumothorax")
    assert [state_panels(database), state_panels(database)] == [1, 0]

    [brought] = rows(ReferenceImport)
    assert (brought.source, brought.lines, brought.statements) == (TruthSource.READER_PANEL, 1, 1)
    assert truths(database) == {"Pneumothorax"}
    [standard] = [row for row in rows(ReferenceStandard) if row.truth == "Pneumothorax"]
    assert (standard.source, standard.stated_by) == (TruthSource.READER_PANEL, "panel chest 1")


@ONE
def test_what_an_adjudicator_decides_becomes_the_truth(chests, read, database):
    chests(1)
    anna, ben, carla = read("anna"), read("ben"), read("carla")
    start(database, make_protocol(readers=["anna", "ben"], adjudicators=["carla"], reference=True))
    anna.read_all(lambda case: "Pneumothorax")
    ben.read_all(lambda case: "Pleural effusion")
    assert truths(database) == {None}

    carla.read_all(lambda case: "Airspace opacity")
    state_panels(database)

    assert truths(database) == {"Airspace opacity"}


@ONE
def test_a_truth_of_a_panel_says_whether_readers_agreed_or_one_more_decided(
    chests, read, database, rows
):
    chests(2)
    anna, ben, carla = read("anna"), read("ben"), read("carla")
    start(database, make_protocol(readers=["anna", "ben"], adjudicators=["carla"], reference=True))
    anna.read_all(lambda case: "Pneumothorax")
    said = iter(["Pneumothorax", "Pleural effusion"])
    ben.read_all(lambda case: next(said))
    carla.read_all(lambda case: "Airspace opacity")
    state_panels(database)

    assert {(row.truth, row.certainty) for row in rows(ReferenceStatement)} == {
        ("Pneumothorax", Certainty.CONSENSUS),
        ("Airspace opacity", Certainty.ADJUDICATED),
    }


@ONE
def test_a_panel_says_nothing_of_what_its_adjudicator_cannot_assess(chests, read, database, rows):
    chests(1)
    anna, ben, carla = read("anna"), read("ben"), read("carla")
    start(database, make_protocol(readers=["anna", "ben"], adjudicators=["carla"], reference=True))
    anna.read_all(lambda case: "Pneumothorax")
    ben.read_all(lambda case: "Pleural effusion")
    changed = {"phase": "blind", "choice_text": "Pneumothorax", "confidence": 5, "reason": "a slip"}
    assert ben.client.post(
        f"{ben.base}/reads/{rows(Review)[-1].assignment_id}/amend", json=changed
    ).is_success
    carla.next()
    carla.lock(choice_text=None, confidence=None, cannot_assess="motion")
    state_panels(database)

    assert rows(ReadingProtocol)[0].panel_stated_at is not None
    assert rows(ReferenceStatement) == []


@ONE
def test_a_panel_says_nothing_of_frames_of_one_instance(answered, read, database, rows):
    cine, still = (make_read_study(Modality.ULTRASOUND, 1), make_study(Modality.ULTRASOUND, 2))
    answered(*cine, *still, checkpoint="us")
    anna, ben = read("anna"), read("ben")
    question = "us-abdominal-organ"
    start(database, make_protocol(questions=[question], readers=["anna", "ben"], reference=True))
    assert len(rows(ReadingCase)) == 4
    anna.read_all(lambda case: "Kidney")
    ben.read_all(lambda case: "Kidney")
    state_panels(database)

    uids = {row.id: row.sop_instance_uid for row in rows(Instance)}
    stated = [uids[row.instance_id] for row in rows(ReferenceStatement)]
    assert stated == [ds.SOPInstanceUID for ds in still]


@ONE
def test_a_panel_that_disagrees_says_nothing(chests, read, database, rows):
    chests(1)
    anna, ben = read("anna"), read("ben")
    start(database, make_protocol(readers=["anna", "ben"], reference=True))
    anna.read_all(lambda case: "Pneumothorax")
    ben.read_all(lambda case: "Pleural effusion")

    assert state_panels(database) == 0
    assert truths(database) == {None}
    assert rows(ReadingProtocol)[0].panel_stated_at is not None


@ONE
def test_a_panel_whose_last_reader_is_unblinded_says_what_the_others_said(
    chests, read, database, rows
):
    chests(1)
    anna, _ = read("anna"), read("ben")
    start(database, make_protocol(readers=["anna", "ben"], reference=True))
    anna.read_all(lambda case: "Pneumothorax")

    unblind_person(database, "default", "chest", 1, "ben", reason="is ill", actor="lead")
    state_panels(database)

    assert truths(database) == {"Pneumothorax"}
    assert len(rows(ReferenceImport)) == 1


@BOTH
def test_a_panel_that_no_reader_is_left_of_says_nothing(chests, read, database, rows):
    chests(2)
    anna, _ = read("anna"), read("ben")
    start(database, make_protocol(readers=["anna", "ben"], reference=True))
    anna.read_one("Pneumothorax")

    for name in ("ben", "anna"):
        unblind_person(database, "default", "chest", 1, name, reason="is ill", actor="lead")
    state_panels(database)

    [protocol] = rows(ReadingProtocol)
    assert (protocol.state, rows(ReferenceStatement)) == (ProtocolState.FINISHED, [])
    assert protocol.panel_stated_at is not None


@ONE
def test_a_panel_of_a_long_name_says_its_version(chests, read, database, rows):
    chests(1)
    name = "a" * 64
    anna = read("anna", name, 12)
    start(database, make_protocol(name=name, version=12, reference=True))
    anna.read_all(lambda case: "Pneumothorax")
    state_panels(database)

    [statement] = rows(ReferenceStatement)
    assert statement.stated_by == f"panel {'a' * 55} 12"


@ONE
def test_a_panel_that_is_stopped_says_nothing(chests, read, database, rows):
    chests(2)
    anna = read("anna")
    start(database, make_protocol(reference=True))
    anna.next()
    anna.lock("Pneumothorax")
    end_protocol(database, "default", "chest", 1, reason="a test", actor="lead")

    assert state_panels(database) == 0
    assert rows(ReferenceImport) == []


# -- what is hidden ----------------------------------------------------------------------------

HIDDEN_PAGES = [
    "/projects/default/answers",
    "/projects/default/answers.csv",
    "/projects/default/answers/1",
    "/projects/default/accuracy",
    "/projects/default/accuracy.csv",
    "/projects/default/snapshots",
    "/projects/default/exports",
    "/projects/default/references",
    "/projects/default/dictionary",
    "/projects/default/reading/new",
]
HIDDEN_ADDRESSES = [
    "/api/v1/answers",
    "/api/v1/answers/1",
    "/api/v1/answers/1/picture",
    "/api/v1/answers/counts",
    "/api/v1/accuracy",
    "/api/v1/snapshots",
]


@BOTH
def test_a_researcher_who_reads_gets_no_answers_until_the_end(
    chests, pages, read, give_token, database
):
    chests(1)
    roles = ("reader", "researcher", "auditor", "custodian")
    anna = read("anna", roles=roles)
    program = give_token(pages, "anna")
    start(database, make_protocol())

    def statuses():
        return (
            {path: anna.client.get(path).status_code for path in HIDDEN_PAGES + HIDDEN_ADDRESSES},
            {path: program.get(path).status_code for path in HIDDEN_ADDRESSES},
        )

    before, front = statuses(), anna.client.get("/").text
    listed = anna.client.get(PAGE).text
    anna.read_all()

    assert {*before[0].values(), *before[1].values()} == {403}
    assert "until the reading protocol is over" in front
    for name in ("answers", "accuracy", "snapshots", "dictionary", "exports", "references"):
        for page in (front, listed):
            assert f'href="/projects/default/{name}"' not in page
    assert "1 left" in listed
    assert "0 of 1" not in listed
    after = statuses()
    assert {*after[0].values(), *after[1].values()} == {200}
    assert 'href="/projects/default/answers"' in anna.client.get("/").text


@ONE
def test_a_researcher_who_reads_ends_nothing(chests, read, database, rows):
    chests(1)
    anna = read("anna", roles=("reader", "researcher"))
    start(database, make_protocol())

    for verb in ("stop", "unblind"):
        form = {"account": "anna", "reason": "I am curious"}
        assert anna.client.post(f"{PAGE}/chest/1/{verb}", data=form).status_code == 403

    assert "End early" not in anna.client.get(f"{PAGE}/chest/1").text
    assert rows(ReadingProtocol)[0].state is ProtocolState.STARTED


@ONE
def test_an_administrator_who_reads_sees_no_events_until_the_end(
    chests, pages, sign_in, database, rows
):
    chests(1)
    client = sign_in(pages, "anna", READER, is_administrator=True)
    anna = ReaderClient(client, "/api/v1/projects/default/reading/chest/1")
    [study] = rows(Study)
    page = f"/operations/studies/{study.study_instance_uid}"
    fragment = page.replace("/studies", "/fragments/studies")

    def seen():
        return [
            client.get("/operations/audit").status_code,
            *("<td>study." in client.get(path).text for path in (page, fragment)),
        ]

    before = seen()
    start(database, make_protocol())
    meanwhile = seen()
    anna.read_all()

    assert before[:2] == [200, True]
    assert meanwhile == [403, False, False]
    assert seen() == before


# -- a withdrawal ------------------------------------------------------------------------------


@BOTH
def test_a_study_that_is_withdrawn_leaves_hashes_and_the_protocol_goes_on(
    chests, read, database, rows, withdrawer, ask_to_withdraw
):
    chests(3)
    anna, ben = read("anna"), read("ben")
    start(database, make_protocol(readers=["anna", "ben"]))
    anna.next()
    gone_case = next(row.case_id for row in rows(Assignment) if row.id == anna.case["read"])
    anna.lock(comment="A word about the patient", flags=["bad_image"])
    ben.next()
    [study_id] = [row.study_id for row in rows(ReadingCase) if row.id == gone_case]
    locked = next(row.record_sha256 for row in rows(AuditEvent) if row.action == "review.locked")

    ask_to_withdraw(rows=[study_id])
    withdrawer.carry_out()

    [case] = [row for row in rows(ReadingCase) if row.id == gone_case]
    [review] = rows(Review)
    assert (case.model_side, case.truth, case.record_salt) == (None, None, None)
    assert (review.choice_text, review.comment, review.flags) == (None, None, [])
    assert review.record_salt is None
    assert set(review.record_commitments) >= {"choice_text", "comment"}
    states = {row.state for row in rows(Assignment) if row.case_id == gone_case}
    assert states == {AssignmentState.DONE, AssignmentState.DROPPED}
    with database.read() as session:
        assert list_events(session, "reading_case", gone_case)
    assert locked is not None
    anna.read_all()
    ben.read_all()
    assert rows(ReadingProtocol)[0].state is ProtocolState.FINISHED
    assert blinded(database, rows, "anna") == set()


@ONE
def test_a_protocol_whose_last_case_is_withdrawn_is_over(
    chests, read, database, rows, withdrawer, ask_to_withdraw
):
    chests(1)
    read("anna")
    start(database, make_protocol())

    ask_to_withdraw(rows=[rows(Study)[0].id])
    withdrawer.carry_out()

    assert rows(ReadingProtocol)[0].state is ProtocolState.FINISHED


# -- the command line --------------------------------------------------------------------------


@ONE
def test_a_file_is_checked_started_listed_and_stopped(chests, people, run, write, rows):
    chests(2)
    people("anna", "ben")
    file = write(write_protocol(make_protocol(readers=["anna", "ben"], minutes_a_read=15)))

    checked = run("check", file)
    as_json = json.loads(run("check", file, "--json").stdout)
    assert rows(ReadingProtocol) == []
    started = run("start", file)
    [listed] = json.loads(run("list", "--json").stdout)
    unblinded = run("unblind", "chest", "1", "ben", "--reason", "a test")
    stopped = run("stop", "chest", "1", "--reason", "a test")

    done = (checked, started, unblinded, stopped)
    assert [each.exit_code for each in done] == [0, 0, 0, 0], [each.output for each in done]
    assert "chest 1: 2 cases, 0 controls, 0 for practice; 4 reads" in checked.stdout
    assert "ben: 2 reads, 0.5 h" in checked.stdout
    assert (as_json["cases"], as_json["reads"]) == (2, 4)
    assert as_json["definition_sha256"] in started.stdout
    assert (listed["name"], listed["state"], listed["started_by"]) == (
        "chest",
        "started",
        "operator",
    )
    assert rows(ReadingProtocol)[0].state is ProtocolState.STOPPED
    assert "chest" in run("list").stdout


@ONE
def test_problems_are_told_on_stderr_a_line_each(chests, people, run, write):
    file = write('name = "chest"\nquestions = ["x", "x"]\nreaders = ["anna"]\n')

    for command in ("check", "start"):
        done = run(command, file)
        assert (done.exit_code, done.stdout) == (1, "")
        assert done.stderr.splitlines() == [
            "arm: say either `arm` or `crossover`",
            "questions: `x` stands there twice",
        ]


@ONE
def test_wrong_usage_is_exit_2_and_a_refusal_is_not(chests, people, run, tmp_path):
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe")

    assert run("check", "no-such-file.toml").exit_code == 2
    assert run("stop", "chest", "1").exit_code == 2
    assert run("unblind", "chest", "1", "anna").exit_code == 2
    assert run("check", str(binary)).exit_code == 1
    assert isinstance(run("stop", "chest", "1", "--reason", "x").exception, ProtocolNotFound)
