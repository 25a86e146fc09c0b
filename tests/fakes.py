"""Stand-ins for what is slow or cannot be made to fail; each has the methods of the real one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from factories import make_engine_identity, make_output
from pwdlib.hashers.argon2 import Argon2Hasher

from medr1_pacs.decoding import DecodedFrame
from medr1_pacs.decoding.frames import decode_frame
from medr1_pacs.passwords import Passwords
from medr1_pacs.records.work import EngineIdentity, ModelOutput, ModelPrompt
from medr1_pacs.steps.answering import PROBE


class FakeEngine:
    """An engine that answers what it is told; `batches` are the prompts that it was asked.

    Parameters
    ----------
    answer
        Prompt -> raw output, or the exception to raise for the whole batch.
    is_broken
        Whether it fails over a blank picture too, as a GPU with a sticky error does.
    """

    def __init__(
        self,
        answer: Callable[[ModelPrompt], str | Exception] = lambda prompt: "<answer>A</answer>",
        *,
        identity: EngineIdentity | None = None,
        batch_size: int = 8,
        is_broken: bool = False,
    ) -> None:
        self.identity = identity or make_engine_identity()
        self.batch_size = batch_size
        self.batches: list[list[ModelPrompt]] = []
        self._answer = answer
        self._is_broken = is_broken

    def generate(self, prompts: Sequence[ModelPrompt]) -> list[ModelOutput]:
        if list(prompts) == [PROBE]:
            if self._is_broken:
                raise RuntimeError("CUDA error")
            return [make_output()]
        self.batches.append(list(prompts))
        answers = [self._answer(prompt) for prompt in prompts]
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return [make_output(raw_output=answer) for answer in answers]


class FakeDecoder:
    """A decoder that sees one ramp in every frame, or raises; `decoded` is what it was asked."""

    def __init__(self, error: Exception | None = None, failing: Collection[str] = ()) -> None:
        self.decoded: list[tuple[str, int]] = []
        self._error = error
        self._failing = set(failing)

    def decode(self, path: Path, frame_index: int) -> DecodedFrame:
        self.decoded.append((path.name, frame_index))
        if self._error is not None and (not self._failing or path.name in self._failing):
            raise self._error
        return DecodedFrame(np.arange(64, dtype="<u2").reshape(8, 8), "MONOCHROME2")


class InProcessDecoder:
    """The real decoding without its guarded child."""

    def decode(self, path: Path, frame_index: int) -> DecodedFrame:
        return decode_frame(path, frame_index, 1 << 28)


def make_passwords() -> Passwords:
    """Passwords whose hash costs next to nothing."""
    return Passwords(Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1))


class FakeClock:
    """Time that passes when a test says so; seconds since some start, and a time of day."""

    def __init__(self, start: datetime = datetime(2026, 3, 2, 12, tzinfo=UTC)) -> None:
        self._start = start
        self.seconds = 0.0

    def monotonic(self) -> float:
        return 1_000.0 + self.seconds

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self.seconds)

    def pass_s(self, seconds: float) -> None:
        self.seconds += seconds
