from __future__ import annotations

import os
import random
from pathlib import Path
from typing import BinaryIO
from unittest import mock

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.exceptions import SchemaError

from harness import tables
from harness.errors import WriteError
from harness.tables.intervals import StepLookup
from tests.support.full_disks import fill, small_disk, unfinished_files


def memory(*sizes: int, **columns: object) -> pl.DataFrame:
    return tables.frame("memory", {"bytes": list(sizes), **columns})


def test_every_column_in_nanoseconds_or_bytes_is_an_int64() -> None:
    for schema in tables.SCHEMAS.values():
        for column, dtype in schema.items():
            if column.endswith("_ns") or column in {"bytes", "total_allocated", "flops"}:
                assert dtype == pl.Int64, column


@pytest.mark.parametrize("name", tables.SCHEMAS)
def test_an_empty_table_has_its_schema(name: str) -> None:
    assert tables.empty(name).schema == tables.SCHEMAS[name]
    assert tables.frame(name, {}).equals(tables.empty(name))


def test_a_frame_has_all_known_columns_in_order_then_the_others() -> None:
    frame = tables.frame("memory", {"mac_ratio": [0.5], "bytes": [1], "operator": [None]})
    assert frame.columns == [*tables.SCHEMAS["memory"], "mac_ratio"]
    assert frame.row(0) == (None, None, None, None, 1, None, None, None, 0.5)
    assert frame.schema["operator"] == pl.Int64


def test_a_frame_refuses_values_of_another_type() -> None:
    with pytest.raises(TypeError):
        tables.frame("memory", {"bytes": ["N/A"]})


def test_written_tables_are_read_back(tmp_path: Path) -> None:
    table = memory(1, -1, vendor=["x", None])
    tables.write(table, tmp_path / "new" / "memory.parquet", tmp_path)
    assert pl.read_parquet(tmp_path / "new" / "memory.parquet").equals(table)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["memory.parquet"]


def test_a_lazy_table_is_written_in_its_order_and_batch_by_batch(tmp_path: Path) -> None:
    count = 200_000
    table = memory(*range(count), vendor=["x"] * count)
    batches: list[int] = []

    def watch(batch: pl.Series) -> pl.Series:
        batches.append(len(batch))
        return batch

    lazy = table.lazy().with_columns(
        pl.col("bytes").map_batches(watch, return_dtype=pl.Int64(), is_elementwise=True)
    )
    tables.write(lazy, tmp_path / "memory.parquet", tmp_path)
    assert pl.read_parquet(tmp_path / "memory.parquet").equals(table)
    assert sum(batches) == count
    assert max(batches) < 50_000
    with pytest.raises(SchemaError, match=r"memory\.rank must be Int32, found no such column"):
        tables.write(lazy.drop("rank"), tmp_path / "memory.parquet", tmp_path)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (memory(1).drop("time_ns"), r"memory\.time_ns must be Int64, found no such column"),
        (memory(1).cast({"bytes": pl.Float64}), r"memory\.bytes must be Int64, found Float64"),
    ],
)
def test_a_table_of_another_schema_is_refused(
    table: pl.DataFrame, message: str, tmp_path: Path
) -> None:
    with pytest.raises(SchemaError, match=message):
        tables.write(table, tmp_path / "memory.parquet", tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_unknown_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        tables.write(pl.DataFrame(), tmp_path / "surprises.parquet", tmp_path)


def test_a_write_that_fails_leaves_the_old_table_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "memory.parquet"
    tables.write(memory(1), path, tmp_path)

    def half(_: pl.DataFrame, target: BinaryIO, **_options: object) -> None:
        target.write(b"PAR1")
        raise RuntimeError

    with mock.patch.object(pl.DataFrame, "write_parquet", half), pytest.raises(RuntimeError):
        tables.write(memory(2), path, tmp_path)
    assert pl.read_parquet(path).equals(memory(1))
    assert list(tmp_path.iterdir()) == [path]


def test_a_table_appears_only_once_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "memory.parquet"
    with mock.patch.object(os, "replace", side_effect=KeyboardInterrupt) as replace:
        with pytest.raises(KeyboardInterrupt):
            tables.write(memory(1), path, tmp_path)
        replace.assert_called_once()
    assert not list(tmp_path.iterdir())


def test_parts_are_joined_by_their_number_with_every_table_written(tmp_path: Path) -> None:
    parts, out = tmp_path / "cycles", tmp_path / "tables"
    tables.write(memory(3, vendor=["x"]), parts / "1000" / "memory.parquet", tmp_path)
    tables.write(memory(2), parts / "999" / "memory.parquet", tmp_path)
    tables.write(memory(1, vendor=[None]), parts / "000" / "memory.parquet", tmp_path)
    tables.write(memory(9), parts / "notes" / "memory.parquet", tmp_path)
    tables.join_cycles(parts, out, tmp_path)
    assert sorted(path.stem for path in out.iterdir()) == sorted(tables.SCHEMAS)
    joined = pl.read_parquet(out / "memory.parquet")
    assert joined.select("bytes", "vendor").rows() == [(1, None), (2, None), (3, "x")]
    assert pl.read_parquet(out / "kernels.parquet").equals(tables.empty("kernels"))


def test_a_stack_of_several_parts_is_written_once(tmp_path: Path) -> None:
    for part, ids in enumerate([[7, 8], [8, 9]]):
        frame = tables.frame("stacks", {"stack_id": ids, "frames": [[str(n)] for n in ids]})
        tables.write(frame, tmp_path / str(part) / "stacks.parquet", tmp_path)
    tables.join_cycles(tmp_path, tmp_path, tmp_path)
    assert pl.read_parquet(tmp_path / "stacks.parquet")["stack_id"].to_list() == [7, 8, 9]


def test_without_parts_all_tables_are_empty(tmp_path: Path) -> None:
    tables.join_cycles(tmp_path / "none", tmp_path, tmp_path)
    assert all(not pl.read_parquet(path).height for path in tmp_path.glob("*.parquet"))
    assert len(list(tmp_path.iterdir())) == len(tables.SCHEMAS)


ranges = st.lists(
    st.builds(lambda start, length: (start, start + length), st.integers(0, 30), st.integers(1, 9)),
    max_size=8,
    unique_by=lambda bounds: bounds[0],
)


@given(ranges)
def test_the_last_begun_range_counts(ranges: list[tuple[int, int]]) -> None:
    timeline = StepLookup(
        [(start, end, number) for number, (start, end) in enumerate(ranges)], pl.Int64()
    )
    times = range(-1, 42)
    expected = []
    for time in times:
        containing = [n for n, (start, end) in enumerate(ranges) if start <= time < end]
        expected.append(max(containing, key=lambda n: ranges[n][0], default=None))
    assert timeline.at(pl.Series(times, dtype=pl.Int64)).to_list() == expected


@pytest.mark.parametrize("lazy", [True, False])
def test_a_table_on_a_full_disk_is_an_error_that_names_it(tmp_path: Path, lazy: bool) -> None:
    rows = tables.frame("memory", {"bytes": [random.getrandbits(62) for _ in range(5_000)]})
    with small_disk(tmp_path / "disk", pages=4) as disk:
        path = disk / "tables" / "memory.parquet"
        with pytest.raises(WriteError) as raised:
            tables.write(rows.lazy() if lazy else rows, path, disk)
        assert raised.value.fact == f"{path} cannot be written: No space left on device"
        assert not path.exists()
        assert unfinished_files(disk) == []


@pytest.mark.parametrize("folder", ["[proj]", "g?", "*"])
def test_a_path_is_no_pattern(tmp_path: Path, folder: str) -> None:
    for name in (folder, "g1"):
        tables.write(memory(1).lazy(), tmp_path / name / "memory.parquet", tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([folder, "g1"])
    assert (tmp_path / folder / "memory.parquet").is_file()


def test_tables_that_are_replaced_go_once_the_new_ones_are_there(tmp_path: Path) -> None:
    folder = tmp_path / "analyses"
    tables.keep({"a": memory(1), "b": memory(2)}, folder, tmp_path)
    (folder / "more").mkdir()
    with pytest.raises(AttributeError):
        tables.keep({"b": memory(3), "c": None}, folder, tmp_path)  # type: ignore[dict-item]
    assert (folder / "a.parquet").exists()
    tables.keep({"b": memory(3)}, folder, tmp_path)
    assert [path.name for path in folder.iterdir()] == ["b.parquet"]
    tables.keep({}, folder, tmp_path)
    assert not folder.exists()


def test_a_table_whose_last_bytes_do_not_fit_is_an_error_that_names_it(tmp_path: Path) -> None:
    # polars says "Invalid thrift: transport error" then, and no more.
    with small_disk(tmp_path / "disk", pages=6) as disk:
        path = disk / "steps.parquet"
        fill(disk)
        with pytest.raises(WriteError, match=r"steps\.parquet cannot be written: No space left"):
            tables.write(tables.empty("steps"), path, disk)
        assert unfinished_files(disk) == []
