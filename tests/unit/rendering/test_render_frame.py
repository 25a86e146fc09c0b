import copy

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file

from medr1_pacs.errors import PixelDataUnusable
from medr1_pacs.records.planned import VoiWindow, WindowRequest
from medr1_pacs.rendering import recipe_of, render_frame

NOTHING_ASKED = WindowRequest()


def gray_header(**elements: object) -> Dataset:
    header = Dataset()
    header.PhotometricInterpretation = "MONOCHROME2"
    for keyword, value in elements.items():
        setattr(header, keyword, value)
    return header


def test_a_ct_frame_passes_rescale_and_preset():
    header = gray_header(RescaleSlope=1, RescaleIntercept=-1024)
    request = WindowRequest(preset=VoiWindow(0, 100), preset_name="narrow")

    frame = render_frame(np.array([[974, 1073], [0, 4095]], np.uint16), header, 0, request)

    assert frame.display.tolist() == [[0, 255], [0, 255]]
    assert (frame.window, frame.window_source) == (VoiWindow(0, 100), "preset narrow")


def test_padding_is_black_and_outside_the_percentiles():
    stored_values = np.array([[-2000] * 50 + list(range(101))], np.int16)
    header = gray_header(PhotometricInterpretation="MONOCHROME1")
    header.add_new("PixelPaddingValue", "SS", -2000)

    frame = render_frame(stored_values, header, 0, NOTHING_ASKED)

    assert frame.window == VoiWindow(50.5, 99)
    assert (frame.display[0, :50] == 0).all()
    assert frame.display[0, [50, 150]].tolist() == [255, 0]


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.float32])
def test_every_dtype_is_drawn_the_same(dtype):
    frame = render_frame(np.array([[0, 50, 100]], dtype), gray_header(), 0, NOTHING_ASKED)

    assert frame.display.tolist() == [[0, 128, 255]]


def test_values_of_more_than_sixteen_bits_are_drawn():
    stored_values = np.array([[0, 2**31, 2**32 - 1]], np.uint32)

    frame = render_frame(stored_values, gray_header(), 0, NOTHING_ASKED)

    assert frame.display.tolist() == [[0, 128, 255]]


def test_a_frame_that_is_nothing_but_padding_is_black():
    header = gray_header()
    header.add_new("PixelPaddingValue", "US", 7)

    frame = render_frame(np.full((2, 2), 7, np.uint16), header, 0, NOTHING_ASKED)

    assert frame.display.tolist() == [[0, 0], [0, 0]]


def test_colour_has_no_window():
    header = gray_header(PhotometricInterpretation="YBR_FULL_422", BitsStored=8)
    pixels = np.array([[[1, 2, 3]]], np.uint8)

    frame = render_frame(pixels, header, 0, NOTHING_ASKED, photometric_interpretation="RGB")

    assert np.array_equal(frame.display, pixels)
    assert (frame.window, frame.window_source) == (None, None)


@pytest.mark.parametrize(
    ("shape", "photometric_interpretation"),
    [((2, 2), "RGB"), ((2, 2, 3), "MONOCHROME2"), ((2, 2, 4), "RGB")],
)
def test_a_shape_that_contradicts_the_header_is_refused(shape, photometric_interpretation):
    header = gray_header(PhotometricInterpretation=photometric_interpretation)

    with pytest.raises(PixelDataUnusable, match=photometric_interpretation):
        render_frame(np.zeros(shape, np.uint8), header, 0, NOTHING_ASKED)


def test_a_text_in_place_of_a_photometric_interpretation_is_not_quoted():
    header = gray_header(PhotometricInterpretation="DOE^JANE")

    with pytest.raises(PixelDataUnusable, match="not a term of the standard") as refusal:
        render_frame(np.zeros((2, 2), np.uint8), header, 0, NOTHING_ASKED)

    assert "DOE" not in str(refusal.value)


@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small.dcm", "examples_palette.dcm"])
def test_the_dataset_is_not_written_to(name):
    header = dcmread(get_testdata_file(name, download=False))
    stored_values = header.pixel_array
    before = (copy.deepcopy(header), stored_values.copy())

    render_frame(stored_values, header, 0, NOTHING_ASKED)

    assert header == before[0]
    assert np.array_equal(stored_values, before[1])


def test_equal_requests_have_equal_recipes_whatever_the_type_of_their_numbers():
    assert recipe_of(WindowRequest(preset=VoiWindow(40, 400), preset_name="m")) == recipe_of(
        WindowRequest(preset=VoiWindow(40.0, 400.0), preset_name="m")
    )


def test_recipes_differ_by_window_name_and_role():
    window = VoiWindow(40, 400)
    requests = [
        NOTHING_ASKED,
        WindowRequest(preset=window),
        WindowRequest(fallback=window),
        WindowRequest(preset=window, preset_name="mediastinum"),
        WindowRequest(preset=VoiWindow(40, 401)),
    ]

    recipes = {recipe_of(request) for request in requests}

    assert len(recipes) == len(requests)
    assert all(len(recipe) == 64 for recipe in recipes)


def test_the_recipe_of_version_1_never_changes():
    # Stored rows carry it: a change here means that RENDERER_VERSION has to change.
    assert (
        recipe_of(NOTHING_ASKED)
        == "ca656e428a6378109fed95e5775801b15ae6386b45e5030f814de5d4bdffe35e"
    )
