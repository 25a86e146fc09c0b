"""Decode one frame of one file, after checking that what the header claims can be true.

Only the frame's own bytes are read: the first of 300 frames costs one frame. Nothing is allocated
by a size that only a header vouches for.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np
from pydicom import Dataset, dcmread, uid
from pydicom.encaps import get_frame
from pydicom.filereader import read_file_meta_info

from medr1_pacs.decoding.codecs import JPEG_FAMILY, Samples, decode_jpeg_family, decode_rle
from medr1_pacs.decoding.description import (
    DESCRIPTION_KEYWORDS,
    MALFORMED,
    PixelDescription,
    describe_pixels,
)
from medr1_pacs.decoding.messages import DecodedFrame
from medr1_pacs.decoding.native import PixelElement, read_float_frame, read_native_frame
from medr1_pacs.errors import PixelDataUnusable

_NATIVE = (uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian)
_FLOAT_BITS = {0x7FE00008: 32, 0x7FE00009: 64}  # Float and Double Float Pixel Data
_OFFSET_TABLE_KEYWORDS = ("ExtendedOffsetTable", "ExtendedOffsetTableLengths")


def decode_frame(path: Path, frame_index: int, max_frame_bytes: int) -> DecodedFrame:
    """Decode one frame of one file.

    Parameters
    ----------
    frame_index
        From 0.
    max_frame_bytes
        Largest decoded frame that is accepted.

    Raises
    ------
    PixelDataUnusable
        The pixel data is missing, contradicts its header, is too large, or cannot be decoded.
    """
    transfer_syntax_uid = _read_transfer_syntax_uid(path)
    with path.open("rb") as file:
        header = _read_header(file)
        element = _read_pixel_element(file, transfer_syntax_uid)
        description = describe_pixels(header)
        _check_sizes(description, frame_index, max_frame_bytes)
        if element.tag in _FLOAT_BITS:
            if description.bits_allocated != _FLOAT_BITS[element.tag]:
                raise PixelDataUnusable("Bits Allocated does not fit the float pixel data")
            values = read_float_frame(file, element, description, frame_index)
            return DecodedFrame(values, description.photometric_interpretation)
        if transfer_syntax_uid in _NATIVE:
            values, photometric = read_native_frame(file, element, description, frame_index)
            return _read_stored_values(
                _right_aligned(values, photometric, description), description
            )
        encoded = _read_encoded_frame(file, header, description, frame_index)
    samples = _decode_encoded_frame(encoded, transfer_syntax_uid, description)
    return _read_stored_values(samples, description)


def _read_transfer_syntax_uid(path: Path) -> str:
    try:
        transfer_syntax_uid = str(read_file_meta_info(path).get("TransferSyntaxUID") or "")
    except MALFORMED as error:
        raise PixelDataUnusable("the file is not a DICOM file") from error
    # Deflated data inflates without bound before a single element can be looked at.
    if transfer_syntax_uid not in (*_NATIVE, uid.RLELossless, *JPEG_FAMILY):
        raise PixelDataUnusable(f"Transfer Syntax {transfer_syntax_uid or '(none)'} is not decoded")
    return transfer_syntax_uid


def _read_header(file: BinaryIO) -> Dataset:
    """Read the elements that describe the pixels; no name or identifier enters the process."""
    try:
        return dcmread(
            file,
            stop_before_pixels=True,
            specific_tags=[*DESCRIPTION_KEYWORDS, *_OFFSET_TABLE_KEYWORDS],
        )
    except MALFORMED as error:
        raise PixelDataUnusable(f"the data set does not parse: {type(error).__name__}") from error


def _read_pixel_element(file: BinaryIO, transfer_syntax_uid: str) -> PixelElement:
    """Read tag, VR and length of the pixel data, before which `_read_header` stopped."""
    order = ">" if transfer_syntax_uid == uid.ExplicitVRBigEndian else "<"
    is_implicit = transfer_syntax_uid == uid.ImplicitVRLittleEndian
    head = file.read(8 if is_implicit else 12)
    if len(head) < (8 if is_implicit else 12):
        raise PixelDataUnusable("the instance has no Pixel Data")
    group, number = struct.unpack_from(f"{order}HH", head)
    (length,) = struct.unpack_from(f"{order}I", head, 4 if is_implicit else 8)
    return PixelElement(
        tag=group << 16 | number,
        vr="OW" if is_implicit else head[4:6].decode("ascii", "replace"),
        length=length,
        offset=file.tell(),
        is_little_endian=order == "<",
    )


def _check_sizes(description: PixelDescription, frame_index: int, max_frame_bytes: int) -> None:
    if not 0 <= frame_index < description.number_of_frames:
        raise PixelDataUnusable(f"the instance has {description.number_of_frames} frames")
    if description.decoded_bytes > max_frame_bytes:
        raise PixelDataUnusable(
            f"{description.rows} x {description.columns} pixels take"
            f" {description.decoded_bytes:,} bytes, the limit is {max_frame_bytes:,}"
        )


def _read_encoded_frame(
    file: BinaryIO, header: Dataset, description: PixelDescription, frame_index: int
) -> bytes:
    """Join the fragments of one frame, found by whichever offset table there is (PS3.5 A.4)."""
    try:
        offsets, lengths = (header.get(keyword) for keyword in _OFFSET_TABLE_KEYWORDS)
        return get_frame(
            file,
            frame_index,
            extended_offsets=(offsets, lengths) if offsets and lengths else None,
            number_of_frames=description.number_of_frames,
        )
    except MALFORMED as error:
        raise PixelDataUnusable(f"its fragments are malformed: {error}") from error


def _decode_encoded_frame(
    encoded: bytes, transfer_syntax_uid: str, description: PixelDescription
) -> Samples:
    if transfer_syntax_uid == uid.RLELossless:
        planes = decode_rle(
            encoded,
            (description.samples_per_pixel, description.rows, description.columns),
            description.bits_allocated,
        )
        values = np.moveaxis(planes, 0, -1).reshape(description.shape)
        return _right_aligned(values, description.photometric_interpretation, description)
    return decode_jpeg_family(
        encoded,
        transfer_syntax_uid,
        description.shape,
        description.bits_stored,
        description.photometric_interpretation,
    )


def _right_aligned(
    values: np.ndarray, photometric_interpretation: str, description: PixelDescription
) -> Samples:
    """Shift samples whose High Bit leaves room below them, as ACR-NEMA's descendants do."""
    unused_low_bits = description.high_bit + 1 - description.bits_stored
    return Samples(values >> unused_low_bits, description.bits_stored, photometric_interpretation)


def _read_stored_values(samples: Samples, description: PixelDescription) -> DecodedFrame:
    """Read the low bits of each sample as Pixel Representation says; drop the bits above.

    Codecs know no sign, or another than the header (JPEG 2000), and what lies above Bits Stored
    is not part of the value (PS3.5 8.1.1).
    """
    itemsize = max(description.bits_allocated // 8, 1)
    unused_bits = 8 * itemsize - samples.bits
    if unused_bits < 0:
        raise PixelDataUnusable(
            f"the compressed samples have {samples.bits} bits,"
            f" Bits Allocated is {description.bits_allocated}"
        )
    kind = "i" if description.is_signed else "u"
    # The sign, if any, moves to the top bit; the shift back repeats it, or zeros.
    aligned = samples.values.astype(f"<u{itemsize}") << unused_bits
    stored_values: np.ndarray = aligned.view(f"<{kind}{itemsize}") >> unused_bits
    return DecodedFrame(stored_values, samples.photometric_interpretation)
