"""What the header says is right: truth without a reader, for sentinel questions.

The model never sees the header. A truth is one of the question's options or unknown (None): where
the header is silent, contradicts itself or says something that no option means, nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from medr1_pacs.attributes.phantom import PHANTOM_ELEMENTS
from medr1_pacs.attributes.values import Attributes, codes_of, items_of, values_of
from medr1_pacs.questions.conditions import facts_of
from medr1_pacs.questions.schema import Question, TruthKind
from medr1_pacs.records.planned import Route
from medr1_pacs.records.words import TruthSource

TruthFunction = Callable[[Attributes, Route], str | None]
"""Gives a word, which the question's `map` turns into an option; None is unknown."""

_PHANTOM_KEYWORDS = frozenset(PHANTOM_ELEMENTS.values())


def truth_of(
    question: Question, attributes: Attributes, route: Route
) -> tuple[str, TruthSource] | None:
    """Return the option that the header says is right for one picture, and what kind of truth it
    is; None where it is unknown or not the header's to say."""
    truth = question.truth
    if truth.kind is TruthKind.HEADER:
        found = facts_of(attributes, route).get(truth.name)
        words = [str(value) for value in codes_of(found) or values_of(found)]
        by_phantom = truth.name in _PHANTOM_KEYWORDS
    elif truth.kind is TruthKind.FUNCTION:
        word = FUNCTIONS[truth.name](attributes, route)
        words = [] if word is None else [word]
        by_phantom = truth.name == "modality_name" and not _PHANTOM_KEYWORDS.isdisjoint(attributes)
    else:
        return None
    option = _one_option(question, words)
    if option is None:
        return None
    return option, TruthSource.PHANTOM if by_phantom else TruthSource.HEADER


def _one_option(question: Question, words: Iterable[str]) -> str | None:
    """Return the only option that the words mean; None for none or several."""
    if question.truth.map:
        means = {question.truth.map.get(word) for word in words}
    else:
        spelled = {option.casefold(): option for option in question.options}
        means = {spelled.get(word.casefold()) for word in words}
    options = means & set(question.options)
    return options.pop() if len(options) == 1 else None


def modality_name(_attributes: Attributes, route: Route) -> str | None:
    """Name the routed modality, as users meet it: `CT`, `X-Ray`, ..."""
    return str(route.modality) if route.modality else None


_INTRAVENOUS = frozenset({"SCT:47625008", "SRT:G-D101"})


def intravenous_contrast(attributes: Attributes, _route: Route) -> str | None:
    """`present` where an agent and an intravenous route are recorded.

    Never `absent`: an empty element also means that nobody filled it in.
    """
    agents = items_of(attributes.get("ContrastBolusAgentSequence"))
    named = "ContrastBolusAgent" in attributes or bool(agents)
    sequences = [attributes, *agents]
    routes = {
        code
        for item in sequences
        for code in codes_of(item.get("ContrastBolusAdministrationRouteSequence"))
    }
    intravenous = attributes.get("ContrastBolusRoute") == "INTRAVENOUS" or routes & _INTRAVENOUS
    return "present" if named and intravenous else None


def ultrasound_display(attributes: Attributes, _route: Route) -> str | None:
    """Name the display from the ultrasound regions (PS3.3 C.8.5.5.1): `b-mode`, `color`,
    `spectral` or `m-mode`. Traces (ECG) and graphics beside the scan are left out; a picture with
    both color and spectral Doppler is neither."""
    regions = [
        (item.get("RegionSpatialFormat"), item.get("RegionDataType"))
        for item in items_of(attributes.get("SequenceOfUltrasoundRegions"))
        if item.get("RegionSpatialFormat") in (1, 2, 3)  # 2D, M-mode, spectral
    ]
    formats = {spatial_format for spatial_format, _ in regions}
    has_color = any(data_type == 2 for _, data_type in regions)
    if formats & {2, 3}:
        if has_color or formats >= {2, 3}:
            return None
        return "spectral" if 3 in formats else "m-mode"
    if has_color:
        return "color"
    # color data outside the declared regions: the regions do not tell the whole picture
    is_gray = all(data_type == 1 for _, data_type in regions)
    if regions and is_gray and attributes.get("UltrasoundColorDataPresent") != 1:
        return "b-mode"
    return None


_FLUORESCEIN = frozenset({"SCT:350086004", "SRT:C-B02CC"})
_GREEN_FILTERS = frozenset({"DCM:111601", "SCT:445465004", "DCM:111604", "SCT:445340000"})


def fundus_technique(attributes: Attributes, _route: Route) -> str | None:
    """`color`, `red-free`, `fluorescein` or `autofluorescence`, where the header settles it.

    By Image Type value 4 (PS3.3 C.8.17.2.1.4), else by contrast agent, filters and samples.
    """
    image_type = {str(value) for value in values_of(attributes.get("ImageType"))}
    named = {
        "COLOR": "color",
        "REDFREE": "red-free",
        "FA": "fluorescein",
        "AF": "autofluorescence",
        "FAF": "autofluorescence",
    }
    kinds = {kind for value, kind in named.items() if value in image_type}
    if kinds or "ICG" in image_type:
        return kinds.pop() if len(kinds) == 1 else None
    agents = set(codes_of(attributes.get("ContrastBolusAgentSequence")))
    if agents or "ContrastBolusAgent" in attributes or "ContrastBolusAgentSequence" in attributes:
        return "fluorescein" if agents and agents <= _FLUORESCEIN else None
    if attributes.get("SamplesPerPixel") == 3:
        return "color"
    filters = set(codes_of(attributes.get("LightPathFilterTypeStackCodeSequence")))
    return "red-free" if filters and filters <= _GREEN_FILTERS else None


_ILLUMINATIONS = {
    "DCM:111744": "brightfield",
    "DCM:111743": "fluorescence",
    "DCM:111747": "phase contrast",
    "DCM:111745": "darkfield",
}  # CID 8123


def illumination(attributes: Attributes, _route: Route) -> str | None:
    """Name the one illumination that all optical paths share.

    Transmission (DCM 111741), which slide scanners often write alone, does not tell brightfield
    from phase contrast: unknown.
    """
    kinds = {
        _ILLUMINATIONS[code]
        for path in items_of(attributes.get("OpticalPathSequence"))
        for code in codes_of(path.get("IlluminationTypeCodeSequence"))
        if code in _ILLUMINATIONS
    }
    return kinds.pop() if len(kinds) == 1 else None


FUNCTIONS: dict[str, TruthFunction] = {
    "modality_name": modality_name,
    "intravenous_contrast": intravenous_contrast,
    "ultrasound_display": ultrasound_display,
    "fundus_technique": fundus_technique,
    "illumination": illumination,
}
"""What a question may name after `truth: {function: ...}`."""
