"""Who may not read a protocol's studies by what they do or did in another one."""

from datetime import UTC, datetime, timedelta

import pytest
from readers import make_protocol

from medr1_pacs.records.review_words import Arm, CaseKind, Part, ProtocolState
from medr1_pacs.records.reviews import Candidate, PlannedCase, ReadingPlan
from medr1_pacs.reviews.conflicts import (
    EarlierPerson,
    EarlierProtocol,
    Exposure,
    Meeting,
    find_clash,
    find_conflicts,
    find_exposure,
)

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
DAY = timedelta(days=1)
READER, ADJUDICATOR = Part.READER, Part.ADJUDICATOR
BLIND, SEQUENTIAL, ASSISTED = (Arm.BLIND,), (Arm.SEQUENTIAL,), (Arm.ASSISTED,)
CROSSED = (Arm.BLIND, Arm.ASSISTED)
CASE, CONTROL, PRACTICE = ({kind} for kind in CaseKind)
OTHER_PART, OTHER_SIGHT = Exposure.OTHER_PART, Exposure.OTHER_SIGHT


def meeting(arms=BLIND, kinds=CASE, part=READER) -> Meeting:
    return Meeting(part, arms, frozenset(kinds))


@pytest.mark.parametrize(
    ("one", "other", "why"),
    [
        (meeting(BLIND), meeting(BLIND), None),
        (meeting(ASSISTED), meeting(ASSISTED), None),
        (meeting(BLIND), meeting(ASSISTED), OTHER_SIGHT),
        (meeting(BLIND), meeting(SEQUENTIAL), OTHER_SIGHT),
        (meeting(BLIND), meeting(CROSSED), OTHER_SIGHT),
        (meeting(SEQUENTIAL), meeting(SEQUENTIAL), OTHER_SIGHT),
        (meeting(SEQUENTIAL), meeting(ASSISTED), OTHER_SIGHT),
        (meeting(CROSSED), meeting(CROSSED), OTHER_SIGHT),
        (meeting(CROSSED), meeting(ASSISTED), OTHER_SIGHT),
        # A control is one of the cases; practice shows what is true, and is never evaluated.
        (meeting(BLIND, CONTROL), meeting(ASSISTED), OTHER_SIGHT),
        (meeting(BLIND, CONTROL), meeting(BLIND), None),
        (meeting(BLIND, PRACTICE), meeting(BLIND), OTHER_SIGHT),
        (meeting(ASSISTED, PRACTICE), meeting(ASSISTED, CONTROL), OTHER_SIGHT),
        (meeting(BLIND, PRACTICE | CASE), meeting(BLIND, PRACTICE), OTHER_SIGHT),
        (meeting(BLIND, PRACTICE), meeting(SEQUENTIAL, PRACTICE), None),
        # Who adjudicates sees what readers said, which shows the model too.
        (meeting(part=ADJUDICATOR), meeting(), OTHER_PART),
        (meeting(part=ADJUDICATOR), meeting(kinds=PRACTICE), OTHER_PART),
        (meeting(ASSISTED, part=ADJUDICATOR), meeting(ASSISTED), OTHER_PART),
        (meeting(BLIND, part=ADJUDICATOR), meeting(SEQUENTIAL, part=ADJUDICATOR), None),
        (meeting(ASSISTED, part=ADJUDICATOR), meeting(ASSISTED, part=ADJUDICATOR), None),
        # What was commented after the model may tell of it.
        (meeting(BLIND, part=ADJUDICATOR), meeting(ASSISTED, part=ADJUDICATOR), OTHER_SIGHT),
        (meeting(CROSSED, part=ADJUDICATOR), meeting(ASSISTED, part=ADJUDICATOR), OTHER_SIGHT),
        # Neither controls nor practice are adjudicated.
        (meeting(BLIND, CONTROL, ADJUDICATOR), meeting(), None),
        (meeting(BLIND, CONTROL | PRACTICE, ADJUDICATOR), meeting(), None),
        (meeting(BLIND, PRACTICE | CASE, ADJUDICATOR), meeting(), OTHER_PART),
        (meeting(BLIND, CONTROL, ADJUDICATOR), meeting(ASSISTED, CASE, ADJUDICATOR), None),
    ],
)
def test_who_meets_a_study_in_two_ways_at_a_time(one, other, why):
    assert find_clash(one, other) is why
    assert find_clash(other, one) is why


@pytest.mark.parametrize(
    ("unblinded", "ended", "washout", "why"),
    [
        # days ago, or never; the washout in days
        (None, None, 0, OTHER_SIGHT),
        (3, None, 0, Exposure.UNBLINDED),
        (3, None, 4, Exposure.UNBLINDED),
        (3, None, 3, Exposure.LONG_UNBLINDED),
        (None, 3, 0, Exposure.OVER),
        (None, 3, 4, Exposure.OVER),
        # When somebody last looked at what is hidden no more, nobody knows.
        (None, 3, 3, Exposure.OVER),
        (9, 3, 4, Exposure.OVER),
        (3, 2, 0, Exposure.UNBLINDED),
    ],
)
def test_what_somebody_was_let_see_is_refused_until_the_washout_is_over_and_then_warned_of(
    unblinded, ended, washout, why
):
    found = find_exposure(
        meeting(SEQUENTIAL),
        meeting(BLIND),
        unblinded_at=None if unblinded is None else NOON - unblinded * DAY,
        ended_at=None if ended is None else NOON - ended * DAY,
        washout=washout * DAY,
        now=NOON,
    )

    assert found is why


@pytest.mark.parametrize(
    "planned",
    [meeting(kinds=PRACTICE), meeting(kinds=CONTROL, part=ADJUDICATOR)],
    ids=["practice", "never-adjudicated"],
)
@pytest.mark.parametrize(("unblinded_at", "ended_at"), [(NOON, None), (None, NOON)])
def test_what_is_not_judged_now_was_seen_before_without_harm(planned, unblinded_at, ended_at):
    found = find_exposure(
        meeting(),
        planned,
        unblinded_at=unblinded_at,
        ended_at=ended_at,
        washout=timedelta(0),
        now=NOON,
    )

    assert found is None


# -- a plan against protocols ------------------------------------------------------------------


def case(study, question="q", kind=CaseKind.CASE, picture=None) -> PlannedCase:
    candidate = Candidate(
        study_id=study, study_version_id=study, study_version=1, patient_id=study,
        question_row=1, question_id=question, rendering_id=None, picture=picture, answer=None,
        is_mixed=False, truth=None, truth_source=None,
    )  # fmt: skip
    return PlannedCase(1, kind, candidate)


def earlier(cases, people=("anna",), **fields) -> EarlierProtocol:
    values = {
        "name": "chest 1",
        "arms": SEQUENTIAL,
        "is_reference": False,
        "state": ProtocolState.STARTED,
        "ended_at": None,
        "cases": {(study, "q"): frozenset(CASE) for study in cases},
        "people": tuple(
            each if isinstance(each, EarlierPerson) else EarlierPerson(each, READER, None)
            for each in people
        ),
    }
    return EarlierProtocol(**(values | fields))


TWO_CASES = (case(1), case(2))


def conflicts(*others, cases=TWO_CASES, **fields):
    protocol = make_protocol(**({"name": "other"} | fields))
    return find_conflicts(protocol, ReadingPlan(cases=tuple(cases), reads=()), others, now=NOON)


def test_each_person_and_protocol_has_a_sentence_with_the_number_of_cases():
    found = conflicts(
        earlier([1, 2, 3], ["anna", "ben"]),
        earlier([2], ["ben"], name="heads 2"),
        readers=["anna", "ben"],
    )

    assert found.refusals == tuple(
        f"{who} is in {other} too, and one of the two shows of {number} of these cases what the "
        f"other hides: name somebody else, take other cases, or wait until {other} is over"
        for who, other, number in (
            ("anna", "chest 1", 2), ("ben", "chest 1", 2), ("ben", "heads 2", 1),
        )
    )  # fmt: skip
    assert found.warnings == ()


def test_protocols_are_compared_by_their_studies_whatever_the_question():
    found = conflicts(earlier([1]), cases=[case(1, "another"), case(1, "a third"), case(5)])

    assert "2 of these cases" in found.refusals[0]


def test_protocols_without_a_study_in_common_do_not_conflict():
    assert conflicts(earlier([3, 4])) == conflicts()


def test_who_adjudicates_here_does_not_read_there():
    found = conflicts(
        earlier([1], ["carla"], arms=BLIND), readers=["anna", "ben"], adjudicators=["carla"]
    )

    assert found.refusals == (
        "carla is in chest 1 too, and reads 1 of these cases in one of the two and adjudicates in "
        "the other: name somebody else, take other cases, or wait until chest 1 is over",
    )


def test_who_was_unblinded_is_refused():
    found = conflicts(earlier([1, 2], [EarlierPerson("anna", READER, NOON - DAY)]))

    assert found.refusals == (
        "anna was let see the answers of 2 of these cases in chest 1: name somebody else, take "
        "other cases, or set a washout, which begins when they were",
    )


def test_who_was_unblinded_longer_ago_than_the_washout_is_warned_of():
    found = conflicts(earlier([1], [EarlierPerson("anna", READER, NOON - DAY)]), washout_days=1)

    assert found.refusals == ()
    assert found.warnings == (
        "anna may still look at the answers of 1 of these cases in chest 1: they were let see "
        "them, and when they last did, nobody knows; other cases or somebody else would make sure",
    )


def test_of_what_is_over_it_is_warned():
    found = conflicts(
        earlier([1, 2], state=ProtocolState.FINISHED, ended_at=NOON - 9 * DAY), washout_days=1
    )

    assert found.refusals == ()
    assert found.warnings == (
        "anna may have seen what was said of 2 of these cases: chest 1 is over, nothing of it is "
        "hidden any more, and when they last looked, nobody knows; other cases or somebody else "
        "would make sure",
    )


# -- a panel -----------------------------------------------------------------------------------

PANEL_AND_EVALUATION = pytest.mark.parametrize(
    ("is_reference", "what"), [(True, "said the truth of"), (False, "read for an evaluation")]
)


def panel_conflicts(
    is_reference, state=ProtocolState.STARTED, judged=(), cases=TWO_CASES
) -> tuple[str, ...]:
    """Return what is refused to anna in an evaluation after a panel, or the other way round."""
    anna = EarlierPerson("anna", READER, None, frozenset((study, "q") for study in judged))
    other = earlier(
        [1, 2],
        [anna],
        arms=BLIND,
        is_reference=is_reference,
        state=state,
        ended_at=None if state is ProtocolState.STARTED else NOON - 900 * DAY,
    )
    return conflicts(other, cases=cases, reference=not is_reference, washout_days=30).refusals


@PANEL_AND_EVALUATION
def test_a_panel_and_an_evaluation_that_run_have_no_reader_of_a_case_in_common(is_reference, what):
    assert panel_conflicts(is_reference) == (
        f"anna has {what} 2 of these cases in chest 1: name somebody else, or other cases",
    )


@PANEL_AND_EVALUATION
def test_of_what_is_over_counts_what_somebody_judged(is_reference, what):
    assert panel_conflicts(is_reference, ProtocolState.FINISHED) == ()
    assert panel_conflicts(is_reference, ProtocolState.FINISHED, judged=[2]) == (
        f"anna has {what} 1 of these cases in chest 1: name somebody else, or other cases",
    )


@pytest.mark.parametrize(("is_reference", "refusals"), [(True, 0), (False, 1)])
def test_a_panel_that_was_stopped_has_said_no_truth(is_reference, refusals):
    found = panel_conflicts(is_reference, ProtocolState.STOPPED, judged=[1, 2])

    assert len(found) == refusals


def test_a_panel_is_compared_question_by_question():
    assert panel_conflicts(True, cases=[case(1, "another")]) == ()


def test_a_panel_is_of_a_study_whose_pictures_are_cases_by_now():
    pictures = [case(1, picture=(4, frame)) for frame in (1, 2, 3)]

    [refusal] = panel_conflicts(True, cases=pictures)

    assert "3 of these cases" in refusal


# -- several questions -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arm", "warnings"),
    [
        ("blind", ()),
        (
            "assisted",
            (
                "1 study is read under several questions: who has seen the model's side under one "
                "may know it under another",
            ),
        ),
    ],
)
def test_studies_under_several_questions_are_warned_of_where_the_model_is_shown(arm, warnings):
    found = conflicts(cases=[case(1), case(1, "another"), case(2)], arm=arm)

    assert found.warnings == warnings
