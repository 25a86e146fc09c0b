"""Which checkpoints a model's answers are of: figures of the model are over all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from medr1_pacs.records.judged import JudgedCase

_REVISION_LETTERS = 8


@dataclass(frozen=True, slots=True)
class CheckpointCases:
    """A checkpoint, and how many cases it answered."""

    checkpoint: str
    revision: str
    """Its first letters."""
    is_demo: bool
    cases: int

    def __str__(self) -> str:
        demo = ", made up for demonstration" if self.is_demo else ""
        cases = f"{self.cases:,} case{'' if self.cases == 1 else 's'}"
        return f"{self.checkpoint} at revision {self.revision} ({cases}{demo})"


def count_checkpoints(cases: Iterable[JudgedCase]) -> list[CheckpointCases]:
    """Return the checkpoints that answered cases, the one of most cases first."""
    counted = Counter(
        (case.checkpoint, case.checkpoint_revision, case.is_demo)
        for case in cases
        if case.has_model
    )
    return [
        CheckpointCases(name, revision[:_REVISION_LETTERS], is_demo, number)
        for (name, revision, is_demo), number in sorted(
            counted.items(), key=lambda item: (-item[1], item[0])
        )
    ]


def warn_of_checkpoints(found: Sequence[CheckpointCases]) -> str:
    """Return what must be said beside figures of the model, and of who was assisted by it.

    Empty: they are of one checkpoint, and not of the demo's.
    """
    if len(found) < 2 and not any(each.is_demo for each in found):
        return ""
    listed = ", ".join(map(str, found))
    if len(found) > 1:
        return f"the model is {len(found)} checkpoints, put together: {listed}"
    return f"the model is the demo's: {listed}"
