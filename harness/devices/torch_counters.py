"""Turn counters that torch writes only to its exported trace into columns. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import polars as pl
from msgspec import Raw, Struct

from harness import tables
from harness.devices.kineto import Event
from harness.readers.gzip_stream import opened
from harness.readers.json_stream import EventFile

OPERATORS: Final = ("cpu_op", "user_annotation")
_EXTERNAL: Final = "External id"
_KEYS: Final = ("thread", "name", "start_ns", "duration_ns")
_NTH: Final = pl.int_range(pl.len()).over(_KEYS).alias("nth")


RANGE: Final = "cuda_profiler_range"
"""Kineto's word for a range that CUPTI counted in: a kernel, or a window."""


class _Traced(Struct, gc=False):
    cat: str = ""
    name: str = ""
    ts: Raw = Raw(b"0")
    args: Raw = Raw(b"{}")


def counted(trace: Path, names: Sequence[str]) -> pl.DataFrame:
    """Return what was counted for each operator of a trace that torch has exported.

    Each operator's counts hold those of the operators that it called.

    Columns: external (torch's number of the operator; in the profile its correlation id), and
    one of whole numbers for each of `names`, null where the trace has none.
    """
    rows: list[dict[str, Any]] = []
    for event in _events(trace, OPERATORS):
        arguments = msgspec.json.decode(event.args)
        counts = {name: arguments.get(name) for name in names}
        rows.append({"external": arguments.get(_EXTERNAL), **counts})
    return pl.DataFrame(rows, schema=dict.fromkeys(("external", *names), pl.Int64))


def measured(trace: Path, names: Sequence[str]) -> pl.DataFrame:
    """Return what CUPTI measured in each range of a trace that torch has exported, by start.

    Columns: name, and a float for each of `names`, null where the trace has none.
    """
    rows = []
    for event in sorted(_events(trace, (RANGE,)), key=lambda event: float(bytes(event.ts))):
        arguments = msgspec.json.decode(event.args)
        rows.append({"name": event.name, **{name: arguments.get(name) for name in names}})
    schema = {"name": pl.String()} | dict.fromkeys(names, pl.Float64())
    return pl.DataFrame(rows, schema=schema)


def with_metrics(kernels: pl.DataFrame, ranges: pl.DataFrame) -> pl.DataFrame:
    """Return kernels with the metrics as columns, and without durations that are not measured.

    Kineto makes a kernel of each range, and divides the window's time evenly among them. Unless
    the ranges on both sides have the same names in the same order, all values are null.
    """
    is_range = pl.col("type") == RANGE
    numbered = kernels.with_columns(
        nth=pl.when(is_range).then(is_range.cast(pl.Int64).cum_sum() - 1),
        duration_ns=pl.when(~is_range).then("duration_ns"),
    )
    same = kernels.filter(is_range)["name"].to_list() == ranges["name"].to_list()
    metrics = ranges.drop("name").with_row_index("nth").cast({"nth": pl.Int64})
    return numbered.join(
        metrics if same else metrics.clear(), on="nth", how="left", maintain_order="left"
    ).drop("nth")


def _events(trace: Path, kinds: Sequence[str]) -> Iterator[_Traced]:
    with opened(trace, []) as file:
        for chunk in EventFile(file, trace.name, _Traced, key="traceEvents").chunks():
            yield from (event for event in chunk if event.cat in kinds)


def with_counts(
    operators: pl.DataFrame, events: Iterable[Event], counts: pl.DataFrame
) -> pl.DataFrame:
    """Return operators with their counts as columns; `events` are those that they were made of.

    A row gets the counts of the event with the same thread, name, start and duration. Several such
    events come in the same order on both sides, and are paired in that order.
    """
    made = [event for event in events if event.activity_type() in OPERATORS]
    starts = [event.start_ns() for event in made]
    columns = {
        "thread": [event.start_thread_id() for event in made],
        "name": [event.name() for event in made],
        "start_ns": starts,
        "duration_ns": [event.end_ns() - at for event, at in zip(made, starts, strict=True)],
        "external": [event.correlation_id() for event in made],
    }
    schema = {key: tables.SCHEMAS["operators"][key] for key in _KEYS} | {"external": pl.Int64()}
    numbers = pl.DataFrame(columns, schema=schema).with_columns(_NTH)
    counted_once = counts.drop_nulls("external").unique("external", keep="none")
    return (
        operators.with_columns(_NTH)
        .join(numbers, on=[*_KEYS, "nth"], how="left", maintain_order="left")
        .join(counted_once, on="external", how="left", maintain_order="left")
        .drop("nth", "external")
    )
