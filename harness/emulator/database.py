"""``msprof_<time>.db``: the tables that torch_npu's database is built from.

Names and columns as in msprof's guide to its database and in a real capture: texts are ids into
``STRING_IDS``, times are nanoseconds, counters are in long form.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from harness.emulator.collectives import HCCL_TYPES, Collective
from harness.emulator.kernels import NA, NO_MODEL, Kernel
from harness.emulator.sampled import Rows, module_names
from harness.settings.faults import Era

TABLES: Final = {
    "STRING_IDS": "id INTEGER PRIMARY KEY, value TEXT",
    "META_DATA": "name TEXT, value TEXT",
    "NPU_INFO": "id INTEGER, name TEXT",
    "ENUM_API_TYPE": "id INTEGER PRIMARY KEY, name TEXT",
    "CANN_API": "startNs INTEGER, endNs INTEGER, type INTEGER, globalTid INTEGER,"
    " connectionId INTEGER, name INTEGER",
    "TASK": "startNs INTEGER, endNs INTEGER, deviceId INTEGER, connectionId INTEGER,"
    " globalTaskId INTEGER, globalPid INTEGER, taskType INTEGER, contextId INTEGER,"
    " streamId INTEGER, taskId INTEGER, modelId INTEGER",
    "COMPUTE_TASK_INFO": "name INTEGER, globalTaskId INTEGER, block{block} INTEGER,"
    " mixBlock{block} INTEGER, taskType INTEGER, opType INTEGER, inputFormats INTEGER,"
    " inputDataTypes INTEGER, inputShapes INTEGER, outputFormats INTEGER,"
    " outputDataTypes INTEGER, outputShapes INTEGER, attrInfo INTEGER, opState INTEGER,"
    " hf32Eligible INTEGER",
    "ENUM_MSTX_EVENT_TYPE": "id INTEGER PRIMARY KEY, name TEXT",
    "MSTX_EVENTS": "startNs INTEGER, endNs INTEGER, eventType INTEGER, rangeId INTEGER,"
    " category INTEGER, message INTEGER, globalTid INTEGER, endGlobalTid INTEGER,"
    " domainId INTEGER, connectionId INTEGER",
    "COMMUNICATION_OP": "opName INTEGER, startNs INTEGER, endNs INTEGER, connectionId INTEGER,"
    " groupName INTEGER, opId INTEGER PRIMARY KEY, relay INTEGER, retry INTEGER,"
    " dataType INTEGER, algType INTEGER, count NUMERIC, opType INTEGER, deviceId INTEGER",
    "COMMUNICATION_TASK_INFO": "name INTEGER, globalTaskId INTEGER, taskType INTEGER,"
    " planeId INTEGER, groupName INTEGER, notifyId INTEGER, rdmaType INTEGER, srcRank INTEGER,"
    " dstRank INTEGER, transportType INTEGER, size INTEGER, dataType INTEGER, linkType INTEGER,"
    " opId INTEGER, isMaster INTEGER, bandwidth NUMERIC",
    "ENUM_HCCL_DATA_TYPE": "id INTEGER PRIMARY KEY, name TEXT",
    "TASK_PMU_INFO": "globalTaskId INTEGER, name INTEGER, value NUMERIC",
}
ONLY_WITH_ROWS: Final = (
    *("TASK_PMU_INFO", "COMMUNICATION_OP", "COMMUNICATION_TASK_INFO", "ENUM_HCCL_DATA_TYPE"),
)
"""CANN does not write these tables if they would be empty."""
API_TYPES: Final = {
    5000: "runtime",
    5500: "communication",
    10000: "node",
    15000: "model",
    20000: "acl",
}
MARK_TYPES: Final = {0: "marker", 1: "push/pop", 2: "start/end", 3: "marker_ex"}
NO_CONTEXT: Final = 4294967295


class Database:
    """The rows of the database before they are written."""

    def __init__(self, config: dict[str, Any], pid: int, era: Era) -> None:
        self._lean = config["level"] == "Level0"
        mask = config["data_type_config"]
        self._shapes = not self._lean or bool(mask & 0x800000000)
        self._attributes = bool(mask & 0x4000)
        self._metrics: int = config["aicore_metrics"]
        self._pid = pid
        self._block = "Dim" if era == "block_dim" else "Num"
        self._strings: dict[str, int] = {}
        self._rows: dict[str, list[Sequence[object]]] = {name: [] for name in TABLES}
        self._rows["META_DATA"] += [("emulated", "true")]
        self._rows["NPU_INFO"] += [(device, "Ascend910B1 emulated") for device in config["devices"]]
        self._rows["ENUM_API_TYPE"] += API_TYPES.items()
        self._rows["ENUM_MSTX_EVENT_TYPE"] += MARK_TYPES.items()
        self._columns = dict(TABLES)

    def add_mark(self, mark: dict[str, Any]) -> None:
        """Add one of the program's own marks and ranges."""
        thread = self._pid << 32 | mark["thread"]
        message, domain = self._id(mark["message"]), self._id(mark["domain"])
        times = mark["start_ns"], mark["end_ns"]
        kind = 0 if mark["start_ns"] == mark["end_ns"] else 2
        row = (*times, kind, NO_CONTEXT, NO_CONTEXT, message, thread, thread, domain, NO_CONTEXT)
        self._rows["MSTX_EVENTS"].append(row)

    def add_sampled(self, name: str, stored: Rows) -> None:
        """Add a table of samples."""
        self._columns[name] = stored.columns
        self._rows[name] = [
            tuple(self._id(value) if isinstance(value, str) else value for value in row)
            for row in stored.rows
        ]
        if name == "NPU_MODULE_MEM":
            self._columns["ENUM_MODULE"] = "id INTEGER PRIMARY KEY, name TEXT"
            self._rows["ENUM_MODULE"] = [*module_names(stored.rows)]

    def add_kernel(self, kernel: Kernel) -> None:
        """Add a kernel, the calls that launched it, and its counters."""
        number = len(self._rows["TASK"])
        self._add_calls(kernel)
        self._add_task(kernel, number)
        self._add_compute_task(kernel, number)
        counters = {} if self._lean else kernel.counters(self._metrics)
        self._rows["TASK_PMU_INFO"] += [
            (number, self._id(_bare(name)), float(value))
            for name, value in counters.items()
            if value != NA
        ]

    def add_collective(self, collective: Collective) -> None:
        """Add a collective, the call that launched it, and its tasks: a wait and a transfer."""
        operation = len(self._rows["COMMUNICATION_OP"])
        thread = self._pid << 32 | collective.thread
        times = collective.host_start_ns, collective.host_end_ns
        calls = [(10000, "launch"), (5500, collective.type)]
        if not self._lean:
            calls.append((20000, collective.api))
        self._rows["CANN_API"] += [
            (*times, kind, thread, collective.connection, self._id(name)) for kind, name in calls
        ]
        data_type = HCCL_TYPES.index(collective.data_type)
        self._rows["ENUM_HCCL_DATA_TYPE"] = [*enumerate(HCCL_TYPES)]
        self._rows["COMMUNICATION_OP"].append(
            (
                *(self._id(collective.name), collective.start_ns, collective.end_ns),
                *(collective.connection, self._id(collective.group_id), operation, 0, 0),
                *(data_type, self._id("emulated"), collective.count),
                *(self._id(collective.type), collective.device),
            )
        )
        moving_ns = collective.start_ns + collective.wait_ns
        for name, start_ns, end_ns, size in (
            ("Notify_Wait", collective.start_ns, moving_ns, 0),
            ("Memcpy", moving_ns, collective.end_ns, collective.moved),
        ):
            number = len(self._rows["TASK"])
            self._rows["TASK"].append(
                (
                    *(start_ns, end_ns, collective.device, collective.connection, number),
                    *(self._pid, self._id(name), NO_CONTEXT, collective.stream, number, NO_MODEL),
                )
            )
            self._rows["COMMUNICATION_TASK_INFO"].append(
                (
                    *(self._id(name), number, self._id(name), 0, self._id(collective.group_id)),
                    *(0, 0, collective.rank, (collective.rank + 1) % collective.ranks, 0, size),
                    *(data_type, 0, operation, 1, 0),
                )
            )

    def write(self, path: Path) -> None:
        """Write all tables."""
        self._rows["STRING_IDS"] += [(number, text) for text, number in self._strings.items()]
        with closing(sqlite3.connect(path)) as connection, connection:
            for name, columns in self._columns.items():
                if name in ONLY_WITH_ROWS and not self._rows[name]:
                    continue
                connection.execute(f"CREATE TABLE {name} ({columns.format(block=self._block)})")
                places = ", ".join("?" * len(columns.split(",")))
                insert = f"INSERT INTO {name} VALUES ({places})"  # noqa: S608 - names of ours
                connection.executemany(insert, self._rows[name])

    def _id(self, text: str) -> int:
        """Return the id of a text; for torch_npu, the id 0 means none."""
        return self._strings.setdefault(text, len(self._strings) + 1)

    def _add_calls(self, kernel: Kernel) -> None:
        thread = self._pid << 32 | kernel.thread
        calls = [(10000, "launch", kernel.launch_ns)]
        if not self._lean:
            calls.append((20000, kernel.api, kernel.host_start_ns))
        self._rows["CANN_API"] += [
            (start_ns, kernel.host_end_ns, kind, thread, kernel.connection, self._id(name))
            for kind, name, start_ns in calls
        ]

    def _add_task(self, kernel: Kernel, number: int) -> None:
        self._rows["TASK"].append(
            (
                kernel.start_ns,
                kernel.end_ns,
                kernel.device,
                kernel.connection,
                number,
                self._pid,
                self._id(NA if self._lean else kernel.core),
                0 if kernel.core.startswith("MIX") else NO_CONTEXT,
                kernel.stream,
                kernel.task,
                NO_MODEL,
            )
        )

    def _add_compute_task(self, kernel: Kernel, number: int) -> None:
        cells = kernel.tensor_cells() if self._shapes else (NA,) * 6
        shapes, dtypes, formats, out_shapes, out_dtypes, out_formats = map(self._id, cells)
        self._rows["COMPUTE_TASK_INFO"].append(
            (
                self._id(kernel.name),
                number,
                *((0, 0) if self._lean else kernel.blocks),
                self._id(NA if self._lean else kernel.core),
                self._id(NA if self._lean else kernel.type),
                formats,
                dtypes,
                shapes,
                out_formats,
                out_dtypes,
                out_shapes,
                self._id(_attributes(kernel) if self._attributes else NA),
                self._id(NA if self._lean else "dynamic"),
                self._id(NA if self._lean else "NO"),
            )
        )


def _attributes(kernel: Kernel) -> str:
    """Return an operator's attributes; CANN's own format is unknown."""
    return json.dumps({"op": kernel.api, "emulated": True})


def _bare(column: str) -> str:
    """Return a counter's name in the database, which has no unit."""
    bare = column.partition("(")[0]
    return {"aicore_time": "aic_total_time", "aiv_time": "aiv_total_time"}.get(bare, bare)
