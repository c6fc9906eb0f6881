"""Build the table communication from kernels and from communication.json or analysis.db."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import polars as pl

from harness import tables
from harness.files import read_all
from harness.readers.base import CaptureError
from harness.readers.call_tree import StepMarkers
from harness.readers.sqlite import Tables
from harness.tables.selection import is_hccl

GROUP: Final = "groupName"
"""The column of kernels that names the communication group, if their source has it."""
_TIME: Final = "Communication Time Info"
_BANDWIDTH: Final = "Communication Bandwidth Info"
_START: Final = "Start Timestamp(us)"
_ELAPSED: Final = "Elapse Time(ms)"
_TRANSIT: Final = "Transit Time(ms)"
_WAIT: Final = "Wait Time(ms)"
_MS: Final = 1_000_000
_US: Final = 1_000
_MB: Final = 1_000_000  # only with this unit are its own packet sizes whole bytes
_SUMS: Final = frozenset({"SDMA", "RDMA"})
_NAME: Final = re.compile(r"hcom_([A-Za-z]+)_")
_STEP: Final = re.compile(r"step(\d{1,18})")
_SYNC: Final = "Synchronization Time(ms)"
_IDLE: Final = "Idle Time(ms)"
_LATEST: Final = 1 << 62
_KEYS: Final[Mapping[str, pl.DataType]] = {"hccl_op_name": pl.String(), "group_name": pl.String()}
_TIMES: Final[Mapping[str, pl.DataType]] = dict.fromkeys(
    (
        *("start_timestamp", "elapse_time", "transit_time", "wait_time"),
        *("synchronization_time", "idle_time"),
    ),
    pl.Float64(),
)
_PATHS: Final[Mapping[str, pl.DataType]] = {
    "transport_type": pl.String(),
    "transit_size": pl.Float64(),
}


class Call(NamedTuple):
    """One operation of communication.json."""

    name: str
    group: str | None
    torch_step: int | None
    start_ns: int
    duration_ns: int
    transit_ns: int
    wait_ns: int
    bytes: int
    others: dict[str, float]
    """Its other times, by torch_npu's names."""


def calls(path: Path) -> list[Call]:
    """Read the operations. Raises CaptureError if this is not such a file."""
    try:
        return list(_calls(json.loads(read_all(path))))
    except (OSError, ValueError, OverflowError, RecursionError) as error:
        raise CaptureError(f"{path.name}: {error}") from error
    except (AttributeError, KeyError, TypeError) as error:
        raise CaptureError(
            f"{path.name}: not the format that torch_npu writes: {error!r}"
        ) from error


def of_database(database: Tables) -> list[Call]:
    """Read the operations from the tables of analysis.db, in the units of communication.json.

    Rows without name or time are skipped, and so are the sums over operations, as in the file.
    """
    rows = database.read("CommAnalyzerTime", {**_KEYS, "step": pl.String(), **_TIMES})
    info = rows.drop_nulls(["hccl_op_name", "start_timestamp", "elapse_time"]).filter(
        ~pl.col("hccl_op_name").str.starts_with("Total")
    )
    paths = (
        database.read("CommAnalyzerBandwidth", {**_KEYS, **_PATHS})
        .drop_nulls(["hccl_op_name", "transport_type"])
        # There is a row for each packet size; each repeats the sum of the path.
        .unique(["hccl_op_name", "group_name", "transport_type"], maintain_order=True)
    )
    moved: dict[tuple[Any, Any], dict[str, float]] = defaultdict(dict)
    for name, group, path, size in paths.select(*_KEYS, *_PATHS).rows():
        moved[name, group][path] = size or 0.0
    calls, wrong = [], 0
    for row in info.iter_rows(named=True):
        try:
            calls.append(_call_of(row, moved[row["hccl_op_name"], row["group_name"]]))
        except (ValueError, OverflowError):
            wrong += 1
    if wrong:
        database.notes.append(
            f"analysis.db: CommAnalyzerTime: {wrong} rows with values out of range"
        )
    return calls


def _call_of(row: Mapping[str, Any], moved: Mapping[str, float]) -> Call:
    others = {_SYNC: row["synchronization_time"], _IDLE: row["idle_time"]}
    return Call(
        name=row["hccl_op_name"],
        group=row["group_name"] or None,
        torch_step=_step(row["step"] or ""),
        start_ns=_whole(row["start_timestamp"], _US),
        duration_ns=_whole(row["elapse_time"], _MS),
        transit_ns=_whole(row["transit_time"] or 0.0, _MS),
        wait_ns=_whole(row["wait_time"] or 0.0, _MS),
        bytes=_moved(moved),
        others={name: value for name, value in others.items() if value is not None},
    )


def table(
    kernels: pl.DataFrame, calls: Iterable[Call], step_markers: StepMarkers, rank: int
) -> pl.DataFrame:
    """Join the exact starts and durations of kernels with the times that only the file has."""
    kernel_rows = kernels.filter(is_hccl(kernels)).select(
        "step",
        pl.col("name").cast(pl.String),
        "start_ns",
        "duration_ns",
        *([pl.col(GROUP).alias("group")] if GROUP in kernels.columns else []),
    )
    rows = [call._asdict() | call.others for call in calls]
    info = pl.DataFrame(rows, infer_schema_length=None).drop("others", strict=False)
    if not rows:
        info = pl.DataFrame(schema={"name": pl.String})
    else:
        info = info.with_columns(
            step=step_markers.of_torch(info["torch_step"].cast(pl.Int64))
        ).drop("torch_step")
    joined = kernel_rows.join(
        info, on="name", how="full", coalesce=True, maintain_order="left_right"
    )
    shared = [
        name
        for name in ("step", "start_ns", "duration_ns", "group")
        if f"{name}_right" in joined.columns
    ]
    joined = joined.with_columns(pl.coalesce(name, f"{name}_right") for name in shared).drop(
        [f"{name}_right" for name in shared]
    )
    columns: dict[str, object] = {name: joined[name] for name in joined.columns}
    columns |= {
        "rank": pl.repeat(rank, joined.height, dtype=pl.Int32, eager=True),
        "type": joined["name"].str.extract(_NAME.pattern).str.to_lowercase(),
    }
    return tables.frame("communication", columns)


def _calls(record: Mapping[str, Any]) -> Iterator[Call]:
    for step, kinds in record.items():
        for operations in kinds.values():
            for key, info in operations.items():
                if not key.startswith("Total"):
                    yield _call(key, info, _step(step))


def _step(word: str) -> int | None:
    number = _STEP.fullmatch(word)
    return int(number[1]) if number else None


def _whole(value: float, unit: int) -> int:
    product = value * unit
    if not abs(product) < _LATEST:
        raise ValueError(f"{value} is out of range")
    return round(product)


def _moved(paths: Mapping[str, float]) -> int:
    """Add up megabytes; SDMA is the sum of its paths: HCCS, PCIE, SIO."""
    counted = _SUMS & paths.keys() or paths.keys()
    return _whole(sum(paths[path] for path in counted), _MB)


def _call(key: str, info: Mapping[str, Any], step: int | None) -> Call:
    name, _, group = key.partition("@")
    times = info[_TIME]
    own_fields = {_START, _ELAPSED, _TRANSIT, _WAIT}
    paths: Mapping[str, Any] = info.get(_BANDWIDTH, {})
    return Call(
        name=name,
        group=group or None,
        torch_step=step,
        start_ns=_whole(times[_START], _US),
        duration_ns=_whole(times[_ELAPSED], _MS),
        transit_ns=_whole(times[_TRANSIT], _MS),
        wait_ns=_whole(times[_WAIT], _MS),
        bytes=_moved({name: path["Transit Size(MB)"] for name, path in paths.items()}),
        others={field: float(times[field]) for field in times if field not in own_fields},
    )
