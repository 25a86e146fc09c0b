"""What a header says of its pixel data, and whether that can be true (PS3.3 C.7.6.3)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from pydicom import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError

from medr1_pacs.errors import PixelDataUnusable

DESCRIPTION_KEYWORDS = (
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "PlanarConfiguration",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
)

MALFORMED = (
    InvalidDicomError,
    BytesLengthException,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    NotImplementedError,
    RuntimeError,
    EOFError,
    StopIteration,
    struct.error,
)
"""What pydicom raises over malformed bytes, when it parses or first when a value is asked for."""


@dataclass(frozen=True, slots=True)
class PixelDescription:
    """The Image Pixel module, with the standard's defaults where the header is silent."""

    rows: int
    columns: int
    samples_per_pixel: int
    number_of_frames: int
    bits_allocated: int
    bits_stored: int
    high_bit: int
    is_signed: bool
    is_planar: bool
    photometric_interpretation: str

    @property
    def shape(self) -> tuple[int, ...]:
        """``(rows, columns)`` or ``(rows, columns, samples)``."""
        plane = (self.rows, self.columns)
        return plane if self.samples_per_pixel == 1 else (*plane, self.samples_per_pixel)

    @property
    def samples_per_frame(self) -> int:
        return self.rows * self.columns * self.samples_per_pixel

    @property
    def decoded_bytes(self) -> int:
        """Size of one frame as an array, where a 1-bit sample takes a byte."""
        return self.samples_per_frame * max(self.bits_allocated, 8) // 8


def describe_pixels(header: Dataset) -> PixelDescription:
    """Read the Image Pixel module.

    Raises
    ------
    PixelDataUnusable
        An element is missing or has a value that no picture has.
    """
    bits_allocated = _integer(header, "BitsAllocated")
    bits_stored = _integer(header, "BitsStored", bits_allocated)
    high_bit = _integer(header, "HighBit", bits_stored - 1)
    description = PixelDescription(
        rows=_integer(header, "Rows"),
        columns=_integer(header, "Columns"),
        samples_per_pixel=_integer(header, "SamplesPerPixel", 1),
        number_of_frames=_integer(header, "NumberOfFrames", 1) or 1,
        bits_allocated=bits_allocated,
        bits_stored=bits_stored,
        high_bit=high_bit if bits_stored <= high_bit + 1 <= bits_allocated else bits_stored - 1,
        is_signed=_integer(header, "PixelRepresentation", 0) == 1,
        is_planar=_integer(header, "PlanarConfiguration", 0) == 1,
        photometric_interpretation=_word(header, "PhotometricInterpretation"),
    )
    for name, value, allowed in (
        ("Rows", description.rows, range(1, 65536)),
        ("Columns", description.columns, range(1, 65536)),
        ("Samples per Pixel", description.samples_per_pixel, (1, 3)),
        ("Number of Frames", description.number_of_frames, range(1, 1 << 31)),
        ("Bits Allocated", bits_allocated, (1, 8, 16, 32, 64)),
        ("Bits Stored", bits_stored, range(1, bits_allocated + 1)),
    ):
        if value not in allowed:
            raise PixelDataUnusable(f"{name} is {value}")
    return description


def _integer(header: Dataset, keyword: str, default: int | None = None) -> int:
    try:
        value = header.get(keyword)
        return int(default if value is None and default is not None else value)
    except MALFORMED:
        raise PixelDataUnusable(f"{keyword} is missing or no integer") from None


def _word(header: Dataset, keyword: str) -> str:
    try:
        return str(header.get(keyword) or "")
    except MALFORMED:
        raise PixelDataUnusable(f"{keyword} is no word") from None
