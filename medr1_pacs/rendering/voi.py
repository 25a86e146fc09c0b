"""Modality values -> display values, through a window or a VOI LUT (PS3.3 C.11.2).

What is applied is returned with its source, so that a page can show what the model was shown.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from itertools import zip_longest

import numpy as np
from pydicom import Dataset

from medr1_pacs.errors import PixelDataUnusable
from medr1_pacs.records.planned import VoiWindow, WindowRequest
from medr1_pacs.rendering.functional_groups import (
    find_items,
    find_macro,
    find_numbers,
    find_texts,
    find_value,
)
from medr1_pacs.rendering.lut import LookupTable, find_lut

PERCENTILES = (1.0, 99.0)
"""The window of last resort spans these percentiles of the frame's values, padding left out."""


class VoiFunction(StrEnum):
    """VOI LUT Function (0028,1056)."""

    LINEAR = "LINEAR"
    LINEAR_EXACT = "LINEAR_EXACT"
    SIGMOID = "SIGMOID"


@dataclass(frozen=True, slots=True, eq=False)
class Voi:
    """One VOI transformation: a window with its function, or a lookup table."""

    source: str
    window: VoiWindow | None = None
    function: VoiFunction = VoiFunction.LINEAR
    lut: LookupTable | None = None
    explanation: str = ""
    """What the object says of one of its own, as `LUNG`; most devices say nothing."""


def choose_voi(header: Dataset, frame_index: int, request: WindowRequest) -> Voi | None:
    """Choose preset, the object's own VOI, or the fallback; None leaves the percentiles.

    An object's VOI that breaks the standard (a width below 1, one of the pair only, a lookup
    table shorter than it says) counts as absent.
    """
    if request.preset is not None:
        return Voi(_join("preset", request.preset_name), request.preset)
    own = find_own_vois(header, frame_index)
    if own:
        return own[0]
    if request.fallback is not None:
        return Voi(_join("fallback", request.fallback_name), request.fallback)
    return None


def _join(kind: str, name: str | None) -> str:
    return f"{kind} {name}" if name else kind


def find_own_vois(header: Dataset, frame_index: int) -> list[Voi]:
    """Return an object's own alternatives, in the device's order of preference.

    Lookup tables come before windows. Where the first of either breaks the standard, the others
    of its kind are not trusted.
    """
    macro = find_macro(header, frame_index, "FrameVOILUTSequence")
    is_little_endian = header.original_encoding[1] is not False
    return _find_luts(macro, is_little_endian=is_little_endian) + _find_windows(macro)


def _find_luts(macro: Dataset, *, is_little_endian: bool) -> list[Voi]:
    vois: list[Voi] = []
    for item in find_items(macro, "VOILUTSequence"):
        lut = find_lut(item, "LUTDescriptor", "LUTData", is_little_endian=is_little_endian)
        if lut is not None:
            explanation = " ".join(find_texts(item, "LUTExplanation"))
            vois.append(Voi("object lut", lut=lut, explanation=explanation))
        elif not vois:
            break
    return vois


def _find_windows(macro: Dataset) -> list[Voi]:
    try:
        function = VoiFunction(find_value(macro, "VOILUTFunction") or VoiFunction.LINEAR)
    except ValueError:
        function = VoiFunction.LINEAR
    source = "object" if function is VoiFunction.LINEAR else f"object {function.value.lower()}"
    vois: list[Voi] = []
    for center, width, explanation in zip_longest(
        find_numbers(macro, "WindowCenter"),
        find_numbers(macro, "WindowWidth"),
        find_texts(macro, "WindowCenterWidthExplanation"),
    ):
        if center is not None and width is not None and width >= 1:
            window = VoiWindow(center, width)
            vois.append(Voi(source, window, function, explanation=explanation or ""))
        elif not vois:
            break
    return vois


def percentile_voi(modality_values: np.ndarray) -> Voi:
    """Span the window from the 1st to the 99th percentile of the values.

    A frame that is nearly all of one value (a mask, a few bright dots) spans all its values.

    Raises
    ------
    PixelDataUnusable
        They are farther apart than float64 reaches.
    """
    values = modality_values[np.isfinite(modality_values)]
    if values.size == 0:
        return Voi("percentiles", VoiWindow(0.5, 1))
    low, high = (float(value) for value in np.percentile(values, PERCENTILES))
    if low == high:
        low, high = float(values.min()), float(values.max())
    require_finite_span(low, high)
    # The LINEAR function's half step: this window maps `low` to 0 and `high` to 255.
    return Voi("percentiles", VoiWindow((low + high + 1) / 2, high - low + 1))


def require_finite_span(low: float, high: float) -> None:
    """Raise PixelDataUnusable where two values are farther apart than float64 reaches."""
    if not math.isfinite(high - low):
        raise PixelDataUnusable("the values of the frame are too far apart to be windowed")


def apply_voi(modality_values: np.ndarray, voi: Voi) -> np.ndarray:
    """Map modality values of any shape to display values, uint8; MONOCHROME1 is not inverted."""
    if voi.lut is not None:
        return _as_display(voi.lut.apply(modality_values) / ((1 << voi.lut.bits) - 1))
    assert voi.window is not None
    return apply_voi_window(modality_values, voi.window, voi.function)


def apply_voi_window(
    values: np.ndarray, window: VoiWindow, function: VoiFunction = VoiFunction.LINEAR
) -> np.ndarray:
    """Map modality values to display values with a window (PS3.3 C.11.2.1.2, C.11.2.1.3).

    Parameters
    ----------
    values
        Any shape, any real dtype, after the Modality LUT; NaN becomes 0.

    Returns
    -------
    numpy.ndarray
        The shape of `values`, uint8; 0 below the window, 255 above it.
    """
    values = values.astype(np.float64)  # unsigned values have no room below the center
    if function is VoiFunction.SIGMOID:
        # Beyond 60 half-widths the curve is flat; clipping keeps exp() from overflowing.
        exponent = np.clip(-4 * (values - window.center) / window.width, -60, 60)
        return _as_display(1 / (1 + np.exp(exponent)))
    if function is VoiFunction.LINEAR_EXACT:
        return _as_display((values - window.center) / window.width + 0.5)
    # The standard's half step: a window of width w covers w values, so w - 1 steps between them.
    center, span = window.center - 0.5, window.width - 1
    if span == 0:
        return np.where(values > center, 255, 0).astype(np.uint8)
    return _as_display((values - center) / span + 0.5)


def _as_display(fractions: np.ndarray) -> np.ndarray:
    """Scale 0 .. 1 to 0 .. 255; what lies outside takes the nearest end."""
    display: np.ndarray = np.clip(np.rint(np.nan_to_num(fractions) * 255), 0, 255).astype(np.uint8)
    return display
