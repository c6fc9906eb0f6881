"""From overrides to a request, to a plan, to the profiler itself."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from harness.capture.run_folder import new_folder
from harness.configuration.composition import compose_jobs, setting_of
from harness.configuration.validate import problems
from harness.devices import DEVICES
from harness.errors import Problem, refuse
from harness.execution import plan as lowering
from harness.execution.protocol import Plan
from harness.settings.request import Request
from harness.workloads.loop import Loop

_OF_A_PROGRAM: Final = ("workload=loop", "execution=inline")


def compose(*overrides: str, config_dir: str | os.PathLike[str] | None = None) -> Request:
    """Compose one request of settings as the command line takes them: ``"profiler=level1"``.

    Unless they choose a workload, it is the loop of the calling program. Leaves no trace in the
    process: a program of Hydra's may call it, and any thread.

    Args:
        overrides: Groups and values, in Hydra's grammar.
        config_dir: A folder with more config groups, which come before those of the harness.

    Raises:
        RefusedError: Something is wrong with the settings; it has all that is.
    """
    refuse(_of_commands(overrides))
    chosen = any(setting_of(text) == "workload" for text in overrides)
    added = () if chosen else _OF_A_PROGRAM
    # What comes last counts.
    composition = compose_jobs(
        (*added, *overrides), config_dir=None if config_dir is None else os.fspath(config_dir)
    )
    refuse([*composition.problems, *(item for job in composition.jobs for item in job.problems)])
    if composition.multirun:
        refuse([_SEVERAL])
    (job,) = composition.jobs
    assert job.request is not None  # There are no problems.
    in_program = isinstance(job.request.workload, Loop)
    refuse(problems(job.request, in_program=in_program))
    return job.request


def plan(request: Request, folder: str | os.PathLike[str] | None = None) -> Plan:
    """Lower a request to what its profiler gets, and which steps are recorded.

    Args:
        request: As `compose` returns it.
        folder: The run folder; by default one that is named by the time. Nothing is made there.
    """
    return lowering.plan(request, Path(folder or new_folder()).absolute())


def build_profiler(planned: Plan, on_trace_ready: Callable[[Any], object] | None = None) -> Any:
    """Build the profiler of a plan: a bare `torch.profiler.profile`, or torch_npu's, not started.

    It has the plan's activities, schedule and settings; steps before its schedule, what becomes of
    its traces and whether they have what was asked for are the caller's. Loads torch.

    Args:
        planned: As `plan` returns it.
        on_trace_ready: Called with the profiler when a cycle ends, as torch takes it. torch_npu
            writes into ./export_only_prof_dir without one.

    Raises:
        RefusedError: The plan has what a profiler alone does not do (with_lines, memory_timeline).
        MachineError: torch_npu, or what it needs, is not there.
    """
    recording = planned.recording
    refuse([_not_the_profilers(name) for name in _OURS if getattr(recording.profiler, name)])
    return DEVICES[recording.device].bare_profiler(recording.profiler, on_trace_ready)


_OURS: Final = ("with_lines", "memory_timeline")
"""What the harness records or writes beside the profiler."""


def _not_the_profilers(name: str) -> Problem:
    return Problem(
        setting=f"profiler.{name}",
        given="true",
        reason="the harness does it, and a bare profiler does not",
        fix=f"profiler.{name}=false, or harness.profile()",
    )


_SEVERAL: Final = Problem(
    setting="hydra.mode",
    given="MULTIRUN",
    reason="a program makes one run at a time",
    fix="leave it out; python -m harness -m … -- train.py runs a program once for each value",
)


def _of_commands(overrides: Sequence[str]) -> list[Problem]:
    """Refuse settings of Hydra's own, which say where and how a command runs."""
    return [
        Problem(
            setting=setting_of(text),
            given=text.partition("=")[2],
            reason="Hydra's own settings are for commands",
            fix="out=FOLDER, if it is for the results; else leave it out",
        )
        for text in overrides
        if setting_of(text).partition(".")[0].partition("/")[0] == "hydra"
    ]
