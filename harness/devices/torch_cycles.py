"""Drain torch.profiler to disk, window by window. Imported in the child process only."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import polars as pl

from harness import tables
from harness.devices.base import CycleWriter, LoweredProfiler
from harness.devices.torch_counters import counted, measured, with_counts, with_metrics
from harness.devices.torch_events import tables_of


class TorchCycleHandler:
    """A handler for ``on_trace_ready`` that writes each window's tables and trace."""

    def __init__(self, lowered: LoweredProfiler, writer: CycleWriter) -> None:
        self.lowered = lowered
        self.writer = writer
        self.cycle = 0
        self.operators = 0

    def __call__(self, profiler: Any) -> None:
        """Write one finished cycle: its tables to ``cycles/``, its trace to ``raw/``."""
        writer = self.writer
        writer.on_write()
        part = writer.folder / "cycles" / f"{self.cycle:03d}"
        part.mkdir(parents=True)
        converted = tables_of(
            profiler.profiler.kineto_results,
            rank=0,
            first_id=self.operators,
            memory=self.lowered.profile_memory,
            stacks=self.lowered.with_stack,
            flops=self.lowered.with_flops,
            host_ranges=writer.ranges,
        )
        for name, frame in converted.frames.items():
            tables.write(frame, part / f"{name}.parquet")
        self.operators += converted.frames["operators"].height
        for kind, more in converted.event_counts.items():
            known = writer.event_counts.get(kind)
            writer.event_counts[kind] = known + more if known else more
        profiler.export_chrome_trace(str(self._raw("trace")))
        for name, frame in self._counters(converted.frames, profiler).items():
            tables.write(frame, part / f"{name}.parquet")
        if self.lowered.memory_timeline:
            with warnings.catch_warnings():
                # The user asked for it by name; that torch may drop it is said in the docs.
                warnings.simplefilter("ignore", FutureWarning)
                profiler.export_memory_timeline(
                    str(self._raw("memory_timeline")), str(writer.torch_device)
                )
        self.cycle += 1

    def _counters(self, frames: dict[str, pl.DataFrame], profiler: Any) -> dict[str, pl.DataFrame]:
        """Return the tables that counters belong to, with them; they are in the trace alone."""
        trace, found = self._raw("trace"), {}
        if events := self.lowered.experimental.get("performance_events"):
            counts = counted(trace, events)
            sources = profiler.profiler.kineto_results.events()
            found["operators"] = with_counts(frames["operators"], sources, counts)
        if metrics := self.lowered.experimental.get("profiler_metrics"):
            found["kernels"] = with_metrics(frames["kernels"], measured(trace, metrics))
        return found

    def _raw(self, name: str) -> Path:
        suffix = "" if self.writer.cycles == 1 else f"_{self.cycle}"
        return self.writer.folder / "raw" / f"{name}{suffix}.json.gz"
