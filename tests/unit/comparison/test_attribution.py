"""What a difference consists of: nothing is lost, and it adds up."""

from __future__ import annotations

from fractions import Fraction

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from harness import tables
from harness.comparison.attribution import (
    Figure,
    Key,
    PerStep,
    attribution,
    frame,
    join,
    per_step,
)
from tests.support.captures import capture

SHAPES = st.sampled_from([None, ((4, 8),), ((8, 8),), ((4, 8), (8, 2)), ()])
DTYPES = st.sampled_from([None, ("float",), ("bf16",), ("float", "float")])
KEYS = st.builds(Key, st.sampled_from(["aten::mm", "aten::add", "copy"]), SHAPES, DTYPES)
FIGURES = st.builds(
    Figure,
    st.fractions(0, 50, max_denominator=7),
    st.fractions(0, 10**9, max_denominator=7),
)
RUNS = st.lists(
    st.builds(
        PerStep,
        figures=st.dictionaries(KEYS, FIGURES, max_size=6),
        steps=st.just(7),
        step_ns=st.fractions(1, 10**9, max_denominator=7),
        has_shapes=st.booleans(),
    ),
    min_size=1,
    max_size=3,
)


def total(runs: list[PerStep]) -> Fraction:
    """The mean over the runs of the time of all rows in a step."""
    times = (figure.time_ns for run in runs for figure in run.figures.values())
    return sum(times, Fraction(0)) / len(runs)


@given(RUNS, RUNS)
def test_contributions_add_up_exactly(candidates: list[PerStep], bases: list[PerStep]) -> None:
    rows = join(candidates, bases)
    assert sum(row.contribution for row in rows) == total(candidates) - total(bases)
    assert sum(row.candidate_figure.time_ns for row in rows) == total(candidates)
    sizes = [abs(row.contribution) for row in rows]
    assert sizes == sorted(sizes, reverse=True)


@given(RUNS, RUNS)
def test_with_what_is_outside_they_are_the_difference_of_the_steps(
    candidates: list[PerStep], bases: list[PerStep]
) -> None:
    compared = attribution("operators", candidates, bases)
    assert compared is not None
    assert compared.step_ns is not None
    assert compared.outside_ns is not None
    mine, theirs = (
        sum(run.step_ns or 0 for run in side) / len(side) for side in (candidates, bases)
    )
    added = total(candidates) - total(bases)
    assert abs(compared.outside_ns - float(mine - theirs - added)) < 1e-6
    assert abs(compared.candidate_ns - compared.base_ns - float(added)) < 1e-3
    assert frame(compared).height == len(compared.rows)


@given(RUNS)
def test_of_the_same_runs_nothing_changed(runs: list[PerStep]) -> None:
    assert {row.change for row in join(runs, runs)} <= {"same", "within noise", "time"}
    assert all(row.contribution == 0 for row in join(runs, runs))


def of(rows: dict[Key, tuple[int, int]], *, steps: int = 1, has_shapes: bool = True) -> PerStep:
    return PerStep(
        figures={
            key: Figure(Fraction(calls), Fraction(time)) for key, (calls, time) in rows.items()
        },
        steps=steps,
        step_ns=Fraction(1000) if steps else None,
        has_shapes=has_shapes,
    )


def mm(*sizes: int, dtype: str = "float") -> Key:
    return Key("aten::mm", (sizes,), (dtype,))


def changes(candidate: PerStep, base: PerStep) -> list[tuple[str, str, float]]:
    compared = attribution("operators", [candidate], [base])
    assert compared is not None
    return [(row.name, row.change, row.contribution_ns) for row in compared.rows]


def test_a_shape_that_changed_is_one_row_and_not_two() -> None:
    base, candidate = of({mm(4, 8): (2, 100)}), of({mm(6, 8): (2, 150)})
    assert changes(candidate, base) == [("aten::mm", "shape", 50)]
    dtype = of({mm(4, 8, dtype="bf16"): (2, 60)})
    assert changes(dtype, base) == [("aten::mm", "dtype", -40)]
    both = of({mm(6, 8, dtype="bf16"): (2, 60)})
    assert changes(both, base) == [("aten::mm", "shape and dtype", -40)]
    row = attribution("operators", [both], [base])
    assert row is not None
    assert (row.rows[0].base_shapes, row.rows[0].candidate_shapes) == ([[4, 8]], [[6, 8]])
    assert (row.rows[0].base_dtypes, row.rows[0].candidate_dtypes) == (["float"], ["bf16"])


def test_a_count_that_does_not_match_pairs_nothing() -> None:
    base, candidate = of({mm(4, 8): (2, 100)}), of({mm(6, 8): (3, 150)})
    assert changes(candidate, base) == [("aten::mm", "new", 150), ("aten::mm", "gone", -100)]


def test_of_several_that_fit_the_most_alike_are_paired() -> None:
    base = of({mm(4, 8): (1, 100), mm(512, 64): (1, 10)})
    candidate = of({mm(512, 65): (1, 11), mm(4, 9): (1, 130)})
    assert changes(candidate, base) == [("aten::mm", "shape", 30), ("aten::mm", "shape", 1)]


def test_calls_time_and_noise_are_told_apart() -> None:
    key, other = mm(4, 8), mm(2, 2)
    more = attribution("operators", [of({key: (3, 150)})], [of({key: (2, 100)})])
    assert more is not None
    assert [row.change for row in more.rows] == ["count"]
    apart = join([of({key: (1, 20)}), of({key: (1, 22)})], [of({key: (1, 10)}), of({key: (1, 19)})])
    assert [row.change for row in apart] == ["time"]
    near = join([of({key: (1, 20)}), of({key: (1, 12)})], [of({key: (1, 10)}), of({key: (1, 19)})])
    assert [row.change for row in near] == ["within noise"]
    once = join([of({key: (1, 20), other: (1, 5)})], [of({key: (1, 10), other: (1, 5)})])
    assert [row.change for row in once] == ["time", "same"]


def test_without_the_shapes_of_one_side_names_are_compared() -> None:
    base = of({mm(4, 8): (1, 100), mm(2, 2): (1, 50)})
    candidate = of({Key("aten::mm", None, None): (2, 170)}, has_shapes=False)
    compared = attribution("operators", [candidate], [base])
    assert compared is not None
    assert [(row.name, row.change, row.contribution_ns) for row in compared.rows] == [
        ("aten::mm", "time", 20)
    ]
    assert "shapes are left out" in compared.notes[0]


def test_steps_and_whole_captures_have_no_common_unit() -> None:
    key = mm(4, 8)
    assert attribution("operators", [of({key: (1, 1)}, steps=0)], [of({key: (1, 1)})]) is None
    whole = attribution("operators", [of({key: (1, 1)}, steps=0)], [of({key: (1, 1)}, steps=0)])
    assert whole is not None
    assert (whole.step_ns, whole.outside_ns) == (None, None)
    assert "whole capture" in whole.notes[0]


def test_figures_are_of_one_recorded_step() -> None:
    recorded = capture(
        operators={
            "id": [1, 2, 3, 4],
            "step": [0, 0, 1, None],
            "name": ["aten::mm", "aten::mm", "aten::mm", "aten::mm"],
            "input_shapes": [[[4, 8]]] * 4,
            "input_dtypes": [["float"]] * 4,
            "self_ns": [10, 20, 31, 1000],
        },
        steps={
            "step": [None, 0, 1],
            "phase": ["baseline", "active", "active"],
            "duration_ns": [5, 100, 201],
        },
    )
    found = per_step(recorded, "operators")
    assert found is not None
    assert found.figures == {mm(4, 8): Figure(Fraction(3, 2), Fraction(61, 2))}
    assert (found.steps, found.step_ns, found.has_shapes) == (2, Fraction(301, 2), True)
    assert per_step(recorded, "kernels") is None
    assert isinstance(tables.SCHEMAS["operators"]["self_ns"], type(pl.Int64()))
