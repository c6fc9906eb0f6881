"""What a sweep asks of Slurm: its settings, and which of them are refused."""

from __future__ import annotations

import pytest

from harness.configuration.composition import compose_jobs
from harness.settings.slurm import Slurm

SWEEP = ("seed=1,2", "hydra/launcher=slurm")


def settings(*words: str) -> Slurm:
    composition = compose_jobs([*SWEEP, *words], multirun=True)
    assert composition.problems == ()
    assert composition.slurm is not None
    return composition.slurm


def test_the_shipped_settings_leave_all_to_the_cluster() -> None:
    assert settings() == Slurm()


def test_another_launcher_asks_nothing_of_slurm() -> None:
    assert compose_jobs(["seed=1,2"], multirun=True).slurm is None


def test_settings_arrive_as_they_are_typed() -> None:
    assert settings(
        "hydra.launcher.partition=npu",
        "hydra.launcher.gres=npu:8",
        "hydra.launcher.time_min=30",
        "hydra.launcher.memory=32G",
        "hydra.launcher.exclusive=true",
        "hydra.launcher.setup=['source /opt/set_env.sh','export A=$B']",
        "hydra.launcher.options=['--signal=B:TERM@60','--comment=two words']",
    ) == Slurm(
        partition="npu",
        gres="npu:8",
        time_min=30,
        memory="32G",
        exclusive=True,
        setup=("source /opt/set_env.sh", "export A=$B"),
        options=("--signal=B:TERM@60", "--comment=two words"),
    )


@pytest.mark.parametrize(
    ("typed", "setting", "given", "reason", "fix"),
    [
        ("nodes=2", "nodes", "2", "a job of a sweep runs on one node", "hydra.launcher.nodes=1"),
        ("time_min=0", "time_min", "0", "must be an integer from 1", "hydra.launcher.time_min=1"),
        ("time_min=1h", "time_min", "1h", "must be an integer from 1", "hydra.launcher.time_min=1"),
        ("exclusive=7", "exclusive", "7", "must be true or false", "hydra.launcher.exclusive="),
        ("partition='-x'", "partition", "-x", "must be one word", "hydra.launcher.partition=null"),
        ("memory='1 G'", "memory", "1 G", "must be one word", "hydra.launcher.memory=null"),
        ("options=[x]", "options", "x", "an option of sbatch begins with --", "its long name, as"),
        ("options=['-p b']", "options", "-p b", "an option of sbatch begins", "its long name, as"),
        ("options=['--array=0-3']", "options", "--array=0-3", "--array is set by", "leave it out"),
        ("options=['--arr=0-3']", "options", "--arr=0-3", "--array is set by", "leave it out"),
        ("options=['--clusters=b']", "options", "--clusters=b", "--clusters is set", "leave it"),
        (
            "options=['--time=5']",
            "options",
            "--time=5",
            "there is a setting for --time",
            "hydra.launcher.time_min=VALUE",
        ),
        (
            "options=['--tim=5']",
            "options",
            "--tim=5",
            "there is a setting for --time",
            "hydra.launcher.time_min=VALUE",
        ),
        (
            "options=['--mem=4G']",
            "options",
            "--mem=4G",
            "there is a setting for --mem",
            "hydra.launcher.memory=VALUE",
        ),
        (
            "options=['--cpus-per-task=3']",
            "options",
            "--cpus-per-task=3",
            "there is a setting for --cpus-per-task",
            "hydra.launcher.cpus_per_task=VALUE",
        ),
        ("setup=module load", "setup", "module load", "must be", "hydra.launcher.setup="),
    ],
)
def test_what_slurm_cannot_be_asked_is_refused(
    typed: str, setting: str, given: str, reason: str, fix: str
) -> None:
    composition = compose_jobs([*SWEEP, f"hydra.launcher.{typed}"], multirun=True)
    (problem,) = composition.problems
    assert problem.setting == f"hydra.launcher.{setting}"
    assert problem.given.strip("'") == given
    assert problem.reason.startswith(reason), problem.reason
    assert problem.fix.startswith(fix), problem.fix


def test_options_that_no_setting_has_are_passed_on() -> None:
    options = ("--time-min=5", "--mem-per-cpu=1G", "--nodelist=n1", "--exclude=n2", "--requeue")
    typed = ",".join(f"'{option}'" for option in options)
    assert settings(f"hydra.launcher.options=[{typed}]").options == options


def test_an_unknown_setting_is_refused() -> None:
    composition = compose_jobs([*SWEEP, "hydra.launcher.partiton=npu"], multirun=True)
    (problem,) = composition.problems
    assert problem.setting == "hydra.launcher.partiton"
    assert problem.reason.startswith("Hydra does not take it: Key 'partiton' is not in struct")


def test_a_line_feed_makes_no_second_line() -> None:
    composition = compose_jobs([*SWEEP, "hydra.launcher.setup=['a\nb']"], multirun=True)
    (problem,) = composition.problems
    assert problem.setting == "hydra.launcher.setup"
    assert problem.reason == "each must be one line"
