"""The readers on captures that the real torch_npu made over the emulator."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl
import pytest

from harness.emulator.build import Emulator
from harness.emulator.columns import GROUPS, counter_header
from harness.pipeline.reading import read_capture
from harness.readers import READERS
from harness.readers.ascend import folder as ascend
from harness.readers.ascend import mstx
from harness.readers.ascend.database import AscendDb
from harness.readers.base import ReadContext, ReadResult
from tests.npu.conftest import run_on_npu

PIPE = next(number for number, group in GROUPS.items() if group.name == "PipeUtilization")
KERNELS_PER_STEP = 17
STEPS = (40, 41)

SCRIPT = """
import sys
import torch, torch_npu
from torch_npu import profiler
from torch.profiler import record_function

layers = torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 16)
model = torch.nn.Sequential(*layers).npu()
batch = torch.randn(32, 64).npu()
both, text = [profiler.ExportType.Text, profiler.ExportType.Db], [profiler.ExportType.Text]
levels = {"Level1": (profiler.AiCMetrics.PipeUtilization, both),
          "Level0": (profiler.AiCMetrics.AiCoreNone, text)}
for level, (metrics, exports) in levels.items():
    settings = profiler._ExperimentalConfig(
        export_type=exports, aic_metrics=metrics, mstx=True,
        profiler_level=getattr(profiler.ProfilerLevel, level))
    with profiler.profile(
        activities=[profiler.ProfilerActivity.CPU, profiler.ProfilerActivity.NPU],
        schedule=profiler.schedule(wait=0, warmup=1, active=2, repeat=1),
        on_trace_ready=profiler.tensorboard_trace_handler(sys.argv[1] + "/" + level),
        experimental_config=settings, record_shapes=True, profile_memory=True,
        with_stack=True, with_modules=True,
    ) as running:
        for step in (39, 40, 41):
            with record_function(f"harness.step#{step}"):
                with record_function("harness.stage#forward"):
                    loss = torch.nn.functional.relu(model(batch)).sum()
                with record_function("harness.stage#backward"):
                    loss.backward()
                torch_npu.npu.synchronize()
            running.step()
"""


@pytest.fixture(scope="module")
def captures(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("read")
    run_on_npu(emulator, root, SCRIPT, str(root))
    return {level: ascend.captures(root / level)[0] for level in ("Level1", "Level0")}


@pytest.fixture(scope="module")
def text(captures: dict[str, Path]) -> ReadResult:
    reader = next(each for each in READERS if each.recognises(captures["Level1"]))
    assert reader.name == "torch_npu text export"
    return reader.read(captures["Level1"], ReadContext())


@pytest.fixture(scope="module")
def database(captures: dict[str, Path]) -> ReadResult:
    return AscendDb().read(captures["Level1"], ReadContext())


def launched(capture: Path) -> list[tuple[int, int]]:
    file = next(capture.glob("PROF_*/emulated/device_0.jsonl"))
    found = [json.loads(line) for line in file.read_text().splitlines()]
    return [(each["start_ns"], each["host_start_ns"]) for each in found]


def test_every_launch_is_a_kernel_of_the_step_and_stage_that_held_it(
    captures: dict[str, Path], text: ReadResult
) -> None:
    kernels = text.frames["kernels"]
    assert kernels["start_ns"].to_list() == [start for start, _ in launched(captures["Level1"])]
    counts = kernels.group_by("step", maintain_order=True).len().rows()
    assert counts == [(step, KERNELS_PER_STEP) for step in STEPS]
    assert set(kernels["stage"]) == {"forward", "backward"}
    assert kernels["correlation"].to_list() == list(range(1, 1 + kernels.height))
    assert set(kernels["device"]) == {0}
    assert (
        text.event_counts["kernel"].rows == text.event_counts["kernel"].seen == 2 * KERNELS_PER_STEP
    )


def test_every_kernel_has_an_operator_with_shapes_stack_and_its_time(text: ReadResult) -> None:
    kernels, operators = text.frames["kernels"], text.frames["operators"]
    found = kernels.join(operators, left_on="operator", right_on="id", suffix="_of")
    assert found.height == kernels.height
    assert found["name_of"].str.starts_with("aten::").all()
    first = found.row(0, named=True)
    assert (first["name_of"], first["type"]) == ("aten::addmm", "MatMulV2")
    assert first["input_shapes"] == [[128], [32, 64], [64, 128]]
    assert first["input_shapes_of"] == [[128], [32, 64], [64, 128], [], []]
    assert first["input_dtypes_of"] == ["float", "float", "float", "Scalar", "Scalar"]
    assert operators["device_ns"].sum() == kernels["duration_ns"].sum()
    stacks = text.frames["stacks"].join(found, on="stack_id", how="semi")
    assert any("linear.py" in stack[0] for stack in stacks["frames"])


def test_counters_are_those_of_the_group(text: ReadResult) -> None:
    header = list(counter_header(PIPE))
    assert text.frames["kernels"].columns[-len(header) :] == header
    assert text.frames["kernels"].select(header).null_count().row(0) == (0,) * len(header)
    assert not text.notes


def test_self_times_agree_with_those_of_torch_npu(
    captures: dict[str, Path], text: ReadResult
) -> None:
    details = ascend.table(captures["Level1"], "operator_details.csv")
    assert details is not None
    operators = text.frames["operators"]
    total = pl.col("Host Total Duration(us)").cast(pl.Decimal(38, 3)).sum()
    marks = details["Name"].str.starts_with("harness.")
    assert details.filter(~marks).select(total * 1000).item() == operators["duration_ns"].sum()
    # torch_npu does not take Python's functions for children; few lie within operators.
    assert (operators["self_ns"] >= 0).all()


OF_THE_DATABASE = {"attrInfo"}
OF_THE_TEXT = {
    *("Communication(Not Overlapped)", "Preparing", "Stage", "Bubble"),
    "Communication(Not Overlapped and Exclude Receive)",
}


@pytest.mark.parametrize("name", ["kernels", "operators", "stacks", "memory", "steps"])
def test_text_and_database_of_one_run_give_equal_tables(
    text: ReadResult, database: ReadResult, name: str
) -> None:
    one, other = text.frames[name], database.frames[name]
    assert set(one.columns) - set(other.columns) <= OF_THE_TEXT
    assert set(other.columns) - set(one.columns) <= OF_THE_DATABASE
    shared = [column for column in one.columns if column in other.columns]
    # torch_npu begins the free time of the first step elsewhere in its database.
    shared = [column for column in shared if column != "idle_ns"]
    assert one.height
    for column in shared:
        assert one[column].to_list() == other[column].to_list(), column
        assert one[column].dtype == other[column].dtype, column


def test_both_count_the_same_events(text: ReadResult, database: ReadResult) -> None:
    for kind in ("cpu_op", "python_function", "kernel", "operator_memory"):
        assert text.event_counts[kind] == database.event_counts[kind], kind


def test_level0_has_kernels_with_operators_but_no_types(captures: dict[str, Path]) -> None:
    reading = READERS[0].read(captures["Level0"], ReadContext(first_operator=1000))
    kernels = reading.frames["kernels"]
    assert kernels.height == 2 * KERNELS_PER_STEP
    assert kernels["operator"].null_count() == 0
    assert kernels["operator"].min() >= 1000  # type: ignore[operator]
    assert kernels["type"].null_count() == kernels["stream"].null_count() == kernels.height
    assert [n for n, _ in kernels.group_by("step", maintain_order=True)] == [(40,), (41,)]
    assert kernels["correlation"].null_count() == 0


def test_the_folder_tells_its_settings_marks_and_origin(captures: dict[str, Path]) -> None:
    capture = captures["Level1"]
    info = ascend.profiler_info(capture)
    assert info is not None
    assert sorted(info["profiler.activities"]) == ["device", "host"]
    assert info["profiler.schedule.active"] == 2
    assert info["profiler.with_stack"] is True
    assert info["profiler.experimental.profiler_level"] == "Level1"
    assert info["profiler.experimental.aic_metrics"] == "PipeUtilization"
    # torch_npu keeps it as a set.
    assert sorted(info["profiler.experimental.export_type"]) == ["Db", "Text"]
    assert ascend.emulated(capture)
    marks = ascend.marks(capture)
    assert set(marks["name"]) >= {"ProfilerStep#1", "ProfilerStep#2"}
    file = ascend.database(capture)
    assert file is not None
    assert marks.equals(mstx.marks(file))


def statuses(capture: Path, out: Path) -> dict[str, str]:
    record = read_capture(capture, out).record
    assert (record.emulated, record.device, record.status) == (True, "npu", "ok")
    assert all(": cut off" not in note for note in record.notes)
    return {item.setting.rpartition(".")[2]: item.status for item in record.delivery}


@pytest.mark.parametrize("exported", ["text", "database"])
def test_a_capture_of_another_program_is_judged_by_its_own_record(
    captures: dict[str, Path], tmp_path: Path, exported: str
) -> None:
    capture = tmp_path / captures["Level1"].name
    shutil.copytree(captures["Level1"], capture, symlinks=True)
    if exported == "database":
        for name in ("trace_view.json", "kernel_details.csv"):
            (capture / ascend.OUTPUT / name).unlink()
    found = statuses(capture, tmp_path / "out")
    for setting in ("activities", "record_shapes", "with_stack", "aic_metrics", "profiler_level"):
        assert found[setting] == "delivered", setting
    assert found["with_flops"] == "not_requested"
    # Both were asked for; here the text is deleted.
    assert found["export_type"] == ("delivered" if exported == "text" else "partial")


def test_what_level0_was_not_asked_for_is_said(captures: dict[str, Path], tmp_path: Path) -> None:
    found = statuses(captures["Level0"], tmp_path / "out")
    assert (found["profiler_level"], found["aic_metrics"]) == ("delivered", "not_requested")
