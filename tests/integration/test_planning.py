import pytest
from factories import make_instance, make_uid, put_instance, real_file
from sqlalchemy import update

from medr1_pacs.asking import Questionnaire
from medr1_pacs.db.tables import (
    Generation,
    Prompt,
    Question,
    ReferenceStandard,
    Rendering,
    Selection,
    Series,
    Study,
    StudyVersion,
)
from medr1_pacs.demo.phantoms import make_phantom
from medr1_pacs.demo.studies import make_study
from medr1_pacs.errors import RowExists, ValueRefused
from medr1_pacs.questions.bank import PACKAGED_BANK, load_bank, questions_for
from medr1_pacs.records.words import Modality, StudyState, TruthSource
from medr1_pacs.routing.synonyms import load_synonyms
from medr1_pacs.steps import planning
from medr1_pacs.steps.completing import complete_studies
from medr1_pacs.steps.planning import plan_study
from medr1_pacs.steps.receiving import ingest_file
from medr1_pacs.steps.settling import settle_studies


@pytest.fixture(scope="module")
def bank():
    return load_bank(PACKAGED_BANK)


@pytest.fixture
def questionnaire(bank):
    """A site without checkpoints: the demo's stands in for all."""
    return Questionnaire(bank, load_synonyms(), lambda requested: "demo", is_demo=True, think=True)


@pytest.fixture
def plan(store, index, database, questionnaire):
    """Receive a study, complete it at once and plan it."""

    def plan(instances, questionnaire=questionnaire):
        for ds in instances:
            put_instance(store, ds)
        while index().total:
            pass
        complete_studies(database, quiet_s=0)
        assert plan_study(database, questionnaire)

    return plan


@pytest.mark.parametrize("modality", list(Modality))
@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
def test_a_demo_study_of_every_modality_is_asked_its_questions(plan, rows, bank, modality):
    plan(make_study(modality, 1))

    (study,), (series,) = rows(Study), rows(Series)
    assert (study.state, series.route_modality) == (StudyState.ASKED, modality)
    asked = {row.question_id for row in rows(Question)}
    assert asked == {question.id for question in questions_for(bank, modality, demo=True)}
    assert len(rows(Generation)) == len(rows(Prompt)) > 0


def test_a_plan_records_the_version_and_the_route_that_it_is_of(plan, rows):
    study = make_study(Modality.CT, 1)
    plan(study)

    (version,), (series,) = rows(StudyVersion), rows(Series)
    assert (version.version, version.instances) == (1, len(study))
    assert version.planned_at is not None
    assert (series.route_modality, series.plane) == ("CT", "axial")


def test_every_prompt_says_who_answers_it_and_how(plan, rows):
    plan(make_study(Modality.CT, 1))

    prompts = rows(Prompt)
    assert prompts
    assert {prompt.checkpoint for prompt in prompts} == {"demo"}
    assert [prompt.decoding for prompt in prompts] == [
        {"think": True, "max_new_tokens": 256, "do_sample": False, "max_pixels": 401_408}
    ] * len(prompts)


def test_a_frame_is_drawn_once_for_all_questions_with_one_window(plan, rows):
    study = make_study(Modality.CT, 1)
    plan(study)

    renderings = [(row.instance_id, row.frame_number, row.recipe) for row in rows(Rendering)]
    assert len(rows(Prompt)) > len(renderings) == len(set(renderings)) > 0


def test_every_selection_says_why(plan, rows):
    plan(make_study(Modality.CT, 1))

    selections = rows(Selection)
    assert selections
    assert all(selection.reason for selection in selections)


def test_every_frame_is_chosen_or_counted_as_skipped(plan, rows):
    study = make_study(Modality.CT, 1)
    plan(study)

    chosen = [row for row in rows(Selection) if row.rendering_id is not None]
    assert chosen
    for selection in chosen:
        others = [row for row in chosen if row.question_id == selection.question_id]
        assert len(others) + sum((selection.skipped or {}).values()) == len(study)


def test_the_options_are_shown_in_the_order_that_is_recorded(plan, rows):
    plan(make_study(Modality.CT, 1))

    definitions = {row.id: row.definition for row in rows(Question)}
    prompts = rows(Prompt)
    assert prompts
    for prompt in prompts:
        options = definitions[prompt.question_id]["options"]
        assert prompt.options == [options[index] for index in prompt.option_order]
        assert f"A){prompt.options[0]}, B){prompt.options[1]}" in prompt.prompt_text


def test_the_truths_that_the_header_knows_are_recorded(plan, rows):
    phantom = make_phantom(Modality.CT, 1)
    plan(make_study(Modality.CT, 1))

    questions = {row.id: row for row in rows(Question)}
    truths = {
        questions[row.question_id].question_id: (row.truth, row.source)
        for row in rows(ReferenceStandard)
    }
    quadrant, _ = truths["demo-ct-marker-quadrant"]
    assert quadrant == phantom.marker_quadrant
    assert truths["demo-ct-modality"][0] == "CT"
    assert {source for _, source in truths.values()} <= {TruthSource.HEADER, TruthSource.PHANTOM}
    assert rows(ReferenceStandard)
    for row in rows(ReferenceStandard):
        assert row.truth in questions[row.question_id].definition["options"]


def test_planning_again_changes_nothing(plan, rows, database, questionnaire):
    plan(make_study(Modality.XRAY, 1))
    before = len(rows(Prompt))

    assert not plan_study(database, questionnaire)

    assert len(rows(Prompt)) == before
    assert len(rows(StudyVersion)) == 1


def test_a_study_left_complete_with_its_plan_blocks_no_other(plan, rows, database):
    plan(make_study(Modality.XRAY, 1))
    with database.write() as session:
        session.execute(update(Study).values(state=StudyState.COMPLETE))

    plan(make_study(Modality.CT, 2))
    settle_studies(database, ["demo"])

    assert [row.state for row in rows(Study)] == [StudyState.ASKED] * 2


def test_the_next_version_asks_only_what_is_new(plan, rows, questionnaire, bank):
    # The middle slice changes when two slices arrive late: its prompts are new, the others stay.
    study = make_study(Modality.CT, 1)
    plan(study[:3])
    first = {row.id for row in rows(Generation)}
    middle_of_first = {row.instance_id for row in rows(Rendering)}

    plan(study[3:])

    assert [row.version for row in rows(StudyVersion)] == [1, 2]
    assert rows(Study)[0].state is StudyState.ASKED
    assert first < {row.id for row in rows(Generation)}
    added = [row for row in rows(Rendering) if row.instance_id not in middle_of_first]
    assert added
    keys = [
        (row.rendering_id, row.question_id, row.checkpoint, row.prompt_sha256)
        for row in rows(Prompt)
    ]
    assert len(keys) == len(set(keys))


def test_the_next_version_selects_again_what_it_shares_with_the_first(plan, rows):
    (radiograph,) = make_study(Modality.XRAY, 1)
    plan([radiograph])
    first = [row.id for row in rows(Generation)]

    report = make_instance(
        SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11",
        Modality="SR",
        StudyInstanceUID=radiograph.StudyInstanceUID,
        SeriesInstanceUID=make_uid(),
        ImageType=None,
        PixelData=None,
    )
    plan([report])

    assert [row.id for row in rows(Generation)] == first
    chosen = [row for row in rows(Selection) if row.rendering_id is not None]
    versions = {row.id: row.version for row in rows(StudyVersion)}
    pairs = {v: {(s.question_id, s.rendering_id) for s in chosen
                 if versions[s.study_version_id] == v} for v in (1, 2)}  # fmt: skip
    assert pairs[1] == pairs[2] != set()


@pytest.mark.parametrize(
    ("ds", "reason"),
    [
        (make_instance(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]), "ocalizer"),
        (
            make_instance(SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11", Modality="SR"),
            "",
        ),
        (make_instance(Modality="PT", SOPClassUID="1.2.840.10008.5.1.4.1.1.128"), ""),
    ],
    ids=["localizer", "report", "PET"],
)
def test_what_no_question_applies_to_is_said_with_the_reason(plan, rows, ds, reason):
    plan([ds])

    (study,) = rows(Study)
    assert study.state is StudyState.NOTHING_TO_ASK
    assert reason in study.state_reason
    assert len(study.state_reason) > 10
    assert rows(Prompt) == []
    assert rows(Series)[0].route_reason or study.state_reason


def test_a_study_that_was_reopened_meanwhile_is_not_planned_as_it_was(
    store, index, database, questionnaire, rows, monkeypatch
):
    put_instance(store, make_study(Modality.XRAY, 1)[0])
    index()
    complete_studies(database, quiet_s=0)
    real = planning.build_plan

    def slow(study, questionnaire):
        built = real(study, questionnaire)
        put_instance(store, make_instance(StudyInstanceUID=study.study_instance_uid))
        index()
        return built

    monkeypatch.setattr(planning, "build_plan", slow)
    plan_study(database, questionnaire)

    assert (rows(Study)[0].state, rows(Study)[0].version) == (StudyState.RECEIVING, 2)
    assert rows(Prompt) == []


@pytest.mark.parametrize(
    ("name", "modality"),
    [("CT_small.dcm", "CT"), ("MR_small.dcm", "MRI"), ("examples_rgb_color.dcm", "Ultrasound")],
)
@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
def test_a_real_file_is_routed(store, index, database, questionnaire, rows, name, modality):
    ingest_file(store, real_file(name), called_ae_title="MEDR1")
    assert index().new == 1
    complete_studies(database, quiet_s=0)

    plan_study(database, questionnaire)

    assert rows(Series)[0].route_modality == modality


@pytest.mark.parametrize("error", [ValueRefused("a value"), RowExists("the same row")])
def test_a_plan_that_cannot_be_recorded_holds_up_no_other(plan, rows, database, monkeypatch, error):
    real, failed = planning.record_plan, []

    def fail_once(session, study, *arguments):
        if not failed:
            failed.append(study.study_id)
        if study.study_id in failed:
            raise error
        real(session, study, *arguments)

    monkeypatch.setattr(planning, "record_plan", fail_once)
    plan(make_study(Modality.XRAY, 1))
    plan(make_study(Modality.CT, 2))

    assert [row.state for row in rows(Study)] == [StudyState.FAILED, StudyState.ASKED]
    assert "cannot be recorded" in rows(Study)[0].state_reason
