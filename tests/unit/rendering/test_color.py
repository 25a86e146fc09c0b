import struct

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.pixels import apply_color_lut, convert_color_space

from medr1_pacs.errors import PixelDataUnusable
from medr1_pacs.rendering.color import draw_color, draw_palette, to_eight_bits


def palette_header(bits: int, tables: dict[str, bytes], prefix: str = "") -> Dataset:
    header = Dataset()
    for name, data in tables.items():
        header.add_new(f"{name}PaletteColorLookupTableDescriptor", "US", [2, 4, bits])
        header.add_new(f"{prefix}{name}PaletteColorLookupTableData", "OW", data)
    return header


def test_rgb_is_drawn_as_it_is():
    pixels = np.array([[[0, 127, 255]]], np.uint8)

    assert np.array_equal(draw_color(pixels, Dataset(), "RGB"), pixels)


@pytest.mark.parametrize(
    ("ybr", "rgb"),
    [  # the primaries, by the equations of PS3.3 C.7.6.3.1.2
        ((0, 128, 128), (0, 0, 0)),
        ((255, 128, 128), (255, 255, 255)),
        ((76, 85, 255), (254, 0, 0)),
        ((150, 44, 21), (0, 255, 1)),
        ((29, 255, 107), (0, 0, 254)),
    ],
)
def test_ybr_full_becomes_rgb(ybr, rgb):
    drawn = draw_color(np.array([[ybr]], np.uint8), Dataset(), "YBR_FULL")

    assert np.abs(drawn.astype(int) - rgb).max() <= 1


def test_ybr_full_agrees_with_pydicom_to_a_rounding_step():
    ybr = np.random.default_rng(7).integers(0, 256, (32, 32, 3)).astype(np.uint8)

    expected = convert_color_space(ybr, "YBR_FULL", "RGB").astype(int)
    assert np.abs(draw_color(ybr, Dataset(), "YBR_FULL_422") - expected).max() <= 1


def test_sixteen_bit_rgb_keeps_its_top_eight_bits():
    header = Dataset()
    header.BitsStored = 12

    pixels = np.array([[[0, 2048, 4095]]], np.uint16)
    assert draw_color(pixels, header, "RGB").tolist() == [[[0, 128, 255]]]


@pytest.mark.parametrize("photometric_interpretation", ["MONOCHROME2", "ARGB", "YBR_PARTIAL_422"])
def test_other_colour_spaces_are_refused(photometric_interpretation):
    with pytest.raises(PixelDataUnusable, match=photometric_interpretation):
        draw_color(np.zeros((1, 1, 3), np.uint8), Dataset(), photometric_interpretation)


def test_a_sixteen_bit_palette_maps_stored_values_from_its_first_one():
    header = palette_header(
        16,
        {
            "Red": struct.pack("<2H", 0, 65535),
            "Green": struct.pack("<2H", 0x8000, 0),
            "Blue": struct.pack("<2H", 257, 0x1234),
        },
    )

    drawn = draw_palette(np.array([[3, 4, 5, 6]], np.uint8), header)

    assert drawn.tolist() == [[[0, 128, 1], [0, 128, 1], [255, 0, 0x12], [255, 0, 0x12]]]


def test_a_segmented_palette_is_expanded():
    discrete = struct.pack("<4H", 0, 2, 0, 65535)
    header = palette_header(16, dict.fromkeys(("Red", "Green", "Blue"), discrete), "Segmented")

    assert draw_palette(np.array([[4, 5]]), header).tolist() == [[[0, 0, 0], [255, 255, 255]]]


def test_a_palette_with_a_missing_table_is_refused():
    header = palette_header(16, {"Red": bytes(4), "Green": bytes(4)})

    with pytest.raises(PixelDataUnusable, match="Blue"):
        draw_palette(np.array([[4]]), header)


def test_the_bundled_palette_file_agrees_with_pydicom():
    header = dcmread(get_testdata_file("examples_palette.dcm", download=False))
    stored_values = header.pixel_array

    expected = apply_color_lut(stored_values, header)
    assert np.array_equal(draw_palette(stored_values, header), to_eight_bits(expected, 16))


@pytest.mark.parametrize(
    ("bits", "value", "display"),
    [(1, 1, 255), (4, 15, 255), (8, 200, 200), (10, 1023, 255), (32, 2**32 - 1, 255)],
)
def test_the_brightest_value_of_any_depth_is_white(bits, value, display):
    assert to_eight_bits(np.array([value], np.uint32), bits).tolist() == [display]
