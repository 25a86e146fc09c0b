"""A series -> its route."""

from __future__ import annotations

from collections.abc import Sequence

from medr1_pacs.attributes.values import Attributes, values_of
from medr1_pacs.records.planned import Route
from medr1_pacs.records.words import Modality
from medr1_pacs.routing.facts import agreed, anatomy_of, plane_of, stain_of, weighting_of
from medr1_pacs.routing.modalities import coverage_of, find_modality_code, modality_of
from medr1_pacs.routing.synonyms import Synonyms


def route_series(instances: Sequence[Attributes], synonyms: Synonyms) -> Route:
    """Decide where the instances of one series belong, from their attributes alone."""
    pictures = [a for a in instances if a.get("Rows") and a.get("Columns")]
    code, element = find_modality_code(pictures or instances)
    modality, reason = modality_of(code, element, pictures or instances, synonyms)
    if modality is None:
        return Route(None, reason)
    if not pictures:
        return Route(None, f"Rows is absent in every instance: {element} has no pictures here.")
    # a scout would hide the plane and the weighting of the slices beside it
    slices = [a for a in pictures if "LOCALIZER" not in values_of(a.get("ImageType"))] or pictures
    coverage, why = coverage_of(code, pictures)
    anatomy = agreed(anatomy_of(a, synonyms) for a in slices)
    is_microscopy = modality is Modality.MICROSCOPY
    return Route(
        modality,
        f"{reason[:-1]}; {why}." if why else reason,
        # PS3.3 C.8.11.7: Body Part Examined of a mammogram is BREAST, whatever is in the element
        anatomy="breast" if code == "MG" else anatomy,
        plane=agreed(plane_of(a) for a in slices),
        weighting=agreed(weighting_of(a) for a in slices) if code == "MR" else None,
        stain=agreed(stain_of(a, synonyms) for a in slices) if is_microscopy else None,
        coverage=coverage,
    )
