"""Files of other programs, and files of torch that are no trace: what they are, and what to do."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from harness.errors import RefusedError
from harness.pipeline.reading import read_capture
from tests.support.chrome_traces import event

META = {"ph": "M", "name": "process_name", "pid": 1}
ET = {"schema": "1.1.1-chakra.0.0.4", "pid": 3, "nodes": [{"id": 2, "name": "x", "ctrl_deps": 1}]}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (ET, "it is an execution trace (Chakra)"),
        (
            [{"name": "mm", "ph": "X", "ts": 1.0, "dur": 5.0, "tid": 1, "pid": "CPU functions"}],
            "it is the list of events of torch.autograd.profiler",
        ),
        (
            {"traceEvents": [event("FEE", "main", 1, 2)], "viztracer_metadata": {"version": "1"}},
            "it is a trace of viztracer",
        ),
        (
            {"displayTimeUnit": "ns", "traceEvents": [META | {"args": {"name": "/host:CPU"}}]},
            "it is a trace of JAX or TensorFlow",
        ),
        (
            {
                "traceEvents": [
                    META | {"args": {"name": "/device:GPU:0"}},
                    event("", "fusion", 1, 2),
                ]
            },
            "it is a trace of JAX or TensorFlow",
        ),
        (
            {"schema": "1.0.1", "pid": 3, "time": "x", "start_ts": 1, "nodes": [{"id": 1}]},
            "it is an execution trace (Chakra)",
        ),
        (
            {"traceEvents": [event("nvtx", "step", 1, 2, pid="Device 0", tid="NVTX")]},
            "it is an export of NVIDIA Nsight Systems",
        ),
        ({"rocprofiler-sdk-tool": []}, "it is output of rocprof"),
        ([{"Time (%)": 1.0, "Total Time (ns)": 5}], "it is an export of NVIDIA Nsight Systems"),
        ({"segments": [], "device_traces": []}, "it is a memory snapshot of torch"),
        ([[1, 2, 3, 4, 5], [[0, 1], [0, 2]]], "it is a memory timeline of torch"),
        ({"traceEvents": []}, "no event of an operator or a device is in it"),
        ({"schemaVersion": 1, "traceEvents": [event("Trace", "a", 1, 2)]}, "recorded nothing"),
        (
            {"traceEvents": [{"ph": "b", "cat": "mine", "name": "work", "ts": 1}]},
            "no event of torch.profiler is in it, only of the kinds mine",
        ),
        (
            {"traceEvents": [{"ph": "B", "cat": "mine", "name": "work", "ts": 1}]},
            "1 of the kind mine, begin and end apart (the first: work)",
        ),
        (
            {"traceEvents": [event("mine", "work", 1, 2)]},
            "1 of the kind mine (the first: work); the program that wrote it is not known",
        ),
    ],
)
def test_what_is_no_trace_of_torch_is_refused_and_called_by_name(
    tmp_path: Path, content: Any, says: str
) -> None:
    path = tmp_path / "some.json"
    path.write_text(json.dumps(content))
    with pytest.raises(RefusedError) as refused:
        read_capture(path, tmp_path / "out")
    assert refused.value.exit_code == 2
    assert says in str(refused.value)


def test_a_known_file_beside_a_trace_is_named_and_no_loss(tmp_path: Path) -> None:
    folder = tmp_path / "profile"
    folder.mkdir()
    (folder / "et.json").write_text(json.dumps(ET))
    trace = {"schemaVersion": 1, "traceEvents": [event("cpu_op", "aten::mm", 1, 2)]}
    (folder / "trace.json").write_text(json.dumps(trace))
    record = read_capture(folder, tmp_path / "out").record
    assert record.exit_code == 0
    assert record.notes[-1].startswith("et.json: not read: it is an execution trace (Chakra)")


def test_a_trace_without_operators_and_kernels_is_not_whole(tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    frames = [event("python_function", "a.py(1): f", 1, 2)]
    path.write_text(json.dumps({"schemaVersion": 1, "traceEvents": frames}))
    record = read_capture(path, tmp_path / "out").record
    (whole,) = [delivery for delivery in record.delivery if delivery.setting == "read"]
    assert (record.exit_code, whole.reason) == (
        *(3, "trace.json: it has neither operators nor kernels"),
    )


def test_events_without_a_kind_are_said(tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    events = [event("cpu_op", "aten::mm", 1, 2), event("", "step 3", 1, 2)]
    path.write_text(json.dumps({"schemaVersion": 1, "traceEvents": events}))
    record = read_capture(path, tmp_path / "out").record
    assert record.exit_code == 0
    assert record.notes == (
        "trace.json: events without a kind are not read: 1 of the kind (none) (the first: step 3)",
    )


def test_a_memory_snapshot_is_called_by_name(tmp_path: Path) -> None:
    path = tmp_path / "snapshot.pickle"
    path.write_bytes(pickle.dumps({"segments": [], "device_traces": []}))
    with pytest.raises(RefusedError, match="it is a memory snapshot of torch"):
        read_capture(path, tmp_path / "out")
