"""A reference standard that somebody brings is held against every answer that it is about."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from factories import make_instance
from sqlalchemy import delete, event, inspect, select, text, update

from medr1_pacs.db import references as db_references
from medr1_pacs.db.facets import list_faults, refresh_facets
from medr1_pacs.db.references import list_imports
from medr1_pacs.db.research import iterate_found
from medr1_pacs.db.tables import (
    AuditEvent,
    Instance,
    ProjectInstance,
    ProjectStudy,
    Prompt,
    Question,
    ReferenceImport,
    ReferenceStandard,
    ReferenceStatement,
    Selection,
    Study,
)
from medr1_pacs.errors import ReferenceRefused
from medr1_pacs.filters import AnswerFilters
from medr1_pacs.projects import Project, ProjectRule, ProjectRules
from medr1_pacs.records.words import Certainty, InstanceHold, StudyState, TruthSource, TruthUnit
from medr1_pacs.steps.importing_references import (
    BroughtFile,
    LinesFaulty,
    check_references,
    import_references,
)
from medr1_pacs.steps.re_identifying import re_identify

QUESTION = "ct-lung-pattern"
NODULE, CLEAR, EMPHYSEMA = "Nodule or mass", "No abnormality seen", "Emphysema or bullae"
RULES = ProjectRules(
    (Project("default"), Project("heart")), (ProjectRule("heart", {"called_ae_title": "HEART"}),)
)
NOW = datetime(2026, 3, 2, tzinfo=UTC)


def make_slices(study: str, sides=("L", "R"), **elements):
    """Make a chest CT of a study that is known by a number, a slice a side."""
    values = {
        "StudyInstanceUID": f"1.2.3.{study}",
        "SeriesInstanceUID": f"1.2.3.{study}.1",
        "PatientID": f"PID-{study}",
        "AccessionNumber": f"ACC-{study}",
    } | elements
    return [
        make_instance(
            **{
                "SOPInstanceUID": f"{values['SeriesInstanceUID']}.{number}",
                "InstanceNumber": number,
                "ImagePositionPatient": [0, 0, number * 5],
                "ImageLaterality": side,
                # Each slice is another picture.
                "WindowCenter": 40 + number,
            }
            | values
        )
        for number, side in enumerate(sides, 1)
    ]


def make_file(*rows, columns="accession_number,truth", question=QUESTION, **how):
    """Make a file of truths; a row is its values, of a question that the file does not name."""
    lines = [f"{columns},question_id", *(f"{row},{question}" for row in rows)]
    return BroughtFile(data="\n".join(lines).encode(), **({"project": "default"} | how))


@pytest.fixture
def check(database, vault):
    return lambda *rows, **how: check_references(database, vault, make_file(*rows, **how), {})


@pytest.fixture
def bring(database, vault):
    """Import rows; keywords as `make_file`, and whether faulty lines are left out."""

    def bring(*rows, actor="ada", leave_out_faulty=False, options=None, **how):
        file = make_file(*rows, **how)
        return import_references(
            database, vault, file, options or {}, actor=actor, leave_out_faulty=leave_out_faulty
        )

    return bring


@pytest.fixture
def truths(database):
    """How the answers to the question stand to the truth, by SOP Instance UID."""

    def truths(project="default", question=QUESTION):
        with database.read() as session:
            return dict(
                session.execute(
                    text(
                        "SELECT DISTINCT instance.sop_instance_uid, answer_outcome.correctness "
                        "FROM answer_facet JOIN answer ON answer.id = answer_facet.answer_id "
                        "JOIN project ON project.id = answer_facet.project_id "
                        "JOIN answer_outcome ON answer_outcome.id = answer_facet.outcome_id "
                        "JOIN generation ON generation.id = answer.generation_id "
                        "JOIN prompt ON prompt.id = generation.prompt_id "
                        "JOIN rendering ON rendering.id = prompt.rendering_id "
                        "JOIN instance ON instance.id = rendering.instance_id "
                        "WHERE project.name = :project AND answer_outcome.question_id = :question"
                    ),
                    {"project": project, "question": question},
                ).all()
            )

    return truths


@pytest.fixture
def shown(database, rows):
    """Truth by SOP Instance UID, as research in a project sees it."""

    def shown(project="default", **filters):
        real = {
            row.pseudonymous_uid: instance.sop_instance_uid
            for row in rows(ProjectInstance)
            for instance in rows(Instance)
            if instance.id == row.instance_id
        }
        found = iterate_found(database, project, AnswerFilters(question=(QUESTION,), **filters))
        return {real[answer.sop_instance_uid]: answer.truth for answer in found}

    return shown


def slices(study, *truths):
    return {f"1.2.3.{study}.1.{number}": truth for number, truth in enumerate(truths, 1)}


# -- what a key leads to -----------------------------------------------------------------------


KEYS = {
    "accession_number": "ACC-1",
    "patient_id,study_date": "PID-1,2026-03-02",
    "patient_id,issuer_of_patient_id,study_date": "PID-1,HERE,20260302",
    "study_instance_uid": "1.2.3.1",
    "study_pseudonym": "{study}",
    "accession_number,study_instance_uid,patient_id": "ACC-1,1.2.3.1,PID-1",
}


@pytest.mark.parametrize(("columns", "values"), KEYS.items(), ids=KEYS)
def test_a_key_of_a_study_is_of_all_its_pictures(answered, bring, shown, rows, columns, values):
    answered(*make_slices("1", IssuerOfPatientID="HERE"))
    answered(*make_slices("2"))
    values = values.format(study=rows(ProjectStudy)[0].pseudonymous_uid)

    report = bring(f"{values},{NODULE}", columns=f"{columns},truth")

    assert (report.lines, report.new, report.faults) == (1, 1, {})
    assert shown() == slices("1", NODULE, NODULE) | slices("2", None, None)
    [statement] = rows(ReferenceStatement)
    assert (statement.unit, statement.study_id) == (TruthUnit.STUDY, rows(Study)[0].id)


@pytest.mark.parametrize(
    ("columns", "values"),
    [("sop_instance_uid", "1.2.3.1.1.2"), ("picture_pseudonym", "{picture}")],
)
def test_a_key_of_a_picture_is_of_that_one(answered, bring, shown, rows, columns, values):
    answered(*make_slices("1"))
    [second] = [row for row in rows(Instance) if row.sop_instance_uid == "1.2.3.1.1.2"]
    [named] = [row for row in rows(ProjectInstance) if row.instance_id == second.id]

    bring(f"{values.format(picture=named.pseudonymous_uid)},{NODULE}", columns=f"{columns},truth")

    assert shown() == slices("1", None, NODULE)
    assert rows(ReferenceStatement)[0].unit is TruthUnit.PICTURE


def test_a_side_is_of_the_pictures_that_show_it(answered, bring, shown, rows):
    answered(*make_slices("1", sides=("L", "R", "L", "B")))

    bring(f"ACC-1,l,{NODULE}", columns="accession_number,side,truth")

    assert shown() == slices("1", NODULE, None, NODULE, None)
    assert [(row.unit, row.side) for row in rows(ReferenceStatement)] == [(TruthUnit.SIDE, "L")]


@pytest.mark.parametrize("columns", ["patient_id", "patient_pseudonym"])
def test_a_key_of_a_patient_is_of_all_their_studies(answered, bring, shown, rows, columns):
    answered(*make_slices("1", PatientID="PID"))
    answered(*make_slices("2", PatientID="PID"))
    answered(*make_slices("3"))
    value = "PID" if columns == "patient_id" else rows(ProjectStudy)[0].patient_pseudonym

    bring(f"{value},{NODULE}", columns=f"{columns},truth")

    assert shown() == {
        **slices("1", NODULE, NODULE),
        **slices("2", NODULE, NODULE),
        **slices("3", None, None),
    }
    assert rows(ReferenceStatement)[0].unit is TruthUnit.PATIENT


def test_a_truth_of_a_patient_stays_within_the_studies_of_the_project(
    answered, bring, shown, indexer, rows
):
    indexer.rules = RULES
    answered(*make_slices("1", PatientID="PID"))
    answered(*make_slices("2", PatientID="PID"), called_ae_title="HEART")

    bring(f"PID,{NODULE}", columns="patient_id,truth", project="heart")

    assert shown("heart") == slices("2", NODULE, NODULE)
    assert shown("default") == slices("1", None, None)


# -- faults ------------------------------------------------------------------------------------


def faults_of(report):
    return {fault.value: lines for fault, lines in report.faults.items()}


def test_what_the_project_does_not_use_is_unmatched(answered, check, indexer):
    indexer.rules = RULES
    answered(*make_slices("1"))
    answered(*make_slices("2"), called_ae_title="HEART")

    report = check(f"ACC-2,{NODULE}", f"ACC-1,{NODULE}", f"ACC-3,{NODULE}")

    assert faults_of(report) == {"unmatched": (2, 4)}
    assert check(f"ACC-2,{NODULE}", project="heart").faults == {}


def test_what_was_withdrawn_is_unmatched(answered, check, database):
    for study in ("1", "2", "3"):
        answered(*make_slices(study))
    with database.write() as session:
        session.execute(
            update(Study)
            .where(Study.study_instance_uid == "1.2.3.1")
            .values(state=StudyState.WITHDRAWN)
        )
        session.execute(
            update(ProjectStudy).where(ProjectStudy.study_id == 2).values(withdrawn_at=NOW)
        )

    report = check(*(f"ACC-{study},{NODULE}" for study in ("1", "2", "3")))

    assert faults_of(report) == {"unmatched": (2, 3)}


def test_several_studies_of_an_accession_number_are_ambiguous(answered, check):
    for study in ("1", "2"):
        answered(*make_slices(study, AccessionNumber="ACC"))

    assert faults_of(check(f"ACC,{NODULE}")) == {"ambiguous": (2,)}
    both = check(f"ACC,1.2.3.2,{NODULE}", columns="accession_number,study_instance_uid,truth")
    assert both.faults == {}


def test_two_studies_of_one_day_are_ambiguous(answered, check):
    for study in ("1", "2"):
        answered(*make_slices(study, PatientID="PID"))

    report = check(f"PID,20260302,{NODULE}", columns="patient_id,study_date,truth")

    assert faults_of(report) == {"ambiguous": (2,)}


@pytest.mark.parametrize("columns", ["patient_id", "patient_id,study_date"])
def test_a_patient_id_of_two_issuers_is_ambiguous_without_one(answered, check, columns):
    answered(*make_slices("1", PatientID="PID", IssuerOfPatientID="HERE"))
    answered(*make_slices("2", PatientID="PID", IssuerOfPatientID="THERE", StudyDate="20260101"))
    values = "PID,20260101" if "date" in columns else "PID"

    assert faults_of(check(f"{values},{NODULE}", columns=f"{columns},truth")) == {"ambiguous": (2,)}
    issued = check(f"THERE,{values},{NODULE}", columns=f"issuer_of_patient_id,{columns},truth")
    assert issued.faults == {}


def test_an_instance_that_is_held_makes_nothing_ambiguous(answered, check, database):
    answered(*make_slices("1"))
    answered(*make_slices("2"))
    with database.write() as session:
        held = update(Instance).where(Instance.sop_instance_uid == "1.2.3.2.1.1")
        session.execute(
            held.values(sop_instance_uid="1.2.3.1.1.1", hold=InstanceHold.HELD, superseded_at=NOW)
        )

    report = check(f"1.2.3.1.1.1,{NODULE}", columns="sop_instance_uid,truth")

    assert (report.new, report.faults) == (1, {})


def test_keys_that_lead_to_different_things_disagree(answered, check):
    answered(*make_slices("1"))
    answered(*make_slices("2"))

    report = check(f"ACC-1,PID-2,{NODULE}", columns="accession_number,patient_id,truth")

    assert faults_of(report) == {"several_keys_disagree": (2,)}


def test_a_key_that_leads_nowhere_is_unmatched_whatever_the_others_do(answered, check):
    answered(*make_slices("1"))

    report = check(f"ACC-1,PID-9,{NODULE}", columns="accession_number,patient_id,truth")

    assert faults_of(report) == {"unmatched": (2,)}


def test_a_truth_is_an_option_of_the_question_apart_from_capitals(answered, bring, check, rows):
    answered(*make_slices("1"))

    assert faults_of(check("ACC-1,Pneumothorax")) == {"not_an_option": (2,)}
    assert faults_of(check(f"ACC-1,{NODULE}", question="ct-unknown")) == {"unknown_question": (2,)}
    bring(f"ACC-1, {NODULE.upper()} ")
    assert {row.truth for row in rows(ReferenceStatement)} == {NODULE}
    assert {row.truth for row in rows(ReferenceStandard) if row.statement_id} == {NODULE}


def test_a_question_of_the_bank_is_known_before_it_was_ever_asked(
    answered, database, vault, packaged_bank
):
    answered(*make_slices("1"))
    file = make_file("ACC-1,none or mild", question="fp-dr-stage")
    options = {question.id: question.options for question in packaged_bank.questions}

    assert faults_of(check_references(database, vault, file, {})) == {"unknown_question": (2,)}
    assert check_references(database, vault, file, options).new == 1


def test_a_repeated_line_counts_once_and_a_contradiction_not_at_all(answered, check):
    answered(*make_slices("1"))
    answered(*make_slices("2"))

    report = check(
        f"ACC-1,,{NODULE}",
        f"ACC-2,,{CLEAR}",
        f",1.2.3.1,{NODULE}",
        f",1.2.3.2,{NODULE}",
        columns="accession_number,study_instance_uid,truth",
    )

    assert (report.lines, report.new) == (4, 1)
    assert faults_of(report) == {"duplicate": (4,), "contradiction": (3, 5)}


def test_faults_refuse_the_file_as_a_whole(answered, bring, rows):
    answered(*make_slices("1"))

    with pytest.raises(LinesFaulty, match=r"1 of 2 lines have faults \(1 unmatched\)") as refused:
        bring(f"ACC-1,{NODULE}", f"ACC-2,{NODULE}")

    assert refused.value.report.new == 1
    assert rows(ReferenceImport) == rows(ReferenceStatement) == []


def test_faulty_lines_are_left_out_where_somebody_says_so(answered, bring, shown, rows):
    answered(*make_slices("1"))

    report = bring(f"ACC-1,{NODULE}", f"ACC-2,{NODULE}", leave_out_faulty=True)

    assert (report.lines, report.new, report.faulty) == (2, 1, 1)
    assert shown() == slices("1", NODULE, NODULE)
    assert [(row.lines, row.statements) for row in rows(ReferenceImport)] == [(2, 1)]


def test_a_project_that_is_none_is_refused(check):
    with pytest.raises(ReferenceRefused, match="a project 'nowhere'"):
        check(f"ACC-1,{NODULE}", project="nowhere")


# -- versions ----------------------------------------------------------------------------------


def test_a_later_truth_supersedes_and_the_earlier_one_stays(answered, bring, shown, rows):
    answered(*make_slices("1"))
    bring(f"ACC-1,{NODULE}")

    report = bring(f"ACC-1,{CLEAR}")

    assert (report.new, report.changed, report.unchanged) == (0, 1, 0)
    assert shown() == slices("1", CLEAR, CLEAR)
    assert [(row.version, row.truth) for row in rows(ReferenceStatement)] == [
        (1, NODULE),
        (2, CLEAR),
    ]
    assert len([row for row in rows(ReferenceStandard) if row.statement_id]) == 4


def test_what_is_known_already_is_not_written_again(answered, bring, rows):
    answered(*make_slices("1"))
    bring(f"ACC-1,{NODULE}")

    report = bring(f"ACC-1,{NODULE}")

    assert (report.new, report.changed, report.unchanged) == (0, 0, 1)
    assert len(rows(ReferenceStatement)) == 1


def test_an_option_that_the_bank_spells_otherwise_is_the_same(answered, bring, rows):
    answered(*make_slices("1"))
    bring(f"ACC-1,{NODULE}")

    report = bring(f"ACC-1,{NODULE}", options={QUESTION: [NODULE.upper()]})

    assert (report.changed, report.unchanged) == (0, 1)
    assert len(rows(ReferenceStatement)) == 1


def test_another_certainty_is_another_version(answered, bring, rows):
    answered(*make_slices("1"))
    bring(f"ACC-1,{NODULE}")

    report = bring(f"ACC-1,{NODULE}", certainty=Certainty.PROVEN)

    assert report.changed == 1
    standards = [row for row in rows(ReferenceStandard) if row.version == 2]
    assert {row.certainty for row in standards} == {Certainty.PROVEN}


def test_sources_have_versions_of_their_own(answered, bring, rows):
    answered(*make_slices("1"))
    bring(f"ACC-1,{NODULE}")

    report = bring(f"ACC-1,{CLEAR}", source=TruthSource.READER_PANEL)

    assert report.new == 1
    assert [row.version for row in rows(ReferenceStatement)] == [1, 1]


def test_a_truth_of_a_picture_by_the_header_supersedes_what_the_plan_read(
    answered, bring, database, rows
):
    answered(*make_slices("1", sides=("L",)))
    [read] = [
        row
        for row in rows(ReferenceStandard)
        if row.source is TruthSource.HEADER and row.truth == "Computed tomography"
    ]

    bring(
        "1.2.3.1.1.1,Magnetic resonance imaging",
        columns="sop_instance_uid,truth",
        question="ct-technique",
        source=TruthSource.HEADER,
    )

    versions = [
        row.version
        for row in rows(ReferenceStandard)
        if (row.instance_id, row.question_id) == (read.instance_id, read.question_id)
    ]
    assert versions == [1, 2]


def test_who_states_it_and_when_is_the_lines_own_word_first(answered, bring, rows):
    answered(*make_slices("1"))
    answered(*make_slices("2"))

    bring(
        f"ACC-1,{NODULE},Dr. Roe,2025-02-01",
        f"ACC-2,{NODULE},,",
        columns="accession_number,truth,stated_by,stated_at",
    )

    first, second = rows(ReferenceStatement)
    assert (first.stated_by, first.stated_at) == ("Dr. Roe", datetime(2025, 2, 1, tzinfo=UTC))
    assert (second.stated_by, second.stated_at) == ("ada", rows(ReferenceImport)[0].imported_at)


# -- what it means of pictures -----------------------------------------------------------------


def test_the_narrowest_unit_counts_whatever_came_last(answered, bring, shown):
    answered(*make_slices("1", sides=("L", "L", "R", "B"), PatientID="PID"))
    answered(*make_slices("2", PatientID="PID"))
    bring(f"1.2.3.1.1.1,{NODULE}", columns="sop_instance_uid,truth")
    bring(f"ACC-1,L,{CLEAR}", columns="accession_number,side,truth")
    bring(f"ACC-1,{EMPHYSEMA}")
    bring(f"ACC-1,{EMPHYSEMA}", certainty=Certainty.PROVEN)
    ground_glass = "Ground-glass or consolidation"
    bring(f"PID,{ground_glass}", columns="patient_id,truth")

    assert shown() == {
        **slices("1", NODULE, CLEAR, EMPHYSEMA, EMPHYSEMA),
        **slices("2", ground_glass, ground_glass),
    }


def test_the_narrow_rows_follow_in_the_same_transaction(answered, bring, truths, database):
    answered(*make_slices("1"))
    assert set(truths().values()) == {"unknown"}

    bring(f"ACC-1,{NODULE}")

    assert set(truths().values()) <= {"right", "wrong"}
    with database.read() as session:
        assert list_faults(session) == []


def test_research_finds_answers_by_what_was_brought(answered, bring, shown):
    answered(*make_slices("1"))
    bring(f"ACC-1,{NODULE}")

    assert {*shown(truth=("right",)), *shown(truth=("wrong",))} == {*slices("1", 0, 0)}
    assert shown(truth=("unknown",)) == {}


def test_a_picture_that_comes_later_is_held_against_what_was_stated(answered, bring, shown):
    first, second = make_slices("1")
    answered(first)
    bring(f"ACC-1,{NODULE}")
    bring(f"ACC-1,{CLEAR}")

    answered(second)

    assert shown() == slices("1", CLEAR, CLEAR)


def test_a_study_that_comes_later_is_held_against_the_truth_of_its_patient(answered, bring, shown):
    answered(*make_slices("1", PatientID="PID"))
    bring(f"PID,{NODULE}", columns="patient_id,truth")

    answered(*make_slices("2", PatientID="PID"))

    assert shown() == {**slices("1", NODULE, NODULE), **slices("2", NODULE, NODULE)}


def test_a_study_that_comes_later_to_another_project_is_not(answered, bring, shown, indexer):
    indexer.rules = RULES
    answered(*make_slices("1", PatientID="PID"), called_ae_title="HEART")
    bring(f"PID,{NODULE}", columns="patient_id,truth", project="heart")

    answered(*make_slices("2", PatientID="PID"))

    assert shown("default") == slices("2", None, None)


def test_what_was_asked_is_held_against_it_though_no_version_selects_it(
    answered, bring, database, rows
):
    answered(*make_slices("1"))
    with database.write() as session:
        session.execute(delete(Selection))

    bring(f"ACC-1,{NODULE}")

    assert len([row for row in rows(ReferenceStandard) if row.statement_id]) == 2


def test_a_picture_that_is_sent_again_keeps_its_truth_and_its_answer(answered, bring, shown, rows):
    [ds] = make_slices("1", sides=("L",))
    answered(ds)
    bring(f"1.2.3.1.1.1,{NODULE}", columns="sop_instance_uid,truth")
    before = shown()

    ds.PatientName = "Corrected^Name"
    answered(ds)

    assert len(rows(Instance)) == 2
    assert shown() == before == slices("1", NODULE)
    standards = [row for row in rows(ReferenceStandard) if row.statement_id]
    assert len({row.instance_id for row in standards}) == 2


@pytest.fixture
def add_wording(database):
    """Select the pictures of a study under another wording of the question, as a plan does."""

    def add_wording(*options):
        with database.write() as session:
            first = session.scalars(select(Question).filter_by(question_id=QUESTION)).one()
            values = {"modality": first.modality, "task": first.task, "role": first.role}
            other = Question(
                question_id=QUESTION,
                version=first.version + 1,
                question_sha256="2" * 64,
                definition={"options": list(options)},
                first_used_at=NOW,
                **values,
            )
            session.add(other)
            session.flush()
            for row in session.scalars(select(Selection).filter_by(question_id=first.id)):
                names = ("study_version_id", "series_id", "rendering_id", "reason")
                session.add(
                    Selection(question_id=other.id, **{name: getattr(row, name) for name in names})
                )
            return other.id

    return add_wording


@pytest.mark.parametrize(
    ("options", "standards"),
    [
        ((NODULE.upper(), CLEAR), [(1, NODULE.upper()), (2, CLEAR)]),
        ((NODULE, "Other"), [(1, NODULE), (2, None)]),
        ((CLEAR, "Other"), [(2, CLEAR)]),
        (("Other", "Another"), [(2, None)]),
    ],
    ids=["both", "the first", "the second", "neither"],
)
def test_a_wording_gets_the_truths_that_it_offers_and_no_superseded_one(
    answered, bring, add_wording, rows, options, standards
):
    answered(*make_slices("1", sides=("L",)))
    wording = add_wording(*options)

    bring(f"ACC-1,{NODULE}")
    bring(f"ACC-1,{CLEAR}")

    found = [row for row in rows(ReferenceStandard) if row.question_id == wording]
    assert [(row.version, row.truth) for row in found] == standards


def test_a_truth_that_was_withdrawn_is_not_known(answered, bring, shown, truths, database):
    answered(*make_slices("1", sides=("L",)))
    bring(f"ACC-1,{NODULE}")
    bring(f"ACC-1,L,{CLEAR}", columns="accession_number,side,truth")

    with database.write() as session:
        of_side = update(ReferenceStandard).where(ReferenceStandard.unit == TruthUnit.SIDE)
        session.execute(of_side.values(truth=None))
        refresh_facets(session, 1)

    assert shown() == slices("1", None)
    assert set(truths().values()) == {"unknown"}


def test_an_equal_picture_with_another_truth_is_asked_again(answered, bring, rows):
    [ds] = make_slices("1", sides=("L",))
    answered(ds)
    prompts = len(rows(Prompt))
    bring(f"ACC-1,L,{NODULE}", columns="accession_number,side,truth")
    bring(f"ACC-1,{CLEAR}")  # of both, and the newest; of the first the narrower one counts

    ds.ImageLaterality = "R"
    answered(ds)

    [again] = rows(Prompt)[prompts:]
    [question] = [row for row in rows(Question) if row.question_id == QUESTION]
    assert again.question_id == question.id


def test_two_projects_can_say_the_same_of_their_studies_of_a_patient(
    answered, bring, shown, indexer
):
    indexer.rules = RULES
    answered(*make_slices("1", PatientID="PID"))
    answered(*make_slices("2", PatientID="PID"), called_ae_title="HEART")
    of_patient = {"columns": "patient_id,truth"}
    bring(f"PID,{NODULE}", **of_patient)

    assert bring(f"PID,{NODULE}", **of_patient, project="heart").changed == 1
    assert shown("default") == slices("1", NODULE, NODULE)
    assert shown("heart") == slices("2", NODULE, NODULE)


def test_a_study_without_statements_asks_for_them_when_it_comes_and_when_it_is_planned(
    answered, monkeypatch, database
):
    counted = []

    def count(_connection, _cursor, statement, *_):
        if "reference_statement" in statement:
            counted.append(statement)

    event.listen(database._engine, "before_cursor_execute", count)
    answered(*make_slices("1"))

    assert len(counted) == 2


# -- while others write ------------------------------------------------------------------------


@pytest.mark.parametrize("site", ["postgresql"], indirect=True)
def test_what_is_withdrawn_while_a_file_is_read_is_left_out(
    answered, bring, database, monkeypatch, rows
):
    answered(*make_slices("1"))
    answered(*make_slices("2"))
    real = db_references.lock_studies

    def withdraw_first(session, study_ids):
        with database.write() as other:
            gone = update(Study).where(Study.study_instance_uid == "1.2.3.1")
            other.execute(gone.values(state=StudyState.WITHDRAWN))
        real(session, study_ids)

    monkeypatch.setattr(db_references, "lock_studies", withdraw_first)

    report = bring(f"ACC-1,{NODULE}", f"ACC-2,{NODULE}", leave_out_faulty=True)

    assert faults_of(report) == {"unmatched": (2,)}
    [statement] = rows(ReferenceStatement)
    assert statement.study_id == 2


# -- all or nothing, and nobody is named -------------------------------------------------------


def test_nothing_is_half_imported(answered, bring, rows, truths, monkeypatch):
    answered(*make_slices("1"))
    events = len(rows(AuditEvent))

    def fail(*_):
        raise RuntimeError("the database went away")

    monkeypatch.setattr(db_references, "refresh_many", fail)
    with pytest.raises(RuntimeError, match="went away"):
        bring(f"ACC-1,{NODULE}")

    assert rows(ReferenceImport) == rows(ReferenceStatement) == []
    assert not [row for row in rows(ReferenceStandard) if row.statement_id]
    assert len(rows(AuditEvent)) == events
    assert set(truths().values()) == {"unknown"}


def test_a_check_writes_nothing(answered, check, rows):
    answered(*make_slices("1"))

    assert check(f"ACC-1,{NODULE}").new == 1
    assert rows(ReferenceImport) == rows(ReferenceStatement) == []


def test_an_import_tells_its_event_and_is_listed(answered, bring, rows, database):
    answered(*make_slices("1"))

    bring(f"ACC-1,{NODULE}")

    [event] = [row for row in rows(AuditEvent) if row.action == "reference.imported"]
    with database.read() as session:
        [listed] = list_imports(session, "default")
        assert list_imports(session, "heart") == []
    assert (event.actor, event.object_type, event.object_id) == (
        "ada",
        "reference_import",
        listed.import_id,
    )
    assert event.new_value == {
        "source": "import",
        "lines": 1,
        "statements": 1,
    }


def everything(database):
    """Return the text of every row of every table."""
    with database.connection() as connection:
        names = inspect(connection).get_table_names()
        assert len(names) > 30
        return "\n".join(
            repr(tuple(row))
            for name in names
            for row in connection.execute(text(f'SELECT * FROM "{name}"'))
        )


def test_no_identifier_is_kept_anywhere(answered, bring, database, caplog):
    answered(*make_slices("1", IssuerOfPatientID="ISSUER-1"))

    with caplog.at_level("DEBUG"):
        report = bring(
            f"ACC-1,PID-1,ISSUER-1,{NODULE}",
            f"ACC-9,PID-9,ISSUER-9,{NODULE}",
            columns="accession_number,patient_id,issuer_of_patient_id,truth",
            leave_out_faulty=True,
        )
        with pytest.raises(LinesFaulty) as refused:
            bring(f"ACC-9,{NODULE}")

    kept = "\n".join((everything(database), caplog.text, repr(report), str(refused.value)))
    assert NODULE in kept
    assert [name for name in ("ACC-", "PID-", "ISSUER-") if name in kept] == []


# -- mixed patients, moved and held instances ---------------------------------------------------


def test_a_study_date_that_contradicts_another_key_is_a_fault_with_two_issuers_too(answered, check):
    answered(*make_slices("1", PatientID="PID", IssuerOfPatientID="HERE"))  # of 2026-03-02
    answered(*make_slices("2", PatientID="PID", IssuerOfPatientID="THERE", StudyDate="20260101"))

    report = check(
        f"ACC-1,PID,20260101,{NODULE}", columns="accession_number,patient_id,study_date,truth"
    )

    assert faults_of(report) == {"several_keys_disagree": (2,)}


def test_an_id_that_a_study_came_under_as_well_is_not_its_patient(answered, bring, shown):
    """An instance of Y was sent into a study of X: what is said of Y is not said of X."""
    answered(*make_slices("1", PatientID="X"))
    answered(*make_slices("2", PatientID="X"))
    [late] = make_slices("1", sides=("L",), PatientID="Y")
    late.SOPInstanceUID = late.file_meta.MediaStorageSOPInstanceUID = "1.2.3.1.1.9"
    answered(late)

    report = bring(f"Y,{NODULE}", columns="patient_id,truth", leave_out_faulty=True)

    assert {truth for uid, truth in shown().items() if uid.startswith("1.2.3.2.")} == {None}
    assert report.new == 0


def test_a_truth_of_a_picture_supersedes_though_its_first_instance_is_held_meanwhile(
    answered, bring, shown, database, rows
):
    [ds] = make_slices("1", sides=("L",))
    answered(ds)
    ds.PatientName = "Corrected^Name"
    answered(ds)
    bring(f"1.2.3.1.1.1,{NODULE}", columns="sop_instance_uid,truth")
    with database.write() as session:  # as `_hold` does when another sender sends the first again
        first = update(Instance).where(Instance.id == 1)
        session.execute(first.values(hold=InstanceHold.HELD))

    report = bring(f"1.2.3.1.1.1,{CLEAR}", columns="sop_instance_uid,truth")

    assert [row.version for row in rows(ReferenceStatement)] == [1, 2]
    assert shown() == slices("1", CLEAR)
    assert (report.new, report.changed) == (0, 1)


def test_a_study_that_a_project_uses_later_is_held_against_the_truth_of_its_patient(
    answered, bring, shown, indexer
):
    indexer.rules = RULES
    answered(*make_slices("1", PatientID="PID"), called_ae_title="HEART")
    bring(f"PID,{NODULE}", columns="patient_id,truth", project="heart")
    answered(*make_slices("2", PatientID="PID"))

    answered(*make_slices("2", PatientID="PID"), called_ae_title="HEART")

    assert shown("heart") == slices("1", NODULE, NODULE) | slices("2", NODULE, NODULE)


def test_a_patient_id_that_begins_with_a_space_is_found(answered, check):
    answered(*make_slices("1", PatientID=" 0042", AccessionNumber=" A-1"))

    assert check(f" A-1,{NODULE}").faults == {}


def test_an_instance_that_was_moved_to_another_study_is_not_ambiguous(answered, check):
    """Only one of the two is current: that of the study to which the archive moved it."""
    answered(*make_slices("1", PatientID="X"))
    answered(*make_slices("1", PatientID="Y", StudyInstanceUID="1.2.3.2", AccessionNumber="ACC-2"))

    assert check(f"1.2.3.1.1.1,{NODULE}", columns="sop_instance_uid,truth").faults == {}


def test_a_file_of_which_nothing_is_left_is_not_an_import(answered, bring, rows):
    answered(*make_slices("1"))
    bring(f"ACC-9,{NODULE}", leave_out_faulty=True)

    assert rows(ReferenceImport) == []


def test_a_proven_truth_that_was_brought_last_counts(answered, bring, shown):
    """A panel of one reader corrected itself once: its version 2 outranks pathology for ever."""
    answered(*make_slices("1"))
    panel = {"source": TruthSource.READER_PANEL, "certainty": Certainty.SINGLE}
    bring(f"ACC-1,{CLEAR}", **panel)
    bring(f"ACC-1,{NODULE}", **panel)

    assert bring(f"ACC-1,{CLEAR}", certainty=Certainty.PROVEN).new == 1
    assert shown() == slices("1", CLEAR, CLEAR)


def test_a_picture_pseudonym_of_two_patients_is_answered_and_recorded(
    answered, database, vault, rows
):
    """An archive moved an instance to the study of the right patient: one SOP Instance UID."""
    answered(*make_slices("1", PatientID="X"))
    wrong = list(iterate_found(database, "default", AnswerFilters()))
    moved = make_slices("1", PatientID="Y", StudyInstanceUID="1.2.3.2", AccessionNumber="ACC-2")
    answered(*moved)

    found = re_identify(
        database, vault, "default", pseudonym=wrong[0].sop_instance_uid, reason="why", actor="c"
    )
    assert found.studies
