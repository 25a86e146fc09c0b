"""How large a pixel is and how fast frames follow each other, as far as an object knows."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pydicom import Dataset

from medr1_pacs.rendering.functional_groups import (
    find_items,
    find_macro,
    find_number,
    find_numbers,
    find_value,
)

_PROJECTION_MODALITIES = frozenset({"CR", "DX", "IO", "MG", "PX", "RF", "RG", "XA"})
_CENTIMETERS = 3  # of Physical Units X and Y Direction, PS3.3 C.8.5.5.1.15
_TWO_DIMENSIONAL = 1  # of Region Spatial Format, PS3.3 C.8.5.5.1.1
_FRAME_RATE_MAX = 1000.0
_SIDE_MIN, _SIDE_MAX = 1e-6, 1e6  # mm, or of a ratio; no pixel of any instrument is beyond


class SpacingKind(StrEnum):
    """Where a pixel spacing is true."""

    PATIENT = "patient"
    """In the patient."""
    DETECTOR = "detector"
    """On the detector of a projection: what is before it measures too large."""
    ULTRASOUND_REGION = "ultrasound region"
    """In the patient, within the only region of an ultrasound picture."""


@dataclass(frozen=True, slots=True)
class Spacing:
    """The distance of pixel centers in mm, between rows and between columns; both above 0."""

    rows_mm: float
    columns_mm: float
    kind: SpacingKind


def find_spacing(header: Dataset, frame_index: int = 0) -> Spacing | None:
    """Return the pixel spacing of one frame (from 0); None where lengths cannot be measured.

    In a projection Pixel Spacing is true in the patient only where the object says how it was
    calibrated (PS3.3 10.7.1.3); otherwise it is the detector's.
    """
    pixel = _pair(find_macro(header, frame_index, "PixelMeasuresSequence"), "PixelSpacing")
    imager = _pair(header, "ImagerPixelSpacing")
    is_projection = find_value(header, "Modality") in _PROJECTION_MODALITIES or imager is not None
    is_calibrated = find_value(header, "PixelSpacingCalibrationType") is not None
    if pixel is not None and (is_calibrated or not is_projection):
        return Spacing(*pixel, SpacingKind.PATIENT)
    detector = imager or pixel
    if detector is not None:
        return Spacing(*detector, SpacingKind.DETECTOR)
    return _find_ultrasound_spacing(header)


def _find_ultrasound_spacing(header: Dataset) -> Spacing | None:
    regions = find_items(header, "SequenceOfUltrasoundRegions")
    if len(regions) != 1:
        return None
    (region,) = regions
    if find_number(region, "RegionSpatialFormat") != _TWO_DIMENSIONAL:
        return None
    for keyword in ("PhysicalUnitsXDirection", "PhysicalUnitsYDirection"):
        if find_number(region, keyword) != _CENTIMETERS:
            return None
    rows_cm = abs(find_number(region, "PhysicalDeltaY") or 0.0)
    columns_cm = abs(find_number(region, "PhysicalDeltaX") or 0.0)
    if not _SIDE_MIN <= min(rows_cm, columns_cm) <= max(rows_cm, columns_cm) <= _SIDE_MAX:
        return None
    return Spacing(10 * rows_cm, 10 * columns_cm, SpacingKind.ULTRASOUND_REGION)


def find_pixel_aspect(header: Dataset, frame_index: int = 0) -> float:
    """Return how high a pixel is for its width: by its spacing, else by Pixel Aspect Ratio."""
    spacing = find_spacing(header, frame_index)
    if spacing is not None:
        return spacing.rows_mm / spacing.columns_mm
    ratio = _pair(header, "PixelAspectRatio")
    return ratio[0] / ratio[1] if ratio else 1.0


def find_frame_rate(header: Dataset) -> float | None:
    """Return the frames per second at which an object of several frames is to be shown.

    The recommendation comes before the rate of acquisition (PS3.3 C.7.6.5).
    """
    frame_time_ms = find_number(header, "FrameTime") or 0.0
    for rate in (
        find_number(header, "RecommendedDisplayFrameRate"),
        find_number(header, "CineRate"),
        1000.0 / frame_time_ms if frame_time_ms > 0 else None,
    ):
        if rate is not None and 0 < rate <= _FRAME_RATE_MAX:
            return rate
    return None


def _pair(item: Dataset, keyword: str) -> tuple[float, float] | None:
    numbers = find_numbers(item, keyword)
    if len(numbers) != 2:
        return None
    first, second = numbers
    if first is None or second is None:
        return None
    is_plausible = min(first, second) >= _SIDE_MIN and max(first, second) <= _SIDE_MAX
    return (first, second) if is_plausible else None
