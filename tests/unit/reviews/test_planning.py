"""Candidates become cases and planned reads, the same ones whoever plans."""

import random
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from readers import make_protocol

from medr1_pacs.errors import ProtocolRefused
from medr1_pacs.records.review_words import Arm, CaseKind, ReadKind
from medr1_pacs.records.reviews import Candidate, ModelSide, StudyAnswerMade
from medr1_pacs.reviews import planning
from medr1_pacs.reviews.order import reader_order
from medr1_pacs.reviews.planning import plan_reading

ANSWER = StudyAnswerMade(
    checkpoint_row=1,
    aggregate="vote",
    choice_text="Nodule",
    answer_ids=(1,),
    parsed=1,
    score=None,
    side=ModelSide(
        choice_text="Nodule",
        score=None,
        answers=1,
        parsed=1,
        checkpoint="ct",
        checkpoint_revision="a",
        is_demo=False,
        pictures=(),
    ),
)
THREE = ["anna", "ben", "cleo"]


def candidate(number, **fields) -> Candidate:
    values = {
        "study_id": number,
        "study_version_id": number,
        "study_version": 1,
        "patient_id": number,
        "question_row": 1,
        "question_id": "q",
        "rendering_id": None,
        "picture": None,
        "answer": ANSWER,
        "is_mixed": False,
        "truth": None,
        "truth_source": None,
    }
    return Candidate(**(values | fields))


def candidates(count, known=0) -> list[Candidate]:
    """Make candidates of a patient each; the first so many have a truth."""
    return [candidate(n, truth="Nodule" if n <= known else None) for n in range(1, count + 1)]


def plan(found, **fields):
    return plan_reading(make_protocol(**fields), found)


def studies(made, kind=None) -> list[int]:
    return [each.candidate.study_id for each in made.cases if kind in (None, each.kind)]


def reads(made, **fields) -> list[tuple[int, str | None]]:
    """Return (case, reader) of the planned reads that are so."""
    return [
        (each.case_number, each.reader)
        for each in made.reads
        if all(getattr(each, name) == value for name, value in fields.items())
    ]


# -- cases -------------------------------------------------------------------------------------


def test_all_candidates_are_cases_that_all_readers_read():
    made = plan(candidates(3), readers=["anna", "ben"])

    assert studies(made) == [1, 2, 3]
    assert [case.number for case in made.cases] == [1, 2, 3]
    assert Counter(reads(made)) == Counter(
        (number, reader) for number in (1, 2, 3) for reader in ("anna", "ben")
    )
    assert {(each.kind, each.arm) for each in made.reads} == {(ReadKind.FIRST, Arm.BLIND)}
    assert made.left_out == {}


def test_what_is_mixed_is_no_case():
    made = plan([candidate(1), candidate(2, is_mixed=True, answer=None)])

    assert (studies(made), made.left_out) == ([1], {planning.MIXED: 1})


@pytest.mark.parametrize(
    ("fields", "is_case"),
    [
        ({"arm": "blind"}, True),
        ({"arm": "sequential"}, False),
        ({"arm": "assisted"}, False),
        ({"arm": None, "crossover": ["blind", "assisted"], "washout_days": 1}, False),
    ],
    ids=["blind", "sequential", "assisted", "crossover"],
)
def test_a_case_needs_an_answer_where_the_model_is_shown(fields, is_case):
    made = plan([candidate(1), candidate(2, answer=None)], **fields)

    assert studies(made) == ([1, 2] if is_case else [1])
    assert made.left_out == ({} if is_case else {planning.UNANSWERED: 1})


def test_more_than_the_protocol_takes_is_left_out():
    made = plan(candidates(10), cases=4)

    assert len(studies(made)) == 4
    assert made.left_out == {planning.NOT_DRAWN: 6}


def test_one_case_of_a_patient_is_taken():
    made = plan([candidate(n, patient_id=n % 2) for n in range(1, 7)], one_a_patient=True)

    assert sorted(each.candidate.patient_id for each in made.cases) == [0, 1]
    assert made.left_out == {planning.SAME_PATIENT: 4}


def test_a_patients_case_that_cannot_be_read_does_not_keep_another_out():
    same = [candidate(1, patient_id=9, answer=None), candidate(2, patient_id=9)]

    assert studies(plan(same, arm="assisted", one_a_patient=True)) == [2]


def test_which_case_of_a_patient_is_taken_is_drawn():
    same = [candidate(n, patient_id=9) for n in range(1, 9)]

    taken = {studies(plan(same, one_a_patient=True, seed=seed))[0] for seed in range(20)}

    assert len(taken) > 3


def test_two_questions_and_two_pictures_of_a_study_are_cases_of_their_own():
    found = [
        candidate(1, question_id="b"),
        candidate(1, question_id="a", rendering_id=8, picture=(4, 2)),
        candidate(1, question_id="a", rendering_id=7, picture=(4, 1)),
    ]

    made = plan(found)

    assert [each.candidate.key for each in made.cases] == ["1 a 4 1", "1 a 4 2", "1 b"]


@pytest.mark.parametrize("found", [[], [candidate(1, is_mixed=True)]], ids=["none", "mixed"])
def test_without_a_case_there_is_no_plan_and_it_says_why(found):
    with pytest.raises(ProtocolRefused, match="no case is left to read") as caught:
        plan(found)

    assert (planning.MIXED in str(caught.value)) is bool(found)


# -- controls and practice ---------------------------------------------------------------------


def test_controls_and_practice_have_a_truth_and_are_apart():
    made = plan(candidates(12, known=6), controls=3, practice=2, readers=THREE, reads=1)

    controls, practice = studies(made, CaseKind.CONTROL), studies(made, CaseKind.PRACTICE)
    assert (len(controls), len(practice), made.count(CaseKind.CASE)) == (3, 2, 7)
    assert {*controls, *practice} <= set(range(1, 7))
    assert not set(controls) & set(practice)


@pytest.mark.parametrize(("field", "known"), [("controls", 2), ("practice", 0)])
def test_too_few_truths_are_told(field, known):
    with pytest.raises(
        ProtocolRefused,
        match=f"{field}: 3 cases with a known truth are needed, and there are {known}",
    ):
        plan(candidates(9, known=known), **{field: 3})


def test_practice_takes_its_cases_before_the_controls():
    with pytest.raises(ProtocolRefused, match=r"controls: 2 .* and there are 1"):
        plan(candidates(9, known=3), practice=2, controls=2)


def test_every_reader_reads_each_control_and_practice_case():
    made = plan(candidates(12, known=6), controls=2, practice=2, readers=THREE, reads=1)

    kind = {each.number: each.kind for each in made.cases}
    by_kind = Counter((kind[each.case_number], each.kind, each.reader) for each in made.reads)
    for reader in THREE:
        assert by_kind[CaseKind.PRACTICE, ReadKind.PRACTICE, reader] == 2
        assert by_kind[CaseKind.CONTROL, ReadKind.FIRST, reader] == 2
    assert by_kind[CaseKind.CASE, ReadKind.FIRST, None] == 8


def test_a_number_tells_nothing_of_why_a_case_is_read():
    made = plan(candidates(30, known=30), controls=10, practice=5)

    assert studies(made) == sorted(studies(made))
    kinds = [each.kind for each in made.cases]
    assert kinds not in (sorted(kinds), sorted(kinds, reverse=True))


def test_who_is_in_a_practice_case_is_in_no_other():
    found = [candidate(n, patient_id=n // 2, truth="Nodule") for n in range(2, 12)]

    made = plan(found, practice=2, controls=1)

    patients = {kind: {each.candidate.patient_id for each in made.cases if each.kind is kind}
                for kind in CaseKind}  # fmt: skip
    assert not patients[CaseKind.PRACTICE] & (patients[CaseKind.CASE] | patients[CaseKind.CONTROL])
    assert made.left_out == {planning.PRACTISED: 10 - len(made.cases)}
    assert len(made.cases) < 10


def test_a_patient_may_be_in_two_practice_cases():
    found = [candidate(n, patient_id=7, truth="Nodule") for n in (1, 2)]

    made = plan([*found, candidate(3)], practice=2)

    assert (made.count(CaseKind.PRACTICE), made.left_out) == (2, {})


@pytest.mark.parametrize("field", ["controls", "practice"])
def test_one_case_of_a_patient_is_one_with_a_truth_where_that_is_needed(field):
    found = [
        candidate(n, question_id=question, truth=truth)
        for n in range(1, 11)
        for question, truth in (("q1", None), ("q2", "Nodule"))
    ]

    made = plan(found, one_a_patient=True, **{field: 9})

    kind = CaseKind(field.removesuffix("s"))
    assert made.count(kind) == 9
    assert {each.candidate.question_id for each in made.cases if each.kind is kind} == {"q2"}
    assert sorted(each.candidate.patient_id for each in made.cases) == list(range(1, 11))
    assert sum(made.left_out.values()) == 10


@pytest.mark.parametrize("field", ["controls", "practice"])
def test_too_few_patients_with_a_truth_are_told(field):
    found = [candidate(n, patient_id=n // 2, truth="Nodule") for n in range(4)]

    with pytest.raises(ProtocolRefused, match=f"{field}: 3 .* and there are 2"):
        plan([*found, candidate(9)], one_a_patient=True, **{field: 3})


# -- several models ----------------------------------------------------------------------------


def by(checkpoint, revision="a" * 40) -> StudyAnswerMade:
    side = replace(ANSWER.side, checkpoint=checkpoint, checkpoint_revision=revision)
    return replace(ANSWER, side=side)


def model_warnings(found, **fields) -> list[str]:
    """Return what is warned of; the row of a question is its version."""
    return list(planning.warn_of_models(plan(found, **fields), {n: n for n in range(9)}))


def test_cases_of_several_checkpoints_are_warned_of():
    answers = [by("xray"), by("demo", "b"), by("xray"), None]
    found = [candidate(n, answer=answer) for n, answer in enumerate(answers)]

    assert model_warnings(found) == [
        "1 case of q is answered by demo at b, 2 answered by xray at aaaaaaaaaaaa: the model's "
        "figures are over all of them; filter by `checkpoint`"
    ]


def test_no_filter_tells_revisions_of_a_checkpoint_apart():
    [warning] = model_warnings(
        [candidate(n, answer=by("ct", revision)) for n, revision in enumerate("aab")]
    )

    assert warning.startswith("2 cases of q are answered by ct at a, 1 answered by ct at b:")
    assert warning.endswith("; no filter tells revisions apart")


def test_cases_of_several_versions_of_a_question_are_warned_of():
    assert model_warnings([candidate(n, question_row=1 + n // 3) for n in range(5)]) == [
        "3 cases of q are of its version 1, 2 of its version 2: the figures are over all of them; "
        "no filter tells versions apart"
    ]


def test_each_question_has_a_checkpoint_of_its_own():
    found = [
        candidate(1, answer=by("ct")),
        candidate(2, question_id="r", question_row=2, answer=by("mri")),
    ]

    assert model_warnings(found) == []


def test_practice_has_no_part_in_the_figures_of_a_model():
    found = [candidate(1, truth="Nodule", answer=by("demo")), candidate(2, answer=by("ct"))]

    assert model_warnings(found, practice=1) == []


# -- pools and overlap -------------------------------------------------------------------------


def test_a_pool_has_as_many_reads_of_a_case_as_are_asked_for():
    made = plan(candidates(4), readers=THREE, reads=2)

    assert Counter(reads(made)) == {(number, None): 2 for number in range(1, 5)}


@pytest.mark.parametrize("count", [None, 3])
def test_where_all_read_everything_nothing_is_pooled(count):
    made = plan(candidates(2), readers=THREE, reads=count, overlap=0.5)

    assert len(made.reads) == 6
    assert all(each.reader for each in made.reads)


@pytest.mark.parametrize(("overlap", "shared"), [(0, 0), (0.25, 2), (0.3, 3), (1, 10)])
def test_the_overlap_is_read_by_all(overlap, shared):
    # of 10 cases: round(0.25 x 10) is 2 and round(0.3 x 10) is 3
    made = plan(candidates(10), readers=THREE, reads=1, overlap=overlap)

    by_all = {number for number, reader in reads(made) if reader is not None}
    assert len(by_all) == shared
    assert len(reads(made)) == 3 * shared + (10 - shared)
    assert not by_all & {number for number, _ in reads(made, reader=None)}


# -- repeats -----------------------------------------------------------------------------------


def test_each_reader_repeats_cases_of_their_own_that_all_read():
    made = plan(candidates(20, known=2), readers=THREE, controls=2, repeats=4, washout_days=7)

    repeated = {
        reader: {number for number, who in reads(made, kind=ReadKind.REPEAT) if who == reader}
        for reader in THREE
    }
    controls = {each.number for each in made.cases if each.kind is CaseKind.CONTROL}
    assert [len(numbers) for numbers in repeated.values()] == [4, 4, 4]
    assert not controls & set.union(*repeated.values())
    assert len({frozenset(numbers) for numbers in repeated.values()}) > 1
    assert set(reads(made, kind=ReadKind.REPEAT)) <= set(reads(made, kind=ReadKind.FIRST))


def test_more_repeats_than_cases_that_all_read_are_refused():
    with pytest.raises(
        ProtocolRefused, match="repeats: 3 are asked for, and all readers read 2 cases"
    ):
        plan(candidates(10), readers=THREE, reads=1, overlap=0.2, repeats=3, washout_days=7)


# -- crossover ---------------------------------------------------------------------------------


def crossed(count=9, known=2, **fields):
    values = {"arm": None, "crossover": ["blind", "assisted"], "washout_days": 28}
    return plan(candidates(count, known), readers=THREE, controls=1, **(values | fields))


def test_a_crossover_reads_each_case_in_both_arms():
    made = crossed()

    for reader in THREE:
        own = [each for each in made.reads if each.reader == reader]
        assert len(own) == 18
        for number in range(1, 10):
            pair = sorted((each.kind, each.arm) for each in own if each.case_number == number)
            assert [kind for kind, _ in pair] == [ReadKind.FIRST, ReadKind.SECOND]
            assert {arm for _, arm in pair} == {Arm.BLIND, Arm.ASSISTED}


def test_half_of_a_readers_cases_meet_the_one_arm_first():
    made = crossed()

    for reader in THREE:
        firsts = Counter(
            each.arm for each in made.reads if each.reader == reader and each.kind is ReadKind.FIRST
        )
        assert firsts == {Arm.BLIND: 5, Arm.ASSISTED: 4}  # of 9
    halves = {
        frozenset(number for number, who in reads(made, kind="first", arm="blind") if who == reader)
        for reader in THREE
    }
    assert len(halves) == 3


def test_the_halves_of_a_crossover_follow_the_readers_order():
    made = crossed(known=1)

    ordered = reader_order("chest 1 0\ncrossover", "anna", range(1, 10))
    first = {number for number, who in reads(made, kind="first", arm="blind") if who == "anna"}
    assert first == set(ordered[0::2])


def test_practice_of_a_crossover_is_in_its_first_arm():
    made = crossed(known=3, practice=1, crossover=["assisted", "blind"])

    assert {each.arm for each in made.reads if each.kind is ReadKind.PRACTICE} == {Arm.ASSISTED}


# -- the same for everybody --------------------------------------------------------------------

FIELDS = [
    {"cases": 5, "controls": 2, "practice": 2},
    {"cases": 9, "reads": 1, "overlap": 0.4},
    {"one_a_patient": True, "repeats": 2, "washout_days": 1},
]


@pytest.mark.parametrize("fields", FIELDS, ids=["drawn", "pooled", "repeated"])
@given(shuffle=st.integers(0, 2**32))
def test_shuffled_candidates_give_the_same_plan(fields, shuffle):
    found = [candidate(n, patient_id=n % 8, truth="x" if n % 2 else None) for n in range(1, 21)]
    shuffled = random.Random(shuffle).sample(found, len(found))

    assert plan(shuffled, readers=THREE, **fields) == plan(found, readers=THREE, **fields)


@pytest.mark.parametrize("other", [{"seed": 1}, {"version": 2}, {"name": "heads"}])
def test_another_seed_version_or_name_draws_others(other):
    found = candidates(40, known=40)

    one = plan(found, cases=10, controls=5)
    another = plan(found, cases=10, controls=5, **other)

    assert studies(one, CaseKind.CASE) != studies(another, CaseKind.CASE)
    assert studies(one, CaseKind.CONTROL) != studies(another, CaseKind.CONTROL)
