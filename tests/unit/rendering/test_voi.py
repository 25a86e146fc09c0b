import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.pixels import apply_modality_lut, apply_windowing

from medr1_pacs.records.planned import VoiWindow, WindowRequest
from medr1_pacs.rendering.voi import (
    VoiFunction,
    apply_voi,
    apply_voi_window,
    choose_voi,
    percentile_voi,
)

LUNG, MEDIASTINUM = VoiWindow(-600, 1500), VoiWindow(40, 400)


def windowed(**elements: object) -> Dataset:
    header = Dataset()
    for keyword, value in elements.items():
        setattr(header, keyword, value)
    return header


@pytest.mark.parametrize(
    ("center", "width", "value", "display"),
    [  # the worked examples of PS3.3 C.11.2.1.2.1, one row per edge
        (2048, 4096, 0, 0),
        (2048, 4096, 4095, 255),
        (2048, 1, 2047, 0),
        (2048, 1, 2048, 255),
        (0, 100, -50, 0),
        (0, 100, 49, 255),
        (0, 1, -1, 0),
        (0, 1, 0, 255),
    ],
)
def test_window_edges_follow_the_standard(center, width, value, display):
    assert apply_voi_window(np.array([[value]]), VoiWindow(center, width)) == [[display]]


@pytest.mark.parametrize(
    ("value", "display"), [(-51, 0), (-50, 0), (-25, 64), (0, 128), (50, 255), (51, 255)]
)
def test_linear_exact_reaches_its_ends_at_half_a_width(value, display):
    window = VoiWindow(0, 100)

    assert apply_voi_window(np.array([value]), window, VoiFunction.LINEAR_EXACT) == [display]


@pytest.mark.parametrize("value", [-100, -25, 0, 10, 100])
def test_a_sigmoid_follows_the_formula(value):
    expected = round(255 / (1 + math.exp(-4 * (value - 10) / 50)))  # PS3.3 C.11.2.1.3.1

    window = VoiWindow(10, 50)
    assert apply_voi_window(np.array([value]), window, VoiFunction.SIGMOID) == [expected]


def test_a_sigmoid_of_extreme_values_is_flat():
    values = np.array([-1e300, 1e300])

    assert apply_voi_window(values, VoiWindow(0, 1), VoiFunction.SIGMOID).tolist() == [0, 255]


@given(
    center=st.floats(-70000, 70000),
    width=st.floats(1, 70000),
    function=st.sampled_from(VoiFunction),
    values=st.lists(st.integers(-70000, 70000), min_size=2),
)
def test_brighter_values_are_never_drawn_darker(center, width, function, values):
    display = apply_voi_window(np.array(sorted(values)), VoiWindow(center, width), function)

    assert (np.diff(display.astype(int)) >= 0).all()


def test_a_preset_wins_over_the_objects_own_window():
    header = windowed(WindowCenter=40, WindowWidth=400)

    voi = choose_voi(header, 0, WindowRequest(preset=LUNG, preset_name="lung"))

    assert (voi.window, voi.source) == (LUNG, "preset lung")


def test_the_first_of_the_objects_windows_is_used():
    header = windowed(WindowCenter=[40, -600], WindowWidth=[400, 1500])

    voi = choose_voi(header, 0, WindowRequest(fallback=LUNG))

    assert (voi.window, voi.source) == (MEDIASTINUM, "object")


@pytest.mark.parametrize(
    "elements",
    [
        {},
        {"WindowCenter": 40},
        {"WindowWidth": 400},
        {"WindowCenter": 40, "WindowWidth": 0},
        {"WindowCenter": 40, "WindowWidth": -5},
        {"WindowCenter": 40, "WindowWidth": 0.5},
        {"WindowCenter": None, "WindowWidth": None},
    ],
)
def test_an_unusable_window_falls_on_to_the_fallback(elements):
    request = WindowRequest(fallback=MEDIASTINUM, fallback_name="mediastinum")

    voi = choose_voi(windowed(**elements), 0, request)

    assert (voi.window, voi.source) == (MEDIASTINUM, "fallback mediastinum")


def test_without_any_window_the_percentiles_are_left():
    assert choose_voi(Dataset(), 0, WindowRequest()) is None


@pytest.mark.parametrize(
    ("function", "source"),
    [
        ("LINEAR", "object"),
        ("SIGMOID", "object sigmoid"),
        ("LINEAR_EXACT", "object linear_exact"),
        ("UNHEARD_OF", "object"),
    ],
)
def test_the_source_names_the_objects_voi_lut_function(function, source):
    header = windowed(WindowCenter=40, WindowWidth=400, VOILUTFunction=function)

    assert choose_voi(header, 0, WindowRequest()).source == source


def test_the_window_of_an_enhanced_frame_is_its_own():
    frames = []
    for center in (10, 20):
        group = Dataset()
        group.FrameVOILUTSequence = [windowed(WindowCenter=center, WindowWidth=100)]
        frames.append(group)
    header = windowed(PerFrameFunctionalGroupsSequence=frames)

    assert choose_voi(header, 1, WindowRequest()).window == VoiWindow(20, 100)


def test_a_voi_lut_wins_over_a_window_and_spans_its_bits():
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [3, 1, 10])
    item.add_new("LUTData", "US", [0, 512, 1023])
    header = windowed(VOILUTSequence=[item], WindowCenter=40, WindowWidth=400)

    voi = choose_voi(header, 0, WindowRequest())

    assert (voi.window, voi.source) == (None, "object lut")
    assert apply_voi(np.array([0, 1, 2, 3, 4]), voi).tolist() == [0, 0, 128, 255, 255]


def test_percentiles_map_the_1st_to_black_and_the_99th_to_white():
    voi = percentile_voi(np.arange(101))

    assert voi.source == "percentiles"
    assert apply_voi(np.array([0, 1, 50, 99, 100]), voi).tolist() == [0, 0, 128, 255, 255]


def test_a_few_bright_dots_are_not_cut_off_by_the_percentiles():
    mask = np.zeros(10_000)
    mask[7:9] = 50, 100

    assert apply_voi(np.array([0, 50, 100]), percentile_voi(mask)).tolist() == [0, 128, 255]


def test_a_frame_of_one_value_and_a_frame_of_none_have_a_window():
    assert percentile_voi(np.array([5, 5])).window.width == 1
    assert percentile_voi(np.array([])).window.width == 1


@pytest.mark.parametrize("name", ["examples_overlay.dcm", "CT_small.dcm", "MR_small.dcm"])
@pytest.mark.parametrize("function", list(VoiFunction))
def test_bundled_files_agree_with_pydicom(name, function):
    header = dcmread(get_testdata_file(name, download=False))
    header.WindowCenter, header.WindowWidth = 600, 900
    header.VOILUTFunction = function.value
    modality_values = apply_modality_lut(header.pixel_array, header)
    # pydicom's output range is that of the bits stored, through the rescale.
    is_signed, top = header.PixelRepresentation, 2**header.BitsStored
    stored_range = np.array([-top / 2, top / 2 - 1] if is_signed else [0, top - 1])
    low, high = apply_modality_lut(stored_range, header)

    windowed_values = apply_windowing(modality_values, header)

    expected = np.rint((windowed_values - low) / (high - low) * 255)
    display = apply_voi_window(modality_values, VoiWindow(600, 900), function)
    # Where the two ways of scaling meet a rounding edge they may differ by one.
    assert np.abs(display - expected).max() <= (0 if function is VoiFunction.LINEAR else 1)


def test_unsigned_values_below_a_whole_number_center_do_not_wrap_around():
    values = np.array([0, 65535], np.uint16)

    for function in VoiFunction:
        assert apply_voi_window(values, VoiWindow(600, 900), function).tolist()[0] < 30
