"""torch's profiler, cycle by cycle: each one is written when it ends. For child processes."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import polars as pl
from torch.profiler import ProfilerAction, profile

from harness import tables
from harness.devices.base import CycleWriter, LoweredProfiler
from harness.devices.torch_counters import counted, measured, with_counts, with_metrics
from harness.devices.torch_events import Converted, tables_of
from harness.paths import RunFolder


class CycleProfiler(profile):
    """torch's profiler for schedules whose every cycle is written when it ends."""

    def prepare_trace(self) -> None:
        """Begin a cycle, without the warning that it drops the events of the one before."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Warning: Profiler clears events", UserWarning)
            super().prepare_trace()

    def step(self) -> None:
        """End a step; if that fails, nothing is left to stop."""
        try:
            super().step()
        except BaseException:
            # Else the exit stops a cycle that never began, and torch dies of SIGSEGV.
            self.current_action = ProfilerAction.NONE
            raise


class TorchCycleHandler:
    """A handler for ``on_trace_ready`` that writes the tables and the trace of each cycle."""

    def __init__(self, lowered: LoweredProfiler, writer: CycleWriter) -> None:
        self.lowered = lowered
        self.writer = writer
        self.cycle = 0
        self.operators = 0

    def __call__(self, profiler: Any) -> None:
        """Write one finished cycle: its tables to ``cycles/``, its trace to ``raw/``."""
        self.writer.on_write()
        folder = RunFolder(self.writer.folder).cycle(self.cycle)
        folder.mkdir(parents=True)
        converted = self._convert(profiler)
        _write(converted.frames, folder)
        self.operators += converted.frames["operators"].height
        self._count(converted)
        profiler.export_chrome_trace(str(self._raw("trace")))
        _write(self._with_counters(converted.frames, profiler), folder)
        if self.lowered.memory_timeline:
            self._write_memory_timeline(profiler)
        self.cycle += 1

    def _convert(self, profiler: Any) -> Converted:
        return tables_of(
            profiler.profiler.kineto_results,
            rank=0,
            first_id=self.operators,
            memory=self.lowered.profile_memory,
            stacks=self.lowered.with_stack,
            flops=self.lowered.with_flops,
            host_ranges=self.writer.ranges,
        )

    def _count(self, converted: Converted) -> None:
        counts = self.writer.event_counts
        for kind, count in converted.event_counts.items():
            counts[kind] = counts[kind] + count if kind in counts else count

    def _with_counters(
        self, frames: dict[str, pl.DataFrame], profiler: Any
    ) -> dict[str, pl.DataFrame]:
        """Return the tables that have counters; torch writes these to the trace only."""
        trace, experimental = self._raw("trace"), self.lowered.experimental
        with_counters = {}
        if events := experimental.get("performance_events"):
            counts = counted(trace, events)
            sources = profiler.profiler.kineto_results.events()
            with_counters["operators"] = with_counts(frames["operators"], sources, counts)
        if metrics := experimental.get("profiler_metrics"):
            with_counters["kernels"] = with_metrics(frames["kernels"], measured(trace, metrics))
        return with_counters

    def _write_memory_timeline(self, profiler: Any) -> None:
        path = str(self._raw("memory_timeline"))
        with warnings.catch_warnings():
            # The user requested it by name; the docs say that torch may drop it.
            warnings.simplefilter("ignore", FutureWarning)
            profiler.export_memory_timeline(path, str(self.writer.torch_device))

    def _raw(self, name: str) -> Path:
        suffix = "" if self.writer.cycles == 1 else f"_{self.cycle}"
        return RunFolder(self.writer.folder).raw / f"{name}{suffix}.json.gz"


def _write(frames: dict[str, pl.DataFrame], folder: Path) -> None:
    for name, frame in frames.items():
        tables.write(frame, folder / f"{name}.parquet")
