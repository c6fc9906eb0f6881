"""torch's profiler, cycle by cycle: each one is written when it ends. For child processes."""

from __future__ import annotations

import errno
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import polars as pl
import torch
from torch.profiler import ProfilerAction, profile

from harness import tables
from harness.devices.base import CycleWriter, LoweredProfiler
from harness.devices.torch_counters import counted, measured, with_counts, with_metrics
from harness.devices.torch_events import Converted, tables_of
from harness.errors import RecorderError
from harness.files import UNFINISHED, failing_at, make_folder
from harness.paths import RunFolder
from harness.readers.collectives import ProcessGroups, communication, of_configs

_LITTLE: Final = 1 << 16
"""Bytes of a disk that is full."""
_PREPARED: Final = 0
"""Stands for torch's ``False`` while a profiler warms up: another profiler would replace it."""


class CycleProfiler(profile):
    """torch's profiler for schedules whose every cycle is written when it ends."""

    def prepare_trace(self) -> None:
        """Begin a cycle, without the warning that it drops the events of the one before."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Warning: Profiler clears events", UserWarning)
            super().prepare_trace()
        torch.autograd.profiler._is_profiler_enabled = _PREPARED  # type: ignore[assignment]  # noqa: SLF001

    def step(self) -> None:
        """End a step; if that fails, nothing is left to stop.

        Raises:
            RecorderError: Another profiler has ended this one.
        """
        if self._end_if_lost():
            raise RecorderError(
                "another profiler, which the step ran, has ended the harness's (at the end of"
                " the step, torch was no longer profiling), and torch runs one profiler at a time:"
                " take that profiler out of the step"
            )
        ended = False
        try:
            super().step()
            ended = True
        finally:
            if not ended:
                # Else the exit stops a cycle that never began, and torch dies of SIGSEGV.
                self.current_action = ProfilerAction.NONE

    def stop(self) -> None:
        """End the profiler, and write the cycle that it has recorded."""
        self._end_if_lost()
        super().stop()

    def _end_if_lost(self) -> bool:
        """Tell whether another profiler has ended this one; then there is nothing to write.

        torch 2.13 dies of SIGSEGV when it exports the trace of such a profile, or stops it.
        """
        # A profiler that starts sets it, and one that stops clears it, whichever has set it.
        enabled = torch.autograd.profiler._is_profiler_enabled  # noqa: SLF001
        lost = {
            ProfilerAction.WARMUP: enabled is not _PREPARED,
            ProfilerAction.RECORD: not enabled,
            ProfilerAction.RECORD_AND_SAVE: not enabled,
        }.get(self.current_action, False)
        if lost:
            self.current_action = ProfilerAction.NONE
        return lost


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
        if self.writer.later is not None:
            self.writer.later.append(partial(self._save, profiler.profiler.kineto_results))
            return
        self._make_folder()
        converted = self._convert(profiler)
        self._write(converted.frames)
        self._write_communication(converted)
        self.operators += converted.frames["operators"].height
        self._count(converted)
        with self._whole("trace") as path:
            profiler.export_chrome_trace(path)
        self._write(self._with_counters(converted.frames, profiler))
        if self.lowered.memory_timeline:
            self._write_memory_timeline(profiler)
        self.cycle += 1

    def _save(self, results: Any) -> None:
        """Write the trace alone, as it is: torch holds the interpreter's lock meanwhile."""
        with self._whole("trace", "json") as path:
            results.save(path)
            _refuse_lost(Path(path))

    def _make_folder(self) -> None:
        run = RunFolder(self.writer.folder)
        make_folder(run.path, run.cycles)
        folder = run.cycle(self.cycle)
        with failing_at(folder):
            folder.mkdir()

    def _convert(self, profiler: Any) -> Converted:
        return tables_of(
            profiler.profiler.kineto_results,
            rank=self.writer.rank,
            first_id=self.operators,
            memory=self.lowered.profile_memory,
            stacks=self.lowered.with_stack,
            flops=self.lowered.with_flops,
            links=self.lowered.with_stack or self.lowered.with_lines,
            host_ranges=self.writer.ranges,
        )

    def _count(self, converted: Converted) -> None:
        counts = self.writer.event_counts
        for kind, count in converted.event_counts.items():
            counts[kind] = counts[kind] + count if kind in counts else count

    def _write_communication(self, converted: Converted) -> None:
        frames = converted.frames
        collectives = communication(frames["kernels"], frames["operators"], _process_groups())
        if collectives is not None:
            self._write({"communication": collectives})

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
        with warnings.catch_warnings(), self._whole("memory_timeline") as path:
            # The user requested it by name; the docs say that torch may drop it.
            warnings.simplefilter("ignore", FutureWarning)
            profiler.export_memory_timeline(path, str(self.writer.torch_device))

    def _raw(self, name: str, ending: str = "json.gz") -> Path:
        suffix = "" if self.writer.cycles == 1 else f"_{self.cycle}"
        return RunFolder(self.writer.folder).raw / f"{name}{suffix}.{ending}"

    @contextmanager
    def _whole(self, name: str, ending: str = "json.gz") -> Iterator[str]:
        """Give torch a path to write to; what is whole in the end is renamed, else removed."""
        path = self._raw(name, ending)
        # torch compresses what ends in .gz.
        unfinished = path.with_name(f".{os.getpid()}{UNFINISHED}.{ending}")
        with failing_at(path):
            try:
                yield str(unfinished)
                unfinished.replace(path)
            finally:
                unfinished.unlink(missing_ok=True)

    def _write(self, frames: dict[str, pl.DataFrame]) -> None:
        root = self.writer.folder
        folder = RunFolder(root).cycle(self.cycle)
        for name, frame in frames.items():
            tables.write(frame, folder / f"{name}.parquet", root)


def _refuse_lost(path: Path) -> None:
    """Raise OSError where torch has left no file; it only prints that it could not write."""
    if path.exists():
        return
    # What it has written is removed, and takes its room for as long as torch has it open.
    disk = os.statvfs(path.parent)
    is_full = disk.f_bavail * disk.f_frsize < _LITTLE
    code = errno.ENOSPC if is_full else errno.EIO
    raise OSError(code, os.strerror(code))


def _process_groups() -> ProcessGroups:
    """Return the groups of this process, as torch writes them into its traces."""
    distributed = torch.distributed
    if not (distributed.is_available() and distributed.is_initialized()):
        return ProcessGroups()
    # Private, and the only account that there is; a release without it gives none.
    configs = getattr(distributed.distributed_c10d, "_get_all_pg_configs", None)
    return ProcessGroups() if configs is None else of_configs(configs())
