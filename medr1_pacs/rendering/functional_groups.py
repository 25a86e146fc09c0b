"""Find an element of one frame: per frame, shared by all frames, or at the top level.

Enhanced multi-frame objects keep their rescale and windows in functional group macros
(PS3.3 C.7.6.16), classic objects at the top level; readers of this module need not know which.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from typing import Any

from pydicom import Dataset
from pydicom.errors import BytesLengthException

# What pydicom raises when the value of an element cannot be converted, as it does on first use.
_UNCONVERTIBLE = (
    BytesLengthException,
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    NotImplementedError,
    struct.error,
)


def find_macro(header: Dataset, frame_index: int, sequence_keyword: str) -> Dataset:
    """Return the item that holds a macro's elements for one frame.

    Parameters
    ----------
    sequence_keyword
        The macro's sequence, such as ``PixelValueTransformationSequence``.

    Returns
    -------
    pydicom.Dataset
        The macro's only item, or the header itself where no functional group has the macro.
    """
    for groups in _functional_groups(header, frame_index):
        items = find_items(groups, sequence_keyword)
        if items:
            return items[0]
    return header


def _functional_groups(header: Dataset, frame_index: int) -> Iterator[Dataset]:
    per_frame = find_items(header, "PerFrameFunctionalGroupsSequence")
    if frame_index < len(per_frame):
        yield per_frame[frame_index]
    yield from find_items(header, "SharedFunctionalGroupsSequence")[:1]


def find_value(item: Dataset, keyword: str) -> Any:
    """Return an element's value; None if it is absent, empty or unreadable."""
    try:
        value = item.get(keyword)
    except _UNCONVERTIBLE:
        return None
    return None if value == "" else value


def find_items(item: Dataset, keyword: str) -> list[Dataset]:
    """Return the items of a sequence; none if it is absent, empty or unreadable."""
    value = find_value(item, keyword)
    try:
        return [entry for entry in value or () if isinstance(entry, Dataset)]
    except TypeError:  # a single number where a sequence should be
        return []


def find_number(item: Dataset, keyword: str) -> float | None:
    """Return an element's first value if it is a finite number."""
    numbers = find_numbers(item, keyword)
    return numbers[0] if numbers else None


def find_numbers(item: Dataset, keyword: str) -> list[float | None]:
    """Return an element's values in their order, None for each that is no finite number."""
    value = find_value(item, keyword)
    if value is None or isinstance(value, str | bytes):
        return []
    return [_as_number(entry) for entry in (value if hasattr(value, "__iter__") else [value])]


def find_texts(item: Dataset, keyword: str) -> list[str]:
    """Return an element's values as texts in their order."""
    value = find_value(item, keyword)
    if value is None or isinstance(value, str):
        return [value] if value else []
    return [str(entry) for entry in (value if hasattr(value, "__iter__") else [value])]


def _as_number(value: Any) -> float | None:
    try:
        number = float(value)
    except (ValueError, TypeError):
        return None
    return number if math.isfinite(number) else None
