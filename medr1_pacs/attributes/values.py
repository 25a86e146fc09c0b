"""What decisions ask of indexed attributes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

Attributes = Mapping[str, Any]
"""DICOM keyword -> JSON value: str, int, float, a list of them, or for a sequence a list of
mappings. Absent and empty elements are not in the mapping."""

_SCHEMES = {"SNOMED-RT": "SRT", "99SDM": "SRT", "SNM3": "SRT", "2.16.840.1.113883.6.96": "SCT"}


def codes_of(value: object) -> tuple[str, ...]:
    """Return the codes of an indexed code sequence as `scheme:value` (`SCT:69536005`), in order."""
    items = value if isinstance(value, list) else []
    return tuple(
        f"{_SCHEMES.get(scheme, scheme)}:{item['CodeValue']}"
        for item in items
        if isinstance(item, Mapping) and item.get("CodeValue")
        for scheme in [str(item.get("CodingSchemeDesignator", ""))]
    )


def items_of(value: object) -> tuple[Attributes, ...]:
    """Return the items of an indexed sequence, none where it is absent."""
    items = value if isinstance(value, list) else []
    return tuple(item for item in items if isinstance(item, Mapping))


def values_of(value: object) -> tuple[Any, ...]:
    """Return an indexed value as a tuple: empty where absent, one for a single value."""
    if value is None:
        return ()
    return tuple(value) if isinstance(value, list) else (value,)


def number_of(attributes: Attributes, keyword: str) -> float | None:
    """Return an indexed value that is one number; None where it is absent, a text or several."""
    value = attributes.get(keyword)
    return float(value) if isinstance(value, (int, float)) else None


def slice_normal(attributes: Attributes) -> tuple[float, float, float] | None:
    """Return the unit normal of Image Orientation (Patient), row x column; None if unusable."""
    orientation = values_of(attributes.get("ImageOrientationPatient"))
    if len(orientation) != 6:
        return None
    (a, b, c), (d, e, f) = orientation[:3], orientation[3:]
    normal = (b * f - c * e, c * d - a * f, a * e - b * d)
    length = math.hypot(*normal)
    # direction cosines of a rigid slice are orthonormal; anything else says nothing
    if not 0.9 <= length <= 1.1:
        return None
    return (normal[0] / length, normal[1] / length, normal[2] / length)
