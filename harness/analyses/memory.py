"""How much memory is in use, and which operator, line and module allocated it."""

from __future__ import annotations

from typing import Any, Final

import polars as pl

from harness.analyses.origins import Origins
from harness.analyses.wall_time import MODULE
from harness.capture.capture import Capture


def memory_peaks(capture: Capture) -> pl.DataFrame:
    """Return, for each device, the highest memory in use and what reached it.

    Columns: device; total_allocated (bytes); time_ns; operator (name); step (null outside of all),
    after_ns (since the step began); module (the innermost that called the operator) and line (of
    the user's code, ``train.py:12``), for what backward runs those of forward. Each is null where
    it is not known.
    """
    peaks = (
        capture.tables["memory"]
        .select("device", "rank", "total_allocated", "time_ns", "operator")
        .sort("total_allocated", descending=True, nulls_last=True, maintain_order=True)
        .group_by("device", maintain_order=True)
        .first()
    )
    rows = [_placed(capture, row) for row in peaks.iter_rows(named=True)]
    return peaks.select("device", "total_allocated", "time_ns").hstack(
        pl.DataFrame(rows, schema=_PLACE)
    )


_PLACE: Final = {
    "operator": pl.String,
    "step": pl.Int64,
    "after_ns": pl.Int64,
    "module": pl.String,
    "line": pl.String,
}


def _placed(capture: Capture, peak: dict[str, Any]) -> dict[str, Any]:
    """Return where in the run a peak was reached."""
    time, of_rank = peak["time_ns"], pl.col("rank").eq_missing(peak["rank"])
    operators = capture.tables["operators"].filter(of_rank)
    place = operators["id"].eq_missing(pl.Series([peak["operator"]], dtype=pl.Int64)).arg_true()
    name, called, module = None, time, None
    if len(place):
        source = int(Origins(operators).source[place[0]])
        name, called = operators["name"][place[0]], operators["start_ns"][source]
        module = _module(capture, operators["stack_id"][source])
    step = _open_at(capture.tables["steps"].filter(of_rank, pl.col("step").is_not_null()), time)
    line = _open_at(capture.tables["lines"].filter(of_rank), called)
    return {
        "operator": name,
        "step": step["step"] if step else None,
        "after_ns": time - step["start_ns"] if step else None,
        "module": module,
        "line": f"{line['file']}:{line['line']}" if line else None,
    }


def _module(capture: Capture, stack: int | None) -> str | None:
    if stack is None:
        return None
    frames = capture.tables["stacks"].filter(pl.col("stack_id") == stack)["frames"]
    modules = [frame for frame in (frames[0] if len(frames) else ()) if frame.startswith(MODULE)]
    return modules[0].removeprefix(MODULE) if modules else None


def _open_at(table: pl.DataFrame, time: int | None) -> dict[str, Any] | None:
    """Return the row whose range is open at a time: of several, the last that began."""
    if time is None:
        return None
    end = pl.col("start_ns") + pl.col("duration_ns")
    rows = table.filter(pl.col("start_ns") <= time, end > time).sort("start_ns")
    return rows.row(-1, named=True) if rows.height else None
