"""Counters that torch writes into its trace alone become columns, each of its own row."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from harness import tables
from harness.devices.torch_counters import RANGE, counted, measured, with_counts, with_metrics
from tests.support.fake_events import Fake


def trace(folder: Path, *events: dict[str, object]) -> Path:
    path = folder / "trace.json"
    head = {"ph": "X", "pid": 1, "tid": 1, "dur": 1.0}
    found = [{"ts": float(at), **head, **event} for at, event in enumerate(events)]
    path.write_text(json.dumps({"schemaVersion": 1, "traceEvents": found}), encoding="utf-8")
    return path


def operator(number: int | None, **counts: int) -> dict[str, object]:
    own = {} if number is None else {"External id": number}
    return {"cat": "cpu_op", "name": "aten::add", "args": own | counts}


def table(events: Sequence[Fake]) -> pl.DataFrame:
    """The operators that were made of events."""
    return tables.frame(
        "operators",
        {
            "thread": [each.thread for each in events],
            "name": [each.label for each in events],
            "start_ns": [each.start for each in events],
            "duration_ns": [each.end - each.start for each in events],
        },
    )


def test_counts_are_read_by_operator_and_what_is_not_told_is_null(tmp_path: Path) -> None:
    path = trace(
        tmp_path,
        operator(1, cycles=5, pagefaults=0),
        {"cat": "python_function", "name": "f", "args": {"External id": 9, "cycles": 3}},
        {"cat": "user_annotation", "name": "mine", "args": {"External id": 2, "cycles": 7}},
        operator(None, cycles=1),
    )
    found = counted(path, ["cycles", "pagefaults"])
    assert found.rows() == [(1, 5, 0), (2, 7, None), (None, 1, None)]


def test_each_operator_gets_its_own_counts_whatever_the_order(tmp_path: Path) -> None:
    events = [
        Fake(start=0, end=9, correlation=4),
        Fake(start=0, end=9, correlation=3),  # alike: told apart by their place alone
        Fake(start=0, end=9, correlation=2, thread=2),
        Fake(start=5, end=6, correlation=1, label="aten::mul"),
        Fake(start=7, end=8, correlation=5),
    ]
    counts = counted(
        trace(tmp_path, *(operator(number, cycles=number * 10) for number in (1, 2, 3, 4))),
        ["cycles"],
    )
    beside = Fake(start=0, end=9, correlation=6, kind="cpu_instant_event")
    found = with_counts(table(events), [beside, *events], counts)
    assert found["cycles"].to_list() == [40, 30, 20, 10, None]
    assert found.drop("cycles").equals(table(events))


def test_a_number_that_two_operators_have_in_the_trace_counts_for_none(tmp_path: Path) -> None:
    events = [Fake(start=0, end=9, correlation=1)]
    counts = counted(trace(tmp_path, operator(1, cycles=5), operator(1, cycles=6)), ["cycles"])
    assert with_counts(table(events), events, counts)["cycles"].to_list() == [None]


def kernels(*rows: tuple[str, str]) -> pl.DataFrame:
    return tables.frame(
        "kernels",
        {
            "name": [name for name, _ in rows],
            "type": [kind for _, kind in rows],
            "duration_ns": [10] * len(rows),
        },
    )


def ranged(name: str, **values: float) -> dict[str, object]:
    return {"cat": RANGE, "name": name, "args": values}


def test_metrics_are_those_of_the_kernel_in_their_place(tmp_path: Path) -> None:
    late = ranged("gemm", flops=3.0) | {"ts": 90.5}
    path = trace(tmp_path, late, ranged("gemm", flops=1.5), ranged("relu", bytes=2))
    ranges = measured(path, ["flops", "bytes"])
    assert ranges.rows() == [("gemm", 1.5, None), ("relu", None, 2.0), ("gemm", 3.0, None)]
    found = with_metrics(
        kernels(("gemm", RANGE), ("Memcpy", "gpu_memcpy"), ("relu", RANGE), ("gemm", RANGE)), ranges
    )
    assert found.select("flops", "bytes", "duration_ns").rows() == [
        (1.5, None, None),
        (None, None, 10),
        (None, 2.0, None),
        (3.0, None, None),
    ]


def test_ranges_that_are_not_those_of_the_kernels_tell_nothing(tmp_path: Path) -> None:
    ranges = measured(trace(tmp_path, ranged("gemm", flops=1.5)), ["flops"])
    found = with_metrics(kernels(("gemm", RANGE), ("relu", RANGE)), ranges)
    assert found["flops"].to_list() == [None, None]
