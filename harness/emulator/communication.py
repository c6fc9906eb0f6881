"""The analysis of communication: ``analyze/communication.json`` and its database.

torch_npu splits both by step (``torch_npu/profiler/analysis/prof_view/_communication_parser.py``).
Names and units are msprof's (``analysis/msparser/cluster``): milliseconds, and megabytes of a
million bytes. All transfers go over HCCS, in one packet for each peer.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from harness.emulator.collectives import Collective

FOLDER: Final = "analyze"
TIMES: Final = "Communication Time Info"
PATHS: Final = "Communication Bandwidth Info"
LINK: Final = "HCCS"
LARGE_MB: Final = 1
"""From this size on, msprof calls a packet over HCCS large."""
_MS: Final = 1_000_000
_MB: Final = 1_000_000
_TABLES: Final = {
    "META_DATA": "name TEXT, value TEXT",
    "CommAnalyzerTime": "hccl_op_name TEXT, group_name TEXT, start_timestamp NUMERIC,"
    " elapse_time NUMERIC, transit_time NUMERIC, wait_time NUMERIC,"
    " synchronization_time NUMERIC, idle_time NUMERIC",
    "CommAnalyzerBandwidth": "hccl_op_name TEXT, group_name TEXT, transport_type TEXT,"
    " transit_size NUMERIC, transit_time NUMERIC, bandwidth NUMERIC, large_packet_ratio NUMERIC,"
    " package_size NUMERIC, count NUMERIC, total_duration NUMERIC",
    "CommAnalyzerMatrix": "hccl_op_name TEXT, group_name TEXT, src_rank TEXT, dst_rank TEXT,"
    " transport_type TEXT, transit_size NUMERIC, transit_time NUMERIC, bandwidth NUMERIC",
}


def write_texts(folder: Path, collectives: Sequence[Collective]) -> None:
    """Write the times and paths of all collectives, and the links between ranks."""
    folder.mkdir(exist_ok=True)
    files = {
        "communication.json": {_key(each): _info(each) for each in collectives},
        "communication_matrix.json": {_key(each): _matrix(each) for each in collectives},
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    note = "emulated: every time and size here is invented\n"
    (folder / "README.txt").write_text(note, encoding="utf-8")


def write_database(folder: Path, collectives: Sequence[Collective]) -> None:
    """Write the same as tables of ``communication_analyzer.db``."""
    folder.mkdir(exist_ok=True)
    path = folder / "communication_analyzer.db"
    path.unlink(missing_ok=True)
    rows: dict[str, list[Sequence[object]]] = {
        "META_DATA": [("emulated", "true")],
        "CommAnalyzerTime": [_time_row(each) for each in collectives],
        "CommAnalyzerBandwidth": [row for each in collectives for row in _path_rows(each)],
        "CommAnalyzerMatrix": [row for each in collectives for row in _link_rows(each)],
    }
    with closing(sqlite3.connect(path)) as connection, connection:
        for name, columns in _TABLES.items():
            connection.execute(f"CREATE TABLE {name} ({columns})")
            places = ", ".join("?" * len(columns.split(",")))
            insert = f"INSERT INTO {name} VALUES ({places})"  # noqa: S608 - names of ours
            connection.executemany(insert, rows[name])


def _key(collective: Collective) -> str:
    return f"{collective.name}@{collective.group_id}"


def _start_us(start_ns: int) -> float:
    """Return a start that is not before the real one.

    A float of microseconds since 1970 has steps of 250 ns, and torch_npu drops what begins before
    its step, even by one of them.
    """
    start_us = start_ns / 1000
    while Decimal(str(start_us)) * 1000 < start_ns:
        start_us = math.nextafter(start_us, math.inf)
    return start_us


def _ratio(part: float, rest: float) -> float:
    return round(part / (part + rest), 4) if part + rest else 0.0


def _info(collective: Collective) -> dict[str, Any]:
    wait, transit = collective.wait_ns / _MS, collective.transit_ns / _MS
    return {
        TIMES: {
            "Start Timestamp(us)": _start_us(collective.start_ns),
            "Elapse Time(ms)": collective.duration_ns / _MS,
            "Transit Time(ms)": transit,
            "Wait Time(ms)": wait,
            "Synchronization Time(ms)": wait,
            "Idle Time(ms)": 0.0,
            "Wait Time Ratio": _ratio(wait, transit),
            "Synchronization Time Ratio": _ratio(wait, transit),
        },
        PATHS: {
            "RDMA": _path(collective, 0),
            LINK: _path(collective, collective.moved),
            "PCIE": _path(collective, 0),
            "SDMA": _path(collective, collective.moved),
            "SIO": _path(collective, 0),
        },
    }


def _path(collective: Collective, moved: int) -> dict[str, Any]:
    time = collective.transit_ns / _MS if moved else 0
    packet = moved / _MB / (collective.ranks - 1) if moved else 0
    return {
        "Transit Size(MB)": moved / _MB,
        "Transit Time(ms)": time,
        "Bandwidth(GB/s)": _bandwidth(moved, collective.transit_ns),
        "Large Packet Ratio": float(packet >= LARGE_MB),
        "Size Distribution": {str(packet): [collective.ranks - 1, time]} if moved else {},
    }


def _bandwidth(moved: int, transit_ns: int) -> float:
    return round(moved / transit_ns, 4) if transit_ns else 0.0


def _matrix(collective: Collective) -> dict[str, Any]:
    return {
        f"{collective.rank}-{peer}": {
            "Transport Type": LINK,
            "Transit Size(MB)": size,
            "Transit Time(ms)": time,
            "Bandwidth(GB/s)": bandwidth,
        }
        for peer, size, time, bandwidth in _links(collective)
    }


def _links(collective: Collective) -> Iterator[tuple[int, float, float, float]]:
    """Yield each peer with the megabytes to it, their milliseconds, and GB/s."""
    if not collective.moved:
        return
    each = collective.moved / (collective.ranks - 1)
    bandwidth = _bandwidth(round(each), collective.transit_ns)
    for peer in range(collective.ranks):
        if peer != collective.rank:
            yield peer, each / _MB, collective.transit_ns / _MS, bandwidth


def _time_row(collective: Collective) -> Sequence[object]:
    times = list(_info(collective)[TIMES].values())[:6]
    return (collective.name, collective.group_id, *times)


def _path_rows(collective: Collective) -> Iterator[Sequence[object]]:
    for name, path in _info(collective)[PATHS].items():
        *sums, sizes = path.values()
        for size, (count, time) in sizes.items():
            yield (collective.name, collective.group_id, name, *sums, float(size), count, time)


def _link_rows(collective: Collective) -> Iterator[Sequence[object]]:
    own = collective.name, collective.group_id, str(collective.rank)
    for peer, *numbers in _links(collective):
        yield (*own, str(peer), LINK, *numbers)
