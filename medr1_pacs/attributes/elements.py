"""The bytes of one element -> values, capped and clean; what is malformed is absent."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable
from typing import Any

from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset

from medr1_pacs.attributes.listed import MAX_TEXT, MAX_VALUES

_NUMBER_FORMATS = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d"}
_INTEGER_VRS = frozenset({"IS", "US", "SS", "UL", "SL"})
_FLOAT_VRS = frozenset({"DS", "FL", "FD"})
_NO_CONTRAST = frozenset(
    {"NO", "NONE", "NIL", "N", "NA", "N/A", "0", "WITHOUT", "NO CONTRAST", "UNENHANCED", "NATIVE"}
)


def raw_values(dataset: Dataset, keyword: str) -> list[Any]:
    """Return the values of an element by its keyword, as `raw_values_at` does."""
    tag = tag_for_keyword(keyword)
    return raw_values_at(dataset, tag, dictionary_VR(keyword)) if tag is not None else []


def raw_values_at(dataset: Dataset, tag: int, vr: str) -> list[Any]:
    """Return the values of an element as text or numbers, at most `MAX_VALUES`."""
    if tag not in dataset:
        return []
    element: Any = dataset.get_item(tag)
    value: Any = element.value
    if isinstance(value, bytes):
        is_little_endian = True
        if isinstance(element, RawDataElement):
            is_little_endian = element.is_little_endian
            vr = element.VR if element.VR not in (None, "UN") else vr
        return _decode(value, vr, is_little_endian)
    if value is None or value == "":
        return []
    if isinstance(value, (str, int, float)):
        return [value]
    return list(value[:MAX_VALUES]) if hasattr(value, "__getitem__") else []


def _decode(value: bytes, vr: str, is_little_endian: bool) -> list[Any]:
    if number_format := _NUMBER_FORMATS.get(vr.split(" ")[0]):  # "US or SS"
        size = struct.calcsize(number_format)
        count = min(len(value) // size, MAX_VALUES)
        order = "<" if is_little_endian else ">"
        return list(struct.unpack_from(f"{order}{count}{number_format}", value))
    text = value[: MAX_VALUES * MAX_TEXT].decode("latin-1").strip(" \0")
    return text.split("\\")[:MAX_VALUES] if text else []


def converter_of(keyword: str) -> Callable[[Any], Any]:
    """Return what makes a raw value of an element a JSON value, or None where it is malformed."""
    if keyword in _SPECIAL:
        return _SPECIAL[keyword]
    vr = dictionary_VR(keyword)
    if vr in _INTEGER_VRS:
        return _integer
    if vr in _FLOAT_VRS:
        return _float
    return {"CS": _code_string, "UI": _uid}.get(vr, clean_text)


def _float(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _integer(value: Any) -> int | None:
    number = _float(value)
    # 2**53: beyond it a JSON reader would round
    return int(number) if number is not None and number == int(number) < 2**53 else None


def clean_text(value: Any) -> str | None:
    """Keep what can be printed, up to `MAX_TEXT` characters."""
    text = "".join(c for c in str(value)[: 2 * MAX_TEXT].strip(" \0") if c.isprintable())
    return text[:MAX_TEXT]


def _code_string(value: Any) -> str | None:
    """Keep what a CS may be: capitals, digits, space, underscore, 16 characters (PS3.5 6.2)."""
    return re.sub(r"[^A-Z0-9 _]", "", str(value)[:MAX_TEXT].upper()).strip()[:16]


def _uid(value: Any) -> str | None:
    text = str(value).strip(" \0")
    return text if re.fullmatch(r"[0-9.]{1,64}", text) else None


def _contrast_agent(value: Any) -> str | None:
    """Keep only that an agent is named, for it is free text; "NONE" and the like are absent."""
    text = str(value)[:MAX_TEXT].strip(" \0").upper()
    return "PRESENT" if text and text not in _NO_CONTRAST else None


def _contrast_route(value: Any) -> str | None:
    """Reduce the free text of a route to INTRAVENOUS (alone or among others), ORAL or OTHER."""
    text = str(value)[:MAX_TEXT].upper().replace(".", "")
    words = set(re.split(r"[^A-Z]+", text)) - {""}
    if "INTRAVENOUS" in text or "IV" in words:
        return "INTRAVENOUS"
    if "ORAL" in text or "PO" in words:
        return "ORAL"
    return "OTHER" if words else None


_SPECIAL: dict[str, Callable[[Any], Any]] = {
    "ContrastBolusAgent": _contrast_agent,
    "ContrastBolusRoute": _contrast_route,
}
