"""What is answered stays answered: neither an upgrade nor a late instance asks it again.

See `first_schema` for the data: one CT study of two slices, two questions that take every slice,
all answered.
"""

from __future__ import annotations

import itertools
import json

import pytest
from factories import make_instance, put_instance
from first_schema import FIRST_REVISIONS, STORED, bring_to, restore
from sqlalchemy import text

from medr1_pacs import asking
from medr1_pacs.asking import Questionnaire
from medr1_pacs.db.answers import iterate_answers
from medr1_pacs.db.schema import Branch, upgrade_schema
from medr1_pacs.db.sessions import Database
from medr1_pacs.db.tables import (
    Generation,
    Instance,
    Prompt,
    Question,
    ReferenceStandard,
    Rendering,
    Selection,
    Study,
)
from medr1_pacs.questions import windows
from medr1_pacs.questions.bank import load_bank
from medr1_pacs.records.planned import VoiWindow
from medr1_pacs.records.words import GenerationState
from medr1_pacs.rendering import frame
from medr1_pacs.routing.synonyms import load_synonyms
from medr1_pacs.settings import Settings
from medr1_pacs.steps.completing import complete_studies
from medr1_pacs.steps.planning import plan_study

BANK = """\
modality: CT
questions:
- id: site-every-slice
  version: 1
  task: Disease Diagnosis
  role: study
  select: all up to 9
  window: lung
  second_window: mediastinum
  stem: "What does this slice show?"
  options: [A nodule, An effusion, Neither]
  truth: reader
  coverage: near
- id: site-side
  version: 1
  task: Anatomy Identification
  role: sentinel
  select: all up to 9
  stem: "Which part of the body is shown?"
  options: [Chest, Abdomen]
  truth: {header: anatomy}
  coverage: in
"""
PROMPTS_A_SLICE = 3  # lung, mediastinum, and the object's own window

_numbers = itertools.count(1)


@pytest.fixture(params=["sqlite", "postgresql"])
def site(request, tmp_path):
    """A site as version 0.1.0 left it, brought to today's schemas."""
    settings = Settings(data_dir=tmp_path)
    if request.param == "postgresql":
        server = request.getfixturevalue("postgresql_server")
        server.start()
        url = server.create_database(f"stays_{next(_numbers)}")
        settings = Settings(data_dir=tmp_path, database_url=url)
    for url, branch in (
        (settings.database_url, Branch.RESEARCH),
        (settings.vault_url, Branch.VAULT),
    ):
        database = Database(url)
        bring_to(database, branch, FIRST_REVISIONS[branch])
        restore(database, STORED[branch])
        upgrade_schema(database, branch)
        database.dispose()
    return settings


@pytest.fixture
def send_late_slice(store, indexer, database, tmp_path):
    """Let a third slice of the study arrive, and plan the study's second version."""

    def send_late_slice(bank=BANK, *, think=True, checkpoint="ct"):
        (tmp_path / "bank").mkdir()
        (tmp_path / "bank" / "site.yaml").write_text(bank)
        put_instance(store, make_instance(ImagePositionPatient=[0, 0, 15]))
        assert indexer.index().new == 1
        assert complete_studies(database, quiet_s=0) == 1
        questionnaire = Questionnaire(
            load_bank(tmp_path / "bank"),
            load_synonyms(),
            lambda requested: checkpoint,
            is_demo=False,
            think=think,
        )
        assert plan_study(database, questionnaire)

    return send_late_slice


@pytest.fixture
def assert_only_the_late_slice_is_asked(rows, database):
    def check():
        (study,), late = rows(Study), rows(Instance)[-1]
        assert (study.version, len(rows(Instance))) == (2, 3)
        renderings = {row.id: row.instance_id for row in rows(Rendering)}
        asked = [renderings[row.rendering_id] for row in rows(Prompt)]
        assert [asked.count(row.id) for row in rows(Instance)] == [PROMPTS_A_SLICE] * 3
        waiting = [row for row in rows(Generation) if row.state is GenerationState.WAITING]
        prompts = {row.id: renderings[row.rendering_id] for row in rows(Prompt)}
        assert [prompts[row.prompt_id] for row in waiting] == [late.id] * PROMPTS_A_SLICE
        with database.read() as session:
            answers = list(iterate_answers(session))
        assert [(row.is_current, row.study_version) for row in answers] == [(True, 2)] * 6

    return check


def test_an_upgraded_database_gives_the_answers_that_it_held(database):
    with database.read() as session:
        answers = list(iterate_answers(session))

    assert [row.answer_id for row in answers] == [1, 2, 3, 4, 5, 6]
    assert {row.choice for row in answers} == {"B"}
    assert {row.decoding.max_new_tokens for row in answers} == {256}
    assert all(row.is_current for row in answers)


def test_a_late_instance_asks_nothing_again(send_late_slice, assert_only_the_late_slice_is_asked):
    send_late_slice()

    assert_only_the_late_slice_is_asked()


def test_a_renderer_that_draws_otherwise_asks_nothing_again(
    send_late_slice, assert_only_the_late_slice_is_asked, monkeypatch, rows
):
    monkeypatch.setattr(frame, "RENDERER_VERSION", "2")
    before = {row.recipe for row in rows(Rendering)}

    send_late_slice()

    assert_only_the_late_slice_is_asked()
    assert before.isdisjoint(row.recipe for row in rows(Rendering)[-PROMPTS_A_SLICE:])


def test_a_window_preset_with_other_values_asks_nothing_again_and_the_study_keeps_its_own(
    send_late_slice, assert_only_the_late_slice_is_asked, monkeypatch, rows
):
    monkeypatch.setitem(windows.PRESETS, "lung", VoiWindow(-500, 1400))

    send_late_slice()

    assert_only_the_late_slice_is_asked()
    requests = [row.window_request for row in rows(Rendering)]
    lung = [request["preset"] for request in requests if request["preset_name"] == "lung"]
    assert lung == [[-600, 1500]] * 3


def test_other_limits_of_decoding_ask_nothing_again_and_the_study_keeps_its_own(
    send_late_slice, assert_only_the_late_slice_is_asked, monkeypatch, rows
):
    monkeypatch.setattr(asking, "MAX_NEW_TOKENS", 512)

    send_late_slice(think=False)

    assert_only_the_late_slice_is_asked()
    limits = [(row.decoding["think"], row.decoding["max_new_tokens"]) for row in rows(Prompt)]
    assert limits == [(True, 256)] * 9


def test_another_wording_of_the_bank_asks_nothing_again_and_the_study_keeps_its_own(
    send_late_slice, assert_only_the_late_slice_is_asked, rows
):
    reworded = BANK.replace("version: 1", "version: 2").replace("What does this", "Which finding")

    send_late_slice(reworded)

    assert_only_the_late_slice_is_asked()
    assert [(row.question_id, row.version) for row in rows(Question)] == [
        ("site-every-slice", 1),
        ("site-side", 1),
    ]
    assert {row.question_id for row in rows(Selection)} == {1, 2}


def test_a_wording_that_can_be_asked_no_more_gives_way_for_what_is_new_alone(
    send_late_slice, assert_only_the_late_slice_is_asked, database, rows
):
    with database.connection() as connection:
        definition = json.dumps(rows(Question)[0].definition | {"select": "every K-th"})
        connection.execute(
            text("UPDATE question SET definition = :d WHERE id = 1"), {"d": definition}
        )

    send_late_slice(BANK.replace("version: 1", "version: 2"))

    assert_only_the_late_slice_is_asked()
    assert ("site-every-slice", 2) in {(row.question_id, row.version) for row in rows(Question)}


def test_a_truth_that_the_header_gives_only_now_is_recorded_for_what_was_asked(
    send_late_slice, database, rows
):
    with database.connection() as connection:
        connection.execute(text("DELETE FROM reference_standard"))

    send_late_slice()

    late = rows(Instance)[-1]
    assert [row.instance_id for row in rows(ReferenceStandard)] == [1, 2, late.id]


def test_another_checkpoint_is_another_question(send_late_slice, rows):
    send_late_slice(checkpoint="mri")

    assert [row.checkpoint for row in rows(Prompt)] == ["ct"] * 6 + ["mri"] * 9
