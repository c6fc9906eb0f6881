"""Two samples of step times: the ratio of their medians, its interval, and one of four answers.

A sample has one figure for each process run: steps of one process are no independent samples of a
change. Ratios are judged on a logarithmic scale: "within 3 %" is from 1 / 1.03 to 1.03.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist, median
from typing import Final

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from harness.capture.comparison_record import Answer

SEED: Final = 0
"""Of the bootstrap: the same runs give the same interval."""
DRAWS: Final = 20_000
MOST_EXACT: Final = 120
"""Runs of both sides together up to which the distribution of U is counted out."""
MOST_RUNS: Final = 1_000
"""More runs on a side are proposed to nobody."""
LEAST_TESTABLE: Final = 2
"""Runs on a side below which its noise cannot be seen."""
_POWER: Final = 0.8
"""How often the number of runs that is proposed decides."""
_ROUNDS: Final = 4
"""The number of runs widens the interval, and is found by turns."""
_MEDIAN_EFFICIENCY: Final = math.pi / 2
"""The variance of a median is this times that of a mean, of normal samples."""
_NORMAL: Final = NormalDist()

Floats = npt.NDArray[np.float64]


class RankTest(Struct, frozen=True, kw_only=True):
    """A Mann-Whitney U test of a candidate's sample against a base's."""

    less: float
    """The probability of ranks as low as the candidate's, or lower, if both were one sample."""
    greater: float
    """The same of ranks as high, or higher."""
    method: str
    """How the distribution of U was had."""

    @property
    def two_sided(self) -> float:
        """Twice the smaller of both, at most 1."""
        return min(1.0, 2 * min(self.less, self.greater))


class Judged(Struct, frozen=True, kw_only=True):
    """What two samples say."""

    answer: Answer
    ratio: float
    """The median of the candidate by that of the base."""
    interval: tuple[float, float] | None = None
    """Of the ratio, at the confidence that was asked for; None if a side has one run."""
    equivalence_interval: tuple[float, float] | None = None
    """Of the ratio, that must lie within the margin for "no difference"."""
    p_value: float | None = None
    """Two-sided, of the Mann-Whitney U test."""
    equivalence_p: float | None = None
    """The larger of the two one-sided tests against the margin."""
    method: str = ""
    """How the distribution of U was had."""
    noise: float | None = None
    """The standard deviation of one run's figure, relative, pooled over the sides."""
    more_runs: int | None = None
    """How many more on each side would tell, at this noise; None where it is decided, or where
    more than `MOST_RUNS` would be needed."""


def judge(
    candidate: Sequence[float],
    base: Sequence[float],
    *,
    margin: float,
    confidence: float,
    sample: bool = True,
) -> Judged:
    """Return one of the answers for two samples of positive figures.

    slower, faster: the interval of the ratio excludes 1, the Mann-Whitney test agrees at the same
    level, and the ratio is beyond the margin. no difference: two one-sided Mann-Whitney tests
    against the margin reject, and the interval of the same level lies within it (TOST: Schuirmann
    1987). Else nobody can tell.

    Args:
        candidate: One figure for each run.
        base: The same of the other side.
        margin: The relative change that matters, above 0.
        confidence: Of the interval and the tests, between 0 and 1.
        sample: Whether the figures of a side are of runs that were repeated; else nothing is
            tested.
    """
    ratio = median(candidate) / median(base)
    if not sample or min(len(candidate), len(base)) < LEAST_TESTABLE:
        return Judged(answer="not testable", ratio=ratio)
    level = 1 - confidence
    test, equal = mann_whitney(candidate, base), equivalence(candidate, base, margin)
    interval, inner = intervals(candidate, base, (confidence, 1 - 2 * level))
    answer = _answer(
        ratio,
        1 + margin,
        interval if test.two_sided <= level else None,
        inner if equal <= level else None,
    )
    spread = noise(candidate, base)
    fewest = min(len(candidate), len(base))
    wanted = runs_needed(math.log(ratio), spread, margin, confidence)
    return Judged(
        answer=answer,
        ratio=ratio,
        interval=interval,
        equivalence_interval=inner,
        p_value=test.two_sided,
        equivalence_p=equal,
        method=test.method,
        noise=spread,
        more_runs=max(wanted - fewest, 1) if wanted and answer == "cannot tell" else None,
    )


def _answer(
    ratio: float,
    limit: float,
    differing: tuple[float, float] | None,
    equal: tuple[float, float] | None,
) -> Answer:
    """Return the answer of a ratio and of its intervals; None where the tests do not agree."""
    if differing is not None and ratio > limit and differing[0] > 1:
        return "slower"
    if differing is not None and ratio < 1 / limit and differing[1] < 1:
        return "faster"
    if equal is not None and 1 / limit <= equal[0] and equal[1] <= limit:
        return "no difference"
    return "cannot tell"


def mann_whitney(candidate: Sequence[float], base: Sequence[float]) -> RankTest:
    """Test whether one sample has the higher ranks (Mann and Whitney 1947).

    Up to `MOST_EXACT` figures the distribution is counted out over all divisions of the ranks, ties
    at their mean ranks included. Beyond, it is taken as normal, with the correction for ties
    (Lehmann 1975) and for continuity.
    """
    figures = np.array([*candidate, *base], dtype=float)
    ranks = _doubled_ranks(figures)
    observed = int(ranks[: len(candidate)].sum())
    if len(figures) <= MOST_EXACT:
        ways = _ways(ranks, len(candidate))
        total = ways.sum()
        tied = len(set(figures.tolist())) < len(figures)
        return RankTest(
            less=float(ways[: observed + 1].sum() / total),
            greater=float(ways[observed:].sum() / total),
            method="exact, ties at their mean rank" if tied else "exact",
        )
    return _normal_test(ranks, len(candidate), observed)


def _doubled_ranks(figures: Floats) -> npt.NDArray[np.int64]:
    """Return twice the rank of each figure, so that the mean ranks of ties are whole."""
    ordered = np.sort(figures)
    lower = np.searchsorted(ordered, figures, side="left")
    upper = np.searchsorted(ordered, figures, side="right")
    return (lower + upper + 1).astype(np.int64)


def _ways(ranks: npt.NDArray[np.int64], chosen: int) -> Floats:
    """Return in how many ways `chosen` of the ranks have each sum, by recursion over the ranks."""
    ways = np.zeros((chosen + 1, int(ranks.sum()) + 1))
    ways[0, 0] = 1
    for rank in ranks.tolist():
        # From the right side as it was before: each rank is chosen once.
        ways[1:, rank:] += ways[:-1, : ways.shape[1] - rank].copy()
    last: Floats = ways[chosen]
    return last


def _normal_test(ranks: npt.NDArray[np.int64], chosen: int, observed: int) -> RankTest:
    total = len(ranks)
    other = total - chosen
    _, tied = np.unique(ranks, return_counts=True)
    ties = float((tied.astype(float) ** 3 - tied).sum()) / (total * (total - 1))
    spread = math.sqrt(chosen * other / 12 * (total + 1 - ties))
    method = "normal approximation, corrected for ties"
    if spread == 0:
        return RankTest(less=1.0, greater=1.0, method=method)
    distance = observed / 2 - chosen * (total + 1) / 2
    return RankTest(
        less=_NORMAL.cdf((distance + 0.5) / spread),
        greater=1 - _NORMAL.cdf((distance - 0.5) / spread),
        method=method,
    )


def equivalence(candidate: Sequence[float], base: Sequence[float], margin: float) -> float:
    """Return the p-value of two one-sided tests of a ratio beyond the margin: the larger one."""
    limit = 1 + margin
    below = mann_whitney([figure / limit for figure in candidate], base).less
    above = mann_whitney([figure * limit for figure in candidate], base).greater
    return max(below, above)


def not_slower(
    candidate: Sequence[float], base: Sequence[float], margin: float, confidence: float
) -> bool:
    """Tell whether it is ruled out that the ratio is above 1 + margin, at this confidence.

    One-sided, as for no difference: the test and the interval must both say so.
    """
    if min(len(candidate), len(base)) < LEAST_TESTABLE:
        return False
    level, limit = 1 - confidence, 1 + margin
    test = mann_whitney([figure / limit for figure in candidate], base)
    inner = intervals(candidate, base, [1 - 2 * level])[0]
    return test.less <= level and inner[1] <= limit


def intervals(
    candidate: Sequence[float], base: Sequence[float], levels: Sequence[float]
) -> list[tuple[float, float]]:
    """Return bootstrap intervals of the ratio of medians, one for each level.

    Percentiles of `DRAWS` resamples, both sides drawn anew. Percentiles of few runs are too narrow;
    so they are taken further out, as a t interval of n - 1 runs is wider than a normal one
    (expanded percentile interval: Hesterberg 2015, "What Teachers Should Know About the
    Bootstrap").
    """
    generator = np.random.default_rng(SEED)
    ratios = _medians(generator, candidate) / _medians(generator, base)
    found = []
    for level in levels:
        tail = _expanded((1 - level) / 2, len(candidate), len(base))
        low, high = np.quantile(ratios, [tail, 1 - tail])
        found.append((float(low), float(high)))
    return found


def _medians(generator: np.random.Generator, sample: Sequence[float]) -> Floats:
    drawn = generator.integers(len(sample), size=(DRAWS, len(sample)))
    medians: Floats = np.median(np.array(sample, dtype=float)[drawn], axis=1)
    return medians


def _expanded(tail: float, candidates: int, bases: int) -> float:
    return 1 - _NORMAL.cdf(_wide(tail, candidates, bases))


def _wide(tail: float, candidates: int, bases: int) -> float:
    """Return how many standard errors an interval reaches to each side."""
    fewest = min(candidates, bases)
    return student_quantile(1 - tail, candidates + bases - 2) * math.sqrt(fewest / (fewest - 1))


def student_quantile(probability: float, freedom: int) -> float:
    """Return the quantile of Student's t for a probability of at least one half.

    The density is integrated by trapezoids, the tail from infinity on: accurate to four digits.
    """
    # With t = sqrt(freedom) tan(angle) the density is a power of a cosine on a finite range.
    angles = np.linspace(0, math.pi / 2, 20_001)
    density = np.cos(angles) ** (freedom - 1)
    parts = (density[1:] + density[:-1]) / 2
    below = 0.5 + 0.5 * np.concatenate([[0.0], np.cumsum(parts)]) / parts.sum()
    angle = float(np.interp(probability, below, angles))
    return math.sqrt(freedom) * math.tan(angle)


def noise(candidate: Sequence[float], base: Sequence[float]) -> float:
    """Return the standard deviation of one run's figure, relative, pooled over both sides."""
    squares = sum(_squares(side) for side in (candidate, base))
    return math.sqrt(squares / max(len(candidate) + len(base) - 2, 1))


def _squares(sample: Sequence[float]) -> float:
    logs = [math.log(figure) for figure in sample]
    mean = math.fsum(logs) / len(logs)
    return math.fsum((log - mean) ** 2 for log in logs)


def runs_needed(log_ratio: float, spread: float, margin: float, confidence: float) -> int | None:
    """Return how many runs a side needs for an answer, if ratio and noise stay what they are.

    Either a difference is to be told from 1 and from the margin, or the ratio from both ends of the
    margin; in four of five cases. None if that takes more than `MOST_RUNS`.
    """
    level, limit, size = 1 - confidence, math.log1p(margin), abs(log_ratio)
    differs = size > limit
    sides, tail = (2, level / 2) if differs else (1, level)
    # Where there is no difference, either end of the margin may fail.
    power = _NORMAL.inv_cdf(_POWER if differs else (1 + _POWER) / 2)
    sizes = range(LEAST_TESTABLE, MOST_RUNS)
    least = next(n for n in sizes if sides / math.comb(2 * n, n) <= level)
    runs, wide = least, _NORMAL.inv_cdf(1 - tail)
    for _ in range(_ROUNDS):
        effect = (limit - size) / (wide + power)
        if differs:
            effect = min(size / (wide + power), (size - limit) / power)
        if effect <= 0:
            return None
        needed = 2 * _MEDIAN_EFFICIENCY * (spread / effect) ** 2
        if needed > MOST_RUNS:
            return None
        runs = max(math.ceil(needed), least)
        wide = _wide(tail, runs, runs)
    return runs
