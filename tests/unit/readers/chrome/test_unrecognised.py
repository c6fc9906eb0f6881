"""Files that look like nothing known, and traces that are hard to place."""

from __future__ import annotations

import gzip
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from harness.capture.load import load_capture
from harness.errors import RefusedError
from harness.pipeline.reading import read_capture
from tests.support.chrome_traces import event, kernel, launch

EVENTS: list[dict[str, Any]] = [
    event("cpu_op", "aten::mm", 1000, 100, args={"External id": 1}),
    launch(1, 1020),
    kernel(1, 1060),
]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.json", b"", "a.json: the file is empty"),
        ("a.json", b"\0\0\0", "a.json: the file is empty"),
        ("a.json.gz", gzip.compress(b"", mtime=0), "a.json.gz: the file is empty"),
        ("a.csv", b"", "a.csv: the file is empty"),
        ("a.json", b"[ ]", "a.json: there is no event in it"),
        ("a.json", b"{}", "a.json: there is no event in it"),
        ("a.json", "{}".encode("utf-16"), "a.json: its text is UTF-16: save it as UTF-8"),
        ("a.csv.gz", gzip.compress(b"a,b", mtime=0), "unpack it (gunzip)"),
        ("a.json", b'{"a": 1}', "a.json: no reader recognises it"),
        (
            "a.json",
            json.dumps({"nodes": [{"name": "[pytorch|profiler|execution_graph|thread]"}]}).encode(),
            "it is an execution trace",
        ),
    ],
)
def test_what_a_file_is(name: str, content: bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RefusedError) as refused:
        read_capture(tmp_path / name, tmp_path / "run")
    assert says in str(refused.value)


def test_an_unknown_database(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with sqlite3.connect(path) as database:
        database.execute("create table x (a)")
    database.close()
    with pytest.raises(RefusedError, match="a database without any table that torch_npu"):
        read_capture(path, tmp_path / "run")


def test_the_events_alone(tmp_path: Path) -> None:
    """A list without the object around it, as other tools cut it out."""
    capture = _read(json.dumps(EVENTS), tmp_path)
    operators, kernels = capture.tables["operators"], capture.tables["kernels"]
    assert capture.expected.device == "cuda"
    assert operators.select("id", "start_ns", "self_ns").rows() == [(0, 1_000_000, 98_000)]
    assert kernels.select("operator", "start_ns", "duration_ns").rows() == [(0, 1_060_000, 10_000)]


@pytest.mark.parametrize(
    ("kind", "call", "device"),
    [
        ("cuda_runtime", "cudaLaunchKernel", "cuda"),
        ("cuda_driver", "cuLaunchKernel", "cuda"),
        ("cuda_runtime", "hipLaunchKernel", "rocm"),
    ],
)
def test_calls_name_the_device_without_kernels(
    kind: str, call: str, device: str, tmp_path: Path
) -> None:
    events = [EVENTS[0], event(kind, call, 1020, 2, args={"correlation": 1})]
    capture = _read(json.dumps({"schemaVersion": 1, "traceEvents": events}), tmp_path)
    assert capture.expected.device == device


def test_self_times_beside_calls_of_any_runtime(tmp_path: Path) -> None:
    """A Kineto trace of an NPU holds calls that take time from the operators around them."""
    events = [
        EVENTS[0],
        event("privateuse1_runtime", "aclrtLaunchKernel", 1020, 5),
        kernel(1, 1060),
    ]
    path = tmp_path / "trace.json"
    path.write_text(json.dumps({"schemaVersion": 1, "traceEvents": events}))
    assert read_capture(path, tmp_path / "run").record.exit_code == 0
    capture = load_capture(tmp_path / "run")
    assert capture.expected.device == "npu"
    assert capture.tables["operators"]["self_ns"].to_list() == [95_000]


def test_kinds_of_mtia(tmp_path: Path) -> None:
    """Kineto's mtia_insight is known, and no kernel."""
    events = [EVENTS[0], event("mtia_insight", "x", 1100, 5)]
    path = tmp_path / "trace.json"
    path.write_text(json.dumps({"schemaVersion": 1, "traceEvents": events}))
    assert read_capture(path, tmp_path / "run").record.exit_code == 0
    assert load_capture(tmp_path / "run").expected.device == "mtia"


def test_ranges_of_operators_that_are_not_read(tmp_path: Path) -> None:
    """Begin and end apart, as asynchronous events: no row is made of them."""
    apart = [{**event("cpu_op", "aten::x", 1, 0), "ph": phase, "id": 1} for phase in "be"]
    path = tmp_path / "trace.json"
    path.write_text(json.dumps({"schemaVersion": 1, "traceEvents": [EVENTS[0], *apart]}))
    record = read_capture(path, tmp_path / "run").record
    assert record.exit_code == 3
    assert "1 of the kind cpu_op, begin and end apart (the first: aten::x)" in str(record)


def test_the_operators_number_links_a_kernel_without_a_correlation(tmp_path: Path) -> None:
    alone = event("kernel", "gemm", 1060, 10, pid=3, tid=20, args={"External id": 1})
    capture = _read(json.dumps({"schemaVersion": 1, "traceEvents": [EVENTS[0], alone]}), tmp_path)
    assert capture.tables["kernels"].select("operator", "correlation").rows() == [(0, None)]
    assert capture.tables["operators"]["device_ns"].to_list() == [10_000]


def _read(text: str, folder: Path) -> Any:
    path = folder / "trace.json"
    path.write_text(text)
    read_capture(path, folder / "run")
    return load_capture(folder / "run")
