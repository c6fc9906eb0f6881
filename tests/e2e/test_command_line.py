"""Verbs, flags, refusals: what a person sees who types something right or wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from harness import __version__
from tests.conftest import TINY_MLP, Harness, environment

WITHOUT_TORCH = [
    ["--help"],
    ["--cfg", "job"],
    ["--cfg", "job", "device=npu", "profiler=level1"],
    ["--info", "defaults"],
    ["check"],
    ["check", "device=npu", "profiler=sglang"],
    ["-m", "check", "profiler=level0,level1"],
    ["profiler=nonsense"],
    ["device=npu"],
]


@pytest.mark.parametrize("words", WITHOUT_TORCH, ids=" ".join)
def test_torch_is_not_imported_by(words: list[str], tmp_path: Path) -> None:
    code = (
        "import sys; from harness.cli.main import main\n"
        "try: main()\n"
        "finally: print('TORCH' if 'torch' in sys.modules else 'NO-TORCH')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines()[-1] == "NO-TORCH", done.stderr
    assert not (tmp_path / "outputs").exists()


def test_help_shows_commands_choices_and_exit_codes(harness: Harness) -> None:
    run = harness("--help")
    assert run.code == 0
    assert "_base" not in run.out
    for text in (
        "python -m harness -m",
        "python -m harness check",
        "default level0 level1 level2 markers memory sglang stacks",
        "npu/markers",
        "attention callable conv matmul mlp transformer",
        "Exit codes:",
        "130  interrupted",
    ):
        assert text in run.out


def test_version_is_the_harness_own(harness: Harness) -> None:
    run = harness("--version")
    assert (run.code, run.out) == (0, f"harness {__version__}\n")


def test_composed_npu_config_is_printed(harness: Harness) -> None:
    run = harness("--cfg", "job", "device=npu", "profiler=level1")
    assert run.code == 0
    for line in ("profiler_level: Level1", "aic_metrics: PipeUtilization", "- Text"):
        assert line in run.out


def test_check_shows_requested_effective_and_evidence(harness: Harness) -> None:
    run = harness("check", "profiler=stacks", "profiler.schedule.repeat=0", "workload.steps=8")
    assert run.code == 0
    (repeat,) = [line for line in run.out.splitlines() if "schedule.repeat" in line]
    assert repeat.split() == ["profiler.schedule.repeat", "0", "2"]
    assert "profiler.with_stack" in run.out
    assert "operators have Python stacks" in run.out
    assert "recorded: 1, 2, 3, 5, 6, 7" in run.out


def test_all_problems_are_shown_at_once(harness: Harness) -> None:
    run = harness(
        "profiler.record_shape=true",
        "workload.batch=0",
        "profiler.with_stack=7",
        "~device",
        "+unknown.key=1",
        "profiler/experimental=npu/level1",
    )
    assert run.code == 2
    assert "6 problems" in run.err
    assert "did you mean profiler.record_shapes?" in run.err
    for setting in ("workload.batch=0", "profiler.with_stack=7", "~device", "unknown"):
        assert setting in run.err
    assert "these are settings of the npu profiler, and device=cpu" in run.err
    assert not (run.folder / "outputs").exists()


@pytest.mark.parametrize("where", [0, 1, 2])
def test_unknown_verb_lists_the_verbs_wherever_it_stands(harness: Harness, where: int) -> None:
    words = ["workload=mlp", "seed=1"]
    words.insert(where, "chekc")
    run = harness(*words)
    assert run.code == 2
    assert "chekc" in run.err
    assert "check" in run.err


def test_flags_may_stand_after_settings(harness: Harness) -> None:
    run = harness("seed=1,2", "check", "--multirun")
    assert run.code == 0
    assert "job 2 of 2" in run.out


def test_unset_reference_is_refused(harness: Harness) -> None:
    run = harness("seed=${nope.there}")
    assert run.code == 2
    assert "cannot be resolved" in run.err


def test_tab_in_yaml_names_file_and_line(harness: Harness) -> None:
    folder = harness("--help").folder / "mine" / "workload"
    folder.mkdir(parents=True)
    (folder / "tabbed.yaml").write_text("name: mlp\nbatch:\t\n\t4\n", encoding="utf-8")
    run = harness("--config-dir", "mine", "workload=tabbed")
    assert run.code == 2
    assert "tabbed.yaml, line 2" in run.err
    assert "tab" in run.err
    assert "Traceback" not in run.err


def test_folder_of_results_can_be_chosen_once(harness: Harness) -> None:
    run = harness(*TINY_MLP, "hydra.run.dir=elsewhere/one")
    assert run.code == 0, run.err
    before = (run.folder / "elsewhere" / "one" / "run.json").read_bytes()
    for word in ("hydra.run.dir=elsewhere/one", "++hydra.run.dir='elsewhere/one'"):
        again = harness(*TINY_MLP, word)
        assert again.code == 2
        assert "there is a run in this folder already" in again.err
    assert (run.folder / "elsewhere" / "one" / "run.json").read_bytes() == before
