"""The words of torch 1.8 to 1.10, and the devices that a file names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.errors import RefusedError
from harness.pipeline.reading import read_capture
from harness.readers.base import ReadContext, ReadResult
from harness.readers.chrome import reader
from tests.support.chrome_traces import event, kernel, launch


def read(tmp_path: Path, events: list[dict[str, Any]], **head: Any) -> ReadResult:
    path = tmp_path / "trace.json"
    path.write_text(json.dumps({"schemaVersion": 1, **head, "traceEvents": events}))
    return reader.read(path, ReadContext())


def old(cat: str, name: str, ts: float, dur: float, **args: Any) -> dict[str, Any]:
    on_device = cat in {"Kernel", "Memcpy", "Memset"}
    pid, tid = (0, "stream 7") if on_device else (11, "11")
    arguments = {name.replace("_", " "): value for name, value in args.items()}
    return event(cat, name, ts, dur, args=arguments, pid=pid, tid=tid)


def old_trace() -> list[dict[str, Any]]:
    """One step of torch 1.8: an operator, its kernel, and two copies of other operators."""
    dims = {"Input_dims": [[8, 4], [4, 2]], "Input_type": ["float", "float"]}
    memory = {"Device Type": 1, "Device Id": 0, "Bytes": 512}
    return [
        old("Operator", "ProfilerStep#3", 1000, 400, External_id=1),
        old("Operator", "aten::mm", 1010, 100, External_id=2, **dims),
        old("Runtime", "cudaLaunchKernel", 1050, 10, correlation=7, external_id=2),
        old("Kernel", "sgemm", 1080, 50, correlation=7, external_id=2),
        old("Memcpy", "Memcpy HtoD", 1150, 5, correlation=9, external_id=3),
        old("Memset", "Memset (Device)", 1160, 2, stream=8, device=1),
        {"ph": "i", "name": "[memory]", "pid": 11, "tid": "11", "ts": 1020, "args": memory},
        {"ph": "i", "name": "Iteration Start: PyTorch Profiler", "pid": "Traces", "ts": 999},
    ]


def test_the_words_of_torch_1_8_have_the_tables_of_todays(tmp_path: Path) -> None:
    result = read(tmp_path, old_trace(), computeProperties=[{"id": 0, "name": "Tesla V100"}])
    assert (result.info.device, result.info.device_name) == ("cuda", "Tesla V100")
    operators, kernels = result.frames["operators"], result.frames["kernels"]
    assert operators.select("name", "thread", "duration_ns", "step", "device_ns").rows() == [
        ("aten::mm", 11, 100_000, 3, 50_000)
    ]
    assert operators["input_shapes"].to_list() == [[[8, 4], [4, 2]]]
    columns = ("name", "type", "device", "stream", "duration_ns", "operator", "step")
    assert kernels.select(columns).rows() == [
        ("sgemm", "kernel", 0, 7, 50_000, 0, 3),
        ("Memcpy HtoD", "gpu_memcpy", 0, 7, 5_000, None, None),
        ("Memset (Device)", "gpu_memset", 1, 8, 2_000, None, None),
    ]
    assert result.frames["memory"].select("device", "bytes", "operator").rows() == [
        ("cuda:0", 512, 0)
    ]
    assert result.frames["steps"].select("step", "duration_ns").rows() == [(3, 400_000)]
    counts = result.event_counts["cpu_op"]
    assert (counts.seen, counts.rows, counts.marks) == (2, 1, 1)
    assert result.notes == ()


def test_an_old_operator_number_links_kernels_without_a_call(tmp_path: Path) -> None:
    events = [e for e in old_trace() if e.get("cat") != "Runtime"]
    kernels = read(tmp_path, events).frames["kernels"]
    assert kernels["operator"].to_list() == [0, None, None]


OPERATOR = event("cpu_op", "aten::mm", 1000, 100, args={"External id": 1})


@pytest.mark.parametrize(
    ("events", "head", "device"),
    [
        ([], {}, "cpu"),
        ([kernel(1, 1060)], {}, "cuda"),
        ([], {"deviceProperties": [{"id": 0, "name": "NVIDIA H100"}]}, "cuda"),
        ([event("xpu_runtime", "urEnqueueKernelLaunch", 1020, 5)], {}, "xpu"),
        (
            [kernel(1, 1060)],
            {"deviceProperties": [{"name": "Intel(R) Data Center GPU Max"}]},
            "xpu",
        ),
        ([event("mtia_runtime", "launch", 1020, 5)], {}, "mtia"),
        ([event("cuda_runtime", "hipLaunchKernel", 1020, 5), kernel(1, 1060)], {}, "rocm"),
        ([kernel(1, 1060)], {"deviceProperties": [{"name": "AMD Instinct MI300X"}]}, "rocm"),
        ([kernel(1, 1060)], {"hip_runtime_version": 60200000}, "rocm"),
        ([event("hpu_op", "gemm", 1060, 5, args={"stream": 1, "device": 0})], {}, "hpu"),
        ([event("privateuse1_runtime", "launch", 1020, 5)], {}, "privateuse1"),
        ([event("privateuse1_runtime", "aclrtLaunchKernel", 1020, 5)], {}, "npu"),
        (
            [
                {"ph": "M", "name": "process_labels", "pid": 3, "args": {"labels": "NPU 0"}},
                kernel(1, 1060),
            ],
            {},
            "npu",
        ),
        (
            [
                {
                    "ph": "i",
                    "cat": "cpu_instant_event",
                    "name": "[memory]",
                    "pid": 7,
                    "tid": 1,
                    "ts": 1010,
                    "args": {"Device Type": 13, "Device Id": 0, "Bytes": 64},
                }
            ],
            {},
            "mps",
        ),
    ],
)
def test_the_device_is_the_one_that_the_file_names(
    tmp_path: Path, events: list[dict[str, Any]], head: dict[str, Any], device: str
) -> None:
    assert read(tmp_path, [OPERATOR, *events], **head).info.device == device


def test_events_of_mtia_and_hpu_are_kernels_of_their_calls(tmp_path: Path) -> None:
    for cat, call in (("mtia_ccp_events", "mtia_runtime"), ("hpu_op", "hpu_runtime")):
        args = {"device": 0, "stream": 7, "correlation": 1}
        events = [
            OPERATOR,
            event(call, "launch", 1020, 5, args={"correlation": 1}),
            event(cat, "gemm", 1060, 30, args=args),
        ]
        result = read(tmp_path, events)
        columns = ("type", "device", "stream", "duration_ns", "operator")
        assert result.frames["kernels"].select(columns).rows() == [(cat, 0, 7, 30_000, 0)]
        assert result.notes == ()


@pytest.mark.parametrize("cat", ["mtia_workloadd", "tpu_op", "npu_kernel"])
def test_what_is_on_a_device_and_not_understood_is_lost(tmp_path: Path, cat: str) -> None:
    strange = event(cat, "gemm", 1060, 30, args={"device": 0, "stream": 7})
    path = tmp_path / "trace.json"
    path.write_text(json.dumps({"schemaVersion": 1, "traceEvents": [OPERATOR, strange, strange]}))
    record = read_capture(path, tmp_path / "out").record
    assert record.exit_code == 3
    (whole,) = [delivery for delivery in record.delivery if delivery.setting == "read"]
    assert whole.reason == (
        "trace.json: events that are not understood, and not read: 2 of the kind"
        f" {cat} (the first: gemm)"
    )
    assert record.device == "unknown device" or cat.startswith("mtia_")


@pytest.mark.parametrize("thread", ["stream 9", "Stream 9", "Stream #9", "STREAM 9 extra"])
def test_a_thread_that_is_called_a_stream_is_one(tmp_path: Path, thread: str) -> None:
    on = event("kernel", "gemm", 1060, 30, args={"device": 0}, pid=0, tid=thread)
    assert read(tmp_path, [OPERATOR, on]).frames["kernels"]["stream"].to_list() == [9]


def test_known_kinds_without_rows_are_whole(tmp_path: Path) -> None:
    kinds = ("overhead", "Trace", "gpu_user_annotation", "cuda_sync", "cuda_profiler_range")
    result = read(tmp_path, [OPERATOR, *(event(kind, "a", 1, 1) for kind in kinds)])
    assert (result.notes, result.remarks) == ((), ())


def test_ranks_of_which_one_has_no_device_events_are_one_job(tmp_path: Path) -> None:
    ranks = tmp_path / "ranks"
    ranks.mkdir()
    for rank, events in enumerate([[OPERATOR], [OPERATOR, launch(1, 1020), kernel(1, 1060)]]):
        head = {"schemaVersion": 1, "distributedInfo": {"rank": rank}}
        (ranks / f"rank{rank}.json").write_text(json.dumps({**head, "traceEvents": events}))
    record = read_capture(ranks, tmp_path / "out").record
    assert (record.exit_code, record.linked and record.linked.kernels) == (0, 1)
    xpu = [OPERATOR, event("xpu_runtime", "urEnqueueKernelLaunch", 1020, 5)]
    (ranks / "rank2.json").write_text(json.dumps({"schemaVersion": 1, "traceEvents": xpu}))
    with pytest.raises(RefusedError, match="they differ in device"):
        read_capture(ranks, tmp_path / "other")


def test_flops_are_in_no_trace_and_modules_are_among_the_frames(tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    dims = {"Input Dims": [[8, 16], [16, 4]], "Input type": ["float", "float"]}
    events = [
        event("python_function", "nn.Module: Linear_0", 990, 200),
        event("cpu_op", "aten::mm", 1000, 100, args=dims),
    ]
    head = dict.fromkeys(("with_flops", "with_modules", "with_stack", "record_shapes"), 1)
    path.write_text(json.dumps({"schemaVersion": 1, **head, "traceEvents": events}))
    record = read_capture(path, tmp_path / "out").record
    status = {line.setting: (line.status, line.arrived, line.reason) for line in record.delivery}
    assert status["profiler.with_flops"] == (
        *("not_checkable", "", "torch writes no flops into a trace"),
    )
    assert status["profiler.with_modules"] == (
        *("delivered", "calls of modules in the trace: 1", ""),
    )
    assert record.exit_code == 0


def test_advice_is_that_of_the_device(tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    call = event("cuda_runtime", "hipLaunchKernel", 1020, 5, args={"correlation": 1})
    trace = {"schemaVersion": 1, "traceEvents": [OPERATOR, call, kernel(1, 1060)]}
    path.write_text(json.dumps(trace))
    results = read_capture(path, tmp_path / "out")
    assert results.record.device == "rocm"
    summary = (tmp_path / "out" / "summary.md").read_text(encoding="utf-8")
    assert "CUPTI" not in summary
    assert "device=cpu profiler=level1" in summary
