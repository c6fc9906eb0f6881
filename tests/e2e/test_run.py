"""One run, as a user types it: what is printed, what lies on disk, what the exit code says."""

from __future__ import annotations

import gzip
import json

import polars as pl

from harness import tables
from tests.conftest import TINY_MATMUL, TINY_MLP, Harness


def test_without_arguments_the_default_workload_is_profiled(harness: Harness) -> None:
    run = harness()
    assert run.code == 0, run.err
    record = run.record
    assert (record.status, record.verdict, record.exit_code) == ("ok", "delivered", 0)
    assert record.requested["workload.name"] == "transformer"
    assert not record.emulated
    assert "everything requested was delivered" in run.out
    assert "aten::mm" in run.out
    summary = (run.latest / "summary.md").read_text(encoding="utf-8")
    assert "| aten::" in summary
    assert "[512,128] [128,512]" in summary
    assert {item.setting: item.status for item in record.delivery} == {
        "profiler.activities": "delivered",
        "profiler.schedule": "delivered",
        "profiler.record_shapes": "delivered",
    }


def test_run_folder_has_every_table_with_its_schema(shared_run: Harness) -> None:
    run = shared_run(*TINY_MLP)
    assert run.code == 0, run.err
    for name, schema in tables.SCHEMAS.items():
        found = run.table(name).schema
        assert {column: found[column] for column in schema} == dict(schema)
    assert set(run.table("operators")["step"].drop_nulls().unique()) == {1, 2, 3}
    trace = json.loads(gzip.decompress((run.latest / "raw" / "trace.json.gz").read_bytes()))
    assert any(event.get("name") == "aten::mm" for event in trace["traceEvents"])
    assert (run.latest / ".hydra" / "config.yaml").exists()


def test_analyses_are_kept_and_the_capture_agrees_with_itself(shared_run: Harness) -> None:
    run = shared_run(*TINY_MLP)
    assert run.code == 0, run.err
    folder = run.latest / "analyses"
    # Of a CPU: no kernels, no memory.
    assert sorted(path.name for path in folder.iterdir()) == [
        "hot_operators.parquet",
        "shape_coverage.parquet",
        "stages.parquet",
        "wall_time.parquet",
        "wall_time_operators.parquet",
    ]
    assert pl.read_parquet(folder / "hot_operators.parquet")["share"].sum() > 0.999
    assert "analyses/" in run.record.files
    applies = {e.name: e for e in run.record.consistency if e.status != "does_not_apply"}
    assert {name: (each.status, each.difference) for name, each in applies.items()} == {
        "rows of the tables": ("holds", 0.0),
        "self times of operators": ("holds", 0.0),
    }
    summary = (run.latest / "summary.md").read_text(encoding="utf-8")
    assert "- 2 consistency checks hold, 14 not applicable" in summary


def test_steps_are_told_by_phase(harness: Harness) -> None:
    run = harness(
        *TINY_MATMUL,
        "workload.warmup_steps=1",
        "profiler.baseline.steps=2",
        "profiler.schedule.wait=1",
        "profiler.schedule.repeat=2",
        "profiler.schedule.active=2",
    )
    assert run.code == 0, run.err
    steps = run.table("steps")
    cycle = ["wait", "profiler_warmup", "active", "active"]
    assert steps["phase"].to_list() == ["warmup", "baseline", "baseline", *cycle, *cycle]
    assert steps["step"].to_list() == [None, None, None, *range(8)]
    recorded = run.table("operators")["step"].drop_nulls().unique().sort().to_list()
    assert recorded == [2, 3, 6, 7], "every cycle is collected"
    assert sorted(path.name for path in (run.latest / "raw").iterdir()) == [
        "trace_0.json.gz",
        "trace_1.json.gz",
    ]
    operators = run.table("operators")
    assert operators["id"].to_list() == list(range(operators.height))


def test_stages_are_told_for_each_operator(shared_run: Harness) -> None:
    operators = shared_run(*TINY_MLP).table("operators")
    per_stage = operators.group_by("stage").len()
    assert {"forward", "backward", "optimizer"} <= set(per_stage["stage"])
    linear = operators.filter(pl.col("name") == "aten::addmm")
    assert set(linear["stage"]) == {"forward"}


def test_two_runs_give_the_same_operators_shapes_and_counts(harness: Harness) -> None:
    def counted() -> list[tuple[object, ...]]:
        run = harness("profiler=level1", "workload=transformer", "workload.layers=1")
        assert run.code == 0, run.err
        kinds = ("step", "stage", "name", "input_shapes", "input_dtypes", "flops")
        return sorted(run.table("operators").group_by(kinds).len().rows(), key=str)

    first = counted()
    assert len(first) > 100
    assert first == counted()


def test_everything_that_level2_asks_for_arrives(harness: Harness) -> None:
    run = harness(*TINY_MLP, "profiler=level2", "profiler.memory_timeline=true")
    assert run.code == 0, run.err
    assert {item.setting for item in run.record.delivery if item.status == "delivered"} == {
        "profiler.activities",
        "profiler.schedule",
        "profiler.record_shapes",
        "profiler.with_stack",
        "profiler.profile_memory",
        "profiler.memory_timeline",
    }
    frames = run.table("stacks")["frames"].explode().to_list()
    assert any("mlp.py" in frame for frame in frames)
    memory = run.table("memory")
    assert memory["total_allocated"].is_not_null().all()


def test_flops_are_those_of_the_formula(harness: Harness) -> None:
    run = harness("workload=matmul", "workload.shapes=[[8,16,32]]", "profiler=level1")
    assert run.code == 0, run.err
    flops = run.table("operators").filter(pl.col("flops").is_not_null())["flops"].unique()
    assert flops.to_list() == [2 * 8 * 16 * 32]


def test_inline_runs_in_this_process_alike(harness: Harness) -> None:
    run = harness(*TINY_MATMUL, "execution=inline")
    assert run.code == 0, run.err
    assert run.record.verdict == "delivered"
    assert run.table("operators").height > 0


def test_piped_output_has_no_escape_codes(shared_run: Harness) -> None:
    run = shared_run(*TINY_MLP)
    assert "\x1b" not in run.out + run.err
    assert "recording (8 of 11 steps done)" in run.err


def test_torchs_chatter_is_in_the_log_only(shared_run: Harness) -> None:
    run = shared_run(*TINY_MLP)
    assert "USDT:" not in run.err
    assert "USDT:" in (run.latest / "harness.log").read_text(encoding="utf-8")


def test_seed_reaches_torch_and_the_factory(harness: Harness, user_module: str) -> None:
    run = harness("workload=callable", f"workload.target={user_module}:prints_seed", "seed=41")
    assert "given 41, torch has 41" in run.err


def test_folder_is_found_again_by_the_link(harness: Harness) -> None:
    first = harness(*TINY_MATMUL).latest
    second = harness(*TINY_MATMUL).latest
    assert first != second
    assert (first / "run.json").exists()


def test_cuda_without_cuda_is_exit_4_and_says_what_is_missing(harness: Harness) -> None:
    run = harness(*TINY_MLP, "device=cuda")
    assert run.code == 4
    assert "was built without CUDA" in run.out or "no usable NVIDIA driver" in run.out
    assert run.record.exit_code == 4


def test_npu_is_exit_4_before_anything_is_written(harness: Harness) -> None:
    run = harness(*TINY_MLP, "device=npu")
    assert run.code == 4
    assert "python -m harness doctor device=npu" in run.err
    assert "python -m harness rehearse" in run.err
    assert not (run.folder / "outputs").exists()


def test_environment_of_the_device_reaches_the_child(harness: Harness, user_module: str) -> None:
    run = harness(
        "workload=callable",
        f"workload.target={user_module}:prints_environment",
        "device.environment.HARNESS_TEST=seven",
    )
    assert "HARNESS_TEST=seven AUTOLOAD=0" in run.err


def test_unprofiled_steps_lie_around_the_cycles(harness: Harness) -> None:
    run = harness(
        *TINY_MATMUL,
        "workload.warmup_steps=1",
        *("profiler.baseline.steps=2", "profiler.baseline.place=around"),
        *("profiler.baseline.until=stable", "profiler.baseline.precision=1"),
        *("profiler.baseline.max_steps=6", "profiler.schedule.active=2"),
        *("profiler.schedule.wait=1", "profiler.schedule.repeat=2"),
    )
    assert run.code == 0, run.err
    unprofiled, cycle = ["baseline"] * 2, ["wait", "profiler_warmup", "active", "active"]
    phases = [*["baseline"] * 6, *cycle, *unprofiled, *cycle, *unprofiled]
    assert run.table("steps")["phase"].to_list() == ["warmup", *phases]
    assert [part.steps for part in run.record.timing["baseline"].parts] == [6, 2, 2]
    phases = [load.phase for load in run.record.machine_load]
    assert phases == ["baseline", "active", "steps"]
