"""A pool of decoder children with limits on memory and time.

See `medr1_pacs.guarded` for what guards them.
"""

from __future__ import annotations

import math
import queue
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from medr1_pacs.decoding.messages import STORED_DTYPES, DecodedFrame
from medr1_pacs.errors import PixelDataUnusable, StorageUnavailable
from medr1_pacs.guarded.parent import ChildFailed, GuardedChild, ReadBytes


class DecoderPool:
    """Decodes frames in children; safe to use from several threads, each of which waits its turn.

    Parameters
    ----------
    children
        How many frames are decoded at the same time at most.
    memory_bytes
        Address space of a child; Python and the codecs take some 0.2 GiB of it.
    timeout_s
        Longest time for one frame. The largest honest frame (a mammogram in JPEG 2000) takes
        about two seconds.
    max_frame_bytes
        Largest decoded frame.
    """

    def __init__(
        self,
        children: int = 1,
        memory_bytes: int = 2 * 1024**3,
        timeout_s: float = 30.0,
        max_frame_bytes: int = 256 * 1024**2,
    ) -> None:
        self._max_frame_bytes = max_frame_bytes
        self._children = [
            GuardedChild(
                "medr1_pacs.decoding.child",
                "decoder",
                memory_bytes=memory_bytes,
                timeout_s=timeout_s,
            )
            for _ in range(children)
        ]
        # Last in, first out: with little to do, one warm child does it all.
        self._idle: queue.LifoQueue[GuardedChild] = queue.LifoQueue()
        for child in self._children:
            self._idle.put(child)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all children, at once; frames in the works become `PixelDataUnusable`."""
        for child in self._children:
            child.stop()

    def decode(self, path: Path, frame_index: int) -> DecodedFrame:
        """Decode one frame (from 0) of a stored instance.

        Raises
        ------
        PixelDataUnusable
            The frame cannot be decoded, or its decoder died, grew or took too long, twice. The next
            call finds a fresh child.
        StorageUnavailable
            The file cannot be read.
        TransientError
            No child can be started.
        """
        request = {
            "path": str(path.absolute()),
            "frame_index": frame_index,
            "max_frame_bytes": self._max_frame_bytes,
        }
        understand = partial(_understand, max_frame_bytes=self._max_frame_bytes)
        child = self._idle.get()
        try:
            # Once may be the kernel's memory killer, or a share that stood still.
            with suppress(ChildFailed):
                return child.ask(request, understand)
            return child.ask(request, understand)
        except (PixelDataUnusable, ChildFailed) as error:
            raise PixelDataUnusable(f"frame {frame_index + 1}: {error}") from error.__cause__
        finally:
            self._idle.put(child)


def _understand(
    reply: dict[str, Any], read_bytes: ReadBytes, *, max_frame_bytes: int
) -> DecodedFrame:
    if "unavailable" in reply:
        raise StorageUnavailable(f"a stored instance cannot be read: {reply['unavailable']}")
    if "error" in reply:
        raise PixelDataUnusable(str(reply["error"]))
    shape, dtype = tuple(int(side) for side in reply["shape"]), str(reply["dtype"])
    if dtype not in STORED_DTYPES or not 2 <= len(shape) <= 3 or min(shape) < 1:
        raise ValueError("not the dtype and shape of a frame")
    frame_bytes = math.prod(shape) * np.dtype(dtype).itemsize
    if frame_bytes > max_frame_bytes:
        raise ValueError("a frame above the limit")
    values = np.frombuffer(read_bytes(frame_bytes), dtype)
    return DecodedFrame(values.reshape(shape), str(reply["photometric_interpretation"]))
