"""Samples of the host (``host_sys``): processors, memory, disks, network, system calls.

Tables, counters and columns have the names of msprof's guides and sources. Only NUMA nodes have
their own folder, ``PLATFORM_<time>``, beside the capture's ``PROF_*``.
"""

from __future__ import annotations

import csv
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

from harness.emulator.sampled import HOST, Event, Layer, Rows, Sampled, Window
from harness.emulator.summaries import Row

PROCESSORS: Final = 2
MEMORY_KB: Final = 16_777_216
CALLS: Final = {"ioctl": 18_000, "pthread_mutex_lock": 2_000, "nanosleep": 50_000}
"""The invented system calls of every sample, and their nanoseconds."""

CPU: Final = Layer("CPU Usage", "CPU", 8)
MEMORY: Final = Layer("Memory Usage", "CPU", 9)
DISK: Final = Layer("Disk Usage", "CPU", 10)
NETWORK: Final = Layer("Network Usage", "CPU", 11)
OS_RUNTIME: Final = Layer("OS Runtime API", "CPU", 12)

USAGE: Final = "Usage(%)"


def _usage(index: int) -> int:
    """Return a percentage, the same for the same sample in every run."""
    return 20 + index * 37 % 60


def add_host(into: Sampled, window: Window, names: str, pid: int) -> None:
    """Add the samples of each of the names, which commas separate."""
    requested = set(names.split(","))
    if "cpu" in requested:
        _add_processors(into, window)
    if "mem" in requested:
        _add_memory(into, window)
    if "disk" in requested:
        _add_disks(into, window)
    if "network" in requested:
        _add_network(into, window)
    if "osrt" in requested:
        _add_calls(into, window, pid)


def _add_processors(into: Sampled, window: Window) -> None:
    header = ("Total Cpu Numbers", "Occupied Cpu Numbers", "Recommend Cpu Numbers")
    into.tables["host_cpu_usage"] = ("Device_id", *header), [("host", PROCESSORS, 1, 1)]
    samples = [
        (time_ns, number, _usage(index + number))
        for index, time_ns in enumerate(window.times)
        for number in range(PROCESSORS)
    ]
    into.events += [
        Event(CPU, HOST, f"CPU {number}", time_ns, {USAGE: usage})
        for time_ns, number, usage in samples
    ]
    into.events += [
        Event(CPU, HOST, "CPU Avg", time_ns, {USAGE: _usage(index)})
        for index, time_ns in enumerate(window.times)
    ]
    columns = "timestampNs NUMERIC, cpuId NUMERIC, usage NUMERIC"
    into.stored["CPU_USAGE"] = Rows(columns, list(samples))


def _add_usage(into: Sampled, window: Window, layer: Layer) -> list[tuple[int, int]]:
    """Add the counter of a layer, and return its samples."""
    samples = [(time_ns, _usage(index)) for index, time_ns in enumerate(window.times)]
    into.events += [
        Event(layer, HOST, layer.name, time_ns, {USAGE: usage}) for time_ns, usage in samples
    ]
    return samples


def _add_memory(into: Sampled, window: Window) -> None:
    samples = _add_usage(into, window, MEMORY)
    peak_kb = MEMORY_KB * max(usage for _, usage in samples) // 100
    header = ("Total Memory(KB)", "Peak Used Memory(KB)", "Recommend Memory(KB)")
    rows: list[Row] = [("host", MEMORY_KB, peak_kb, peak_kb)]
    into.tables["host_mem_usage"] = ("Device_id", *header), rows
    into.stored["HOST_MEM_USAGE"] = Rows("timestampNs NUMERIC, usage NUMERIC", list(samples))


def _add_disks(into: Sampled, window: Window) -> None:
    samples = _add_usage(into, window, DISK)
    ways = ("Peak Disk Read", "Recommend Disk Read", "Peak Disk Write", "Recommend Disk Write")
    header = ("Device_id", *(f"{way}(KB/s)" for way in ways))
    into.tables["host_disk_usage"] = header, [("host", 96, 96, 48, 48)]
    into.stored["HOST_DISK_USAGE"] = Rows(
        "timestampNs NUMERIC, readRate NUMERIC, writeRate NUMERIC, usage NUMERIC",
        [(time_ns, 98_304, 49_152, usage) for time_ns, usage in samples],
    )


def _add_network(into: Sampled, window: Window) -> None:
    samples = _add_usage(into, window, NETWORK)
    header = ("Netcard Speed(KB/s)", "Peak Used Speed(KB/s)", "Recommend Speed(KB/s)")
    into.tables["host_network_usage"] = ("Device_id", *header), [("host", 1_250_000, 1_200, 1_200)]
    into.stored["HOST_NETWORK_USAGE"] = Rows(
        "timestampNs NUMERIC, usage NUMERIC, speed NUMERIC",
        [(time_ns, usage, 1_228_800) for time_ns, usage in samples],
    )


def _add_calls(into: Sampled, window: Window, pid: int) -> None:
    count = len(window.times)
    total_ns = count * sum(CALLS.values())
    into.tables["os_runtime_statistic"] = (
        (
            *("Device_id", "Process ID", "Thread ID", "Name", "Time(%)", "Time(us)"),
            *("Count", "Avg(us)", "Max(us)", "Min(us)"),
        ),
        [
            (
                *("host", pid, pid, name),
                *(round(count * each_ns / total_ns, 6), count * each_ns / 1000, count),
                *(each_ns / 1000,) * 3,
            )
            for name, each_ns in CALLS.items()
        ],
    )
    calls = [
        (name, time_ns, time_ns + each_ns)
        for time_ns in window.times
        for name, each_ns in CALLS.items()
    ]
    into.events += [
        Event(OS_RUNTIME, HOST, name, begin_ns, {}, end_ns=end_ns, thread=pid)
        for name, begin_ns, end_ns in calls
    ]
    into.stored["OSRT_API"] = Rows(
        "name INTEGER, globalTid NUMERIC, startNs INTEGER, endNs INTEGER",
        [(name, pid << 32 | pid, begin_ns, end_ns) for name, begin_ns, end_ns in calls],
    )


def write_platform(folder: Path, times_ns: Sequence[int]) -> None:
    """Write the traffic of NUMA nodes; torch_npu moves the folder beside the capture's."""
    folder.mkdir(exist_ok=True)
    with (folder / "metrics.csv").open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(("ts", "value", "name"))
        for index, time_ns in enumerate(times_ns):
            for way in ("read", "write"):
                writer.writerow((time_ns, 100 * _usage(index), f"node0_{way}_bandwidth (emulated)"))
    database = folder / "platform.db"
    database.unlink(missing_ok=True)
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("CREATE TABLE META_DATA (name TEXT, value TEXT)")
        connection.execute("INSERT INTO META_DATA VALUES ('emulated', 'true')")
