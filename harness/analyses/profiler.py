"""The calls that an NPU's profiler got, and the files that its analysis wrote."""

from __future__ import annotations

import polars as pl

from harness.capture.capture import Capture
from harness.emulator.calls import in_words


def profiling_calls(capture: Capture) -> pl.DataFrame:
    """Return the ACL profiling calls of a rehearsal, in order, as CANN's header names them.

    Columns: call, arguments (in words), times (how often in a row).
    """
    rows = in_words(capture.calls)
    calls = pl.DataFrame(rows, {"call": pl.String, "arguments": pl.String}, orient="row")
    return (
        calls.with_columns(pl.struct("call", "arguments").rle_id().alias("run"))
        .group_by("run", maintain_order=True)
        .agg(pl.col("call").first(), pl.col("arguments").first(), pl.len().alias("times"))
        .drop("run")
    )


def analysed_files(capture: Capture) -> pl.DataFrame:
    """Return the files that torch_npu's analysis wrote, by name.

    Columns: file, captures (in how many of them it is).
    """
    names = [name.rpartition("/")[2] for name in capture.raw if "ASCEND_PROFILER_OUTPUT/" in name]
    files = pl.DataFrame({"file": names}, {"file": pl.String})
    return files.group_by("file").len("captures").sort("file")
