import pytest
from hypothesis import given
from hypothesis import strategies as st

from medr1_pacs.questions.conditions import condition_problem, facts_of, first_unmet
from medr1_pacs.records import Modality, Route

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
    assert first_unmet(when, FACTS) is None


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
    assert first_unmet(when, FACTS) == sentence


@pytest.mark.parametrize(
    "text", ["__import__('os').abort()", "1/0", "facts['anatomy']", "{anatomy}", "%s"]
)
def test_no_condition_text_is_ever_run_as_code(text):
    assert first_unmet({"anatomy": text}, FACTS) == (
        f"anatomy is chest; the question wants {text}."
    )
    assert first_unmet({"SliceThickness": {text: 0}}, FACTS) is not None
    assert first_unmet({text: text}, FACTS) == f"{text} is absent; the question wants {text}."


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


@given(_JSON)
def test_any_condition_is_either_refused_or_answered(condition):
    if condition_problem("anatomy", condition) is None:
        first_unmet({"anatomy": condition}, FACTS)


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
    assert words in (condition_problem(keyword, condition) or "")


def test_routed_facts_join_the_attributes_and_unknown_ones_are_absent():
    route = Route(Modality.CT, "", anatomy="chest")

    assert facts_of({"Modality": "CT"}, route) == {"Modality": "CT", "anatomy": "chest"}
