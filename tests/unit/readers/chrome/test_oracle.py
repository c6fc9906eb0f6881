"""Generated traces of every vocabulary: the tables have what a short script finds in the JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.readers.base import ReadContext
from harness.readers.chrome import reader
from tests.support.trace_oracle import rows_of

Event = dict[str, Any]
WORDS = {
    "cuda": ("cpu_op", "user_annotation", "cuda_runtime", ("kernel", "gpu_memcpy", "gpu_memset")),
    "torch18": ("Operator", "Operator", "Runtime", ("Kernel", "Memcpy", "Memset")),
    "xpu": ("cpu_op", "user_annotation", "xpu_runtime", ("kernel", "gpu_memcpy")),
    "mtia": ("cpu_op", "user_annotation", "mtia_runtime", ("mtia_ccp_events",)),
}
FIRST = 5
"""The thread that marks the steps."""
MICROSECONDS = st.decimals(min_value=1, max_value=40, places=3).map(float)


@st.composite
def traces(draw: st.DrawFn) -> list[Event]:
    """Some processes, each with steps of operators in each other, calls and kernels.

    Either their ids have labels, or their correlations differ; threads are the same in all.
    """
    words = WORDS[draw(st.sampled_from(sorted(WORDS)))]
    labelled = draw(st.booleans())
    events: list[Event] = []
    for rank in range(draw(st.integers(1, 3))):
        host, device = (f"[TP{rank:02}] 11", f"[TP{rank:02}] 0") if labelled else (rank + 11, 0)
        for tid in range(draw(st.integers(1, 2))):
            place = {
                "pid": host,
                "tid": str(tid + FIRST) if words[0] == "Operator" else tid + FIRST,
            }
            number = tid * 100 + (0 if labelled else rank * 1_000)
            events += draw(threads(words, place, device, number))
    return draw(st.permutations(events)) if draw(st.booleans()) else events


@st.composite
def threads(draw: st.DrawFn, words: Any, place: Event, device: Any, number: int) -> list[Event]:
    operator, mark, call, kinds = words
    events: list[Event] = []
    for step in range(draw(st.integers(1, 3))):
        start = 1_000_000 + step * 1_000
        if int(place["tid"]) == FIRST:
            events.append(
                range_(mark, f"ProfilerStep#{step + 3}", start, 900, place | {"args": {}})
            )
        for n in range(draw(st.integers(0, 3))):
            at, number = start + 10 + n * 200, number + 1
            outer = round(100 + draw(MICROSECONDS), 3)
            events.append(
                range_(operator, "aten::linear", at, outer, place | {"args": numbered(number)})
            )
            if draw(st.booleans()):
                number += 1
                inner = range_(
                    operator, "aten::mm", at + 10, 60, place | {"args": numbered(number)}
                )
                events.append(inner)
            # Within the inner operator, after it, or after both.
            launched = at + draw(st.sampled_from([20, 80, 150]))
            args = {"correlation": number}
            events.append(range_(call, "launch", launched, 2, place | {"args": args}))
            on = {"pid": device, "tid": "stream 7"}
            args = {"stream": draw(st.integers(7, 9)), "device": 0, "correlation": number}
            time = draw(MICROSECONDS)
            kind = draw(st.sampled_from(kinds))
            events.append(range_(kind, f"k{number}", launched + 30, time, on | {"args": args}))
    return events


def numbered(number: int) -> Event:
    return {"External id": number}


def range_(cat: str, name: str, ts: float, dur: float, rest: Event) -> Event:
    return {"ph": "X", "cat": cat, "name": name, "ts": ts, "dur": dur, **rest}


def tabled(frames: Any) -> Iterator[list[tuple[Any, ...]]]:
    place = pl.col("rank", "start_ns", "duration_ns", "name")
    yield frames["operators"].select(place, "thread", "step").rows()
    starts = frames["operators"].select(operator="id", of="start_ns")
    kernels = frames["kernels"].join(starts, on="operator", how="left")
    yield kernels.select(place, "stream", "step", "of").rows()


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("oracle") / "trace.json"


@given(events=traces(), chunk_bytes=st.sampled_from([300, 1 << 19]))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_tables_agree_with_the_oracle(path: Path, events: list[Event], chunk_bytes: int) -> None:
    path.write_text(json.dumps({"schemaVersion": 1, "traceEvents": events}))
    operators, kernels = rows_of(path)
    if not operators:
        return
    result = reader.read(path, ReadContext(), chunk_bytes)
    assert result.notes == ()
    key = repr  # kernels without an operator have a null
    assert [sorted(rows, key=key) for rows in tabled(result.frames)] == [
        sorted(operators, key=key),
        sorted(kernels, key=key),
    ]
