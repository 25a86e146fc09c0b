"""What a decoder child answers: a frame as a reply, and the bytes after it, in C order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

STORED_DTYPES = ("|u1", "|i1", "<u2", "<i2", "<u4", "<i4", "<u8", "<i8", "<f4", "<f8")
"""The dtypes that stored values can have."""


@dataclass(frozen=True, slots=True, eq=False)
class DecodedFrame:
    """One frame, decoded."""

    stored_values: np.ndarray
    """``(rows, columns)`` or ``(rows, columns, samples)``, one of `STORED_DTYPES`."""
    photometric_interpretation: str
    """Of `stored_values`: RGB where the codec changed the header's YBR."""
