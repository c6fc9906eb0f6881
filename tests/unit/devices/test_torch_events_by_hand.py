"""Events made by hand: kernels, ties, and what torch seldom records."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch._C._profiler import _EventType
from torch.autograd.profiler_util import EventList, FunctionEvent

from harness import tables
from harness.devices.torch_events import tables_of
from harness.tables.event_counts import EventCounts
from harness.tables.markers import STAGE_MARK, STEP_MARK, HostRange
from tests.support.fake_events import Fake, FakeResult, convert, kernel, mark


def test_torchs_own_marks_are_no_rows() -> None:
    frames, event_counts = convert(mark("ProfilerStep#4", 0, 10), Fake(start=1, end=5))
    assert frames["operators"]["name"].to_list() == ["aten::add"]
    assert event_counts["user_annotation"] == EventCounts(seen=1, rows=0, marks=1, hidden=0)


def test_an_annotation_that_only_looks_like_a_step_is_a_row() -> None:
    frames, _ = convert(mark(f"{STEP_MARK}last", 0, 10))
    assert frames["operators"].select("name", "step").rows() == [(f"{STEP_MARK}last", None)]


def test_marks_do_not_change_self_times() -> None:
    events = [
        mark("mine", 0, 100),
        mark(f"{STAGE_MARK}a", 10, 60),
        Fake(start=20, end=50),
        mark(f"{STAGE_MARK}b", 30, 40),
    ]
    rows = convert(*events).frames["operators"].select("name", "self_ns", "stage").rows()
    assert rows == [("mine", 70, None), ("aten::add", 30, "a")]


def test_an_allocation_outside_of_all_operators_has_none() -> None:
    node = type("Node", (), {})()
    fields = {"alloc_size": -64, "total_allocated": 0, "total_reserved": 0}
    node.extra_fields = type("Fields", (), {"device": torch.device("cuda:1"), **fields})()
    node.tag, node.start_time_ns, node.children = _EventType.Allocation, 12, []
    inside = Fake(kind="cpu_instant_event", label="[memory]", start=5, end=5)
    after = Fake(kind="cpu_instant_event", label="[memory]", start=12, end=12)
    other = Fake(kind="cpu_instant_event", label="[OutOfMemory]", start=13, end=13)
    result = FakeResult([Fake(start=0, end=9), inside, after, other], [node])
    frames, event_counts = tables_of(result, rank=0, first_id=4, memory=True)
    assert frames["memory"].rows() == [
        (0, 5, None, None, None, None, None, 4),
        (0, 12, "cuda:1", "free", -64, 0, 0, None),
    ]
    assert event_counts["cpu_instant_event"] == EventCounts(seen=3, rows=2, marks=0, hidden=0)


def test_an_allocation_under_a_python_frame_belongs_to_the_operator_around_it() -> None:
    frames, _ = convert(
        Fake(start=0, end=20),
        Fake(kind="python_function", start=2, end=18),
        Fake(start=3, end=9),
        Fake(kind="cpu_instant_event", label="[memory]", start=8, end=8),
        Fake(kind="cpu_instant_event", label="[memory]", start=10, end=10),
        Fake(kind="cpu_instant_event", label="[memory]", start=19, end=19),
        Fake(kind="cpu_instant_event", label="[memory]", start=21, end=21),
        memory=True,
    )
    assert frames["memory"]["operator"].to_list() == [1, 0, 0, None]


def test_torchs_internal_frames_are_left_out_of_stacks_and_equal_stacks_have_one_id() -> None:
    backward = "torch/autograd/__init__.py(1): backward"
    frames, _ = convert(
        Fake(start=0, end=1, frames=["a", backward, "b"]),
        Fake(start=1, end=2, frames=["a", "b"]),
        Fake(start=2, end=3, frames=[backward]),
        Fake(start=3, end=4, frames=["b", "a"]),
        stacks=True,
    )
    first, second, none, other = frames["operators"]["stack_id"]
    assert first == second != other
    assert none is None
    assert frames["stacks"].rows() == [(first, ["a", "b"]), (other, ["b", "a"])]


def test_arguments_are_null_where_not_recorded_and_a_dtype_where_there_is_none() -> None:
    frames, _ = convert(
        Fake(start=0, end=1),
        Fake(start=1, end=2, sizes=[[2, 3], [], []], types=["float", "Scalar", ""]),
    )
    assert frames["operators"].select("input_shapes", "input_dtypes").rows() == [
        (None, None),
        ([[2, 3], [], []], ["float", "Scalar", None]),
    ]


def test_kernels_belong_to_the_step_and_the_operator_of_their_launch() -> None:
    frames, event_counts = convert(
        mark(f"{STEP_MARK}1", 0, 100),
        mark(f"{STAGE_MARK}forward", 0, 50),
        Fake(start=10, end=40, correlation=1, label="aten::linear"),
        Fake(start=12, end=38, correlation=2, label="aten::addmm", sizes=[[4]], types=["float"]),
        Fake(
            kind="cuda_runtime", label="cudaLaunchKernel", start=20, end=30, correlation=900, link=2
        ),
        Fake(kind="cuda_runtime", label="cudaMemcpyAsync", start=60, end=70, correlation=901),
        mark(f"{STEP_MARK}2", 100, 200),
        kernel(110, 150, correlation=900, link=2, device=1, stream=13),
        kernel(150, 155, correlation=901, kind="gpu_memcpy", label="Memcpy HtoD"),
        kernel(160, 163, correlation=77),
        kernel(164, 165, correlation=901, kind="gpu_user_annotation"),
        kernel(166, 167, correlation=902, kind="cuda_sync"),
        Fake(kind="overhead", label="Lazy Function Loading", start=190, end=195),
        first_id=50,
    )
    kernels, operators = frames["kernels"], frames["operators"]
    assert kernels.schema == tables.SCHEMAS["kernels"]
    linked, launched, lost = kernels.rows(named=True)
    placed = (
        "step",
        "stage",
        "operator",
        "device",
        "stream",
        "name",
        "type",
        "start_ns",
        "duration_ns",
    )
    assert [linked[name] for name in placed] == [
        *(1, "forward", 51, 1, 13, "gemm", "kernel", 110, 40),
    ]
    assert (linked["input_shapes"], linked["input_dtypes"], linked["correlation"]) == (
        [[4]],
        ["float"],
        900,
    )
    assert [launched[name] for name in placed[:3]] == [1, None, None]
    assert (launched["type"], launched["input_shapes"]) == ("gpu_memcpy", None)
    assert [lost[name] for name in placed[:3]] == [None, None, None]
    assert operators.select("name", "self_ns", "device_ns").rows() == [
        ("aten::linear", 30 - 26, None),
        ("aten::addmm", 26 - 10, 40),
    ]
    seen_only = {
        kind: count.seen for kind, count in event_counts.items() if count.rows + count.marks == 0
    }
    assert seen_only == {"cuda_runtime": 2, "gpu_user_annotation": 1, "cuda_sync": 1, "overhead": 1}
    assert event_counts["kernel"] == EventCounts(seen=2, rows=2, marks=0, hidden=0)


def test_a_launch_is_on_the_thread_of_its_operator() -> None:
    frames, _ = convert(
        Fake(start=0, end=10, correlation=1),
        Fake(kind="cuda_driver", start=2, end=5, correlation=1, link=1, thread=99),
    )
    assert frames["operators"]["self_ns"].to_list() == [7]


def test_without_marks_the_callers_ranges_place_kernels_by_their_launch() -> None:
    ranges = [HostRange(3, 100, 200), HostRange(2, 0, 100), HostRange(3, 120, 140, "forward")]
    events = [
        Fake(kind="cuda_runtime", start=50, end=51, correlation=1),
        Fake(kind="cuda_runtime", start=130, end=131, correlation=2),
        kernel(150, 160, correlation=1),
        kernel(300, 310, correlation=2),
    ]
    kernels = convert(*events, host_ranges=ranges).frames["kernels"]
    assert kernels.select("step", "stage").rows() == [(2, None), (3, "forward")]
    marked = convert(mark(f"{STEP_MARK}9", 0, 400), *events, host_ranges=ranges).frames["kernels"]
    assert marked.select("step", "stage").rows() == [(9, None), (9, None)]


def test_what_torch_leaves_out_and_what_is_asynchronous_neither_nests_nor_counts() -> None:
    frames, event_counts = convert(
        Fake(start=0, end=100),
        Fake(start=10, end=20, label="aten::is_leaf"),
        Fake(start=20, end=30, hidden=True),
        Fake(start=30, end=40, asynchronous=True, label="a"),
        Fake(start=40, end=50, end_thread=2, label="b"),
        Fake(kind="python_function", start=50, end=60, hidden=True),
        Fake(kind="python_function", start=60, end=70),
    )
    rows = frames["operators"].select("name", "self_ns").rows()
    assert rows == [("aten::add", 90), ("a", None), ("b", None)]
    assert event_counts["cpu_op"] == EventCounts(seen=5, rows=3, marks=0, hidden=2)
    assert event_counts["python_function"] == EventCounts(seen=2, rows=0, marks=0, hidden=1)


def test_an_empty_profile_gives_empty_tables() -> None:
    frames, event_counts = convert(stacks=True)
    assert event_counts == {}
    assert {name: frame.schema for name, frame in frames.items()} == {
        name: tables.SCHEMAS[name] for name in ("operators", "kernels", "memory", "stacks")
    }
    assert not any(frame.height for frame in frames.values())


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 3)), max_size=60))
def test_self_time_of_nested_intervals(moves: list[tuple[bool, int]]) -> None:
    fakes: list[Fake] = []
    opened: list[Fake] = []
    now = 0
    for opens, pause in [*moves, *((False, 1) for _ in moves)]:
        now += pause
        if opens:
            opened.append(Fake(start=now, end=0, label=f"op{len(fakes)}"))
            fakes.append(opened[-1])
        elif opened:
            opened.pop().end = now
    expected = {fake.label: fake.end - fake.start for fake in fakes}
    for inner in fakes:
        holders = [f for f in fakes if f.start < inner.start and inner.end < f.end]
        if holders:
            parent = min(holders, key=lambda fake: fake.end - fake.start)
            expected[parent.label] -= inner.end - inner.start
    operators = convert(*reversed(fakes)).frames["operators"]
    assert dict(operators.select("name", "self_ns").rows()) == expected


intervals = st.builds(
    lambda start, length, thread, kind: Fake(
        start=start, end=start + length, thread=thread, kind=kind
    ),
    start=st.integers(0, 20),
    length=st.integers(0, 12),
    thread=st.integers(1, 2),
    kind=st.sampled_from(["cpu_op", "user_annotation", "python_function"]),
)


@given(st.lists(intervals, max_size=30))
def test_intervals_that_cross_nest_as_in_torch(fakes: list[Fake]) -> None:
    for number, fake in enumerate(fakes):
        fake.label = f"op{number}"
    events = EventList(  # type: ignore[no-untyped-call]
        FunctionEvent(n, fake.label, fake.thread, fake.start / 1000, fake.end / 1000)  # type: ignore[no-untyped-call]
        for n, fake in enumerate(fakes)
    )
    events._populate_cpu_children()  # type: ignore[no-untyped-call]
    expected = {
        event.name: round(event.self_cpu_time_total * 1000)
        for event, fake in zip(events, fakes, strict=True)
        if fake.kind in ("cpu_op", "user_annotation")
    }
    operators = convert(*fakes).frames["operators"]
    assert dict(operators.select("name", "self_ns").rows()) == expected
