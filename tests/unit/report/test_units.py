"""How raw values are written: exact texts, and what holds for any value."""

from __future__ import annotations

import math
import re
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.report.section import Column, Section, Status, Unit, Value
from harness.report.units import FORMATTERS, MARKS, WIDTHS, cells, duration, shapes, shortened

NUMBERS: tuple[Unit, ...] = (
    *("identifier", "count", "number", "ns", "bytes", "flops", "share", "ratio"),
)
FACTORS = (
    {"ns": 1, "µs": 1e3, "ms": 1e6, "s": 1e9}
    | {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
    | {"": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15}
    | {"%": 0.01, "×": 1}
)
I64 = st.integers(-(2**63), 2**63)


def one(unit: Unit, value: Value) -> str:
    """The only cell of a section."""
    ((text,),) = cells(Section(title="", columns=(Column("", unit),), rows=((value,),)))
    return text


@pytest.mark.parametrize(
    ("unit", "value", "text"),
    [
        ("text", "AI_CORE", "AI_CORE"),
        ("name", "void at::native::(anonymous namespace)::gemm", "gemm"),
        ("shapes", [[2, 3], [], [4]], "[2,3] [4]"),
        ("shapes", [], ""),
        ("status", "partial", "◐"),
        ("identifier", 1009, "1009"),
        ("identifier", 0, "0"),
        ("count", 1234567, "1,234,567"),
        ("number", 0.123456, "0.123"),
        ("number", 999.4, "999"),
        ("number", 999.6, "1,000"),
        ("number", 12345.6, "12,346"),
        ("ns", 0, "0 ns"),
        ("ns", 999, "999 ns"),
        ("ns", 1000, "1 µs"),
        ("ns", 1234567, "1.23 ms"),
        ("ns", 999_499_999, "999 ms"),
        ("ns", 2_000_000_000, "2 s"),
        ("ns", 1_234_000_000_000, "1,234 s"),
        ("ns", -1_234_000_000_000, "-1,234 s"),
        ("bytes", 0, "0 B"),
        ("bytes", 1023, "1023 B"),
        ("bytes", 1536, "1.5 KiB"),
        ("bytes", 1023 * 2**20, "1,023 MiB"),
        ("bytes", 3 * 2**30, "3 GiB"),
        ("flops", 96, "96"),
        ("flops", 1_610_612_736, "1.61 G"),
        ("share", 0.4567, "45.7%"),
        ("ratio", 1.5, "1.50 ×"),
    ],
)
def test_value_is_written_with_its_unit(unit: Unit, value: Value, text: str) -> None:
    assert one(unit, value) == text


def test_every_unit_and_every_status_has_its_text() -> None:
    assert set(FORMATTERS) == set(get_args(Unit))
    assert set(MARKS) == set(get_args(Status))


@pytest.mark.parametrize("unit", get_args(Unit))
def test_what_is_not_there_is_written_as_the_column_says(unit: Unit) -> None:
    assert one(unit, None) == "–"
    section = Section(title="", columns=(Column("", unit, absent="(none)"),), rows=((None,),))
    assert cells(section) == [("(none)",)]


@settings(deadline=None)
@given(st.sampled_from(NUMBERS), I64 | st.floats(allow_nan=True, allow_infinity=True) | st.none())
def test_any_number_has_a_text(unit: Unit, value: float | None) -> None:
    assert one(unit, value)


@settings(deadline=None)
@given(st.sampled_from(NUMBERS), I64)
def test_a_text_says_its_number_to_three_digits(unit: Unit, value: int) -> None:
    match = re.fullmatch(r"(-?[\d,.]+(?:e[+-]\d+)?) ?(\D*)", one(unit, value))
    assert match
    read = float(match[1].replace(",", "")) * FACTORS[match[2]]
    assert math.isclose(read, value, rel_tol=0.006)


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(0, 2**40), max_size=6), max_size=12), st.integers(2, 60))
def test_shapes_are_no_longer_than_they_may_be(tensors: list[list[int]], width: int) -> None:
    whole, text = shapes(tensors, 10**6), shapes(tensors, width)
    assert len(text) <= width
    assert text == whole or (text[-1] == "…" and whole.startswith(text[:-1]))


@settings(deadline=None)
@given(st.text(min_size=1, max_size=200), st.integers(8, 80))
def test_a_name_is_no_longer_than_it_may_be(name: str, width: int) -> None:
    assert len(shortened(name, width)) <= width


def test_a_long_name_keeps_both_of_its_ends() -> None:
    name = f"autograd::engine::evaluate_function: {'x' * 40}Backward0"
    assert len(shortened(name)) == WIDTHS["name"]
    assert shortened(name, 29) == "autograd::engi…xxxxxBackward0"
    kernel = f"void at::native::reduce<{'float, ' * 10}int>({'long, ' * 20}int)"
    assert shortened(kernel, 100) == f"reduce<{'float, ' * 10}int>(…)"


def test_a_part_of_a_whole_is_written_with_its_share() -> None:
    section = Section(
        title="",
        columns=(Column("idle", "ns", part_of="span"), Column("span", "ns")),
        rows=((420, 1000), (0, 1000), (7, 0), (7, None), (None, 1000)),
    )
    assert [row[0] for row in cells(section)] == ["420 ns (42%)", "0 ns (0%)", "7 ns", "7 ns", "–"]
    assert cells(section, before_share="\n")[0] == ("420 ns\n(42%)", "1 µs")


@settings(deadline=None)
@given(st.lists(st.integers(0, 10**13), min_size=2, max_size=20))
def test_rows_sort_by_their_raw_values_where_their_texts_do_not(times: list[int]) -> None:
    rows = tuple((time,) for time in times)
    section = Section(title="", columns=(Column("time", "ns"),), rows=rows)
    order = sorted(range(len(times)), key=lambda place: section.rows[place])
    assert [section.rows[place][0] for place in order] == sorted(times)
    texts = cells(section)
    assert [texts[place][0] for place in order] == [duration(time) for time in sorted(times)]


def test_a_section_whose_rows_do_not_fit_its_columns_is_refused() -> None:
    with pytest.raises(AssertionError, match="Steps"):
        Section(title="Steps", columns=(Column("step"),), rows=((1, 2),))
    with pytest.raises(AssertionError, match="Steps"):
        Section(title="Steps", columns=(Column("idle", "ns", part_of="span"),))
