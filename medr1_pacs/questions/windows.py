"""Through which VOI window a question's picture is drawn.

The presets are conventional values in HU, to be confirmed by the site's radiologists; they hold for
CT only. Other modalities use the window of the object itself.
"""

from __future__ import annotations

from dataclasses import dataclass

from medr1_pacs.questions.hints import did_you_mean
from medr1_pacs.records.planned import Route, VoiWindow, WindowRequest
from medr1_pacs.records.words import Modality

PRESETS = {
    "brain": VoiWindow(40, 80),
    "stroke": VoiWindow(35, 40),
    "subdural": VoiWindow(75, 215),
    "temporal bone": VoiWindow(600, 2800),
    "lung": VoiWindow(-600, 1500),
    "mediastinum": VoiWindow(40, 400),
    "bone": VoiWindow(400, 1800),
    "spine soft tissue": VoiWindow(50, 250),
    "abdomen": VoiWindow(50, 400),
    "liver": VoiWindow(60, 160),
    "angio": VoiWindow(150, 600),
}
"""CT presets: center and width in HU."""


@dataclass(frozen=True, slots=True)
class WindowChoice:
    """A parsed `window:`."""

    name: str
    preset: VoiWindow | None
    """None: what the object says, else the anatomy's preset."""

    def __str__(self) -> str:
        return self.name


OBJECT_WINDOW = WindowChoice("object", None)


_FALLBACK_BY_ANATOMY = {
    "head": "brain",
    "brain": "brain",
    "neck": "spine soft tissue",
    "cervical spine": "spine soft tissue",
    "thoracic spine": "spine soft tissue",
    "lumbar spine": "spine soft tissue",
    "spine": "spine soft tissue",
    "chest": "mediastinum",
    "hand": "bone",
    "wrist": "bone",
    "elbow": "bone",
    "shoulder": "bone",
    "hip": "bone",
    "knee": "bone",
    "ankle": "bone",
    "foot": "bone",
}
_FALLBACK = "abdomen"  # soft tissue, and so the least wrong where the region is unknown


def parse_window(written: object) -> WindowChoice:
    """Parse what a question writes after `window:`. Raises ValueError with the remedy."""
    if written in (OBJECT_WINDOW, OBJECT_WINDOW.name):
        return OBJECT_WINDOW
    return parse_preset(written)


def parse_preset(written: object) -> WindowChoice:
    """Parse what a question writes after `second_window:`. Raises ValueError with the remedy."""
    if isinstance(written, WindowChoice):
        return written
    if not isinstance(written, str) or written not in PRESETS:
        raise ValueError(f"`{written}` is no window preset; {did_you_mean(written, PRESETS)}")
    return WindowChoice(written, PRESETS[written])


def window_request(choice: WindowChoice | None, modality: Modality, route: Route) -> WindowRequest:
    """Return how the picture for a question is to be windowed; `rendering.voi.choose_voi` obeys.

    A preset of the question wins; `object` or none leaves it to the object, with a fallback by
    anatomy for CT, and for the other modalities to the frame's own percentiles.
    """
    if choice is not None and choice.preset is not None:
        return WindowRequest(preset=choice.preset, preset_name=choice.name)
    if modality is not Modality.CT:
        return WindowRequest()
    fallback = _FALLBACK_BY_ANATOMY.get(route.anatomy or "", _FALLBACK)
    return WindowRequest(fallback=PRESETS[fallback], fallback_name=fallback)
