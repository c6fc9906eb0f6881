"""Collect: the run folder is read back into a `Capture`, whatever state the child left it in."""

from __future__ import annotations

from pathlib import Path

import msgspec
import polars as pl

from harness import tables
from harness.records import Capture, Outcome, Plan, StepTime


def collect(plan: Plan, outcome: Outcome) -> Capture:
    """Join the drained parts into ``tables/``, and read them."""
    folder = Path(plan.folder)
    out = folder / "tables"
    out.mkdir(exist_ok=True)
    tables.join_parts(folder / "parts", out)
    tables.write(_steps(folder / "steps.jsonl"), out / "steps.parquet")
    return Capture(
        folder=folder,
        plan=plan,
        outcome=outcome,
        tables={name: pl.read_parquet(out / f"{name}.parquet") for name in tables.SCHEMAS},
        raw=tuple(sorted(str(path.relative_to(folder)) for path in (folder / "raw").glob("**/*"))),
    )


def _steps(path: Path) -> pl.DataFrame:
    times: list[StepTime] = []
    if path.exists():
        # A child that was killed may have left half a line.
        whole = path.read_bytes().rpartition(b"\n")[0]
        times = [msgspec.json.decode(line, type=StepTime) for line in whole.splitlines()]
    columns = {name: [getattr(time, name) for time in times] for name in StepTime.__struct_fields__}
    return tables.frame("steps", columns | {"rank": [0] * len(times)})
