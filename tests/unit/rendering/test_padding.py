import numpy as np
from pydicom import Dataset

from medr1_pacs.rendering.padding import is_padding


def padded(vr: str = "US", **values: int) -> Dataset:
    header = Dataset()
    for keyword, value in values.items():
        header.add_new(keyword, vr, value)
    return header


def test_only_the_padding_value_is_padding():
    mask = is_padding(np.array([0, 1, 2], np.uint16), padded(PixelPaddingValue=1))

    assert mask.tolist() == [False, True, False]


def test_a_range_limit_makes_a_range_in_either_direction():
    values = np.array([0, 1, 2, 3], np.uint16)
    upwards = padded(PixelPaddingValue=1, PixelPaddingRangeLimit=2)
    downwards = padded(PixelPaddingValue=2, PixelPaddingRangeLimit=1)

    assert is_padding(values, upwards).tolist() == [False, True, True, False]
    assert is_padding(values, downwards).tolist() == [False, True, True, False]


def test_an_unsigned_padding_value_is_read_with_the_sign_of_the_pixels():
    mask = is_padding(np.array([-2000, 0], np.int16), padded(PixelPaddingValue=63536))

    assert mask.tolist() == [True, False]


def test_a_signed_padding_value_is_read_without_sign_for_unsigned_pixels():
    mask = is_padding(np.array([63536, 0], np.uint16), padded("SS", PixelPaddingValue=-2000))

    assert mask.tolist() == [True, False]


def test_not_a_number_is_padding_in_float_pixel_data():
    mask = is_padding(np.array([np.nan, 0.5, np.inf], np.float32), Dataset())

    assert mask.tolist() == [True, False, False]


def test_without_the_element_nothing_is_padding():
    assert not is_padding(np.array([0, 65535], np.uint16), Dataset()).any()
