"""Databases of torch_npu, written by hand."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

T = 1_700_000_000_000_000_000
PID = 77


MAIN, BACKWARD = PID << 32 | 10, PID << 32 | 11
NOTHING = 4294967295
RANGE = "startNs TEXT, endNs TEXT, globalTid"
ARGUMENTS = "inputDtypes, inputShapes, callchainId"
TASK = "taskType, contextId, streamId, taskId, modelId"
TENSORS = "inputFormats, inputDataTypes, inputShapes, outputFormats, outputDataTypes, outputShapes"


Tables = dict[str, tuple[str, list[tuple[Any, ...]]]]


class Strings(dict[str, int]):
    def __missing__(self, text: str) -> int:
        self[text] = len(self) + 1
        return self[text]


def api(
    strings: Strings, name: str, at: int, duration: int, connection: int | None = None, **more: Any
) -> tuple[Any, ...]:
    """Times are text, as torch_npu writes them."""
    ids = [None if (cell := more.get(key)) is None else strings[cell] for key in ("types", "dims")]
    place = more.get("thread", MAIN), connection, strings[name], -1, 0
    return (
        str(T + at),
        str(T + at + duration),
        *place,
        *ids,
        more.get("chain"),
        more.get("kind", 50001),
    )


def capture_tables() -> Tables:
    strings = Strings()
    word = strings.__getitem__
    tensors = [word(cell) for cell in ("ND;ND", "FLOAT;FLOAT", "32,64;", "ND", "FLOAT", "32,128")]
    missing = [word("N/A")] * 6
    tables: Tables = {
        "PYTORCH_API": (
            f"{RANGE}, connectionId, name, sequenceNumber, fwdThreadId, {ARGUMENTS}, type",
            [
                api(strings, "harness.step#7", 1_000, 99_000),
                api(strings, "harness.stage#forward", 1_500, 30_000),
                api(
                    *(strings, "aten::linear", 3_000, 30_000),
                    types="float;\r\nfloat",
                    dims="32,64;\r\n",
                    chain=4,
                ),
                api(strings, "aclnnAddmm", 5_000, 10_000, 1),
                api(strings, "aten::item", 50_000, 5_000, 2, types="double"),
                api(strings, "main.py(3): f", 51_000, 1_000, kind=50003),
                api(strings, "Enqueue", 5_500, 1_000, 1, kind=50002),
            ],
        ),
        "PYTORCH_CALLCHAINS": (
            "id, stack, stackDepth",
            [(4, word("main.py(1): outer"), 1), (4, word("nn.py(9): inner"), 0)],
        ),
        "CONNECTION_IDS": ("id, connectionId", [(1, 501), (2, 502)]),
        "CANN_API": (
            "startNs, endNs, type, globalTid, connectionId, name",
            [(T + 70_000, T + 71_000, 20000, MAIN, 503, 1), (T + 70_500, 0, 10000, MAIN, 503, 1)],
        ),
        "TASK": (
            f"startNs, endNs, deviceId, connectionId, globalTaskId, globalPid, {TASK}",
            [
                (T + 60_000, T + 61_557, 0, 501, 1, PID, 0, NOTHING, 2, 51, NOTHING),
                (T + 90_000, T + 91_000, 0, 503, 2, PID, 0, 0, 2, 52, NOTHING),
            ],
        ),
        "COMPUTE_TASK_INFO": (
            f"name, globalTaskId, blockDim, mixBlockDim, taskType, opType, {TENSORS}, attrInfo",
            [
                (word("MatMul_1"), 1, 4, 0, word("AI_CORE"), word("MatMulV2"), *tensors, None),
                (word("MemSet"), 2, 1, 0, word("AI_VECTOR_CORE"), word("MemSet"), *missing, None),
            ],
        ),
        "TASK_PMU_INFO": (
            "globalTaskId, name, value",
            [
                (1, word("aic_total_time"), 1.5),
                (1, word("aic_total_cycles"), 2700),
                (1, word("aic_l0c_read_bw_cube"), 0.25),
                (1, word("aic_new_counter"), 3),
            ],
        ),
        "COMMUNICATION_OP": (
            "opName, startNs, endNs, connectionId, groupName, opId, opType",
            [
                (
                    *(word("hcom_allReduce__586_0_1"), T + 61_000, T + 85_000),
                    *(502, word("175226"), 0, word("hcom_allReduce_")),
                )
            ],
        ),
        "MSTX_EVENTS": (
            "startNs, endNs, message, domainId",
            [(T + 9, T + 19, word("b"), word("d")), (T + 1, T + 1, word("a"), word("d"))],
        ),
        "META_DATA": ("name, value", [("emulated", "true")]),
        "STEP_TIME": ("id, startNs, endNs", [(2, T + 500, T + 200_000)]),
    }
    return tables | {"STRING_IDS": ("id, value", [(n, text) for text, n in strings.items()])}


def write(path: Path, tables: Tables) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        for name, (columns, rows) in tables.items():
            database.execute(f"CREATE TABLE {name} ({columns})")
            marks = ", ".join("?" * len(columns.split(",")))
            database.executemany(f"INSERT INTO {name} VALUES ({marks})", rows)  # noqa: S608


GROUP = "175226"


KEYS, OTHERS = "hccl_op_name, group_name", "synchronization_time, idle_time"
MOVED: Tables = {
    "CommAnalyzerTime": (
        f"{KEYS}, start_timestamp, elapse_time, transit_time, wait_time, {OTHERS}, step, type",
        [
            ("hcom_allReduce__586_0_1", GROUP, 1.5, 0.024, 0.02, 0.003, 0.002, 0.001, "step2", "c"),
            ("hcom_send__586_1_1", GROUP, 2.25, 0.5, 0.25, 0.125, 0, 0.125, "step2", "p2p"),
            ("Total Op Info", GROUP, 0, 1, 1, 1, 1, 1, "step2", ""),
            ("hcom_far", GROUP, 1e300, 1, 1, 1, 1, 1, "step2", ""),
        ],
    ),
    "CommAnalyzerBandwidth": (
        f"{KEYS}, transport_type, transit_size, package_size",
        [
            # Each size of packets repeats the sum; SDMA is HCCS and PCIE together.
            ("hcom_allReduce__586_0_1", GROUP, "HCCS", 3, 1),
            ("hcom_allReduce__586_0_1", GROUP, "HCCS", 3, 2),
            ("hcom_allReduce__586_0_1", GROUP, "PCIE", 1.5, 1),
            ("hcom_allReduce__586_0_1", GROUP, "SDMA", 4.5, 1),
            ("hcom_send__586_1_1", GROUP, "RDMA", 0.25, 1),
        ],
    ),
}
