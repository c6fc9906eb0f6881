from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct
from torch._C._autograd import DeviceType, _ProfilerResult
from torch._C._profiler import _EventType, _ExperimentalConfig
from torch.autograd.profiler_util import EventList, FunctionEvent
from torch.profiler import ProfilerActivity, profile, record_function

from harness import tables
from harness.events import STAGE_MARK, STEP_MARK, Converted, Coverage, HostRange, tables_of

Sums = dict[tuple[str, str], tuple[int, int, int]]
"""By name and shapes: count, duration and self time in nanoseconds."""

OPERATOR_KINDS = ("cpu_op", "user_annotation")


class Fake(Struct, kw_only=True):
    """An event with `_KinetoEvent`'s methods and numbers of our own."""

    kind: str = "cpu_op"
    label: str = "aten::add"
    start: int
    end: int
    thread: int = 1
    end_thread: int | None = None
    asynchronous: bool = False
    hidden: bool = False
    on_device: bool = False
    device: int = 0
    stream: int = 7
    correlation: int = 0
    link: int = 0
    operations: int = 0
    sizes: list[list[int]] = []
    types: list[str] = []
    frames: list[str] = []

    def activity_type(self) -> str:
        return self.kind

    def name(self) -> str:
        return self.label

    def start_ns(self) -> int:
        return self.start

    def end_ns(self) -> int:
        return self.end

    def start_thread_id(self) -> int:
        return self.thread

    def end_thread_id(self) -> int:
        return self.thread if self.end_thread is None else self.end_thread

    def is_async(self) -> bool:
        return self.asynchronous

    def is_hidden_event(self) -> bool:
        return self.hidden

    def device_type(self) -> DeviceType:
        return DeviceType.CUDA if self.on_device else DeviceType.CPU

    def device_index(self) -> int:
        return self.device

    def device_resource_id(self) -> int:
        return self.stream

    def correlation_id(self) -> int:
        return self.correlation

    def linked_correlation_id(self) -> int:
        return self.link

    def flops(self) -> int:
        return self.operations

    def shapes(self) -> list[list[int]]:
        return self.sizes

    def dtypes(self) -> list[str]:
        return self.types

    def stack(self) -> list[str]:
        return self.frames


class FakeResult(Struct):
    fakes: list[Fake]
    tree: list[Any] = []

    def events(self) -> list[Fake]:
        return self.fakes

    def experimental_event_tree(self) -> list[Any]:
        return self.tree


def convert(*fakes: Fake, **arguments: Any) -> Converted:
    return tables_of(
        FakeResult(list(fakes)), **({"rank": 0, "first_id": 0, "memory": False} | arguments)
    )


def mark(name: str, start: int, end: int, thread: int = 1) -> Fake:
    return Fake(kind="user_annotation", label=name, start=start, end=end, thread=thread)


def kernel(start: int, end: int, **given: Any) -> Fake:
    fields: dict[str, Any] = {"kind": "kernel", "label": "gemm"} | given
    return Fake(start=start, end=end, on_device=True, **fields)


def training_step() -> Callable[[], None]:
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Linear(8, 16), torch.nn.GELU(), torch.nn.LayerNorm(16), torch.nn.Linear(16, 4)
    )
    optimizer = torch.optim.AdamW(model.parameters())

    def step() -> None:
        with record_function(f"{STAGE_MARK}forward"):
            loss = torch.cat([model(torch.randn(3, 8)), torch.ones(3, 4)]).square().mean()
        with record_function(f"{STAGE_MARK}backward"):
            loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()

    step()
    return step


@contextmanager
def profiled(
    *, stacks: bool = False, all_threads: bool = False, **options: Any
) -> Iterator[profile]:
    config = _ExperimentalConfig(verbose=stacks, profile_all_threads=all_threads)
    with profile(
        activities=[ProfilerActivity.CPU],
        with_stack=stacks,
        acc_events=True,
        experimental_config=config,
        **options,
    ) as prof:
        yield prof


def result_of(prof: profile) -> _ProfilerResult:
    assert prof.profiler is not None
    assert prof.profiler.kineto_results is not None
    return prof.profiler.kineto_results


def train(steps: int = 3, **options: Any) -> profile:
    step = training_step()
    with profiled(**options) as prof:
        for number in range(steps):
            with record_function(f"{STEP_MARK}{number}"):
                step()
    return prof


def theirs(prof: profile) -> EventList:
    """torch's own events, operators only, in its own tree."""
    kept = [event for event in prof.events() if event.activity_type in OPERATOR_KINDS]  # type: ignore[no-untyped-call]
    return EventList(event for event in kept if not event.name.startswith("harness."))  # type: ignore[no-untyped-call]


def unmerged_events(prof: profile) -> EventList:
    """torch's events in its own tree, but for `_remove_dup_nodes`."""
    assert prof.profiler is not None
    parsed = prof.profiler._parse_kineto_results(result_of(prof))
    events = EventList(parsed)  # type: ignore[no-untyped-call]
    events._populate_cpu_children()  # type: ignore[no-untyped-call]
    events._tree_built = True
    return events


def merged_names(operators: pl.DataFrame) -> set[str]:
    """Names of which torch merges an only child into its parent, found by time alone."""
    names = set()
    for group in operators.partition_by("thread"):
        rows = group.sort("start_ns", "duration_ns", descending=[False, True]).rows(named=True)
        for outer, inner in pairwise(rows):
            nested = (
                inner["start_ns"] + inner["duration_ns"] <= outer["start_ns"] + outer["duration_ns"]
            )
            if nested and outer["name"] == inner["name"]:
                names.add(outer["name"])
    return names


def drop(found: Sums, names: set[str]) -> Sums:
    return {key: value for key, value in found.items() if key[0] not in names}


def sums(averages: Any, *, shapes: bool) -> Sums:
    return {
        (average.key, str(average.input_shapes) if shapes else ""): (
            average.count,
            round(average.cpu_time_total * 1000),
            round(average.self_cpu_time_total * 1000),
        )
        for average in averages
    }


def own_sums(operators: pl.DataFrame, *, shapes: bool) -> Sums:
    found: Sums = defaultdict(lambda: (0, 0, 0))
    for row in operators.rows(named=True):
        key = (row["name"], str(row["input_shapes"] or []) if shapes else "")
        count, total, own = found[key]
        found[key] = (count + 1, total + row["duration_ns"], own + row["self_ns"])
    return dict(found)


@pytest.mark.parametrize("memory", [False, True])
@pytest.mark.parametrize("stacks", [False, True])
@pytest.mark.parametrize("shapes", [False, True])
def test_sums_per_name_equal_torchs_own_to_the_nanosecond(
    shapes: bool, stacks: bool, memory: bool
) -> None:
    prof = train(record_shapes=shapes, stacks=stacks, profile_memory=memory, with_flops=shapes)
    frames, _ = tables_of(result_of(prof), rank=0, first_id=0, memory=memory, stacks=stacks)
    operators = frames["operators"]
    merged = merged_names(operators)
    names = set(operators["name"])
    assert names == {event.name for event in theirs(prof)}
    assert {"aten::addmm", "AddmmBackward0", "Optimizer.step#AdamW.step"} <= names - merged
    for by_shape in {False, shapes}:
        found = own_sums(operators, shapes=by_shape)
        averages = prof.key_averages(group_by_input_shape=by_shape)
        theirs_now = sums((each for each in averages if each.key in names), shapes=by_shape)
        unmerged = unmerged_events(prof).key_averages(by_shape)  # type: ignore[no-untyped-call]
        assert found == sums((each for each in unmerged if each.key in names), shapes=by_shape)
        assert drop(found, merged) == drop(theirs_now, merged)
        if not by_shape:
            own_times = {key: own for key, (_, _, own) in found.items()}
            assert own_times == {key: own for key, (_, _, own) in theirs_now.items()}


def test_flops_equal_torchs_own_and_are_null_where_it_has_none() -> None:
    prof = train(record_shapes=True, with_flops=True)
    operators = tables_of(result_of(prof), rank=0, first_id=0, memory=False).frames["operators"]
    flops = operators.filter(name="aten::addmm")["flops"]
    assert flops.sum() == sum(event.flops for event in theirs(prof) if event.name == "aten::addmm")
    assert flops.sum() > 0
    assert operators.filter(name="aten::cat")["flops"].null_count() == 3


def test_an_only_child_of_the_same_name_stays_a_row() -> None:
    with profiled() as prof:
        for _ in range(2):
            with record_function("outer"), record_function("outer"):
                torch.ones(3)
    operators = tables_of(result_of(prof), rank=0, first_id=0, memory=False).frames["operators"]
    assert operators.filter(name="outer").height == 4
    (average,) = (each for each in prof.key_averages() if each.key == "outer")
    assert average.count == 2
    assert operators.filter(name="outer")["self_ns"].sum() == round(
        average.self_cpu_time_total * 1000
    )


def test_steps_and_stages_are_those_that_hold_the_start() -> None:
    step = training_step()
    with profiled() as prof:
        torch.ones(1)
        for number in (5, 6, 7):
            with record_function(f"{STEP_MARK}{number}"):
                step()
            torch.zeros(1)
    frames, coverage = tables_of(result_of(prof), rank=3, first_id=100, memory=False)
    operators = frames["operators"]
    assert operators["step"].unique().sort().to_list() == [None, 5, 6, 7]
    in_steps = operators.drop_nulls("step")
    per_step = [group["name"].to_list() for group in in_steps.partition_by("step")]
    assert per_step[0] == per_step[1] == per_step[2]
    assert set(operators.filter(pl.col("step").is_null())["name"]) >= {"aten::ones", "aten::zeros"}
    assert set(operators.filter(name="aten::addmm")["stage"]) == {"forward"}
    assert set(operators.filter(name="AddmmBackward0")["stage"]) == {"backward"}
    assert operators.filter(name="Optimizer.step#AdamW.step")["stage"].to_list() == [None] * 3
    assert not operators["name"].str.starts_with("harness.").any()
    assert operators["id"].to_list() == list(range(100, 100 + operators.height))
    assert set(operators["rank"]) == {3}
    assert coverage["user_annotation"] == Coverage(seen=15, rows=6, marks=9, hidden=0)


def test_torchs_own_marks_are_no_rows() -> None:
    frames, coverage = convert(mark("ProfilerStep#4", 0, 10), Fake(start=1, end=5))
    assert frames["operators"]["name"].to_list() == ["aten::add"]
    assert coverage["user_annotation"] == Coverage(seen=1, rows=0, marks=1, hidden=0)


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


def test_operators_of_another_thread_belong_to_the_running_step() -> None:
    def work() -> None:
        torch.relu(torch.ones(4).requires_grad_()).sum().backward()  # type: ignore[no-untyped-call]

    with profiled(all_threads=True) as prof:
        for number in range(2):
            with record_function(f"{STEP_MARK}{number}"):
                thread = threading.Thread(target=work)
                thread.start()
                torch.ones(2).add(1)
                thread.join()
    operators = tables_of(result_of(prof), rank=0, first_id=0, memory=False).frames["operators"]
    assert operators["thread"].n_unique() > 1
    assert operators.filter(name="aten::relu")["step"].to_list() == [0, 1]
    averages = unmerged_events(prof).key_averages()  # type: ignore[no-untyped-call]
    expected = sums((each for each in averages if "harness." not in each.key), shapes=False)
    assert own_sums(operators, shapes=False) == expected


def test_memory_equals_torchs_accounting_and_knows_totals_and_operators() -> None:
    prof = train(profile_memory=True)
    frames, coverage = tables_of(result_of(prof), rank=1, first_id=10, memory=True)
    memory, operators = frames["memory"], frames["operators"]
    assert memory.schema == tables.SCHEMAS["memory"]
    assert coverage["cpu_instant_event"] == Coverage(
        seen=memory.height, rows=memory.height, marks=0, hidden=0
    )
    assert set(memory["device"]) == {"cpu"}
    assert set(memory["rank"]) == {1}
    assert memory["time_ns"].is_sorted()
    assert (memory["total_allocated"].diff() == memory["bytes"]).all()
    kinds = memory.select("kind", pl.col("bytes").sign()).unique().rows()
    assert set(kinds) == {("alloc", 1), ("free", -1)}
    joined = memory.join(operators, left_on="operator", right_on="id", how="inner")
    assert joined.height == memory["operator"].count()
    own: Counter[str] = Counter()
    for name, size in joined.select("name", "bytes").rows():
        own[name] += size
    expected: Counter[str] = Counter()
    for event in theirs(prof):
        expected[event.name] += event.self_cpu_memory_usage
    assert own["aten::empty"] > 0
    assert {k: v for k, v in own.items() if v} == {k: v for k, v in expected.items() if v}


def test_an_allocation_outside_of_all_operators_has_none() -> None:
    node = type("Node", (), {})()
    fields = {"alloc_size": -64, "total_allocated": 0, "total_reserved": 0}
    node.extra_fields = type("Fields", (), {"device": torch.device("cuda:1"), **fields})()
    node.tag, node.start_time_ns, node.children = _EventType.Allocation, 12, []
    inside = Fake(kind="cpu_instant_event", label="[memory]", start=5, end=5)
    after = Fake(kind="cpu_instant_event", label="[memory]", start=12, end=12)
    other = Fake(kind="cpu_instant_event", label="[OutOfMemory]", start=13, end=13)
    result = FakeResult([Fake(start=0, end=9), inside, after, other], [node])
    frames, coverage = tables_of(result, rank=0, first_id=4, memory=True)
    assert frames["memory"].rows() == [
        (0, 5, None, None, None, None, None, 4),
        (0, 12, "cuda:1", "free", -64, 0, 0, None),
    ]
    assert coverage["cpu_instant_event"] == Coverage(seen=3, rows=2, marks=0, hidden=0)


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


def test_without_memory_there_are_no_rows_of_it() -> None:
    prof = train(profile_memory=True)
    frames, coverage = tables_of(result_of(prof), rank=0, first_id=0, memory=False)
    assert frames["memory"].equals(tables.empty("memory"))
    assert coverage["cpu_instant_event"].rows == 0 < coverage["cpu_instant_event"].seen


def test_stacks_are_told_under_verbose_only_and_only_when_asked() -> None:
    prof = train(stacks=True)
    frames, coverage = tables_of(result_of(prof), rank=0, first_id=0, memory=False, stacks=True)
    found = dict(frames["stacks"].select("stack_id", "frames").rows())
    assert len(found) == frames["stacks"].height
    ids = frames["operators"].filter(name="aten::addmm")["stack_id"]
    assert any("test_events.py" in frame for frame in found[ids[0]])
    assert frames["operators"]["stack_id"].drop_nulls().is_in(list(found)).all()
    assert coverage["python_function"].rows == 0 < coverage["python_function"].seen
    for other, asked in ((prof, False), (train(), True)):
        frames, _ = tables_of(result_of(other), rank=0, first_id=0, memory=False, stacks=asked)
        assert frames["operators"]["stack_id"].null_count() == frames["operators"].height
        assert frames["stacks"].equals(tables.empty("stacks"))


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


def test_equal_programs_give_equal_rows() -> None:
    columns = ["step", "stage", "name", "input_shapes", "input_dtypes", "flops"]
    first, second = (
        tables_of(
            result_of(train(record_shapes=True, with_flops=True)), rank=0, first_id=0, memory=False
        )
        .frames["operators"]
        .select(columns)
        for _ in range(2)
    )
    assert first.equals(second)


def test_kernels_belong_to_the_step_and_the_operator_of_their_launch() -> None:
    frames, coverage = convert(
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
        kind: count.seen for kind, count in coverage.items() if count.rows + count.marks == 0
    }
    assert seen_only == {"cuda_runtime": 2, "gpu_user_annotation": 1, "cuda_sync": 1, "overhead": 1}
    assert coverage["kernel"] == Coverage(seen=2, rows=2, marks=0, hidden=0)


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
    frames, coverage = convert(
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
    assert coverage["cpu_op"] == Coverage(seen=5, rows=3, marks=0, hidden=2)
    assert coverage["python_function"] == Coverage(seen=2, rows=0, marks=0, hidden=1)


def test_an_empty_profile_gives_empty_tables() -> None:
    frames, coverage = convert(stacks=True)
    assert coverage == {}
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
        if fake.kind in OPERATOR_KINDS
    }
    operators = convert(*fakes).frames["operators"]
    assert dict(operators.select("name", "self_ns").rows()) == expected
