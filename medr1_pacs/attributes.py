"""The header attributes that decisions may read: a closed list, so that no identity slips in.

Routing, selection and question conditions see an instance only as `Attributes`: the elements named
here, as plain JSON values. Names, identifiers, dates of birth and free text (descriptions,
comments) are not in the list; adding an element to it is a decision about privacy.

Headers come from anywhere: a value that does not parse is absent, counts and lengths are capped,
and nothing here raises. Values are decoded from their bytes, not by pydicom's conversion: that one
warns with the value in the text, and a sloppy value may be a name.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset

Attributes = Mapping[str, Any]
"""DICOM keyword -> JSON value: str, int, float, a list of them, or for a sequence a list of
mappings. Absent and empty elements are not in the mapping."""

PHANTOM_PRIVATE_GROUP = 0x0099
PHANTOM_PRIVATE_CREATOR = "MEDR1 PHANTOM 1"
PHANTOM_ELEMENTS = {0x01: "PhantomMarkerQuadrant", 0x02: "PhantomMarkerShape"}
"""Our synthetic studies say in a private block what their marker is: the truth of the demo
questions, which the model never sees."""

MAX_VALUES = 16
"""Values kept of a multi-valued element."""
MAX_ITEMS = 64
"""Items kept of a sequence; a specimen's preparation is the longest that we read."""
MAX_DEPTH = 5
"""Sequences in sequences: specimen > preparation > step > content item > code."""
MAX_TEXT = 64
"""Characters kept of a text."""

INDEXED_KEYWORDS: tuple[str, ...] = (
    # what kind of object it is
    "SOPClassUID", "Modality", "ImageType", "ConversionType", "PresentationIntentType",
    "BurnedInAnnotation", "Manufacturer", "ManufacturerModelName",
    # what it shows, from where
    "BodyPartExamined", "AnatomicRegionSequence", "PrimaryAnatomicStructureSequence",
    "Laterality", "ImageLaterality", "FrameLaterality",
    "ViewPosition", "ViewCodeSequence", "PatientOrientation",
    # where it lies
    "InstanceNumber", "AcquisitionNumber", "TemporalPositionIdentifier",
    "ImageOrientationPatient", "ImagePositionPatient", "SliceLocation",
    "SliceThickness", "SpacingBetweenSlices", "PixelSpacing", "ImagerPixelSpacing",
    # how its pixels are stored and meant to be seen
    "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation",
    "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation",
    "RescaleIntercept", "RescaleSlope", "RescaleType", "WindowCenter", "WindowWidth",
    "VOILUTFunction", "PresentationLUTShape", "PixelIntensityRelationship",
    # contrast medium; see `_contrast_agent` and `_contrast_route` for what is kept of the two texts
    "ContrastBolusAgent", "ContrastBolusRoute", "ContrastBolusAgentSequence",
    "ContrastBolusAdministrationRouteSequence",
    # CT and MR
    "KVP", "MagneticFieldStrength", "ScanningSequence", "SequenceVariant", "MRAcquisitionType",
    "AcquisitionContrast", "EchoTime", "RepetitionTime", "InversionTime", "FlipAngle",
    "EchoTrainLength", "DiffusionBValue",
    # ultrasound
    "SequenceOfUltrasoundRegions", "UltrasoundColorDataPresent",
    # ophthalmology
    "AcquisitionDeviceTypeCodeSequence", "LightPathFilterTypeStackCodeSequence",
    "ImagePathFilterTypeStackCodeSequence", "IlluminationTypeCodeSequence",
    # microscopy
    "TotalPixelMatrixColumns", "TotalPixelMatrixRows", "SpecimenLabelInImage",
    "OpticalPathSequence", "SpecimenDescriptionSequence",
)  # fmt: skip
"""Every element of the data set that a decision may read."""

NESTED_KEYWORDS: tuple[str, ...] = (
    "CodeValue", "CodingSchemeDesignator", "ViewModifierCodeSequence",
    "ContrastBolusAdministrationRouteSequence",
    "RegionSpatialFormat", "RegionDataType", "RegionFlags",
    "RegionLocationMinX0", "RegionLocationMinY0", "RegionLocationMaxX1", "RegionLocationMaxY1",
    "IlluminationTypeCodeSequence",
    "AnatomicRegionSequence", "PrimaryAnatomicStructureSequence", "SpecimenPreparationSequence",
    "SpecimenPreparationStepContentItemSequence", "ConceptNameCodeSequence", "ConceptCodeSequence",
)  # fmt: skip
"""What is kept of a sequence's items: codes without their meanings, and the geometry of ultrasound
regions. Specimen identifiers and descriptions are not."""

KNOWN_KEYWORDS = frozenset(INDEXED_KEYWORDS) | frozenset(PHANTOM_ELEMENTS.values())
"""Every key that `read_attributes` can give."""

# Enhanced objects keep these in functional groups; the first frame stands for all (PS3.3 C.7.6.16).
_FUNCTIONAL_GROUPS: tuple[tuple[str, str, str], ...] = (
    ("PixelMeasuresSequence", "PixelSpacing", "PixelSpacing"),
    ("PixelMeasuresSequence", "SliceThickness", "SliceThickness"),
    ("PixelMeasuresSequence", "SpacingBetweenSlices", "SpacingBetweenSlices"),
    ("PlaneOrientationSequence", "ImageOrientationPatient", "ImageOrientationPatient"),
    ("PlanePositionSequence", "ImagePositionPatient", "ImagePositionPatient"),
    ("FrameAnatomySequence", "AnatomicRegionSequence", "AnatomicRegionSequence"),
    ("FrameAnatomySequence", "FrameLaterality", "FrameLaterality"),
    ("FrameVOILUTSequence", "WindowCenter", "WindowCenter"),
    ("FrameVOILUTSequence", "WindowWidth", "WindowWidth"),
    ("PixelValueTransformationSequence", "RescaleIntercept", "RescaleIntercept"),
    ("PixelValueTransformationSequence", "RescaleSlope", "RescaleSlope"),
    ("MRImageFrameTypeSequence", "AcquisitionContrast", "AcquisitionContrast"),
    ("MRTimingAndRelatedParametersSequence", "RepetitionTime", "RepetitionTime"),
    ("MREchoSequence", "EffectiveEchoTime", "EchoTime"),
    ("MRModifierSequence", "InversionTimes", "InversionTime"),
    ("MRDiffusionSequence", "DiffusionBValue", "DiffusionBValue"),
)  # group, element in it, the keyword under which it is indexed

_NUMBER_FORMATS = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d"}
_INTEGER_VRS = frozenset({"IS", "US", "SS", "UL", "SL"})
_FLOAT_VRS = frozenset({"DS", "FL", "FD"})
_NO_CONTRAST = frozenset(
    {"NO", "NONE", "NIL", "N", "NA", "N/A", "0", "WITHOUT", "NO CONTRAST", "UNENHANCED", "NATIVE"}
)
_SCHEMES = {"SNOMED-RT": "SRT", "99SDM": "SRT", "SNM3": "SRT", "2.16.840.1.113883.6.96": "SCT"}


def read_attributes(dataset: Dataset) -> dict[str, Any]:
    """Index a data set: JSON values of `INDEXED_KEYWORDS`, functional groups and phantom marks.

    Never raises: what is malformed is absent. IS, US and the like become int, DS and the like
    float, a single value stands by itself, several make a list, a sequence a list of mappings.
    """
    attributes = _read_keywords(dataset, INDEXED_KEYWORDS, depth=0)
    for keyword, value in _read_functional_groups(dataset):
        attributes.setdefault(keyword, value)
    return attributes | _read_phantom(dataset)


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


def _read_keywords(dataset: Dataset, keywords: Iterable[str], *, depth: int) -> dict[str, Any]:
    values = {keyword: _read(dataset, keyword, depth=depth) for keyword in keywords}
    return {keyword: value for keyword, value in values.items() if value is not None}


def _read(dataset: Dataset, keyword: str, *, depth: int = 0) -> Any:
    """Read one element as a JSON value; None where it is absent, empty or malformed."""
    if dictionary_VR(keyword) == "SQ":
        if depth >= MAX_DEPTH:
            return None
        items = (
            _read_keywords(item, NESTED_KEYWORDS, depth=depth + 1)
            for item in _items(dataset, keyword)
        )
        return [item for item in items if item] or None
    convert = _converter(keyword)
    converted = [convert(value) for value in _raw_values(dataset, keyword)]
    # one bad value of several would shift the others: the element is absent as a whole
    if any(value is None for value in converted) or all(value == "" for value in converted):
        return None
    return converted[0] if len(converted) == 1 else converted


def _items(dataset: Dataset, keyword: str) -> list[Dataset]:
    """Return the items of a sequence, none where it is absent or does not parse."""
    try:
        value = dataset[keyword].value if keyword in dataset else None
        return [item for item in value[:MAX_ITEMS] if isinstance(item, Dataset)] if value else []
    except Exception:  # noqa: BLE001 - a hostile sequence raises whatever struct, codecs or recursion raise
        return []


def _raw_values(dataset: Dataset, keyword: str) -> list[Any]:
    tag = tag_for_keyword(keyword)
    return _raw_values_at(dataset, tag, dictionary_VR(keyword)) if tag is not None else []


def _raw_values_at(dataset: Dataset, tag: int, vr: str) -> list[Any]:
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


def _converter(keyword: str) -> Callable[[Any], Any]:
    if keyword in _SPECIAL:
        return _SPECIAL[keyword]
    vr = dictionary_VR(keyword)
    if vr in _INTEGER_VRS:
        return _integer
    if vr in _FLOAT_VRS:
        return _float
    return {"CS": _code_string, "UI": _uid}.get(vr, _text)


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


def _text(value: Any) -> str | None:
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


def _read_functional_groups(dataset: Dataset) -> Iterator[tuple[str, Any]]:
    for source in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for groups in _items(dataset, source)[:1]:
            for group, element, keyword in _FUNCTIONAL_GROUPS:
                for item in _items(groups, group)[:1]:
                    if (value := _read(item, element)) is not None:
                        yield keyword, value


def _read_phantom(dataset: Dataset) -> dict[str, str]:
    try:
        block = dataset.private_block(PHANTOM_PRIVATE_GROUP, PHANTOM_PRIVATE_CREATOR)
    except Exception:  # noqa: BLE001 - KeyError: no such block; a malformed creator: anything
        return {}
    marks = {}
    for offset, keyword in PHANTOM_ELEMENTS.items():
        values = _raw_values_at(dataset, block.get_tag(offset), "LO")
        if len(values) == 1 and (text := _text(values[0])):
            marks[keyword] = text
    return marks
