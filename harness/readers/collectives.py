"""Build the table communication of a torch profile: from NCCL's kernels, from gloo's ranges.

NCCL's and RCCL's kernels carry their collective where the trace has `record_param_comms`' arguments
(torch's ParamCommsUtils.hpp); else their name shows the kind. gloo runs on the host: its ranges
``gloo:*`` last from the start of the work to its end, waiting included (torch's
ProcessGroupGloo.cpp), and name no group. Where neither was recorded, the calls ``c10d::*`` show
that a collective was asked for; how long it took is not in them, and stays null.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import polars as pl
from msgspec import Struct

from harness import tables

_NAMED: Final = r"^(?:nccl|rccl)\w*?Kernel_([A-Za-z]+)"
_GLOO: Final = "gloo:"
_CALL: Final = "c10d::"
_KIND: Final = "Collective name"
_GROUP: Final = "Process Group Name"
_MEMBERS: Final = "Process Group Ranks"
_SENT: Final = "In msg nelems"
_TYPE: Final = "dtype"
_SIZES: Final = {
    **dict.fromkeys(("Bool", "Byte", "Char", "Float8_e4m3fn", "Float8_e5m2"), 1),
    **dict.fromkeys(("Half", "BFloat16", "Short"), 2),
    **dict.fromkeys(("Float", "Int"), 4),
    **dict.fromkeys(("Double", "Long", "ComplexFloat"), 8),
    "ComplexDouble": 16,
}
"""Bytes of an element, by torch's name of its type."""
_HOST_SIZES: Final = {
    **dict.fromkeys(("bool", "unsigned char", "signed char"), 1),
    **dict.fromkeys(("c10::Half", "c10::BFloat16", "short", "short int"), 2),
    **dict.fromkeys(("float", "int"), 4),
    **dict.fromkeys(("double", "long", "long int", "c10::complex<float>"), 8),
    "c10::complex<double>": 16,
}
"""Bytes of an element, by the profiler's name of its type."""


class ProcessGroups(Struct, frozen=True):
    """The process groups of a process, by torch's account of them."""

    gloo: tuple[str, ...] = ()
    """Names of those that move data by gloo; empty if torch gives no account."""
    nccl: tuple[str, ...] = ()
    """Names of those that move data by NCCL or RCCL."""


def of_configs(configs: object) -> ProcessGroups:
    """Return the groups that torch's ``pg_config`` lists, in a trace or in the process."""
    rows = configs if isinstance(configs, list) else []
    named = [row for row in rows if isinstance(row, Mapping) and "pg_name" in row]
    gloo, nccl = (
        tuple(str(row["pg_name"]) for row in named if backend in str(row.get("backend_config", "")))
        for backend in ("gloo", "nccl")
    )
    return ProcessGroups(gloo, nccl)


def communication(
    kernels: pl.DataFrame, operators: pl.DataFrame, groups: ProcessGroups
) -> pl.DataFrame | None:
    """Return the collectives and transfers of one process, null if there are none.

    Besides the shared columns: groups, the number of groups that one without a name may belong to
    (null if that is not known); group_ranks, its members, where the source names them.
    """
    host = operators.filter(pl.col("name").str.starts_with(_GLOO))
    parts = [_of_kernels(kernels, groups.nccl), _of_gloo(host, groups.gloo)]
    found = [part for part in parts if part is not None]
    if not found:
        calls = operators.filter(pl.col("name").str.starts_with(_CALL))
        called = _of_calls(calls)
        found = [] if called is None else [called]
    if not found:
        return None
    rows = pl.concat(found, how="diagonal")
    return tables.frame("communication", {name: rows[name] for name in rows.columns})


def _of_kernels(kernels: pl.DataFrame, groups: Sequence[str]) -> pl.DataFrame | None:
    arguments = (_KIND, _GROUP, _MEMBERS, _SENT, _TYPE)
    info = {name: kernels.get_column(name, default=_nothing(kernels)) for name in arguments}
    kind = info[_KIND].cast(pl.String)
    named = kernels["name"].str.extract(_NAMED)
    chosen = kind.is_not_null() | named.is_not_null()
    if not chosen.any():
        return None
    sizes = info[_TYPE].cast(pl.String).replace_strict(_SIZES, default=None, return_dtype=pl.Int64)
    ranges = ("step", "rank", "name", "start_ns", "duration_ns")
    rows = pl.DataFrame(
        {
            **{name: kernels[name] for name in ranges},
            "type": pl.select(pl.coalesce(kind, named)).to_series().str.to_lowercase(),
            "group": info[_GROUP].cast(pl.String),
            "group_ranks": _text(info[_MEMBERS]),
            "bytes": _whole(info[_SENT]) * sizes,
        }
    )
    return _in_groups(rows.filter(chosen), groups)


def _of_gloo(ranges: pl.DataFrame, groups: Sequence[str]) -> pl.DataFrame | None:
    if ranges.is_empty():
        return None
    rows = _on_host(ranges, _GLOO).with_columns(group=pl.lit(None, pl.String), bytes=_bytes(ranges))
    return _in_groups(rows, groups)


def _in_groups(rows: pl.DataFrame, groups: Sequence[str]) -> pl.DataFrame:
    """Name the group of the rows without one if there is but one; else say how many there are."""
    only = groups[0] if len(groups) == 1 else None
    unnamed = pl.col("group").is_null()
    return rows.with_columns(
        group=pl.coalesce("group", pl.lit(only, pl.String)),
        groups=pl.when(unnamed).then(pl.lit(len(groups) or None, pl.Int64)),
    )


def _of_calls(calls: pl.DataFrame) -> pl.DataFrame | None:
    if calls.is_empty():
        return None
    rows = _on_host(calls, _CALL).with_columns(duration_ns=pl.lit(None, pl.Int64))
    return rows.filter(pl.col("type") != "")


def _on_host(ranges: pl.DataFrame, prefix: str) -> pl.DataFrame:
    words = pl.col("name").str.strip_prefix(prefix).str.replace_all("_", "").str.to_lowercase()
    kept = ("step", "rank", "name", "start_ns", "duration_ns")
    return ranges.select(*kept, type=words).sort("start_ns", maintain_order=True)


def _bytes(ranges: pl.DataFrame) -> pl.Series:
    """Return the bytes of all tensors of each range, in the order of their start."""
    ordered = ranges.sort("start_ns", maintain_order=True)
    columns = (ordered[name].to_list() for name in ("input_shapes", "input_dtypes"))
    sizes = [_size(shapes, dtypes) for shapes, dtypes in zip(*columns, strict=True)]
    return pl.Series(sizes, dtype=pl.Int64)


def _size(shapes: list[list[int]] | None, dtypes: list[str | None] | None) -> int | None:
    """Return the bytes of the tensors; null for what was not recorded, or has no known type."""
    if not shapes or not dtypes or len(shapes) != len(dtypes):
        return None
    total = 0
    for shape, dtype in zip(shapes, dtypes, strict=True):
        size = _HOST_SIZES.get(dtype or "")
        if size is None:
            return None
        for length in shape:
            size *= length
        total += size
    return total


def _nothing(kernels: pl.DataFrame) -> pl.Series:
    return pl.repeat(None, kernels.height, dtype=pl.String, eager=True)


def _text(column: pl.Series) -> pl.Series:
    """Return a column as text: the members of a group may be a list of numbers, or text."""
    if isinstance(column.dtype, pl.List):
        joined: pl.Series = column.cast(pl.List(pl.String)).list.join(", ")
        return "[" + joined + "]"
    return column.cast(pl.String)


def _whole(column: pl.Series) -> pl.Series:
    return column.cast(pl.String).cast(pl.Int64, strict=False)


def process_groups(head: Mapping[str, Any]) -> ProcessGroups:
    """Return the groups that the head of a trace names (``distributedInfo``)."""
    spread = head.get("distributedInfo")
    return of_configs(spread.get("pg_config") if isinstance(spread, dict) else None)
