import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.pixels import apply_modality_lut as pydicom_modality_lut

from medr1_pacs.rendering.modality_lut import apply_modality_lut


def test_slope_and_intercept_give_hounsfield_units():
    header = Dataset()
    header.RescaleSlope, header.RescaleIntercept = 2, -1024

    assert apply_modality_lut(np.array([[0, 1], [512, 4095]]), header).tolist() == [
        [-1024, -1022],
        [0, 7166],
    ]


@pytest.mark.parametrize(
    ("keyword", "value", "modality_value"),
    [("RescaleSlope", 3, 30), ("RescaleIntercept", -4, 6), ("RescaleSlope", 0, 10)],
)
def test_one_of_the_pair_is_enough_and_a_slope_of_zero_is_none(keyword, value, modality_value):
    header = Dataset()
    setattr(header, keyword, value)

    assert apply_modality_lut(np.array([10]), header).tolist() == [modality_value]


def test_without_a_modality_lut_the_stored_values_are_the_modality_values():
    stored_values = np.array([[1, 2]], np.uint16)

    assert apply_modality_lut(stored_values, Dataset()) is stored_values


def test_a_lookup_table_wins_over_a_rescale():
    item, header = Dataset(), Dataset()
    item.add_new("LUTDescriptor", "US", [2, 5, 16])
    item.add_new("LUTData", "US", [50, 60])
    header.ModalityLUTSequence = [item]
    header.RescaleSlope, header.RescaleIntercept = 2, 0

    assert apply_modality_lut(np.array([4, 5, 6]), header).tolist() == [50, 50, 60]


def test_each_frame_of_an_enhanced_object_has_its_own_rescale():
    header, frames = Dataset(), []
    for slope in (1, 10):
        item, group = Dataset(), Dataset()
        item.RescaleSlope, item.RescaleIntercept = slope, 0
        group.PixelValueTransformationSequence = [item]
        frames.append(group)
    header.PerFrameFunctionalGroupsSequence = frames

    assert [apply_modality_lut(np.array([7]), header, index).item() for index in (0, 1)] == [7, 70]


@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small.dcm", "693_J2KI.dcm"])
def test_bundled_files_agree_with_pydicom(name):
    header = dcmread(get_testdata_file(name, download=False))
    stored_values = header.pixel_array

    expected = pydicom_modality_lut(stored_values, header)
    assert np.array_equal(apply_modality_lut(stored_values, header), expected)
