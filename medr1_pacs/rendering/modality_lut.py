"""Stored values -> modality values, such as Hounsfield units (PS3.3 C.11.1)."""

from __future__ import annotations

import numpy as np
from pydicom import Dataset

from medr1_pacs.rendering.functional_groups import find_items, find_macro, find_number
from medr1_pacs.rendering.lut import find_lut


def apply_modality_lut(
    stored_values: np.ndarray, header: Dataset, frame_index: int = 0
) -> np.ndarray:
    """Apply the Modality LUT Sequence, or else Rescale Slope and Intercept.

    Parameters
    ----------
    stored_values
        Any shape, any real dtype.
    frame_index
        From 0; chooses the Pixel Value Transformation of an enhanced object.

    Returns
    -------
    numpy.ndarray
        The same shape; uint16 after a lookup table, float64 after a rescale, and `stored_values`
        itself where the object has neither.
    """
    is_little_endian = header.original_encoding[1] is not False
    for item in find_items(header, "ModalityLUTSequence")[:1]:
        lut = find_lut(item, "LUTDescriptor", "LUTData", is_little_endian=is_little_endian)
        if lut is not None:
            return lut.apply(stored_values)

    transformation = find_macro(header, frame_index, "PixelValueTransformationSequence")
    slope = find_number(transformation, "RescaleSlope")
    intercept = find_number(transformation, "RescaleIntercept")
    if slope is None and intercept is None:
        return stored_values
    # One without the other is against the standard and common; a slope of 0 would erase the frame.
    return stored_values * np.float64(slope or 1.0) + np.float64(intercept or 0.0)
