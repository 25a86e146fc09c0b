"""What a series shows, as far as its header settles it."""

from __future__ import annotations

import math
from collections.abc import Iterable

from medr1_pacs.attributes.values import (
    Attributes,
    codes_of,
    items_of,
    number_of,
    slice_normal,
    values_of,
)
from medr1_pacs.routing.synonyms import Synonyms

MAX_TILT_DEGREES = 20.0
"""A slice whose normal is nearer than this to a main axis of the patient counts as that plane."""

_USING_SUBSTANCE = frozenset({"SCT:424361007", "SRT:G-C350"})


def anatomy_of(attributes: Attributes, synonyms: Synonyms) -> str | None:
    """Return our word: by code first, in the specimen before the image, then by Body Part."""
    specimens = items_of(attributes.get("SpecimenDescriptionSequence"))
    for source in (*specimens, attributes):
        for keyword in ("PrimaryAnatomicStructureSequence", "AnatomicRegionSequence"):
            codes = codes_of(source.get(keyword))
            words = {synonyms.anatomy_codes.get(code) for code in codes}
            if len(words) == 1 and (word := words.pop()):
                return word
    body_part = " ".join(str(attributes.get("BodyPartExamined", "")).replace("_", " ").split())
    return synonyms.anatomy_words.get(body_part)


def plane_of(attributes: Attributes) -> str | None:
    """Return axial, coronal or sagittal within `MAX_TILT_DEGREES`, else oblique."""
    normal = slice_normal(attributes)
    if normal is None:
        return None
    # patient axes run left, posterior, head: PS3.3 C.7.6.2.1.1
    for component, plane in zip(normal, ("sagittal", "coronal", "axial"), strict=True):
        if abs(component) >= math.cos(math.radians(MAX_TILT_DEGREES)):
            return plane
    return "oblique"


_CONTRASTS = {
    "T1": "T1-weighted",
    "T2": "T2-weighted",
    "FLUID_ATTENUATED": "T2 FLAIR",
    "DIFFUSION": "diffusion-weighted",
    "PROTON_DENSITY": "PD-weighted",
}


def weighting_of(attributes: Attributes) -> str | None:
    """Return the weighting of an MR slice where header values leave no doubt.

    Acquisition Contrast (0008,9209) says it outright. Otherwise only spin echoes with textbook
    times (ms) are named; gradient echoes, echo planar and short inversions stay unknown.
    """
    echo, repetition = number_of(attributes, "EchoTime"), number_of(attributes, "RepetitionTime")
    inversion, b_value = (
        number_of(attributes, "InversionTime"),
        number_of(attributes, "DiffusionBValue"),
    )
    image_type = values_of(attributes.get("ImageType"))
    if {"ADC", "FA", "TRACEW"} & set(image_type):
        return "diffusion-weighted" if "TRACEW" in image_type else None  # ADC and FA are maps
    contrast = _CONTRASTS.get(str(attributes.get("AcquisitionContrast")))
    if contrast == "T2 FLAIR" and echo is not None and echo < 70:
        return None  # a fluid attenuated T1
    if contrast:
        return contrast
    if b_value:
        return "diffusion-weighted" if b_value >= 500 else None  # s/mm2
    sequence = set(values_of(attributes.get("ScanningSequence")))
    if not sequence & {"SE", "IR"} or sequence & {"GR", "EP"}:
        return None
    if echo is None or repetition is None:
        return None
    if inversion or "IR" in sequence:
        is_flair = inversion is not None and 1500 <= inversion <= 3500
        return "T2 FLAIR" if is_flair and echo >= 70 and repetition >= 4000 else None
    if echo <= 30 and 200 <= repetition <= 900:
        return "T1-weighted"
    if echo >= 80 and repetition >= 2000:
        return "T2-weighted"
    if echo <= 40 and repetition >= 2000:
        return "PD-weighted"
    return None


def stain_of(attributes: Attributes, synonyms: Synonyms) -> str | None:
    """Return the stain that the specimen preparation names; None for none, several or unknown."""
    substances = {
        code
        for specimen in items_of(attributes.get("SpecimenDescriptionSequence"))
        for step in items_of(specimen.get("SpecimenPreparationSequence"))
        for item in items_of(step.get("SpecimenPreparationStepContentItemSequence"))
        if _USING_SUBSTANCE & set(codes_of(item.get("ConceptNameCodeSequence")))
        for code in codes_of(item.get("ConceptCodeSequence"))
    }
    known = {synonyms.stain_codes[code] for code in substances if code in synonyms.stain_codes}
    if known == {"hematoxylin", "eosin"}:
        return "H&E"
    special = known - {"hematoxylin"}  # the usual counterstain
    return special.pop() if len(special) == 1 and special != {"eosin"} else None


def agreed(words: Iterable[str | None]) -> str | None:
    """Return the word that every instance gives, else None."""
    found = set(words)
    return found.pop() if len(found) == 1 else None
