"""What a guarded child and its parent say to each other, over the child's stdin and stdout.

A message is four bytes of length, big-endian, then that many bytes of JSON. A reply may be followed
by raw bytes whose number it implies.
"""

from __future__ import annotations

import json
import struct
from typing import Any, BinaryIO

HEADER_STRUCT = struct.Struct(">I")

MAX_MESSAGE_BYTES = 4 * 1024 * 1024
"""More than any request or reply needs; a child that claims more has gone astray."""


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
