"""What a sweep asks of Slurm for each of its jobs: the settings below ``hydra.launcher``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from harness.errors import Problem
from harness.settings.schema import problems, show

SLURM_LAUNCHER: Final = "harness.sweep.slurm"
"""The ``_target_`` of ``hydra/launcher=slurm``."""

_Word = Annotated[str, Meta(pattern=r"\A[^\s\-][^\x00-\x20\x7f]*\Z")]
_Line = Annotated[str, Meta(pattern=r"\A[^\x00\n]+\Z")]
_Count = Annotated[int, Meta(ge=1, le=1_000_000)]


class Slurm(Struct, frozen=True, kw_only=True):
    """Null leaves a setting to the cluster's own default."""

    partition: _Word | None = None
    account: _Word | None = None
    qos: _Word | None = None
    constraint: _Word | None = None
    """The features that a node must have; the same for all jobs."""
    time_min: _Count | None = None
    """Minutes after which Slurm ends a job."""
    gres: _Word | None = None
    """The devices of a job, e.g. ``npu:1``, as the cluster calls them."""
    cpus_per_task: _Count | None = None
    memory: _Word | None = None
    """As sbatch takes it, e.g. ``32G``."""
    exclusive: bool = False
    """Whether a job has its node to itself."""
    nodes: int = 1
    """How many nodes a job has; there is but one."""
    at_once: _Count | None = None
    """How many jobs may run at the same time."""
    setup: tuple[_Line, ...] = ()
    """Lines of bash that run on the node before the job."""
    options: tuple[_Line, ...] = ()
    """Other options of sbatch."""


_OURS: Final = (
    *("array", "chdir", "error", "job-name", "nodes", "no-requeue", "ntasks", "ntasks-per-node"),
    *("output", "parsable", "test-only", "wait", "wrap"),
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
    for option in settings.options:
        yield from _option_problems(option)


def slurm_of(launcher: Mapping[str, Any]) -> Slurm:
    """Return the settings of a launcher that `slurm_problems` finds nothing wrong with."""
    return msgspec.convert(_settings(launcher), Slurm)


def _settings(launcher: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in launcher.items() if not key.startswith("_")}


def _option_problems(option: str) -> Iterator[Problem]:
    name = option.removeprefix("--").partition("=")[0]
    own = next((field for field in Slurm.__struct_fields__ if field.replace("_", "-") == name), "")
    if not option.startswith("--"):
        reason, fix = "an option of sbatch begins with --", f"hydra.launcher.options=[--{option}]"
    elif name in _OURS:
        reason, fix = f"--{name} is set by the harness, which has to find its jobs", "leave it out"
    elif own:
        reason, fix = f"there is a setting for --{name}", f"hydra.launcher.{own}=VALUE"
    else:
        return
    yield Problem(setting="hydra.launcher.options", given=option, reason=reason, fix=fix)
