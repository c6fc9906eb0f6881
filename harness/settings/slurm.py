"""What a sweep asks of Slurm for each of its jobs: the settings below ``hydra.launcher``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from harness.errors import Problem
from harness.settings.schema import problems, show

SLURM_LAUNCHER: Final = "harness.sweep.slurm"
"""The ``_target_`` of ``hydra/launcher=slurm``."""

_Count = Annotated[int, Meta(ge=1, le=1_000_000)]


class Slurm(Struct, frozen=True, kw_only=True):
    """Null leaves a setting to the cluster's own default."""

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    """The features that a node must have; the same for all jobs."""
    time_min: _Count | None = None
    """Minutes after which Slurm ends a job."""
    gres: str | None = None
    """The devices of a job, e.g. ``npu:1``, as the cluster calls them."""
    cpus_per_task: _Count | None = None
    memory: str | None = None
    """As sbatch takes it, e.g. ``32G``."""
    exclusive: bool = False
    """Whether a job has its node to itself."""
    nodes: int = 1
    """How many nodes a job has; there is but one."""
    at_once: _Count | None = None
    """How many jobs may run at the same time."""
    setup: tuple[str, ...] = ()
    """Lines of bash that run on the node before the job."""
    options: tuple[str, ...] = ()
    """Other options of sbatch."""


OPTIONS: Final[Mapping[str, str]] = {
    "partition": "partition",
    "account": "account",
    "qos": "qos",
    "constraint": "constraint",
    "time": "time_min",
    "gres": "gres",
    "cpus-per-task": "cpus_per_task",
    "mem": "memory",
    "exclusive": "exclusive",
}
"""The options of sbatch that have a setting, and its name."""
_OURS: Final = (
    *("array", "chdir", "clusters", "error", "job-name", "nodes", "no-requeue", "ntasks"),
    *("ntasks-per-node", "output", "parsable", "test-only", "wait", "wrap"),
)
"""The options of sbatch that the harness sets, or that would hide a job from it."""


def slurm_problems(launcher: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield what is wrong with the settings of the launcher."""
    data = _settings(launcher)
    wrong = list(problems(data, msgspec.inspect.type_info(Slurm), "hydra.launcher"))
    yield from wrong
    if wrong:
        return
    settings = slurm_of(launcher)
    if settings.nodes != 1:
        yield Problem(
            setting="hydra.launcher.nodes",
            given=show(settings.nodes),
            reason="a job of a sweep runs on one node; ranks on several nodes are one run below"
            " srun, not a sweep",
            fix="hydra.launcher.nodes=1; several ranks on one node: execution=torchrun"
            " execution.nproc=8 hydra.launcher.gres=npu:8",
        )
    yield from _words(settings)
    for option in settings.options:
        yield from _option_problems(option)


def slurm_of(launcher: Mapping[str, Any]) -> Slurm:
    """Return the settings of a launcher that `slurm_problems` finds nothing wrong with."""
    return msgspec.convert(_settings(launcher), Slurm)


def _settings(launcher: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in launcher.items() if not key.startswith("_")}


def _words(settings: Slurm) -> Iterator[Problem]:
    """Yield what is no word that sbatch takes as a value, or no line of a script."""
    for name in ("partition", "account", "qos", "constraint", "gres", "memory"):
        value = getattr(settings, name)
        if value is not None and not re.fullmatch(r"[^\s\0-\x1f\x7f-][^\s\0-\x1f\x7f]*", value):
            yield Problem(
                setting=f"hydra.launcher.{name}",
                given=show(value),
                reason="must be one word, which does not begin with -, or null",
                fix=f"hydra.launcher.{name}=null, or as sbatch takes it",
            )
    for name in ("setup", "options"):
        lines = getattr(settings, name)
        if any("\n" in line or "\0" in line for line in lines):
            yield Problem(
                setting=f"hydra.launcher.{name}",
                given=show(lines),
                reason="each must be one line",
                fix=f"hydra.launcher.{name}=[LINE,LINE]",
            )


def _option_problems(option: str) -> Iterator[Problem]:
    name = option.removeprefix("--").partition("=")[0]
    # sbatch takes the beginning of a name for all of it; no other option begins one of these.
    ours = next((each for each in _OURS if each.startswith(name)), "")
    own = next((each for each in OPTIONS if name and each.startswith(name)), "")
    if not option.startswith("--"):
        reason = "an option of sbatch begins with -- here"
        fix = "its long name, as hydra.launcher.options=['--reservation=profiling']"
    elif name == own or (own and not ours):
        reason, fix = f"there is a setting for --{own}", f"hydra.launcher.{OPTIONS[own]}=VALUE"
    elif ours:
        reason, fix = f"--{ours} is set by the harness, which has to find its jobs", "leave it out"
    else:
        return
    yield Problem(setting="hydra.launcher.options", given=option, reason=reason, fix=fix)
