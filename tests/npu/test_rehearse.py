"""``harness rehearse``, as a newcomer types it: the calls, the files, the delivery, and what a
fault of CANN becomes."""

from __future__ import annotations

import csv
import os
import subprocess
from pathlib import Path

import polars as pl
import pytest

from harness.emulator.build import Emulator
from tests.conftest import LIMIT_S, ROOT, TINY_MLP, Run, command, environment, run_harness
from tests.e2e.test_screen import HINT, ONE_SCREEN
from tests.npu.conftest import OnNpu
from tests.npu.rehearsing import calls, kernel_details, statuses, undelivered
from tests.support.terminals import on_terminal


@pytest.fixture(autouse=True)
def built(emulator: Emulator) -> Emulator:
    """Compile it once, outside of the runs."""
    return emulator


@pytest.fixture(scope="module")
def level1(tmp_path_factory: pytest.TempPathFactory) -> Run:
    words = ("rehearse", "profiler=level1", *TINY_MLP, "report.detail=full")
    return run_harness(tmp_path_factory.mktemp("level1"), *words)


def test_level1_delivers_shapes_and_counters(level1: Run) -> None:
    assert level1.code == 0, level1.err
    assert statuses(level1.record) == dict.fromkeys(
        (
            "profiler.activities",
            "profiler.schedule",
            "profiler.record_shapes",
            "profiler.experimental.profiler_level",
            "profiler.experimental.aic_metrics",
            "profiler.experimental.export_type",
            "read",
        ),
        "delivered",
    )
    kernels = level1.table("kernels")
    assert kernels.height == len(kernel_details(level1)) == 57
    assert kernels["input_shapes"].is_not_null().all()
    assert kernels["aic_mac_ratio"].is_not_null().all()


def test_every_step_has_the_same_kernels(level1: Run) -> None:
    """What a step launched is done before the next begins: no warm-up kernel leaks in."""
    kernels = level1.table("kernels")
    assert kernels["step"].value_counts().sort("step").rows() == [(1, 19), (2, 19), (3, 19)]
    one, *others = (
        kernels.filter(pl.col("step") == step).sort("start_ns")["name"].to_list()
        for step in (1, 2, 3)
    )
    assert others == [one, one]
    assert kernels["stage"].value_counts().sort("stage").rows() == [
        ("backward", 30),
        ("forward", 18),
        ("optimizer", 9),
    ]
    steps = level1.table("steps").filter(pl.col("phase") == "active")
    summed = kernels.group_by("step").agg(pl.col("duration_ns").sum()).sort("step")
    # step_trace_time.csv is some 20 ns off.
    for computed, total in zip(steps["compute_ns"], summed["duration_ns"], strict=True):
        assert computed == pytest.approx(total, abs=100)


def test_capture_agrees_with_itself(level1: Run) -> None:
    found = {each.name: each for each in level1.record.consistency}
    applies = {name for name, each in found.items() if each.status != "does_not_apply"}
    assert found.keys() - applies == {
        *("communication.json", "operator_memory.csv", "npu_module_mem.csv"),
        *("l2_cache.csv", "soc_pmu.csv", "step times in analysis.db"),
    }
    for name in applies:
        each = found[name]
        assert each.status == "holds", each.reason
        assert each.difference is not None
        # Steps of some microseconds make 20 ns much, relatively.
        assert each.difference < (1e-2 if "step_trace_time" in name else 1e-5)
    assert "  10 consistency checks hold, 6 not applicable" in level1.out


def test_steps_are_broken_down(level1: Run) -> None:
    table = pl.read_parquet(level1.latest / "analyses" / "step_breakdown.parquet")
    assert table["step"].to_list() == [1, 2, 3]
    spans = table["compute_ns"] + table["communication_ns"] + table["idle_ns"]
    assert spans.to_list() == table["span_ns"].to_list()
    assert (table["wall_ns"] > table["compute_ns"]).all()
    assert "Steps on the device (emulated: invented)" in level1.out


SLOW = """
import torch


def factory(device, dtype, seed):
    matrix = torch.ones(256, 256, device=device)

    def step():
        for _ in range(20):
            matrix @ matrix

    return step
"""


def test_no_kernel_of_the_warm_up_leaks_into_the_window(tmp_path: Path) -> None:
    """The host is far ahead of the device at the end of each step, unless it waits."""
    (tmp_path / "slow_steps.py").write_text(SLOW, encoding="utf-8")
    words = ["workload=callable", "workload.target=slow_steps:factory"]
    run = run_harness(tmp_path, "rehearse", *words)
    assert run.code == 0, run.out + run.err
    counts = run.table("kernels")["step"].value_counts().sort("step").rows()
    assert counts == [(1, 20), (2, 20), (3, 20)]
    assert len({row["Step Id"] for row in kernel_details(run)}) == 3


def test_kernels_are_linked_to_their_operators(level1: Run) -> None:
    linked = level1.table("kernels").join(
        level1.table("operators"), left_on="operator", right_on="id", suffix="_of"
    )
    assert linked.height == 57
    products = linked.filter(pl.col("type") == "MatMulV2")
    assert set(products["name_of"]) == {"aten::addmm", "aten::mm"}
    assert (products["stage"] == products["stage_of"]).all()


def test_the_calls_are_shown_in_words(level1: Run) -> None:
    words = " ".join(level1.out.split())
    assert (
        "level Level1, metrics PipeUtilization (1), device 0, mask 0x27 = ACL_API | TASK_TIME |"
        " AICORE_METRICS | HCCL_TRACE"
    ) in words
    assert "kernel_details.csv one row a kernel" in words


def test_a_rehearsal_is_one_screen(tmp_path: Path) -> None:
    screen = on_terminal(tmp_path, "rehearse", "profiler=level1")
    assert screen.code == 0, screen.text
    assert len(screen.lines) <= ONE_SCREEN, "\n".join(screen.lines)
    assert "  EMULATED device: every time and counter is invented" in screen.lines
    assert "  everything requested was delivered: 7 of 7 (exit code 0)" in screen.lines
    assert "Kernels by device time, all recorded steps (emulated: invented)" in screen.lines
    assert screen.lines[-1] == HINT


def test_everything_that_shows_a_figure_says_emulated(level1: Run) -> None:
    assert level1.record.emulated
    summary = (level1.latest / "summary.md").read_text(encoding="utf-8")
    assert "EMULATED device: every time and counter is invented" in summary
    titles = [line for line in summary.splitlines() if line.startswith("## ")]
    plain = {"## ACL", "## Fil", "## Del", "## Eve", "## Boo"}
    assert all("(emulated: invented)" in title or title[:6] in plain for title in titles)
    assert "the emulator computed all 57 operators" in summary


def test_the_summary_says_what_the_emulator_did_not_compute(tmp_path: Path) -> None:
    words = ["workload=conv", "workload.batch=1", "workload.image_size=8"]
    run = run_harness(tmp_path, "rehearse", *words, "profiler.schedule.active=1")
    assert run.code == 0, run.out + run.err
    emulation = run.record.emulation
    assert emulation is not None
    assert emulation.not_computed["aclnnConvolution"] > 0
    zeros = sum(emulation.not_computed.values())
    assert zeros == emulation.operators_not_computed
    total = run.table("kernels").height
    assert zeros + emulation.operators_computed == total
    assert f"the emulator did not compute {zeros:,} of {total:,} operators" in " ".join(
        run.out.split()
    )


def test_strictly_an_operator_that_is_not_computed_is_an_error(tmp_path: Path) -> None:
    words = ["workload=conv", "workload.batch=1", "workload.image_size=8"]
    run = run_harness(tmp_path, "rehearse", *words, "rehearsal.strict=true")
    assert run.code == 1
    assert "emulated: aclnnConvolution is not computed" in run.err


def test_nothing_is_left_in_the_folder_where_it_was_typed(level1: Run) -> None:
    assert [path.name for path in level1.folder.iterdir()] == ["outputs"]


def test_level0_with_counters_is_refused_with_the_fix(tmp_path: Path) -> None:
    run = run_harness(
        tmp_path,
        "rehearse",
        "profiler=level0",
        "profiler.experimental.aic_metrics=PipeUtilization",
    )
    assert run.code == 2
    assert "profiler_level=Level0 collects no AI-core counters" in run.err
    assert "fix: profiler.experimental.profiler_level=Level1" in run.err
    assert list(tmp_path.iterdir()) == []


def test_sglangs_profile_is_what_it_means(tmp_path: Path) -> None:
    """Shapes, Level1 with PipeUtilization, Text; nothing else."""
    run = run_harness(tmp_path, "rehearse", "profiler=sglang", *TINY_MLP)
    assert run.code == 0, run.err
    (created,) = (call for call in calls(run) if call["call"] == "aclprofCreateConfig")
    assert (created["aicore_metrics"], created["data_type_config"]) == (1, 0x27)
    assert [call["call"] for call in calls(run)] == [
        "aclprofInit",
        "aclprofGetSupportedFeatures",
        "aclprofCreateConfig",
        "aclprofWarmup",
        "aclprofStart",
        "aclprofRegisterDeviceCallback",
        "aclprofStop",
        "aclprofDestroyConfig",
        "aclprofFinalize",
    ]
    rows = kernel_details(run)
    assert len(rows) == 57
    assert all(row["Input Shapes"] not in {"", "N/A"} for row in rows)
    assert all(row["aic_mac_ratio"] not in {"", "N/A"} for row in rows)
    assert list(run.latest.glob("raw/*_ascend_pt/PROF_*/mindstudio_profiler_output"))
    assert run.table("operators")["stack_id"].is_not_null().any()


BARE = """
import sys, torch, torch_npu
from torch_npu import profiler
model = torch.nn.Linear(8, 8).npu()
batch = torch.ones(4, 8).npu()
with profiler.profile(
    record_shapes=True,
    with_stack=True,
    schedule=profiler.schedule(wait=0, warmup=1, active=1, repeat=1),
    on_trace_ready=profiler.tensorboard_trace_handler(sys.argv[1]),
) as running:
    for _ in range(2):
        model(batch)
        torch_npu.npu.synchronize()
        running.step()
"""


@pytest.mark.parametrize("features", ["ATTR,MemoryAccess", "ATTR,MemoryAccess,AICORE_SHAPE"])
def test_torch_npus_own_defaults_lose_what_the_profile_delivers(
    on_npu: OnNpu, tmp_path: Path, features: str
) -> None:
    """The bug that this project starts from: shapes are asked for, and no level that has them."""
    printed = on_npu(BARE, str(tmp_path / "bare"), HARNESS_EMULATOR_FEATURES=features)
    assert "reset aic metrics to None" in printed
    (path,) = tmp_path.glob("bare/*_ascend_pt/ASCEND_PROFILER_OUTPUT/kernel_details.csv")
    with path.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert rows
    assert {row["Type"] for row in rows} == {"N/A"}
    assert not any(name.startswith(("aic", "aiv")) for name in rows[0])
    shapes = {row.get("Input Shapes", "N/A") for row in rows}
    assert (shapes == {"N/A"}) == ("AICORE_SHAPE" not in features)


@pytest.mark.parametrize(
    "words",
    [
        ["workload=matmul", "workload.shapes=[[8,8,8]]"],
        ["workload=attention", "workload.sequence=8"],
        ["workload=transformer", "workload.layers=1", "workload.sequence=8"],
        ["workload=transformer", "workload.mode=generate", "workload.layers=1"],
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_every_workload_runs_through(tmp_path: Path, words: list[str]) -> None:
    run = run_harness(tmp_path, "rehearse", *words, "profiler.schedule.active=1")
    assert run.code == 0, run.out + run.err


def test_markers_are_all_that_level_none_records(tmp_path: Path) -> None:
    run = run_harness(tmp_path, "rehearse", "profiler=markers", *TINY_MLP)
    assert run.code == 0, run.out + run.err
    assert run.table("kernels").is_empty()
    assert statuses(run.record)["profiler.experimental.mstx"] == "delivered"


@pytest.mark.parametrize("profile", ["default", "level0", "level2", "memory", "stacks"])
def test_every_profile_is_delivered(tmp_path: Path, profile: str) -> None:
    run = run_harness(tmp_path, "rehearse", f"profiler={profile}", *TINY_MLP)
    assert run.code == 0, run.out + run.err


def test_every_setting_at_once_is_delivered(tmp_path: Path) -> None:
    asked = {
        "export_type": "[Text,Db]",
        "host_sys": "[CPU,MEM]",
        "gc_detect_threshold": "0",
        **dict.fromkeys(
            ("l2_cache", "mstx", "record_op_args", "op_attr", "sys_io", "sys_interconnection"),
            "true",
        ),
    }
    words = [f"profiler.experimental.{name}={value}" for name, value in asked.items()]
    run = run_harness(tmp_path, "rehearse", "profiler=level2", *words, *TINY_MLP)
    assert run.code == 0, run.out + run.err
    assert undelivered(run.record).keys() <= {"profiler.experimental.gc_detect_threshold"}


def test_a_database_alone_is_enough(tmp_path: Path) -> None:
    run = run_harness(tmp_path, "rehearse", "profiler.experimental.export_type=[Db]", *TINY_MLP)
    assert run.code == 0, run.out + run.err
    assert run.table("kernels")["input_shapes"].is_not_null().all()


def test_the_second_npu_is_the_one_that_was_asked_for(tmp_path: Path) -> None:
    run = run_harness(tmp_path, "rehearse", "device.index=1", *TINY_MLP)
    assert run.code == 0, run.out + run.err
    assert set(run.table("kernels")["device"]) == {1}


def test_several_cycles_are_all_collected(tmp_path: Path) -> None:
    run = run_harness(tmp_path, "rehearse", "profiler.schedule.repeat=2", *TINY_MLP)
    assert run.code == 0, run.out + run.err
    assert len(list(run.latest.glob("raw/*_ascend_pt"))) == 2
    assert set(run.table("kernels")["step"]) == {1, 2, 3, 5, 6, 7}
    operators = run.table("operators")
    assert operators["id"].to_list() == list(range(operators.height))


def run_with_cann(folder: Path, cann: dict[str, str], *words: str) -> Run:
    """Run the plain command on a machine whose CANN is the emulator."""
    done = subprocess.run(
        command("device=npu", "profiler=level1", *TINY_MLP, *words),
        cwd=folder,
        env=cann,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    return Run(done.returncode, done.stdout, done.stderr, folder)


def test_device_npu_itself_needs_nothing_more_than_cann(emulator: Emulator, tmp_path: Path) -> None:
    """It says what it ran on, although nobody asked for an emulator."""
    run = run_with_cann(tmp_path, emulator.environment(environment()))
    assert run.code == 0, run.out + run.err
    assert run.record.emulated
    assert not (run.latest / "acl_calls.jsonl").exists()


def test_what_cannot_be_analysed_here_stays_pending(emulator: Emulator, tmp_path: Path) -> None:
    cann = emulator.environment(environment())
    run = run_with_cann(tmp_path, cann, "profiler.analyse=later")
    assert run.code == 0, run.out + run.err
    read = run_harness(tmp_path, "read", "outputs/latest")
    assert read.code == 4
    assert "msprof: not on PATH" in read.err
    assert read.record == run.record


def test_a_variable_that_switches_the_profiler_off_is_exit_4(
    emulator: Emulator, tmp_path: Path
) -> None:
    cann = emulator.environment(environment()) | {"PROFILING_MODE": "dynamic"}
    run = run_with_cann(tmp_path, cann)
    assert run.code == 4
    assert "to do: unset PROFILING_MODE" in run.err
    assert list(tmp_path.iterdir()) == []


def test_without_a_compiler_it_is_exit_4_and_says_how_to_get_one(tmp_path: Path) -> None:
    empty = {"PATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = subprocess.run(
        command("rehearse"),
        cwd=tmp_path,
        env=environment() | empty,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 4
    assert "install gcc" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def without_torch_npu(tmp_path: Path) -> Path:
    """A folder of all installed packages but torch_npu."""
    import torch

    packages = Path(torch.__file__).parents[1]
    farm = tmp_path / "packages"
    farm.mkdir()
    for path in packages.iterdir():
        if not path.name.startswith("torch_npu"):
            (farm / path.name).symlink_to(path)
    return farm


@pytest.mark.parametrize("words", [["rehearse"], ["device=npu"]], ids=" ".join)
def test_without_torch_npu_it_is_exit_4_and_says_how_to_get_it(
    tmp_path: Path, without_torch_npu: Path, words: list[str]
) -> None:
    code = f"""
import sys
sys.path[:0] = [{str(ROOT)!r}, {str(without_torch_npu)!r}]
from harness.cli.main import main
main()
"""
    start = [command()[0], "-S", "-c", code]
    done = subprocess.run(
        [*start, *words],
        cwd=tmp_path,
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 4, done.stderr
    assert "pip install torch-npu==2.13.0" in done.stderr
