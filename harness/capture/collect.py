"""Collect: what the child and its profiler left becomes tables, whatever state it was left in."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec
import polars as pl
from msgspec.structs import replace

from harness import tables
from harness.capture import cycles
from harness.capture.capture import Emulation
from harness.capture.capture_record import ReaderReport
from harness.capture.raw_traces import compress
from harness.execution.protocol import Outcome, StepTime
from harness.files import read_all
from harness.paths import RunFolder
from harness.readers import READERS
from harness.readers.base import CaptureError, ReadContext, ReadResult
from harness.tables.markers import HostRange
from harness.waits import waiting

_DEVICE_TIMES = ("compute_ns", "communication_ns", "overlapped_ns", "idle_ns")


def collect(run: RunFolder, outcome: Outcome, rank: int) -> ReaderReport:
    """Join the cycles of a run into ``tables/``.

    Those of torch_npu are read from its folders, and torch's from its traces where these are all
    that was written. `rank` is that of the process, in a job of several.
    """
    times, foreign = _step_times(run.steps)
    folders = run.cycle_folders()
    sources = folders or run.traces()
    report = ReaderReport(
        event_counts=outcome.event_counts,
        emulation=_emulation(folders) if outcome.emulated else None,
        remarks=foreign,
    )
    if sources:
        shutil.rmtree(run.cycles, ignore_errors=True)
        results, lost = _read(sources, times, rank)
        compress(run)
        with waiting("writing tables"):
            cycles.write(results, run)
        report = replace(
            report,
            event_counts=cycles.total(results),
            lost=tuple(lost),
            remarks=(*foreign, *(remark for result in results for remark in result.remarks)),
        )
    with waiting("joining the tables of all cycles"):
        tables.join_cycles(run.cycles, run.tables, run.path)
    if run.lines.exists():
        tables.write(tables.read(run.lines), run.table("lines"), run.path)
    in_cycles = tables.read(run.table("steps")).select("step", *_DEVICE_TIMES)
    device = in_cycles.filter(pl.any_horizontal(pl.col(_DEVICE_TIMES).is_not_null()))
    tables.write(_steps(times, device, rank), run.table("steps"), run.path)
    return report


def _read(
    sources: Sequence[Path], times: Sequence[StepTime], rank: int
) -> tuple[list[ReadResult], list[str]]:
    """Read the captures of a run, one after the other; name what cannot be read."""
    threads = frozenset(time.thread for time in times if time.thread is not None)
    steps = tuple(
        HostRange(time.step, time.start_ns, time.start_ns + time.duration_ns)
        for time in times
        if time.step is not None
    )
    results: list[ReadResult] = []
    lost: list[str] = []
    operators = 0
    for source in sources:
        reader = next((reader for reader in READERS if reader.recognises(source)), None)
        if reader is None:
            continue
        context = ReadContext(
            rank=rank, first_operator=operators, steps=steps, step_threads=threads
        )
        try:
            result = reader.read(source, context)
        except CaptureError as error:
            lost.append(str(error))
            continue
        results.append(result)
        lost += result.notes
        operators += result.frames["operators"].height if "operators" in result.frames else 0
    return results, lost


def _step_times(path: Path) -> tuple[list[StepTime], tuple[str, ...]]:
    """Return the times of the steps, and what is to be said of other lines among them."""
    if not path.exists():
        return [], ()
    # A child that was killed may have left half a line.
    whole = read_all(path).rpartition(b"\n")[0]
    times, foreign = [], 0
    for line in whole.split(b"\n") if whole else ():
        try:
            times.append(msgspec.json.decode(line, type=StepTime))
        except (msgspec.DecodeError, UnicodeDecodeError):
            foreign += 1
    if not foreign:
        return times, ()
    why = "the workload wrote into a descriptor that is not its own"
    return times, (f"{path.name}: {foreign} lines are no times of steps: {why}",)


def _steps(times: Sequence[StepTime], device: pl.DataFrame, rank: int) -> pl.DataFrame:
    """Return the steps as they were timed, with the times that the device's own table has."""
    fields = [name for name in StepTime.__struct_fields__ if name != "thread"]
    columns = {name: [getattr(time, name) for time in times] for name in fields}
    timed = tables.frame("steps", columns | {"rank": [rank] * len(times)})
    if device.is_empty():
        return timed
    sums = device.group_by("step").agg(pl.col(_DEVICE_TIMES).sum())
    joined = timed.drop(_DEVICE_TIMES).join(sums, on="step", how="left", maintain_order="left")
    return joined.select(timed.columns)


def _emulation(folders: Sequence[Path]) -> Emulation:
    """Add up what the emulator left in each folder."""
    computed = not_computed = 0
    counts: Counter[str] = Counter()
    summaries = (path for folder in folders for path in folder.glob("PROF_*/emulated/summary.json"))
    for path in summaries:
        summary = json.loads(read_all(path))
        computed += summary["operators_computed"]
        not_computed += summary["operators_not_computed"]
        counts.update(summary.get("not_computed", {}))
    return Emulation(
        operators_computed=computed,
        operators_not_computed=not_computed,
        not_computed=dict(counts.most_common()),
    )
