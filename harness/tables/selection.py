"""Select rows: those within steps, those with shapes, those that communicate."""

from __future__ import annotations

from typing import Final

import polars as pl

from harness.tables.tensor_lists import TENSOR_LIST

HCCL_CORES: Final = ("HCCL", "COMMUNICATION")
"""CANN's names of the core of communication between devices."""
_NAMED: Final = r"^hcom_"


def within_steps(table: pl.DataFrame) -> pl.DataFrame:
    """Return the rows within steps; all rows if the capture has no steps."""
    outside = table["step"].null_count()
    return table if outside in {0, table.height} else table.drop_nulls("step")


def is_hccl(kernels: pl.DataFrame) -> pl.Series:
    """Tell which kernels are HCCL's; CANN has had two names for their core."""
    names, cores = kernels["name"].unique(), kernels["core"].unique()
    hccl_names = names.filter(names.cast(pl.String).str.contains(_NAMED))
    hccl_cores = cores.filter(cores.cast(pl.String).is_in(HCCL_CORES))
    hccl = kernels["core"].is_in(hccl_cores.implode()) | kernels["name"].is_in(hccl_names.implode())
    return hccl.fill_null(value=False)


def is_communication(kernels: pl.DataFrame) -> pl.Series:
    """Tell which kernels move data between devices: HCCL's and NCCL's."""
    nccl = kernels["name"].str.contains(r"^nccl").fill_null(value=False)
    return is_hccl(kernels) | nccl


def is_copy(kernels: pl.DataFrame) -> pl.Series:
    """Tell which kernels are copies between or within memories, by their type or name."""
    words = pl.concat_str("type", "name", separator=" ", ignore_nulls=True)
    return kernels.select(words.str.contains(r"(?i)memcpy")).to_series().fill_null(value=False)


def has_shapes() -> pl.Expr:
    """Tell which rows have the shapes of all their tensors, lists of tensors included.

    A single argument without dimensions counts only with its dtype: torch_npu writes the same empty
    cell for it as for an operator whose arguments were not recorded.
    """
    shapes, dtypes = pl.col("input_shapes"), pl.col("input_dtypes")
    bare = (shapes.list.len() == 1) & (shapes.list.first().list.len() == 0)
    typed = dtypes.list.drop_nulls().list.len().fill_null(0) > 0
    untold = dtypes.list.contains(TENSOR_LIST).fill_null(value=False)
    recorded = shapes.list.len().fill_null(0) > 0
    return recorded & ~untold & (typed | ~bare.fill_null(value=False))
