"""review: two ways of reading the same cases, each right or not; pure.

    PairedCounts  ->  PairedDifference, and a p-value

By case, so it supposes that cases are independent: where they share patients, the `difference` of
two `accuracy` statistics, drawn by patient, is what holds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from medr1_pacs.statistics.proportions import LEVEL, wilson_interval


@dataclass(frozen=True, slots=True)
class PairedCounts:
    """Cases by who of two was right."""

    both: int
    only_first: int
    only_second: int
    neither: int

    def __post_init__(self) -> None:
        if min(self.both, self.only_first, self.only_second, self.neither) < 0:
            raise ValueError("cases cannot be fewer than none")

    @property
    def cases(self) -> int:
        """How many there are."""
        return self.both + self.only_first + self.only_second + self.neither


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """The share right of the first less that of the second, -1 to 1, with its interval."""

    difference: float
    low: float
    high: float


def mcnemar_exact(counts: PairedCounts) -> float | None:
    """Return the two-sided p-value of that both are right as often; None without a case.

    Of the cases in which one alone is right, half would be the first's: twice the smaller tail of
    that binomial, at most 1, as it is where there is no such case (McNemar Q (1947), Psychometrika
    12:153-157; exact: Fagerland MW, Lydersen S, Laake P (2013), BMC Medical Research Methodology
    13:91).
    """
    if not counts.cases:
        return None
    discordant = counts.only_first + counts.only_second
    fewer = min(counts.only_first, counts.only_second)
    tail, ways = 0, 1
    for i in range(fewer + 1):
        tail += ways
        ways = ways * (discordant - i) // (i + 1)
    # In whole numbers: either side is beyond a float where cases are a thousand.
    return min(1.0, 2 * tail / (1 << discordant))


def estimate_paired_difference(
    counts: PairedCounts, level: float = LEVEL
) -> PairedDifference | None:
    """Estimate how much more often the first is right; None without a case.

    Method 10 of Newcombe RG (1998), Improved confidence intervals for the difference between
    binomial proportions based on paired data, Statistics in Medicine 17:2635-2650: Wilson's
    interval of each share, joined by their correlation, with a continuity correction of that.
    """
    n = counts.cases
    if not n:
        return None
    first, second = counts.both + counts.only_first, counts.both + counts.only_second
    p1, p2 = first / n, second / n
    low1, high1 = wilson_interval(first, n, level)
    low2, high2 = wilson_interval(second, n, level)
    phi = _corrected_phi(counts)
    below = _joined(p1 - low1, high2 - p2, phi)
    above = _joined(high1 - p1, p2 - low2, phi)
    return PairedDifference(p1 - p2, p1 - p2 - below, p1 - p2 + above)


def _joined(one: float, other: float, phi: float) -> float:
    return math.sqrt(one * one - 2 * phi * one * other + other * other)


def _corrected_phi(counts: PairedCounts) -> float:
    """Return the correlation of both, -1 to 1; 0 where one of them is always right, or never."""
    first, second = counts.both + counts.only_first, counts.both + counts.only_second
    n = counts.cases
    product = first * (n - first) * second * (n - second)
    if not product:
        return 0.0
    over = counts.both * counts.neither - counts.only_first * counts.only_second
    corrected = max(over - n / 2, 0) if over > 0 else over
    return corrected / math.sqrt(product)
