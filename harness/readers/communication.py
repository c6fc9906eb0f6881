"""communication.json and the kernels that move data between devices become communication."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import polars as pl

from harness import tables
from harness.readers.base import CaptureError
from harness.readers.host import Marks
from harness.readers.launches import communicates

GROUP: Final = "groupName"
"""The column of kernels that tells the group of communication, where their source does."""
_TIME: Final = "Communication Time Info"
_BANDWIDTH: Final = "Communication Bandwidth Info"
_START: Final = "Start Timestamp(us)"
_ELAPSED: Final = "Elapse Time(ms)"
_TRANSIT: Final = "Transit Time(ms)"
_WAIT: Final = "Wait Time(ms)"
_MS: Final = 1_000_000
_US: Final = 1_000
_MB: Final = 1_000_000  # its own sizes of packets are whole bytes only so
_SUMS: Final = frozenset({"SDMA", "RDMA"})
_NAME: Final = re.compile(r"hcom_([A-Za-z]+)_")
_STEP: Final = re.compile(r"step(\d+)")


class Call(NamedTuple):
    """One operation, as communication.json tells it."""

    name: str
    group: str | None
    torch_step: int | None
    start_ns: int
    duration_ns: int
    transit_ns: int
    wait_ns: int
    bytes: int
    others: dict[str, float]
    """What else is told of its time, by torch_npu's names."""


def calls(path: Path) -> list[Call]:
    """Read the operations. Raises CaptureError if this is not such a file."""
    try:
        return list(_calls(json.loads(path.read_bytes())))
    except (OSError, ValueError, RecursionError) as error:
        raise CaptureError(f"{path.name}: {error}") from error
    except (AttributeError, KeyError, TypeError) as error:
        raise CaptureError(f"{path.name}: not as torch_npu writes it: {error!r}") from error


def table(kernels: pl.DataFrame, found: Iterable[Call], marks: Marks, rank: int) -> pl.DataFrame:
    """Join what the kernels tell exactly, start and duration, with what only the file tells."""
    own = kernels.filter(communicates(kernels)).select(
        "step",
        pl.col("name").cast(pl.String),
        "start_ns",
        "duration_ns",
        *([pl.col(GROUP).alias("group")] if GROUP in kernels.columns else []),
    )
    rows = [call._asdict() | call.others for call in found]
    told = pl.DataFrame(rows, infer_schema_length=None).drop("others", strict=False)
    if not rows:
        told = pl.DataFrame(schema={"name": pl.String})
    else:
        told = told.with_columns(step=marks.of_torch(told["torch_step"].cast(pl.Int64))).drop(
            "torch_step"
        )
    joined = own.join(told, on="name", how="full", coalesce=True, maintain_order="left_right")
    doubled = [
        name
        for name in ("step", "start_ns", "duration_ns", "group")
        if f"{name}_right" in joined.columns
    ]
    joined = joined.with_columns(pl.coalesce(name, f"{name}_right") for name in doubled).drop(
        [f"{name}_right" for name in doubled]
    )
    columns: dict[str, object] = {name: joined[name] for name in joined.columns}
    columns |= {
        "rank": pl.repeat(rank, joined.height, dtype=pl.Int32, eager=True),
        "type": joined["name"].str.extract(_NAME.pattern).str.to_lowercase(),
    }
    return tables.frame("communication", columns)


def _calls(record: Mapping[str, Any]) -> Iterator[Call]:
    for step, kinds in record.items():
        number = _STEP.fullmatch(step)
        for operations in kinds.values():
            for key, told in operations.items():
                if not key.startswith("Total"):
                    yield _call(key, told, int(number[1]) if number else None)


def _call(key: str, told: Mapping[str, Any], step: int | None) -> Call:
    name, _, group = key.partition("@")
    times = told[_TIME]
    known = {_START, _ELAPSED, _TRANSIT, _WAIT}
    paths: Mapping[str, Any] = told.get(_BANDWIDTH, {})
    # SDMA is the sum of the paths that it takes: HCCS, PCIE, SIO.
    counted = _SUMS & paths.keys() or paths.keys()
    return Call(
        name=name,
        group=group or None,
        torch_step=step,
        start_ns=round(times[_START] * _US),
        duration_ns=round(times[_ELAPSED] * _MS),
        transit_ns=round(times[_TRANSIT] * _MS),
        wait_ns=round(times[_WAIT] * _MS),
        bytes=round(sum(paths[path]["Transit Size(MB)"] for path in counted) * _MB),
        others={each: float(times[each]) for each in times if each not in known},
    )
