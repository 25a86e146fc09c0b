from contextlib import suppress
from dataclasses import replace

import pytest
from factories import make_engine_identity, make_instance, put_instance
from fakes import FakeDecoder, FakeEngine
from sqlalchemy import update

from medr1_pacs.asking import Questionnaire
from medr1_pacs.db.answers import iterate_answers
from medr1_pacs.db.claims import database_now
from medr1_pacs.db.overview import list_studies
from medr1_pacs.db.studies import find_settled, record_settled, retry_failed
from medr1_pacs.db.tables import Answer, Checkpoint, Generation, Prompt, Rendering, Study
from medr1_pacs.db.workers import record_heartbeat
from medr1_pacs.demo.studies import make_study
from medr1_pacs.errors import DeviceBroken, Interrupted, PixelDataUnusable, TransientError
from medr1_pacs.questions.bank import PACKAGED_BANK, load_bank
from medr1_pacs.records.listed import WorkerListing
from medr1_pacs.records.words import (
    GenerationState,
    Modality,
    ParseStatus,
    RenderingState,
    StudyState,
)
from medr1_pacs.routing.synonyms import load_synonyms
from medr1_pacs.steps import answering
from medr1_pacs.steps.answering import answer_batch, parse_generations
from medr1_pacs.steps.completing import complete_studies
from medr1_pacs.steps.planning import plan_study
from medr1_pacs.steps.rendering import render_planned
from workers.tasks import drain


@pytest.fixture(scope="module")
def bank():
    return load_bank(PACKAGED_BANK)


@pytest.fixture
def ask(store, index, database, bank):
    """Receive, complete and plan a study."""

    def ask(*instances, checkpoint="demo"):
        for ds in instances or make_study(Modality.XRAY, 1):
            put_instance(store, ds)
        index()
        complete_studies(database, quiet_s=0)
        questionnaire = Questionnaire(
            bank, load_synonyms(), lambda requested: checkpoint, is_demo=True, think=True
        )
        assert plan_study(database, questionnaire)

    return ask


@pytest.fixture
def render(database, store, pictures):
    def render(decoder=None):
        return render_planned(database, store, pictures, decoder or FakeDecoder(), owner="renderer")

    return render


@pytest.fixture
def answer(database, pictures):
    def answer(engine):
        return answer_batch(database, pictures, engine, owner="answerer")

    return answer


@pytest.fixture
def settle(database):
    """Let waiting times pass and settle the studies, as the sweep does."""

    def settle(configured=("demo",)):
        with database.write() as session:
            now = database_now(session)
            session.execute(update(Generation).values(due_at=now))
            session.execute(update(Rendering).values(due_at=now))
            record_settled(session, find_settled(session, configured))

    return settle


@pytest.fixture
def study(rows):
    def study():
        (row,) = rows(Study)
        return row.state, row.state_reason

    return study


def test_a_batch_is_recorded_and_parsed(ask, render, answer, rows, pictures):
    ask()
    render()
    engine = FakeEngine(lambda prompt: "<think>Ribs.</think><answer>B</answer>", batch_size=99)

    results = answer(engine)

    generations, answers = rows(Generation), rows(Answer)
    assert len(results) == len(generations) == len(answers) > 1
    for generation, given in zip(generations, answers, strict=True):
        assert generation.state is GenerationState.ANSWERED
        assert generation.raw_output == "<think>Ribs.</think><answer>B</answer>"
        assert (generation.engine, generation.dtype, generation.attention) == (
            "fake",
            "float32",
            "sdpa",
        )
        assert (generation.claim_token, generation.error) == (None, None)
        assert given.parse_status is ParseStatus.PARSED
        assert (given.reasoning, given.choice) == ("Ribs.", "B")
    asked = {prompt.png for batch in engine.batches for prompt in batch}
    assert asked == {pictures.read(row.png_sha256) for row in rows(Rendering)}


def test_one_checkpoint_row_stands_for_all_its_answers(ask, render, answer, rows):
    ask()
    render()
    answer(FakeEngine(batch_size=2))
    answer(FakeEngine(batch_size=99))

    assert [(row.name, row.sha256) for row in rows(Checkpoint)] == [("demo", "c" * 64)]


def test_other_weights_under_one_name_are_another_row(ask, render, answer, rows):
    ask()
    render()
    answer(FakeEngine(batch_size=1))
    answer(FakeEngine(batch_size=1, identity=make_engine_identity(checkpoint_sha256="d" * 64)))

    assert [row.sha256 for row in rows(Checkpoint)] == ["c" * 64, "d" * 64]


def test_a_prompt_without_a_picture_is_not_answered(ask, answer):
    ask()

    assert answer(FakeEngine()) is None


def test_prompts_of_another_checkpoint_are_left(ask, render, answer):
    ask(checkpoint="xray")
    render()

    assert answer(FakeEngine()) is None


def test_draining_answers_everything_once(ask, render, answer, rows):
    ask()
    render()
    engine = FakeEngine(batch_size=2)

    drain(lambda: answer(engine), lambda: False)

    asked = [(prompt.text, prompt.png) for batch in engine.batches for prompt in batch]
    assert len(asked) == len(set(asked)) == len(rows(Generation)) == len(rows(Answer))
    assert max(len(batch) for batch in engine.batches) == 2


def test_draining_stops_between_batches_when_asked(ask, render, answer):
    ask()
    render()
    engine = FakeEngine(batch_size=1)

    assert drain(lambda: answer(engine), lambda: len(engine.batches) >= 2) == 2


def test_a_study_is_answered_once_its_last_answer_came(ask, render, answer, settle, study):
    ask()
    render()
    answer(FakeEngine(batch_size=1))
    settle()
    assert study() == (StudyState.ASKED, "")

    answer(FakeEngine(batch_size=99))
    settle()

    assert study() == (StudyState.ANSWERED, "")


def test_a_study_says_which_checkpoint_it_waits_for(ask, render, settle, study, rows):
    ask(checkpoint="xray")
    render()

    settle(configured=("ct",))

    assert study() == (
        StudyState.ASKED,
        f"{len(rows(Generation))} prompts wait for the checkpoint xray, which is not configured",
    )


@pytest.mark.parametrize(
    ("raw_output", "status"),
    [
        ("<think>Hm.</think><answer>Z</answer>", ParseStatus.NOT_AN_OPTION),
        ("no tags at all", ParseStatus.NO_ANSWER),
        ("", ParseStatus.NO_ANSWER),
        ("<answer>A</answer>\x00 and a NUL", ParseStatus.PARSED),
        ("half a surrogate \ud83d <answer>A</answer>", ParseStatus.PARSED),
    ],
)
def test_whatever_a_model_says_is_kept_and_parsed(ask, render, answer, rows, raw_output, status):
    ask()
    render()

    answer(FakeEngine(lambda prompt: raw_output, batch_size=99))

    assert {row.parse_status for row in rows(Answer)} == {status}


def test_a_failure_in_a_batch_fails_only_the_row_that_causes_it(
    ask, render, answer, settle, rows, study
):
    ask()
    render()
    poison, prompt_text = rows(Generation)[1].id, rows(Prompt)[1].prompt_text

    def reply(prompt):
        return ValueError("it hurts") if prompt.text == prompt_text else "<answer>A</answer>"

    engine = FakeEngine(reply, batch_size=8)
    for _ in range(20):
        answer(engine)
        settle()

    failed = [row for row in rows(Generation) if row.state is GenerationState.FAILED]
    assert [(row.id, row.attempts, row.error) for row in failed] == [
        (poison, 3, "ValueError: it hurts")
    ]
    assert len(rows(Answer)) == len(rows(Generation)) - 1
    assert study() == (StudyState.FAILED, "1 prompts: ValueError: it hurts")
    assert [len(b) for b in engine.batches if prompt_text in {p.text for p in b}][-3:] == [1, 1, 1]


def test_a_batch_that_fails_costs_nobody_an_attempt(ask, render, answer, rows):
    ask()
    render()

    assert answer(FakeEngine(lambda prompt: ValueError("no"))) == []

    assert {row.attempts for row in rows(Generation)} == {0}


def test_a_resource_that_is_away_costs_no_attempt_and_is_waited_for(ask, render, answer, rows):
    ask()
    render()

    with pytest.raises(TransientError):
        answer(FakeEngine(lambda prompt: TransientError("the endpoint is away"), batch_size=99))

    assert {(row.attempts, row.is_suspect) for row in rows(Generation)} == {(0, False)}
    assert {row.error for row in rows(Generation)} == {"the endpoint is away"}
    assert answer(FakeEngine()) is None


def test_work_that_was_interrupted_is_free_for_the_next_worker_at_once(ask, render, answer, rows):
    ask()
    render()

    with pytest.raises(Interrupted):
        answer(FakeEngine(lambda prompt: Interrupted("stopping"), batch_size=99))

    assert {row.attempts for row in rows(Generation)} == {0}
    assert answer(FakeEngine()) is not None


def test_a_study_says_that_no_worker_can_load_its_checkpoint(ask, render, settle, study, database):
    ask()
    render()
    with database.write() as session:
        now = database_now(session)
        listing = WorkerListing("answer@here/1/1", "answer", ["answer.demo"], now, now)
        trouble = "the checkpoint demo cannot be loaded: no such file"
        record_heartbeat(session, replace(listing, trouble=trouble))

    settle()

    assert "no worker can load: see `doctor`" in study()[1]


def test_a_result_that_cannot_be_recorded_counts_an_attempt(
    ask, render, answer, rows, settle, monkeypatch
):
    ask()
    render()
    monkeypatch.setattr(answering, "record_generated", lambda *_: 1 / 0)

    for _ in range(30):
        with suppress(ZeroDivisionError):
            answer(FakeEngine(batch_size=1))
        settle()

    assert {row.state for row in rows(Generation)} == {GenerationState.FAILED}


def test_a_device_that_answers_nothing_any_more_fails_nothing(ask, render, answer, rows, settle):
    ask()
    render()
    broken = FakeEngine(
        lambda prompt: RuntimeError("CUDA error: an illegal memory access"),
        batch_size=1,
        is_broken=True,
    )

    for _ in range(5):
        with pytest.raises(DeviceBroken):
            answer(broken)

    assert {(row.state, row.attempts) for row in rows(Generation)} == {(GenerationState.WAITING, 0)}


def test_a_picture_that_was_changed_on_disk_is_drawn_again_before_it_is_asked_about(
    ask, render, answer, rows, pictures
):
    ask()
    render()
    good = rows(Rendering)[0].png_sha256
    pictures.path(good).write_bytes(b"forged")

    engine = FakeEngine(batch_size=1)
    answer(engine)
    assert engine.batches == []
    assert rows(Rendering)[0].state is RenderingState.PLANNED

    render()
    answer(engine)

    assert rows(Rendering)[0].png_sha256 == good
    assert pictures.read(good) in {prompt.png for batch in engine.batches for prompt in batch}


def test_a_lost_picture_does_not_hold_up_the_rest_of_its_batch(ask, render, answer, rows, pictures):
    ask()
    render()
    lost = rows(Rendering)[0]
    pictures.path(lost.png_sha256).unlink()

    results = answer(FakeEngine(batch_size=99))

    of_lost = {row.id for row in rows(Prompt) if row.rendering_id == lost.id}
    assert len(results) == len(rows(Generation)) - len(of_lost)
    assert {row.attempts for row in rows(Generation)} == {0}


def test_a_picture_that_cannot_be_drawn_fails_its_prompts_with_the_reason(
    ask, render, settle, rows, study
):
    ask()

    render(FakeDecoder(PixelDataUnusable("frame 1: no such codec")))
    settle()

    assert {row.state for row in rows(Rendering)} == {RenderingState.FAILED}
    assert {(row.state, row.error) for row in rows(Generation)} == {
        (GenerationState.FAILED, "the picture could not be drawn: frame 1: no such codec")
    }
    assert study() == (
        StudyState.FAILED,
        f"{len(rows(Generation))} prompts: the picture could not be drawn: frame 1: no such codec",
    )


def test_a_failed_study_can_be_retried_and_answered(
    ask, render, answer, settle, rows, study, database
):
    ask()
    render(FakeDecoder(PixelDataUnusable("no such codec")))
    settle()
    uid = rows(Study)[0].study_instance_uid

    with database.write() as session:
        assert retry_failed(session, uid, "tester")
    assert study() == (StudyState.ASKED, "")
    render()
    answer(FakeEngine(batch_size=99))
    settle()

    assert study() == (StudyState.ANSWERED, "")


def test_retrying_what_did_not_fail_changes_nothing(ask, rows, database):
    ask()

    with database.write() as session:
        assert not retry_failed(session, rows(Study)[0].study_instance_uid, "tester")
        assert not retry_failed(session, "1.2.3", "tester")


def test_a_generation_is_stored_before_it_is_parsed(
    ask, render, answer, rows, monkeypatch, database
):
    ask()
    render()

    def fail(*arguments):
        raise RuntimeError("a defect of the parser")

    with monkeypatch.context() as patch:
        patch.setattr(answering, "parse_generation", fail)
        with pytest.raises(RuntimeError, match="a defect of the parser"):
            answer(FakeEngine(batch_size=99))
    assert {row.state for row in rows(Generation)} == {GenerationState.GENERATED}
    assert rows(Answer) == []

    assert parse_generations(database) == len(rows(Generation))
    assert len(rows(Answer)) == len(rows(Generation))


def test_an_answer_tells_everything_that_made_it(ask, render, answer, database):
    ask()
    render()
    answer(FakeEngine(batch_size=99))

    with database.read() as session:
        answers = list(iterate_answers(session))
        (listed,) = list_studies(session)

    assert listed.answers == len(answers)
    first = answers[0]
    assert (first.kind, first.run, first.is_demo, first.is_current) == (
        "protocol",
        1,
        True,
        True,
    )
    assert (first.modality, first.checkpoint, first.frame_number) == ("X-Ray", "demo", 1)
    assert first.choice_text == first.options[0]
    assert first.is_correct in (True, False, None)


def test_an_answer_about_an_earlier_version_is_not_current(ask, render, answer, database):
    study = make_study(Modality.CT, 1)
    ask(*study[:3])
    render()
    answer(FakeEngine(batch_size=99))

    ask(*study[3:])
    render()
    answer(FakeEngine(batch_size=99))

    with database.read() as session:
        current = {row.study_version: row.is_current for row in iterate_answers(session)}
    assert current == {1: False, 2: True}


def test_answers_of_one_study_are_found_by_its_uid(ask, render, answer, database):
    ask()
    ask(make_instance())
    render()
    drain(lambda: answer(FakeEngine(batch_size=99)), lambda: False)
    uid = make_study(Modality.XRAY, 1)[0].StudyInstanceUID

    with database.read() as session:
        found = {row.study_instance_uid for row in iterate_answers(session, study_instance_uid=uid)}

    assert found == {uid}
