"""A table of a run folder is read as it is written, or it is said what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from polars.exceptions import SchemaError

from harness import tables

_OPERATORS = {"id": [0, 1], "start_ns": [5, 6], "duration_ns": [1, 1]}


def _written(folder: Path, name: str, table: pl.DataFrame) -> Path:
    path = folder / f"{name}.parquet"
    table.write_parquet(path)
    return path


def test_what_was_written_is_read(tmp_path: Path) -> None:
    table = tables.frame("operators", _OPERATORS | {"counter": [0.5, None]})
    path = _written(tmp_path, "operators", table)
    assert tables.read_stored(path).equals(table)
    assert tables.scan_stored(path).collect().equals(table)
    stacks = tables.frame("stacks", {"stack_id": [1, 2, 3], "frames": [["a"], [], None]})
    assert tables.read_stored(_written(tmp_path, "stacks", stacks)).equals(stacks)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda table: table.drop("name"), "the column name is missing"),
        (
            lambda table: table.with_columns(pl.col("start_ns").cast(pl.Float64)),
            "the column start_ns must be Int64, and is Float64",
        ),
        (
            lambda table: table.with_columns(duration_ns=pl.lit(1 << 62)),
            "the column duration_ns has times beyond 2\\^62 ns",
        ),
        (
            lambda table: table.with_columns(start_ns=pl.lit(-(1 << 63))),
            "the column start_ns has times beyond 2\\^62 ns",
        ),
        (
            lambda table: table.with_columns(id=pl.lit(0, pl.Int64)),
            "the column id must have another number in each row",
        ),
        (
            lambda table: table.with_columns(id=pl.lit(None, pl.Int64)),
            "the column id must have another number in each row",
        ),
    ],
)
def test_other_tables_are_refused(
    tmp_path: Path, change: Callable[[pl.DataFrame], pl.DataFrame], problem: str
) -> None:
    path = _written(tmp_path, "operators", change(tables.frame("operators", _OPERATORS)))
    with pytest.raises(SchemaError, match=problem):
        tables.read_stored(path)


def test_a_frame_without_a_text_is_refused(tmp_path: Path) -> None:
    stacks = tables.frame("stacks", {"stack_id": [1, 2], "frames": [["a", None], []]})
    with pytest.raises(SchemaError, match="frames without a text"):
        tables.read_stored(_written(tmp_path, "stacks", stacks))
