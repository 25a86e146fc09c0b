"""What an answer was made from stays as it was recorded, whatever is drawn or sent again."""

from __future__ import annotations

import pytest
from factories import NOON, make_engine_identity, make_instance, make_output, put_instance
from fakes import FakeDecoder, FakeEngine
from sqlalchemy import update

from medr1_pacs.asking import Questionnaire, build_plan
from medr1_pacs.db.answers import iterate_answers
from medr1_pacs.db.generations import claim_generations, record_generated
from medr1_pacs.db.plans import find_due_plan, record_plan
from medr1_pacs.db.renderings import draw_again, find_equal_picture, heal_waiting
from medr1_pacs.db.studies import retry_failed
from medr1_pacs.db.tables import AuditEvent, Generation, Prompt, Rendering, Selection, Study
from medr1_pacs.questions.bank import load_bank
from medr1_pacs.records.words import GenerationState, RenderingState, StudyState
from medr1_pacs.rendering import frame, png
from medr1_pacs.routing.synonyms import load_synonyms
from medr1_pacs.steps import rendering as rendering_step
from medr1_pacs.steps.answering import answer_batch
from medr1_pacs.steps.completing import complete_studies
from medr1_pacs.steps.planning import plan_study
from medr1_pacs.steps.rendering import render_planned
from medr1_pacs.steps.settling import settle_studies

BANK = """\
modality: CT
questions:
- id: site-slice
  version: 1
  task: Anatomy Identification
  role: sentinel
  select: all up to 9
  stem: "Which part of the body is shown?"
  options: [Chest, Abdomen]
  truth: {header: anatomy}
  coverage: in
- id: site-finding
  version: 1
  task: Disease Diagnosis
  role: study
  select: all up to 9
  stem: "What does this slice show?"
  options: [A nodule, Nothing]
  truth: reader
  coverage: near
"""


@pytest.fixture
def questionnaire(tmp_path):
    folder = tmp_path / "bank"
    folder.mkdir()
    (folder / "site.yaml").write_text(BANK)
    return Questionnaire(
        load_bank(folder), load_synonyms(), lambda requested: "ct", is_demo=False, think=True
    )


@pytest.fixture
def plan(index, database, questionnaire):
    """Complete and plan what was received."""

    def plan():
        index()
        complete_studies(database, quiet_s=0)
        while plan_study(database, questionnaire):
            pass

    return plan


@pytest.fixture
def render(database, store, pictures):
    def render():
        while render_planned(database, store, pictures, FakeDecoder(), owner="w") is not None:
            pass

    return render


@pytest.fixture
def answer(database, pictures):
    def answer():
        engine = FakeEngine(identity=make_engine_identity(checkpoint="ct"), batch_size=1)
        while answer_batch(database, pictures, engine, owner="w") is not None:
            pass
        settle_studies(database, ["ct"])
        return len(engine.batches)

    return answer


@pytest.fixture
def lose(database, pictures, rows):
    """Lose the file of a rendering, and let it be noticed."""

    def lose():
        row = rows(Rendering)[0]
        pictures.path(row.png_sha256).unlink()
        with database.write() as session:
            draw_again(session, row.png_sha256, "it is missing")
        return row.png_sha256

    return lose


@pytest.fixture
def answers(database):
    def answers():
        with database.read() as session:
            return list(iterate_answers(session))

    return answers


@pytest.fixture
def draw_otherwise(monkeypatch):
    """Let the renderer draw other pixels from now on."""
    real = rendering_step.draw_model_picture

    def draw_otherwise():
        monkeypatch.setattr(rendering_step, "draw_model_picture", lambda shown: 255 - real(shown))

    return draw_otherwise


def test_a_lost_picture_that_is_drawn_with_equal_pixels_is_the_same_picture(
    store, plan, render, answer, lose, answers, rows, database, monkeypatch
):
    put_instance(store, make_instance())
    plan()
    render()
    answer()
    before = answers()
    lost = lose()

    monkeypatch.setattr(png, "PNG_COMPRESS_LEVEL", 1)
    render()

    assert answers() == before
    (row,) = rows(Rendering)
    assert row.state is RenderingState.RENDERED
    assert row.png_sha256 != lost
    with database.read() as session:
        assert find_equal_picture(session, lost) == row.png_sha256


def test_a_lost_picture_that_is_drawn_otherwise_is_a_new_rendering(
    store, plan, render, answer, lose, answers, rows, draw_otherwise
):
    put_instance(store, make_instance())
    plan()
    render()
    answer()
    before = answers()
    lose()
    draw_otherwise()

    render()

    assert answers() == before
    old, new = rows(Rendering)
    assert (old.state, new.state) == (RenderingState.LOST, RenderingState.RENDERED)
    assert old.pixels_sha256 != new.pixels_sha256
    assert old.png_sha256 == before[0].png_sha256


def test_what_waits_for_a_lost_picture_is_asked_about_the_one_that_is_drawn(
    store, plan, render, answer, lose, answers, rows, draw_otherwise
):
    put_instance(store, make_instance())
    plan()
    render()
    lose()
    draw_otherwise()

    render()
    assert answer() == 2

    _, new = rows(Rendering)
    assert {row.png_sha256 for row in answers()} == {new.png_sha256}
    assert all(row.is_current for row in answers())
    assert rows(Study)[0].state is StudyState.ANSWERED


def test_an_answer_in_flight_over_a_lost_picture_is_not_filed_under_another(
    store, plan, render, lose, database, rows, draw_otherwise
):
    put_instance(store, make_instance())
    plan()
    render()
    with database.write() as session:
        claim, work = claim_generations(session, "ct", owner="slow", limit=9)
    lose()
    draw_otherwise()
    render()

    with database.write() as session:
        recorded = [
            record_generated(
                session, claim, item, make_output(), make_engine_identity(checkpoint="ct")
            )
            for item in work
        ]

    assert recorded == [False, False]
    assert {row.state for row in rows(Generation)} == {GenerationState.WAITING}
    assert {row.rendering_id for row in rows(Prompt)} == {rows(Rendering)[1].id}


def test_a_retry_after_a_picture_was_lost_is_asked_about_the_one_that_is_drawn(
    store, plan, render, answer, lose, database, rows, draw_otherwise
):
    put_instance(store, make_instance())
    plan()
    render()
    with database.write() as session:
        session.execute(
            update(Generation).where(Generation.id == 2).values(state=GenerationState.FAILED)
        )
    answer()
    assert rows(Study)[0].state is StudyState.FAILED
    lose()
    draw_otherwise()
    render()

    with database.write() as session:
        assert retry_failed(session, rows(Study)[0].study_instance_uid, "operator")
    render()
    assert answer() == 1

    assert rows(Study)[0].state is StudyState.ANSWERED


@pytest.mark.parametrize("is_ready", [True, False])
def test_a_prompt_that_disagrees_with_its_rendering_is_healed(
    store, plan, render, database, rows, is_ready
):
    put_instance(store, make_instance())
    plan()
    if not is_ready:
        render()
    with database.write() as session:
        session.execute(update(Generation).values(is_ready=is_ready))
        heal_waiting(session)

    assert {row.is_ready for row in rows(Generation)} == {not is_ready}


def test_a_picture_planned_before_an_upgrade_is_recorded_by_the_renderer_that_drew_it(
    store, plan, render, rows, monkeypatch
):
    put_instance(store, make_instance())
    plan()
    planned = rows(Rendering)[0].recipe
    monkeypatch.setattr(frame, "RENDERER_VERSION", "2")

    render()

    (row,) = rows(Rendering)
    assert row.state is RenderingState.RENDERED
    assert row.recipe != planned


def resend(ds, **elements):
    """Return an instance with other bytes under the same UID."""
    again = make_instance(
        SOPInstanceUID=ds.SOPInstanceUID,
        **{"PatientName": "Corrected^Name", **elements},
    )
    return again


def test_corrected_demographics_ask_nothing_again(store, plan, render, answer, answers, rows):
    ds = make_instance()
    put_instance(store, ds)
    plan()
    render()
    assert answer() == 2
    before = [(row.answer_id, row.raw_output, row.png_sha256) for row in answers()]

    put_instance(store, resend(ds), calling_ae_title="PACS")
    plan()
    render()
    assert answer() == 0

    assert [(row.answer_id, row.raw_output, row.png_sha256) for row in answers()] == before
    assert [(row.is_current, row.study_version) for row in answers()] == [(True, 2)] * 2
    assert rows(Study)[0].state is StudyState.ANSWERED
    assert [event.action for event in rows(AuditEvent)].count("prompt.kept") == 2


def test_corrected_demographics_ask_nothing_in_a_third_version_either(
    store, plan, render, answer, answers, rows
):
    ds = make_instance()
    put_instance(store, ds)
    plan()
    render()
    answer()
    put_instance(store, resend(ds))
    plan()
    render()

    put_instance(store, make_instance(ImagePositionPatient=[0, 0, 5]))
    plan()
    render()

    assert rows(Study)[0].version == 3
    assert answer() == 2  # of the late slice
    assert len(answers()) == 4
    assert all(row.is_current for row in answers())


def test_a_copy_that_comes_before_the_answers_is_asked_once(store, plan, render, answer, answers):
    ds = make_instance()
    put_instance(store, ds)
    plan()
    put_instance(store, resend(ds))
    plan()
    render()

    assert answer() == 2
    assert all(row.is_current for row in answers())


def test_of_equal_prompts_that_wait_the_one_of_the_latest_version_is_asked(
    store, plan, render, answer, answers, rows
):
    first, second = make_instance(), None
    put_instance(store, first)
    plan()
    second = resend(first)
    put_instance(store, second)
    plan()
    put_instance(store, first)
    plan()
    render()

    assert answer() == 2
    assert [row.is_current for row in answers()] == [True, True]
    assert (rows(Study)[0].state, rows(Study)[0].version) == (StudyState.ANSWERED, 3)


def test_a_plan_is_made_again_when_a_prompt_moved_meanwhile(
    store, plan, render, lose, database, rows, draw_otherwise, index, questionnaire
):
    put_instance(store, make_instance())
    plan()
    render()
    put_instance(store, make_instance(ImagePositionPatient=[0, 0, 5]))
    index()
    complete_studies(database, quiet_s=0)
    with database.read() as session:
        facts = find_due_plan(session)
    lose()
    draw_otherwise()
    render()

    with database.write() as session:
        record_plan(session, facts, build_plan(facts, questionnaire), NOON)
    assert rows(Study)[0].state is StudyState.COMPLETE
    assert plan_study(database, questionnaire)

    chosen = {row.rendering_id for row in rows(Selection) if row.study_version_id == 2}
    assert rows(Rendering)[0].id not in chosen


def test_another_truth_asks_again(store, plan, render, answer, answers):
    ds = make_instance()
    put_instance(store, ds)
    plan()
    render()
    answer()

    put_instance(store, resend(ds, BodyPartExamined="ABDOMEN", WindowCenter=40))
    plan()
    render()

    assert answer() == 1
    current = {(row.question_id, row.truth) for row in answers() if row.is_current}
    assert current == {("site-slice", "Abdomen"), ("site-finding", None)}


def test_other_pixels_ask_again(store, plan, render, answer, answers, draw_otherwise):
    ds = make_instance()
    put_instance(store, ds)
    plan()
    render()
    answer()

    draw_otherwise()
    put_instance(store, resend(ds))
    plan()
    render()

    assert answer() == 2
    assert len(answers()) == 4


def test_an_answer_says_which_file_the_model_was_shown(store, plan, render, answer, answers, rows):
    put_instance(store, make_instance())
    plan()
    render()
    answer()

    shown = {row.png_sha256 for row in rows(Generation)}
    assert {row.png_sha256 for row in answers()} == shown == {rows(Rendering)[0].png_sha256}
    assert {row.state for row in rows(Generation)} == {GenerationState.ANSWERED}
    assert len(rows(Prompt)) == 2
