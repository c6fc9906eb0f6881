"""Real profiles: what becomes of them equals what torch itself makes of them."""

from __future__ import annotations

import re
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from torch._C._autograd import _ProfilerResult
from torch._C._profiler import _ExperimentalConfig
from torch.autograd.profiler_util import EventList
from torch.profiler import ProfilerActivity, profile, record_function

from harness import tables
from harness.devices.torch_events import tables_of
from harness.tables.event_counts import EventCounts
from harness.tables.markers import STAGE_MARK, STEP_MARK

Sums = dict[tuple[str, str], tuple[int, int, int]]
"""By name and shapes: count, duration and self time in nanoseconds."""

OPERATOR_KINDS = ("cpu_op", "user_annotation")


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


def torchs_shapes(row: dict[str, Any]) -> list[list[int]]:
    """The row's shapes as torch's averages show them: none of a list of tensors."""
    shapes: list[list[int]] = []
    arguments = iter(zip(row["input_shapes"] or [], row["input_dtypes"] or [], strict=True))
    for shape, dtype in arguments:
        listed = re.fullmatch(r"TensorList\[(\d+)\]", dtype or "")
        shapes.append([] if listed else shape)
        for _ in range(int(listed[1]) - 1 if listed else 0):
            next(arguments)
    return shapes


def own_sums(operators: pl.DataFrame, *, shapes: bool) -> Sums:
    found: Sums = defaultdict(lambda: (0, 0, 0))
    for row in operators.rows(named=True):
        key = (row["name"], str(torchs_shapes(row)) if shapes else "")
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
    unasked = tables_of(result_of(prof), rank=0, first_id=0, memory=False, flops=False)
    assert unasked.frames["operators"].equals(operators.with_columns(flops=pl.lit(None, pl.Int64)))


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
    frames, event_counts = tables_of(result_of(prof), rank=3, first_id=100, memory=False)
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
    assert event_counts["user_annotation"] == EventCounts(seen=15, rows=6, marks=9, hidden=0)


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
    frames, event_counts = tables_of(result_of(prof), rank=1, first_id=10, memory=True)
    memory, operators = frames["memory"], frames["operators"]
    assert memory.schema == tables.SCHEMAS["memory"]
    assert event_counts["cpu_instant_event"] == EventCounts(
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


def test_without_memory_there_are_no_rows_of_it() -> None:
    prof = train(profile_memory=True)
    frames, event_counts = tables_of(result_of(prof), rank=0, first_id=0, memory=False)
    assert frames["memory"].equals(tables.empty("memory"))
    assert event_counts["cpu_instant_event"].rows == 0 < event_counts["cpu_instant_event"].seen


def test_stacks_are_told_under_verbose_only_and_only_when_asked() -> None:
    prof = train(stacks=True)
    frames, event_counts = tables_of(result_of(prof), rank=0, first_id=0, memory=False, stacks=True)
    found = dict(frames["stacks"].select("stack_id", "frames").rows())
    assert len(found) == frames["stacks"].height
    ids = frames["operators"].filter(name="aten::addmm")["stack_id"]
    assert any(Path(__file__).name in frame for frame in found[ids[0]])
    assert frames["operators"]["stack_id"].drop_nulls().is_in(list(found)).all()
    assert event_counts["python_function"].rows == 0 < event_counts["python_function"].seen
    for other, asked in ((prof, False), (train(), True)):
        frames, _ = tables_of(result_of(other), rank=0, first_id=0, memory=False, stacks=asked)
        assert frames["operators"]["stack_id"].null_count() == frames["operators"].height
        assert frames["stacks"].equals(tables.empty("stacks"))


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


def test_every_tensor_of_a_list_has_its_shape() -> None:
    first, second, scalar = torch.zeros(3, 4), torch.zeros(5, 4), torch.tensor(1.0)

    def work() -> None:
        torch.cat([first, second])
        torch.stack([first, first])
        torch._foreach_add([first, second], [first[:1], second])
        torch._foreach_mul_([scalar, first], 2.0)
        torch.cat([first] * 31)
        torch.ops.aten.block_diag([])
        scalar.sqrt()

    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as prof:
        work()
    operators = tables_of(result_of(prof), rank=0, first_id=0, memory=False).frames["operators"]
    two, number = "TensorList[2]", "Scalar"
    recorded = operators.select("name", "input_shapes", "input_dtypes").rows()
    for name, shapes, dtypes in (
        ("aten::cat", [[3, 4], [5, 4], []], [two, two, number]),
        ("aten::stack", [[3, 4], [3, 4], []], [two, two, number]),
        ("aten::_foreach_add", [[3, 4], [5, 4], [1, 4], [5, 4], []], [*[two] * 4, number]),
        ("aten::_foreach_mul_", [[], [3, 4], []], [two, two, number]),
        ("aten::cat", [*[[3, 4]] * 31, []], [*["TensorList[31]"] * 31, number]),
        ("aten::block_diag", [[]], ["TensorList[0]"]),
        ("aten::sqrt", [[]], ["float"]),
    ):
        assert (name, shapes, dtypes) in recorded


def test_steps_of_optimizers_have_the_shapes_of_all_parameters() -> None:
    parameters = [torch.nn.Parameter(torch.zeros(3, 4)), torch.nn.Parameter(torch.zeros(()))]
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    optimizer = torch.optim.SGD(parameters, lr=0.1, foreach=True)
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as prof:
        optimizer.step()
    operators = tables_of(result_of(prof), rank=0, first_id=0, memory=False).frames["operators"]
    steps = operators.filter(pl.col("name") == "aten::_foreach_add_")
    assert steps.select("input_shapes", "input_dtypes").rows() == [
        ([[3, 4], [], [3, 4], [], []], [*["TensorList[2]"] * 4, "Scalar"])
    ]
