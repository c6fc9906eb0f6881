"""Collect: the run folder is read back into a `Capture`, whatever state the child left it in."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from harness import tables
from harness.capture.capture import Capture, Emulation
from harness.capture.cycles import total, write
from harness.execution.protocol import CALLS_FILE, CYCLE_FOLDERS, Outcome, Plan, StepTime
from harness.readers import READERS
from harness.readers.base import CaptureError, ReadContext, ReadResult
from harness.tables.markers import HostRange

_OF_THE_DEVICE = ("compute_ns", "communication_ns", "overlapped_ns", "idle_ns")


def collect(plan: Plan, outcome: Outcome, analysis: Outcome | None = None) -> Capture:
    """Read what the child and its profiler left, join it into ``tables/``, and read those."""
    folder = Path(plan.folder)
    cycles, out = folder / "cycles", folder / "tables"
    times = _times(folder / "steps.jsonl")
    event_counts = dict(outcome.event_counts)
    lost: list[str] = []
    remarks: list[str] = []
    captures = sorted(folder.glob(CYCLE_FOLDERS))
    if captures:
        shutil.rmtree(cycles, ignore_errors=True)
        found, lost = _read(captures, times)
        remarks = [each for reading in found for each in reading.remarks]
        write(found, cycles)
        event_counts = total(found)
    # Of a run that was read back before, the cycles are gone and the tables are there.
    if cycles.exists() or not out.exists():
        out.mkdir(exist_ok=True)
        tables.join_cycles(cycles, out)
        device = pl.read_parquet(out / "steps.parquet").select("step", *_OF_THE_DEVICE)
        tables.write(_steps(times, device), out / "steps.parquet")
    return Capture(
        folder=folder,
        expected=plan.expected,
        outcome=outcome,
        analysis=analysis,
        tables={name: pl.read_parquet(out / f"{name}.parquet") for name in tables.SCHEMAS},
        raw=tuple(sorted(str(path.relative_to(folder)) for path in (folder / "raw").glob("**/*"))),
        event_counts=event_counts,
        notes=(*lost, *remarks),
        lost=tuple(lost),
        emulation=_emulation(captures) if outcome.emulated else None,
        calls=tuple(_lines(folder / CALLS_FILE)),
    )


def _read(
    captures: Sequence[Path], times: Sequence[StepTime]
) -> tuple[list[ReadResult], list[str]]:
    """Read the captures of a run, one after the other, and say what cannot be read."""
    steps = tuple(
        HostRange(time.step, time.start_ns, time.start_ns + time.duration_ns)
        for time in times
        if time.step is not None
    )
    found: list[ReadResult] = []
    lost = []
    operators = 0
    for capture in captures:
        reader = next((each for each in READERS if each.recognises(capture)), None)
        if reader is None:
            continue
        try:
            reading = reader.read(capture, ReadContext(first_operator=operators, steps=steps))
        except CaptureError as error:
            lost.append(str(error))
            continue
        found.append(reading)
        lost += reading.notes
        operators += reading.frames["operators"].height if "operators" in reading.frames else 0
    return found, lost


def _times(path: Path) -> list[StepTime]:
    if not path.exists():
        return []
    # A child that was killed may have left half a line.
    whole = path.read_bytes().rpartition(b"\n")[0]
    return [msgspec.json.decode(line, type=StepTime) for line in whole.splitlines()]


def _steps(times: Sequence[StepTime], device: pl.DataFrame) -> pl.DataFrame:
    """Return the steps as they were timed, with what the device's own table says of them."""
    columns = {name: [getattr(time, name) for time in times] for name in StepTime.__struct_fields__}
    timed = tables.frame("steps", columns | {"rank": [0] * len(times)})
    if device.is_empty():
        return timed
    known = device.group_by("step").agg(pl.col(_OF_THE_DEVICE).sum())
    joined = timed.drop(_OF_THE_DEVICE).join(known, on="step", how="left", maintain_order="left")
    return joined.select(timed.columns)


def _emulation(captures: Sequence[Path]) -> Emulation:
    """Add up what the emulator left in each capture."""
    computed = not_computed = 0
    names: Counter[str] = Counter()
    for path in (path for each in captures for path in each.glob("PROF_*/emulated/summary.json")):
        summary = json.loads(path.read_text(encoding="utf-8"))
        computed += summary["operators_computed"]
        not_computed += summary["operators_not_computed"]
        names.update(summary.get("not_computed", {}))
    return Emulation(
        operators_computed=computed,
        operators_not_computed=not_computed,
        not_computed=dict(names.most_common()),
    )


def _lines(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    whole = path.read_bytes().rpartition(b"\n")[0]
    return [msgspec.json.decode(line) for line in whole.splitlines()]
