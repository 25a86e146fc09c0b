"""Small frames, encoders for them, and what becomes of a file with a frame in it."""

from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import rle.utils

from medr1_pacs.decoding.frames import decode_frame
from medr1_pacs.errors import PixelDataUnusable

MAX_FRAME_BYTES = 64 * 1024**2

_RANDOM = np.random.default_rng(2026)
GRAY8 = _RANDOM.integers(0, 256, (17, 23)).astype(np.uint8)
GRAY12 = _RANDOM.integers(0, 4096, (17, 23)).astype(np.uint16)
GRAY16 = _RANDOM.integers(0, 65536, (17, 23)).astype(np.uint16)
RGB8 = _RANDOM.integers(0, 256, (17, 23, 3)).astype(np.uint8)


def decode(path: Path, frame_index: int = 0) -> np.ndarray:
    return decode_frame(path, frame_index, MAX_FRAME_BYTES).stored_values


def refusal(path: Path, frame_index: int = 0, max_frame_bytes: int = MAX_FRAME_BYTES) -> str:
    with pytest.raises(PixelDataUnusable) as refused:
        decode_frame(path, frame_index, max_frame_bytes)
    return str(refused.value)


def lossless_jpeg(values: np.ndarray, predictor: int = 1) -> bytes:
    color = "RGB" if values.ndim == 3 else None
    return imagecodecs.jpeg8_encode(
        values,
        lossless=True,
        predictor=predictor,
        colorspace=color,
        outcolorspace=color,
        bitspersample=12 if values is GRAY12 else 8 * values.dtype.itemsize,
    )


def jpeg2000(values: np.ndarray) -> bytes:
    return imagecodecs.jpeg2k_encode(values, reversible=True, codecformat="j2k")


def htj2k(values: np.ndarray) -> bytes:
    return imagecodecs.htj2k_encode(values, reversible=True)


def rle_frame(values: np.ndarray) -> bytes:
    rows, columns, samples = (*values.shape, 1)[:3]
    return rle.utils.encode_pixel_data(
        values.tobytes(),
        byteorder="<",
        rows=rows,
        columns=columns,
        samples_per_pixel=samples,
        bits_allocated=8 * values.dtype.itemsize,
    )
