"""Comparisons where captures are of several devices, replay graphs, or name nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec import structs

from tests.support.captures import capture
from tests.support.consistent_captures import judged, taken


def test_a_range_without_a_name_is_one_in_both_files(tmp_path: Path) -> None:
    whole = taken(tmp_path)
    details = next(tmp_path.glob("raw/*/ASCEND_PROFILER_OUTPUT")) / "operator_details.csv"
    details.write_text("Name,Call Stack\nmm,\n,\n")
    given = capture(operators={"name": ["mm", ""]}).tables["operators"]
    found = judged(structs.replace(whole, tables={**whole.tables, "operators": given}))
    assert found["rows of operator_details.csv"].status == "holds"


def test_tasks_that_come_again_do_not_hide_a_cut(tmp_path: Path) -> None:
    def replayed(text: str) -> str:
        head, *lines = text.splitlines(keepends=True)
        return f"Task ID,{head}" + "".join(f"7,{line}" for line in lines)

    whole = taken(tmp_path, kernel_details=replayed)
    output = next(tmp_path.glob("raw/*/ASCEND_PROFILER_OUTPUT"))
    rows = ("2,7\n" * 3, "2,7\n", "")
    found = []
    for text in rows:
        (output / "task_time.csv").write_text(f"stream_id,task_id\n{text}")
        found.append(judged(whole)["task_time.csv"])
    assert [each.status for each in found] == ["holds", "does_not_apply", "broken"]
    assert (
        found[1].reason
        == "3 kernels share the stream and task of the last one, and the file has 1 of them"
    )


@pytest.mark.parametrize("lines", [None, -1])
def test_without_steps_there_is_a_row_for_each_device(tmp_path: Path, lines: int | None) -> None:
    def of_two(text: str) -> str:
        head, *rows = (line.partition(",")[2] for line in text.splitlines(keepends=True))
        devices = [f"Device_id,{head}", *(f"{n},{row}" for n in (0, 1) for row in rows)]
        return "".join(devices[:lines])

    steps = "Device_id,Step,Computing,Communication\n0,,27.000,30.000\n1,,27.000,30.000\n"
    given = taken(tmp_path, kernel_details=of_two, step_trace_time=lambda _: steps)
    computing = judged(given)["computing in step_trace_time.csv"]
    assert computing.status == ("broken" if lines else "holds")
    assert computing.expected == "54,000 ns in 1 steps"
