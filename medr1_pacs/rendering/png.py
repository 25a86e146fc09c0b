"""Display values -> PNG bytes."""

from __future__ import annotations

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
