"""Cells of torch_npu's files: shapes, words, times, stacks."""

from __future__ import annotations

from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.readers.cells import (
    SHAPES,
    argument_shapes,
    argument_words,
    call_stack,
    exact_nanoseconds,
    nanoseconds,
    parsed,
    parsed_late,
    shapes,
    whole,
    words,
)
from harness.tables.stacks import identified, kept, stack_id

shape = st.lists(st.integers(0, 10**6), max_size=5)
word = st.text(st.characters(codec="ascii", categories=["Lu", "Ll", "Nd"]), min_size=1, max_size=9)


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ('"32,64;64,128"', [[32, 64], [64, 128]]),
        ("32,64;64,128", [[32, 64], [64, 128]]),
        ('"4096,2,512;;64;"', [[4096, 2, 512], [], [64], []]),
        ('";"', [[], []]),
        ('""', [[]]),
        ("N/A", None),
        ("", None),
        (None, None),
    ],
)
def test_shapes_of_a_kernel(cell: str | None, expected: list[list[int]] | None) -> None:
    assert shapes(cell) == expected


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("FLOAT;;INT64", ["FLOAT", None, "INT64"]),
        ("DT_UNDEFINED;NULL", ["DT_UNDEFINED", "NULL"]),
        ("N/A", None),
        (None, None),
    ],
)
def test_words_of_a_kernel(cell: str | None, expected: list[str | None] | None) -> None:
    assert words(cell) == expected


def test_arguments_of_an_operator() -> None:
    assert argument_shapes("128,64;\r\n;\r\n") == [[128, 64], [], []]
    assert argument_shapes("") == [[]]
    assert argument_shapes(None) is None
    assert argument_words("float;\r\n;\r\nScalar") == ["float", None, "Scalar"]
    assert argument_words(None) is None
    assert call_stack("a.py(1): f;\r\nb.py(2): g") == ["a.py(1): f", "b.py(2): g"]
    assert call_stack(None) == []


@given(st.lists(shape, min_size=1, max_size=6))
def test_any_shapes_are_read_as_they_were_written(given_shapes: list[list[int]]) -> None:
    slots = [",".join(map(str, shape)) for shape in given_shapes]
    assert shapes(f'"{";".join(slots)}"') == given_shapes
    assert argument_shapes(";\r\n".join(slots)) == given_shapes


@given(st.lists(st.none() | word, min_size=2, max_size=6))
def test_any_words_are_read_as_they_were_written(given_words: list[str | None]) -> None:
    slots = [word or "" for word in given_words]
    assert words(";".join(slots)) == given_words
    assert argument_words(";\r\n".join(slots)) == given_words


@given(st.lists(st.integers(0, 2 * 10**18), min_size=1), st.sampled_from(["", "\t", " "]))
def test_any_time_is_exact_to_the_nanosecond(times_ns: list[int], blank: str) -> None:
    cells = pl.Series("c", [f"{Decimal(time) / 1000}{blank}" for time in times_ns])
    assert nanoseconds(cells).to_list() == times_ns
    assert cells.to_frame().select(exact_nanoseconds("c")).to_series().to_list() == times_ns


def test_a_time_without_or_with_few_decimals_and_no_time_at_all() -> None:
    cells = ["0", "53.741", "6.54", "7", "1736408883704643.212\t", "N/A", "", None]
    expected = [0, 53741, 6540, 7000, 1736408883704643212, None, None, None]
    assert nanoseconds(pl.Series(cells)).to_list() == expected
    late = pl.DataFrame({"c": cells}).select(exact_nanoseconds("c"))
    assert late.to_series().to_list() == expected


@given(st.integers(0, 2**50))
def test_a_duration_as_a_float_of_microseconds_is_exact(duration_ns: int) -> None:
    assert whole(pl.Series([float(Decimal(duration_ns) / 1000)]), 1000).to_list() == [duration_ns]


def test_a_product_that_a_float_gets_wrong_is_rounded() -> None:
    assert [1.001 * 1000, 1.003 * 1000] == [1000.9999999999999, 1002.9999999999999]
    assert whole(pl.Series([1.001, 1.003]), 1000).to_list() == [1001, 1003]


def test_a_column_keeps_its_rows_and_has_null_for_what_is_no_shape() -> None:
    cells = pl.Series("c", ["2,3", None, "2,x", "2,3", "N/A"])
    expected = [[[2, 3]], None, None, [[2, 3]], None]
    assert parsed(cells, shapes, SHAPES).to_list() == expected
    categories = cells.cast(pl.Categorical())
    assert parsed(categories, shapes, SHAPES).to_list() == expected
    late = categories.to_frame().lazy().select(parsed_late(categories, shapes, SHAPES))
    assert late.collect_schema() == {"c": SHAPES}
    assert late.collect().to_series().to_list() == expected
    nothing = categories.clear(2)
    late = nothing.to_frame().lazy().select(parsed_late(nothing, shapes, SHAPES))
    assert late.collect().to_series().to_list() == [None, None]


def test_equal_stacks_have_one_row_and_no_stack_has_no_id() -> None:
    ids, table = identified([["a", "b"], [], ["a"], ["a", "b"]])
    assert ids == [stack_id(["a", "b"]), None, stack_id(["a"]), stack_id(["a", "b"])]
    assert table["frames"].to_list() == [["a", "b"], ["a"]]
    assert table["stack_id"].to_list() == [ids[0], ids[2]]


def test_frames_are_left_out_as_torch_leaves_them_out() -> None:
    from torch.autograd.profiler_util import _filter_stack_entry

    frames = [
        "torch/autograd/__init__.py(5): backward",
        "torch/autograd/__init__.py(5): _make_grads",
        "torch/tensor.py(9): backward",
        "torch/testing/_internal/common_utils.py(1): prof_callable",
        "torch/nn/modules/linear.py(134): forward",
        "main.py(3): backward",
    ]
    filters = [bool(_filter_stack_entry(frame)) for frame in frames]  # type: ignore[no-untyped-call]
    assert [kept(frame) for frame in frames] == filters == [False] * 4 + [True] * 2
