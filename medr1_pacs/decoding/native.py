"""Read one frame of uncompressed pixel data, and nothing else, from a file (PS3.5 8.1, 8.2)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from medr1_pacs.decoding.description import PixelDescription
from medr1_pacs.errors import PixelDataUnusable

UNDEFINED_LENGTH = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class PixelElement:
    """Where the pixel data lies in its file."""

    tag: int
    vr: str
    length: int
    """In bytes, or `UNDEFINED_LENGTH`."""
    offset: int
    """Of the value, in bytes from the start of the file."""
    is_little_endian: bool


def read_native_frame(
    file: BinaryIO, element: PixelElement, description: PixelDescription, frame_index: int
) -> tuple[np.ndarray, str]:
    """Read one frame of Pixel Data.

    Returns
    -------
    tuple
        ``(rows, columns)`` or ``(rows, columns, samples)`` unsigned little-endian, as stored; and
        its photometric interpretation, YBR_FULL once 4:2:2 has been expanded.
    """
    photometric = description.photometric_interpretation
    if photometric == "YBR_FULL_422":
        full_bytes = description.number_of_frames * description.decoded_bytes
        # Labelled 4:2:2 and stored in full is a common mistake; the length tells.
        if element.length < full_bytes:
            samples_per_frame = description.samples_per_frame * 2 // 3
            samples = _read_samples(file, element, description, samples_per_frame, frame_index)
            return _expand_422(samples, description), "YBR_FULL"
        photometric = "YBR_FULL"

    samples = _read_samples(file, element, description, description.samples_per_frame, frame_index)
    if description.is_planar and description.samples_per_pixel > 1:
        planes = samples.reshape(-1, description.rows, description.columns)
        return np.moveaxis(planes, 0, -1), photometric
    return samples.reshape(description.shape), photometric


def read_float_frame(
    file: BinaryIO, element: PixelElement, description: PixelDescription, frame_index: int
) -> np.ndarray:
    """Read one frame of Float or Double Float Pixel Data (PS3.3 C.7.6.24, C.7.6.25)."""
    itemsize = description.bits_allocated // 8
    frame_bytes = description.samples_per_frame * itemsize
    _require_length(element, description.number_of_frames * frame_bytes)
    encoded = _read_bytes(file, element, frame_index * frame_bytes, (frame_index + 1) * frame_bytes)
    order = "<" if element.is_little_endian else ">"
    values = np.frombuffer(encoded, f"{order}f{itemsize}").astype(f"<f{itemsize}")
    return values.reshape(description.shape)


def _read_samples(
    file: BinaryIO,
    element: PixelElement,
    description: PixelDescription,
    samples_per_frame: int,
    frame_index: int,
) -> np.ndarray:
    """Read the samples of one frame, ``(samples_per_frame,)`` unsigned little-endian."""
    bits = description.bits_allocated
    frame_bits = samples_per_frame * bits
    _require_length(element, (description.number_of_frames * frame_bits + 7) // 8)
    first_bit = frame_index * frame_bits
    end_bit = first_bit + frame_bits
    if bits > 8:
        order = "<" if element.is_little_endian else ">"
        encoded = _read_bytes(file, element, first_bit // 8, end_bit // 8)
        return np.frombuffer(encoded, f"{order}u{bits // 8}").astype(f"<u{bits // 8}", copy=False)

    # Frames of single bits, and of bytes in big-endian words, begin and end inside a word.
    first_byte, end_byte = first_bit // 16 * 2, min(-(-end_bit // 16) * 2, element.length)
    packed = _read_bytes(file, element, first_byte, end_byte)
    if element.vr == "OW" and not element.is_little_endian and len(packed) % 2 == 0:
        packed = np.frombuffer(packed, np.uint16).byteswap().tobytes()
    samples = np.frombuffer(packed, np.uint8)
    if bits == 1:
        samples = np.unpackbits(samples, bitorder="little")
    start = (first_bit - 8 * first_byte) // bits
    return samples[start : start + samples_per_frame]


def _require_length(element: PixelElement, needed_bytes: int) -> None:
    if element.length == UNDEFINED_LENGTH:
        raise PixelDataUnusable("the Pixel Data is encapsulated, its transfer syntax is not")
    if element.length < needed_bytes:
        raise PixelDataUnusable(
            f"the Pixel Data has {element.length:,} bytes, its header needs {needed_bytes:,}"
        )


def _read_bytes(file: BinaryIO, element: PixelElement, first: int, end: int) -> bytes:
    if element.offset + end > os.fstat(file.fileno()).st_size:
        raise PixelDataUnusable("the file ends inside its Pixel Data")
    file.seek(element.offset + first)
    return file.read(end - first)


def _expand_422(samples: np.ndarray, description: PixelDescription) -> np.ndarray:
    """Give both pixels of a pair its chroma: Y1 Y2 Cb Cr -> Y1 Cb Cr, Y2 Cb Cr (C.7.6.3.1.2)."""
    if description.columns % 2 or description.samples_per_pixel != 3:
        raise PixelDataUnusable("YBR_FULL_422 needs an even number of columns and three samples")
    pairs: np.ndarray = samples.reshape(-1, 4)[:, [0, 2, 3, 1, 2, 3]]
    return pairs.reshape(description.shape)
