"""Build the table communication from the kernels of collectives on GPUs (NCCL, RCCL)."""

from __future__ import annotations

from typing import Final

import polars as pl

from harness import tables

_NAMED: Final = r"^(?:nccl|rccl)\w*?Kernel_([A-Za-z]+)"
_KIND: Final = "Collective name"
_GROUP: Final = "Process Group Name"
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


def communication(kernels: pl.DataFrame) -> pl.DataFrame | None:
    """Return the collectives among kernels, null if there are none.

    Newer traces record the collective of a kernel; in older ones only the kernel's name shows it.
    """
    arguments = (_KIND, _GROUP, _SENT, _TYPE)
    info = {name: kernels.get_column(name, default=_nothing(kernels)) for name in arguments}
    kind = info[_KIND].cast(pl.String)
    named = kernels["name"].str.extract(_NAMED)
    chosen = kind.is_not_null() | named.is_not_null()
    if not chosen.any():
        return None
    sizes = info[_TYPE].cast(pl.String).replace_strict(_SIZES, default=None, return_dtype=pl.Int64)
    rows = pl.DataFrame(
        {
            **{name: kernels[name] for name in ("step", "rank", "name", "start_ns", "duration_ns")},
            "type": pl.select(pl.coalesce(kind, named)).to_series().str.to_lowercase(),
            "group": info[_GROUP].cast(pl.String),
            "bytes": _whole(info[_SENT]) * sizes,
        }
    ).filter(chosen)
    return tables.frame("communication", {name: rows[name] for name in rows.columns})


def _nothing(kernels: pl.DataFrame) -> pl.Series:
    return pl.repeat(None, kernels.height, dtype=pl.String, eager=True)


def _whole(column: pl.Series) -> pl.Series:
    return column.cast(pl.String).cast(pl.Int64, strict=False)
