"""A pool of decoder children with limits on memory and time.

Children are `subprocess`, not `multiprocessing`: a Celery worker is a daemonic process, which may
not have the other kind. They start when first needed and are kept warm, for starting one costs
more than most frames.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import queue
import select
import signal
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from medr1_pacs.decoding.messages import (
    HEADER_STRUCT,
    MAX_MESSAGE_BYTES,
    STORED_DTYPES,
    DecodedFrame,
    encode_message,
)
from medr1_pacs.errors import (
    Medr1Error,
    PixelDataUnusable,
    StorageUnavailable,
    TransientError,
)
from medr1_pacs.processes import module_command, module_environment

_START_TIMEOUT_S = 60.0
"""For the child's imports, which a cold disk makes slow; a frame's limit begins after them."""

_PIPE_BYTES = 1024 * 1024
"""Linux's largest for everyone; the default of 64 KiB costs a wake-up every 64 KiB of a frame."""


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
        self._children = [_Child(memory_bytes, timeout_s, max_frame_bytes) for _ in range(children)]
        # Last in, first out: with little to do, one warm child does it all.
        self._idle: queue.LifoQueue[_Child] = queue.LifoQueue()
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
            The frame cannot be decoded, or its decoder died, grew or took too long. The next call
            finds a fresh child.
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
        child = self._idle.get()
        try:
            return child.decode(request)
        except PixelDataUnusable as error:
            raise PixelDataUnusable(f"frame {frame_index + 1}: {error}") from error.__cause__
        finally:
            self._idle.put(child)


class _Child:
    """One decoder process, started when needed and replaced when it fails."""

    def __init__(self, memory_bytes: int, timeout_s: float, max_frame_bytes: int) -> None:
        self._memory_bytes = memory_bytes
        self._timeout_s = timeout_s
        self._max_frame_bytes = max_frame_bytes
        self._process: subprocess.Popen[bytes] | None = None

    def decode(self, request: dict[str, Any]) -> DecodedFrame:
        process = self._started()
        try:
            return self._exchange(process, request)
        except Medr1Error:  # the child's own answer, read to its end
            raise
        except TimeoutError as error:
            self.stop()
            raise PixelDataUnusable(f"the decoder was ended after {self._timeout_s:g} s") from error
        except (EOFError, BrokenPipeError) as error:
            ended = _how_it_ended(process)  # before stop() gives it another end
            self.stop()
            raise PixelDataUnusable(f"the decoder {ended}") from error
        except (ValueError, KeyError, TypeError) as error:
            # Its memory is no longer its own.
            self.stop()
            raise PixelDataUnusable("the decoder's answer makes no sense") from error
        except BaseException:
            # Interrupted: the answer yet to come would be taken for the next frame's.
            self.stop()
            raise

    def stop(self) -> None:
        """Kill the process, if there is one; it holds nothing that could be lost."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self.stop()
        self._process = subprocess.Popen(
            module_command(
                "medr1_pacs.decoding.child", str(self._memory_bytes), str(self._timeout_s)
            ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # Parsers quote what they stumble over, and that may be a name.
            stderr=subprocess.DEVNULL,
            bufsize=0,
            pipesize=_PIPE_BYTES,
            env=_child_environment(),
        )
        try:
            _read_reply(self._process, time.monotonic() + _START_TIMEOUT_S)
        except (EOFError, TimeoutError, ValueError) as error:
            ended = _how_it_ended(self._process)
            self.stop()
            raise TransientError(f"a decoder could not be started: it {ended}") from error
        except BaseException:
            self.stop()
            raise
        return self._process

    def _exchange(self, process: subprocess.Popen[bytes], request: dict[str, Any]) -> DecodedFrame:
        deadline = time.monotonic() + self._timeout_s
        assert process.stdin is not None
        process.stdin.write(encode_message(request))
        reply = _read_reply(process, deadline)
        if "unavailable" in reply:
            raise StorageUnavailable(f"a stored instance cannot be read: {reply['unavailable']}")
        if "error" in reply:
            raise PixelDataUnusable(str(reply["error"]))

        shape, dtype = tuple(int(side) for side in reply["shape"]), str(reply["dtype"])
        if dtype not in STORED_DTYPES or not 2 <= len(shape) <= 3 or min(shape) < 1:
            raise ValueError("not the dtype and shape of a frame")
        frame_bytes = math.prod(shape) * np.dtype(dtype).itemsize
        if frame_bytes > self._max_frame_bytes:
            raise ValueError("a frame above the limit")
        values = np.frombuffer(_read_exactly(process, frame_bytes, deadline), dtype)
        return DecodedFrame(values.reshape(shape), str(reply["photometric_interpretation"]))


def _child_environment() -> dict[str, str]:
    """Return ours without the service's settings: no password goes where hostile bytes go."""
    environment = {
        name: v for name, v in module_environment().items() if not name.startswith("MEDR1_")
    }
    # One thread a child; each further one would reserve address space out of its limit.
    return environment | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def _how_it_ended(process: subprocess.Popen[bytes]) -> str:
    try:
        code = process.wait(timeout=1)
    except subprocess.TimeoutExpired:
        return "stopped answering"
    if code < 0:
        return f"died of {signal.Signals(-code).name}"
    return f"ended with status {code}"


def _read_reply(process: subprocess.Popen[bytes], deadline: float) -> dict[str, Any]:
    (length,) = HEADER_STRUCT.unpack(_read_exactly(process, HEADER_STRUCT.size, deadline))
    if length > MAX_MESSAGE_BYTES:
        raise ValueError("a reply above the limit")
    reply = json.loads(_read_exactly(process, length, deadline))
    if not isinstance(reply, dict):
        raise ValueError("a reply that is no object")
    return reply


def _read_exactly(process: subprocess.Popen[bytes], count: int, deadline: float) -> bytearray:
    """Read `count` bytes of the child's output before `deadline` (monotonic seconds).

    Raises `TimeoutError` at the deadline and `EOFError` where the output ends.
    """
    assert process.stdout is not None
    descriptor = process.stdout.fileno()
    poll = select.poll()  # unlike select(), fit for descriptors above 1023
    poll.register(descriptor, select.POLLIN)
    buffer = bytearray(count)
    received, view = 0, memoryview(buffer)
    while received < count:
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise TimeoutError
        chunk = os.readv(descriptor, [view[received:]])
        if chunk == 0:
            raise EOFError
        received += chunk
    return buffer
