"""The narrow row of an answer is written in the transaction of whatever it tells."""

from __future__ import annotations

import pytest
from factories import SITE_KEY, make_instance
from sqlalchemy import select, text, update

from medr1_pacs.db.facets import list_faults, refresh_facets
from medr1_pacs.db.studies import get_locked, reopen
from medr1_pacs.db.tables import (
    Answer,
    AnswerFacet,
    AnswerOrigin,
    AnswerOutcome,
    Project,
    ProjectInstance,
    ProjectSeries,
    ProjectStudy,
    ReferenceStandard,
    Series,
    Study,
)
from medr1_pacs.demo.studies import make_study
from medr1_pacs.projects import Project as Declared
from medr1_pacs.projects import ProjectRule, ProjectRules
from medr1_pacs.pseudonyms import date_shift_days, pseudonymous_uid
from medr1_pacs.records.words import Correctness, DatePolicy, Modality
from medr1_pacs.steps.naming import declare, name_for_research

TWO_PROJECTS = ProjectRules(
    (Declared("default"), Declared("lung"), Declared("heart")),
    (
        ProjectRule("lung", {"called_ae_title": "LUNG"}),
        ProjectRule("heart", {"called_ae_title": "HEART"}),
    ),
)


@pytest.fixture
def facets(database):
    """Every narrow row with its outcome and origin."""

    def facets():
        with database.read() as session:
            return session.execute(
                select(AnswerFacet, AnswerOutcome, AnswerOrigin, Project.name)
                .join(AnswerOutcome, AnswerFacet.outcome_id == AnswerOutcome.id)
                .join(AnswerOrigin, AnswerFacet.origin_id == AnswerOrigin.id)
                .join(Project, AnswerFacet.project_id == Project.id)
                .order_by(AnswerFacet.answer_id, AnswerFacet.project_id)
            ).all()

    return facets


@pytest.fixture
def faults(database):
    def faults(newest=1000):
        with database.read() as session:
            return list_faults(session, newest=newest)

    return faults


def test_every_answer_has_its_row_when_it_is_stored(answered, facets, rows, faults):
    answered()

    assert [row.AnswerFacet.answer_id for row in facets()] == [row.id for row in rows(Answer)]
    assert faults() == []


def test_a_row_says_what_was_asked_and_what_came_out(answered, facets):
    answered(checkpoint="xray")

    [outcome] = [
        row.AnswerOutcome for row in facets() if row.AnswerOutcome.question_id == "xr-technique"
    ]
    assert (outcome.task, outcome.checkpoint, outcome.is_demo) == (
        "Modality Recognition",
        "xray",
        False,
    )
    assert (outcome.parse_status, outcome.choice) == ("parsed", "A")
    assert outcome.correctness in (Correctness.RIGHT, Correctness.WRONG)


def test_a_row_says_of_whom_and_where(answered, facets):
    answered(*make_ct_study(DeviceSerialNumber="SN-1", PatientAge="067Y"))

    assert {
        (row.AnswerOrigin.modality, row.AnswerOrigin.age_band, row.AnswerOrigin.sex)
        for row in facets()
    } == {("CT", "60-69", "O")}
    assert {row.AnswerOrigin.study_year for row in facets()} == {"2026"}


@pytest.mark.parametrize(
    ("age", "band"),
    [
        ("089Y", "80-89"),
        ("090Y", "90+"),
        ("110Y", "90+"),
        ("009Y", "0-9"),
        ("010Y", "10-19"),
        ("011M", "0-9"),
    ],
)
@pytest.mark.parametrize("site", ["postgresql"], indirect=True)
def test_an_age_is_in_its_band(answered, facets, age, band):
    answered(*make_ct_study(PatientAge=age))

    assert {row.AnswerOrigin.age_band for row in facets()} == {band}


@pytest.mark.parametrize("site", ["postgresql"], indirect=True)
def test_an_unknown_age_is_in_no_band(answered, facets):
    answered(*make_ct_study(PatientAge="", PatientBirthDate=""))

    assert {row.AnswerOrigin.age_band for row in facets()} == {""}


def test_equal_scanners_and_their_software_are_told_apart(answered, rows):
    for number, (serial, software) in enumerate(
        (("SN-1", "1.0"), ("SN-2", "1.0"), ("SN-2", "1.1"))
    ):
        answered(
            *make_ct_study(
                StudyInstanceUID=f"1.2.3.{number}",
                SeriesInstanceUID=f"1.2.3.{number}.1",
                DeviceSerialNumber=serial,
                SoftwareVersions=software,
            )
        )

    keys = [row.scanner_key for row in rows(Series)]
    assert len(set(keys)) == 3
    assert all(len(key) == 32 for key in keys)


def test_a_scanner_that_names_itself_by_nothing_has_no_key(answered, rows):
    answered(*make_ct_study())

    assert [row.scanner_key for row in rows(Series)] == [None]


def test_answers_are_not_current_once_their_study_is_reopened(answered, facets, database, faults):
    answered()
    assert all(row.AnswerFacet.is_current for row in facets())

    with database.write() as session:
        reopen(session, get_locked(session, 1), "a late instance")

    assert not any(row.AnswerFacet.is_current for row in facets())
    assert faults() == []


def test_the_next_version_tells_which_answers_are_current(answered, facets, faults):
    ct = make_ct_study(ImagePositionPatient=[0, 0, 0])
    answered(*ct)
    answered(
        *make_ct_study(ImagePositionPatient=[0, 0, 5]),
        *make_ct_study(ImagePositionPatient=[0, 0, 9]),
    )

    assert {row.AnswerFacet.is_current for row in facets()} == {True, False}
    assert {row.AnswerFacet.study_version for row in facets()} == {1, 2}
    assert faults() == []


def test_a_project_that_joins_later_finds_the_answers_too(answered, facets, indexer, faults):
    indexer.rules = TWO_PROJECTS
    [ds] = make_ct_study()
    answered(ds, called_ae_title="LUNG")
    assert {row.name for row in facets()} == {"lung"}

    answered(ds, called_ae_title="HEART", calling_ae_title="SCANNER")

    assert {row.name for row in facets()} == {"lung", "heart"}
    assert faults() == []


def test_projects_know_a_study_by_different_names(answered, rows, indexer):
    indexer.rules = TWO_PROJECTS
    [ds] = make_ct_study()
    answered(ds, called_ae_title="LUNG")
    answered(ds, called_ae_title="HEART")

    for table in (ProjectStudy, ProjectSeries, ProjectInstance):
        names = [row.pseudonymous_uid for row in rows(table)]
        assert len(names) == len(set(names)) == 2
    lung = rows(ProjectStudy)[0]
    assert lung.pseudonymous_uid == pseudonymous_uid(SITE_KEY, "lung", ds.StudyInstanceUID)


@pytest.mark.parametrize(
    ("policy", "shown", "year"),
    [
        (DatePolicy.NONE, None, ""),
        (DatePolicy.YEAR, "2026", "2026"),
        (DatePolicy.SHIFTED, "shift", ""),
    ],
)
def test_a_project_that_shows_dates_otherwise_has_its_rows_written_anew(
    answered, facets, database, rows, policy, shown, year, faults
):
    answered(*make_ct_study())

    declare(database, ProjectRules((Declared("default", dates=policy),)))
    while name_for_research(database, SITE_KEY):
        pass

    if shown == "shift":
        [use] = rows(ProjectStudy)
        assert 1 <= use.date_shift_days <= 365
        assert use.shown_study_date < "2026-03-02"
        shown, year = use.shown_study_date, use.shown_study_date[:4]
    assert {(r.AnswerFacet.study_date, r.AnswerOrigin.study_year) for r in facets()} == {
        (shown, year)
    }
    assert faults() == []


def test_a_truth_that_changes_is_told_when_the_study_is_refreshed(answered, facets, database):
    answered()
    with database.write() as session:
        session.execute(update(ReferenceStandard).values(truth="something else"))
        refresh_facets(session, 1)

    assert {
        row.AnswerOutcome.correctness
        for row in facets()
        if row.AnswerOutcome.correctness is not Correctness.UNKNOWN
    } == {Correctness.WRONG}


def test_a_row_that_says_something_else_is_a_fault(answered, faults, database, rows):
    answered()
    with database.write() as session:
        session.execute(update(AnswerFacet).values(is_current=False))

    assert faults() == [rows(Study)[0].id]


def test_a_missing_row_is_a_fault(answered, faults, database, rows):
    answered()
    with database.write() as session:
        session.execute(text("DELETE FROM answer_facet"))

    assert faults() == [rows(Study)[0].id]
    assert faults(newest=1) == [rows(Study)[0].id]


def test_reconciling_writes_wrong_rows_anew_and_names_scanners(
    answered, faults, database, rows, reconcile
):
    answered(*make_ct_study(DeviceSerialNumber="SN-1"))
    with database.write() as session:
        session.execute(update(Series).values(scanner_key=None))
        session.execute(text("DELETE FROM answer_facet"))

    assert reconcile().studies_found_anew == 1

    assert faults() == []
    assert rows(Series)[0].scanner_key in {row.scanner_key for row in rows(AnswerOrigin)}


def test_combinations_are_kept_once(answered, rows):
    answered()
    outcomes, origins = len(rows(AnswerOutcome)), len(rows(AnswerOrigin))
    answered(*replaced_study())

    assert (len(rows(AnswerOutcome)), len(rows(AnswerOrigin))) == (outcomes, origins)
    assert len(rows(Study)) == 2


def test_dates_of_a_patient_are_shifted_by_the_same_days_in_one_project_only():
    assert date_shift_days(SITE_KEY, "lung", "p") == date_shift_days(SITE_KEY, "lung", "p")
    assert len({date_shift_days(SITE_KEY, project, "p") for project in "abcdef"}) > 1


def make_ct_study(**elements):
    return [make_instance(**elements)]


def replaced_study():
    """The phantom radiograph of another study of the same patient."""
    study = make_study(Modality.XRAY, 1)
    for ds in study:
        ds.StudyInstanceUID += ".9"
        ds.SeriesInstanceUID += ".9"
        ds.SOPInstanceUID += ".9"
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    return study


def test_an_answer_in_two_projects_has_both_rows_whichever_combination_is_new(
    answered, indexer, database, facets, faults
):
    indexer.rules = ProjectRules(
        (Declared("default"), Declared("years"), Declared("days", dates=DatePolicy.SHIFTED)),
        tuple(ProjectRule(name, {"calling_ae_title": "CT1"}) for name in ("years", "days")),
    )
    for number in range(4):  # shifted by other days, some of them lie in another year
        answered(
            *make_ct_study(
                StudyInstanceUID=f"1.2.{number}",
                SeriesInstanceUID=f"1.2.{number}.1",
                PatientID=f"T-{number}",
                StudyDate="20260601",
            ),
            calling_ae_title="CT1",
        )

    rows = facets()
    assert len({row.AnswerOrigin.study_year for row in rows if row.name == "days"}) > 1
    assert len(rows) == 2 * len({row.AnswerFacet.answer_id for row in rows})
    assert faults() == []
