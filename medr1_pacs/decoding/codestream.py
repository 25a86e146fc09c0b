"""What a compressed frame says of itself, read before any decoder touches it.

JPEG and JPEG-LS: ITU-T T.81 Annex B, T.87 Annex C. JPEG 2000 and HTJ2K: T.800 Annex A.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from medr1_pacs.errors import PixelDataUnusable

_APP0, _APP14, _START_OF_SCAN = 0xE0, 0xEE, 0xDA
# SOF0-15 without DHT (C4), JPG (C8) and DAC (CC); F7 is JPEG-LS's SOF55.
_START_OF_FRAME = (*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC))
_START_OF_FRAME += (*range(0xCD, 0xD0), 0xF7)
_END = b"\xff\xd9"  # EOI and EOC; entropy-coded data cannot hold these two bytes
_WITHOUT_LENGTH = (0x01, *range(0xD0, 0xD9))  # TEM, RST0-7, SOI


@dataclass(frozen=True, slots=True)
class Codestream:
    """The parameters of one compressed frame."""

    rows: int
    columns: int
    samples_per_pixel: int
    precision: int
    """Bits of a sample."""
    component_ids: bytes = b""
    """JPEG only; some encoders write the letters RGB."""
    is_jfif: bool = False
    """JPEG only; JFIF means YCbCr."""
    adobe_transform: int | None = None
    """JPEG only; 0 is no transform, 1 is YCbCr; None without an Adobe marker."""


def read_jpeg_parameters(encoded: bytes) -> Codestream:
    """Walk the marker segments of a JPEG or JPEG-LS stream up to its frame header.

    Raises
    ------
    PixelDataUnusable
        There is no frame header before the first scan, or no end.
    """
    is_jfif, adobe_transform, position = False, None, 0
    while position + 4 <= len(encoded) and encoded[position] == 0xFF:
        marker = encoded[position + 1]
        if marker == 0xFF or marker in _WITHOUT_LENGTH:
            position += 1 if marker == 0xFF else 2
            continue
        (length,) = struct.unpack_from(">H", encoded, position + 2)
        segment = encoded[position + 4 : position + 2 + length]
        if marker == _START_OF_SCAN:
            break
        if marker == _APP0 and segment.startswith(b"JFIF"):
            is_jfif = True
        elif marker == _APP14 and segment.startswith(b"Adobe") and len(segment) >= 12:
            adobe_transform = segment[11]
        elif marker in _START_OF_FRAME and len(segment) >= 6:
            _require_end(encoded, position)
            precision, rows, columns, components = struct.unpack_from(">BHHB", segment)
            component_ids = segment[6 : 6 + 3 * components : 3]
            return Codestream(
                rows, columns, components, precision, component_ids, is_jfif, adobe_transform
            )
        position += 2 + length
    raise PixelDataUnusable("the compressed data has no JPEG frame header")


def read_jpeg2000_parameters(encoded: bytes) -> Codestream:
    """Read the SIZ segment of a JPEG 2000 or HTJ2K codestream, bare or in a JP2 file.

    Raises
    ------
    PixelDataUnusable
        There is no SIZ segment, or no end.
    """
    start = encoded.find(b"\xff\x4f\xff\x51")  # SOC, SIZ
    if start < 0 or len(encoded) < start + 43:
        raise PixelDataUnusable("the compressed data has no JPEG 2000 image size segment")
    _require_end(encoded, start)
    right, bottom, left, top = struct.unpack_from(">4I", encoded, start + 8)
    components, depth = struct.unpack_from(">HB", encoded, start + 40)
    return Codestream(bottom - top, right - left, components, (depth & 0x7F) + 1)


def _require_end(encoded: bytes, start: int) -> None:
    """Refuse a frame that was cut off: libjpeg and OpenJPH fill in the rest without a word."""
    if encoded.find(_END, start) < 0:
        raise PixelDataUnusable("the compressed data ends before its end marker")
