"""The figures of a run: exact numbers on captures written by hand, and rules for any."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import tables
from harness.analyses.registry import run_analyses
from harness.report.html.figure import Frame, Lane, Mark, Points, Series
from harness.report.html.figures import (
    MOMENTS,
    device_bars,
    memory_plot,
    rank_bars,
    step_plot,
    thinned,
    type_bars,
    wall_bars,
)
from harness.report.html.flame import flame
from harness.report.html.timeline import BINS, LANES, timeline
from harness.tables.intervals import union
from tests.support.captures import Columns, capture

STEPS: Columns = {
    "step": [None, None, 0, 1, 1],
    "rank": [0, 0, 0, 0, 0],
    "phase": ["warmup", "baseline", "profiler_warmup", "active", "active"],
    "start_ns": [0, 100, 200, 1_000, 1_000],
    "duration_ns": [50, 70, 90, 800, 800],
}
KERNELS: Columns = {
    "step": [1, 1, 1, None],
    "rank": [0, 0, 0, 0],
    "device": [0, 0, 0, 0],
    "stream": [7, 7, 3, 7],
    "name": ["mm", "add", "copy", "outside"],
    "type": ["MatMul", "Add", "Copy", "X"],
    "start_ns": [1_000, 1_200, 1_700, 5_000],
    "duration_ns": [300, 200, 100, 9],
}


def test_steps_are_drawn_in_their_order_each_once() -> None:
    plot = step_plot(capture(steps=STEPS).tables["steps"])
    assert plot is not None
    assert plot.series == (
        Points(name="unprofiled", x=(1,), y=(70,), labels=("unprofiled",)),
        Points(name="profiled", x=(2,), y=(800,), labels=("step 1",)),
    )
    assert step_plot(tables.empty("steps")) is None


def test_the_timeline_has_the_union_of_the_intervals_of_each_stream() -> None:
    lanes = timeline(capture(steps=STEPS, kernels=KERNELS).tables)
    assert lanes is not None
    assert lanes.edges_ns == tuple(range(0, 801, 2))
    assert lanes.marks == (Mark("step 1", 0, 800),)
    # 300 + 200, of which 100 at once; the kernel outside of the steps does not count.
    assert [(lane.name, sum(lane.busy_ns)) for lane in lanes.lanes] == [
        ("device 0 · stream 7", 400),
        ("device 0 · stream 3", 100),
    ]
    assert lanes.lanes[1].busy_ns == (0,) * 350 + (2,) * 50
    assert lanes.lanes[0].busy_ns == (2,) * 200 + (0,) * 200


def test_nested_operators_count_once_on_the_timeline() -> None:
    operators: Columns = {
        "step": [1, 1, 1],
        "thread": [1, 1, 2],
        "start_ns": [0, 10, 50],
        "duration_ns": [100, 30, 100],
    }
    lanes = timeline(capture(operators=operators).tables)
    assert lanes is not None
    assert {lane.name: sum(lane.busy_ns) for lane in lanes.lanes} == {
        "thread 1": 100,
        "thread 2": 100,
    }
    assert len(lanes.edges_ns) == 151


def test_clocks_that_disagree_share_no_axis() -> None:
    operators: Columns = {
        "step": [1],
        "thread": [1],
        "start_ns": [10**15],
        "duration_ns": [100],
    }
    lanes = timeline(capture(operators=operators, kernels=KERNELS).tables)
    assert lanes is not None
    assert [lane.name.split()[0] for lane in lanes.lanes] == ["device", "device"]


def test_a_capture_without_rows_has_no_timeline() -> None:
    assert timeline(capture().tables) is None


INTERVALS = st.lists(
    st.tuples(st.integers(0, 5_000), st.integers(0, 3_000), st.integers(0, 2)), min_size=1
)


@given(INTERVALS)
def test_the_bins_of_a_lane_add_up_to_the_union(rows: list[tuple[int, int, int]]) -> None:
    starts, durations, streams = zip(*rows, strict=True)
    kernels: Columns = {
        "rank": [0] * len(rows),
        "device": [0] * len(rows),
        "stream": list(streams),
        "start_ns": list(starts),
        "duration_ns": list(durations),
    }
    recorded = capture(kernels=kernels).tables
    lanes = timeline(recorded)
    assert lanes is not None
    whole = union(recorded["kernels"], ["rank", "device", "stream"])
    expected = {
        f"device 0 · stream {stream}": busy
        for stream, busy in whole.select("stream", "union_ns").rows()
    }
    assert {lane.name: sum(lane.busy_ns) for lane in lanes.lanes} == expected
    widths = [end - start for start, end in zip(lanes.edges_ns, lanes.edges_ns[1:], strict=False)]
    for lane in lanes.lanes:
        assert all(0 <= busy <= wide for busy, wide in zip(lane.busy_ns, widths, strict=True))
    assert len(widths) <= BINS


def test_the_busiest_lanes_are_shown_and_the_others_counted() -> None:
    count = LANES + 3
    kernels: Columns = {
        "device": [0] * count,
        "stream": list(range(count)),
        "start_ns": [0] * count,
        "duration_ns": [10 + stream for stream in range(count)],
    }
    lanes = timeline(capture(kernels=kernels).tables)
    assert lanes is not None
    assert lanes.lanes[0].name == f"device 0 · stream {count - 1}"
    assert len(lanes.lanes) == LANES
    assert "3 lanes with less are left out" in lanes.note


STACKS: Columns = {
    "stack_id": [1, 2],
    "frames": [
        ["torch/nn/modules/linear.py(1): forward", "model.py(5): forward", "train.py(9): main"],
        ["train.py(9): main"],
    ],
}
OPERATORS: Columns = {
    "step": [1, 1, 1, 1, None],
    "name": ["aten::mm", "aten::mm", "aten::add", "aten::free", "aten::outside"],
    "stack_id": [1, 1, 2, None, 2],
    "self_ns": [30, 20, 40, 7, 1_000],
}


def test_the_flame_graph_adds_up_self_time_by_stack() -> None:
    recorded = capture(operators=OPERATORS, stacks=STACKS).tables
    graph = flame(recorded["operators"], recorded["stacks"])
    assert graph is not None
    assert graph.frames == (
        Frame("all operators with a stack", -1, 90, "other"),
        Frame("train.py(9): main", 0, 90, "own"),
        Frame("model.py(5): forward", 1, 50, "own"),
        Frame("aten::add", 1, 40, "operator"),
        Frame("torch/nn/modules/linear.py(1): forward", 2, 50, "library"),
        Frame("aten::mm", 4, 50, "operator"),
    )
    assert "without a stack, 7 ns, are left out" in graph.note
    assert flame(recorded["operators"], tables.empty("stacks")) is not None
    assert flame(tables.empty("operators"), tables.empty("stacks")) is None


WEIGHTS = st.lists(st.tuples(st.integers(1, 40), st.integers(0, 10_000)), min_size=1, max_size=200)


@given(WEIGHTS)
def test_a_frame_has_the_time_of_its_callees_and_its_own(rows: list[tuple[int, int]]) -> None:
    stacks: Columns = {
        "stack_id": list(range(1, 41)),
        "frames": [[f"f{number}", f"g{number % 5}", "main"] for number in range(1, 41)],
    }
    operators: Columns = {
        "step": [1] * len(rows),
        "name": ["aten::mm"] * len(rows),
        "stack_id": [stack for stack, _ in rows],
        "self_ns": [time for _, time in rows],
    }
    recorded = capture(operators=operators, stacks=stacks).tables
    graph = flame(recorded["operators"], recorded["stacks"])
    total = sum(time for _, time in rows)
    if not total:
        assert graph is None
        return
    assert graph is not None
    assert graph.frames[0].total == total
    below = [0] * len(graph.frames)
    for place, frame in enumerate(graph.frames[1:], start=1):
        assert frame.parent < place
        below[frame.parent] += frame.total
    parents = {frame.parent for frame in graph.frames}
    assert all(below[place] == graph.frames[place].total for place in parents - {-1})


def test_device_bars_are_the_breakdown_of_the_steps() -> None:
    recorded = capture(steps=STEPS, kernels=KERNELS)
    bars = device_bars(run_analyses(recorded)["step_breakdown"])
    assert bars is not None
    assert bars.labels == ("step 1",)
    assert bars.series == (Series("compute", (500,)), Series("idle", (300,)))


def test_bars_of_types_are_those_of_the_analysis() -> None:
    bars = type_bars(run_analyses(capture(kernels=KERNELS))["kernels_by_type"])
    assert bars is not None
    assert bars.labels == ("MatMul", "Add", "Copy")
    assert bars.series == (Series("time", (300, 200, 100)),)


def test_parts_of_the_wall_time_are_added_up_over_stages() -> None:
    wall = pl.DataFrame(
        {
            "rank": [0, 0, 0, 0],
            "step": [1, 1, 1, 2],
            "stage": ["forward", "backward", None, None],
            "part": ["operators", "operators", "python", "python"],
            "duration_ns": [10, 20, 5, 40],
        }
    )
    bars = wall_bars(wall)
    assert bars is not None
    assert bars.labels == ("step 1", "step 2")
    assert bars.series == (Series("operators", (30, None)), Series("python", (5, 40)))
    assert wall_bars(wall.clear()) is None


def test_bars_of_ranks_have_what_each_rank_spent() -> None:
    ranks = pl.DataFrame(
        {
            "rank": [0, 1],
            "compute_ns": [7, 9],
            "communication_ns": [2, 2],
            "waiting_ns": [None, 4],
        }
    )
    bars = rank_bars(ranks)
    assert bars is not None
    assert bars.labels == ("rank 0", "rank 1")
    assert bars.series == (
        Series("compute", (7, 9)),
        Series("communication", (2, 2)),
        Series("waiting", (None, 4)),
    )


MEMORY: Columns = {
    "rank": [0, 0, 0, 0],
    "time_ns": [1_005, 1_000, 1_009, 1_010],
    "device": ["npu:0", "npu:0", "cpu", "npu:0"],
    "kind": ["alloc", "alloc", "alloc", "free"],
    "total_allocated": [500, 100, 64, None],
    "total_reserved": [900, 900, 0, 900],
}


def test_memory_is_drawn_by_device_over_time() -> None:
    plot = memory_plot(capture(memory=MEMORY).tables["memory"])
    assert plot is not None
    assert plot.series == (
        Points(name="npu:0, in use", x=(0, 5), y=(100, 500)),
        Points(name="npu:0, reserved", x=(0, 5), y=(900, 900)),
        Points(name="cpu, in use", x=(9,), y=(64,)),
    )
    assert memory_plot(tables.empty("memory")) is None


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=4_000))
def test_no_peak_is_lost_where_points_are_left_out(sizes: list[int]) -> None:
    rows = pl.DataFrame({"time_ns": range(len(sizes)), "size": sizes})
    kept = thinned(rows, "size")
    assert kept["size"].max() == max(sizes)
    assert kept["size"][-1] == sizes[-1]
    assert kept["time_ns"].is_sorted()
    assert kept.height <= MOMENTS + 2
    assert kept.rows() == [rows.row(place) for place in kept["time_ns"]]


def test_a_peak_between_many_points_is_kept() -> None:
    sizes = [1] * 10_000
    sizes[4_321] = 99
    kept = thinned(pl.DataFrame({"time_ns": range(len(sizes)), "size": sizes}), "size")
    assert (4_321, 99) in kept.rows()


@pytest.mark.parametrize("count", [MOMENTS, MOMENTS + 1, 100 * MOMENTS])
def test_points_are_left_out_only_where_there_are_many(count: int) -> None:
    rows = pl.DataFrame({"time_ns": range(count), "size": [1] * count})
    assert (thinned(rows, "size").height == count) is (count == MOMENTS)


def test_a_lane_is_named_by_rank_where_there_are_several() -> None:
    kernels: Columns = {
        "rank": [0, 1],
        "device": [0, 0],
        "stream": [None, 2],
        "start_ns": [0, 0],
        "duration_ns": [4, 4],
    }
    lanes = timeline(capture(kernels=kernels).tables)
    assert lanes is not None
    assert lanes.lanes == (
        Lane("rank 0 · device 0 · stream –", (1, 1, 1, 1)),
        Lane("rank 1 · device 0 · stream 2", (1, 1, 1, 1)),
    )
