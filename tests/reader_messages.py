"""What a browser makes of a reader's frame, written a second time and in another way."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from medr1_pacs.decoding.frames import decode_frame
from medr1_pacs.errors import PixelDataUnusable
from medr1_pacs.records.words import Modality

BUNDLED = Path(pydicom.__file__).parent / "data" / "test_files"
MAX_FRAME_BYTES = 1 << 26


@dataclass(frozen=True)
class Message:
    """A frame's message, taken apart."""

    told: dict[str, Any]
    sections: bytes

    def read(self, section: dict[str, Any]) -> np.ndarray:
        assert section["offset"] % 8 == 0
        return np.frombuffer(
            self.sections, np.dtype(section["type"]), section["count"], section["offset"]
        )

    @property
    def pixels(self) -> np.ndarray:
        shape = (self.told["rows"], self.told["columns"])
        return self.read(self.told["pixels"]).reshape(
            shape if self.told["kind"] == "gray" else (*shape, 3)
        )

    @property
    def values(self) -> np.ndarray:
        """Index -> modality value."""
        gray = self.told["gray"]
        if gray["values"] is not None:
            return self.read(gray["values"])
        stored_values = np.arange(gray["first"], gray["first"] + gray["indices"], dtype=np.float64)
        return stored_values * gray["slope"] + gray["intercept"]

    def offer(self, source: str) -> dict[str, Any]:
        """Return the first VOI of a source."""
        return next(voi for voi in self.told["gray"]["offered"] if voi["source"] == source)

    def draw(self, voi: dict[str, Any] | None = None) -> np.ndarray:
        """Draw the frame, by the renderer's VOI or another."""
        gray = self.told["gray"]
        if gray is None:
            return self.pixels
        voi = voi or gray["offered"][gray["default"]]
        if voi.get("display"):
            display = self.read(voi["display"]).astype(int)
        else:
            display = np.array([window_value(value, voi) for value in self.values.tolist()])
        if gray["is_inverted"]:
            display = 255 - display
        for first, last in gray["padding"]:
            display[first : last + 1] = 0
        return display.astype(np.uint8)[self.pixels]


def window_value(value: float, voi: dict[str, Any]) -> int:
    """Map one modality value, case by case as PS3.3 C.11.2.1.2 writes it."""
    center, width = voi["center"], voi["width"]
    if np.isnan(value):
        return 0
    if voi["function"] == "SIGMOID":
        exponent = min(max(-4 * (value - center) / width, -60.0), 60.0)
        return int(np.rint(1 / (1 + np.exp(exponent)) * 255))
    if voi["function"] == "LINEAR_EXACT":
        half, middle, span = width / 2, center, width
    else:
        half, middle, span = (width - 1) / 2, center - 0.5, width - 1
    if value <= middle - half:
        return 0
    if value > middle + half:
        return 255
    return round(((value - middle) / span + 0.5) * 255)  # halves to even, as np.rint


def read_message(content: bytes) -> Message:
    length = int.from_bytes(content[:4], "little")
    assert (4 + length) % 8 == 0
    return Message(json.loads(content[4 : 4 + length]), content[4 + length :])


@dataclass(frozen=True)
class Decoded:
    """A frame before it is drawn."""

    stored_values: np.ndarray
    header: Dataset
    photometric_interpretation: str | None = None
    modality: Modality | None = None


def list_real_frames() -> dict[str, Decoded]:
    """Return the first frame of every file in pydicom's package whose pixels can be decoded."""
    files = (path for path in sorted(BUNDLED.rglob("*")) if path.is_file())
    frames = {path.name: find_decoded(path) for path in files}
    return {name: decoded for name, decoded in frames.items() if decoded is not None}


def find_decoded(path: Path) -> Decoded | None:
    """Decode the first frame of a file; None where it has no pixels that can be decoded."""
    try:
        decoded = decode_frame(path, 0, MAX_FRAME_BYTES)
    except (PixelDataUnusable, InvalidDicomError):
        return None
    header = dcmread(path, stop_before_pixels=True)
    modality = Modality.CT if header.get("Modality") == "CT" else None
    return Decoded(decoded.stored_values, header, decoded.photometric_interpretation, modality)


def decode_phantom(ds: Dataset, modality: Modality) -> Decoded:
    """Take the stored values out of an instance of the demo, which is never compressed."""
    return Decoded(_first_frame(ds), ds, None, modality)


def _first_frame(ds: Dataset) -> np.ndarray:
    values = ds.pixel_array
    return values[0] if int(ds.get("NumberOfFrames") or 1) > 1 else values
