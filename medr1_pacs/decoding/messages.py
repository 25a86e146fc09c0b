"""What a decoder child and its parent say to each other, over the child's stdin and stdout.

A message is four bytes of length, big-endian, then that many bytes of JSON. A reply that carries
a frame is followed by the frame's bytes, in C order.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

HEADER_STRUCT = struct.Struct(">I")

MAX_MESSAGE_BYTES = 64 * 1024
"""More than any request or reply needs; a child that claims more has gone astray."""

STORED_DTYPES = ("|u1", "|i1", "<u2", "<i2", "<u4", "<i4", "<u8", "<i8", "<f4", "<f8")
"""The dtypes that stored values can have."""


@dataclass(frozen=True, slots=True, eq=False)
class DecodedFrame:
    """One frame, decoded."""

    stored_values: np.ndarray
    """``(rows, columns)`` or ``(rows, columns, samples)``, one of `STORED_DTYPES`."""
    photometric_interpretation: str
    """Of `stored_values`: RGB where the codec changed the header's YBR."""


def encode_message(message: dict[str, Any]) -> bytes:
    """Return the bytes of one message."""
    content = json.dumps(message).encode()
    return HEADER_STRUCT.pack(len(content)) + content


def read_message(stream: BinaryIO) -> dict[str, Any] | None:
    """Read one message; None at the end of the stream."""
    prefix = stream.read(HEADER_STRUCT.size)
    if len(prefix) < HEADER_STRUCT.size:
        return None
    (length,) = HEADER_STRUCT.unpack(prefix)
    message: dict[str, Any] = json.loads(stream.read(length))
    return message
