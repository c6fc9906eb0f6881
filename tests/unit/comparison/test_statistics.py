"""The statistics of a comparison: against scipy, by rules for any sample, by simulation."""

from __future__ import annotations

import math
from itertools import combinations
from statistics import median

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from harness.capture.comparison_record import Answer
from harness.comparison import statistics
from harness.comparison.statistics import (
    equivalence,
    intervals,
    judge,
    mann_whitney,
    noise,
    not_slower,
    runs_needed,
    student_quantile,
)

FIGURES = st.lists(st.integers(1, 30).map(float), min_size=2, max_size=7)
STEPS = st.lists(st.floats(1e6, 2e6), min_size=2, max_size=7)


@given(FIGURES, FIGURES)
def test_the_test_counts_all_divisions_of_the_ranks(
    candidate: list[float], base: list[float]
) -> None:
    test = mann_whitney(candidate, base)
    ranks = stats.rankdata([*candidate, *base])
    sums = [
        sum(ranks[place] for place in places)
        for places in combinations(range(len(ranks)), len(candidate))
    ]
    observed = sum(ranks[: len(candidate)])
    assert test.less == pytest.approx(sum(each <= observed for each in sums) / len(sums))
    assert test.greater == pytest.approx(sum(each >= observed for each in sums) / len(sums))


@given(st.permutations(range(1, 15)), st.integers(2, 12))
def test_without_ties_the_test_is_scipys_exact_one(order: list[int], size: int) -> None:
    candidate, base = [list(map(float, side)) for side in (order[:size], order[size:])]
    test = mann_whitney(candidate, base)
    for ours, side in ((test.two_sided, "two-sided"), (test.less, "less")):
        theirs = stats.mannwhitneyu(candidate, base, alternative=side, method="exact").pvalue
        assert ours == pytest.approx(theirs)
    assert test.method == "exact"


@pytest.mark.parametrize("ties", [False, True])
def test_of_many_runs_the_test_is_scipys_normal_one(ties: bool) -> None:
    generator = np.random.default_rng(3)
    figures = generator.normal(100, 5, 140)
    figures = np.round(figures) if ties else figures
    candidate, base = figures[:60].tolist(), (figures[60:] + 1).tolist()
    test = mann_whitney(candidate, base)
    theirs = stats.mannwhitneyu(candidate, base, method="asymptotic").pvalue
    assert test.two_sided == pytest.approx(theirs, rel=1e-9)


@pytest.mark.parametrize("freedom", [1, 2, 3, 8, 30, 400])
@pytest.mark.parametrize("probability", [0.5, 0.9, 0.975, 0.995])
def test_the_quantile_of_student_is_scipys(freedom: int, probability: float) -> None:
    theirs = stats.t.ppf(probability, freedom)
    assert student_quantile(probability, freedom) == pytest.approx(theirs, rel=1e-3, abs=1e-3)


@given(STEPS, STEPS)
def test_sides_that_change_places_get_the_opposite_answer(
    candidate: list[float], base: list[float]
) -> None:
    opposite = {"slower": "faster", "faster": "slower"}
    there = judge(candidate, base, margin=0.03, confidence=0.95)
    back = judge(base, candidate, margin=0.03, confidence=0.95)
    assert back.ratio == pytest.approx(1 / there.ratio)
    assert back.p_value == there.p_value
    if there.answer in opposite and back.answer != "cannot tell":
        assert back.answer == opposite[there.answer]


@given(STEPS, STEPS, st.floats(1e-3, 1e3))
def test_a_unit_changes_no_answer(candidate: list[float], base: list[float], unit: float) -> None:
    there = judge(candidate, base, margin=0.03, confidence=0.95)
    scaled = [[figure * unit for figure in side] for side in (candidate, base)]
    assert judge(*scaled, margin=0.03, confidence=0.95).ratio == pytest.approx(there.ratio)


@given(STEPS)
def test_a_side_is_never_slower_than_itself(steps: list[float]) -> None:
    assert judge(steps, steps, margin=0.03, confidence=0.95).answer in {
        "cannot tell",
        "no difference",
    }


def test_two_or_three_runs_a_side_cannot_be_told_apart_however_far_they_are() -> None:
    for size in (2, 3):
        far = judge(
            [200.0 + n for n in range(size)],
            [100.0 + n for n in range(size)],
            margin=0.03,
            confidence=0.95,
        )
        assert far.answer == "cannot tell"
        assert far.p_value == pytest.approx(2 / math.comb(2 * size, size))
        assert far.more_runs is not None
        assert far.more_runs >= 4 - size


def test_four_runs_a_side_that_do_not_overlap_are_told_apart() -> None:
    base, candidate = [100.0, 101.0, 99.0, 100.5], [110.0, 111.0, 109.0, 110.5]
    slower = judge(candidate, base, margin=0.03, confidence=0.95)
    assert slower.answer == "slower"
    assert slower.p_value == pytest.approx(2 / 70)
    assert slower.ratio == pytest.approx(110.25 / 100.25)
    assert slower.more_runs is None
    assert judge(base, candidate, margin=0.03, confidence=0.95).answer == "faster"
    # Of a change that matters only from 20 % on, it is no answer.
    assert judge(candidate, base, margin=0.2, confidence=0.95).answer == "no difference"


def test_one_run_a_side_is_not_testable() -> None:
    judged = judge([110.0], [100.0, 101.0], margin=0.03, confidence=0.95)
    assert (judged.answer, judged.interval, judged.p_value) == ("not testable", None, None)
    assert judged.ratio == pytest.approx(110 / 100.5)


def test_no_difference_is_tested_and_not_the_lack_of_proof() -> None:
    quiet = [100.0, 100.2, 99.9, 100.1, 99.8]
    loud = [100.0, 120.0, 80.0, 110.0, 90.0]
    assert judge(quiet, quiet[::-1], margin=0.03, confidence=0.95).answer == "no difference"
    assert judge(loud, loud[::-1], margin=0.03, confidence=0.95).answer == "cannot tell"


def test_equivalence_is_the_larger_of_two_one_sided_tests() -> None:
    candidate, base = [100.0, 101.0, 102.0], [100.5, 101.5, 99.5]
    below = mann_whitney([figure / 1.05 for figure in candidate], base).less
    above = mann_whitney([figure * 1.05 for figure in candidate], base).greater
    assert equivalence(candidate, base, 0.05) == max(below, above) == pytest.approx(1 / 20)


def test_an_interval_holds_the_ratio_and_is_the_same_each_time() -> None:
    candidate, base = [100.0, 104.0, 98.0, 103.0, 99.0], [100.0, 97.0, 95.0, 102.0, 99.0]
    (wide, narrow) = intervals(candidate, base, (0.99, 0.9))
    ratio = median(candidate) / median(base)
    assert wide[0] <= narrow[0] <= ratio <= narrow[1] <= wide[1]
    assert intervals(candidate, base, (0.99, 0.9)) == [wide, narrow]


def test_noise_is_pooled_within_the_sides() -> None:
    # The sides differ by a factor, which is no noise.
    assert noise([100.0, 110.0], [200.0, 220.0]) == pytest.approx(math.log(1.1) / math.sqrt(2))


def answers(
    ratio: float, spread: float, runs: int, *, count: int = 120, margin: float = 0.03
) -> list[Answer]:
    generator = np.random.default_rng(7)
    found: list[Answer] = []
    for _ in range(count):
        base = (100 * np.exp(generator.normal(0, spread, runs))).tolist()
        candidate = (100 * ratio * np.exp(generator.normal(0, spread, runs))).tolist()
        found.append(judge(candidate, base, margin=margin, confidence=0.95).answer)
    return found


@pytest.mark.parametrize("spread", [0.01, 0.05, 0.2])
@pytest.mark.parametrize("runs", [4, 5, 10])
def test_of_the_same_on_both_sides_one_answer_in_twenty_is_wrong_at_most(
    spread: float, runs: int
) -> None:
    found = answers(1.0, spread, runs)
    assert sum(answer in {"slower", "faster"} for answer in found) <= len(found) / 20


def test_noise_that_is_not_normal_makes_no_more_wrong_answers() -> None:
    generator = np.random.default_rng(11)
    wrong = 0
    for _ in range(150):
        # Every fifth run is disturbed, by up to a half.
        drawn = 100 * (1 + 0.01 * generator.random(10))
        drawn *= 1 + 0.5 * generator.random(10) * (generator.random(10) < 0.2)
        judged = judge(drawn[:5].tolist(), drawn[5:].tolist(), margin=0.03, confidence=0.95)
        wrong += judged.answer in {"slower", "faster"}
    assert wrong <= 7


def test_a_tenth_slower_is_told_where_runs_differ_by_four_percent() -> None:
    generator = np.random.default_rng(5)
    told = 0
    for _ in range(100):
        base = 100 * (1 + 0.04 * generator.random(5))
        candidate = 110 * (1 + 0.04 * generator.random(5))
        told += judge(candidate.tolist(), base.tolist(), margin=0.03, confidence=0.95).answer == (
            "slower"
        )
    assert told >= 95


@pytest.mark.parametrize("ratio", [1.03, 1 / 1.03])
def test_a_difference_at_the_margin_is_rarely_called_none(ratio: float) -> None:
    found = answers(ratio, 0.01, 8)
    assert found.count("no difference") <= len(found) / 20


@pytest.mark.parametrize(("ratio", "spread"), [(1.0, 0.01), (1.0, 0.03), (1.08, 0.04), (1.2, 0.1)])
def test_as_many_runs_as_are_proposed_decide(ratio: float, spread: float) -> None:
    runs = runs_needed(math.log(ratio), spread, 0.03, 0.95)
    assert runs is not None
    found = answers(ratio, spread, runs, count=60)
    assert sum(answer != "cannot tell" for answer in found) >= 42


def test_where_no_number_of_runs_tells_none_is_proposed() -> None:
    assert runs_needed(math.log(1.03), 0.05, 0.03, 0.95) is None
    assert runs_needed(0.0, 5.0, 0.03, 0.95) is None


def test_not_slower_needs_the_proof_that_it_is_not() -> None:
    base = [100.0, 100.5, 99.5, 100.2, 99.8]
    assert not_slower([figure * 0.97 for figure in base], base, 0.03, 0.95)
    assert not_slower(base, base, 0.03, 0.95)
    assert not not_slower([figure * 1.05 for figure in base], base, 0.03, 0.95)
    assert not not_slower(base[:1], base, 0.03, 0.95)
    assert statistics.LEAST_TESTABLE == 2
