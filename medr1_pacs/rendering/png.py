"""Display values -> PNG bytes, and the hash of what they show."""

from __future__ import annotations

import hashlib
from io import BytesIO

import numpy as np
from PIL import Image

PNG_COMPRESS_LEVEL = 6
"""zlib's level. Fixed, because the file's hash is part of an answer's evidence."""


def encode_png(display: np.ndarray) -> bytes:
    """Encode ``(rows, columns)`` or ``(rows, columns, 3)`` uint8 without any metadata.

    Equal arrays give equal bytes under one version of Pillow; across versions compare pixels.
    """
    buffer = BytesIO()
    Image.fromarray(display).save(buffer, format="PNG", compress_level=PNG_COMPRESS_LEVEL)
    return buffer.getvalue()


def hash_pixels(picture: np.ndarray | bytes) -> str:
    """Hash what a picture shows: mode, size and raw pixels.

    Parameters
    ----------
    picture
        Display values as `encode_png` takes them, or the bytes of a PNG. The bytes of a file differ
        between versions of the library that wrote it, its pixels do not.

    Returns
    -------
    str
        SHA-256, hex.
    """
    if isinstance(picture, bytes):
        image: Image.Image = Image.open(BytesIO(picture))
    else:
        image = Image.fromarray(picture)
    head = f"{image.mode} {image.width}x{image.height}\n"
    return hashlib.sha256(head.encode() + image.tobytes()).hexdigest()
