"""What is shown to a reader."""

from __future__ import annotations

from dataclasses import dataclass, field

from medr1_pacs.records.planned import WindowRequest
from medr1_pacs.records.words import Modality


@dataclass(frozen=True, slots=True)
class ShownFrame:
    """One frame of a stored instance that a reader may see."""

    stored_name: str
    sha256: str
    """Of the data set's bytes as they were received."""
    frame_number: int
    """From 1, as in the standard."""
    modality: Modality | None
    """What routing made of its series; None where it knows no Med-R1 modality."""
    window_request: WindowRequest = field(default_factory=WindowRequest)
    """With which the model's picture of it is drawn, if there is one: a reader begins there."""
