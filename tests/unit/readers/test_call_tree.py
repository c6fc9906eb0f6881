"""What the host did, looked up: by number, by name, by time."""

from __future__ import annotations

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from harness.readers.base import ReadContext
from harness.readers.call_tree import CallTree, StepMarkers, first

NUMBERS = st.lists(st.none() | st.integers(-3, 3) | st.sampled_from([-(2**63), 2**63 - 1]))


@given(NUMBERS, NUMBERS)
def test_a_number_is_found_where_it_stands_first(
    keys: list[int | None], numbers: list[int | None]
) -> None:
    places = first(pl.Series(keys, dtype=pl.Int64), pl.Series(numbers, dtype=pl.Int64))
    assert places.to_list() == [
        None if number is None or number not in keys else keys.index(number) for number in numbers
    ]


def host(names: list[str | None]) -> CallTree:
    count = len(names)
    operators = {"thread": [1] * count, "start_ns": range(count), "duration_ns": range(90, 0, -10)}
    frame = pl.DataFrame(
        {name: list(values)[:count] for name, values in operators.items()} | {"name": names},
        schema_overrides={"name": pl.String},
    )
    nothing = frame.select("thread", "start_ns", "duration_ns")[:0]
    return CallTree(frame, nothing, StepMarkers([], ReadContext()))


def test_a_kernel_belongs_to_the_operator_of_the_dispatcher_around_it() -> None:
    inner = pl.Series([3, 1, 0, None], dtype=pl.Int64)
    launchers = host(["aten::linear", "aten::mm", "aclnnMm", "launch"]).launchers(inner)
    assert launchers.to_list() == [1, 1, 0, None]


def test_operators_without_names_launch_what_no_named_one_around_them_did() -> None:
    inner = pl.Series([1, 0], dtype=pl.Int64)
    assert host([None, None]).launchers(inner).to_list() == [1, 0]
    assert host(["aten::mm", None]).launchers(inner).to_list() == [0, 0]


def test_paths_lead_outwards_and_only_those_asked_for_are_there() -> None:
    inner = pl.DataFrame(
        {
            "thread": [1, 1, 1, 1, 1],
            "start_ns": [0, 1, 2, 5, 20],
            "duration_ns": [10, 3, 1, 2, 4],
            "name": ["main", "f", "g", "f", "main"],
        }
    )
    call_tree = CallTree(inner, inner[:0].drop("name"), StepMarkers([], ReadContext()))
    paths, places = call_tree.paths([1, 2, 3])
    assert paths == [[], ["f", "main"], ["g", "f", "main"]]
    assert places == [1, 2, 1]
    assert call_tree.paths([]) == ([[]], [])
