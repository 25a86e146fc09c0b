import pytest

from medr1_pacs.questions.windows import (
    PRESETS,
    second_window_request,
    window_request,
)
from medr1_pacs.records import Modality, Route, VoiWindow, WindowRequest

HEAD, UNKNOWN = Route(Modality.CT, "", anatomy="head"), Route(Modality.CT, "")


def test_a_preset_of_the_question_wins(make_question):
    assert window_request(make_question(window="lung"), HEAD) == WindowRequest(
        preset=VoiWindow(-600, 1500), preset_name="lung"
    )


@pytest.mark.parametrize("window", [None, "object"])
@pytest.mark.parametrize(
    ("route", "name"),
    [(HEAD, "brain"), (UNKNOWN, "abdomen"), (Route(Modality.CT, "", anatomy="knee"), "bone")],
)
def test_the_objects_own_window_falls_back_to_the_anatomys(make_question, window, route, name):
    assert window_request(make_question(window=window), route) == WindowRequest(
        fallback=PRESETS[name], fallback_name=name
    )


def test_other_modalities_have_no_preset_to_fall_back_to(make_question):
    question = make_question(modality="MRI", window="object")

    assert window_request(question, Route(Modality.MRI, "", anatomy="head")) == WindowRequest()


def test_a_second_window_is_a_second_rendering(make_question):
    assert second_window_request(make_question()) is None
    assert second_window_request(make_question(second_window="subdural")) == WindowRequest(
        preset=VoiWindow(75, 215), preset_name="subdural"
    )
