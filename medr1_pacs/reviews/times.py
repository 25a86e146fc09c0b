"""How long readers take: medians and quartiles, since a few reads take very long."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from medr1_pacs.reviews.figures import (
    ALL_READERS,
    QUARTILES,
    Condition,
    Figure,
    Measure,
)
from medr1_pacs.reviews.readings import Reading, readers_of, under


def estimate_times(
    question: str, readings: Sequence[Reading], conditions: Sequence[Condition]
) -> Iterator[Figure]:
    """Yield the active and the wall time of each reader, then of all, condition by condition."""
    for condition in conditions:
        here = under(readings, condition)
        readers = readers_of(here)
        for who in [*readers, *([ALL_READERS] if len(readers) > 1 else [])]:
            own = [each for each in here if who in (each.reader, ALL_READERS)]
            for measure, spans in (
                (Measure.ACTIVE_TIME, [each.active_ms for each in own]),
                (Measure.WALL_TIME, [each.wall_ms for each in own]),
            ):
                low, middle, high = np.quantile(spans, [0.25, 0.5, 0.75]) / 1_000
                yield Figure(
                    question=question,
                    measure=measure,
                    condition=condition.name,
                    who=who,
                    against="",
                    value=float(middle),
                    low=float(low),
                    high=float(high),
                    spread=QUARTILES,
                    n=len(own),
                    unit="readings, in seconds from opening to locking a phase",
                    method="median and quartiles, interpolated linearly",
                )
