"""CANN's tables: ``op_summary``, ``op_statistic``, ``api_statistic``, ``task_time`` and others.

Headers as msprof's ``analysis/csrc/application/summary`` writes them since they begin with
``Device_id`` (2025). A table without rows is not written. Times that torch_npu compares as text
end in a tab.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from harness.emulator.columns import base_header, counter_header
from harness.emulator.kernels import NA, NO_MODEL, Kernel, us

Row = Sequence[object]
Table = tuple[Sequence[str], list[Row]]

SAMPLE_NS: Final = 20_000_000
"""Memory is sampled 50 times a second (``aclprofSetConfig`` 3, "50"); so is all else here."""
RESERVED_KB: Final = {"APP": 2_160_232, "RUNTIME": 41_984, "HCCL": 0, "SLOG": 0}


def op_summary(kernels: Sequence[Kernel], config: dict[str, Any], era: str) -> Table:
    """Return one row per kernel, over all streams in order of their start.

    A kernel waits since the row before ended, whatever its stream (``CalculateWaitTime``). At
    Level0 types, cores and counters are not known, and shapes only where they were asked for.
    """
    lean = config["level"] == "Level0"
    shapes = not lean or bool(config["data_type_config"] & 0x800000000)
    metrics = 255 if lean else config["aicore_metrics"]
    rows: list[Row] = []
    before: Kernel | None = None
    for kernel in kernels:
        waited = max(0, kernel.start_ns - before.end_ns) if before else 0
        before = kernel
        rows.append(
            (
                kernel.device,
                NO_MODEL,
                kernel.task,
                kernel.stream,
                kernel.name,
                *((NA, NA, NA) if lean else (kernel.type, "dynamic", kernel.core)),
                us(kernel.start_ns) + "\t",
                kernel.duration_ns / 1000,
                waited / 1000 if waited else 0,
                *((0, 0) if lean else kernel.blocks),
                NA if lean else "NO",
                *(kernel.tensor_cells() if shapes else (NA,) * 6),
                0 if kernel.core.startswith("MIX") and not lean else NA,
                *kernel.counters(metrics).values(),
            )
        )
    return (*base_header(era), *counter_header(metrics)), rows


def op_statistic(kernels: Iterable[Kernel]) -> Table:
    """Return one row per type of operator and core, the costliest first."""
    durations: defaultdict[tuple[int, str, str], list[float]] = defaultdict(list)
    for kernel in kernels:
        durations[kernel.device, kernel.type, kernel.core].append(kernel.duration_ns / 1000)
    totals: defaultdict[int, float] = defaultdict(float)
    for (device, _, _), found in durations.items():
        totals[device] += sum(found)
    rows: list[Row] = [
        (
            *key,
            len(found),
            *_rounded(sum(found), min(found), statistics.fmean(found), max(found)),
            *_rounded(sum(found) / totals[key[0]] * 100),
        )
        for key, found in sorted(durations.items(), key=lambda item: -sum(item[1]))
    ]
    times = ("Total Time(us)", "Min Time(us)", "Avg Time(us)", "Max Time(us)")
    return ("Device_id", "OP Type", "Core Type", "Count", *times, "Ratio(%)"), rows


def api_statistic(kernels: Iterable[Kernel], level: str) -> Table:
    """Return one row per call of the host and its layer."""
    durations: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for kernel in kernels:
        launching = (kernel.host_end_ns - kernel.launch_ns) / 1000
        calling = (kernel.host_end_ns - kernel.host_start_ns) / 1000
        durations["acl", kernel.api].append(calling)
        durations["node", "launch"].append(launching)
        if level == "Level2":
            durations["runtime", "KernelLaunch"].append(launching)
    rows: list[Row] = [
        (
            "host",
            *key,
            *_rounded(sum(found)),
            len(found),
            *_rounded(statistics.fmean(found), min(found), max(found)),
            *_rounded(statistics.pvariance(found)),
        )
        for key, found in sorted(durations.items())
    ]
    times = ("Time(us)", "Count", "Avg(us)", "Min(us)", "Max(us)", "Variance")
    return ("Device_id", "Level", "API Name", *times), rows


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


def l2_cache(kernels: Sequence[Kernel]) -> Table:
    """Return the cache's rates: without the first kernel, and without hit rates.

    Both as in a real capture of an Ascend 910B, where ``l2_cache`` delivers no more than that.
    """
    rows: list[Row] = []
    for kernel in kernels[1:]:
        rates = kernel.counters(6)
        if kernel.core == "DSA_SQE":
            continue
        half = "aic" if kernel.core == "AI_CORE" else "aiv"
        missed = float(rates[f"{half}_write_cache_miss_allocate"])
        rate = round(missed / (missed + float(rates[f"{half}_write_cache_hit"]) or 1), 6)
        rows.append((kernel.device, kernel.stream, kernel.task, NA, rate, kernel.name))
    return ("Device_id", "Stream Id", "Task Id", "Hit Rate", "Victim Rate", "Op Name"), rows


def soc_pmu(kernels: Iterable[Kernel]) -> Table:
    """Return how often each kernel's addresses were known to the device's memory manager."""
    rows: list[Row] = []
    for kernel in kernels:
        missed = kernel.share("TLB Miss Rate")
        hit = round(1 - missed, 3)
        rows.append((kernel.device, kernel.stream, kernel.task, missed, hit, kernel.name))
    rates = ("TLB Miss Rate", "TLB Hit Rate")
    return ("Device_id", "Stream Id", "Task Id", *rates, "Op Name"), rows


def network(devices: Iterable[int], begin_ns: int, end_ns: int) -> Table:
    """Return what the network's ports carry, of which there is nothing: ``nic`` and ``roce``."""
    directions = [
        (f"{way.title()} Bandwidth efficiency(%)", f"{way}Packet/s", *_rates(way))
        for way in ("rx", "tx")
    ]
    columns = [column for direction in directions for column in direction]
    rows: list[Row] = [
        (device, us(time_ns) + "\t", 0, *(0 for _ in columns), 0)
        for device, time_ns in _samples(devices, begin_ns, end_ns)
    ]
    return ("Device_id", "Timestamp(us)", "Bandwidth(MB/s)", *columns, "funcId"), rows


def _rates(way: str) -> tuple[str, str]:
    return f"{way}Error rate(%)", f"{way}Dropped rate(%)"


def hccs(devices: Iterable[int]) -> Table:
    """Return what passes between devices: nothing."""
    rows: list[Row] = [(device, mode, 0, 0, 0) for device in devices for mode in ("Tx", "Rx")]
    return ("Device_id", "Mode", "Max", "Min", "Average"), rows


def pcie(devices: Iterable[int]) -> Table:
    """Return what passes between hosts and devices: nothing."""
    kinds = ("Tx_p", "Tx_np", "Tx_cpl", "Tx_latency", "Rx_p", "Rx_np", "Rx_cpl")
    rows: list[Row] = [
        (device, f"{kind}_avg(MB/s)", 0, 0, 0) for device in devices for kind in kinds
    ]
    return ("Device_id", "Mode", "Min", "Max", "Avg"), rows


def npu_mem(devices: Iterable[int], begin_ns: int, end_ns: int) -> Table:
    """Return what the devices' memory holds, sampled: the process's part, and all."""
    rows: list[Row] = []
    for device, time_ns in _samples(devices, begin_ns, end_ns):
        for event, more in (("APP", 0), ("Device", 242_204)):
            size = RESERVED_KB["APP"] + more
            rows.append((device, event, 0, size, size, us(time_ns) + "\t"))
    return ("Device_id", "event", "ddr(KB)", "hbm(KB)", "memory(KB)", "timestamp(us)"), rows


def npu_module_mem(devices: Iterable[int], begin_ns: int, end_ns: int) -> Table:
    """Return what CANN's parts reserve, sampled."""
    rows: list[Row] = [
        (device, component, us(time_ns) + "\t", size, f"NPU:{device}")
        for device, time_ns in _samples(devices, begin_ns, end_ns)
        for component, size in RESERVED_KB.items()
    ]
    return ("Device_id", "Component", "Timestamp(us)", "Total Reserved(KB)", "Device"), rows


def msprof_tx(marks: Iterable[dict[str, Any]], pid: int) -> Table:
    """Return the program's own marks and ranges."""
    rows: list[Row] = [
        (
            pid,
            mark["thread"],
            0,
            "marker" if mark["start_ns"] == mark["end_ns"] else "start/end",
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


def _samples(devices: Iterable[int], begin_ns: int, end_ns: int) -> Iterator[tuple[int, int]]:
    for device in devices:
        for time_ns in range(begin_ns, end_ns + 1, SAMPLE_NS):
            yield device, time_ns


def _rounded(*values: float) -> tuple[float, ...]:
    return tuple(round(value, 3) for value in values)
