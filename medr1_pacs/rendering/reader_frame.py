"""One frame as a reader's browser gets it: values to be windowed there, not a finished picture.

    stored values -> an index a pixel -> (in the browser) modality value -> VOI -> presentation

An index is a place in the list of values that occur. What turns it into a modality value, and that
into a display value, is told beside the pixels such that the browser computes in float64 what
`render_frame` computes: both show the same. A color frame is drawn already, and has no window.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import EllipsisType, MappingProxyType

import numpy as np
from pydicom import Dataset

from medr1_pacs.records.planned import VoiWindow, WindowRequest
from medr1_pacs.records.words import Modality
from medr1_pacs.rendering.frame import every_value_once, render_frame
from medr1_pacs.rendering.functional_groups import find_items, find_macro, find_value
from medr1_pacs.rendering.geometry import (
    Spacing,
    find_frame_rate,
    find_pixel_aspect,
    find_spacing,
)
from medr1_pacs.rendering.lut import LookupTable
from medr1_pacs.rendering.modality_lut import (
    Rescale,
    apply_modality_lut,
    find_modality_transformation,
)
from medr1_pacs.rendering.orientation import Orientation, find_orientation
from medr1_pacs.rendering.padding import is_padding
from medr1_pacs.rendering.presentation import is_inverted
from medr1_pacs.rendering.voi import (
    Voi,
    apply_voi,
    choose_voi,
    find_own_vois,
    percentile_voi,
    require_finite_span,
)

INDICES_MAX = 1 << 16
"""How many values a frame can tell apart in the browser."""

_FARTHEST = 2.0**31
"""Beyond the entries of every lookup table; infinity has no place in one."""


@dataclass(frozen=True, slots=True)
class LinearScale:
    """Modality value = (first + index) * slope + intercept, in float64 and in this order."""

    first: int
    slope: float
    intercept: float


@dataclass(frozen=True, slots=True, eq=False)
class OfferedVoi:
    """A VOI transformation that a reader can choose."""

    name: str
    voi: Voi
    display: np.ndarray | None
    """``(indices,)`` uint8 for a lookup table, before the inversion; None for a window."""


@dataclass(frozen=True, slots=True, eq=False)
class GrayScale:
    """What the indices of a gray frame mean."""

    indices: int
    """How many there are: a pixel's index is below it."""
    scale: LinearScale | np.ndarray
    """Index -> modality value; the array is ``(indices,)`` float64."""
    quantization_step: float | None
    """How far neighboring indices lie apart, in modality values, where the frame has more values
    than indices: a pixel's value is then true to half of it. None: values are exact."""
    padding: tuple[tuple[int, int], ...]
    """Ranges of indices, both ends included, that are no picture and drawn black."""
    is_inverted: bool
    """Whether low values are bright."""
    units: str | None
    """``HU``, or None where the object does not say."""
    offered: tuple[OfferedVoi, ...]
    """The object's own in its order, then the presets, then the percentiles where it has none of
    its own; before them the renderer's, should it be none of these."""
    default: int
    """The one of `offered` that the renderer draws with."""
    default_source: str
    """As `DisplayFrame.window_source`."""


@dataclass(frozen=True, slots=True, eq=False)
class ReaderFrame:
    """A frame at its native size."""

    pixels: np.ndarray
    """``(rows, columns)`` uint8 or uint16 indices, or ``(rows, columns, 3)`` uint8 RGB."""
    gray: GrayScale | None
    """None for color."""
    spacing: Spacing | None
    """None: lengths cannot be measured."""
    pixel_aspect: float
    """A pixel's height by its width."""
    orientation: Orientation | None
    """None: the object does not say which side is which."""
    frame_rate: float | None
    """Frames per second, of an object of several frames that says so."""


def build_reader_frame(
    stored_values: np.ndarray,
    header: Dataset,
    frame_index: int,
    *,
    request: WindowRequest | None = None,
    modality: Modality | None = None,
    presets: Mapping[str, VoiWindow] = MappingProxyType({}),
    photometric_interpretation: str | None = None,
) -> ReaderFrame:
    """Turn the stored values of one frame into what a reader's browser windows.

    Parameters
    ----------
    stored_values
        ``(rows, columns)`` or ``(rows, columns, 3)``, as a decoder gives them.
    frame_index
        From 0; chooses the functional groups of an enhanced object.
    request
        With which the renderer draws this frame: the reader begins with the same window.
    presets
        In HU by their names; offered where the frame's values are HU.
    photometric_interpretation
        Of `stored_values`, where decoding changed it; the header's if None.

    Raises
    ------
    PixelDataUnusable
        The values cannot be drawn by what the header says of them.
    """
    request = request or WindowRequest()
    photometric = photometric_interpretation or str(find_value(header, "PhotometricInterpretation"))
    if stored_values.ndim == 2 and photometric in ("MONOCHROME1", "MONOCHROME2"):
        indexed = _index_values(stored_values, header, frame_index)
        units = _find_units(header, frame_index, modality)
        offered, default, source = _offer_vois(
            stored_values, header, frame_index, request, presets if units else {}
        )
        pixels = indexed.pixels
        gray = GrayScale(
            indices=len(indexed.values),
            scale=indexed.values if indexed.scale is None else indexed.scale,
            quantization_step=indexed.quantization_step,
            padding=_find_ranges(indexed.is_padding),
            is_inverted=is_inverted(header, photometric),
            units=units,
            offered=tuple(
                OfferedVoi(name, voi, _draw_table(indexed.values, voi)) for name, voi in offered
            ),
            default=default,
            default_source=source,
        )
    else:
        pixels = render_frame(stored_values, header, frame_index, request, photometric).display
        gray = None
    return ReaderFrame(
        pixels=pixels,
        gray=gray,
        spacing=find_spacing(header, frame_index),
        pixel_aspect=find_pixel_aspect(header, frame_index),
        orientation=find_orientation(header, frame_index),
        frame_rate=find_frame_rate(header),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _IndexedValues:
    pixels: np.ndarray  # (rows, columns) uint8 or uint16
    values: np.ndarray  # (indices,) float64, the modality value of each index
    is_padding: np.ndarray  # (indices,) bool
    scale: LinearScale | None = None  # what gives `values`, where it is as simple as that
    quantization_step: float | None = None


def _index_values(stored_values: np.ndarray, header: Dataset, frame_index: int) -> _IndexedValues:
    transformation = find_modality_transformation(header, frame_index)
    values, pixels = every_value_once(stored_values)
    scale: LinearScale | None = None
    if isinstance(pixels, EllipsisType):
        values, pixels = np.unique(stored_values, return_inverse=True)
        if len(values) > INDICES_MAX:
            return _quantize(stored_values, header, frame_index)
    elif not isinstance(transformation, LookupTable):
        rescale = transformation or Rescale(1.0, 0.0)
        scale = LinearScale(int(values[0]), rescale.slope, rescale.intercept)
    return _IndexedValues(
        pixels=pixels.reshape(stored_values.shape).astype(_dtype_for(len(values))),
        values=apply_modality_lut(values, header, frame_index).astype(np.float64),
        is_padding=is_padding(values, header),
        scale=scale,
    )


def _quantize(stored_values: np.ndarray, header: Dataset, frame_index: int) -> _IndexedValues:
    """Spread the indices evenly over the values that are picture; 0 is the padding."""
    modality_values = apply_modality_lut(stored_values, header, frame_index).astype(np.float64)
    padding = is_padding(stored_values, header)
    picture = modality_values[~padding & np.isfinite(modality_values)]
    low, high = (float(picture.min()), float(picture.max())) if picture.size else (0.0, 0.0)
    require_finite_span(low, high)
    step = (high - low) / (INDICES_MAX - 2) or 1.0
    # Infinity is drawn as the nearest end, as by every window.
    steps = np.rint((np.clip(modality_values, low, high) - low) / step)
    pixels = np.where(padding, 0, 1 + np.nan_to_num(steps)).astype(np.uint16)
    is_first = np.arange(INDICES_MAX) == 0
    values = low + (np.arange(INDICES_MAX) - 1) * step
    return _IndexedValues(pixels, values, is_first, quantization_step=step)


def _dtype_for(indices: int) -> type[np.unsignedinteger]:
    return np.uint8 if indices <= 1 << 8 else np.uint16


def _find_units(header: Dataset, frame_index: int, modality: Modality | None) -> str | None:
    """Return HU where a CT's values are that; a CT that says nothing of them is (PS3.3 C.8.2.1)."""
    transformation = find_modality_transformation(header, frame_index)
    if modality is not Modality.CT or transformation is None:
        return None
    if isinstance(transformation, LookupTable):
        units = find_value(find_items(header, "ModalityLUTSequence")[0], "ModalityLUTType")
    else:
        macro = find_macro(header, frame_index, "PixelValueTransformationSequence")
        units = find_value(macro, "RescaleType") or "HU"
    return "HU" if units == "HU" else None


def _offer_vois(
    stored_values: np.ndarray,
    header: Dataset,
    frame_index: int,
    request: WindowRequest,
    presets: Mapping[str, VoiWindow],
) -> tuple[list[tuple[str, Voi]], int, str]:
    """Return names and transformations, which of them is the renderer's, and its source."""
    own = find_own_vois(header, frame_index)
    offered = [(_name_own(voi, number), voi) for number, voi in enumerate(own, start=1)]
    offered += [(name, Voi(f"preset {name}", window)) for name, window in presets.items()]
    if not own:
        modality_values = apply_modality_lut(stored_values, header, frame_index)
        padding = is_padding(stored_values, header)
        offered.append(("percentiles", percentile_voi(modality_values[~padding])))

    # The object's own, then percentiles, unless the request names a window.
    chosen = choose_voi(header, frame_index, request) or offered[-1][1]
    for place, (_, voi) in enumerate(offered):
        if chosen.lut is not None and voi.lut is not None:
            return offered, place, chosen.source
        if chosen.window == voi.window and chosen.function == voi.function:
            return offered, place, chosen.source
    return [(chosen.source, chosen), *offered], 0, chosen.source


def _name_own(voi: Voi, number: int) -> str:
    return voi.explanation or ("object" if number == 1 else f"object {number}")


def _draw_table(values: np.ndarray, voi: Voi) -> np.ndarray | None:
    if voi.lut is None:
        return None
    return apply_voi(np.nan_to_num(values, posinf=_FARTHEST, neginf=-_FARTHEST), voi)


def _find_ranges(flags: np.ndarray) -> tuple[tuple[int, int], ...]:
    """Return the runs of True in ``(n,)`` bool as first and last place."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False]))))
    return tuple((int(first), int(end) - 1) for first, end in edges.reshape(-1, 2))
