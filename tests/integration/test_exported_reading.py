"""Reading protocols in an export: frozen before they were read, and what readers said as locked."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from exporters import read_csv, read_files, size_of
from factories import put_instance
from readers import QUESTION, DeskReader, make_chest, make_protocol, read_at_a_desk, start
from sqlalchemy import delete, update

from medr1_pacs.db.projects import declare_projects
from medr1_pacs.db.protocols import stop_protocol
from medr1_pacs.db.tables import Assignment, ReadingCase, ReadingProtocol, Review
from medr1_pacs.projects import Project, ProjectRule, ProjectRules
from medr1_pacs.records.review_words import Phase, ReadKind
from medr1_pacs.steps.exporting import TableFormat
from medr1_pacs.steps.reading_protocols import unblind_person
from medr1_pacs.steps.verifying import verify_database

pytestmark = pytest.mark.parametrize("site", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture
def judged(answered, have_account, database):
    """Let two readers read four cases, sequentially: the one most of them, the other one; returns
    the first."""
    for seed in range(1, 5):
        answered(*make_chest(seed), checkpoint="xray")
    for name in ("anna", "ben"):
        have_account(name, {"default": ["reader"]})
    protocol_id = start(database, make_protocol(readers=["anna", "ben"], arm="sequential"))
    anna, ben = (DeskReader(database, protocol_id, name) for name in ("anna", "ben"))
    read_at_a_desk(anna, 3)
    ben.open()
    return anna


@pytest.fixture
def withdraw(ask_to_withdraw, withdrawer, rows):
    """Withdraw the study of the case with a number."""

    def withdraw(number, project=None):
        [study_id] = [each.study_id for each in rows(ReadingCase) if each.number == number]
        ask_to_withdraw(rows=[study_id], project=project)
        withdrawer.carry_out()

    return withdraw


def faults_of(verify, folder):
    status, said = verify(folder)
    assert (status, said.splitlines()[-1]) == (1, "NOT VERIFIED")
    return [line for line in said.splitlines() if line.startswith("FAULT")]


@pytest.mark.parametrize("shows", [False, True])
def test_what_readers_said_is_exported_and_verified(judged, export, verify, shows):
    folder = export(
        formats=(TableFormat.CSV, TableFormat.JSONL), shows_times=shows, shows_reasons=shows
    )

    status, said = verify(folder)

    assert (status, said.splitlines()[-1]) == (0, "VERIFIED"), said
    assert "every case was frozen before" in said
    reviews = read_csv(folder, "reviews")
    assert [(row["phase"], row["version"]) for row in reviews[:3]] == [
        ("blind", "1"), ("assisted", "1"), ("assisted", "2"),
    ]  # fmt: skip
    assert [row["choice_text"] == "" for row in reviews].count(True) == 1
    assert len(read_csv(folder, "reading_cases")) == 4
    assert read_csv(folder, "questions")[-1]["question_id"]
    counts = {row["name"]: int(row["number"]) for row in read_csv(folder, "counts")}
    assert (counts["reading_cases"], counts["reviews"], counts["amendments"]) == (4, 7, 1)


def test_names_and_texts_that_may_hold_one_are_hidden_unless_reasons_are_shown(judged, export):
    hidden, shown = export(), export(shows_reasons=True)

    for name in (b"anna", b"Zaubernuss", b"a slip of"):
        assert not any(name in data for data in read_files(hidden).values())
    assert b"Zaubernuss" in (shown / "reviews.csv").read_bytes()
    [protocol] = read_csv(hidden, "reading_protocols")
    assert json.loads(protocol["definition"])["readers"] == 2
    assert {row["label"] for row in read_csv(hidden, "reading_people")} == {"Reader A", "Reader B"}


def test_a_read_is_where_events_say_that_it_is(judged, export):
    states = {}
    for row in read_csv(export(), "assignments"):
        states.setdefault(row["state"], []).append(row["place"])

    assert {state: sorted(places) for state, places in states.items()} == {
        "done": ["1", "2", "3"],
        "open": ["1", "4"],
        "planned": ["", "", ""],
    }


def test_a_read_that_is_left_dropped_or_planned_again_is_where_events_say(
    answered, have_account, database, export, verify, rows
):
    for seed in range(1, 4):
        answered(*make_chest(seed), checkpoint="xray")
    names = ("anna", "ben", "carla", "dora", "eve")
    for name in names:
        have_account(name, {"default": ["reader"]})
    protocol = make_protocol(
        readers=["anna", "ben", "dora"], adjudicators=["carla", "eve"], arm="sequential",
        reads=2, claim_minutes=10,
    )  # fmt: skip
    protocol_id = start(database, protocol)
    readers = {name: DeskReader(database, protocol_id, name) for name in names}
    moments = []

    def look():
        folder = export(formats=(TableFormat.CSV, TableFormat.JSONL))
        status, told = verify(folder)
        assert (status, told.splitlines()[-1]) == (0, "VERIFIED"), told
        live = {(row.id, row.account_id, row.place, str(row.state)) for row in rows(Assignment)}
        assert live == {
            (
                int(row["assignment_id"]),
                int(row["account_id"]) if row["account_id"] else None,
                int(row["place"]) if row["place"] else None,
                row["state"],
            )
            for row in read_csv(folder, "assignments")
        }
        moments.append(folder)

    def lock(name, *phases, choice=0):
        read = readers[name].open()
        for phase in phases:
            readers[name].lock(read, phase, choice_text=read.options[choice])
        look()

    def unblind(name):
        unblind_person(database, "default", "chest", 1, name, reason="is ill", actor="lead")
        look()

    lock("anna")
    for reader in readers.values():
        reader.now += timedelta(minutes=30)
    lock("ben")  # what Anna left, if it is the first of his order
    lock("anna", Phase.BLIND)
    unblind("anna")
    for choice, name in enumerate(("ben", "dora")):
        for _ in range(3):
            lock(name, Phase.BLIND, Phase.ASSISTED, choice=choice)
    lock("carla")
    unblind("carla")
    lock("eve", Phase.ADJUDICATION)
    unblind("eve")

    states = {str(row.state) for row in rows(Assignment)}
    assert states == {"done", "dropped"}
    assert [str(row.state) for row in rows(ReadingProtocol)] == ["finished"]
    for folder in moments:
        again = export(as_of=size_of(folder), formats=(TableFormat.CSV, TableFormat.JSONL))
        assert read_files(again) == read_files(folder)


def test_an_export_as_of_an_earlier_head_has_what_was_read_by_then(
    judged, export, verify, database
):
    before = export()
    read = judged.open()
    judged.lock(read, Phase.ASSISTED)
    judged.amend(read, Phase.BLIND, "seen again")
    with database.write() as session:
        stop_protocol(session, judged.protocol_id, reason="enough", actor="lead", now=judged.now)
    later = start(database, make_protocol(version=2))

    again, now = export(as_of=size_of(before)), export()

    assert read_files(again) == read_files(before)
    assert [row["state"] for row in read_csv(now, "reading_protocols")] == ["stopped", "started"]
    assert later != judged.protocol_id
    assert verify(now)[0] == 0


@pytest.mark.parametrize("project", [None, "default"])
def test_of_a_withdrawn_study_hashes_are_left_and_the_database_is_sound(
    judged, withdraw, export, verify, database, sealer, key, project
):
    sealer.current_head()
    withdraw(1, project)

    folder = export()
    status, said = verify(folder)
    sound = verify_database(database, [key.verifier])

    assert (status, said.splitlines()[-1]) == (0, "VERIFIED"), said
    assert "1" not in {row["number"] for row in read_csv(folder, "reading_cases")}
    left = [json.loads(line) for line in (folder / "withdrawn.jsonl").read_text().splitlines()]
    assert {"reading_case", "review"} <= {line["kind"] for line in left}
    assert "model_side" not in str([line["record"] for line in left])
    assert ([str(each) for each in sound.findings], sound.is_sound) == ([], True)


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (update(Review).where(Review.id == 1).values(choice_text="Pneumothorax"), "review 1"),
        (update(Review).where(Review.id == 2).values(wall_ms=7), "review 2"),
        (delete(Review).where(Review.id == 3), "review 3"),
        (update(ReadingCase).where(ReadingCase.id == 2).values(truth="x"), "reading_case 2"),
        (update(ReadingCase).where(ReadingCase.id == 2).values(model_side={}), "reading_case 2"),
        (update(Assignment).values(kind=ReadKind.PRACTICE), "review 1"),
        (update(ReadingProtocol).values(definition={"name": "other"}), "reading_protocol 1"),
    ],
    ids=["choice", "time", "deleted", "truth", "model_side", "kind", "definition"],
)
def test_what_is_changed_in_the_database_is_found_in_it_and_in_an_export(
    judged, export, verify, database, key, change, where
):
    export()  # seals
    with database.write() as session:
        session.execute(change)

    found = [each.where for each in verify_database(database, [key.verifier]).findings]
    said = faults_of(verify, export())

    assert where in found
    assert any(f"{where}:" in fault for fault in said), said


def test_a_review_that_is_put_in_is_found(judged, export, verify, database, key, rows):
    [row] = [each for each in rows(Review) if each.id == 1]
    values = {each.name: getattr(row, each.name) for each in Review.__table__.columns}
    with database.write() as session:
        session.add(Review(**(values | {"id": 90, "version": 9})))

    found = [str(each) for each in verify_database(database, [key.verifier]).findings]

    assert any("review 90: no event tells of it: put in" in each for each in found)
    assert any("review 90: no event tells of it" in each for each in faults_of(verify, export()))


def test_a_study_that_another_project_keeps_is_taken_out_of_the_reading_alone(
    indexer, answered, store, have_account, database, ask_to_withdraw, withdrawer, rows, export,
    verify, key,
):  # fmt: skip
    indexer.rules = ProjectRules(
        (Project("lung"), Project("heart")),
        tuple(ProjectRule(name, {"called_ae_title": name.upper()}) for name in ("lung", "heart")),
    )
    with database.write() as session:
        declare_projects(session, indexer.rules, datetime.now(UTC))
    for ds in make_chest(1):
        put_instance(store, ds, called_ae_title="HEART")
    for seed in (1, 2):
        answered(*make_chest(seed), checkpoint="xray", called_ae_title="LUNG")
    have_account("anna", {"lung": ["reader"]})
    protocol_id = start(database, make_protocol(arm="sequential"), "lung")
    read_at_a_desk(DeskReader(database, protocol_id, "anna"), 1)
    [shared] = [each.study_id for each in rows(ReadingCase) if each.number == 1]
    ask_to_withdraw(rows=[shared], project="lung")
    withdrawer.carry_out()

    status, said = verify(export("lung"))
    report = verify_database(database, [key.verifier])

    assert (status, said.splitlines()[-1]) == (0, "VERIFIED"), said
    assert ([str(each) for each in report.findings], report.is_sound) == ([], True)
    assert {each.record_salt is None for each in rows(Review)} == {True, False}


def test_the_tables_for_statisticians_are_those_of_the_head(judged, export, database):
    folder, name = export(), "reading/chest-1"
    before = read_csv(folder, f"{name}/long")
    judged.lock(judged.open(), Phase.ASSISTED)

    now = read_csv(export(), f"{name}/long")

    reviews = [row for row in before if row["review_id"]]
    assert len(reviews) == 8
    assert len([row for row in now if row["review_id"]]) == 9
    assert {row["locked_at"] for row in reviews} == {"(hidden)"}
    assert {row["reason"] for row in reviews} == {"", "(hidden)"}
    assert len(read_csv(folder, f"{name}/wide")) == 4
    assert {row["name"] for row in read_csv(folder, f"{name}/codebook")} >= set(before[0])
    again = export(as_of=size_of(folder))
    assert read_files(again) == read_files(folder)


@pytest.mark.parametrize(
    ("truths", "has_scores"),
    [(("No abnormality", "Pneumothorax"), True), (("No abnormality",) * 2, False)],
)
def test_scores_are_there_where_they_can_be_compared(judged, export, database, truths, has_scores):
    with database.write() as session:
        for odd, truth in enumerate(truths):
            cases = update(ReadingCase).where(ReadingCase.number % 2 == odd)
            session.execute(cases.values(truth=truth))

    found = list(export().rglob("*.imrmc"))

    assert [each.name for each in found] == [f"{QUESTION}-v1.imrmc"] * has_scores
    assert [each.read_text().startswith("chest 1") for each in found] == [True] * has_scores
