import pytest

from medr1_pacs.questions.windows import (
    OBJECT_WINDOW,
    PRESETS,
    parse_preset,
    parse_window,
    window_request,
)
from medr1_pacs.records.planned import Route, VoiWindow, WindowRequest
from medr1_pacs.records.words import Modality

HEAD, UNKNOWN = Route(Modality.CT, "", anatomy="head"), Route(Modality.CT, "")


def test_a_preset_of_the_question_wins():
    assert window_request(parse_window("lung"), Modality.CT, HEAD) == WindowRequest(
        preset=VoiWindow(-600, 1500), preset_name="lung"
    )


@pytest.mark.parametrize("choice", [None, OBJECT_WINDOW])
@pytest.mark.parametrize(
    ("route", "name"),
    [(HEAD, "brain"), (UNKNOWN, "abdomen"), (Route(Modality.CT, "", anatomy="knee"), "bone")],
)
def test_the_objects_own_window_falls_back_to_the_anatomys(choice, route, name):
    assert window_request(choice, Modality.CT, route) == WindowRequest(
        fallback=PRESETS[name], fallback_name=name
    )


def test_other_modalities_have_no_preset_to_fall_back_to():
    route = Route(Modality.MRI, "", anatomy="head")

    assert window_request(OBJECT_WINDOW, Modality.MRI, route) == WindowRequest()


def test_a_window_is_parsed_once_and_written_as_it_was(make_question):
    question = make_question(window="object", second_window="subdural")

    assert (question.window, question.second_window) == (OBJECT_WINDOW, parse_preset("subdural"))
    assert (question.definition()["window"], question.definition()["second_window"]) == (
        "object",
        "subdural",
    )


@pytest.mark.parametrize(("parse", "text"), [(parse_window, "long"), (parse_preset, "object")])
def test_what_is_no_preset_comes_with_its_remedy(parse, text):
    with pytest.raises(ValueError, match=f"`{text}` is no window preset; "):
        parse(text)
