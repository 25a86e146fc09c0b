"""One compressed frame -> samples, by transfer syntax."""

from __future__ import annotations

from dataclasses import dataclass

import imagecodecs
import numpy as np
from pydicom import uid
from rle.utils import decode_pixel_data

from medr1_pacs.decoding.codestream import (
    Codestream,
    read_jpeg2000_parameters,
    read_jpeg_parameters,
)
from medr1_pacs.errors import PixelDataUnusable

_JPEG_LOSSY = (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit)
_JPEG_LOSSLESS = (uid.JPEGLossless, uid.JPEGLosslessSV1)
_JPEG_LS = (uid.JPEGLSLossless, uid.JPEGLSNearLossless)
_JPEG_2000 = (uid.JPEG2000Lossless, uid.JPEG2000)
_HTJ2K = (uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K)

JPEG_FAMILY = (*_JPEG_LOSSY, *_JPEG_LOSSLESS, *_JPEG_LS, *_JPEG_2000, *_HTJ2K)

# Only here may bits above Bits Stored be old overlays. Elsewhere the stream's own precision holds:
# a lossy value can overshoot Bits Stored, and masking would turn white into black.
_BITS_STORED_HOLDS = (*_JPEG_LOSSLESS, uid.JPEGLSLossless)


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """One decoded frame before its bits are read as signed or unsigned."""

    values: np.ndarray
    """``(rows, columns)`` or ``(rows, columns, samples)``, integers."""
    bits: int
    """How many low bits of a value count."""
    photometric_interpretation: str
    """Of `values`: RGB where the codec converted."""


def decode_rle(encoded: bytes, planes: tuple[int, int, int], bits_allocated: int) -> np.ndarray:
    """Decode one RLE Lossless frame (PS3.5 Annex G).

    Parameters
    ----------
    planes
        ``(samples, rows, columns)``; RLE is always planar.

    Returns
    -------
    numpy.ndarray
        The shape of `planes`, unsigned little-endian.

    Raises
    ------
    PixelDataUnusable
        The data is damaged, or not as large as `planes`.
    """
    _, rows, columns = planes
    try:
        decoded = decode_pixel_data(
            encoded, version=2, rows=rows, columns=columns, bits_allocated=bits_allocated
        )
        return np.frombuffer(decoded, f"<u{max(bits_allocated // 8, 1)}").reshape(planes)
    except ValueError as error:
        raise PixelDataUnusable(f"the decoder refused the data: {error}") from error


def decode_jpeg_family(
    encoded: bytes,
    transfer_syntax_uid: str,
    shape: tuple[int, ...],
    bits_stored: int,
    photometric_interpretation: str,
) -> Samples:
    """Decode one frame of JPEG, JPEG-LS, JPEG 2000 or HTJ2K.

    Parameters
    ----------
    shape
        ``(rows, columns)`` or ``(rows, columns, samples)``, as the header says. The codestream is
        compared with it before the decoder allocates, and the result after.

    Raises
    ------
    PixelDataUnusable
        The data is not of that syntax or shape, or is damaged.
    """
    is_jpeg_2000 = transfer_syntax_uid in (*_JPEG_2000, *_HTJ2K)
    codestream = (read_jpeg2000_parameters if is_jpeg_2000 else read_jpeg_parameters)(encoded)
    _require_shape((codestream.rows, codestream.columns, codestream.samples_per_pixel), shape)
    try:
        if transfer_syntax_uid in _HTJ2K:
            values = imagecodecs.htj2k_decode(encoded)
        elif transfer_syntax_uid in _JPEG_2000:
            values = imagecodecs.jpeg2k_decode(encoded)
        elif transfer_syntax_uid in _JPEG_LS:
            values = imagecodecs.jpegls_decode(encoded)
        elif transfer_syntax_uid in _JPEG_LOSSY and _is_ycbcr(
            codestream, photometric_interpretation
        ):
            values = imagecodecs.jpeg_decode(encoded, colorspace="YCBCR", outcolorspace="RGB")
            photometric_interpretation = "RGB"
        else:  # equal colour spaces mean no change; libjpeg would guess
            color = "RGB" if codestream.samples_per_pixel == 3 else None
            values = imagecodecs.jpeg_decode(encoded, colorspace=color, outcolorspace=color)
    except (RuntimeError, ValueError) as error:
        raise PixelDataUnusable(f"the decoder refused the data: {error}") from error
    _require_shape(values.shape, shape)

    # Both transforms belong to the codestream and are undone by every JPEG 2000 decoder.
    if photometric_interpretation in ("YBR_ICT", "YBR_RCT"):
        photometric_interpretation = "RGB"
    bits = codestream.precision
    if transfer_syntax_uid in _BITS_STORED_HOLDS:
        bits = min(bits, bits_stored)
    return Samples(values.reshape(shape), bits, photometric_interpretation)


def _is_ycbcr(codestream: Codestream, photometric_interpretation: str) -> bool:
    """Tell whether a lossy JPEG of three components is to be converted to RGB.

    Marks of the stream win over the header: an Adobe marker, component ids RGB, then JFIF, which
    means YCbCr. They were written by the encoder, the header often by someone else.
    """
    if codestream.samples_per_pixel != 3:
        return False
    if codestream.adobe_transform is not None:
        return codestream.adobe_transform == 1
    if codestream.component_ids.upper() == b"RGB":
        return False
    return codestream.is_jfif or photometric_interpretation.startswith("YBR")


def _require_shape(actual: tuple[int, ...], shape: tuple[int, ...]) -> None:
    """Compare what is there with what the header says; a single sample may have an axis or not."""
    if tuple(actual[:2]) != shape[:2] or tuple(actual[2:] or (1,)) != (shape[2:] or (1,)):
        raise PixelDataUnusable(
            f"the compressed data is {_by(actual)}, the header says {_by(shape)}"
        )


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(str(side) for side in shape)
