"""Captures of torch_npu's text export, written by hand."""

from __future__ import annotations

import csv
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl

from harness.readers.ascend.text import AscendText
from harness.readers.base import ReadContext, ReadResult

BASE_NS = 1_700_000_000_000_000_000


HOST, CANN, NPU, HCCL = 10, 3200, 3264, 3296


MAIN, BACKWARD = 10, 11
STREAM = 2


def us(at: int) -> str:
    return str(Decimal(BASE_NS + at) / 1000)


def host(kind: str, name: str, at: int, duration: int, thread: int = MAIN, **args: Any) -> Any:
    event = {"ph": "X", "name": name, "pid": HOST, "tid": thread, "cat": kind}
    return event | {"ts": us(at), "dur": duration / 1000, "args": args}


def op(name: str, at: int, duration: int, thread: int = MAIN, **args: Any) -> Any:
    absent = {"Sequence number": -1, "Fwd thread id": 0}
    return host("cpu_op", name, at, duration, thread, **absent, **args)


def flow(kind: str, link: int | str, begin: tuple[int, int, int], end: tuple[int, int, int]) -> Any:
    """Each end is process, thread and time."""
    return [
        {"ph": ph, "name": kind, "id": link, "cat": kind, "pid": pid, "tid": tid, "ts": us(at)}
        for ph, (pid, tid, at) in (("s", begin), ("f", end))
    ]


def process(pid: int, name: str, label: str) -> Any:
    rows = {"process_name": {"name": name}, "process_labels": {"labels": label}}
    return [{"ph": "M", "name": row, "pid": pid, "tid": 0, "args": rows[row]} for row in rows]


def task(name: str, at: int, connection: int, pid: int = NPU, stream: int = STREAM) -> Any:
    args = {"Task Type": "AI_CORE", "connection_id": connection}
    event = {"ph": "X", "name": name, "pid": pid, "tid": stream}
    return event | {"ts": us(at), "dur": 1.5, "args": args}


def launch(link: int | str, op_at: int, call_at: int, at: int, thread: int = MAIN) -> Any:
    operator = flow("async_npu", BASE_NS + at, (HOST, thread, op_at), (NPU, STREAM, at))
    return operator + flow("HostToDevice", link, (CANN, 5, call_at), (NPU, STREAM, at))


LINEAR: dict[str, Any] = {
    "Input Dims": "32,64;\r\n128,64;\r\n",
    "Input type": "float;\r\nfloat;\r\n",
}
STACK: dict[str, Any] = {"Call stack": "nn.py(9): linear;\r\nmain.py(3): step"}
EVENTS = [
    *process(NPU, "Ascend Hardware", "NPU 3"),
    *process(HCCL, "HCCL", "NPU 3"),
    op("harness.step#7", 1_000, 99_000),
    op("harness.stage#forward", 2_000, 40_000),
    op("ProfilerStep#2", 500, 199_500),
    op("aten::addmm", 4_000, 20_000),
    op("aten::linear", 3_000, 30_001, **LINEAR, **STACK),
    op("aclnnAddmm", 5_000, 10_000),
    host("python_function", "main.py(5): f", 50_000, 20_000),
    op("aten::relu", 51_000, 5_000),
    host("python_function", "main.py(6): g", 52_000, 1_000),
    op("ReluBackward0", 60_000, 9_000, BACKWARD),
    op("aclnnThreshold", 61_000, 2_000, BACKWARD),
    *launch("9", 5_000, 6_000, 40_000),
    task("MatMul", 40_000, 9),
    # The driver's numbers wrap around: the call before, not the first of that number.
    *launch("9", 61_000, 62_000, 90_000, BACKWARD),
    task("Relu", 90_000, 77),
    *flow("async_npu", BASE_NS + 95_001, (HOST, MAIN, 51_000), (HCCL, 0, 95_001)),
    {"ph": "C", "name": "AI Core Freq", "pid": 5, "tid": 0, "ts": us(0), "args": {"MHz": 1800}},
]
HEADER = [
    "Step Id",
    "Device_id",
    "Model ID",
    "Task ID",
    "Stream ID",
    "Name",
    "Type",
    "OP State",
    "Accelerator Core",
    "Start Time(us)",
    "Duration(us)",
    "Wait Time(us)",
    "Block Num",
    "Mix Block Num",
    "HF32 Eligible",
    "Input Shapes",
    "Input Data Types",
    "Input Formats",
    "Output Shapes",
    "Output Data Types",
    "Output Formats",
    "Context ID",
    "aicore_time(us)",
    "aic_total_cycles",
    "cube_utilization(%)",
]
NO_TENSORS = ["N/A"] * 6
MODEL = 4294967295
KERNELS: list[list[Any]] = [
    [
        *(2, 3, MODEL, 51, 2, "MatMul_1", "MatMulV2", "dynamic", "AI_CORE"),
        *(f"{us(40_000)}\t", "1.557", "0", 4, 0, "NO"),
        *('"32,64;64,128;"', "FLOAT;FLOAT;", "ND;ND;ND", '"32,128"', "FLOAT", "ND"),
        *("N/A", "1.518", "2732", "4.062"),
    ],
    [
        *(2, 3, MODEL, 52, 2, "Relu_1", "Relu", "static", "MIX_AIV"),
        *(f"{us(90_000)}\t", "53.741", "48.443", 1, 0, "NO"),
        *('"32,128"', "FLOAT", "ND", '"32,128"', "FLOAT", "ND"),
        *(0, "0.0", "0", "0"),
    ],
    [
        *(2, 3, MODEL, "N/A", "N/A", "hcom_allReduce__586_0_1", "hcom_allReduce_", "N/A"),
        *("COMMUNICATION", f"{us(95_000)}\t", "79089.522", "0", 0, 0, "N/A"),
        *NO_TENSORS,
        *("N/A", "N/A", "N/A", "N/A"),
    ],
    [
        *("", 3, MODEL, 53, 2, "MemSet", "MemSet", "static", "AI_VECTOR_CORE"),
        *(f"{us(180_000)}\t", "6", "0", 1, 0, "NO"),
        *NO_TENSORS,
        *("N/A", "N/A", "N/A", "N/A"),
    ],
]


def folder(root: Path, files: dict[str, Any], info: dict[str, Any] | None = None) -> Path:
    """Write a capture: a file's content is bytes, events, or rows behind a header."""
    capture = root / "host_1_20260101120000000_ascend_pt"
    output = capture / "ASCEND_PROFILER_OUTPUT"
    output.mkdir(parents=True)
    for name, content in files.items():
        if isinstance(content, bytes):
            (output / name).write_bytes(content)
        elif name.endswith(".json"):
            (output / name).write_text(json.dumps(content), encoding="utf-8")
        else:
            with (output / name).open("w", encoding="utf-8", newline="") as lines:
                csv.writer(lines).writerows(content)
    if info is not None:
        (capture / "profiler_info.json").write_text(json.dumps(info), encoding="utf-8")
    return capture


def both(root: Path, **more: Any) -> Path:
    files = {"trace_view.json": EVENTS, "kernel_details.csv": [HEADER, *KERNELS]}
    return folder(
        root, files | {name.replace("__", "."): content for name, content in more.items()}
    )


def read(capture: Path, **context: Any) -> ReadResult:
    return AscendText().read(capture, ReadContext(**context))


def column(frame: pl.DataFrame, name: str) -> list[Any]:
    return frame[name].to_list()


def era(
    drop: tuple[str, ...] = (), rename: dict[str, str] | None = None, newline: str = "\n"
) -> bytes:
    """The same kernels under another header, with the ends of lines of public copies."""
    keep = [n for n, name in enumerate(HEADER) if name not in drop]
    rows = [[(rename or {}).get(name, name) for name in HEADER], *KERNELS]
    cells = [[str(row[n]).replace('"', '""') for n in keep] for row in rows]
    quoted = [[f'"{cell}"' if "," in cell else cell for cell in row] for row in cells]
    return newline.join([*(",".join(row) for row in quoted), ""]).encode()


FILES = {"trace_view.json": EVENTS, "kernel_details.csv": [HEADER, *KERNELS]}
COMMON: dict[str, Any] = {
    "activities": ["ProfilerActivity.CPU", "ProfilerActivity.NPU"],
    "record_shapes": True,
    "with_stack": True,
    "with_flops": False,
}
EXPERIMENTAL: dict[str, Any] = {
    "_profiler_level": "Level1",
    "_aic_metrics": "ACL_AICORE_NONE",
    "_export_type": "text",
}


def info(rank: int = 0, **experimental: Any) -> dict[str, Any]:
    config = {"common_config": COMMON, "experimental_config": EXPERIMENTAL | experimental}
    return {"config": config, "rank_id": rank, "torch_npu_version": "2.7.1"}
