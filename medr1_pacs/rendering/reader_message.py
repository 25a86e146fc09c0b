"""A reader's frame as the bytes that a browser fetches; `static/reading/frames.js` reads them.

    uint32, little-endian   length of the JSON in bytes
    JSON, UTF-8             what the frame is; spaces at its end make what follows begin at a
                            multiple of 8 bytes
    sections                arrays, little-endian, each at a multiple of 8 bytes

A section is told in the JSON by `{"offset", "type", "count"}`: bytes from the end of the JSON;
`uint8`, `uint16` or `float64`; and the number of elements. So a browser looks at each in place.

    kind            "gray" or "color"
    rows, columns
    pixels          section, row by row: an index a pixel, or R, G, B
    pixel_aspect    a pixel's height by its width
    spacing         {"rows_mm", "columns_mm", "kind"} or null
    orientation     {"left", "right", "top", "bottom"}: sides of the patient, or null
    frame_rate      frames per second, or null
    gray            null for color, else
      indices             how many
      first, slope, intercept   modality value = (first + index) * slope + intercept
      values              or, with the three being null: section, index -> modality value
      quantization_step   null where values are exact
      padding             [[first index, last index], ...]
      is_inverted, units
      offered             [{"name", "source", "center", "width", "function", "display"}]: a window,
                          or a section, index -> display value before the inversion
      default, default_source
"""

from __future__ import annotations

import json
import struct
from dataclasses import asdict
from typing import Any

import numpy as np

from medr1_pacs.rendering.reader_frame import GrayScale, LinearScale, OfferedVoi, ReaderFrame

_ALIGNMENT_BYTES = 8
_LENGTH = struct.Struct("<I")


class _Sections:
    """The arrays behind the JSON, in the order in which they are added."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self._offset = 0

    def add(self, array: np.ndarray) -> dict[str, Any]:
        """Keep an array; returns how the JSON tells it."""
        content = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
        told = {"offset": self._offset, "type": array.dtype.name, "count": array.size}
        padded = content + b"\0" * (-len(content) % _ALIGNMENT_BYTES)
        self.parts.append(padded)
        self._offset += len(padded)
        return told


def encode_frame(frame: ReaderFrame) -> bytes:
    """Encode a frame in the form that the module describes."""
    sections = _Sections()
    rows, columns = frame.pixels.shape[:2]
    told = {
        "kind": "color" if frame.gray is None else "gray",
        "rows": rows,
        "columns": columns,
        "pixel_aspect": frame.pixel_aspect,
        "spacing": asdict(frame.spacing) if frame.spacing else None,
        "orientation": asdict(frame.orientation) if frame.orientation else None,
        "frame_rate": frame.frame_rate,
        "gray": None if frame.gray is None else _tell_gray(frame.gray, sections),
        "pixels": sections.add(frame.pixels),
    }
    content = json.dumps(told, allow_nan=False).encode()
    content += b" " * (-(_LENGTH.size + len(content)) % _ALIGNMENT_BYTES)
    return b"".join([_LENGTH.pack(len(content)), content, *sections.parts])


def _tell_gray(gray: GrayScale, sections: _Sections) -> dict[str, Any]:
    is_linear = isinstance(gray.scale, LinearScale)
    scale = asdict(gray.scale) if isinstance(gray.scale, LinearScale) else {}
    return {
        "indices": gray.indices,
        **{name: scale.get(name) for name in LinearScale.__slots__},
        "values": None if is_linear else sections.add(np.asarray(gray.scale)),
        "quantization_step": gray.quantization_step,
        "padding": gray.padding,
        "is_inverted": gray.is_inverted,
        "units": gray.units,
        "offered": [_tell_voi(offered, sections) for offered in gray.offered],
        "default": gray.default,
        "default_source": gray.default_source,
    }


def _tell_voi(offered: OfferedVoi, sections: _Sections) -> dict[str, Any]:
    window = offered.voi.window
    return {
        "name": offered.name,
        "source": offered.voi.source,
        "center": window.center if window else None,
        "width": window.width if window else None,
        "function": offered.voi.function if window else None,
        "display": None if offered.display is None else sections.add(offered.display),
    }
