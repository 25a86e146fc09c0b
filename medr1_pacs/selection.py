"""select: which frames stand for a series, and why the others do not.

    policy text, instances -> FrameSelection

A policy is what a question file writes after `select:`. Frames are numbered along the series: by
position along the slice normal where every slice has one, else by Instance Number, else by UID; the
frames of a multi-frame instance follow each other in their stored order. The same instances give
the same choice in whatever order they arrive.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from medr1_pacs.attributes.values import (
    Attributes,
    codes_of,
    items_of,
    number_of,
    slice_normal,
    values_of,
)
from medr1_pacs.records.planned import FrameChoice, FrameSelection, InstanceFacts

POLICIES = (
    "first",
    "middle",
    "evenly K",
    "central slab K",
    "first of each view",
    "first of each eye",
    "all up to K",
    "overview",
)
"""Every policy; K is a number of frames, 1 to `MAX_FRAMES`."""

MAX_FRAMES = 64
"""The most frames that one policy may choose: each costs a rendering and an answer."""

TILE_PIXEL_SPACING_MM = 0.0005
"""Whole slides are looked at near 0.5 um a pixel, the level that the training tiles had."""


@dataclass(frozen=True, slots=True)
class Policy:
    """A parsed policy: its text with the number as `K`, and the number (0 where it has none)."""

    name: str
    count: int = 0

    def __str__(self) -> str:
        return re.sub(r"\bK$", str(self.count), self.name)


def parse_policy(text: object) -> Policy:
    """Parse what a question writes after `select:`. Raises ValueError with the remedy."""
    if isinstance(text, Policy):
        return text
    if not isinstance(text, str):
        raise ValueError(f"a text is wanted, not {text!r}; put it in quotes")
    words = " ".join(text.split())
    name, number = re.sub(r" [0-9]{1,6}$", " K", words), re.search(r" ([0-9]{1,6})$", words)
    if name not in POLICIES or (name.endswith(" K") and number is None):
        raise ValueError(
            f"`{words}` is no selection policy; use one of: "
            + ", ".join(POLICIES)
            + " (K a number)"
        )
    count = int(number[1]) if number else 0
    if number and not 1 <= count <= MAX_FRAMES:
        raise ValueError(f"`{words}` asks for {count} frames; use 1 to {MAX_FRAMES}")
    return Policy(name, count)


def select(policy: Policy, instances: Sequence[InstanceFacts]) -> FrameSelection:
    """Choose frames of one series; every other frame is counted under the reason it was skipped."""
    skipped: Counter[str] = Counter()
    kept = []
    for instance in instances:
        if reason := _exclusion(instance.attributes):
            skipped[reason] += _frame_count(instance)
        else:
            kept.append(instance)
    for narrow in (_without_unprocessed_twins, _one_slide_level):
        kept, reason, left_out = narrow(kept, policy)
        if left_out:
            skipped[reason] += sum(map(_frame_count, left_out))
    if not kept:
        return FrameSelection((), dict(skipped), "No frame can be shown: " + _list(skipped) + ".")
    line = _FrameLine(_in_order(kept))
    chosen = tuple(_CHOOSERS[policy.name](policy, line))
    if rest := line.length - len(chosen):
        skipped[f"not chosen by `{policy}`"] = rest
    frames = "1 frame" if len(chosen) == 1 else f"{len(chosen)} frames"
    return FrameSelection(
        chosen, dict(skipped), f"`{policy}` chose {frames} of {line.length}, ordered by {line.by}."
    )


def order_instances(instances: Sequence[InstanceFacts]) -> list[InstanceFacts]:
    """Return the instances of a series that may be shown, in the order along it."""
    kept = [each for each in instances if _exclusion(each.attributes) is None]
    return _in_order(kept)[0] if kept else []


class _FrameLine:
    """The frames of ordered instances, addressed by index without listing them: a header may claim
    any number of frames."""

    def __init__(self, ordered: tuple[Sequence[InstanceFacts], str]) -> None:
        self.instances, self.by = ordered
        self._ends = list(accumulate(map(_frame_count, self.instances)))
        self.length = self._ends[-1]

    def at(self, index: int) -> FrameChoice:
        position = bisect_right(self._ends, index)
        start = self._ends[position - 1] if position else 0
        return _choice(self.instances[position], index - start + 1)


def _choice(instance: InstanceFacts, frame_number: int = 1) -> FrameChoice:
    return FrameChoice(instance.instance_id, instance.sop_instance_uid, frame_number)


def _frame_count(instance: InstanceFacts) -> int:
    return max(instance.number_of_frames, 1)


def _list(skipped: Mapping[str, int]) -> str:
    return "; ".join(f"{count} x {reason}" for reason, count in sorted(skipped.items())) or "none"


# Which frames are no pictures of the patient


_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


def _exclusion(attributes: Attributes) -> str | None:
    """Say why an instance is never shown, or None.

    DERIVED\\SECONDARY alone is no reason: reformatted slices and processed mammograms say so too.
    A screen save calls itself one, or is a Secondary Capture made at a workstation, or one among CT
    or MR, whose real slices never travel as Secondary Capture. Digitized films do, and stay.
    """
    image_type = values_of(attributes.get("ImageType"))
    if not attributes.get("Rows") or not attributes.get("Columns"):
        return "no pixels (Rows is absent)"
    if attributes.get("BurnedInAnnotation") == "YES":
        return "names may stand in the pixels (Burned In Annotation YES)"
    if "LOCALIZER" in image_type:
        return "localizer (Image Type LOCALIZER)"
    if "LABEL" in image_type or attributes.get("SpecimenLabelInImage") == "YES":
        return "slide label (may show a name)"
    if any("SCREEN" in str(value) for value in image_type):
        return "screen save (Image Type SCREEN SAVE)"
    sop_class_uid = str(attributes.get("SOPClassUID", ""))
    if (sop_class_uid + ".").startswith(_SECONDARY_CAPTURE + "."):
        if attributes.get("ConversionType") == "WSD":
            return "screen save (Secondary Capture, Conversion Type WSD)"
        if attributes.get("Modality") in ("CT", "MR"):
            return f"screen save (Secondary Capture in a {attributes['Modality']} series)"
    return None


_Narrowed = tuple[list[InstanceFacts], str, list[InstanceFacts]]


def _split(
    instances: Iterable[InstanceFacts], keep: Callable[[InstanceFacts], bool], reason: str
) -> _Narrowed:
    instances = list(instances)
    kept = [instance for instance in instances if keep(instance)]
    return kept, reason, [instance for instance in instances if not keep(instance)]


def _without_unprocessed_twins(instances: list[InstanceFacts], _policy: Policy) -> _Narrowed:
    """Leave out FOR PROCESSING where the series holds FOR PRESENTATION too: the same exposures."""

    def intent(instance: InstanceFacts) -> object:
        return instance.attributes.get("PresentationIntentType")

    processed = any(intent(instance) == "FOR PRESENTATION" for instance in instances)
    return _split(
        instances,
        lambda instance: not (processed and intent(instance) == "FOR PROCESSING"),
        "unprocessed (FOR PROCESSING beside FOR PRESENTATION)",
    )


def _one_slide_level(instances: list[InstanceFacts], policy: Policy) -> _Narrowed:
    """Keep one level of a whole slide: a tile policy must not mix magnifications.

    `overview` takes the THUMBNAIL, else the smallest level that is one frame, else an OVERVIEW
    photograph of the slide, else the smallest level.
    """
    levels = [i for i in instances if i.attributes.get("TotalPixelMatrixColumns")]
    if not levels:
        return instances, "", []
    chosen = min(levels, key=_overview_rank if policy.name == "overview" else _tile_rank)
    # a level may be split over instances: those share flavor, pixel spacing and matrix
    level = _level_key(chosen)
    return _split(instances, lambda i: _level_key(i) == level, "another level of the whole slide")


def _flavor(instance: InstanceFacts) -> str:
    image_type = values_of(instance.attributes.get("ImageType"))
    return str(image_type[2]) if len(image_type) > 2 else "VOLUME"


def _matrix_px(instance: InstanceFacts) -> float:
    columns = number_of(instance.attributes, "TotalPixelMatrixColumns") or 0
    return columns * (number_of(instance.attributes, "TotalPixelMatrixRows") or 1)


def _level_key(instance: InstanceFacts) -> Hashable:
    return _flavor(instance), _matrix_px(instance)


def _overview_rank(instance: InstanceFacts) -> tuple[int, float, str]:
    flavor, is_one_frame = _flavor(instance), _frame_count(instance) == 1
    rank = 3
    if flavor == "THUMBNAIL":
        rank = 0
    elif flavor == "OVERVIEW":
        rank = 2
    elif is_one_frame:
        rank = 1
    return rank, _matrix_px(instance), instance.sop_instance_uid


def _tile_rank(instance: InstanceFacts) -> tuple[bool, float, float, str]:
    spacing = values_of(instance.attributes.get("PixelSpacing"))
    known = bool(spacing) and spacing[0] > 0
    distance = abs(math.log(spacing[0] / TILE_PIXEL_SPACING_MM)) if known else math.inf
    is_extra = _flavor(instance) in ("THUMBNAIL", "OVERVIEW")
    return is_extra, distance, -_matrix_px(instance), instance.sop_instance_uid


# In which order the frames follow each other


def _in_order(instances: Sequence[InstanceFacts]) -> tuple[list[InstanceFacts], str]:
    by_number = sorted(instances, key=_number_key)
    positions = _positions_mm(by_number)
    if positions is not None:
        order = sorted(range(len(by_number)), key=lambda k: positions[k])  # stable: then by number
        return [by_number[k] for k in order], "position along the slice normal"
    has_numbers = any("InstanceNumber" in i.attributes for i in instances)
    return by_number, "Instance Number" if has_numbers else "SOP Instance UID"


def _number_key(instance: InstanceFacts) -> tuple[float, str]:
    number = number_of(instance.attributes, "InstanceNumber")
    return math.inf if number is None else number, instance.sop_instance_uid


def _positions_mm(instances: Sequence[InstanceFacts]) -> list[float] | None:
    """Return each slice's distance along the common normal; None unless all have one and agree."""
    normal = slice_normal(instances[0].attributes)
    if normal is None:
        return None
    distances = []
    for instance in instances:
        other = slice_normal(instance.attributes)
        position = values_of(instance.attributes.get("ImagePositionPatient"))
        if other is None or len(position) != 3:
            return None
        if sum(a * b for a, b in zip(normal, other, strict=True)) < 0.99:  # about 8 degrees
            return None
        # rounded: equal positions must tie, so that Instance Number decides between phases
        distances.append(round(sum(a * b for a, b in zip(normal, position, strict=True)), 3))
    return distances


# One function a policy


def _first(_policy: Policy, line: _FrameLine) -> Iterable[FrameChoice]:
    return [line.at(0)]


def _middle(_policy: Policy, line: _FrameLine) -> Iterable[FrameChoice]:
    return [line.at(line.length // 2)]


def _evenly(policy: Policy, line: _FrameLine) -> Iterable[FrameChoice]:
    """Take the middle of each of K equal stretches: the ends of a series show least."""
    count = min(policy.count, line.length)
    return [line.at((2 * k + 1) * line.length // (2 * count)) for k in range(count)]


def _central_slab(policy: Policy, line: _FrameLine) -> Iterable[FrameChoice]:
    count = min(policy.count, line.length)
    start = (line.length - count) // 2
    return [line.at(start + k) for k in range(count)]


def _all_up_to(policy: Policy, line: _FrameLine) -> Iterable[FrameChoice]:
    return [line.at(k) for k in range(min(policy.count, line.length))]


def _first_of_each_view(_policy: Policy, line: _FrameLine) -> Iterable[FrameChoice]:
    return _first_of_each(line.instances, _view)


def _first_of_each_eye(_policy: Policy, line: _FrameLine) -> Iterable[FrameChoice]:
    named = [instance for instance in line.instances if _laterality(instance) in ("R", "L")]
    # without any named eye, the first picture stands for an unknown one
    return _first_of_each(named or line.instances, _laterality)


def _first_of_each(
    instances: Iterable[InstanceFacts], key: Callable[[InstanceFacts], Hashable]
) -> list[FrameChoice]:
    firsts: dict[Hashable, InstanceFacts] = {}
    for instance in instances:
        firsts.setdefault(key(instance), instance)
    return [_choice(instance) for instance in list(firsts.values())[:MAX_FRAMES]]


def _laterality(instance: InstanceFacts) -> str:
    for keyword in ("FrameLaterality", "ImageLaterality", "Laterality"):
        if value := instance.attributes.get(keyword):
            return str(value)
    return ""


def _view(instance: InstanceFacts) -> Hashable:
    """Return view (code with its modifiers, else View Position) and side."""
    sequence = instance.attributes.get("ViewCodeSequence")
    codes = codes_of(sequence)
    modifiers = tuple(
        code
        for item in items_of(sequence)
        for code in codes_of(item.get("ViewModifierCodeSequence"))
    )
    return codes or instance.attributes.get("ViewPosition"), modifiers, _laterality(instance)


_CHOOSERS: dict[str, Callable[[Policy, _FrameLine], Iterable[FrameChoice]]] = {
    "first": _first,
    "middle": _middle,
    "evenly K": _evenly,
    "central slab K": _central_slab,
    "first of each view": _first_of_each_view,
    "first of each eye": _first_of_each_eye,
    "all up to K": _all_up_to,
    "overview": _middle,  # of the one level that was kept: its only frame, else its central tile
}
