"""The summary of a run, as raw values."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from msgspec.structs import replace

from harness.analyses.registry import run_analyses
from harness.capture.capture import Capture, Emulation
from harness.capture.run_record import Consistency, Delivery, RankResult, RunRecord, Timing
from harness.execution.protocol import Compilation
from harness.report.brief import in_detail
from harness.report.run import FIGURES, SECTIONS, sections
from harness.report.section import Column, Command, Section
from harness.report.units import cells
from harness.report.wall_time import short_names
from harness.tables.event_counts import EventCounts, LinkedKernels
from tests.support.captures import Columns, capture

RECORD = RunRecord(
    status="ok",
    verdict="delivered",
    exit_code=0,
    versions={},
    host="here",
    device="cuda",
    requested={
        "device.name": "cuda",
        "workload.name": "mlp",
        "rehearsal.emulate": False,
        "profiler.with_stack": True,
        "profiler.profile_memory": True,
    },
    recorded_steps=3,
)
KERNELS: Columns = {
    "step": [1, 1, 1, 1, 2],
    "device": [0] * 5,
    "name": ["mm", "relu", "hcom_allReduce__1_0_1", "add", "mm"],
    "type": ["MatMul", "Relu", "hcom_allReduce_", "Add", "MatMul"],
    "core": ["AI_CORE", "AI_VECTOR_CORE", "HCCL", "AI_VECTOR_CORE", "AI_CORE"],
    "input_shapes": [[[2, 3], [3, 4]], None, None, None, [[2, 3], [3, 4]]],
    "start_ns": [1000, 1050, 1120, 1400, 3000],
    "duration_ns": [100, 80, 180, 50, 10],
}
OPERATORS: Columns = {
    "id": [0, 1, 2],
    "step": [1, 1, 1],
    "name": ["aten::mm", "aten::mm", "aten::add"],
    "input_shapes": [[[2, 3], [3, 4]], [[2, 3], [3, 4]], None],
    "self_ns": [30, 45, 25],
    "stage": ["forward", "forward", None],
}
EVENTS = EventCounts(seen=1_000, rows=990, marks=10, hidden=0)
DELIVERED = Delivery(
    setting="profiler.activities",
    requested="[host]",
    arrived="4 operators",
    status="delivered",
    expectation="rows",
)


def summary(record: RunRecord = RECORD, recorded: Capture | None = None) -> dict[str, Section]:
    parts = sections(record, run_analyses(recorded or capture()), "a/run")
    return {part.title: part for part in parts}


def raw(part: Section) -> list[tuple[Any, ...]]:
    """The rows of a section, to compare with numbers that are nearly so."""
    return list(part.rows)


def test_a_run_without_anything_has_its_headline_and_its_files() -> None:
    assert set(summary()) == {"harness", "Files"}


def test_step_times_are_those_of_the_record() -> None:
    timing = {
        "baseline": Timing(steps=5, median_ns=2_000, min_ns=1_900, max_ns=2_100),
        "active": Timing(steps=3, median_ns=3_000, min_ns=2_000, max_ns=4_000),
    }
    part = summary(replace(RECORD, timing=timing))["Step time"]
    assert part.rows == (
        ("unprofiled", 5, 2_000, 1_900, 2_100),
        ("profiled", 3, 3_000, 2_000, 4_000),
    )
    assert part.notes == (
        "a profiled step takes 1.50 × an unprofiled one, which is within the noise of these steps",
        "unstable: (max - min) / median of the steps: profiled 67%",
    )
    invented = replace(RECORD, timing=timing, emulated=True)
    assert summary(invented)["Step time (emulated: invented)"].notes == ()


def test_breakdown_has_the_parts_of_each_step() -> None:
    part = summary(recorded=capture(kernels=KERNELS))["Steps on the device"]
    assert part.columns == (
        *(Column("step", "identifier"), Column("span", "ns"), Column("compute", "ns", "span")),
        *(Column("communication", "ns", "span"), Column("overlapped", "ns", "span")),
        Column("idle", "ns", "span"),
    )
    # Step 1: compute 1000-1130 and 1400-1450, communication 1120-1300.
    assert part.rows == ((1, 450, 180, 170, 10, 100), (2, 10, 10, 0, 0, 0))
    assert cells(part)[0] == (
        *("1", "450 ns", "180 ns (40%)", "170 ns (38%)", "10 ns (2%)", "100 ns (22%)"),
    )
    assert part.notes == ("span = compute + communication, not overlapped, + idle",)


def test_breakdown_has_no_columns_of_what_there_is_not() -> None:
    alone: Columns = {name: values[:2] for name, values in KERNELS.items()}
    steps: Columns = {"step": [1], "duration_ns": [600]}
    part = summary(recorded=capture(kernels=alone, steps=steps))["Steps on the device"]
    assert [column.name for column in part.columns] == ["step", "wall", "span", "compute", "idle"]
    assert part.rows == ((1, 600, 130, 130, 0),)
    assert part.notes == ("span = compute + idle",)
    several = dict(KERNELS) | {"device": [0, 1, 0, 0, 0]}
    part = summary(recorded=capture(kernels=several))["Steps on the device"]
    assert [row[:2] for row in part.rows] == [(1, 0), (2, 0), (1, 1)]


def test_kernels_that_no_step_launched_are_one_line() -> None:
    outside = dict(KERNELS) | {"step": [1, 1, 1, None, None]}
    part = summary(recorded=capture(kernels=outside))["Steps on the device"]
    assert [row[:2] for row in part.rows] == [(1, 300)]
    assert part.notes[1:] == ("kernels that no step launched: 2, in 60 ns of device time",)


def test_operators_kernels_and_stages_are_those_of_the_analyses() -> None:
    shown = summary(recorded=capture(kernels=KERNELS, operators=OPERATORS, stages=("forward",)))
    shapes = [[2, 3], [3, 4]]
    assert shown["Operators by self time, all recorded steps"].rows == (
        ("aten::mm", shapes, 2, 75, 0.75),
        ("aten::add", None, 1, 25, 0.25),
    )
    kernels = shown["Kernels by device time, all recorded steps"]
    assert raw(kernels)[:2] == [
        ("hcom_allReduce__1_0_1", None, 1, 180, pytest.approx(180 / 420)),
        ("mm", shapes, 2, 110, pytest.approx(110 / 420)),
    ]
    types = shown["Kernels by type, all recorded steps"]
    assert raw(types)[1] == ("MatMul", "AI_CORE", 2, 110, 55, pytest.approx(110 / 420))
    assert shown["Stages"].rows == (("forward", 2, 75, 0.75), (None, 1, 25, 0.25))
    assert cells(shown["Stages"])[1] == ("(outside)", "1", "25 ns", "25.0%")


def test_time_on_the_device_and_flops_are_shown_where_they_were_recorded() -> None:
    more = dict(OPERATORS) | {"device_ns": [7, None, None], "flops": [None, None, 96]}
    part = summary(recorded=capture(operators=more))["Operators by self time, all recorded steps"]
    assert [column.name for column in part.columns][-2:] == ["device", "flops"]
    assert [row[-2:] for row in part.rows] == [(7, None), (None, 96)]


def test_the_first_rows_are_shown_and_the_others_counted() -> None:
    many: Columns = {
        "step": [1] * 12,
        "name": [f"op{number}" for number in range(12)],
        "self_ns": list(range(12, 0, -1)),
    }
    part = summary(recorded=capture(operators=many))["Operators by self time, all recorded steps"]
    assert [row[0] for row in part.rows] == [f"op{number}" for number in range(10)]
    assert part.notes == ("2 more in analyses/",)


def test_memory_is_in_bytes() -> None:
    memory: Columns = {"device": ["cpu"], "total_allocated": [3072], "operator": [0]}
    part = summary(recorded=capture(memory=memory, operators=OPERATORS))["Memory peaks"]
    assert part.columns[1] == Column("in use", "bytes")
    assert part.rows == (("cpu", 3072, "aten::mm"),)


def test_calls_and_files_of_the_profiler() -> None:
    calls: tuple[dict[str, Any], ...] = (
        {"call": "aclprofInit", "path": "/a/b", "result": 0},
        {"call": "aclprofStart", "result": 0},
        {"call": "aclprofStart", "result": 0},
    )
    raw = ("x_ascend_pt/ASCEND_PROFILER_OUTPUT/op_statistic.csv",)
    shown = summary(recorded=replace(capture(raw=raw), calls=calls))
    assert shown["ACL profiling calls, as on an NPU"].rows == (
        ("aclprofInit", 1, "into b"),
        ("aclprofStart", 2, ""),
    )
    assert shown["Files of the analysis, ASCEND_PROFILER_OUTPUT"].rows == (
        ("op_statistic.csv", "time and count of kernels by type and core (Level1, Level2)"),
    )


def test_delivery_has_each_status_and_the_reasons() -> None:
    lost = Delivery(
        setting="profiler.with_flops",
        requested="true",
        arrived="0 operators",
        status="partial",
        expectation="rows",
        reason="none of these has flops",
        accepted=True,
    )
    off = replace(lost, setting="profiler.x", arrived="", status="not_requested", accepted=False)
    holds = Consistency(name="rows", status="holds")
    record = replace(RECORD, delivery=(DELIVERED, lost, off), consistency=(holds,))
    part = summary(record)["Delivery: what was requested, what arrived"]
    assert part.columns[0] == Column("", "status")
    assert part.rows == (
        ("delivered", "profiler.activities", "[host]", "4 operators"),
        ("partial", "profiler.with_flops", "true", "partial: 0 operators"),
        ("not_requested", "profiler.x", "true", "not requested"),
    )
    assert part.notes == (
        "profiler.with_flops, profiler.x: none of these has flops",
        "profiler.with_flops: accepted by delivery.accept",
        "1 consistency checks hold, 0 not applicable",
    )
    ended = summary(replace(record, status="interrupted"))
    notes = ended["Delivery: what was requested, what arrived"].notes
    assert "none of these has flops" not in " ".join(map(str, notes))


def test_events_and_linked_kernels_are_counted() -> None:
    record = replace(
        RECORD,
        event_counts={
            "cpu_op": EVENTS,
            "cuda_runtime": EventCounts(seen=30, rows=0, marks=0, hidden=0),
        },
        linked=LinkedKernels(kernels=4, linked=3, time_ns=100, linked_ns=90),
    )
    assert summary(record)["Events: what became of what was recorded"].notes == (
        (
            "1,030 profiler events: 990 table rows, 10 step and stage marks; in the trace only:"
            " 30 cuda_runtime"
        ),
        "3 of 4 kernels are linked to the operator that launched them, 90.0% of their time",
    )


@pytest.mark.parametrize(
    ("changes", "notes"),
    [
        (
            {"device_name": "A100"},
            ["mlp on cuda (A100), 3 recorded step(s)", "everything requested was delivered"],
        ),
        ({"verdict": "not_delivered"}, ["NOT everything requested was delivered"]),
        (
            {"source": "t.json"},
            [
                "imported capture t.json, recorded on cuda",
                "the capture does not record which settings were requested, so none is checked",
            ],
        ),
        (
            {"source": "t.json", "verdict": "not_delivered"},
            ["a part of the capture is LOST or contradicts another; the capture does not"],
        ),
        (
            {"source": "t.json", "delivery": (DELIVERED,)},
            ["everything requested was delivered"],
        ),
        (
            {"status": "failed", "verdict": "pending", "reason": "it raised"},
            ["FAILED: it raised", "the captures are not analysed yet"],
        ),
        (
            {"status": "interrupted", "reason": "by SIGINT", "event_counts": {"cpu_op": EVENTS}},
            [
                "mlp on cuda, 3 step(s) to record",
                *("INTERRUPTED: by SIGINT", "what was recorded before that is kept"),
            ],
        ),
        (
            {
                "emulated": True,
                "emulation": Emulation(
                    operators_computed=5,
                    operators_not_computed=2_000,
                    not_computed={f"aclnn{number}": 1 for number in range(6)},
                ),
            },
            [
                "EMULATED device",
                (
                    "the emulator did not compute 2,000 of 2,005 operators, and their outputs are"
                    " zeros: aclnn0, aclnn1, aclnn2, aclnn3, aclnn4, …"
                ),
            ],
        ),
    ],
)
def test_headline(changes: dict[str, Any], notes: list[str]) -> None:
    part = summary(replace(RECORD, **changes))["harness"]
    for note in notes:
        assert any(str(line).startswith(note) for line in part.notes), (note, part.notes)


def test_every_figure_of_an_emulated_run_says_so_and_nothing_else_does() -> None:
    record = replace(RECORD, emulated=True, delivery=(DELIVERED,))
    memory: Columns = {"device": ["npu:0"], "total_allocated": [1]}
    operators: Columns = {**OPERATORS, "stack_id": [7] * len(OPERATORS["name"])}
    lines: Columns = {"start_ns": [1000], "duration_ns": [100], "file": ["train.py"], "line": [7]}
    shown: set[str] = set()
    # By line, or by function where no lines were recorded.
    for own_lines in (lines, {}):
        recorded = capture(
            kernels=KERNELS,
            operators=operators,
            steps={"step": [1], "phase": ["active"], "start_ns": [1000], "duration_ns": [500]},
            stacks={"stack_id": [7], "frames": [["nn.Module: Net_0", "train.py(7): step"]]},
            lines=own_lines,
            memory=memory,
            stages=("forward",),
        )
        shown |= set(summary(record, recorded))
    marked = [title for title in shown if title.endswith("(emulated: invented)")]
    # All but the step times and what was compiled, which the record has none of.
    assert len(marked) == len(FIGURES) - 2
    assert set(FIGURES) < set(SECTIONS)


def test_steps_that_took_no_time_have_no_ratio() -> None:
    nothing = Timing(steps=3, median_ns=0, min_ns=0, max_ns=0)
    part = summary(replace(RECORD, timing={"baseline": nothing, "active": nothing}))["Step time"]
    assert part.notes == ()


WALL_TIME = pl.DataFrame(
    {
        "rank": [0, 0, 0, 0],
        "step": [1, 1, 2, 2],
        "stage": ["forward", None, "forward", "forward"],
        "part": ["operators", "python", "operators", "python"],
        "duration_ns": [30, 10, 50, 10],
    }
)


def test_wall_time_is_shown_by_stage_and_part_and_adds_up() -> None:
    analyses = run_analyses(capture()) | {"wall_time": WALL_TIME}
    shown = {part.title: part for part in sections(RECORD, analyses, "run")}
    part = shown["Where the wall time goes, 2 recorded step(s)"]
    assert [column.name for column in part.columns] == [
        *("stage", "share", "time", "operators", "python"),
    ]
    assert part.rows == (
        ("forward", 0.9, 90, 80, 10),
        (None, 0.1, 10, None, 10),
        ("whole step", 1.0, 100, 80, 20),
    )
    without_stages = WALL_TIME.with_columns(stage=pl.lit(None, pl.String))
    shown = {
        part.title: part
        for part in sections(RECORD, analyses | {"wall_time": without_stages}, "run")
    }
    (row,) = shown["Where the wall time goes, 2 recorded step(s)"].rows
    assert row == ("whole step", 1.0, 100, 80, 20)


def test_lines_are_named_by_as_much_of_the_path_as_tells_them_apart() -> None:
    assert short_names(["a/b/net.py", "train.py", "a/b/net.py"]) == [
        *("net.py", "train.py", "net.py"),
    ]
    assert short_names(["a/net.py", "b/net.py"]) == ["a/net.py", "b/net.py"]
    assert short_names(["net.py", "b/net.py"]) == ["net.py", "b/net.py"]
    assert short_names([]) == []


def test_what_was_compiled_is_shown_with_its_graph_breaks() -> None:
    compiled = Compilation(compilations=3, graphs=2, seconds=4.25, graph_breaks={"print": 2})
    part = summary(replace(RECORD, compilation=compiled))["torch.compile"]
    assert part.rows == (("print", 2),)
    assert part.notes == ("3 compilation(s) of 2 graph(s) took 4.2 s in all, warm-up included",)


def test_files_end_in_the_next_command() -> None:
    notes = summary(replace(RECORD, files=("summary.md", "tables/"), notes=("cut off",)))[
        "Files"
    ].notes
    assert notes[:2] == ("a/run: summary.md, tables/", "cut off")
    assert isinstance(notes[2], Command)


def test_a_value_of_every_column_is_of_its_unit() -> None:
    numbers = {"identifier", "count", "number", "ns", "bytes", "flops", "share", "ratio"}
    recorded = capture(kernels=KERNELS, operators=OPERATORS, stages=("forward",))
    for part in summary(replace(RECORD, delivery=(DELIVERED,)), recorded).values():
        for row in part.rows:
            for column, value in zip(part.columns, row, strict=True):
                kind = (int, float) if column.unit in numbers else (str, list)
                assert value is None or isinstance(value, kind), (part.title, column.name)


def test_analyses_without_rows_have_no_section() -> None:
    empty = {name: table[:0] for name, table in run_analyses(capture(kernels=KERNELS)).items()}
    assert all(isinstance(table, pl.DataFrame) for table in empty.values())
    assert [part.title for part in sections(RECORD, empty, "run")] == ["harness", "Files"]


def test_a_job_shows_its_ranks_and_whose_figures_follow() -> None:
    step = Timing(steps=3, median_ns=5_000_000, min_ns=4_000_000, max_ns=6_000_000)
    good = RankResult(
        rank=1, records=True, status="ok", verdict="delivered", exit_code=0, step=step
    )
    ranks = (
        RankResult(rank=0, records=False, status="ok", verdict="delivered", exit_code=0),
        good,
        RankResult(
            rank=2,
            records=True,
            status="failed",
            verdict="not_delivered",
            exit_code=1,
            reason="died",
        ),
    )
    job = replace(RECORD, ranks=ranks, world_size=3, timing={"active": step})
    job = replace(job, requested=RECORD.requested | {"execution.kind": "torchrun"})
    across = Section(title="Across the ranks", notes=("rank 2 arrives last",))
    shown = sections(job, run_analyses(capture(operators=OPERATORS)), "outputs/x", (across,))
    titles = [section.title for section in shown]
    assert str(shown[0].notes[0]).startswith("3 rank(s): mlp on cuda")
    assert titles[1] == "Ranks: 3 processes of one job"
    assert shown[1].rows == (
        ("good", 0, "ok", "does not record", None, None, ""),
        ("good", 1, "ok", "delivered", 3, 5_000_000, ""),
        ("bad", 2, "failed", "not delivered", None, None, "died"),
    )
    assert titles[2] == "Step time · rank 1"
    assert titles.index("Across the ranks") > titles.index("Stages · rank 1")
    # One screen has room for what all ranks did, and for one rank's times.
    brief = [section.title for section in in_detail(shown, "brief", "summary.md")]
    assert "Operators by self time, all recorded steps · rank 1" in titles
    assert [title for title in brief if "· rank" in title] == ["Step time · rank 1"]
    assert "Across the ranks" in brief
    alone = [section.title for section in sections(job, {}, "outputs/x", (across,))]
    assert alone[:3] == [titles[0], titles[1], "Across the ranks"]
