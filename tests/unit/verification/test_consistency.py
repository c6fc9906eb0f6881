"""Each comparison, on a capture that agrees with itself and on one that does not."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec import structs

from harness.capture.capture import Capture
from harness.tables.event_counts import EventCounts
from tests.support.captures import Columns, capture
from tests.support.consistent_captures import ALLOCATIONS, RECORDS, STEPS, Change, judged, taken

BY_FILES = (
    "rows of kernel_details.csv",
    "op_statistic.csv",
    "computing in step_trace_time.csv",
    "communication in step_trace_time.csv",
    "communication.json",
    "ratios of pipes",
)


def broken(taken: Capture) -> dict[str, str]:
    return {name: each.reason for name, each in judged(taken).items() if each.fails}


def test_everything_that_applies_holds_in_a_whole_capture(tmp_path: Path) -> None:
    found = judged(taken(tmp_path))
    assert [found[name].status for name in BY_FILES] == ["holds"] * len(BY_FILES)
    assert (found["op_statistic.csv"].expected, found["op_statistic.csv"].actual) == (
        "3 kernels, 27,000 ns",
        "3 kernels, 27,000 ns",
    )
    # CANN's own sums are some 20 ns off.
    computing = found["computing in step_trace_time.csv"]
    assert (computing.expected, computing.actual) == ("27,020 ns in 2 steps", "27,000 ns")
    assert computing.difference == 20 / 27020
    assert found["communication.json"].expected == "30,000 ns in 1 operations"
    assert found["ratios of pipes"].expected == "2 ratios"


def test_a_file_of_kernels_cut_between_lines_contradicts_the_others(tmp_path: Path) -> None:
    found = broken(taken(tmp_path, kernel_details=lambda text: text[: text.index("2,2,mm")]))
    assert found == {
        "op_statistic.csv": "MatMulV2 on AI_CORE: 2 kernels and 22,000 ns in op_statistic.csv,"
        " 1 and 10,000 ns in kernel_details.csv",
        "computing in step_trace_time.csv": "step 2: Computing is 12,000 ns in"
        " step_trace_time.csv, the kernels' 0 ns",
    }


def test_a_file_of_kernels_cut_within_a_line_is_named(tmp_path: Path) -> None:
    found = judged(taken(tmp_path, kernel_details=lambda text: text[:-20]))
    rows = found["rows of kernel_details.csv"]
    assert rows.fails
    assert (rows.expected, rows.actual, rows.difference) == ("4 lines", "3 rows", 0.25)
    assert rows.reason == "kernel_details.csv is cut off or broken"


def test_a_file_of_kernels_without_its_communication_is_named(tmp_path: Path) -> None:
    def without(text: str) -> str:
        return "".join(line for line in text.splitlines(keepends=True) if "HCCL" not in line)

    found = broken(taken(tmp_path, kernel_details=without))
    assert found == {
        "communication in step_trace_time.csv": "step 1: Communication is 30,000 ns in"
        " step_trace_time.csv, the kernels' 0 ns",
        "communication.json": "hcom_allReduce__1_0_1: 30,000 ns in communication.json,"
        " 0 ns in kernel_details.csv",
    }


def test_a_file_of_steps_without_a_whole_row_is_named(tmp_path: Path) -> None:
    found = broken(taken(tmp_path, step_trace_time=lambda text: text[: text.index("27.000")]))
    assert found == {
        f"{name} in step_trace_time.csv": "step_trace_time.csv has no whole row"
        for name in ("computing", "communication")
    }


@pytest.mark.parametrize(
    ("names", "why"),
    [
        (["mm", "mm", "relu"], ""),
        (["mm", "relu"], "mm: 2 in operator_details.csv, 1 in trace_view.json"),
        (["mm", "mm"], "relu: 1 in operator_details.csv, 0 in trace_view.json"),
        (["mm", "mm", "relu", "add"], "add: 0 in operator_details.csv, 1 in trace_view.json"),
    ],
)
def test_operators_are_those_of_their_file_but_for_marks(
    tmp_path: Path, names: list[object], why: str
) -> None:
    whole = taken(tmp_path)
    details = next(tmp_path.glob("raw/*/ASCEND_PROFILER_OUTPUT")) / "operator_details.csv"
    details.write_text('Name,Call Stack\n"mm","a;\nb;\nc"\nmm,\nrelu,"a\nb"\nharness.step#1,\n')
    given = capture(operators={"name": names}).tables["operators"]
    found = judged(structs.replace(whole, tables={**whole.tables, "operators": given}))
    each = found["rows of operator_details.csv"]
    assert (each.expected, each.actual) == ("3 rows", f"{len(names)} operators")
    assert each.reason == (f"{why}; one of them is cut off or broken" if why else "")
    assert each.fails == bool(why)


@pytest.mark.parametrize(
    ("records", "allocations", "why"),
    [
        (RECORDS, ALLOCATIONS, ""),
        (
            RECORDS + "WORKSPACE,5.000\t,2,NPU:0\n",
            ALLOCATIONS + "aten::conv2d,2048,5.000\t,,,\n",
            "",
        ),
        (
            *(RECORDS, ALLOCATIONS[: ALLOCATIONS.index("cann")]),
            "operator_memory.csv lacks 1 events of memory_record.csv",
        ),
        (
            *(RECORDS, ALLOCATIONS.replace("2.000\t,4.000", "1.000\t,4.000")),
            "operator_memory.csv lacks 1 events of memory_record.csv",
        ),
        (
            *(RECORDS[: RECORDS.rindex("PTA+GE")], ALLOCATIONS),
            "memory_record.csv lacks 1 events of operator_memory.csv or of its own sums",
        ),
        (
            *(RECORDS[: RECORDS.index("PTA,4.000")], ALLOCATIONS),
            "memory_record.csv lacks 2 events of operator_memory.csv or of its own sums",
        ),
    ],
)
def test_records_of_memory_are_the_operators_allocations(
    tmp_path: Path, records: str, allocations: str, why: str
) -> None:
    whole = taken(tmp_path)
    output = next(tmp_path.glob("raw/*/ASCEND_PROFILER_OUTPUT"))
    (output / "memory_record.csv").write_text(records)
    (output / "operator_memory.csv").write_text(allocations)
    assert judged(whole)["operator_memory.csv"].reason == why


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("A,1\nA,2\nB,1\nB,2\n", "holds"),
        ("A,1\nA,2\nB,1\n", "broken"),
        ("A,1\nB,1\nB,2\nC,1\nC,2\n", "does_not_apply"),
        ("A,1\n", "does_not_apply"),
    ],
)
def test_components_of_the_device_are_sampled_equally_often(
    tmp_path: Path, text: str, status: str
) -> None:
    whole = taken(tmp_path)
    output = next(tmp_path.glob("raw/*/ASCEND_PROFILER_OUTPUT"))
    (output / "npu_module_mem.csv").write_text(f"Component,Timestamp(us)\n{text}")
    assert judged(whole)["npu_module_mem.csv"].status == status


@pytest.mark.parametrize(
    ("calls", "status"), [(3, "holds"), (4, "broken"), (2, "does_not_apply"), (0, "does_not_apply")]
)
def test_calls_of_the_timeline_are_counted_in_api_statistic(
    tmp_path: Path, calls: int, status: str
) -> None:
    whole = taken(tmp_path)
    output = next(tmp_path.glob("raw/*/ASCEND_PROFILER_OUTPUT"))
    (output / "api_statistic.csv").write_text("Level,API Name,Count\nacl,a,2\nnode,launch,1\n")
    event_counts = {"CANN": _counted(calls, 0)} if calls else {}
    found = judged(structs.replace(whole, event_counts=event_counts))["api_statistic.csv"]
    assert found.status == status


@pytest.mark.parametrize(
    ("rows", "status"), [("2,1\n2,4\n", "holds"), ("2,1\n", "broken"), ("9,4\n", "broken")]
)
def test_files_of_tasks_reach_to_the_last_kernel(tmp_path: Path, rows: str, status: str) -> None:
    def with_tasks(text: str) -> str:
        head, *lines = text.splitlines(keepends=True)
        return f"Task ID,{head}" + "".join(f"{n},{line}" for n, line in enumerate(lines, 1))

    whole = taken(tmp_path, kernel_details=with_tasks)
    output = next(tmp_path.glob("raw/*/ASCEND_PROFILER_OUTPUT"))
    (output / "l2_cache.csv").write_text(f"Stream Id,Task Id\n{rows}")
    (output / "task_time.csv").write_text(f"stream_id,task_id\n{rows}")
    found = judged(whole)
    assert [found[name].status for name in ("l2_cache.csv", "task_time.csv")] == [status] * 2


def test_without_steps_the_one_row_of_a_file_is_the_whole_capture(tmp_path: Path) -> None:
    def without(text: str) -> str:
        return "".join(line.partition(",")[2] for line in text.splitlines(keepends=True))

    row = ",27.020,27.000,3.000,30.000,10.000\n"
    head = STEPS.splitlines()[0]
    whole = taken(tmp_path, kernel_details=without, step_trace_time=lambda _: f"{head}\n{row}")
    assert broken(whole) == {}
    assert judged(whole)["computing in step_trace_time.csv"].expected == "27,020 ns in 1 steps"
    cut = taken(
        tmp_path / "cut",
        kernel_details=lambda text: without(text[: text.index("2,2,mm")]),
        step_trace_time=lambda _: f"{head}\n{row}",
    )
    assert "computing in step_trace_time.csv" in broken(cut)


@pytest.mark.parametrize(
    ("file", "change", "name", "why"),
    [
        (
            "op_statistic",
            lambda text: text.replace(",22.000,", ",22.004,"),
            "op_statistic.csv",
            (
                "MatMulV2 on AI_CORE: 2 kernels and 22,004 ns in op_statistic.csv,"
                " 2 and 22,000 ns in kernel_details.csv"
            ),
        ),
        (
            "op_statistic",
            lambda text: text.replace("CORE,1,5", "CORE,3,5"),
            "op_statistic.csv",
            (
                "Relu on AI_VECTOR_CORE: 3 kernels and 5,000 ns in op_statistic.csv,"
                " 1 and 5,000 ns in kernel_details.csv"
            ),
        ),
        (
            "step_trace_time",
            lambda text: text[: text.index("2,12.000")],
            "computing in step_trace_time.csv",
            "step 2: Computing is 0 ns in step_trace_time.csv, the kernels' 12,000 ns",
        ),
        (
            "kernel_details",
            lambda text: text.replace("4.000,0.5", "4.000,0.51"),
            "ratios of pipes",
            (
                "mm: aic_mac_time(us) 4.0 of aicore_time(us) 8.0 is not aic_mac_ratio 0.51"
                " (1 of 2 kernels)"
            ),
        ),
    ],
)
def test_a_contradiction_is_named(
    tmp_path: Path, file: str, change: Change, name: str, why: str
) -> None:
    assert broken(taken(tmp_path, **{file: change})) == {name: why}


def test_overlapping_kernels_count_once_in_a_step(tmp_path: Path) -> None:
    """Computing is the time under kernels, not the sum of their durations."""
    found = taken(
        tmp_path,
        kernel_details=lambda text: text.replace("1020.000", "1005.000"),
        step_trace_time=lambda text: text.replace("15.020", "10.000"),
    )
    assert broken(found) == {}


def test_kernels_at_the_border_of_steps_are_no_contradiction(tmp_path: Path) -> None:
    found = judged(
        taken(
            tmp_path,
            step_trace_time=lambda text: text.replace("15.020", "10.000").replace(
                "2,12.000", "2,17.000"
            ),
        )
    )["computing in step_trace_time.csv"]
    assert found.status == "does_not_apply"
    assert found.reason == "kernels at the borders of steps are counted in another step, or in none"


def test_without_files_there_is_nothing_to_compare() -> None:
    found = judged(capture("device=npu", "profiler=level1"))
    assert {each.status for each in found.values()} == {"does_not_apply"}
    assert found["op_statistic.csv"].reason == "there is no op_statistic.csv"


OPERATORS: Columns = {
    "rank": [0] * 4,
    "thread": [7, 7, 7, 8],
    "name": ["outer", "inner", "after", "other"],
    "start_ns": [0, 10, 100, 0],
    "duration_ns": [100, 30, 5, 50],
    "self_ns": [70, 30, 5, 50],
}


def _counted(seen: int, rows: int) -> EventCounts:
    return EventCounts(seen=seen, rows=rows, marks=0, hidden=0)


@pytest.mark.parametrize(
    ("self_ns", "frames", "why"),
    [
        ([70, 30, 5, 50], 0, ""),
        (
            [69, 30, 5, 50],
            0,
            "thread 7: self times are 104 ns, and the outermost operators took 105 ns",
        ),
        ([50, 30, 5, 50], 3, ""),
        (
            [99, 30, 5, 50],
            3,
            "thread 7: self times are 134 ns, and the outermost operators took 105 ns",
        ),
    ],
)
def test_self_times_add_up_to_the_outermost_operators(
    self_ns: list[object], frames: int, why: str
) -> None:
    bare = capture(operators={**OPERATORS, "self_ns": self_ns})
    event_counts = {"cpu_op": _counted(4, 4), "python_function": _counted(frames, 0)}
    found = judged(structs.replace(bare, event_counts=event_counts))
    assert found["self times of operators"].reason == why
    assert found["rows of the tables"].status == "holds"


def test_rows_that_were_lost_are_counted() -> None:
    bare = capture(operators=OPERATORS)
    lost = structs.replace(bare, event_counts={"cpu_op": _counted(5, 5)})
    found = judged(lost)["rows of the tables"]
    assert (found.expected, found.actual, found.difference) == ("5 rows", "4 rows", 0.2)
    assert found.fails
