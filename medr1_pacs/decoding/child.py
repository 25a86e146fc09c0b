"""The decoder child: limits itself, then answers one request after the other until stdin ends.

Run as ``python -m medr1_pacs.decoding.child MEMORY_BYTES TIMEOUT_S`` by `pool.DecoderPool`. A
request is ``{path, frame_index, max_frame_bytes}``. A reply is ``{dtype, shape,
photometric_interpretation}`` followed by the frame, or ``{error}``, or ``{unavailable}`` where the
file could not be read at all.
"""

from __future__ import annotations

import errno
import math
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np

from medr1_pacs.decoding.frames import decode_frame
from medr1_pacs.decoding.messages import encode_message, read_message
from medr1_pacs.errors import PixelDataUnusable

_GRACE_S = 5
"""How much later than the parent the kernel ends a decoder that takes too long."""


def main(memory_bytes: int, timeout_s: float) -> None:
    """Serve until the parent closes stdin, or is gone, which closes it too."""
    limit_itself(memory_bytes)
    # A codec that prints would garble the replies: they get a descriptor of their own.
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    replies.write(encode_message({"ready": True}))
    replies.flush()
    while (request := read_message(sys.stdin.buffer)) is not None:
        # The parent kills what takes too long; should it be gone by then, the kernel does.
        signal.alarm(math.ceil(timeout_s) + _GRACE_S)
        reply, frame = answer(request)
        replies.write(encode_message(reply))
        replies.write(frame)
        replies.flush()
        signal.alarm(0)


def limit_itself(memory_bytes: int) -> None:
    """Cap the address space, leave no core dump (it would hold pictures), leave signals alone.

    An interrupt or a termination of the process group is the parent's to answer: it finishes its
    frame and closes stdin. A child that died of it first would make a good frame look bad.
    """
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def answer(request: dict[str, Any]) -> tuple[dict[str, Any], memoryview]:
    """Decode one frame; whatever Python can catch becomes a reply, and never quotes a value."""
    nothing = memoryview(b"")
    try:
        decoded = decode_frame(
            Path(request["path"]), request["frame_index"], request["max_frame_bytes"]
        )
    except PixelDataUnusable as error:
        return {"error": str(error)}, nothing
    except MemoryError:
        return {"error": "decoding needs more memory than a decoder may have"}, nothing
    except OSError as error:
        if error.errno not in (None, errno.EINVAL):  # those two are of the parsers' making
            return {"unavailable": os.strerror(error.errno)}, nothing
        return {"error": "the decoder failed over a nonsensical position in the file"}, nothing
    except BaseException as error:  # noqa: BLE001 - hostile bytes; a Rust panic is no Exception
        return {"error": f"the decoder failed with {type(error).__name__}"}, nothing

    values = np.ascontiguousarray(decoded.stored_values)
    reply = {
        "dtype": values.dtype.str,
        "shape": values.shape,
        "photometric_interpretation": decoded.photometric_interpretation,
    }
    return reply, values.reshape(-1).view(np.uint8).data


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
