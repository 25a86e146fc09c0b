"""review: the interval of a proportion; pure.

right, n  ->  low, high
"""

from __future__ import annotations

import math
from statistics import NormalDist

LEVEL = 0.95


def wilson_interval(right: float, n: float, level: float = LEVEL) -> tuple[float, float]:
    """Return the score interval of a proportion, without continuity correction.

    Wilson EB (1927), Probable inference, the law of succession, and statistical inference, Journal
    of the American Statistical Association 22:209-212; method 3 of Newcombe RG (1998), Statistics
    in Medicine 17:857-872.

    Parameters
    ----------
    right
        0 to `n`; a fraction where a patient's share stands for one answer.
    n
        At least 1; a fraction where it is what answers are worth.

    Raises
    ------
    ValueError
        There is no such proportion.
    """
    if not (n >= 1 and 0 <= right <= n):
        raise ValueError(f"{right} of {n} is no proportion")
    z = NormalDist().inv_cdf((1 + level) / 2)
    share = right / n
    shrunk = 1 + z * z / n
    center = (share + z * z / (2 * n)) / shrunk
    half = z / shrunk * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # Rounding would leave 1e-17 where the formula gives exactly 0 or 1.
    low = 0.0 if right == 0 else center - half
    high = 1.0 if right == n else center + half
    return min(low, share), max(high, share)
