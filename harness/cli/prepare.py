"""Compose what a command asks for, and refuse it with everything that is wrong with any job."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from msgspec.structs import replace

from harness.cli.arguments import Command
from harness.configuration.composition import Composition, compose_jobs, setting_of
from harness.configuration.overrides import opened
from harness.configuration.validate import problems
from harness.errors import Problem, refuse

_FOLDERS = ("hydra.run.dir", "hydra.sweep.dir")


def prepared(command: Command, *, runs_here: bool = True) -> Composition:
    """Return the jobs of a command, each of which can be run: here, or by another program.

    Raises:
        RefusedError: Something is wrong with the command line or with a job.
    """
    composition = composed(command)
    refuse(
        [
            *_out_problems(command),
            *_single_problems(composition),
            *all_problems(composition, runs_here=runs_here),
        ]
    )
    return replace(composition, folder=command.out) if command.out else composition


def composed(command: Command) -> Composition:
    """Compose the jobs of a command; what is wrong with them is part of the answer."""
    # The jobs of a sweep may be thousands.
    with _screen() if command.multirun else nullcontext():
        return compose_jobs(
            opened(command.overrides),
            multirun=command.multirun,
            config_dir=command.config_dir,
            config_name=command.config_name,
        )


def _screen() -> AbstractContextManager[object]:
    from harness.cli.console import ERR
    from harness.cli.progress import ConsoleProgress

    return ConsoleProgress(ERR)


def all_problems(composition: Composition, *, runs_here: bool = True) -> list[Problem]:
    """Return what is wrong with any job, each problem once, with the jobs where not all have it.

    What is wrong with several values of one setting, in the same way, is one problem.
    """
    causes: dict[tuple[str, str, str], list[tuple[str, str]]] = {}
    for job in composition.jobs:
        request = job.request
        more = problems(request, runs_here=runs_here) if request else ()
        for problem in [*job.problems, *more]:
            cause = problem.setting, problem.reason, problem.fix
            causes.setdefault(cause, []).append((problem.given, " ".join(job.overrides)))
    return [
        *composition.problems,
        *(_joined(cause, places, len(composition.jobs)) for cause, places in causes.items()),
    ]


def _joined(cause: tuple[str, str, str], places: list[tuple[str, str]], total: int) -> Problem:
    """Return one problem for the same cause in several jobs, each with its value."""
    setting, reason, fix = cause
    jobs = list(dict.fromkeys(job for _, job in places))
    note = f" (in {len(jobs)} of {total} jobs, first: {jobs[0]})" if len(jobs) < total else ""
    return Problem(
        setting=setting,
        given=",".join(dict.fromkeys(value for value, _ in places)),
        reason=reason + note,
        fix=fix,
    )


def _single_problems(composition: Composition) -> list[Problem]:
    """Refuse a single run where Slurm is asked for: it would run here, as Hydra has it."""
    if composition.multirun or composition.slurm is None:
        return []
    return [
        Problem(
            setting="hydra/launcher",
            given="slurm",
            reason="Slurm runs the jobs of a sweep, and this is a single run",
            fix="-m makes a sweep, also of one job: python -m harness -m …; or hydra/launcher=basic"
            " to run it here",
        )
    ]


def _out_problems(command: Command) -> list[Problem]:
    """Return what is wrong with the folder of ``--out``."""
    out, folders = command.out, [text for text in command.overrides if setting_of(text) in _FOLDERS]
    if out is None:
        return []
    if folders:
        why, fix = f"{' and '.join(folders)} says where results go, too", "keep one of them"
    elif "${" in out:
        why, fix = "a folder is named as it is, without references", "write the folder's own name"
    else:
        return []
    return [Problem(setting="--out", given=out, reason=why, fix=fix)]
