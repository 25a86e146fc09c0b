"""Which checkpoint's modality a series is, by Modality and SOP class; or why none."""

from __future__ import annotations

from collections.abc import Sequence

from pydicom.uid import UID

from medr1_pacs.attributes.values import Attributes, codes_of, values_of
from medr1_pacs.records.words import Coverage, Modality
from medr1_pacs.routing.synonyms import Synonyms

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


def find_modality_code(instances: Sequence[Attributes]) -> tuple[str | None, str]:
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


def modality_of(
    code: str | None, element: str, instances: Sequence[Attributes], synonyms: Synonyms
) -> tuple[Modality | None, str]:
    """Return the modality of a code, and one sentence: the elements that decided."""
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


def coverage_of(
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
