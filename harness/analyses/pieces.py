"""The recorded steps, cut into pieces: each nanosecond of a step is in one part.

The parts, of which the first that applies counts:

1. ``compute``, ``communication``, ``copies``: a device computes, moves data between ranks, copies.
2. ``data loading``: the thread that makes the steps is in the ``__next__`` of a DataLoader.
3. ``operators``: the host is in an operator of torch, on any thread.
4. ``communication`` again: the host moves data between ranks (gloo) while no operator runs.
5. ``idle``: at the end of the step, the host waits for the device, which runs nothing.
6. ``python``: none of these: Python between operators, what it calls that torch does not record,
   and what it waits for.
7. ``not recorded``: none of these, in a step of which no operator was recorded.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import polars as pl

from harness.analyses.layers import (
    NONE,
    Layer,
    Numbers,
    first,
    following,
    nested,
    preceding,
    union,
)
from harness.analyses.origins import Origins
from harness.capture.capture import Capture
from harness.tables.selection import is_communication, is_copy

PARTS: Final = (
    *("compute", "communication", "copies"),
    *("data loading", "operators", "idle", "python", "not recorded"),
)
_COMPUTE, _COMMUNICATION, _COPIES = range(3)
_LOADING, _OPERATORS, _IDLE, _PYTHON, _UNRECORDED = range(3, len(PARTS))
_OPERATOR: Final = r"::|Backward\d*$|^CompiledFunction|^Torch-Compiled|^## Call|^graph_\d|fused_"
"""Names of what torch runs. Other names are of ranges that Python puts around its own code."""
WAIT: Final = "wait_ns"
"""The column of the table `steps` that says how long the host waited for the device."""
_GLOO: Final = "gloo:"

SCHEMA: Final = {
    "rank": pl.Int32,
    "step": pl.Int64,
    "part": pl.String,
    "start_ns": pl.Int64,
    "duration_ns": pl.Int64,
    "operator": pl.Int64,
    "comes_from": pl.Int64,
    "leads_to": pl.Int64,
    "stage": pl.String,
    "code_ns": pl.Int64,
}


class _Layers(NamedTuple):
    """What goes on in one rank at each moment."""

    compute: Layer
    """Rows of kernels, as in the next two."""
    communication: Layer
    copies: Layer
    loading: Layer
    running: Layer
    """Where the host is in an operator of torch."""
    moving: Layer
    """Where the host moves data."""
    waiting: Layer
    """Where the host waits for the device at the end of a step."""
    innermost: Layer
    """Rows of operators, on the thread that makes the steps."""
    elsewhere: Layer
    """Rows of operators on other threads; the last that began."""
    lines: Layer
    """Where a line of the user's code begins."""


def pieces(capture: Capture) -> pl.DataFrame:
    """Cut the recorded steps into pieces, wherever anything begins or ends.

    A piece of a device belongs to the operator that launched its kernel; any other to the innermost
    operator that is open on the thread that makes the steps, else on another thread.

    Columns: rank; step; part (one of `PARTS`); start_ns, duration_ns; operator (its row in the
    table `operators`, null for none); comes_from (the same; where there is none, the last one
    before in the step, or null); leads_to (the same; where there is none, the next one in the step,
    else the last); stage (of `leads_to`); code_ns (when the code ran that the piece belongs to: of
    what backward runs, when the operator of forward was called, as far as autograd tells; of
    another operator, when it was called; while the host waits, of what leads_to names; else when
    the piece began).
    """
    operators = capture.tables["operators"].with_row_index("row")
    steps = capture.tables["steps"].filter(
        pl.col("phase") == "active", pl.col("step").is_not_null(), pl.col("duration_ns") > 0
    )
    steps = steps.unique(["rank", "step", "start_ns"], keep="first").sort("start_ns")
    cut = [pl.DataFrame(schema=SCHEMA)]
    for (rank,), own in steps.partition_by("rank", as_dict=True).items():
        of_rank = pl.col("rank").eq_missing(rank)
        names = ("kernels", "communication", "lines")
        tables = {name: capture.tables[name].filter(of_rank) for name in names}
        tables |= {"operators": operators.filter(of_rank), "steps": own}
        cut.append(_of_rank(tables))
    return pl.concat(cut)


def _of_rank(tables: dict[str, pl.DataFrame]) -> pl.DataFrame:
    operators, kernels, steps = (tables[name] for name in ("operators", "kernels", "steps"))
    origins = Origins(operators)
    layers = _layers(tables, origins, _step_thread(operators))
    starts, durations = _ints(steps["start_ns"]), _ints(steps["duration_ns"])
    cuts = np.unique(
        np.concatenate([starts, starts + durations, *(layer.cuts for layer in layers)])
    )
    places = nested(starts, durations, np.arange(len(starts))).at(cuts)
    inside = places != NONE
    begins, lengths, places = cuts[inside], np.diff(cuts, append=cuts[-1:])[inside], places[inside]
    kernel = first(*(layer.at(begins) for layer in layers[:3]))
    host = first(layers.innermost.at(begins), layers.elsewhere.at(begins))
    operator = np.where(kernel == NONE, host, _launchers(operators, kernels)[kernel])
    leads_to = following(operator, places)
    part = _parts(begins, layers, _recorded(operators, steps)[places])
    # The host waits for what comes next on the device.
    caller = np.where(part == _IDLE, leads_to, operator)
    # Within a range of Python's, the line that runs counts, not the one that opened the range.
    code = np.where(_runs(operators).to_numpy(), origins.code, NONE)
    called = np.append(code, NONE)[caller]
    stages = origins.stages()
    return pl.DataFrame(
        {
            "rank": steps["rank"].gather(places),
            "step": steps["step"].gather(places),
            "part": pl.Series(PARTS, dtype=pl.String).gather(part),
            "start_ns": begins,
            "duration_ns": lengths,
            "operator": _rows(operators["row"], operator),
            "comes_from": _rows(operators["row"], preceding(operator, places)),
            "leads_to": _rows(operators["row"], leads_to),
            "stage": _rows(stages, leads_to),
            "code_ns": np.where(called == NONE, begins, called),
        },
        schema=SCHEMA,
    )


def _ints(column: pl.Series) -> Numbers:
    return column.cast(pl.Int64).fill_null(NONE).to_numpy()


def _rows(values: pl.Series, places: Numbers) -> pl.Series:
    """Return the value at each place, null for `NONE`."""
    numbers = pl.Series(places, dtype=pl.Int64)
    return values.gather(numbers.set(numbers == NONE, None))


def _runs(operators: pl.DataFrame) -> pl.Series:
    """Tell which rows are operators, and not ranges that Python puts around its own code."""
    return operators["name"].str.contains(_OPERATOR).fill_null(value=False)


def _step_thread(operators: pl.DataFrame) -> int | None:
    """Return the thread that makes the steps: the one that calls the first operator of most."""
    firsts = operators.drop_nulls("step").sort("start_ns").unique("step", keep="first")
    counts = firsts["thread"].drop_nulls().value_counts(sort=True)
    return None if counts.is_empty() else int(counts["thread"][0])


def _recorded(operators: pl.DataFrame, steps: pl.DataFrame) -> Numbers:
    """Tell, for each step, whether operators of it were recorded."""
    return steps["step"].is_in(operators["step"].drop_nulls().unique().implode()).to_numpy()


def _launchers(operators: pl.DataFrame, kernels: pl.DataFrame) -> Numbers:
    """Return for each kernel the place of the operator that launched it; `NONE` at the end, too."""
    places = operators.select("id", place=pl.int_range(pl.len()))
    joined = kernels.select(id="operator").join(places, on="id", how="left", maintain_order="left")
    return np.append(_ints(joined["place"]), NONE)


def _layers(tables: dict[str, pl.DataFrame], origins: Origins, thread: int | None) -> _Layers:
    operators, kernels, lines = tables["operators"], tables["kernels"], tables["lines"]
    moves, copies = is_communication(kernels), is_copy(kernels)
    mine = operators["thread"].eq_missing(pl.Series([thread], dtype=pl.Int64))
    gloo = tables["communication"].filter(pl.col("name").str.starts_with(_GLOO))
    return _Layers(
        compute=_last_begun(kernels, ~moves & ~copies),
        communication=_last_begun(kernels, moves),
        copies=_last_begun(kernels, copies & ~moves),
        loading=_open(operators.filter(mine & origins.loads)),
        running=_open(operators.filter(_runs(operators))),
        moving=_open(gloo),
        waiting=_open(_waits(tables["steps"])),
        innermost=nested(*_ranges(operators, mine)),
        elsewhere=_last_begun(operators, ~mine),
        lines=nested(*_ranges(lines, lines["start_ns"].is_not_null())),
    )


def _waits(steps: pl.DataFrame) -> pl.DataFrame:
    """Return when the host waited for the device: start_ns, duration_ns."""
    if WAIT not in steps.columns:
        return steps.clear()
    end = pl.col("start_ns") + pl.col("duration_ns")
    waits = steps.filter(pl.col(WAIT) > 0)
    return waits.select(start_ns=end - pl.col(WAIT), duration_ns=WAIT)


def _ranges(table: pl.DataFrame, chosen: pl.Series) -> tuple[Numbers, Numbers, Numbers]:
    """Return start, duration and place of the chosen rows."""
    places = chosen.arg_true()
    start, duration = (table[name].gather(places) for name in ("start_ns", "duration_ns"))
    return _ints(start), _ints(duration), _ints(places)


def _last_begun(table: pl.DataFrame, chosen: pl.Series) -> Layer:
    starts, durations, places = _ranges(table, chosen)
    return nested(starts, durations, places)


def _open(table: pl.DataFrame) -> Layer:
    return union(_ints(table["start_ns"]), _ints(table["duration_ns"]))


def _parts(times: Numbers, layers: _Layers, recorded: Numbers) -> Numbers:
    """Return the part of each piece, by its place in `PARTS`."""
    on_device = [
        (layer.at(times) != NONE, part)
        for layer, part in zip(layers[:3], (_COMPUTE, _COMMUNICATION, _COPIES), strict=True)
    ]
    on_host = [
        (layers.loading.at(times) != NONE, _LOADING),
        (layers.running.at(times) != NONE, _OPERATORS),
        (layers.moving.at(times) != NONE, _COMMUNICATION),
        (layers.waiting.at(times) != NONE, _IDLE),
        (recorded, _PYTHON),
    ]
    conditions, parts = zip(*on_device, *on_host, strict=True)
    return np.select(conditions, parts, default=_UNRECORDED)
