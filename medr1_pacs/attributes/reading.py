"""A data set as attributes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset

from medr1_pacs.attributes.elements import clean_text, converter_of, raw_values, raw_values_at
from medr1_pacs.attributes.listed import INDEXED_KEYWORDS, MAX_DEPTH, MAX_ITEMS, NESTED_KEYWORDS
from medr1_pacs.attributes.phantom import (
    PHANTOM_ELEMENTS,
    PHANTOM_PRIVATE_CREATOR,
    PHANTOM_PRIVATE_GROUP,
)

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


def read_attributes(dataset: Dataset) -> dict[str, Any]:
    """Index a data set: JSON values of `INDEXED_KEYWORDS`, functional groups and phantom marks.

    Never raises: what is malformed is absent. IS, US and the like become int, DS and the like
    float, a single value stands by itself, several make a list, a sequence a list of mappings.
    """
    attributes = _read_keywords(dataset, INDEXED_KEYWORDS, depth=0)
    for keyword, value in _read_functional_groups(dataset):
        attributes.setdefault(keyword, value)
    return attributes | _read_phantom(dataset)


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
    convert = converter_of(keyword)
    converted = [convert(value) for value in raw_values(dataset, keyword)]
    # one bad value of several would shift the others: the element is absent as a whole
    if any(value is None for value in converted) or all(value == "" for value in converted):
        return None
    return converted[0] if len(converted) == 1 else converted


def _items(dataset: Dataset, keyword: str) -> list[Dataset]:
    """Return the items of a sequence, none where it is absent or does not parse."""
    try:
        value = dataset[keyword].value if keyword in dataset else None
        return [item for item in value[:MAX_ITEMS] if isinstance(item, Dataset)] if value else []
    except Exception:  # noqa: BLE001 - a hostile sequence raises anything, recursion too
        return []


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
        values = raw_values_at(dataset, block.get_tag(offset), "LO")
        if len(values) == 1 and (text := clean_text(values[0])):
            marks[keyword] = text
    return marks
