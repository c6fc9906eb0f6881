"""Verbs, flags, refusals: what a person sees who types something right or wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from harness import __version__
from harness.cli.commands import SUBCOMMANDS
from tests.conftest import TINY_MATMUL, Harness, read_record


def test_help_shows_commands_choices_and_exit_codes(harness: Harness) -> None:
    run = harness("--help")
    assert (run.code, run.err) == (0, "")
    assert "_base" not in run.out
    for text in (
        "python -m harness -m",
        "  check     show the effective settings",
        "profiler, cpu   default level0 level1 level2 memory stacks",
        "profiler, npu   default level0 level1 level2 markers memory sglang stacks",
        "attention callable conv ddp loop matmul mlp program",
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
    assert "recorded: 1–3, 5–7 (counted from 0)" in run.out


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


@pytest.mark.parametrize("subcommand", SUBCOMMANDS)
def test_each_subcommand_has_its_own_help_and_does_nothing_beside_it(
    harness: Harness, subcommand: str
) -> None:
    pages = [
        harness(*words)
        for words in (
            (subcommand, "--help"),
            ("-h", subcommand, "seed=1"),
            ("help", *([] if subcommand == "help" else [subcommand])),
        )
    ]
    assert [(page.code, page.err) for page in pages] == [(0, "")] * 3
    assert pages[0].out == pages[1].out
    assert f"python -m harness {subcommand} " in pages[0].out
    assert (pages[2].out == pages[0].out) == (subcommand != "help")
    assert list(pages[0].folder.iterdir()) == []


def test_help_names_the_subcommand_that_was_meant(harness: Harness) -> None:
    run = harness("help", "raed")
    assert (run.code, run.out) == (2, "")
    assert "fix: python -m harness help read" in run.err


def test_the_composed_config_is_printed_as_hydra_prints_it(harness: Harness) -> None:
    words = ("device=npu", "profiler=level1", "seed=3", "workload=mlp", "+device.environment.A=b")
    plain, whole = harness("--cfg", "job", *words), harness("--cfg", "all", *words)
    assert (plain.code, whole.code) == (0, 0)
    composed, everything = yaml.safe_load(plain.out), yaml.safe_load(whole.out)
    del everything["hydra"]
    assert composed == everything
    assert list(composed) == list(everything)
    part = harness("--cfg", "job", "-p", "workload", *words)
    assert part.out.splitlines()[0] == "# @package workload"
    assert yaml.safe_load(part.out) == composed["workload"]


def test_flags_may_stand_after_settings(harness: Harness) -> None:
    run = harness("seed=1,2", "check", "--multirun")
    assert run.code == 0
    assert "job 2 of 2" in run.out


def test_unset_reference_is_refused(harness: Harness) -> None:
    run = harness("seed=${nope.there}")
    assert run.code == 2
    assert "cannot be resolved" in run.err


def test_tab_in_yaml_names_file_and_line(harness: Harness, tmp_path: Path) -> None:
    folder = tmp_path / "mine" / "workload"
    folder.mkdir(parents=True)
    (folder / "tabbed.yaml").write_text("name: mlp\nbatch:\t\n\t4\n", encoding="utf-8")
    run = harness("--config-dir", "mine", "workload=tabbed")
    assert run.code == 2
    assert "tabbed.yaml, line 2" in run.err
    assert "tab" in run.err
    assert "Traceback" not in run.err


def test_folder_of_results_can_be_chosen_once(harness: Harness) -> None:
    run = harness(*TINY_MATMUL, "hydra.run.dir=elsewhere/one")
    assert run.code == 0, run.err
    before = (run.folder / "elsewhere" / "one" / "run.json").read_bytes()
    for word in ("hydra.run.dir=elsewhere/one", "++hydra.run.dir='elsewhere/one'"):
        again = harness(*TINY_MATMUL, word)
        assert again.code == 2
        assert "there is a run in this folder already" in again.err
    assert (run.folder / "elsewhere" / "one" / "run.json").read_bytes() == before


@pytest.mark.parametrize("flag", ["--out", "-o"])
def test_out_names_the_folder_of_a_run_whatever_its_name(harness: Harness, flag: str) -> None:
    name = "it's mine, a=b"
    run = harness(*TINY_MATMUL, flag, name)
    assert run.code == 0, run.err
    assert read_record(run.folder / name).exit_code == 0
    assert not (run.folder / "outputs").exists()
    again = harness(*TINY_MATMUL, flag, name)
    assert again.code == 2
    assert f"--out={name}: there is a run in this folder already" in again.err


def test_out_names_the_folder_of_a_sweep_too(harness: Harness) -> None:
    words = ("-m", *TINY_MATMUL, "seed=1,2", "--out", "my sweep")
    run = harness(*words)
    assert run.code == 0, run.err
    for name in ("seed=1", "seed=2"):
        assert read_record(run.folder / "my sweep" / name).exit_code == 0
    assert "2 of 2 jobs delivered" in run.out
    assert "kept from before" in harness(*words).err


@pytest.mark.parametrize(
    "words",
    [
        ("hydra.run.dir=b",),
        ("++hydra.run.dir=b",),
        ("-m", "seed=1,2", "hydra.sweep.dir=b"),
        ("check", "hydra.run.dir=b"),
    ],
    ids=" ".join,
)
def test_out_beside_hydras_own_setting_is_refused(harness: Harness, words: tuple[str, ...]) -> None:
    run = harness("--out", "a", *words)
    assert run.code == 2
    assert "--out=a: " in run.err
    assert "=b says where results go, too" in run.err
    assert list(run.folder.iterdir()) == []


def test_out_is_a_name_without_references(harness: Harness) -> None:
    run = harness("--out", "a${seed}")
    assert run.code == 2
    assert "without references" in run.err


def test_several_values_without_m_are_answered_with_m(harness: Harness) -> None:
    run = harness("workload=mlp,conv")
    assert run.code == 2
    assert "fix: add -m" in run.err


@pytest.mark.parametrize("words", [(), ("workload.target=train.py",)], ids=["missing", "a file"])
def test_a_bad_target_is_answered_with_a_factory(harness: Harness, words: tuple[str, ...]) -> None:
    run = harness("workload=callable", *words)
    assert run.code == 2
    assert "def factory(device, dtype, seed):" in run.err


@pytest.mark.parametrize(
    "word", ["name=nope:factory", "name=:100:", "name=[bold]a", "workload.target=mine.py:100:"]
)
def test_what_is_typed_is_printed_as_it_is(harness: Harness, word: str) -> None:
    run = harness("check", "workload=callable", word)
    assert run.code == 2
    assert f"  {word}: " in run.err


def test_escape_characters_are_printed_as_signs(harness: Harness) -> None:
    run = harness("check", "\x1b[31m", "--nope\N{RIGHT-TO-LEFT OVERRIDE}", "name='a\x9b'")
    assert run.code == 2
    assert {"[U+001B][31m", "--nope[U+202E]"} <= set(run.err.replace(": ", " ").split())
    assert "\x1b" not in run.err


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--out", "x" * 300], "--out=xxx"),
        (["+hydra.callbacks.mine._target_=nosuch"], "hydra.callbacks.mine: "),
        (["hydra.verbose=5"], "hydra.verbose=5: "),
        (["hydra.job.env_copy=[NO_SUCH_VARIABLE]"], "hydra.job.env_copy=NO_SUCH_VARIABLE: "),
        (["--cfg", "job", "-p", "nosuch"], "--package=nosuch: "),
        (["--cfg", "hydra", "--resolve"], "--cfg=hydra: "),
        (["--hydra-help", "--config-dir", "/proc/self"], "--config-dir=/proc/self: "),
        (["--shell-completion", "install=nosuch"], "--shell-completion=install=nosuch: "),
        (["check", "--config-dir", "/proc/self"], "--config-dir=/proc/self: "),
        (["check", "-m", "seed=range(0,100000)"], "this sweep has 100,000 jobs"),
        (["check", "profiler.schedule.active=1000000000000"], "from 1 to 100,000: each recorded"),
    ],
)
def test_what_hydra_would_stumble_over_is_refused_under_its_name(
    harness: Harness, words: list[str], named: str
) -> None:
    run = harness(*words)
    assert (run.code, run.out) == (2, "")
    assert named in run.err
    assert "Traceback" not in run.err
    assert list(run.folder.rglob("*.json")) == []
