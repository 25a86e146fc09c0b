"""Which side of the patient each edge of a picture is (PS3.3 C.7.6.1.1.1, C.7.6.2.1.1)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pydicom import Dataset

from medr1_pacs.rendering.functional_groups import (
    find_macro,
    find_numbers,
    find_texts,
    find_value,
)

_POSITIVE, _NEGATIVE = "LPH", "RAF"  # of the patient's x, y and z axis
_OPPOSITE = str.maketrans(_POSITIVE + _NEGATIVE, _NEGATIVE + _POSITIVE)
_OBLIQUE = 0.35  # sine of some 20 degrees: from there on a second letter is worth saying


@dataclass(frozen=True, slots=True)
class Orientation:
    """Letters of the patient's sides, as L, R, A, P, H, F, or two where the picture is oblique."""

    left: str
    right: str
    top: str
    bottom: str


def find_orientation(header: Dataset, frame_index: int = 0) -> Orientation | None:
    """Return the sides of one frame (from 0); None where the object does not say them.

    Image Orientation (Patient) is exact and comes before Patient Orientation, which projections
    have. Animals have other words for their sides, and none here.
    """
    if find_value(header, "AnatomicalOrientationType") == "QUADRUPED":
        return None
    plane = find_macro(header, frame_index, "PlaneOrientationSequence")
    cosines = find_numbers(plane, "ImageOrientationPatient")
    numbers = [number for number in cosines if number is not None]
    if len(cosines) == len(numbers) == 6:
        right, bottom = _letters(numbers[:3]), _letters(numbers[3:])
    else:
        words = find_texts(header, "PatientOrientation")
        if len(words) != 2 or not all(re.fullmatch("[LRAPHF]{1,3}", word) for word in words):
            return None
        right, bottom = words
    if not right or not bottom:
        return None
    return Orientation(
        left=right.translate(_OPPOSITE),
        right=right,
        top=bottom.translate(_OPPOSITE),
        bottom=bottom,
    )


def _letters(direction: Sequence[float]) -> str:
    """Return where a direction points, the main side first; nothing for no direction."""
    sides = [
        (abs(cosine), positive if cosine > 0 else negative)
        for cosine, positive, negative in zip(direction, _POSITIVE, _NEGATIVE, strict=True)
    ]
    return "".join(side for size, side in sorted(sides, reverse=True)[:2] if size >= _OBLIQUE)
