"""The header child: parses one header a request.

Run as ``python -m medr1_pacs.parsing.child MEMORY_BYTES TIMEOUT_S`` by `reader.HeaderReader`. A
request is ``{path}``. A reply is the fields of `headers.HeaderValues`, or ``{error}``, or
``{unavailable}`` where the file could not be read at all.
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Any

import pydicom

from medr1_pacs.attributes.listed import SOURCE_TAGS
from medr1_pacs.guarded.child import describe_failure, serve
from medr1_pacs.headers import IDENTITY_TAGS, read_header_values

_TAGS = sorted({*SOURCE_TAGS, *IDENTITY_TAGS})
_VALUE_MAX_BYTES = 1 << 20
"""A longer value is left on disk: none that is looked for has so many bytes."""


def answer(request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """Parse one header; whatever Python can catch becomes a reply, and never quotes a value."""
    try:
        # Elements that nobody looks for are skipped, however long.
        header = pydicom.dcmread(
            request["path"],
            stop_before_pixels=True,
            specific_tags=_TAGS,
            defer_size=_VALUE_MAX_BYTES,
        )
        return asdict(read_header_values(header)), b""
    except BaseException as error:  # noqa: BLE001 - whatever a parser makes of hostile bytes
        return describe_failure(error, "parser"), b""


if __name__ == "__main__":
    serve(answer, memory_bytes=int(sys.argv[1]), timeout_s=float(sys.argv[2]))
