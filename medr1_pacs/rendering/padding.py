"""Which stored values are padding: no picture, only filling up to a rectangle."""

from __future__ import annotations

import numpy as np
from pydicom import Dataset

from medr1_pacs.rendering.functional_groups import find_number


def is_padding(stored_values: np.ndarray, header: Dataset) -> np.ndarray:
    """Tell the values from Pixel Padding Value to its range limit (PS3.3 C.7.5.1.1.2).

    Returns
    -------
    numpy.ndarray
        Bool, the shape of `stored_values`. NaN in float pixel data counts as padding.
    """
    if stored_values.dtype.kind == "f":
        padding = find_number(header, "FloatPixelPaddingValue")
        limit = find_number(header, "FloatPixelPaddingRangeLimit")
    else:
        padding = _as_stored(find_number(header, "PixelPaddingValue"), stored_values.dtype)
        limit = _as_stored(find_number(header, "PixelPaddingRangeLimit"), stored_values.dtype)

    not_a_number: np.ndarray = np.isnan(stored_values)
    if padding is None:
        return not_a_number
    low, high = sorted((padding, padding if limit is None else limit))
    filling: np.ndarray = not_a_number | ((stored_values >= low) & (stored_values <= high))
    return filling


def _as_stored(value: float | None, dtype: np.dtype) -> float | None:
    """Read a padding value with the sign of the stored values.

    Scanners write -2000 as the unsigned 63536: the VR is chosen by one program, the sign by
    another.
    """
    if value is None or dtype.itemsize != 2:
        return value
    is_signed, period = dtype.kind == "i", 1 << 16
    if is_signed and period // 2 <= value < period:
        return value - period
    if not is_signed and -period // 2 <= value < 0:
        return value + period
    return value
