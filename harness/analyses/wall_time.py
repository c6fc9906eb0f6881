"""Where the wall time of the recorded steps goes: by part, operator, module and line.

`harness.analyses.pieces` says what the parts are. The sums of each table are the wall time of the
recorded steps, to the nanosecond.
"""

from __future__ import annotations

from itertools import takewhile
from typing import Any, Final

import polars as pl

from harness.analyses.base import share
from harness.analyses.layers import NONE, nested
from harness.analyses.origins import Origins
from harness.analyses.pieces import PARTS
from harness.capture.capture import Capture

MODULE: Final = "nn.Module: "
"""What the name of a module's call begins with in a stack (torch's Python tracer)."""
OUTSIDE: Final = "(outside modules)"


def wall_time(capture: Capture, pieces: pl.DataFrame) -> pl.DataFrame:
    """Return the parts of each step's wall time.

    Columns: rank, step, stage (null where it is not known), part (in the order in which they
    count), duration_ns.
    """
    del capture
    order = pl.col("part").replace_strict(PARTS, range(len(PARTS)), return_dtype=pl.Int64)
    return (
        pieces.group_by("rank", "step", "stage", "part")
        .agg(pl.col("duration_ns").sum())
        .sort("rank", "step", order, "stage", nulls_last=True)
    )


def wall_time_operators(capture: Capture, pieces: pl.DataFrame) -> pl.DataFrame:
    """Return the wall time by part, operator and input shapes.

    Columns: part; operator (null for what belongs to none), input_shapes; duration_ns; share (of
    all recorded steps, 0 to 1).
    """
    operators = capture.tables["operators"].select(operator="name", input_shapes="input_shapes")
    return _summed(
        pieces.drop("operator").hstack(_gathered(operators, pieces["operator"])),
        "part",
        "operator",
        "input_shapes",
    )


def wall_time_modules(capture: Capture, pieces: pl.DataFrame) -> pl.DataFrame:
    """Return the wall time by module: the innermost one that called; empty without stacks.

    Time of backward belongs to the module whose forward it continues. Python between two operators
    belongs to the innermost module that called both.

    Columns: module (null where a stack is not known; `OUTSIDE` where no module called);
    duration_ns; share (0 to 1); a column for each part, ``compute_ns`` and so on.
    """
    calls = pl.element().filter(pl.element().str.starts_with(MODULE)).str.strip_prefix(MODULE)
    chains = dict(
        capture.tables["stacks"]
        .select("stack_id", pl.col("frames").list.eval(calls).list.reverse())
        .iter_rows()
    )
    if pieces.is_empty() or not any(chains.values()):
        return pl.DataFrame(schema={"module": pl.String} | _BY_PART)
    stacks = _sources(capture)["stack_id"]
    pairs = pl.DataFrame({name: stacks.gather(pieces[name]) for name in ("comes_from", "leads_to")})
    known = pairs.unique()
    modules = [_common(chains.get(first), chains.get(last)) for first, last in known.iter_rows()]
    named = known.with_columns(module=pl.Series(modules, dtype=pl.String))
    placed = pairs.join(
        named, on=["comes_from", "leads_to"], how="left", nulls_equal=True, maintain_order="left"
    )
    return _by_part(pieces.with_columns(placed["module"]), "module")


def _common(first: list[str] | None, last: list[str] | None) -> str | None:
    """Return the innermost module that is in both chains, which begin with the outermost."""
    if last is None:
        return None
    pairs = zip(first or (), last, strict=False)
    common = [module for module, _ in takewhile(lambda pair: pair[0] == pair[1], pairs)]
    return common[-1] if common else OUTSIDE


def wall_time_lines(capture: Capture, pieces: pl.DataFrame) -> pl.DataFrame:
    """Return the wall time by line of the user's own code; empty where no lines were recorded.

    A line has the time in which it was the innermost one outside torch, Python's own library and
    installed packages. Time of backward belongs to the line whose forward it continues; time of a
    device, to the line that launched the kernel.

    Columns: stage; file, line, function, text (all null where no line is known); duration_ns; share
    (0 to 1); a column for each part, ``compute_ns`` and so on.
    """
    lines = capture.tables["lines"]
    keys = ("file", "line", "function", "text")
    if lines.is_empty() or pieces.is_empty():
        return pl.DataFrame(schema={"stage": pl.String} | _LINE | _BY_PART)
    placed = []
    for (rank,), part in pieces.partition_by("rank", as_dict=True).items():
        own = lines.filter(pl.col("rank").eq_missing(rank))
        numbers = pl.int_range(own.height, dtype=pl.Int64, eager=True).to_numpy()
        layer = nested(own["start_ns"].to_numpy(), own["duration_ns"].to_numpy(), numbers)
        places = pl.Series(layer.at(part["code_ns"].to_numpy()))
        placed.append(part.hstack(_gathered(own.select(keys), places.set(places == NONE, None))))
    return _by_part(pl.concat(placed), "stage", *keys)


_LINE: Final[dict[str, Any]] = {
    "file": pl.String,
    "line": pl.Int64,
    "function": pl.String,
    "text": pl.String,
}
_BY_PART: Final[dict[str, Any]] = {
    "duration_ns": pl.Int64,
    "share": pl.Float64,
    **{f"{part.replace(' ', '_')}_ns": pl.Int64 for part in PARTS},
}


def _sources(capture: Capture) -> pl.DataFrame:
    """Return, for each operator, the stack of the operator whose call decides which code it is."""
    operators = capture.tables["operators"].with_row_index("row")
    parts = [operators.clear().select("row", "stack_id")]
    for own in operators.partition_by("rank"):
        source = pl.Series(Origins(own).source)
        parts.append(pl.DataFrame({"row": own["row"], "stack_id": own["stack_id"].gather(source)}))
    return pl.concat(parts).sort("row")


def _gathered(values: pl.DataFrame, rows: pl.Series) -> pl.DataFrame:
    return values.select(pl.all().gather(rows))


def _summed(pieces: pl.DataFrame, *keys: str) -> pl.DataFrame:
    return (
        pieces.group_by(keys, maintain_order=True)
        .agg(pl.col("duration_ns").sum())
        .with_columns(share("duration_ns"))
        .sort("duration_ns", descending=True, maintain_order=True)
    )


def _by_part(pieces: pl.DataFrame, *keys: str) -> pl.DataFrame:
    of_part = {
        f"{part.replace(' ', '_')}_ns": pl.col("duration_ns").filter(pl.col("part") == part).sum()
        for part in PARTS
    }
    return (
        pieces.group_by(keys, maintain_order=True)
        .agg(pl.col("duration_ns").sum(), **of_part)
        .with_columns(share("duration_ns"))
        .select(*keys, *_BY_PART)
        .sort("duration_ns", descending=True, maintain_order=True)
    )
