"""The decoder child: decodes one frame a request.

Run as ``python -m medr1_pacs.decoding.child MEMORY_BYTES TIMEOUT_S`` by `pool.DecoderPool`. A
request is ``{path, frame_index, max_frame_bytes}``. A reply is ``{dtype, shape,
photometric_interpretation}`` followed by the frame, or ``{error}``, or ``{unavailable}`` where the
file could not be read at all.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from medr1_pacs.decoding.frames import decode_frame
from medr1_pacs.errors import PixelDataUnusable
from medr1_pacs.guarded.child import describe_failure, serve


def answer(request: dict[str, Any]) -> tuple[dict[str, Any], memoryview]:
    """Decode one frame; whatever Python can catch becomes a reply, and never quotes a value."""
    nothing = memoryview(b"")
    try:
        decoded = decode_frame(
            Path(request["path"]), request["frame_index"], request["max_frame_bytes"]
        )
    except PixelDataUnusable as error:
        return {"error": str(error)}, nothing
    except BaseException as error:  # noqa: BLE001 - hostile bytes; a Rust panic is no Exception
        return describe_failure(error, "decoder"), nothing

    values = np.ascontiguousarray(decoded.stored_values)
    reply = {
        "dtype": values.dtype.str,
        "shape": values.shape,
        "photometric_interpretation": decoded.photometric_interpretation,
    }
    return reply, values.reshape(-1).view(np.uint8).data


if __name__ == "__main__":
    serve(answer, memory_bytes=int(sys.argv[1]), timeout_s=float(sys.argv[2]))
