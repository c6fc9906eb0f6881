"""Several processes in one file: a thread and a correlation belong to one of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.readers.base import CaptureError, ReadContext, ReadResult
from harness.readers.chrome import reader
from tests.support.chrome_traces import event


def read(tmp_path: Path, events: list[dict[str, Any]], **head: Any) -> ReadResult:
    path = tmp_path / "trace.json"
    path.write_text(json.dumps({"schemaVersion": 1, **head, "traceEvents": events}))
    return reader.read(path, ReadContext(first_operator=100))


def process(host: Any, device: Any, number: int, at: int, name: str) -> list[dict[str, Any]]:
    """A step with an operator, its call and its kernel; every process has thread 1."""
    on_host = {"pid": host, "tid": 1}
    args = {"correlation": number, "External id": number}
    return [
        event("user_annotation", "ProfilerStep#2", at, 400, **on_host),
        event("cpu_op", f"aten::{name}", at + 10, 100, args={"External id": number}, **on_host),
        event("cuda_runtime", "cudaLaunchKernel", at + 20, 5, args=args, **on_host),
        event(
            *("kernel", f"{name}_kernel", at + 60, 30),
            args={"device": 0, "stream": 7, **args},
            pid=device,
            tid=7,
        ),
    ]


def named(result: ReadResult) -> list[tuple[Any, ...]]:
    """The rank, name, step and thread of operators, with the kernels that each launched."""
    kernels = result.frames["kernels"].select("rank", "operator", "name", "step").rows()
    return [
        (rank, name, step, thread, device_ns, *(k[1:] for k in kernels if k[:2] == (rank, id_)))
        for id_, rank, name, step, thread, device_ns in result.frames["operators"]
        .select("id", "rank", "name", "step", "thread", "device_ns")
        .iter_rows()
    ]


BOTH = [
    (0, "aten::mm", 2, 1, 30_000, (100, "mm_kernel", 2)),
    (1, "aten::add", 2, 1, 30_000, (101, "add_kernel", 2)),
]


def test_the_ranks_that_sglang_merges_are_read_one_by_one(tmp_path: Path) -> None:
    # Correlations, operators' numbers and times are the same: only the labels differ.
    events = [
        *process("[TP00] 11", "[TP00] 0", 7, 1000, "mm"),
        *process("[TP01] 12", "[TP01] 0", 7, 1000, "add"),
    ]
    result = read(tmp_path, events, distributedInfo={"rank": 0})
    assert named(result) == BOTH
    assert result.info.rank is None
    assert result.frames["steps"].select("rank", "step").rows() == [(0, 2), (1, 2)]
    assert result.notes == ()
    assert result.remarks == (
        (
            "trace.json: 2 processes, each read as a rank, by their labels"
            " (0: [TP00] 11, 1: [TP01] 12)"
        ),
    )


def test_labels_of_several_dimensions_are_ranks_in_their_order(tmp_path: Path) -> None:
    events = [
        *process("[TP01-DP10] 3", "[TP01-DP10] 0", 7, 1000, "add"),
        *process("[TP01-DP09] 4", "[TP01-DP09] 0", 7, 1000, "mm"),
    ]
    assert named(read(tmp_path, events)) == BOTH


def test_processes_that_are_named_after_their_rank(tmp_path: Path) -> None:
    labels = [
        {"ph": "M", "name": "process_name", "pid": pid, "args": {"name": f"{what} rank {rank}"}}
        for pid, what, rank in ((31, "host", 3), (40, "GPU", 3), (32, "host", 2), (41, "GPU", 2))
    ]
    events = [*labels, *process(31, 40, 7, 1000, "mm"), *process(32, 41, 7, 1000, "add")]
    operators = named(read(tmp_path, events))
    assert [(rank, name, kernels[1]) for rank, name, *_, kernels in operators] == [
        (2, "aten::add", "add_kernel"),
        (3, "aten::mm", "mm_kernel"),
    ]


def test_processes_without_labels_are_told_apart_by_their_correlations(tmp_path: Path) -> None:
    events = [*process(11, 0, 7, 1000, "mm"), *process(12, 0, 8, 1000, "add")]
    result = read(tmp_path, events)
    assert named(result) == BOTH
    assert result.remarks[0].endswith(
        "in the order of their ids, since none names its rank (0: 11, 1: 12)"
    )


def test_kernels_that_two_processes_may_have_launched_are_refused(tmp_path: Path) -> None:
    events = [*process(11, 0, 7, 1000, "mm"), *process(12, 1, 7, 1000, "add")]
    with pytest.raises(CaptureError) as refused:
        read(tmp_path, events)
    assert str(refused.value) == (
        "trace.json: it has the events of 2 processes (11, 12), and nothing in it says which of"
        " them launched 2 kernels: correlation 7 is of a call in several of them, and the processes"
        " of the kernels name no rank. Read the trace of each rank by itself"
    )


def test_a_call_of_another_process_is_no_call_of_an_operator_on_that_thread(tmp_path: Path) -> None:
    events = process(11, 0, 7, 1000, "mm")
    for record in events:
        record["args"].pop("External id", None)
    events[2]["pid"] = 12
    result = read(tmp_path, events)
    assert result.frames["kernels"]["operator"].to_list() == [None]


def test_operators_alone_need_no_rank(tmp_path: Path) -> None:
    events = [
        record
        for pid, name in ((11, "mm"), (12, "add"))
        for record in process(pid, 0, 7, 1000, name)[:2]
    ]
    operators = read(tmp_path, events).frames["operators"]
    assert operators.select("rank", "name", "self_ns", "step").rows() == [
        (0, "aten::mm", 100_000, 2),
        (1, "aten::add", 100_000, 2),
    ]


def test_ranks_that_were_merged_under_one_process_id_are_refused(tmp_path: Path) -> None:
    events = [*process(1, 0, 7, 1000, "mm"), *process(1, 1, 7, 1003, "add")]
    with pytest.raises(CaptureError, match=r"process 1 has ProfilerStep#2 twice at the same time"):
        read(tmp_path, events)


def test_a_step_that_has_two_marks_is_one_rank(tmp_path: Path) -> None:
    events = process(1, 0, 7, 1000, "mm")
    again = event("user_annotation", "ProfilerStep#2", 1001, 300, pid=1, tid=1)
    assert read(tmp_path, [*events, again]).frames["kernels"]["operator"].to_list() == [100]
