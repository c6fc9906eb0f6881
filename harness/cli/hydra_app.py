"""What the settings ask for is run by Hydra: one job, one rank, or a sweep. Imports no torch."""

from __future__ import annotations

import os
from pathlib import Path

from harness.capture.run_folder import make
from harness.cli import signals
from harness.cli.arguments import Command
from harness.cli.console import ERR
from harness.cli.hydra_job import job
from harness.cli.hydra_main import hydra_for, refusals
from harness.cli.left_behind import nothing_left_without
from harness.cli.progress import ConsoleProgress
from harness.configuration.composition import Composition
from harness.configuration.overrides import opened, quoted
from harness.doctor.preflight import check_machine
from harness.errors import ExitCode, Problem, RefusedError, refuse
from harness.execution.plan import requested
from harness.files import full_disk_named, remove_empty
from harness.paths import RunFolder
from harness.ranks.agreement import Meeting
from harness.settings.ranks import Rank, rank_of


def carry_out(command: Command, composition: Composition) -> ExitCode:
    """Run the jobs that a command asks for."""
    # A run that is interrupted is closed first.
    signals.raise_instead()
    rank = rank_of(os.environ)
    if rank.world_size > 1:
        return _rank(command, composition, rank)
    if not composition.multirun:
        return _single(command, composition)

    from harness.cli.hydra_sweep import sweep

    return sweep(command, composition)


def _single(command: Command, composition: Composition) -> ExitCode:
    request = composition.jobs[0].request
    assert request is not None
    check_machine(request, ERR.print)
    setting = "--out" if command.out else "hydra.run.dir"
    refuse(_occupied(composition.folder, setting))
    folder = Path(composition.folder)
    return _run_in(command, folder, make(folder, setting))


def _rank(command: Command, composition: Composition, rank: Rank) -> ExitCode:
    """Run one rank of a job that an outer launcher has started."""
    request = composition.jobs[0].request
    assert request is not None
    refuse(_sweep_of_ranks(composition, rank))
    check_machine(request, ERR.print)
    meeting = Meeting(rank, requested(request), request.execution.join_timeout_s)
    if rank.rank:
        folder = meeting.follow()
        if folder is None:
            # Rank 0 says why.
            return ExitCode.REFUSED
    else:
        setting = "--out" if command.out else "hydra.run.dir"
        folder = Path(composition.folder).absolute()
        try:
            refuse(_occupied(composition.folder, setting))
            made = make(folder, setting)
        except RefusedError:
            meeting.decline()
            raise
        try:
            with ConsoleProgress(ERR):
                meeting.lead(folder)
        except RefusedError:
            remove_empty(made)
            raise
    place = RunFolder(folder).rank(rank.rank).path
    return _run_in(command, place, make(place, "hydra.run.dir"))


def _sweep_of_ranks(composition: Composition, rank: Rank) -> list[Problem]:
    if not composition.multirun:
        return []
    reason = f"a launcher has started {rank.world_size} ranks, and each would run the whole sweep"
    nproc = f"execution.nproc={rank.world_size}"
    fix = f"start one process: python -m harness -m execution=torchrun {nproc} …"
    return [Problem(setting="--multirun", given="", reason=reason, fix=fix)]


def _run_in(command: Command, folder: Path, made: list[Path]) -> ExitCode:
    """Let Hydra run the one job of a command in a folder; `made` are those made for it."""
    overrides = [
        *opened(command.overrides),
        # Else it would be that of another moment.
        f"hydra.run.dir={quoted(str(folder))}",
        "hydra.mode=RUN",
    ]
    nothing_left = nothing_left_without(RunFolder(folder).record, made)
    # Hydra writes into the folder, too.
    with nothing_left, refusals(), full_disk_named(folder):
        code = hydra_for(command).run(command.config_name, job, overrides).return_value
    return ExitCode(code if code is not None else ExitCode.FAILED)


def _occupied(folder: str, setting: str) -> list[Problem]:
    """Refuse to overwrite an earlier run in a folder that the user chose."""
    try:
        is_there = RunFolder(Path(folder)).record.exists()
    except OSError:
        # Its name is too long: `make` says so.
        is_there = False
    if not is_there:
        return []
    return [
        Problem(
            setting=setting,
            given=folder,
            reason="there is a run in this folder already, and it would be lost",
            fix="choose another folder, or remove this one",
        )
    ]
