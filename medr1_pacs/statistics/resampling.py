"""review: how far a statistic of cases would scatter, had other cases been read; pure.

    Statistic, whose each unit is  ->  BootstrapEstimate

A unit is what raters judge, mostly a case. Units of one patient are not independent, so where
they share patients, patients are what is drawn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medr1_pacs.statistics.proportions import LEVEL

DRAWS = 10_000
"""Samples of patients that a bootstrap draws: its ends are then exact to 1 to 2 % of the width."""
SEED = 1927
"""Of the draws: always the same, so that the same answers have the same interval everywhere."""
_DRAWN_AT_ONCE = 2_000_000
"""Numbers that are held in memory while drawing, 16 MB."""
_ROUNDING = 1e-12
"""Draws that are not further apart came to the same."""

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
OfDrawn = Callable[[Array, Array], Array]
"""(units, columns) what there is, (draws, units) how often each was drawn -> (draws,) what each
draw comes to, NaN where it comes to nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class Statistic:
    """A number that units come to, and that others drawn from them would come to."""

    units: Array
    """(units, columns): all that it needs to know of each, without NaN."""
    counts: Mask
    """(units,): which of them say anything; the others are not drawn."""
    of_drawn: OfDrawn
    width: int = 1
    """Numbers that it holds in memory for a draw, beside one a unit."""

    @property
    def value(self) -> float | None:
        """What the units come to; None where it is undefined, as 0/0 is."""
        return _value(self, _list_kinds(self, None))


@dataclass(frozen=True, slots=True)
class BootstrapEstimate:
    """A statistic with its percentile interval."""

    value: float | None
    """None: undefined, and then there is no interval either."""
    low: float | None
    """None: fewer than two clusters, or all draws came to the same, which is no interval."""
    high: float | None
    clusters: int
    """What was drawn: units that say anything, or patients with such units."""
    draws: int
    """On which the interval rests."""
    undefined: int
    """Draws left out, in which the statistic was undefined."""


def estimate_by_bootstrap(
    statistic: Statistic,
    clusters: Sequence[Hashable] | None = None,
    *,
    level: float = LEVEL,
    draws: int = DRAWS,
    seed: int = SEED,
) -> BootstrapEstimate:
    """Estimate a statistic with its percentile interval, clusters drawn anew.

    As many clusters as there are, with replacement, each with all its units (Davison AC, Hinkley DV
    (1997), Bootstrap Methods and their Application, 3.8). Clusters alike are
    exchangeable, and all are drawn in the order of their values: neither their order nor their
    names matter.

    It is too narrow for few clusters, and says nothing where all units are alike: raters who never
    disagreed in the sample never do in a draw. So draws that all come to the same are no interval.

    Parameters
    ----------
    clusters
        Whose each unit is, mostly the patient; without it each unit is one of its own.

    Raises
    ------
    ValueError
        There are more units than clusters named, or fewer.
    """
    kinds = _list_kinds(statistic, clusters)
    value, count = _value(statistic, kinds), int(kinds.numbers.sum())
    if value is None or count < 2:
        return BootstrapEstimate(value, None, None, count, 0, 0)
    width = max(len(kinds.units), statistic.width)
    values = np.concatenate(
        [
            statistic.of_drawn(kinds.units, drawn[:, kinds.kind_of_unit].astype(np.float64))
            for drawn in draw(kinds.numbers, draws, seed, width)
        ]
    )
    defined = values[~np.isnan(values)]
    undefined = draws - len(defined)
    if not len(defined) or np.ptp(defined) < _ROUNDING:
        return BootstrapEstimate(value, None, None, count, len(defined), undefined)
    low, high = percentile_interval(defined, level)
    return BootstrapEstimate(value, low, high, count, len(defined), undefined)


def difference(first: Statistic, second: Statistic) -> Statistic:
    """Return the first less the second, over the same units: both are of what is drawn together.

    A unit that says something of either is drawn.

    Raises
    ------
    ValueError
        They have not the same number of units.
    """
    if len(first.units) != len(second.units):
        raise ValueError(f"{len(first.units)} units and {len(second.units)} are not the same")
    columns = first.units.shape[1]

    def of_drawn(units: Array, drawn: Array) -> Array:
        return first.of_drawn(units[:, :columns], drawn) - second.of_drawn(
            units[:, columns:], drawn
        )

    return Statistic(
        np.hstack([first.units, second.units]),
        first.counts | second.counts,
        of_drawn,
        max(first.width, second.width),
    )


def draw(
    numbers: NDArray[np.int64], draws: int, seed: int, width: int = 1
) -> Iterator[NDArray[np.int64]]:
    """Yield how often each kind is drawn, (draws, kinds), as many draws at once as memory allows.

    How often is multinomial, so a draw costs as much as there are kinds, however many of each.

    Parameters
    ----------
    numbers
        (kinds,): how many there are of each; as many as all together are drawn.
    width
        Numbers that whoever takes them holds for a draw.
    """
    generator = np.random.default_rng(seed)
    count = int(numbers.sum())
    step = max(1, _DRAWN_AT_ONCE // max(len(numbers), width))
    for first in range(0, draws, step):
        yield generator.multinomial(count, numbers / count, min(step, draws - first))


def percentile_interval(values: Array, level: float) -> tuple[float, float]:
    """Return the ends that leave out as many draws on either side.

    Efron B, Tibshirani RJ (1993), An Introduction to the Bootstrap, 13.3.
    """
    tail = (1 - level) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)


def ratio(over: Array, under: Array) -> Array:
    """Divide; NaN, without a warning, where it is by 0."""
    over, under = np.broadcast_arrays(over, under)
    divided: Array = np.divide(over, under, out=np.full(over.shape, np.nan), where=under != 0)
    return divided


@dataclass(frozen=True, slots=True, eq=False)
class _Kinds:
    """The distinct clusters, in the order of their values."""

    units: Array  # of one cluster of each kind
    kind_of_unit: NDArray[np.int64]  # (units,)
    numbers: NDArray[np.int64]  # (kinds,): how many clusters are of it


def _list_kinds(statistic: Statistic, clusters: Sequence[Hashable] | None) -> _Kinds:
    named: Sequence[Hashable] = range(len(statistic.units)) if clusters is None else clusters
    members: dict[Hashable, list[tuple[float, ...]]] = {}
    for row, counts, cluster in zip(
        statistic.units.tolist(), statistic.counts.tolist(), named, strict=True
    ):
        if counts:
            members.setdefault(cluster, []).append(tuple(row))
    kinds = sorted(Counter(tuple(sorted(rows)) for rows in members.values()).items())
    units = [row for rows, _ in kinds for row in rows]
    return _Kinds(
        np.array(units, dtype=np.float64).reshape(len(units), statistic.units.shape[1]),
        np.repeat(np.arange(len(kinds)), [len(rows) for rows, _ in kinds]),
        np.array([number for _, number in kinds], dtype=np.int64),
    )


def _value(statistic: Statistic, kinds: _Kinds) -> float | None:
    if not len(kinds.units):
        return None
    once = kinds.numbers[kinds.kind_of_unit].astype(np.float64)
    value = float(statistic.of_drawn(kinds.units, once[np.newaxis])[0])
    return None if np.isnan(value) else value
