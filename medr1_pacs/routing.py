"""route: which Med-R1 modality a series belongs to, and what it shows; or why there is none.

    attributes of a series -> modality, anatomy, plane, weighting, stain

Pure but for `load_synonyms`, which reads the shipped `routing.toml` and a site's additions. A fact
on which the instances of a series disagree is unknown, as is one that the header does not settle:
a guess here would make a wrong truth later.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom.uid import UID

from medr1_pacs.attributes.values import (
    Attributes,
    codes_of,
    items_of,
    number_of,
    slice_normal,
    values_of,
)
from medr1_pacs.errors import SettingInvalid
from medr1_pacs.records.planned import Route
from medr1_pacs.records.words import Coverage, Modality

PACKAGED_SYNONYMS = Path(__file__).parent / "routing.toml"

MAX_TILT_DEGREES = 20.0
"""A slice whose normal is nearer than this to a main axis of the patient counts as that plane."""


@dataclass(frozen=True, slots=True)
class Synonyms:
    """What a site calls things; see `routing.toml` for each table."""

    anatomy_words: Mapping[str, str]
    """Body Part Examined, upper case -> our word."""
    anatomy_codes: Mapping[str, str]
    """`scheme:value` -> our word."""
    stain_codes: Mapping[str, str]
    fundus_devices: frozenset[str] = frozenset()
    external_camera_is_dermoscopy: bool = False
    unnamed_ophthalmic_camera_is_fundus: bool = False


# PS3.3 C.7.3.1.1.1: Modality (0008,0060) -> the checkpoint that was trained on such pictures.
_ROUTED = {
    "CT": Modality.CT,
    "MR": Modality.MRI,
    "CR": Modality.XRAY,
    "DX": Modality.XRAY,
    "RG": Modality.XRAY,
    "MG": Modality.XRAY,
    "RF": Modality.XRAY,
    "XA": Modality.XRAY,
    "US": Modality.ULTRASOUND,
    "DMS": Modality.DERMOSCOPY,
    "OPT": Modality.OCT,
    "SM": Modality.MICROSCOPY,
    "GM": Modality.MICROSCOPY,
}
_CONDITIONAL = frozenset({"OP", "XC"})

_NOT_ROUTED = {
    "PX": "panoramic dental X-rays have no checkpoint",
    "IO": "intra-oral X-rays have no checkpoint",
    "BMD": "bone densitometry is a measurement, not a picture to read",
    "BDUS": "bone densitometry is a measurement, not a picture to read",
    "IVUS": "intravascular ultrasound has no checkpoint",
    "OCT": "in DICOM this is non-ophthalmic OCT, which has no checkpoint",
    "IVOCT": "intravascular OCT has no checkpoint",
    "OPTENF": "en face OCT pictures are not B-scans",
    "OPTBSV": "a B-scan volume analysis is not a B-scan",
    "ES": "endoscopy has no checkpoint, and is never dermoscopy",
    "NM": "nuclear medicine has no checkpoint",
    "PT": "positron emission tomography has no checkpoint",
}
_NO_PICTURES = {
    "SR", "PR", "KO", "SEG", "RTSTRUCT", "RTDOSE", "RTPLAN", "RTRECORD", "DOC", "PLAN", "REG",
    "FID", "RWV", "AU", "ECG", "EPS", "HD", "ANN", "SMR", "ASMT", "STAIN", "M3D",
}  # fmt: skip

_STORAGE = "1.2.840.10008.5.1.4.1.1."
# PS3.4 B.5: SOP Class UID without the common stem -> the Modality its IOD prescribes.
_SOP_CLASSES = {
    "1": "CR", "1.1": "DX", "1.1.1": "DX", "1.2": "MG", "1.2.1": "MG", "1.3": "IO", "1.3.1": "IO",
    "2": "CT", "2.1": "CT", "2.2": "CT", "3.1": "US", "4": "MR", "4.1": "MR", "4.3": "MR",
    "4.4": "MR", "6.1": "US", "6.2": "US", "12.1": "XA", "12.1.1": "XA", "12.2": "RF",
    "12.2.1": "RF", "13.1.3": "MG", "14.1": "IVOCT", "14.2": "IVOCT", "20": "NM", "66.4": "SEG",
    "77.1.1": "ES", "77.1.2": "GM", "77.1.3": "SM", "77.1.4": "XC", "77.1.5.1": "OP",
    "77.1.5.2": "OP", "77.1.5.4": "OPT", "77.1.5.5": "OP", "77.1.5.6": "OP", "77.1.5.7": "OPTENF",
    "77.1.5.8": "OPTBSV", "77.1.6": "SM", "77.1.7": "DMS", "88.11": "SR", "88.22": "SR",
    "88.33": "SR", "88.34": "SR", "88.59": "KO", "88.67": "SR", "104.1": "DOC", "128": "PT",
    "130": "PT", "481.2": "RTDOSE", "481.3": "RTSTRUCT",
}  # fmt: skip
# Classes that say more than the Modality beside them: the class wins. A dermoscopic photograph is
# one whatever its device called itself; en face pictures often travel as OPT; a segmentation or a
# dose grid may carry the modality of the images it was made from.
_DECISIVE_CLASSES = frozenset({"DMS", "OPTENF", "OPTBSV", "SEG", "SR", "KO", "DOC", "RTDOSE"})

# CID 4202. Slit lamp, external camera and specular microscope are in it too: no fundus.
_FUNDUS_DEVICES = frozenset(
    {"SCT:409898007", "SRT:R-1021A", "SCT:392001008", "SRT:A-00E8A"}
)  # fundus camera, scanning laser ophthalmoscope
# PS3.3 C.8.17.2.1.4: Image Type value 4; autofluorescence and infrared are spelled by vendors.
_FUNDUS_OUTSIDE = {
    "FA": "a fluorescein angiogram",
    "ICG": "an indocyanine green angiogram",
    "AF": "an autofluorescence picture",
    "FAF": "an autofluorescence picture",
    "AUTOFLUORESCENCE": "an autofluorescence picture",
    "IR": "an infrared picture",
    "INFRARED": "an infrared picture",
}
_INFRARED_FILTERS = frozenset({"DCM:111606", "SCT:445169002"})
_USING_SUBSTANCE = frozenset({"SCT:424361007", "SRT:G-C350"})


_SITE_RULES = ("external_camera_is_dermoscopy", "unnamed_ophthalmic_camera_is_fundus")


def load_synonyms(*site_files: Path) -> Synonyms:
    """Read the shipped synonyms and add those of site files, in order.

    Raises `SettingInvalid` with the file and the remedy.
    """
    words: dict[str, str] = {}
    codes: dict[str, str] = {}
    stains: dict[str, str] = {}
    rules: dict[str, bool] = {}
    devices: set[str] = set()
    for path in (PACKAGED_SYNONYMS, *site_files):
        tables = _read_tables(path)
        words |= {value.upper(): word for word, value in _entries(path, tables, "anatomy", "words")}
        codes |= {value: word for word, value in _entries(path, tables, "anatomy", "codes")}
        stains |= {value: word for word, value in _entries(path, tables, "stain", "codes")}
        rules |= _site_rules(path, tables)
        devices |= {value for _, value in _entries(path, tables, "site", "fundus_devices")}
    return Synonyms(words, codes, stains, frozenset(devices), **rules)


def route_series(instances: Sequence[Attributes], synonyms: Synonyms) -> Route:
    """Decide where the instances of one series belong, from their attributes alone."""
    pictures = [a for a in instances if a.get("Rows") and a.get("Columns")]
    code, element = _modality_code(pictures or instances)
    modality, reason = _modality_of(code, element, pictures or instances, synonyms)
    if modality is None:
        return Route(None, reason)
    if not pictures:
        return Route(None, f"Rows is absent in every instance: {element} has no pictures here.")
    # a scout would hide the plane and the weighting of the slices beside it
    slices = [a for a in pictures if "LOCALIZER" not in values_of(a.get("ImageType"))] or pictures
    coverage, why = _coverage_of(code, pictures)
    anatomy = _agreed(_anatomy_of(a, synonyms) for a in slices)
    is_microscopy = modality is Modality.MICROSCOPY
    return Route(
        modality,
        f"{reason[:-1]}; {why}." if why else reason,
        # PS3.3 C.8.11.7: Body Part Examined of a mammogram is BREAST, whatever is in the element
        anatomy="breast" if code == "MG" else anatomy,
        plane=_agreed(_plane_of(a) for a in slices),
        weighting=_agreed(_weighting_of(a) for a in slices) if code == "MR" else None,
        stain=_agreed(_stain_of(a, synonyms) for a in slices) if is_microscopy else None,
        coverage=coverage,
    )


def _modality_code(instances: Sequence[Attributes]) -> tuple[str | None, str]:
    """Return the series' Modality, by SOP class where that knows better, and what said so."""
    found = sorted({_instance_modality(a) for a in instances})
    if not found:
        return None, "Modality is absent"
    if len(found) > 1:
        return None, "Modality differs inside the series: " + ", ".join(e for _, e in found)
    code, element = found[0]
    return code or None, element


def _instance_modality(attributes: Attributes) -> tuple[str, str]:
    declared = str(attributes.get("Modality", ""))
    uid = str(attributes.get("SOPClassUID", ""))
    by_class = _SOP_CLASSES.get(uid.removeprefix(_STORAGE), "") if uid.startswith(_STORAGE) else ""
    known = declared in _ROUTED or declared in _NOT_ROUTED or declared in _NO_PICTURES
    knows_better = by_class in _DECISIVE_CLASSES or not (known or declared in _CONDITIONAL)
    if by_class and by_class != declared and knows_better:
        return by_class, f"SOP Class UID {UID(uid).name} (Modality {declared or 'absent'})"
    return declared, f"Modality {declared}" if declared else "Modality is absent"


def _modality_of(
    code: str | None, element: str, instances: Sequence[Attributes], synonyms: Synonyms
) -> tuple[Modality | None, str]:
    if code is None:
        return None, f"{element}: no route."
    if code == "OP":
        return _route_ophthalmic_photograph(element, instances, synonyms)
    if code == "XC":
        if synonyms.external_camera_is_dermoscopy:
            return Modality.DERMOSCOPY, f"{element} is dermoscopy by a rule of this site."
        return None, f"{element}: photographs need a site rule to count as dermoscopy."
    if code in _ROUTED:
        return _ROUTED[code], f"{element} goes to {_ROUTED[code]}."
    if code in _NO_PICTURES:
        return None, f"{element}: such objects hold no pictures to ask about."
    return None, f"{element}: {_NOT_ROUTED.get(code, 'this modality has no checkpoint')}."


def _route_ophthalmic_photograph(
    element: str, instances: Sequence[Attributes], synonyms: Synonyms
) -> tuple[Modality | None, str]:
    devices = {c for a in instances for c in codes_of(a.get("AcquisitionDeviceTypeCodeSequence"))}
    if not devices:
        if synonyms.unnamed_ophthalmic_camera_is_fundus:
            return Modality.FUNDUS, f"{element} without a device is Fundus by a rule of this site."
        return None, (
            f"{element} without Acquisition Device Type Code Sequence: anterior segment or "
            "unknown device."
        )
    names = ", ".join(sorted(devices))
    if devices <= _FUNDUS_DEVICES | synonyms.fundus_devices:
        return Modality.FUNDUS, f"{element} by a fundus device ({names}) goes to Fundus."
    return None, (
        f"{element} by device {names} (Acquisition Device Type Code Sequence): anterior segment "
        "or unknown device."
    )


def _coverage_of(
    code: str | None, pictures: Sequence[Attributes]
) -> tuple[Coverage | None, str | None]:
    """Return the coverage that overrides every question's own, and why; (None, None) leaves it."""
    if code in ("RF", "XA"):
        return Coverage.OUT, "no fluoroscopy or angiography was in the training lists"
    if code == "OP":
        for attributes in pictures:
            if kind := outside_fundus_training(attributes):
                return Coverage.OUT, f"{kind}, and only color photographs were in training"
    return None, None


def outside_fundus_training(attributes: Attributes) -> str | None:
    """Say what an ophthalmic photograph is if not a color photograph of the fundus, and by what."""
    for value in values_of(attributes.get("ImageType")):
        if value in _FUNDUS_OUTSIDE:
            return f"Image Type {value} is {_FUNDUS_OUTSIDE[value]}"
    if "ContrastBolusAgentSequence" in attributes or "ContrastBolusAgent" in attributes:
        return "Contrast/Bolus Agent makes it an angiogram"
    for keyword in ("LightPathFilterTypeStackCodeSequence", "ImagePathFilterTypeStackCodeSequence"):
        if _INFRARED_FILTERS & set(codes_of(attributes.get(keyword))):
            return "the filter makes it an infrared picture"
    if attributes.get("SamplesPerPixel") == 1 and "PALETTE" not in str(
        attributes.get("PhotometricInterpretation", "")
    ):
        return "Samples per Pixel 1 makes it a monochrome picture"
    return None


def _anatomy_of(attributes: Attributes, synonyms: Synonyms) -> str | None:
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


def _plane_of(attributes: Attributes) -> str | None:
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


def _weighting_of(attributes: Attributes) -> str | None:
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


def _stain_of(attributes: Attributes, synonyms: Synonyms) -> str | None:
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


def _agreed(words: Iterable[str | None]) -> str | None:
    """Return the word that every instance gives, else None."""
    found = set(words)
    return found.pop() if len(found) == 1 else None


def _read_tables(path: Path) -> dict[str, Any]:
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingInvalid(f"{path}: not a readable TOML file ({error}); correct it.") from error
    if unknown := sorted(set(tables) - {"anatomy", "stain", "site"}):
        raise SettingInvalid(
            f"{path}: unknown table {unknown[0]}; use anatomy.words, anatomy.codes, stain.codes "
            "or site."
        )
    return tables


def _site_rules(path: Path, tables: Mapping[str, Any]) -> dict[str, bool]:
    rules = {key: value for key, value in tables.get("site", {}).items() if key != "fundus_devices"}
    for key, value in rules.items():
        if key not in _SITE_RULES or not isinstance(value, bool):
            raise SettingInvalid(
                f"{path}: site.{key} is not a rule; use {' or '.join(_SITE_RULES)}, each true or "
                "false, or fundus_devices."
            )
    return rules


def _entries(
    path: Path, tables: Mapping[str, Any], table: str, kind: str
) -> Iterable[tuple[str, str]]:
    """Yield (word, synonym) pairs; a plain list yields its own key as the word."""
    group = tables.get(table, {}).get(kind, {})
    for word, values in (group if isinstance(group, dict) else {kind: group}).items():
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise SettingInvalid(f"{path}: {table}.{kind}.{word} must be a list of strings.")
        for value in values:
            yield word, value
