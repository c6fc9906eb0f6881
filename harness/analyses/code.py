"""Which functions outside torch the host's time belongs to."""

from __future__ import annotations

import re
import sys
from typing import Final

import polars as pl

from harness.analyses.base import share, sum_or_null
from harness.capture.capture import Capture
from harness.tables.selection import within_steps

_FRAME: Final = re.compile(r"(?P<file>[^<].*|<(?:ipython|stdin).*)\(\d+\): .+")
"""``models/gpt.py(88): forward``; built-ins and modules are written otherwise."""
_LIBRARIES: Final = re.compile(
    r"(^|/)(torch|torch_npu)/|(^|/)(site|dist)-packages/|/lib/python\d|^harness/(?!workloads/)"
)


def functions(capture: Capture) -> pl.DataFrame:
    """Return the functions outside torch by the self time of the operators that they call.

    An operator belongs to the innermost function of its stack that is neither torch's, nor
    Python's own, nor the harness's. torch's profiler names a function by the line where it begins.

    Columns: function (null for operators without such a function); operators (count), self_ns,
    device_ns (sums; null where nothing has it), share (of all self time, 0 to 1).
    """
    operators = capture.tables["operators"]
    stacks = capture.tables["stacks"]
    names = {
        stack: own_function(frames)
        for stack, frames in stacks.select("stack_id", "frames").iter_rows()
    }
    if not any(names.values()):
        return pl.DataFrame(schema=_COLUMNS)
    of_stack = pl.DataFrame(
        {"stack_id": list(names), "function": list(names.values())},
        schema={"stack_id": pl.Int64, "function": pl.String},
    )
    return (
        within_steps(operators.select("step", "stack_id", "self_ns", "device_ns"))
        .join(of_stack, on="stack_id", how="left", maintain_order="left")
        .group_by("function", maintain_order=True)
        .agg(
            pl.len().cast(pl.Int64).alias("operators"),
            pl.col("self_ns").sum(),
            sum_or_null("device_ns"),
        )
        .with_columns(share("self_ns"))
        .sort("self_ns", "function", descending=[True, False], nulls_last=True)
    )


_COLUMNS: Final = {
    "function": pl.String,
    "operators": pl.Int64,
    "self_ns": pl.Int64,
    "device_ns": pl.Int64,
    "share": pl.Float64,
}


def own_function(frames: list[str] | None) -> str | None:
    """Return the innermost frame of a stack that is outside torch and Python; None if none is."""
    return next((frame for frame in frames or () if _is_own(frame)), None)


def _is_own(frame: str) -> bool:
    found = _FRAME.fullmatch(frame)
    if found is None or _LIBRARIES.search(found["file"]):
        return False
    first = found["file"].partition("/")[0].removesuffix(".py")
    return first not in sys.stdlib_module_names
