"""The files of a reading protocol's results: long and wide table, codebook, iMRMC."""

from __future__ import annotations

from dataclasses import asdict, fields, replace

import pytest
from judged import (
    ANNA,
    BEN,
    OPTIONS,
    draw_protocol,
    make_case,
    make_judged,
    make_read,
    make_review,
)

from medr1_pacs.errors import ResultsRefused
from medr1_pacs.exports.imrmc import ImrmcStudy, Score, imrmc_lines
from medr1_pacs.records.judged import LongRow
from medr1_pacs.records.review_words import Arm, CaseKind, Phase, ReadKind
from medr1_pacs.reviews.codebook import COLUMNS, list_codebook
from medr1_pacs.reviews.long_rows import list_long_rows
from medr1_pacs.reviews.multi_reader import build_imrmc_study
from medr1_pacs.reviews.wide_rows import list_reader_columns, list_wide_rows, wide_columns

OPACITY, EFFUSION, NONE = OPTIONS
SEQUENTIAL = Arm.SEQUENTIAL


def long_rows_of(*cases):
    return list(list_long_rows(make_judged(*cases)))


def test_a_case_has_a_line_of_the_truth_one_of_the_model_and_one_a_phase():
    case = make_case(
        1, NONE, make_read(ANNA, SEQUENTIAL, (OPACITY, 60), (NONE, 70)), model=NONE, model_score=0.2
    )
    rows = long_rows_of(case)

    assert [(r.source, r.phase, r.choice, r.is_right, r.score) for r in rows] == [
        ("truth", "truth", NONE, True, None),
        ("model", "model", NONE, True, 0.2),
        ("reader", "blind", OPACITY, False, 60.0),
        ("reader", "assisted", NONE, True, -70.0),
    ]
    assert [r.choice_index for r in rows] == [2, 2, 0, 2]
    assert [r.is_positive for r in rows] == [False, False, True, False]
    assert all(r.is_evaluated for r in rows)


def test_an_assisted_line_says_what_changed_and_whether_it_is_the_models():
    def case(number, before, after, model=OPACITY, truth=NONE):
        return make_case(number, truth, make_read(ANNA, SEQUENTIAL, before, after), model=model)

    rows = long_rows_of(
        case(1, NONE, OPACITY), case(2, NONE, NONE), case(3, OPACITY, NONE),
        case(4, EFFUSION, OPACITY), case(5, NONE, OPACITY, truth=None),
    )  # fmt: skip

    assert [(r.change, r.followed_model) for r in rows if r.phase == "assisted"] == [
        ("to_wrong", True), ("same", False), ("to_right", False), ("other_wrong", True),
        ("changed", True),
    ]  # fmt: skip
    assert {(r.change, r.followed_model) for r in rows if r.phase != "assisted"} == {(None, None)}


def test_the_version_before_one_that_came_after_a_reveal_is_evaluated():
    read = make_read(ANNA, Arm.BLIND, reviews=[
        make_review(Phase.BLIND, OPACITY),
        make_review(Phase.BLIND, NONE, version=2),
        make_review(Phase.BLIND, EFFUSION, version=3, is_after_reveal=True),
    ])  # fmt: skip
    rows = [row for row in long_rows_of(make_case(1, NONE, read)) if row.source == "reader"]

    assert [(r.version, r.is_evaluated, r.reason) for r in rows] == [
        (1, False, None), (2, True, "a slip"), (3, False, "a slip"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("case_kind", "read_kind"),
    [
        (CaseKind.CASE, ReadKind.REPEAT),
        (CaseKind.CONTROL, ReadKind.FIRST),
        (CaseKind.PRACTICE, ReadKind.PRACTICE),
    ],
)
def test_what_is_reported_apart_is_not_evaluated(case_kind, read_kind):
    read = make_read(ANNA, Arm.BLIND, NONE, kind=read_kind)
    rows = long_rows_of(make_case(1, NONE, read, kind=case_kind))

    [own] = [row for row in rows if row.source == "reader"]
    assert (own.is_evaluated, own.read_kind, own.case_kind) == (False, read_kind, case_kind)


def test_a_case_that_cannot_be_assessed_is_evaluated_and_not_right():
    [row] = [
        row
        for row in long_rows_of(make_case(1, NONE, make_read(ANNA, Arm.BLIND, None)))
        if row.source == "reader"
    ]

    assert (row.is_evaluated, row.is_right, row.choice, row.score) == (True, False, None, None)
    assert row.cannot_assess == "motion"


def test_half_a_read_keeps_its_line_and_is_not_evaluated():
    case = make_case(
        1, NONE, make_read(ANNA, SEQUENTIAL, OPACITY), make_read(BEN, SEQUENTIAL, NONE, NONE)
    )
    rows = [row for row in long_rows_of(case) if row.source == "reader"]

    assert [(row.reader, row.phase, row.choice, row.is_evaluated) for row in rows] == [
        (ANNA, "blind", OPACITY, False), (BEN, "blind", NONE, True), (BEN, "assisted", NONE, True),
    ]  # fmt: skip


def test_half_a_read_is_in_no_cell_of_the_wide_table():
    half, repeat = make_read(ANNA, SEQUENTIAL, OPACITY), ReadKind.REPEAT
    protocol = make_judged(
        make_case(1, NONE, half, make_read(BEN, SEQUENTIAL, NONE, NONE)),
        make_case(2, NONE, half, make_read(BEN, SEQUENTIAL, OPACITY, kind=repeat)),
    )
    columns = list_reader_columns(protocol)

    assert [each.choice for each in columns] == [
        "reader_b_blind_choice",
        "reader_b_assisted_choice",
    ]
    assert [
        [row[each.choice] for each in columns] for row in list_wide_rows(protocol, columns)
    ] == [[NONE, NONE], [None, None]]


def test_a_reader_of_whole_and_half_reads_has_empty_cells_where_it_is_half():
    protocol = make_judged(
        make_case(1, NONE, make_read(ANNA, SEQUENTIAL, NONE, NONE)),
        make_case(2, NONE, make_read(ANNA, SEQUENTIAL, OPACITY)),
    )
    rows = list_wide_rows(protocol, list_reader_columns(protocol))

    assert [(row["reader_a_blind_choice"], row["reader_a_blind_confidence"]) for row in rows] == [
        (NONE, 80), (None, None),
    ]  # fmt: skip


def test_the_codebook_says_what_half_a_read_is():
    lines = {line["name"]: line["meaning"] for line in list_codebook([])}

    assert "is_evaluated is false" in lines["(lines: half a read)"]


def test_a_withdrawn_case_keeps_its_lines_and_is_right_by_nobody():
    case = make_case(1, None, make_read(ANNA, Arm.BLIND, None), is_withdrawn=True)
    rows = long_rows_of(case)

    assert [row.source for row in rows] == ["truth", "model", "reader"]
    assert {(row.withdrawn, row.is_evaluated, row.is_right) for row in rows} == {
        (True, False, None)
    }


def test_the_wide_table_has_a_line_a_case_and_two_columns_a_reader_and_phase():
    case = make_case(
        1, NONE, make_read(ANNA, SEQUENTIAL, (OPACITY, 60), (NONE, 70)), model=EFFUSION
    )
    again = make_case(
        2, NONE, make_read(BEN, SEQUENTIAL, NONE, NONE),
        make_read(BEN, SEQUENTIAL, OPACITY, OPACITY, kind=ReadKind.REPEAT),
    )  # fmt: skip
    protocol = make_judged(case, again)
    columns = list_reader_columns(protocol)
    first, second = list_wide_rows(protocol, columns)

    assert wide_columns(columns)[14:] == [
        f"{each}_{what}"
        for each in (
            "reader_a_blind", "reader_a_assisted", "reader_b_blind", "reader_b_blind_repeat",
            "reader_b_assisted", "reader_b_assisted_repeat",
        )
        for what in ("choice", "confidence")
    ]  # fmt: skip
    assert list(first) == wide_columns(columns)
    assert (first["truth"], first["model"]) == (NONE, EFFUSION)
    assert (first["reader_a_blind_choice"], first["reader_a_blind_confidence"]) == (OPACITY, 60)
    assert (first["reader_b_blind_choice"], second["reader_b_blind_choice"]) == (None, NONE)
    assert second["reader_b_assisted_repeat_choice"] == OPACITY


def test_the_arms_of_a_crossover_have_columns_and_modalities_of_their_own():
    case = make_case(
        1, NONE, make_read(ANNA, Arm.BLIND, (OPACITY, 60)),
        make_read(ANNA, SEQUENTIAL, (NONE, 70), (NONE, 80), kind=ReadKind.SECOND),
    )  # fmt: skip
    protocol = make_judged(case, make_case(2, OPACITY))
    columns = list_reader_columns(protocol)
    row, _ = list_wide_rows(protocol, columns)

    assert {each.choice: row[each.choice] for each in columns} == {
        "reader_a_blind_blind_choice": OPACITY,
        "reader_a_sequential_blind_choice": NONE,
        "reader_a_assisted_choice": NONE,
    }
    scores = build_imrmc_study(protocol, "finding", 1, "blind").scores
    assert [(each.modality, each.score) for each in scores] == [
        ("blind: blind", 60.0), ("sequential: blind", -70.0),
    ]  # fmt: skip


def test_the_codebook_says_what_an_adjudication_is_about():
    lines = {line["name"]: line["meaning"] for line in list_codebook([])}

    assert "disagreed in the blind phase" in lines["(lines: adjudication)"]


def test_the_codebook_says_what_every_column_is():
    protocol = draw_protocol(3, 2)
    readers = list_reader_columns(protocol)
    lines = list(list_codebook(readers))

    assert all(tuple(line) == COLUMNS for line in lines)
    assert all(line["meaning"] for line in lines)
    of_long = [line["name"] for line in lines if line["table"] == "long"]
    assert of_long[: len(fields(LongRow))] == list(asdict(next(list_long_rows(protocol))))
    assert [line["name"] for line in lines if line["table"] == "wide"] == wide_columns(readers)
    by_name = {line["name"]: line for line in lines if line["table"] == "long"}
    assert by_name["active_ms"]["unit"] == "ms"
    assert by_name["change"]["values"] == "same; to_right; to_wrong; other_wrong; changed"
    assert by_name["confidence"]["type"] == "integer or empty"


# -- iMRMC -------------------------------------------------------------------------------------


def test_an_imrmc_file_has_counts_truths_and_scores_without_spaces():
    study = ImrmcStudy(
        title="chest 1:\nN0: 7",
        truths={"1": True, "2": False},
        scores=[Score("Reader A", "1", "blind", 80.0), Score("Reader A", "2", "blind", -5.5)],
    )

    assert "".join(imrmc_lines(study)).splitlines() == [
        "chest 1  N0  7", "N0: 1", "N1: 1", "NR: 1", "NM: 1", "BEGIN DATA:",
        "-1,1,truth,1", "-1,2,truth,0", "Reader_A,1,blind,80.0", "Reader_A,2,blind,-5.5",
    ]  # fmt: skip


def test_names_that_would_become_the_same_are_refused():
    scores = [Score(name, "1", "blind", 1.0) for name in ("Reader A", "Reader,A")]

    with pytest.raises(ValueError, match="two are the same"):
        list(imrmc_lines(ImrmcStudy("", {"1": True}, scores)))


def test_the_scores_of_a_phase_are_those_of_evaluated_cases_with_a_known_truth():
    protocol = make_judged(
        make_case(
            1, NONE, make_read(ANNA, SEQUENTIAL, (OPACITY, 60), (NONE, 70)), model=NONE,
            model_score=0.1,
        ),
        make_case(2, OPACITY, make_read(ANNA, SEQUENTIAL, None, (OPACITY, 5)), model=NONE),
        make_case(3, None, make_read(ANNA, SEQUENTIAL, OPACITY, OPACITY), model=NONE),
        make_case(
            4, NONE, make_read(ANNA, SEQUENTIAL, NONE, NONE), kind=CaseKind.CONTROL, model=NONE
        ),
    )  # fmt: skip

    assisted = build_imrmc_study(protocol, "finding", 1, "assisted")
    assert assisted.truths == {"1": False, "2": True}
    assert assisted.scores == [
        Score(ANNA, "1", "assisted", -70.0),
        Score(ANNA, "2", "assisted", 5.0),
        Score("model", "1", "model", 0.1),
    ]
    every = build_imrmc_study(protocol, "finding", 1, "all")
    assert {score.modality for score in every.scores} == {"blind", "assisted", "model"}


@pytest.mark.parametrize(
    ("question", "version", "why"),
    [
        ("finding", 1, "says of no option that it is positive"),
        ("another", 1, "has no question 'another'"),
        ("finding", 2, "has no question 'finding' of version 2"),
    ],
)
def test_scores_that_cannot_be_are_refused_with_a_sentence(question, version, why):
    case = make_case(1, NONE, make_read(ANNA, Arm.BLIND, NONE), positive=())

    with pytest.raises(ResultsRefused, match=why):
        build_imrmc_study(make_judged(case), question, version, "blind")


@pytest.mark.parametrize(
    ("truths", "said", "why"),
    [
        ([NONE, NONE], OPACITY, "none is positive"),
        ([OPACITY, EFFUSION], OPACITY, "none is negative"),
        ([None, None], OPACITY, "none is positive"),
        ([OPACITY, NONE], None, "no reader scored a case"),
    ],
)
def test_scores_that_nothing_can_be_compared_by_are_refused(truths, said, why):
    cases = [
        make_case(n, truth, make_read(ANNA, Arm.BLIND, said)) for n, truth in enumerate(truths)
    ]

    with pytest.raises(ResultsRefused, match=why):
        build_imrmc_study(make_judged(*cases), "finding", 1, "blind")


def test_each_version_of_a_question_has_scores_of_its_own():
    """Else a case would be positive by options that its version does not call so."""

    def case(number, truth, **version):
        return make_case(number, truth, make_read(ANNA, Arm.BLIND, (OPACITY, 60)), **version)

    second = {"question_version": 2, "positive": (NONE,)}
    protocol = make_judged(
        case(1, OPACITY), case(2, NONE), case(3, OPACITY, **second), case(4, NONE, **second)
    )

    first, other = (build_imrmc_study(protocol, "finding", n, "all") for n in (1, 2))
    assert (first.truths, other.truths) == ({"1": True, "2": False}, {"3": False, "4": True})
    assert [each.score for each in (*first.scores, *other.scores)] == [60.0, 60.0, -60.0, -60.0]
    assert (first.title, other.title) == (
        "chest 1, finding version 1, all", "chest 1, finding version 2, all",
    )  # fmt: skip


def test_scores_of_a_model_of_several_checkpoints_say_so_in_their_title():
    protocol = make_judged(
        make_case(1, NONE, make_read(ANNA, Arm.BLIND, NONE), model=NONE, model_score=0.1),
        make_case(
            2, OPACITY, make_read(ANNA, Arm.BLIND, NONE), model=NONE, checkpoint="ct", model_score=0
        ),
    )

    assert "the model is 2 checkpoints" in build_imrmc_study(protocol, "finding", 1, "all").title


def test_half_a_read_has_no_score():
    protocol = make_judged(
        make_case(1, NONE, make_read(ANNA, SEQUENTIAL, NONE, NONE)),
        make_case(2, OPACITY, make_read(ANNA, SEQUENTIAL, OPACITY, OPACITY)),
        make_case(3, OPACITY, make_read(ANNA, SEQUENTIAL, OPACITY)),
    )

    scores = build_imrmc_study(protocol, "finding", 1, "blind").scores
    assert [each.case for each in scores] == ["1", "2"]


def test_a_phase_that_nobody_read_is_refused():
    case = make_case(1, NONE, make_read(ANNA, Arm.BLIND, NONE))

    with pytest.raises(ResultsRefused, match="in a phase 'assisted'"):
        build_imrmc_study(make_judged(replace(case)), "finding", 1, "assisted")
