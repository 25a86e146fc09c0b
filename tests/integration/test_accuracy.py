"""How often answers are right: counted as whoever reads every single one would count."""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest
from factories import make_instance, make_uid

from medr1_pacs.db.accuracy import count_accuracy
from medr1_pacs.db.research import iterate_found
from medr1_pacs.demo.studies import make_study
from medr1_pacs.filters import AnswerFilters
from medr1_pacs.records.accuracy import AccuracyCounts, Grouping
from medr1_pacs.records.words import Modality
from medr1_pacs.statistics import wilson_interval
from medr1_pacs.steps.estimating import GroupingRefused, choose_grouping, estimate

FIELD_OF = {"question": "question_id", "scanner": "scanner_key", "year": "study_date"}
GROUPINGS = [
    (),
    *((grouping,) for grouping in Grouping if grouping is not Grouping.OVERALL),
    (Grouping.QUESTION, Grouping.CHECKPOINT),
    (Grouping.SCANNER, Grouping.QUESTION, Grouping.AGE_BAND),
    (Grouping.CHECKPOINT, Grouping.MODALITY, Grouping.COVERAGE),
]
ENDS = ("<answer>A</answer>", "<answer>B</answer>", "no tag", "<answer>C</answer>")
FILTERS = [AnswerFilters(), AnswerFilters(modality=("X-Ray",)), AnswerFilters(words="seen")]


@pytest.fixture
def some_answers(answered):
    """Radiographs of three patients, one of whom came twice, and a CT; a third is not parsed."""
    outputs = [f"<think>It is seen.</think>{end}" for end in ENDS]
    for seed, output in enumerate(outputs, 1):
        study = make_study(Modality.XRAY, seed)
        for ds in study:
            ds.PatientID, ds.IssuerOfPatientID = f"P{min(seed, 3)}", "H"
            ds.DeviceSerialNumber = f"SN-{seed % 2}"
        answered(*study, checkpoint="xray", raw_output=output)
    answered(make_instance(StudyInstanceUID=make_uid()), raw_output="<answer>A</answer>")


@pytest.fixture
def count(database):
    def count(by=(), filters=None, project="default") -> list[AccuracyCounts]:
        with database.read() as session:
            return count_accuracy(session, project, filters or AnswerFilters(), by)

    return count


def counted_one_by_one(database, by, filters) -> list[AccuracyCounts]:
    """Count what research reads of each answer, without the narrow rows."""
    groups = defaultdict(list)
    for answer in iterate_found(database, "default", filters):
        values = (getattr(answer, FIELD_OF.get(name, name)) or "" for name in by)
        groups[tuple(values)].append(answer)
    counts = []
    for values, answers in sorted(groups.items()):
        known = [answer for answer in answers if answer.is_correct is not None]
        of_patients = defaultdict(list)
        for answer in known:
            of_patients[answer.patient_pseudonym].append(answer.is_correct)
        patients = Counter((sum(right), len(right)) for right in of_patients.values())
        unparsed = sum(answer.parse_status != "parsed" for answer in known)
        counts.append(AccuracyCounts(values, patients, unparsed, len(answers) - len(known)))
    return counts


def test_what_the_database_counts_is_what_one_by_one_counts(some_answers, count, database):
    deviations = []
    for filters in FILTERS:
        for by in GROUPINGS:
            counts = count(by, filters)
            if counts != counted_one_by_one(database, by, filters) or not counts:
                deviations.append((by, filters, counts))

    assert deviations == []


def test_nothing_found_is_nothing_counted(some_answers, count):
    for by in GROUPINGS:
        assert count(by, AnswerFilters(words="unicorn")) == []


def test_two_studies_of_a_patient_are_one_patient(some_answers, count):
    [counts] = count((), AnswerFilters(modality=("X-Ray",), question=("xr-technique",)))

    assert sum(counts.patients.values()) == 3
    assert sorted(answers for _, answers in counts.patients) == [1, 2]


def test_an_answer_that_cannot_be_parsed_is_a_wrong_one(answered, count):
    answered(checkpoint="xray", raw_output="no tag at all")

    [counts] = count((), AnswerFilters(question=("xr-technique",)))

    assert counts == AccuracyCounts((), {(0, 1): 1}, unparsed=1, unknown_truth=0)


def test_an_answer_without_a_truth_is_neither_right_nor_wrong(answered, count):
    answered(make_instance())

    counts = [each for each in count((Grouping.QUESTION,)) if each.unknown_truth]

    assert counts
    assert {tuple(each.patients) for each in counts} == {()}


def test_a_project_counts_its_own_answers_alone(some_answers, count):
    assert count((), project="heart") == []


def test_the_rows_of_a_project_are_estimated_from_what_was_counted(answered, database):
    answered(checkpoint="xray", raw_output="<answer>A</answer>")
    filters = AnswerFilters(question=("xr-technique",))

    [row] = estimate(database, "default", filters, choose_grouping([]))

    assert row.by == {"question": "xr-technique", "checkpoint": "xray"}
    assert (row.answers, row.patients, row.few_patients, row.method) == (1, 1, True, "wilson")
    assert (row.low, row.high) == wilson_interval(row.right, 1)


def test_a_row_says_how_many_were_not_parsed(answered, database):
    answered(checkpoint="xray", raw_output="no tag at all")

    [row] = estimate(database, "default", AnswerFilters(question=("xr-technique",)), ())

    assert (row.unparsed, row.right, row.answers, row.unknown_truth) == (1, 0, 1, 0)


def test_a_group_of_which_no_truth_is_known_has_no_share(answered, database):
    answered(make_instance())

    rows = list(estimate(database, "default", AnswerFilters(), [Grouping.QUESTION]))

    [row] = [row for row in rows if not row.answers][:1]
    assert (row.accuracy, row.low, row.high, row.method, row.patients) == (None, None, None, "", 0)
    assert row.unknown_truth > 0


@pytest.mark.parametrize(
    ("asked", "chosen"),
    [
        ([], (Grouping.QUESTION, Grouping.CHECKPOINT)),
        ([Grouping.OVERALL], ()),
        ([Grouping.OVERALL, Grouping.SEX, Grouping.SEX], (Grouping.SEX,)),
    ],
)
def test_what_answers_are_grouped_by(asked, chosen):
    assert choose_grouping(asked) == chosen


def test_answers_are_not_grouped_by_everything():
    with pytest.raises(GroupingRefused, match="at most 3"):
        choose_grouping(list(Grouping))
