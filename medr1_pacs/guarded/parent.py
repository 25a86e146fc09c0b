"""The parent of a guarded child: starts it when needed, keeps it warm, replaces it when it fails.

Starting one costs more than most requests.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable
from typing import Any, TypeVar

from medr1_pacs.errors import Medr1Error, TransientError
from medr1_pacs.guarded.messages import HEADER_STRUCT, MAX_MESSAGE_BYTES, encode_message
from medr1_pacs.processes import module_command, module_environment

Result = TypeVar("Result")
ReadBytes = Callable[[int], bytearray]
"""Number of bytes -> that many, which follow the reply."""

_START_TIMEOUT_S = 60.0
"""For the child's imports, which a cold disk makes slow; a request's limit begins after them."""

_PIPE_BYTES = 1024 * 1024
"""Linux's largest for everyone; the default of 64 KiB costs a wake-up every 64 KiB of a frame."""


class ChildFailed(Exception):
    """The child died, took too long, or answered nonsense; the message says which of them."""


class ChildTimedOut(ChildFailed):
    """It took too long, and was ended."""


class GuardedChild:
    """One process, started when needed and replaced when it fails. For one thread at a time.

    Parameters
    ----------
    module
        What runs in the child, as `python -m MODULE MEMORY_BYTES TIMEOUT_S`; see `guarded.child`.
    what
        What the child is called in messages.
    memory_bytes
        Its address space.
    timeout_s
        Longest time for one request.
    """

    def __init__(self, module: str, what: str, *, memory_bytes: int, timeout_s: float) -> None:
        self._module = module
        self._what = what
        self._memory_bytes = memory_bytes
        self._timeout_s = timeout_s
        self._process: subprocess.Popen[bytes] | None = None

    def ask(
        self, request: dict[str, Any], understand: Callable[[dict[str, Any], ReadBytes], Result]
    ) -> Result:
        """Send a request and return what `understand` makes of the reply.

        `understand` raises an error of ours for a failure that the child reports, and ValueError,
        KeyError or TypeError for a reply that makes no sense.

        Raises
        ------
        ChildFailed
            There is no answer; the next call finds a fresh child.
        TransientError
            No child can be started.
        """
        process = self._started()
        deadline = time.monotonic() + self._timeout_s
        try:
            assert process.stdin is not None
            process.stdin.write(encode_message(request))
            reply = _read_reply(process, deadline)
            return understand(reply, lambda count: _read_exactly(process, count, deadline))
        except Medr1Error:  # the child's own answer, read to its end
            raise
        except TimeoutError as error:
            self.stop()
            raise ChildTimedOut(
                f"the {self._what} was ended after {self._timeout_s:g} s"
            ) from error
        except (EOFError, BrokenPipeError) as error:
            ended = _how_it_ended(process)  # before stop() gives it another end
            self.stop()
            raise ChildFailed(f"the {self._what} {ended}") from error
        except (ValueError, KeyError, TypeError) as error:
            # Its memory is no longer its own.
            self.stop()
            raise ChildFailed(f"the {self._what}'s answer makes no sense") from error
        except BaseException:
            # Interrupted: the answer yet to come would be taken for the next one's.
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
            module_command(self._module, str(self._memory_bytes), str(self._timeout_s)),
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
            raise TransientError(f"a {self._what} could not be started: it {ended}") from error
        except BaseException:
            self.stop()
            raise
        return self._process


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
