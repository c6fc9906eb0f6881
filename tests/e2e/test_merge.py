"""``merge`` by command: runs that do not belong together are refused, and what differs is named."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from harness.capture.merge_record import MergeRecord
from harness.execution.protocol import read_json
from harness.settings.request import Peaks
from tests.conftest import TINY_MATMUL, TINY_MLP, Harness, run_harness


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs of two workloads, and one of them twice."""
    home = tmp_path_factory.mktemp("runs")
    for name, words in {"mlp": TINY_MLP, "again": TINY_MLP, "matmul": TINY_MATMUL}.items():
        run = run_harness(home, *words, f"hydra.run.dir='{name}=1'")
        assert run.code == 0, run.err
    return {name: home / f"{name}=1" for name in ("mlp", "again", "matmul")}


def test_runs_of_different_workloads_are_refused(harness: Harness, runs: dict[str, Path]) -> None:
    run = harness("merge", str(runs["mlp"]), str(runs["matmul"]), "--out", "out")
    assert run.code == 2
    assert "workload.name: the runs differ: matmul in matmul=1, mlp in mlp=1" in run.err
    assert not (run.folder / "out").exists()


def test_operators_are_joined_where_there_are_no_kernels(
    harness: Harness, runs: dict[str, Path]
) -> None:
    peak = "analysis.peaks.main_memory_gbps=1600"
    run = harness("merge", str(runs["mlp"]), str(runs["again"]), "--out", "out", peak)
    assert run.code == 0, run.err
    record = read_json(run.folder / "out" / "merge.json", MergeRecord)
    assert record.peaks == Peaks(main_memory_gbps=1600)
    merged = pl.read_parquet(run.folder / "out" / "tables" / "operators_merged.parquet")
    operators = pl.read_parquet(runs["mlp"] / "tables" / "operators.parquet")
    assert merged["row@mlp=1"].drop_nulls().len() == operators["step"].drop_nulls().len()
    kinds = pl.read_parquet(run.folder / "out" / "tables" / "bottlenecks.parquet")
    for label in ("again=1", "mlp=1"):
        assert kinds[f"duration_ns@{label}"].sum() == merged[f"self_ns@{label}"].sum()
    assert "Merged: 2 runs" in run.out


def test_what_was_left_out_is_named_and_is_exit_3(
    harness: Harness, runs: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "sweep" / "dead").mkdir(parents=True)
    for name in ("mlp", "again"):
        (tmp_path / "sweep" / name).symlink_to(runs[name])
    (tmp_path / "sweep" / "dead" / "run.json").write_text("{}")
    run = harness("merge", "sweep")
    assert run.code == 3, run.err
    assert "left out: dead: run.json: it has no schema_version" in run.out
    assert (tmp_path / "sweep" / "tables" / "operators_merged.parquet").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "merge: merge takes the folder of a sweep, or several runs."),
        (("a", "b"), "several runs need a folder for the merged tables"),
        (("a", "b", "--out", ""), "--out: a value must follow"),
        (
            ("a", "seed=1"),
            "seed=1: merge takes the settings merge.…, analysis.… and report.… alone",
        ),
        (("a", "merge.match=loose"), "merge.match=loose"),
        (("a", "-m", "merge.match=aligned,strict"), "--multirun: merge does not take this flag"),
        (("nowhere",), "merge=nowhere: there is no such folder"),
        (("sweep/a=1",), "merge=sweep/a=1: there is no such folder"),
        (("a=1",), "a=1: merge takes the settings merge.…, analysis.… and report.… alone"),
    ],
)
def test_what_cannot_be_merged_is_refused(
    harness: Harness, words: tuple[str, ...], said: str
) -> None:
    run = harness("merge", *words)
    assert run.code == 2
    assert said in run.err
    assert "Traceback" not in run.err
