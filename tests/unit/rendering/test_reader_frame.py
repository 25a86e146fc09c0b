import numpy as np
import pytest
from pydicom import Dataset
from pydicom.sequence import Sequence
from reader_messages import decode_phantom, list_real_frames, read_message

from medr1_pacs.demo.studies import make_study
from medr1_pacs.errors import PixelDataUnusable
from medr1_pacs.questions.windows import PRESETS
from medr1_pacs.records.planned import VoiWindow, WindowRequest
from medr1_pacs.records.words import Modality
from medr1_pacs.rendering import build_reader_frame, encode_frame, render_frame
from medr1_pacs.rendering.reader_frame import LinearScale

REQUESTS = {
    "nothing asked": WindowRequest(),
    "fallback": WindowRequest(fallback=PRESETS["abdomen"], fallback_name="abdomen"),
    "preset": WindowRequest(preset=PRESETS["lung"], preset_name="lung"),
    "arbitrary": WindowRequest(preset=VoiWindow(101.25, 333.5), preset_name="arbitrary"),
}


def gray_header(**elements: object) -> Dataset:
    header = Dataset()
    header.PhotometricInterpretation = "MONOCHROME2"
    for keyword, value in elements.items():
        setattr(header, keyword, value)
    return header


def lut_item(**elements: object) -> Sequence:
    item = Dataset()
    for keyword, value in elements.items():
        setattr(item, keyword, value)
    return Sequence([item])


def assert_windowed_as_rendered(decoded, request):
    """Compare the decoded message, windowed apart, with the renderer's display values."""
    arguments = {"photometric_interpretation": decoded.photometric_interpretation}
    rendered = render_frame(decoded.stored_values, decoded.header, 0, request, **arguments)
    frame = build_reader_frame(
        decoded.stored_values,
        decoded.header,
        0,
        request=request,
        modality=decoded.modality,
        presets=PRESETS,
        **arguments,
    )

    message = read_message(encode_frame(frame))

    assert np.array_equal(message.draw(), rendered.display)
    if rendered.window_source is not None:
        assert message.told["gray"]["default_source"] == rendered.window_source


@pytest.fixture(scope="module")
def real_frames():
    return list_real_frames()


@pytest.mark.parametrize("request_name", REQUESTS)
def test_real_frames_are_windowed_in_the_browser_as_they_are_rendered(real_frames, request_name):
    for decoded in real_frames.values():
        assert_windowed_as_rendered(decoded, REQUESTS[request_name])


def test_there_are_real_frames_to_compare(real_frames):
    assert len(real_frames) >= 85
    assert {"CT_small.dcm", "MR_small.dcm", "examples_palette.dcm"} <= set(real_frames)


@pytest.mark.parametrize("request_name", REQUESTS)
@pytest.mark.parametrize("modality", list(Modality))
def test_a_frame_of_the_demo_is_windowed_in_the_browser_as_it_is_rendered(modality, request_name):
    for ds in make_study(modality, 1)[:2]:
        assert_windowed_as_rendered(decode_phantom(ds, modality), REQUESTS[request_name])


def test_an_index_becomes_a_modality_value_by_first_slope_and_intercept():
    header = gray_header(RescaleSlope=2, RescaleIntercept=-1000)

    frame = build_reader_frame(np.array([[10, 12], [400, 10]], np.int16), header, 0)

    assert frame.pixels.tolist() == [[0, 2], [390, 0]]
    assert frame.pixels.dtype == np.uint16
    assert frame.gray.scale == LinearScale(10, 2.0, -1000.0)
    assert read_message(encode_frame(frame)).values[[0, 2, 390]].tolist() == [-980, -976, -200]


def test_few_values_take_a_byte_a_pixel():
    frame = build_reader_frame(np.array([[-3, 252]], np.int16), gray_header(), 0)

    assert frame.pixels.dtype == np.uint8
    assert (frame.gray.indices, frame.pixels.tolist()) == (256, [[0, 255]])


def test_a_modality_lut_becomes_a_table():
    header = gray_header(
        ModalityLUTSequence=lut_item(LUTDescriptor=[3, 1, 16], LUTData=[100, 500, 900])
    )

    frame = build_reader_frame(np.array([[0, 1, 2, 3, 4]], np.uint8), header, 0)

    assert frame.gray.scale.tolist() == [100, 100, 500, 900, 900]
    assert frame.gray.quantization_step is None


def test_float_values_are_told_as_they_are():
    frame = build_reader_frame(
        np.array([[0.25, np.nan], [-1.5, 0.25]], np.float32), gray_header(), 0
    )

    assert frame.gray.scale[:2].tolist() == [-1.5, 0.25]
    assert frame.pixels.tolist() == [[1, 2], [0, 1]]
    assert frame.gray.padding == ((2, 2),)


def test_more_values_than_indices_are_quantized_evenly_between_the_lowest_and_the_highest():
    stored_values = np.arange(70_000, dtype=np.uint32).reshape(100, 700) * 2
    header = gray_header()

    frame = build_reader_frame(stored_values, header, 0)

    step = frame.gray.quantization_step
    assert step == 139_998 / 65_534
    assert (frame.pixels[0, 0], frame.pixels[-1, -1]) == (1, 65_535)
    assert np.abs(frame.gray.scale[frame.pixels] - stored_values).max() <= step / 2
    assert frame.gray.default_source == "percentiles"


def test_padding_takes_no_part_in_quantizing():
    stored_values = np.arange(70_000, dtype=np.float32).reshape(100, 700)
    stored_values[0, :3] = [-1e30, np.nan, np.inf]
    header = gray_header(FloatPixelPaddingValue=-1e30)

    frame = build_reader_frame(stored_values, header, 0)

    assert frame.gray.padding == ((0, 0),)
    assert frame.pixels[0, :4].tolist() == [0, 0, 65_535, 1]
    assert frame.gray.scale[[1, -1]].tolist() == pytest.approx([3, 69_999])


def test_padding_is_a_range_of_indices():
    header = gray_header(PixelPaddingValue=2, PixelPaddingRangeLimit=4)

    frame = build_reader_frame(np.array([[1, 9]], np.uint16), header, 0)

    assert frame.gray.padding == ((1, 3),)


@pytest.mark.parametrize(
    ("photometric_interpretation", "shape", "is_inverted"),
    [
        ("MONOCHROME1", None, True),
        ("MONOCHROME2", None, False),
        ("MONOCHROME2", "INVERSE", True),
        ("MONOCHROME1", "INVERSE", True),
    ],
)
def test_inversion_is_told(photometric_interpretation, shape, is_inverted):
    header = gray_header(PhotometricInterpretation=photometric_interpretation)
    if shape:
        header.PresentationLUTShape = shape

    frame = build_reader_frame(np.array([[1, 9]], np.uint16), header, 0)

    assert frame.gray.is_inverted is is_inverted


def test_all_windows_of_the_object_are_offered_with_their_explanations():
    header = gray_header(
        WindowCenter=[40, -600, 1],
        WindowWidth=[400, 1500, 0],
        WindowCenterWidthExplanation=["SOFT", "LUNG"],
        VOILUTFunction="SIGMOID",
    )

    gray = build_reader_frame(np.array([[1, 9]], np.uint16), header, 0).gray

    assert [offered.name for offered in gray.offered] == ["SOFT", "LUNG"]
    assert [offered.voi.window for offered in gray.offered] == [
        VoiWindow(40, 400),
        VoiWindow(-600, 1500),
    ]
    assert {offered.voi.function for offered in gray.offered} == {"SIGMOID"}
    assert (gray.default, gray.default_source) == (0, "object sigmoid")


def test_a_voi_lut_is_offered_as_display_values():
    header = gray_header(
        VOILUTSequence=lut_item(
            LUTDescriptor=[3, 0, 8], LUTData=[0, 51, 255], LUTExplanation="BONE"
        )
    )

    gray = build_reader_frame(np.array([[0, 1, 2, 3]], np.uint16), header, 0).gray

    assert gray.offered[0].name == "BONE"
    assert gray.offered[0].display.tolist() == [0, 51, 255, 255]
    assert gray.default_source == "object lut"


def test_the_fallback_of_the_request_is_found_among_the_presets():
    header = gray_header(RescaleSlope=1, RescaleIntercept=-1024)

    gray = build_reader_frame(
        np.array([[1, 9]], np.uint16),
        header,
        0,
        request=REQUESTS["fallback"],
        modality=Modality.CT,
        presets=PRESETS,
    ).gray

    assert [offered.name for offered in gray.offered] == [*PRESETS, "percentiles"]
    assert gray.offered[gray.default].name == "abdomen"
    assert gray.default_source == "fallback abdomen"


def test_a_requested_window_that_is_offered_by_nobody_comes_first():
    gray = build_reader_frame(
        np.array([[1, 9]], np.uint16), gray_header(), 0, request=REQUESTS["arbitrary"]
    ).gray

    assert [offered.name for offered in gray.offered] == ["preset arbitrary", "percentiles"]
    assert gray.default == 0


@pytest.mark.parametrize(
    ("modality", "elements", "units"),
    [
        (Modality.CT, {"RescaleSlope": 1, "RescaleIntercept": -1024}, "HU"),
        (Modality.CT, {"RescaleSlope": 1, "RescaleType": "HU"}, "HU"),
        (Modality.CT, {"RescaleSlope": 1, "RescaleType": "US"}, None),
        (Modality.CT, {}, None),
        (Modality.MRI, {"RescaleSlope": 1, "RescaleIntercept": 0}, None),
        (
            Modality.CT,
            {
                "ModalityLUTSequence": lut_item(
                    LUTDescriptor=[2, 0, 16], LUTData=[1, 2], ModalityLUTType="HU"
                )
            },
            "HU",
        ),
    ],
    ids=["rescaled", "said", "said otherwise", "not rescaled", "not CT", "by a lookup table"],
)
def test_only_hounsfield_units_are_told_and_have_presets(modality, elements, units):
    gray = build_reader_frame(
        np.array([[1, 9]], np.uint16),
        gray_header(**elements),
        0,
        modality=modality,
        presets=PRESETS,
    ).gray

    assert gray.units == units
    assert any(offered.name == "lung" for offered in gray.offered) == (units == "HU")


def test_color_is_drawn_already():
    header = gray_header(PhotometricInterpretation="RGB", BitsStored=8)

    frame = build_reader_frame(np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8), header, 0)

    message = read_message(encode_frame(frame))
    assert (message.told["kind"], message.told["gray"]) == ("color", None)
    assert message.pixels.tolist() == [[[1, 2, 3], [4, 5, 6]]]


def test_a_shape_that_contradicts_the_header_is_refused():
    with pytest.raises(PixelDataUnusable, match="MONOCHROME2"):
        build_reader_frame(np.zeros((2, 2, 3), np.uint8), gray_header(), 0)


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
@pytest.mark.parametrize("elements", [{}, {"WindowCenter": 0, "WindowWidth": 9}])
def test_values_that_no_window_spans_are_refused(elements):
    stored_values = np.linspace(-1, 1, 70_000).reshape(100, 700) * 1.7e308

    with pytest.raises(PixelDataUnusable, match="too far apart"):
        build_reader_frame(stored_values, gray_header(**elements), 0)
