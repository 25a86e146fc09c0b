import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medr1_pacs.questions.conditions import facts_of, first_unmet, parse_conditions
from medr1_pacs.records.planned import Route
from medr1_pacs.records.words import Modality

FACTS = {
    "anatomy": "chest",
    "Modality": "CR",
    "SliceThickness": 2.5,
    "ImageType": ["ORIGINAL", "PRIMARY"],
    "ViewCodeSequence": [{"CodeValue": "399162004", "CodingSchemeDesignator": "SCT"}],
}


@pytest.mark.parametrize(
    "when",
    [
        {},
        {"anatomy": "chest"},
        {"anatomy": ["head", "Chest"]},
        {"Modality": ["CR", "DX"], "anatomy": "chest"},
        {"SliceThickness": {"le": 2.5}},
        {"SliceThickness": {"gt": 1, "lt": 3}},
        {"SliceThickness": 2.5},
        {"ImageType": "PRIMARY"},
        {"ViewCodeSequence": "SCT:399162004"},
        {"ViewCodeSequence": "present"},
        {"cohort": "absent", "anatomy": "present"},
    ],
)
def test_conditions_that_hold_leave_nothing_unmet(when):
    assert first_unmet(parse_conditions(when), FACTS) is None


@pytest.mark.parametrize(
    ("when", "sentence"),
    [
        ({"anatomy": ["head"]}, "anatomy is chest; the question wants head."),
        ({"plane": "axial"}, "plane is absent; the question wants axial."),
        ({"anatomy": "chest", "plane": "present"}, "plane is absent; the question wants present."),
        ({"SliceThickness": {"le": 2}}, "SliceThickness is 2.5; the question wants at most 2."),
        ({"KVP": {"ge": 1}}, "KVP is absent; the question wants at least 1."),
        ({"anatomy": {"ge": 1}}, "anatomy is chest; the question wants at least 1."),
        ({"Modality": "absent"}, "Modality is CR; the question wants absent."),
        ({"cohort": "tumor present"}, "cohort is absent; the question wants tumor present."),
        (
            {"ImageType": ["DERIVED", "MPR"]},
            "ImageType is ORIGINAL, PRIMARY; the question wants DERIVED or MPR.",
        ),
    ],
)
def test_the_first_unmet_condition_is_said_in_one_sentence(when, sentence):
    assert first_unmet(parse_conditions(when), FACTS) == sentence


@pytest.mark.parametrize(
    "text", ["__import__('os').abort()", "1/0", "facts['anatomy']", "{anatomy}", "%s"]
)
def test_no_condition_text_is_ever_run_as_code(text):
    assert first_unmet(parse_conditions({"anatomy": text}), FACTS) == (
        f"anatomy is chest; the question wants {text}."
    )


@pytest.mark.parametrize("when", [{"SliceThickness": {"1/0": 0}}, {"1/0": "x"}])
def test_a_name_that_is_code_is_refused(when):
    with pytest.raises(ValueError, match=r"bounds are|neither an indexed"):
        parse_conditions(when)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


_VALUES = st.text() | st.integers() | st.floats(allow_nan=False)
_BOUNDS = st.dictionaries(st.sampled_from(["lt", "le", "ge", "gt"]), st.integers(), min_size=1)


@given(_JSON)
def test_whatever_stands_behind_when_is_refused_by_a_sentence_or_parsed(condition):
    with contextlib.suppress(ValueError):
        parse_conditions({"anatomy": condition})


@given(_VALUES | st.lists(_VALUES, min_size=1) | _BOUNDS)
def test_every_condition_that_can_be_written_is_answered(condition):
    when = parse_conditions({"anatomy": condition})

    assert first_unmet(when, {}) or condition == "absent"


@pytest.mark.parametrize(
    ("keyword", "condition", "words"),
    [
        ("anatomi", "chest", "did you mean `anatomy`?"),
        ("PatientName", "present", "neither an indexed DICOM keyword nor a routed fact"),
        ("SliceThickness", {"max": 3}, "bounds are"),
        ("SliceThickness", {"le": "3"}, "bounds are"),
        ("SliceThickness", {}, "bounds are"),
        ("anatomy", True, "quote words like yes"),
        ("anatomy", [], "write a value"),
        ("anatomy", None, "write a value"),
    ],
)
def test_a_wrong_condition_comes_with_its_remedy(keyword, condition, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        parse_conditions({keyword: condition})


def test_all_wrong_conditions_of_a_question_come_at_once():
    with pytest.raises(ValueError, match=r"anatomi.*\n.*bounds are"):
        parse_conditions({"anatomi": "chest", "KVP": {}})


def test_routed_facts_join_the_attributes_and_unknown_ones_are_absent():
    route = Route(Modality.CT, "", anatomy="chest")

    assert facts_of({"Modality": "CT"}, route) == {"Modality": "CT", "anatomy": "chest"}
