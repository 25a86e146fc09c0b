"""Render one frame: the steps of this package in their order."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from types import EllipsisType

import numpy as np
from pydicom import Dataset

from medr1_pacs.errors import PixelDataUnusable
from medr1_pacs.records.planned import VoiWindow, WindowRequest
from medr1_pacs.rendering.color import draw_color, draw_palette, quote_defined_term
from medr1_pacs.rendering.functional_groups import find_value
from medr1_pacs.rendering.modality_lut import apply_modality_lut
from medr1_pacs.rendering.padding import is_padding
from medr1_pacs.rendering.presentation import apply_presentation
from medr1_pacs.rendering.resize import MODEL_PICTURE_PX, TRAINED_PICTURE_PX
from medr1_pacs.rendering.voi import PERCENTILES, apply_voi, choose_voi, percentile_voi

RENDERER_VERSION = "1"
"""Raised whenever the same frame and request would give other pixels; part of every recipe."""


@dataclass(frozen=True, slots=True, eq=False)
class DisplayFrame:
    """What a reader would see of one frame, at its native size."""

    display: np.ndarray
    """``(rows, columns)`` uint8, or ``(rows, columns, 3)`` uint8 RGB."""
    window: VoiWindow | None
    """The window that was applied; None for a VOI LUT and for colour."""
    window_source: str | None
    """``preset NAME``, ``object``, ``object sigmoid``, ``object linear_exact``, ``object lut``,
    ``fallback NAME`` or ``percentiles``; None for colour."""


def render_frame(
    stored_values: np.ndarray,
    header: Dataset,
    frame_index: int,
    request: WindowRequest,
    photometric_interpretation: str | None = None,
) -> DisplayFrame:
    """Turn the stored values of one frame into display values.

    Parameters
    ----------
    stored_values
        ``(rows, columns)`` or ``(rows, columns, 3)``, as a decoder gives them.
    header
        The object's elements; its pixel data is not looked at.
    frame_index
        From 0; chooses the functional groups of an enhanced object.
    photometric_interpretation
        Of `stored_values`, where decoding changed it; the header's if None.

    Raises
    ------
    PixelDataUnusable
        The values cannot be drawn by what the header says of them.
    """
    photometric = photometric_interpretation or str(find_value(header, "PhotometricInterpretation"))
    if stored_values.ndim == 3 and stored_values.shape[2] == 3:
        return DisplayFrame(draw_color(stored_values, header, photometric), None, None)
    if stored_values.ndim == 2 and photometric == "PALETTE COLOR":
        return DisplayFrame(draw_palette(stored_values, header), None, None)
    if stored_values.ndim == 2 and photometric in ("MONOCHROME1", "MONOCHROME2"):
        return _render_grayscale(stored_values, header, frame_index, request, photometric)
    raise PixelDataUnusable(
        f"Photometric Interpretation {quote_defined_term(photometric)} does not fit pixel data of"
        f" shape {stored_values.shape}"
    )


def _render_grayscale(
    stored_values: np.ndarray,
    header: Dataset,
    frame_index: int,
    request: WindowRequest,
    photometric_interpretation: str,
) -> DisplayFrame:
    # Each step maps a value without regard to its place, so it is applied once to every value
    # that can occur and looked up for the pixels: three to four times faster than by pixel.
    values, pixels = every_value_once(stored_values)
    modality_values = apply_modality_lut(values, header, frame_index)
    padding = is_padding(values, header)

    voi = choose_voi(header, frame_index, request)
    if voi is None:
        voi = percentile_voi(modality_values[pixels][~padding[pixels]])
    display = apply_voi(modality_values, voi)
    display = apply_presentation(display, header, photometric_interpretation)
    display = np.where(padding, np.uint8(0), display)
    return DisplayFrame(display[pixels], voi.window, voi.source)


def every_value_once(stored_values: np.ndarray) -> tuple[np.ndarray, np.ndarray | EllipsisType]:
    """Return values and an index such that ``values[index]`` is `stored_values`.

    The values are consecutive integers, at most 65,536. Values that span more than 16 bits, and
    floats, are returned as they are.
    """
    if stored_values.dtype.kind not in "iu" or stored_values.size == 0:
        return stored_values, ...
    lowest, highest = int(stored_values.min()), int(stored_values.max())
    if highest - lowest > 0xFFFF:
        return stored_values, ...
    values = np.arange(lowest, highest + 1).astype(stored_values.dtype)
    return values, stored_values.astype(np.int64) - lowest


def recipe_of(request: WindowRequest) -> str:
    """Name all that shapes a model picture, but for the instance and the frame.

    Returns
    -------
    str
        SHA-256, hex, over canonical JSON: equal requests have equal recipes, 40 and 40.0 alike.
    """
    recipe = {
        "renderer_version": RENDERER_VERSION,
        **request.to_json(),
        "percentiles": PERCENTILES,
        "sizes_px": [TRAINED_PICTURE_PX, MODEL_PICTURE_PX],
        "resampling": "bicubic",
    }
    canonical = json.dumps(recipe, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
