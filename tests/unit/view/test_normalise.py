"""A trace for a viewer has every event, with exact times, lanes and arrows that lead somewhere."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import RefusedError
from harness.readers.base import CaptureError
from harness.view.normalise import Normalised, normalise
from harness.view.survey import TraceFile

EPOCH_US = 1_795_727_431_853_000


def written(folder: Path, events: Any, name: str = "trace.json") -> Path:
    path = folder / name
    path.write_text(events if isinstance(events, str) else json.dumps(events), encoding="utf-8")
    return path


def viewed(
    folder: Path, *traces: TraceFile, **more: Any
) -> tuple[Normalised, list[dict[str, Any]]]:
    made = normalise(traces, folder, folder / "view" / "out.json.gz", **more)
    content = json.loads(gzip.decompress(made.path.read_bytes()))
    assert content["harness"]["start_ns"] == made.start_ns
    return made, content["traceEvents"]


def one(folder: Path, events: Any, **more: Any) -> tuple[Normalised, list[dict[str, Any]]]:
    return viewed(folder, TraceFile(written(folder, events)), **more)


def complete(name: str, ts: Any, dur: Any, **more: Any) -> dict[str, Any]:
    return {"ph": "X", "name": name, "pid": 7, "tid": 9, "ts": ts, "dur": dur, **more}


def test_text_times_of_the_epoch_become_exact_numbers_from_the_first(tmp_path: Path) -> None:
    events = [
        complete("inner", f"{EPOCH_US + 1}.001", 2.5, args={"Input Dims": "2,3"}),
        complete("outer", f"{EPOCH_US}.999", "4.000", cat="cpu_op"),
    ]
    made, shown = one(tmp_path, events)
    assert shown == [
        complete("inner", 0.002, 2.5, args={"Input Dims": "2,3"}),
        complete("outer", 0.0, 4.0, cat="cpu_op"),
    ]
    assert made.start_ns == EPOCH_US * 1000 + 999
    assert (made.written, made.total, made.lanes) == (2, 2, 0)


def test_kernels_that_overlap_are_all_there_each_with_its_arrow(tmp_path: Path) -> None:
    kernels = [complete(f"k{n}", 20 * n, 25, pid=0, tid=7) for n in range(100)]
    name = {"ph": "M", "name": "thread_name", "pid": 0, "tid": 7, "args": {"name": "stream 7"}}
    big = 1_795_727_431_853_192_815
    arrows = [
        {"ph": ph, "id": big + n, "cat": "ac2g", "name": "ac2g", "pid": 0, "tid": 7, "ts": 20 * n}
        for n in range(100)
        for ph in "sf"
    ]
    made, shown = one(tmp_path, [name, *arrows, *kernels])
    assert (made.lanes, made.moved) == (1, 50)
    tids = {event["name"]: event["tid"] for event in shown if event["ph"] == "X"}
    assert len(tids) == 100
    other = tids["k1"]
    assert [tids[f"k{n}"] for n in range(100)] == [7, other] * 50
    ends = [event for event in shown if event["ph"] == "f"]
    assert [event["tid"] for event in ends] == [7, other] * 50
    assert sorted(event["id"] for event in ends) == list(range(1, 101))
    names = {event["tid"]: event["args"]["name"] for event in shown if event["ph"] == "M"}
    assert names == {7: "stream 7", other: "stream 7 (lane 2)"}


@pytest.mark.parametrize(
    ("opens_within", "lanes", "apart"),
    [
        pytest.param(True, 1, {"step", "stage"}, id="begun within a call"),
        pytest.param(False, 0, set(), id="nested"),
    ],
)
def test_annotations_that_outlast_the_call_that_opens_them_leave_the_tree_whole(
    tmp_path: Path, opens_within: bool, lanes: int, apart: set[str]
) -> None:
    call = 3 if opens_within else 1  # the call that opens an annotation, from its start
    events = [
        complete("main", 0, 100, cat="python_function"),
        complete("enter step", 9, call, cat="python_function"),
        complete("step", 10, 60, cat="user_annotation"),
        complete("enter stage", 19, call, cat="python_function"),
        complete("stage", 20, 40, cat="user_annotation"),
        complete("forward", 30, 20, cat="python_function"),
        complete("aten::mm", 35, 5, cat="cpu_op"),
        {"ph": "s", "id": 1, "cat": "ac2g", "name": "ac2g", "pid": 7, "tid": 9, "ts": 36},
    ]
    made, shown = one(tmp_path, events)
    moved = {event["name"] for event in shown if event["ph"] in "Xs" and event["tid"] != 9}
    assert (made.lanes, moved) == (lanes, apart)


def test_annotations_stay_where_a_lane_of_their_own_would_be_one_more(tmp_path: Path) -> None:
    events = [
        complete("a", 0, 10, cat="cpu_op"),
        complete("b", 5, 10, cat="cpu_op"),
        complete("around", 0, 20, cat="user_annotation"),
    ]
    made, shown = one(tmp_path, events)
    assert made.lanes == 1
    assert [event["tid"] == 9 for event in shown if event["ph"] == "X"] == [True, False, True]


def test_ranks_and_cycles_have_processes_and_arrows_of_their_own(tmp_path: Path) -> None:
    arrow = {"ph": "s", "id": 4, "cat": "c", "name": "n", "pid": 7, "tid": 9, "ts": 1}
    name = {"ph": "M", "name": "process_name", "pid": 7, "tid": 0, "args": {"name": "python"}}
    first = written(tmp_path, {"traceEvents": [name, complete("a", 1, 1), arrow]}, "a.json")
    base = {"baseTimeNanoseconds": 2_000_000, "traceEvents": [complete("b", 1, 1), arrow]}
    second = written(tmp_path, base, "b.json")
    _, shown = viewed(
        tmp_path,
        TraceFile(first, 0),
        TraceFile(second, 0),
        TraceFile(second, 1, -1_500_000),
        label="emulated: ",
    )
    pids = {event["pid"] for event in shown}
    assert len(pids) == 2
    assert 7 in pids
    ranges = [(e["name"], e["pid"] == 7, e["ts"]) for e in shown if e["ph"] == "X"]
    assert ranges == [("a", True, 0.0), ("b", True, 2000.0), ("b", False, 500.0)]
    assert len({event["id"] for event in shown if event["ph"] == "s"}) == 3
    names = {e["pid"] == 7: e["args"]["name"] for e in shown if e["name"] == "process_name"}
    assert names == {True: "emulated: rank 0: python", False: "emulated: rank 1: process 7"}


def test_what_is_broken_is_counted_and_left_out(tmp_path: Path) -> None:
    events = [
        complete("a", 1, 1),
        complete("no time", "soon", 1),
        complete("negative", 1, -3),
        complete("endless", 1, 1e300),
        {"name": "no phase", "ts": 1},
        {"ph": "C", "name": "counter", "pid": 7, "ts": 2, "id": "gpu", "args": {"MHz": 1800}},
        {"ph": "X", "name": "no duration", "pid": 7, "tid": 9, "ts": 2},
        complete("days away", 40 * 86_400_000_000, 1),
    ]
    made, shown = one(tmp_path, events)
    assert (made.broken, made.far, made.pointlike) == (4, 1, 1)
    assert [event["name"] for event in shown if event["ph"] != "M"] == [
        "a",
        "counter",
        "no duration",
    ]
    assert shown[-2]["id"] == "gpu"
    assert shown[-1]["dur"] == 0


def test_what_is_no_json_is_said_or_mended(tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    path.write_bytes(b'[{"ph":"X","name":"a\xff","ts":1,"dur":1,"args":{"x":nan}},{"ph":"X","na')
    made, shown = viewed(tmp_path, TraceFile(path))
    assert [event["name"] for event in shown if event["ph"] == "X"] == ["a\ufffd"]
    assert [note.partition(":")[0] for note in made.notes] == ["trace.json"]
    assert "cut off" in made.notes[0]
    path.write_bytes(b'[{"ph":"X","name":"a\xff","ts":1,"dur":1}]')  # a decoder lets that pass
    assert viewed(tmp_path, TraceFile(path))[1][-1]["name"] == "a\ufffd"
    path.write_text("hello", encoding="utf-8")
    with pytest.raises(CaptureError, match="no list of events"):
        viewed(tmp_path, TraceFile(path))


STEPS = [
    complete("harness.step#1", 0, 100),
    complete("ProfilerStep#0", 0, 300),
    complete("in 1", 10, 10),
    complete("harness.step#2", 100, 100),
    complete("in 2", 110, 10),
    complete("across", 195, 10),
    complete("harness.step#3", 200, 100),
    complete("in 3", 210, 10),
]


def test_a_trace_is_cut_to_steps(tmp_path: Path) -> None:
    made, shown = one(tmp_path, STEPS, steps=(2, 2))
    names = [event["name"] for event in shown if event["ph"] == "X"]
    assert names == ["ProfilerStep#0", "harness.step#2", "in 2", "across"]
    assert (made.cut, made.window_ns) == (4, (100_000, 200_000))


def test_steps_that_are_not_there_are_refused_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match=r"the trace has the steps 1-3\.\n    fix: --steps 1-3"):
        one(tmp_path, STEPS, steps=(3, 4))
    with pytest.raises(RefusedError, match="no marks of steps"):
        one(tmp_path, [complete("a", 1, 1)], steps=(3, 4))


def test_begins_and_ends_do_not_meet_complete_events(tmp_path: Path) -> None:
    pair = [
        {"ph": ph, "name": "b", "pid": 7, "tid": 9, "ts": ts} for ph, ts in (("B", 3), ("E", 8))
    ]
    _, shown = one(tmp_path, [complete("a", 1, 4), *pair])
    (range_,) = [event["tid"] for event in shown if event["ph"] == "X"]
    others = {event["tid"] for event in shown if event["ph"] in "BE"}
    assert range_ == 9
    assert len(others) == 1
    assert 9 not in others
    _, shown = one(tmp_path, pair)
    assert {event["tid"] for event in shown} == {9}


NUMBERS = st.one_of(st.integers(0, 3), st.sampled_from(["", "Spans", "3", 1 << 60]))
TIMES = st.integers(0, 60_000).map(lambda ns: f"{ns // 1000}.{ns % 1000:03}")
EVENTS = st.lists(
    st.fixed_dictionaries(
        {"ph": st.sampled_from("XXXXiCsfbeM"), "pid": NUMBERS, "tid": NUMBERS, "ts": TIMES},
        optional={"dur": TIMES, "id": st.integers(0, 5), "args": st.just({"a": [1, None]})},
    ),
    max_size=40,
)


@given(EVENTS)
@settings(max_examples=150)
def test_no_event_is_lost_their_order_is_kept_and_lanes_nest(events: list[dict[str, Any]]) -> None:
    for number, event in enumerate(events):
        event["name"] = str(number)
    with TemporaryDirectory() as folder:
        made, shown = one(Path(folder), events)
    kept = [event for event in shown if event["name"].isdecimal()]
    assert [event["name"] for event in kept] == [str(number) for number in range(len(events))]
    assert made.written == len(events)
    ranges: dict[Any, list[tuple[int, int]]] = {}
    for before, after in zip(events, kept, strict=True):
        assert before.get("args") == after.get("args")
        if before["ph"] == "M":
            continue
        start = round(after["ts"] * 1000)
        assert start + made.start_ns == round(float(before["ts"]) * 1000)
        if before["ph"] == "X":
            span = (start, start + round(after["dur"] * 1000))
            ranges.setdefault((after["pid"], after["tid"]), []).append(span)
    for spans in ranges.values():
        for start, end in spans:
            assert not [1 for other, last in spans if start < other < end < last]
    places = Counter((str(e["pid"]), str(e["tid"])) for e in events)
    assert len({(e["pid"], e["tid"]) for e in kept}) >= len(places)
