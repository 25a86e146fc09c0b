"""What a reading protocol comes to: small ones, computed by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from judged import (
    ANNA,
    BEN,
    CARA,
    GRADES,
    OPTIONS,
    draw_protocol,
    make_case,
    make_judged,
    make_read,
    make_review,
)

from medr1_pacs.records.review_words import Arm, CaseKind, Phase, ReadKind
from medr1_pacs.reviews.changes import Change, classify
from medr1_pacs.reviews.curves import average_curves
from medr1_pacs.reviews.figures import ALL_READERS, MODEL, TRUTH, Measure, select
from medr1_pacs.reviews.results import compute_results
from medr1_pacs.statistics import wilson_interval

OPACITY, EFFUSION, NONE = OPTIONS
BLIND, SEQUENTIAL, ASSISTED = Arm.BLIND, Arm.SEQUENTIAL, Arm.ASSISTED
TO = "blind to assisted"


def results_of(*cases):
    [question] = compute_results(make_judged(*cases)).questions
    return question


def figure_of(results, measure, who, condition="", against=TRUTH):
    [figure] = select(results.figures, measure, condition=condition, who=who, against=against)
    return figure


def blind_case(number, truth, *said, **fields):
    """Make a case that readers A, B, ... read blind."""
    reads = [make_read(f"Reader {chr(65 + place)}", BLIND, each) for place, each in enumerate(said)]
    return make_case(number, truth, *reads, **fields)


# -- right answers -----------------------------------------------------------------------------


def test_a_reader_is_right_as_often_as_they_say_the_truth():
    results = results_of(
        blind_case(1, OPACITY, OPACITY), blind_case(2, OPACITY, NONE), blind_case(3, NONE, NONE)
    )

    figure = figure_of(results, Measure.ACCURACY, ANNA, "blind")
    assert (figure.value, figure.n) == (2 / 3, 3)
    assert (figure.low, figure.high) == wilson_interval(2, 3)
    assert "Wilson" in figure.method


def test_what_cannot_be_assessed_is_not_right_and_is_reported():
    results = results_of(
        blind_case(1, OPACITY, OPACITY), blind_case(2, OPACITY, None), blind_case(3, NONE, None),
        blind_case(4, NONE, NONE),
    )  # fmt: skip

    assert figure_of(results, Measure.ACCURACY, ANNA, "blind").value == 0.5
    assert figure_of(results, Measure.SENSITIVITY, ANNA, "blind").value == 0.5
    assert figure_of(results, Measure.SPECIFICITY, ANNA, "blind").value == 0.5
    assert figure_of(results, Measure.CANNOT_ASSESS, ANNA, "blind").value == 0.5


def test_sensitivity_and_specificity_are_of_calls_and_not_of_options():
    results = results_of(
        blind_case(1, OPACITY, EFFUSION), blind_case(2, EFFUSION, NONE), blind_case(3, NONE, NONE)
    )

    sensitivity = figure_of(results, Measure.SENSITIVITY, ANNA, "blind")
    assert (sensitivity.value, sensitivity.n) == (0.5, 2)
    assert figure_of(results, Measure.SPECIFICITY, ANNA, "blind").value == 1
    assert figure_of(results, Measure.ACCURACY, ANNA, "blind").value == pytest.approx(1 / 3)


def test_a_question_without_positive_options_has_neither():
    results = results_of(blind_case(1, OPACITY, OPACITY, positive=()))

    assert select(results.figures, Measure.SENSITIVITY) == []
    assert select(results.figures, Measure.AREA) == []
    assert results.curves == ()


def test_the_model_is_right_of_the_cases_that_it_answered():
    results = results_of(
        blind_case(1, OPACITY, NONE, model=OPACITY),
        blind_case(2, NONE, NONE, model=OPACITY),
        blind_case(3, NONE, NONE, model=None, has_model=True),  # it gave no option
        blind_case(4, NONE, NONE),
    )

    figure = figure_of(results, Measure.ACCURACY, MODEL)
    assert (figure.value, figure.n) == (pytest.approx(1 / 3), 3)
    assert results.cases.unanswered == 1


def test_cases_without_a_known_truth_are_counted_and_in_no_share():
    results = results_of(blind_case(1, None, OPACITY), blind_case(2, NONE, NONE))

    assert figure_of(results, Measure.ACCURACY, ANNA, "blind").n == 1
    assert (results.cases.evaluated, results.cases.unknown_truth) == (2, 1)


def test_without_any_truth_a_figure_says_why_it_is_none():
    figure = figure_of(results_of(blind_case(1, None, OPACITY)), Measure.ACCURACY, ANNA, "blind")

    assert (figure.value, figure.low, figure.n) == (None, None, 0)
    assert figure.reason == "no case has a known truth"


def test_all_readers_are_taken_by_patient():
    results = results_of(*(blind_case(n, NONE, NONE, OPACITY if n < 4 else NONE) for n in range(9)))

    figure = figure_of(results, Measure.ACCURACY, ALL_READERS, "blind")
    assert (figure.value, figure.n) == (14 / 18, 18)
    assert "bootstrap" in figure.method


def test_cases_of_one_patient_widen_the_interval():
    cases = [blind_case(n, NONE, NONE if n % 8 < 4 else OPACITY) for n in range(40)]
    shared = [
        blind_case(n, NONE, NONE if n % 8 < 4 else OPACITY, patient=f"p{n // 4}") for n in range(40)
    ]

    apart = figure_of(results_of(*cases), Measure.ACCURACY, ANNA, "blind")
    together = figure_of(results_of(*shared), Measure.ACCURACY, ANNA, "blind")
    assert apart.value == together.value == 0.5
    assert together.high - together.low > 1.5 * (apart.high - apart.low)


# -- what counts -------------------------------------------------------------------------------


def test_practice_and_withdrawn_cases_are_in_no_figure_and_controls_apart():
    results = results_of(
        blind_case(1, NONE, NONE),
        blind_case(2, NONE, OPACITY, kind=CaseKind.CONTROL),
        make_case(
            3, NONE, make_read(ANNA, BLIND, OPACITY, kind=ReadKind.PRACTICE),
            kind=CaseKind.PRACTICE,
        ),
        blind_case(4, None, OPACITY, is_withdrawn=True),
    )  # fmt: skip

    assert figure_of(results, Measure.ACCURACY, ANNA, "blind").n == 1
    assert figure_of(results, Measure.CANNOT_ASSESS, ANNA, "blind").n == 1
    control = figure_of(results, Measure.CONTROL_ACCURACY, ANNA, "blind")
    assert (control.value, control.n) == (0, 1)
    counts = results.cases
    assert (counts.evaluated, counts.controls, counts.practice, counts.withdrawn) == (1, 1, 1, 1)


def test_where_everything_was_withdrawn_there_is_no_condition_and_no_figure_of_a_reader():
    results = results_of(blind_case(1, None, None, is_withdrawn=True))

    assert (results.conditions, results.cases.withdrawn) == ([], 1)
    assert {figure.who for figure in results.figures} == {MODEL}


def test_an_amendment_counts_unless_it_came_after_a_reveal():
    first = make_review(Phase.BLIND, OPACITY)
    before = make_review(Phase.BLIND, NONE, version=2)
    after = make_review(Phase.BLIND, EFFUSION, version=3, is_after_reveal=True)
    read = make_read(ANNA, BLIND, reviews=[first, before, after])

    figure = figure_of(results_of(make_case(1, NONE, read)), Measure.ACCURACY, ANNA, "blind")
    assert (figure.value, figure.n) == (1, 1)


def test_a_repeat_is_compared_with_the_first_read_alone():
    def case(number, first, again):
        return make_case(
            number, NONE, make_read(ANNA, BLIND, first),
            make_read(ANNA, BLIND, again, kind=ReadKind.REPEAT),
        )  # fmt: skip

    results = results_of(case(1, NONE, NONE), case(2, OPACITY, OPACITY), case(3, NONE, OPACITY))

    again = figure_of(results, Measure.PERCENT_AGREEMENT, ANNA, "blind", f"{ANNA}, repeated")
    kappa = figure_of(results, Measure.COHENS_KAPPA, ANNA, "blind", f"{ANNA}, repeated")
    assert again.value == pytest.approx(2 / 3)
    # First NNO, again NOO: expected by chance 2/3 * 1/3 + 1/3 * 2/3 = 4/9.
    assert kappa.value == pytest.approx((2 / 3 - 4 / 9) / (1 - 4 / 9))
    assert figure_of(results, Measure.ACCURACY, ANNA, "blind").n == 3


def test_an_adjudicator_is_reported_by_themselves():
    case = make_case(
        1, NONE, make_read(ANNA, BLIND, NONE), make_read(BEN, BLIND, OPACITY),
        make_read("Adjudicator A", Arm.ADJUDICATION, NONE, kind=ReadKind.ADJUDICATION),
    )  # fmt: skip
    results = results_of(case)

    assert figure_of(results, Measure.ACCURACY, "Adjudicator A", "adjudication").value == 1
    assert {f.who for f in select(results.figures, Measure.COHENS_KAPPA)} == {ANNA}


# -- agreement ---------------------------------------------------------------------------------

# Two readers: NN NN NO OO, and one that B could not assess.
PAIRS = [(NONE, NONE), (NONE, NONE), (NONE, OPACITY), (OPACITY, OPACITY), (NONE, None)]


def test_two_readers_agree_over_the_cases_that_both_assessed():
    results = results_of(*(blind_case(n, NONE, *said) for n, said in enumerate(PAIRS)))

    percent = figure_of(results, Measure.PERCENT_AGREEMENT, ANNA, "blind", BEN)
    kappa = figure_of(results, Measure.COHENS_KAPPA, ANNA, "blind", BEN)
    assert (percent.value, percent.n) == (0.75, 4)
    # By chance 3/4 * 2/4 + 1/4 * 2/4 = 1/2.
    assert (kappa.value, kappa.n) == (pytest.approx(0.5), 4)
    assert select(results.figures, Measure.WEIGHTED_KAPPA) == []


def test_all_readers_have_fleiss_and_krippendorff():
    results = results_of(*(blind_case(n, NONE, *said) for n, said in enumerate(PAIRS[:4])))

    # 8 ratings, 5 N and 3 O: pairs agree in 3/4; by chance (25 + 9)/64, or (20 + 6)/56.
    fleiss = figure_of(results, Measure.FLEISS_KAPPA, ALL_READERS, "blind", "each other")
    alpha = figure_of(results, Measure.ALPHA, ALL_READERS, "blind", "each other")
    assert fleiss.value == pytest.approx((3 / 4 - 34 / 64) / (1 - 34 / 64))
    assert alpha.value == pytest.approx((3 / 4 - 26 / 56) / (1 - 26 / 56))


def test_fleiss_is_undefined_where_cases_have_different_numbers_of_readings():
    results = results_of(*(blind_case(n, NONE, *said) for n, said in enumerate(PAIRS)))

    fleiss = figure_of(results, Measure.FLEISS_KAPPA, ALL_READERS, "blind", "each other")
    assert fleiss.value is None
    assert "different numbers of readings" in fleiss.reason


def test_grades_have_weighted_kappa_and_ordinal_alpha():
    mild = [("none", "none"), ("mild", "severe"), ("severe", "severe"), ("none", "mild")]
    cases = [
        blind_case(n, "none", *said, options=GRADES, positive=(), is_grade=True)
        for n, said in enumerate(mild)
    ]
    results = results_of(*cases)

    # A 0120, B 0221: squares of differences 0+1+0+1 = 2 of 4; by chance, over 16 pairs,
    # A=0 (twice): 0+4+4+1 = 9 each; A=1: 1+1+1+0 = 3; A=2: 4+0+0+1 = 5; 26/16 a pair.
    kappa = figure_of(results, Measure.WEIGHTED_KAPPA, ANNA, "blind", BEN)
    assert kappa.value == pytest.approx(1 - (2 / 4) / (26 / 16))
    ordinal = figure_of(results, Measure.ORDINAL_ALPHA, ALL_READERS, "blind", "each other")
    # Ranks of 3 none, 2 mild, 3 severe: 1.5, 4, 6.5. Observed, both ways: 2 * (2.5**2 + 2.5**2);
    # by chance over 8 * 7 pairs 2 * (6 * 2.5**2 + 6 * 2.5**2 + 9 * 5**2) / 7.
    observed, expected = 2 * 2 * 2.5**2, 2 * (12 * 2.5**2 + 9 * 5**2) / 7
    assert ordinal.value == pytest.approx(1 - observed / expected)


def test_a_reader_agrees_with_the_model_over_what_both_chose():
    results = results_of(
        blind_case(1, NONE, NONE, model=NONE), blind_case(2, NONE, OPACITY, model=OPACITY),
        blind_case(3, NONE, None, model=OPACITY), blind_case(4, NONE, NONE, has_model=True),
    )  # fmt: skip

    figure = figure_of(results, Measure.COHENS_KAPPA, ANNA, "blind", MODEL)
    assert (figure.value, figure.n) == (1, 2)


def test_readers_who_all_say_the_same_have_no_kappa_and_it_says_why():
    results = results_of(blind_case(1, NONE, NONE, NONE), blind_case(2, NONE, NONE, NONE))

    kappa = figure_of(results, Measure.COHENS_KAPPA, ANNA, "blind", BEN)
    assert (kappa.value, kappa.low) == (None, None)
    assert "nobody chose a second option" in kappa.reason


def test_a_confusion_matrix_has_truths_in_rows():
    results = results_of(
        blind_case(1, OPACITY, NONE, model=OPACITY), blind_case(2, NONE, NONE, model=OPACITY),
        blind_case(3, NONE, None, model=NONE),
    )  # fmt: skip

    found = {(m.who, m.against): (m.counts, m.not_assessed) for m in results.matrices}
    assert found == {
        (MODEL, TRUTH): ([[1, 0, 0], [0, 0, 0], [1, 0, 1]], 0),
        (ANNA, TRUTH): ([[0, 0, 1], [0, 0, 0], [0, 0, 1]], 1),
        (ANNA, MODEL): ([[0, 0, 2], [0, 0, 0], [0, 0, 0]], 1),
    }


# -- after seeing the model --------------------------------------------------------------------


def seen(number, truth, model, before, after, reader=ANNA):
    return make_case(number, truth, make_read(reader, SEQUENTIAL, before, after), model=model)


CHANGED = [
    seen(1, NONE, NONE, OPACITY, NONE),  # to right, following a right model
    seen(2, NONE, OPACITY, NONE, OPACITY),  # to wrong, following a wrong model
    seen(3, NONE, OPACITY, NONE, NONE),  # kept against a wrong model
    seen(4, NONE, EFFUSION, OPACITY, EFFUSION),  # from wrong to wrong
    seen(5, NONE, OPACITY, NONE, EFFUSION),  # to wrong, not the model's
    seen(6, None, OPACITY, NONE, OPACITY),  # no truth
    seen(7, NONE, NONE, None, NONE),  # assessed once the model was seen
    seen(8, NONE, NONE, OPACITY, OPACITY),  # kept against a right model
]


def test_changes_are_counted_by_what_they_lead_to():
    [counts] = results_of(*CHANGED).changes

    assert (counts.condition, counts.who, counts.pairs) == (TO, ANNA, 8)
    assert counts.counts == {
        Change.SAME: 2,
        Change.TO_RIGHT: 2,
        Change.TO_WRONG: 2,
        Change.OTHER_WRONG: 1,
        Change.CHANGED: 1,
    }


def test_following_is_of_those_who_had_it_right_where_the_model_was_wrong_and_the_other_way():
    results = results_of(*CHANGED)

    wrong = figure_of(results, Measure.FOLLOWED_WRONG, ANNA, TO, MODEL)
    right = figure_of(results, Measure.FOLLOWED_RIGHT, ANNA, TO, MODEL)
    assert (wrong.value, wrong.n) == (pytest.approx(1 / 3), 3)  # cases 2, 3, 5
    assert (right.value, right.n) == (pytest.approx(2 / 3), 3)  # cases 1, 7, 8


def test_the_difference_is_assisted_less_blind_with_the_exact_p_value():
    cases = [
        *(seen(n, NONE, NONE, OPACITY, NONE) for n in range(6)),
        seen(6, NONE, OPACITY, NONE, OPACITY),
        *(seen(n, NONE, NONE, NONE, NONE) for n in range(7, 10)),
    ]
    results = results_of(*cases)

    difference = figure_of(results, Measure.ACCURACY_DIFFERENCE, ANNA, TO)
    p_value = figure_of(results, Measure.MCNEMAR, ANNA, TO)
    assert (difference.value, difference.n) == (pytest.approx(0.5), 10)
    assert "Newcombe" in difference.method
    assert difference.low < 0.5 < difference.high
    assert p_value.value == pytest.approx(2 * (1 + 7) / 2**7)


def test_readings_of_one_case_by_several_readers_are_drawn_together():
    cases = [
        make_case(
            n, NONE,
            make_read(ANNA, SEQUENTIAL, OPACITY if n < 5 else NONE, NONE),
            make_read(BEN, SEQUENTIAL, NONE, NONE if n else OPACITY),
            model=NONE,
        )
        for n in range(10)
    ]  # fmt: skip
    results = results_of(*cases)

    pooled = figure_of(results, Measure.ACCURACY_DIFFERENCE, ALL_READERS, TO)
    assert (pooled.value, pooled.n) == (pytest.approx(4 / 20), 20)
    assert "10 patients drawn anew" in pooled.method
    p_value = figure_of(results, Measure.MCNEMAR, ALL_READERS, TO)
    assert p_value.value == pytest.approx(2 * (1 + 6) / 2**6)
    assert "takes pairs for independent" in p_value.method


def test_in_a_crossover_the_two_reads_of_a_reader_are_compared():
    case = make_case(
        1, NONE, make_read(ANNA, BLIND, OPACITY),
        make_read(ANNA, ASSISTED, NONE, kind=ReadKind.SECOND), model=NONE,
    )  # fmt: skip
    [counts] = results_of(case).changes

    assert (counts.condition, counts.counts[Change.TO_RIGHT]) == (TO, 1)


def test_a_phase_in_two_arms_has_the_name_of_its_arm():
    case = make_case(
        1, NONE, make_read(ANNA, BLIND, OPACITY),
        make_read(ANNA, SEQUENTIAL, NONE, NONE, kind=ReadKind.SECOND), model=NONE,
    )  # fmt: skip
    names = [each.name for each in results_of(case).conditions]

    assert names == ["blind: blind", "sequential: blind", "assisted"]


# -- a crossover -------------------------------------------------------------------------------


def crossed(number, truth, reader, first, second, **fields):
    """Make a case that a reader meets in two arms, each as (arm, what is said in its phases)."""
    (arm, said), (other, again) = first, second
    return make_case(
        number, truth, make_read(reader, arm, *said),
        make_read(reader, other, *again, kind=ReadKind.SECOND), **fields,
    )  # fmt: skip


def test_a_condition_has_the_name_of_its_arm_before_the_other_arm_is_read():
    case = blind_case(1, NONE, NONE)
    [question] = compute_results(make_judged(case, arms=[BLIND, SEQUENTIAL])).questions

    assert [each.name for each in question.conditions] == ["blind: blind"]


def test_a_comparison_is_of_two_arms_by_reader_and_case_and_says_how_many_were_first():
    results = results_of(
        crossed(1, NONE, ANNA, (BLIND, [OPACITY]), (ASSISTED, [NONE]), model=NONE),
        crossed(2, NONE, ANNA, (ASSISTED, [NONE]), (BLIND, [NONE]), model=NONE),
        crossed(3, NONE, ANNA, (ASSISTED, [NONE]), (BLIND, [NONE]), model=NONE),
        make_case(4, NONE, make_read(ANNA, ASSISTED, OPACITY), model=NONE),  # not blind yet
        make_case(5, NONE, make_read(BEN, BLIND, OPACITY), model=NONE),
    )

    difference = figure_of(results, Measure.ACCURACY_DIFFERENCE, ANNA, TO)
    assert (difference.value, difference.n) == (pytest.approx(1 / 3), 3)
    order = "two reads of each case, 1 blind first and 2 assisted first"
    assert order in difference.method
    assert order in figure_of(results, Measure.MCNEMAR, ANNA, TO).method
    assert all(order in each.method for each in select(results.figures, Measure.CHANGED))
    followed = figure_of(results, Measure.FOLLOWED_RIGHT, ANNA, TO, MODEL)
    assert "1 blind first and 0 assisted first" in followed.method


def test_the_phases_of_one_read_and_the_arms_are_compared_apart():
    results = results_of(
        crossed(1, NONE, ANNA, (BLIND, [OPACITY]), (SEQUENTIAL, [EFFUSION, NONE]), model=NONE)
    )

    found = select(results.figures, Measure.ACCURACY_DIFFERENCE)
    assert {(each.condition, each.method.partition("; Newcombe")[0]) for each in found} == {
        (
            "blind: blind to assisted",
            "assisted less blind; two reads of each case, 1 blind first and 0 assisted first",
        ),
        (
            "sequential: blind to assisted",
            "assisted less blind; 1 of 1 pairs were in the second period of the crossover",
        ),
    }


def test_every_figure_of_an_arm_says_how_much_of_it_is_of_the_second_period():
    results = results_of(
        crossed(1, NONE, ANNA, (BLIND, [OPACITY]), (ASSISTED, [NONE])),
        crossed(2, NONE, ANNA, (ASSISTED, [NONE]), (BLIND, [NONE])),
        crossed(3, NONE, BEN, (ASSISTED, [NONE]), (BLIND, [NONE])),
    )

    own = figure_of(results, Measure.ACCURACY, ANNA, "blind")
    every = figure_of(results, Measure.ACCURACY, ALL_READERS, "blind")
    period = "readings were in the second period of the crossover"
    assert own.method.endswith(f"; 1 of 2 {period}")
    assert every.method.endswith(f"; 2 of 3 {period}")
    figures = [f for f in results.list_all() if f.condition in ("blind", "assisted")]
    assert all(period in figure.method for figure in figures)


def test_without_a_crossover_no_figure_tells_of_periods():
    assert not any(
        "crossover" in figure.method for figure in compute_results(draw_protocol(5, 2)).list_all()
    )


def test_areas_are_compared_over_the_readings_that_both_arms_have():
    both = [
        crossed(n, t, ANNA, (BLIND, [said]), (ASSISTED, [(t, 70)]))
        for n, (t, said, _) in enumerate(SCORED)
    ]
    # Read in one arm alone so far, and all wrong: in no comparison.
    one = [
        make_case(n, NONE, make_read(ANNA, BLIND if n % 2 else ASSISTED, (OPACITY, 99)))
        for n in range(10, 16)
    ]

    figure = figure_of(results_of(*both, *one), Measure.AREA_DIFFERENCE, ALL_READERS, TO)
    assert (figure.value, figure.n) == (pytest.approx(0.25), 4)
    assert "4 blind first" in figure.method


# -- adjudication ------------------------------------------------------------------------------

DECIDED = {"kind": ReadKind.ADJUDICATION}


def upheld(results):
    """Return reader -> (share, number) of adjudicated cases decided as they had said."""
    figures = select(results.figures, Measure.PERCENT_AGREEMENT, who="Adjudicator A")
    assert {figure.condition for figure in figures} <= {"adjudication"}
    return {figure.against: (figure.value, figure.n) for figure in figures}


def test_an_adjudication_is_compared_with_the_blind_arm_of_a_crossover():
    case = make_case(
        1, NONE,
        make_read(ANNA, BLIND, OPACITY), make_read(ANNA, ASSISTED, NONE, kind=ReadKind.SECOND),
        make_read(BEN, ASSISTED, NONE), make_read(BEN, BLIND, EFFUSION, kind=ReadKind.SECOND),
        make_read("Adjudicator A", Arm.ADJUDICATION, EFFUSION, **DECIDED),
    )  # fmt: skip
    results = results_of(case)

    assert upheld(results) == {ANNA: (0, 1), BEN: (1, 1)}
    accuracy = figure_of(results, Measure.ACCURACY, "Adjudicator A", "adjudication")
    assert accuracy.method.endswith(
        "of the cases alone on which what readers said blind differs, each in their first such read"
    )


def test_of_two_blind_phases_of_a_reader_the_first_read_counts():
    case = make_case(
        1, NONE,
        make_read(ANNA, BLIND, NONE, kind=ReadKind.SECOND),
        make_read(ANNA, SEQUENTIAL, OPACITY, NONE),
        make_read(BEN, BLIND, EFFUSION),
        make_read("Adjudicator A", Arm.ADJUDICATION, OPACITY, **DECIDED),
    )  # fmt: skip

    assert upheld(results_of(case)) == {ANNA: (1, 1), BEN: (0, 1)}


def test_where_no_arm_is_blind_an_adjudication_is_about_the_assisted_phase():
    case = make_case(
        1, NONE, make_read(ANNA, ASSISTED, OPACITY), make_read(BEN, ASSISTED, NONE),
        make_read("Adjudicator A", Arm.ADJUDICATION, NONE, **DECIDED),
    )  # fmt: skip
    results = results_of(case)

    assert upheld(results) == {ANNA: (0, 1), BEN: (1, 1)}
    assert results.notes.adjudicated == (
        "of the cases alone on which what readers said assisted by the model differs"
    )


def test_an_adjudication_is_compared_with_what_was_shown_and_not_with_what_was_amended_since():
    shown = [make_review(Phase.BLIND, OPACITY, review_id=7)]
    amended = [*shown, make_review(Phase.BLIND, NONE, 2, review_id=9)]
    case = make_case(
        1, NONE,
        make_read(ANNA, BLIND, reviews=amended),
        make_read(BEN, BLIND, reviews=[make_review(Phase.BLIND, EFFUSION, review_id=8)]),
        make_read("Adjudicator A", Arm.ADJUDICATION, OPACITY, shown_reviews=[7, 8], **DECIDED),
    )  # fmt: skip

    assert upheld(results_of(case)) == {ANNA: (1, 1), BEN: (0, 1)}


def test_a_read_that_is_not_done_is_in_no_adjudication():
    case = make_case(
        1, NONE, make_read(ANNA, SEQUENTIAL, OPACITY), make_read(BEN, SEQUENTIAL, NONE, NONE),
        make_read("Adjudicator A", Arm.ADJUDICATION, NONE, **DECIDED),
    )  # fmt: skip

    assert upheld(results_of(case)) == {BEN: (1, 1)}


@pytest.mark.parametrize(
    ("before", "after", "truth", "change"),
    [
        (None, None, NONE, Change.SAME),
        (NONE, None, NONE, Change.TO_WRONG),
        (OPACITY, None, NONE, Change.OTHER_WRONG),
        (None, OPACITY, None, Change.CHANGED),
    ],
)
def test_what_cannot_be_assessed_changes_as_an_option_does(before, after, truth, change):
    assert classify(before, after, truth) is change


# -- curves ------------------------------------------------------------------------------------

SCORED = [
    # truth, (choice, confidence) of A and of B: scores A 90 -20 -60 40, B 50 30 -10 30
    (OPACITY, (OPACITY, 90), (EFFUSION, 50)),
    (EFFUSION, (NONE, 20), (OPACITY, 30)),
    (NONE, (NONE, 60), (NONE, 10)),
    (NONE, (OPACITY, 40), (OPACITY, 30)),
]


def test_an_area_is_of_signed_confidences_with_ties_as_half():
    results = results_of(*(blind_case(n, t, *said) for n, (t, *said) in enumerate(SCORED)))

    areas = {f.who: (f.value, f.n) for f in select(results.figures, Measure.AREA)}
    # A: of 4 pairs 3 in order; B: 3 and a tie.
    assert areas[ANNA] == (0.75, 4)
    assert areas[BEN] == (0.875, 4)
    assert areas[ALL_READERS] == (pytest.approx(0.8125), 4)
    assert areas[MODEL] == (None, 0)


def test_the_model_has_an_area_where_its_engine_tells_scores():
    scores = [(OPACITY, 0.9), (OPACITY, 0.4), (NONE, 0.5), (NONE, 0.1)]
    results = results_of(
        *(blind_case(n, t, t, model=t, model_score=s) for n, (t, s) in enumerate(scores))
    )

    assert figure_of(results, Measure.AREA, MODEL).value == 0.75


def test_areas_before_and_after_are_subtracted_over_the_same_cases():
    cases = [
        make_case(n, t, make_read(ANNA, SEQUENTIAL, said, (t, 70)), model=t)
        for n, (t, said, _) in enumerate(SCORED)
    ]

    figure = figure_of(results_of(*cases), Measure.AREA_DIFFERENCE, ALL_READERS, TO)
    assert figure.value == pytest.approx(0.25)


def test_the_mean_curve_has_the_mean_of_the_areas_below_it():
    results = compute_results(draw_protocol(40, 3)).questions[0]
    [mean] = [c for c in results.curves if (c.condition, c.who) == ("blind", ALL_READERS)]

    area = sum(
        (x2 - x1) * (y1 + y2) / 2
        for (x1, y1), (x2, y2) in zip(mean.points, mean.points[1:], strict=False)
    )
    assert area == pytest.approx(figure_of(results, Measure.AREA, ALL_READERS, "blind").value)
    assert (mean.points[0], mean.points[-1]) == ((0, 0), (1, 1))


def test_curves_are_averaged_at_each_false_positive_rate():
    step = [(0.0, 0.0), (0.0, 1.0), (1.0, 1.0)]
    slope = [(0.0, 0.0), (1.0, 1.0)]

    assert average_curves([step, slope]) == [(0.0, 0.0), (0.0, 0.5), (1.0, 1.0)]


def test_a_model_without_scores_is_a_point():
    results = results_of(
        blind_case(1, OPACITY, OPACITY, model=OPACITY), blind_case(2, NONE, NONE, model=OPACITY)
    )

    [model] = [curve for curve in results.curves if curve.who == MODEL]
    assert (model.points, model.operating_point) == ([], (1.0, 1.0))


# -- time --------------------------------------------------------------------------------------


def test_times_are_medians_and_quartiles_in_seconds_of_what_was_locked_first():
    cases = [
        make_case(n, NONE, make_read(ANNA, BLIND, reviews=[
            make_review(Phase.BLIND, NONE, active_ms=1_000 * n, wall_ms=10_000 * n),
            make_review(Phase.BLIND, NONE, version=2, active_ms=0, wall_ms=0),
        ]))
        for n in range(1, 6)
    ]  # fmt: skip
    results = results_of(*cases)

    active = figure_of(results, Measure.ACTIVE_TIME, ANNA, "blind", "")
    assert (active.low, active.value, active.high, active.n) == (2, 3, 4, 5)
    assert active.spread == "quartiles"
    assert figure_of(results, Measure.WALL_TIME, ANNA, "blind", "").value == 30


# -- which checkpoints the model is ------------------------------------------------------------

DEMO = {"checkpoint": "demo", "checkpoint_revision": "fedcba9876543210", "is_demo": True}


def answered_case(number, **fields):
    return make_case(number, NONE, make_read(ANNA, SEQUENTIAL, NONE, NONE), model=NONE, **fields)


def test_results_say_which_checkpoints_answered_how_many_cases():
    results = results_of(
        answered_case(1), answered_case(2), answered_case(3, **DEMO), blind_case(4, NONE, NONE),
        answered_case(5, kind=CaseKind.CONTROL), answered_case(6, is_withdrawn=True),
    )  # fmt: skip

    assert [str(each) for each in results.checkpoints] == [
        "xray at revision 01234567 (2 cases)",
        "demo at revision fedcba98 (1 case, made up for demonstration)",
    ]


def test_figures_of_a_model_of_several_checkpoints_say_so_and_others_do_not():
    results = results_of(answered_case(1), answered_case(2, **DEMO))

    said = {
        (each.condition, MODEL in (each.who, each.against)): "2 checkpoints, put together"
        in each.method
        for each in results.list_all()
        if each.method
    }
    assert said == {
        ("", True): True, ("blind", False): False, ("blind", True): True,
        ("assisted", False): True, ("assisted", True): True, (TO, False): True, (TO, True): True,
    }  # fmt: skip


def test_two_revisions_of_a_checkpoint_are_two():
    results = results_of(answered_case(1), answered_case(2, checkpoint_revision="another one"))

    assert "the model is 2 checkpoints" in results.notes.model


@pytest.mark.parametrize(("fields", "warning"), [({}, ""), (DEMO, "the model is the demo's: ")])
def test_one_checkpoint_is_warned_of_where_it_is_the_demos(fields, warning):
    results = results_of(answered_case(1, **fields))

    assert results.notes.model.startswith(warning)
    assert bool(results.notes.model) is bool(warning)
    accuracy = figure_of(results, Measure.ACCURACY, MODEL)
    assert ("the demo's" in accuracy.method) is bool(warning)


# -- half a read -------------------------------------------------------------------------------

HALVES = {
    "first": make_read(CARA, SEQUENTIAL, OPACITY),
    "second": make_read(ANNA, SEQUENTIAL, OPACITY, kind=ReadKind.SECOND),
    "repeat": make_read(ANNA, SEQUENTIAL, OPACITY, kind=ReadKind.REPEAT),
    "amended": make_read(CARA, SEQUENTIAL, reviews=[
        make_review(Phase.BLIND, OPACITY), make_review(Phase.BLIND, EFFUSION, 2),
    ]),
}  # fmt: skip
"""Reads of which the blind phase alone is locked: left there, or still open."""


def whole_reads():
    return (
        make_read(ANNA, SEQUENTIAL, (NONE, 60), (NONE, 90)),
        make_read(BEN, SEQUENTIAL, (OPACITY, 70), (NONE, 50)),
    )


@pytest.mark.parametrize("kind", [CaseKind.CASE, CaseKind.CONTROL])
@pytest.mark.parametrize("half", HALVES.values(), ids=HALVES)
def test_half_a_read_changes_no_figure_matrix_or_curve(half, kind):
    def results(*more):
        cases = (
            make_case(1, NONE, *whole_reads(), *more, model=NONE, model_score=0.2, kind=kind),
            make_case(2, OPACITY, *whole_reads(), model=OPACITY, model_score=0.7),
        )
        [found] = compute_results(make_judged(*cases, arms=[SEQUENTIAL])).questions
        return found

    found = results(half)

    assert found.cases.unfinished_reads == 1
    assert replace(found, cases=replace(found.cases, unfinished_reads=0)) == results()


def test_a_repeat_of_half_a_read_is_compared_with_nothing():
    case = make_case(
        1, NONE, make_read(ANNA, SEQUENTIAL, NONE),
        make_read(ANNA, SEQUENTIAL, NONE, NONE, kind=ReadKind.REPEAT),
    )  # fmt: skip

    assert {each.n for each in select(results_of(case).figures, against="Reader A, repeated")} <= {
        0
    }


def test_where_half_a_read_is_all_there_is_nothing_was_read():
    results = results_of(make_case(1, NONE, make_read(ANNA, SEQUENTIAL, NONE), model=NONE))

    assert (results.conditions, results.readers) == ([], [])
    assert {each.who for each in results.figures} == {MODEL}


def test_practice_that_is_not_done_is_no_unfinished_read_of_the_results():
    practice = make_read(ANNA, SEQUENTIAL, NONE, kind=ReadKind.PRACTICE)
    results = results_of(
        make_case(1, NONE, practice, kind=CaseKind.PRACTICE), blind_case(2, NONE, NONE)
    )

    assert results.cases.unfinished_reads == 0


# -- all of it ---------------------------------------------------------------------------------


def test_every_figure_says_what_n_is_and_how_it_is_made_or_why_it_is_not():
    for figure in compute_results(draw_protocol(30, 3)).list_all():
        assert figure.unit
        assert figure.method or figure.reason
        assert (figure.low is None) == (figure.high is None) == (not figure.spread)
        if figure.value is not None and figure.low is not None:
            assert figure.low <= figure.value <= figure.high


def test_questions_are_apart():
    results = compute_results(
        make_judged(blind_case(1, NONE, NONE), blind_case(2, NONE, OPACITY, question_id="another"))
    )

    assert [each.question_id for each in results.questions] == ["another", "finding"]
    assert [figure_of(q, Measure.ACCURACY, ANNA, "blind").value for q in results.questions] == [
        0,
        1,
    ]


def test_a_reader_who_read_some_cases_is_compared_over_those():
    results = results_of(
        blind_case(1, NONE, NONE, NONE), blind_case(2, NONE, OPACITY, OPACITY),
        make_case(3, NONE, make_read(CARA, BLIND, NONE)),
    )  # fmt: skip

    assert figure_of(results, Measure.COHENS_KAPPA, ANNA, "blind", BEN).n == 2
    assert figure_of(results, Measure.COHENS_KAPPA, ANNA, "blind", CARA).value is None
