"""Through which VOI window a question's picture is drawn.

The presets are conventional values in HU, to be confirmed by the site's radiologists; they hold for
CT only. Other modalities use the window of the object itself.
"""

from __future__ import annotations

from medr1_pacs.questions.schema import Question
from medr1_pacs.records import Modality, Route, VoiWindow, WindowRequest

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

OBJECT_WINDOW = "object"
"""What the object says, else the anatomy's preset."""

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


def window_request(question: Question, route: Route) -> WindowRequest:
    """Return how the picture for a question is to be windowed.

    A preset of the question wins; `object` or none leaves it to the object, with a fallback by
    anatomy for CT, and for the other modalities to the frame's own percentiles.
    """
    if question.window is None or question.window == OBJECT_WINDOW:
        if question.modality is not Modality.CT:
            return WindowRequest()
        fallback = _FALLBACK_BY_ANATOMY.get(route.anatomy or "", _FALLBACK)
        return WindowRequest(fallback=PRESETS[fallback], fallback_name=fallback)
    return WindowRequest(preset=PRESETS[question.window], preset_name=question.window)


def second_window_request(question: Question) -> WindowRequest | None:
    """Return the second rendering that a question asks for, stored as its own prompt; or None."""
    if question.second_window is None:
        return None
    name = question.second_window
    return WindowRequest(preset=PRESETS[name], preset_name=name)
