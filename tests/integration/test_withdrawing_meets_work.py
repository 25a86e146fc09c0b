"""A withdrawal in the middle of work: what is under way ends, and brings nothing back."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from factories import make_engine_identity, make_uid, put_instance
from fakes import FakeDecoder, FakeEngine
from sqlalchemy import select

from medr1_pacs.answers import parse_generation
from medr1_pacs.asking import Questionnaire
from medr1_pacs.db.generations import list_unparsed, record_answers
from medr1_pacs.db.tables import (
    Answer,
    Generation,
    Instance,
    Rendering,
    SnapshotAnswer,
    Study,
)
from medr1_pacs.db.vault import PatientIdentityRow
from medr1_pacs.db.withdrawals import get_withdrawal
from medr1_pacs.demo.studies import make_study
from medr1_pacs.errors import RowExists
from medr1_pacs.filters import AnswerFilters
from medr1_pacs.records.words import GenerationState, Modality, RenderingState, StudyState
from medr1_pacs.routing.synonyms import load_synonyms
from medr1_pacs.steps import answering, citing
from medr1_pacs.steps.answering import answer_batch, parse_generations
from medr1_pacs.steps.completing import complete_studies
from medr1_pacs.steps.planning import plan_study
from medr1_pacs.steps.rendering import render_planned


@pytest.fixture
def questionnaire(packaged_bank):
    """A site without checkpoints: the demo's stands in for all."""
    return Questionnaire(
        packaged_bank, load_synonyms(), lambda requested: "demo", is_demo=True, think=True
    )


@pytest.fixture
def withdraw(withdrawer, ask_to_withdraw):
    """Withdraw a study at once."""

    def withdraw(study_instance_uid):
        withdrawal = ask_to_withdraw(study_instance_uid)
        withdrawer.carry_out()
        return withdrawal

    return withdraw


@pytest.fixture
def radiograph(store):
    """A study whose instances were received, and not yet read."""
    instances = make_study(Modality.XRAY, 1)
    for ds in instances:
        put_instance(store, ds)
    return instances


@pytest.fixture
def planned(radiograph, index, database, questionnaire):
    """A study whose pictures wait to be drawn."""
    index()
    complete_studies(database, quiet_s=0)
    while plan_study(database, questionnaire):
        pass
    return radiograph


@pytest.fixture
def rendered(planned, database, store, pictures):
    """A study whose prompts wait for an answer."""
    while render_planned(database, store, pictures, FakeDecoder(), owner="renderer"):
        pass
    return planned


def pictures_on_disk(pictures):
    return [name for folder in pictures.list_stored() for name in folder]


def make_demo_engine(raw_output, before=lambda: None):
    """Make an engine that does something else first."""

    def answer(prompt):
        before()
        return raw_output

    return FakeEngine(answer, identity=make_engine_identity(checkpoint="demo", is_demo=True))


class Interrupting:
    """Does something else first."""

    def __init__(self, inner, before):
        self._inner, self._before = inner, before

    def decode(self, *arguments):
        self._before()
        return self._inner.decode(*arguments)


# -- being received --------------------------------------------------------------------------------


def test_what_waits_in_the_backlog_is_turned_away_and_the_withdrawal_waits_for_it(
    radiograph, withdrawer, ask_to_withdraw, index, store, rows
):
    ask_to_withdraw(radiograph[0].StudyInstanceUID)

    assert withdrawer.carry_out() == 0
    assert index().turned_away == len(radiograph)
    assert withdrawer.carry_out() == 1

    assert rows(Study) == rows(Instance) == rows(PatientIdentityRow) == []
    assert list(store.settled()) == store.incoming(9) == []


def test_instances_that_follow_while_a_study_is_received_are_turned_away(
    radiograph, index, withdraw, store, rows
):
    index()
    withdraw(radiograph[0].StudyInstanceUID)
    for ds in radiograph:
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = make_uid()
        put_instance(store, ds)

    assert index().turned_away == len(radiograph)

    assert [row.state for row in rows(Study)] == [StudyState.WITHDRAWN]


def test_a_study_that_was_receiving_is_never_completed(
    radiograph, index, withdraw, database, rows, questionnaire
):
    index()
    withdraw(radiograph[0].StudyInstanceUID)

    assert complete_studies(database, quiet_s=0) == 0
    assert not plan_study(database, questionnaire)


# -- being rendered --------------------------------------------------------------------------------


def test_a_picture_that_is_being_drawn_is_neither_recorded_nor_kept(
    planned, withdraw, database, store, pictures, rows
):
    decoder = Interrupting(FakeDecoder(), lambda: withdraw(planned[0].StudyInstanceUID))

    assert render_planned(database, store, pictures, decoder, owner="renderer") == 0

    assert {row.state for row in rows(Rendering)} == {RenderingState.WITHDRAWN}
    assert pictures_on_disk(pictures) == []


def test_nothing_of_it_is_drawn_afterwards(planned, withdraw, database, store, pictures):
    withdraw(planned[0].StudyInstanceUID)

    assert render_planned(database, store, pictures, FakeDecoder(), owner="renderer") is None


def test_a_picture_that_a_dead_worker_left_without_a_row_goes_once_it_is_old_enough(
    planned, withdrawer, ask_to_withdraw, database, pictures
):
    left = pictures.put(b"drawn, and never recorded")
    withdrawer.settle = timedelta(seconds=1)
    withdrawal = ask_to_withdraw(planned[0].StudyInstanceUID)

    assert withdrawer.carry_out() == 0
    assert pictures_on_disk(pictures) == [left]
    threading.Event().wait(1.1)
    assert withdrawer.carry_out() == 1

    assert pictures_on_disk(pictures) == []
    with database.read() as session:
        record = get_withdrawal(session, withdrawal)
    assert record.certificate["in_work"] > 0
    assert record.finished_at


# -- being answered --------------------------------------------------------------------------------


def test_an_answer_that_is_being_given_is_not_recorded(
    rendered, withdraw, database, pictures, rows
):
    uid = rendered[0].StudyInstanceUID
    engine = make_demo_engine("<think>Wortwolke.</think><answer>A</answer>", lambda: withdraw(uid))
    answer_batch(database, pictures, engine, owner="answerer")
    parse_generations(database)

    assert {row.state for row in rows(Generation)} == {GenerationState.WITHDRAWN}
    assert {row.raw_output for row in rows(Generation)} == {None}
    assert rows(Answer) == []


def test_a_parse_that_was_under_way_stores_no_answer(
    rendered, withdraw, database, pictures, rows, monkeypatch
):
    monkeypatch.setattr(answering, "parse_generations", lambda _: 0)
    answer_batch(database, pictures, make_demo_engine("<answer>A</answer>"), owner="answerer")
    with database.read() as session:
        unparsed = list_unparsed(session, 100)
    parsed = [(each, parse_generation(each.raw_output, 2, "stop")) for each in unparsed]
    withdraw(rendered[0].StudyInstanceUID)

    with database.write() as session:
        record_answers(session, parsed)

    assert unparsed
    assert rows(Answer) == []


def test_nothing_of_it_is_asked_afterwards(rendered, withdraw, database, pictures):
    withdraw(rendered[0].StudyInstanceUID)

    assert answer_batch(database, pictures, make_demo_engine("A"), owner="answerer") is None


# -- being cited -----------------------------------------------------------------------------------


def test_a_snapshot_that_is_being_made_has_nothing_of_it(
    answered, withdraw, database, rows, monkeypatch
):
    answered()
    find = citing.iterate_found_at_once

    def find_then_withdraw(*arguments):
        yield from find(*arguments)
        withdraw(rows(Study)[0].study_instance_uid)

    monkeypatch.setattr(citing, "iterate_found_at_once", find_then_withdraw)
    with pytest.raises(RowExists, match="withdrawn while"):
        citing.make_snapshot(database, "default", "Fig. 1", AnswerFilters(), actor="ada")

    with database.read() as session:
        assert session.scalars(select(SnapshotAnswer.answer_id)).all() == []
