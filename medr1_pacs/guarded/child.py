"""A guarded child: limits itself, then answers one request after the other until stdin ends."""

from __future__ import annotations

import errno
import math
import os
import resource
import signal
import sys
from collections.abc import Callable
from typing import Any

from medr1_pacs.guarded.messages import encode_message, read_message

Answer = Callable[[dict[str, Any]], tuple[dict[str, Any], bytes | memoryview]]
"""Request -> reply, and the bytes after it. Raises nothing; see `describe_failure`."""

_GRACE_S = 5
"""How much later than the parent the kernel ends a child that takes too long."""


def serve(answer: Answer, *, memory_bytes: int, timeout_s: float) -> None:
    """Serve until the parent closes stdin, or is gone, which closes it too."""
    _limit_itself(memory_bytes)
    # A library that prints would garble the replies: they get a descriptor of their own.
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    replies.write(encode_message({"ready": True}))
    replies.flush()
    while (request := read_message(sys.stdin.buffer)) is not None:
        # The parent kills what takes too long; should it be gone by then, the kernel does.
        signal.alarm(math.ceil(timeout_s) + _GRACE_S)
        reply, content = answer(request)
        replies.write(encode_message(reply))
        replies.write(content)
        replies.flush()
        signal.alarm(0)


def describe_failure(error: BaseException, what: str) -> dict[str, Any]:
    """Turn whatever Python can catch into a reply, which never quotes a value.

    `{"unavailable": ...}` where the file could not be read at all, else `{"error": ...}`.
    """
    if isinstance(error, MemoryError):
        return {"error": f"the {what} needs more memory than it may have"}
    if isinstance(error, OSError):
        if error.errno not in (None, errno.EINVAL):  # those two are of the parsers' making
            return {"unavailable": os.strerror(error.errno)}
        return {"error": f"the {what} failed over a nonsensical position in the file"}
    return {"error": f"the {what} failed with {type(error).__name__}"}


def _limit_itself(memory_bytes: int) -> None:
    """Cap the address space, leave no core dump (it would hold pictures), leave signals alone.

    An interrupt or a termination of the process group is the parent's to answer: it finishes its
    request and closes stdin. A child that died of it first would make good bytes look bad.
    """
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
