"""How well the median of step times is known, and whether the first steps were still slow."""

from __future__ import annotations

from collections.abc import Sequence
from math import comb
from statistics import median
from typing import Final

from msgspec import Struct

CONFIDENCE: Final = 0.95
_SLOWER: Final = 1.1
"""The ratio to the later steps below which first steps are no matter."""
_FAR_SLOWER: Final = 1.2
"""The same, to the slowest of the later steps, where chance cannot be ruled out."""
_UNLIKELY: Final = 1 - CONFIDENCE


class MedianInterval(Struct, frozen=True, kw_only=True):
    """Where the median of the process lies that the times are samples of, with 95 % confidence."""

    low_ns: int
    high_ns: int
    precision: float
    """The larger distance of the two ends from the median of the samples, by that median."""


class WarmingUp(Struct, frozen=True, kw_only=True):
    """First steps that were slower than all later ones."""

    steps: int
    ratio: float
    """Of their median to that of the later ones."""
    chance: float
    """How likely equal steps are to come in such an order."""

    @property
    def is_certain(self) -> bool:
        """Whether the order is no chance."""
        return self.chance <= _UNLIKELY


def median_interval(times: Sequence[int]) -> MedianInterval | None:
    """Return the confidence interval of the median; None for fewer than six times.

    Two order statistics enclose the median, whatever the distribution: the chance that fewer than
    k of n samples lie below it is that of a binomial of n and 1/2 (H. A. David, H. N. Nagaraja,
    Order Statistics, 3rd ed., 2003, section 7.1). The steps count as independent. If one stops
    timing as soon as the interval is narrow, the true confidence is somewhat lower.
    """
    ordered, middle = sorted(times), median(times) if times else 0
    rank = _rank(len(ordered))
    if not rank or not middle:
        return None
    low, high = ordered[rank - 1], ordered[-rank]
    precision = max(high - middle, middle - low) / middle
    return MedianInterval(low_ns=low, high_ns=high, precision=precision)


def _rank(count: int) -> int:
    """Return the largest k for which the k-th least and k-th greatest enclose it; 0: there is none.

    Their chance is 1 - 2 P(B < k), where B is binomial.
    """
    rank, below = 0, 0
    for successes in range(count // 2):
        below += comb(count, successes)
        if 2 * below > _UNLIKELY * 2**count:
            break
        rank = successes + 1
    return rank


def warming_up(times: Sequence[int]) -> WarmingUp | None:
    """Return the first steps, at most half, that are slower than all the later ones; None if none.

    Of n equal steps in random order, the k slowest come first with a chance of 1 / C(n, k): a
    permutation test of the ranks (E. L. Lehmann, Nonparametrics, 1975, section 1.2). Where that is
    not below 5 %, as with few steps, only those count that are far slower, and `is_certain` is
    false. Differences below a tenth are left out, certain or not.

    Args:
        times: In the order of the steps, in any unit.
    """
    for count in range(len(times) // 2, 0, -1):
        first, later = times[:count], times[count:]
        usual = median(later)
        found = WarmingUp(
            steps=count,
            ratio=median(first) / usual if usual else 0.0,
            chance=1 / comb(len(times), count),
        )
        least = _SLOWER * usual if found.is_certain else _FAR_SLOWER * max(later)
        if usual and min(first) > max(later) and min(first) >= least:
            return found
    return None
