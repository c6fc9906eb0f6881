"""CANN's tables: ``op_summary``, ``op_statistic``, ``api_statistic``, ``task_time`` and others.

Headers as msprof's ``analysis/csrc/application/summary`` writes them since they begin with
``Device_id`` (2025). A table without rows is not written. Times that torch_npu compares as text
end in a tab.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from harness.emulator.collectives import CORE, Collective
from harness.emulator.columns import base_header, counter_header
from harness.emulator.kernels import NA, NO_MODEL, Kernel, us
from harness.settings.faults import Era

Row = Sequence[object]
Table = tuple[Sequence[str], list[Row]]


class _Cells(NamedTuple):
    """A row of ``op_summary`` but for its time of waiting, which depends on the row before."""

    device: int
    start_ns: int
    duration_ns: int
    names: Row
    others: Row


def op_summary(
    kernels: Iterable[Kernel], collectives: Iterable[Collective], config: dict[str, Any], era: Era
) -> Table:
    """Return one row per kernel and collective, by device, in order of their start.

    A row waits from the end of the row before, whatever its stream (``CalculateWaitTime``). At
    Level0 types, cores and counters are unknown, and shapes unless requested.
    """
    lean = config["level"] == "Level0"
    metrics = 255 if lean else config["aicore_metrics"]
    shapes = not lean or bool(config["data_type_config"] & 0x800000000)
    cells = [_cells_of_kernel(kernel, metrics, lean=lean, shapes=shapes) for kernel in kernels]
    cells += [_cells_of_collective(each, metrics, lean=lean) for each in collectives]
    rows: list[Row] = []
    end_ns: int | None = None
    for row in sorted(cells, key=lambda cells: (cells.device, cells.start_ns)):
        waited = 0 if end_ns is None else max(0, row.start_ns - end_ns)
        end_ns = row.start_ns + row.duration_ns
        times = us(row.start_ns) + "\t", row.duration_ns / 1000, waited / 1000 if waited else 0
        rows.append((row.device, NO_MODEL, *row.names, *times, *row.others))
    return (*base_header(era), *counter_header(metrics)), rows


def _cells_of_kernel(kernel: Kernel, metrics: int, *, lean: bool, shapes: bool) -> _Cells:
    kind = (NA, NA, NA) if lean else (kernel.type, "dynamic", kernel.core)
    others = (
        *((0, 0) if lean else kernel.blocks),
        NA if lean else "NO",
        *(kernel.tensor_cells() if shapes else (NA,) * 6),
        0 if kernel.core.startswith("MIX") and not lean else NA,
        *kernel.counters(metrics).values(),
    )
    names = (kernel.task, kernel.stream, kernel.name, *kind)
    return _Cells(kernel.device, kernel.start_ns, kernel.duration_ns, names, others)


def _cells_of_collective(collective: Collective, metrics: int, *, lean: bool) -> _Cells:
    names = (NA, NA, collective.name, NA if lean else collective.type, NA, CORE)
    others = (0, 0, NA, *((NA,) * 6), NA, *((NA,) * len(counter_header(metrics))))
    return _Cells(collective.device, collective.start_ns, collective.duration_ns, names, others)


def op_statistic(kernels: Iterable[Kernel]) -> Table:
    """Return one row per operator type and core, the costliest first."""
    durations: defaultdict[tuple[int, str, str], list[float]] = defaultdict(list)
    for kernel in kernels:
        durations[kernel.device, kernel.type, kernel.core].append(kernel.duration_ns / 1000)
    totals: defaultdict[int, float] = defaultdict(float)
    for (device, _, _), times in durations.items():
        totals[device] += sum(times)
    rows: list[Row] = [
        (
            *key,
            len(times),
            *_rounded(sum(times), min(times), statistics.fmean(times), max(times)),
            *_rounded(sum(times) / totals[key[0]] * 100),
        )
        for key, times in sorted(durations.items(), key=lambda item: -sum(item[1]))
    ]
    header = ("Total Time(us)", "Min Time(us)", "Avg Time(us)", "Max Time(us)")
    return ("Device_id", "OP Type", "Core Type", "Count", *header, "Ratio(%)"), rows


def api_statistic(
    kernels: Iterable[Kernel], collectives: Iterable[Collective], level: str
) -> Table:
    """Return one row per call of the host and its layer."""
    durations: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for kernel in kernels:
        launching = (kernel.host_end_ns - kernel.launch_ns) / 1000
        calling = (kernel.host_end_ns - kernel.host_start_ns) / 1000
        durations["acl", kernel.api].append(calling)
        durations["node", "launch"].append(launching)
        if level == "Level2":
            durations["runtime", "KernelLaunch"].append(launching)
    for collective in collectives:
        calling = (collective.host_end_ns - collective.host_start_ns) / 1000
        durations["acl", collective.api].append(calling)
        durations["node", "launch"].append(calling)
        durations["communication", collective.type].append(calling)
    rows: list[Row] = [
        (
            "host",
            *key,
            *_rounded(sum(times)),
            len(times),
            *_rounded(statistics.fmean(times), min(times), max(times)),
            *_rounded(statistics.pvariance(times)),
        )
        for key, times in sorted(durations.items())
    ]
    header = ("Time(us)", "Count", "Avg(us)", "Min(us)", "Max(us)", "Variance")
    return ("Device_id", "Level", "API Name", *header), rows


def task_time(kernels: Iterable[Kernel], level: str) -> Table:
    """Return one row per task of the devices."""
    rows: list[Row] = [
        (
            kernel.device,
            kernel.name,
            NA if level == "Level0" else kernel.core,
            kernel.stream,
            kernel.task,
            kernel.duration_ns / 1000,
            us(kernel.start_ns) + "\t",
            us(kernel.end_ns) + "\t",
        )
        for kernel in kernels
    ]
    task = ("stream_id", "task_id", "task_time(us)", "task_start(us)", "task_stop(us)")
    return ("Device_id", "kernel_name", "kernel_type", *task), rows


def l2_cache(kernels: Sequence[Kernel], *, hit_rates: bool) -> Table:
    """Return the cache's rates, but not the first kernel's, and hit rates only if `hit_rates`.

    A real capture of an Ascend 910B lacks both; msprof's guide also mentions the first kernel.
    """
    rows: list[Row] = []
    for kernel in kernels[1:]:
        if kernel.core == "DSA_SQE":
            continue
        half = "aic" if kernel.core == "AI_CORE" else "aiv"
        rates = {
            way: round(hit / (hit + missed or 1), 6)
            for way, hit, missed in _cache_counts(kernel, half)
        }
        hit_rate = rates["r0_read"] if hit_rates else NA
        victim_rate = round(1 - rates["write"], 6)
        row = (kernel.device, kernel.stream, kernel.task, hit_rate, victim_rate, kernel.name)
        rows.append(row)
    return ("Device_id", "Stream Id", "Task Id", "Hit Rate", "Victim Rate", "Op Name"), rows


def _cache_counts(kernel: Kernel, half: str) -> Iterator[tuple[str, float, float]]:
    counts = kernel.counters(6)
    for way in ("write", "r0_read"):
        cache = f"{half}_{way}_cache"
        yield way, float(counts[f"{cache}_hit"]), float(counts[f"{cache}_miss_allocate"])


def soc_pmu(kernels: Iterable[Kernel]) -> Table:
    """Return the TLB hit rate of each kernel's addresses."""
    rows: list[Row] = []
    for kernel in kernels:
        missed = kernel.share("TLB Miss Rate")
        hit = round(1 - missed, 3)
        rows.append((kernel.device, kernel.stream, kernel.task, missed, hit, kernel.name))
    rates = ("TLB Miss Rate", "TLB Hit Rate")
    return ("Device_id", "Stream Id", "Task Id", *rates, "Op Name"), rows


def mark_type(mark: dict[str, Any]) -> str:
    """Return CANN's name for a mark, or for a range."""
    return "marker" if mark["start_ns"] == mark["end_ns"] else "start/end"


def msprof_tx(marks: Iterable[dict[str, Any]], pid: int) -> Table:
    """Return the program's own marks and ranges."""
    rows: list[Row] = [
        (
            pid,
            mark["thread"],
            0,
            mark_type(mark),
            0,
            0,
            us(mark["start_ns"]) + "\t",
            us(mark["end_ns"]) + "\t",
            0,
            mark["domain"],
            mark["message"],
        )
        for mark in marks
    ]
    payload = ("pid", "tid", "category", "event_type", "payload_type", "payload_value")
    times = ("Start_time(us)", "End_time(us)")
    return (*payload, *times, "message_type", "domain", "message"), rows


def _rounded(*values: float) -> tuple[float, ...]:
    return tuple(round(value, 3) for value in values)
