"""Stored values -> modality values, such as Hounsfield units (PS3.3 C.11.1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydicom import Dataset

from medr1_pacs.rendering.functional_groups import find_items, find_macro, find_number
from medr1_pacs.rendering.lut import LookupTable, find_lut


@dataclass(frozen=True, slots=True)
class Rescale:
    """Rescale Slope and Intercept: modality value = stored value * slope + intercept."""

    slope: float
    intercept: float

    def apply(self, stored_values: np.ndarray) -> np.ndarray:
        """Return float64 of the same shape."""
        rescaled: np.ndarray = stored_values * np.float64(self.slope) + np.float64(self.intercept)
        return rescaled


def find_modality_transformation(
    header: Dataset, frame_index: int = 0
) -> LookupTable | Rescale | None:
    """Return the Modality LUT, or else the rescale; None where the object has neither.

    Parameters
    ----------
    frame_index
        From 0; chooses the Pixel Value Transformation of an enhanced object.
    """
    is_little_endian = header.original_encoding[1] is not False
    for item in find_items(header, "ModalityLUTSequence")[:1]:
        lut = find_lut(item, "LUTDescriptor", "LUTData", is_little_endian=is_little_endian)
        if lut is not None:
            return lut

    transformation = find_macro(header, frame_index, "PixelValueTransformationSequence")
    slope = find_number(transformation, "RescaleSlope")
    intercept = find_number(transformation, "RescaleIntercept")
    if slope is None and intercept is None:
        return None
    # One without the other is against the standard and common; a slope of 0 would erase the frame.
    return Rescale(slope or 1.0, intercept or 0.0)


def apply_modality_lut(
    stored_values: np.ndarray, header: Dataset, frame_index: int = 0
) -> np.ndarray:
    """Apply what `find_modality_transformation` finds.

    Parameters
    ----------
    stored_values
        Any shape, any real dtype.

    Returns
    -------
    numpy.ndarray
        The same shape; uint16 after a lookup table, float64 after a rescale, and `stored_values`
        itself where the object has neither.
    """
    transformation = find_modality_transformation(header, frame_index)
    return stored_values if transformation is None else transformation.apply(stored_values)
