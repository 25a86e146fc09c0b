import numpy as np
import pytest
from pydicom import Dataset

from medr1_pacs.rendering.presentation import apply_presentation


@pytest.mark.parametrize(
    ("photometric_interpretation", "shape", "display"),
    [
        ("MONOCHROME2", None, [0, 100, 255]),
        ("MONOCHROME2", "IDENTITY", [0, 100, 255]),
        ("MONOCHROME2", "INVERSE", [255, 155, 0]),
        ("MONOCHROME1", None, [255, 155, 0]),
        ("MONOCHROME1", "INVERSE", [255, 155, 0]),
    ],
)
def test_white_is_what_the_object_means_by_white(photometric_interpretation, shape, display):
    header = Dataset()
    if shape:
        header.PresentationLUTShape = shape

    values = np.array([0, 100, 255], np.uint8)
    presented = apply_presentation(values, header, photometric_interpretation)

    assert (presented.dtype, presented.tolist()) == (np.uint8, display)
