"""Launch: what the settings ask for is run by Hydra, job by job. Imports no torch."""

from __future__ import annotations

import itertools
import os
import sys
import time
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from harness.capture.run_folder import held, link_latest, make
from harness.capture.run_record import RUN_FILE, RunRecord
from harness.cli.arguments import Command, all_problems, composed, refuse
from harness.cli.console import ERR, OUT
from harness.cli.progress import ConsoleProgress, headline
from harness.compose.composition import CONF, Composition, choices, identity, request_of
from harness.compose.overrides import quoted
from harness.doctor.preflight import check_machine
from harness.errors import ExitCode, Problem, RefusedError, worst
from harness.merge.pipeline import merge_runs
from harness.pipeline import Finished, run_job
from harness.report.sweep import keep_summary, sections
from harness.report.terminal import show
from harness.report.units import duration
from harness.settings.request import Request
from harness.sweep import jobs


def carry_out(command: Command) -> ExitCode:
    """Run what the settings ask for, or show what Hydra's flags ask for."""
    flags = command.flags
    if flags.help:
        return _help(flags)
    if flags.hydra_help or flags.shell_completion:
        return _hydra(command, command.overrides)
    composition = composed(command)
    if flags.cfg or flags.info:
        refuse(
            [
                *composition.problems,
                *(item for job in composition.jobs for item in job.problems if item.given != "???"),
            ]
        )
        return _hydra(command, command.overrides)
    refuse(all_problems(composition))
    return _sweep(command, composition) if composition.multirun else _single(command, composition)


def _help(flags: Namespace) -> ExitCode:
    """Print the help page, with the choices that there are; Hydra would list our bases, too."""
    page = OmegaConf.load(CONF / "hydra" / "help" / "harness.yaml")
    groups = choices(flags.config_dir, flags.config_name or "config")
    # Profiles say what they mean for each device in a folder: one line a device.
    rows = [
        (group, " ".join(names))
        for group, files in groups.items()
        for _, names in itertools.groupby(files, lambda name: name.rpartition("/")[0])
    ]
    width = max(map(len, groups))
    lines = [f"  {group:<{width}}  {names}" for group, names in rows]
    text = str(page.template).replace("$APP_CONFIG_GROUPS", "\n".join(lines))
    OUT.print(text.rstrip(), highlight=False, markup=False, soft_wrap=True)
    return ExitCode.OK


def _single(command: Command, composition: Composition) -> ExitCode:
    (job,) = composition.jobs
    assert job.request is not None
    check_machine(job.request, ERR.print)
    refuse(_occupied(composition.folder))
    make(Path(composition.folder), "hydra.run.dir")
    _done.clear()
    # Else it would be that of another moment.
    _hydra(command, [*command.overrides, f"hydra.run.dir={quoted(composition.folder)}"])
    (record,) = _done
    return ExitCode(record.exit_code if record.exit_code is not None else ExitCode.FAILED)


def _occupied(folder: str) -> list[Problem]:
    """Refuse to overwrite an earlier run in a folder that the user chose."""
    if not (Path(folder) / RUN_FILE).exists():
        return []
    return [
        Problem(
            setting="hydra.run.dir",
            given=folder,
            reason="there is a run in this folder already, and it would be lost",
            fix="choose another folder, or remove this one",
        )
    ]


def _sweep(command: Command, composition: Composition) -> ExitCode:
    folder = jobs.sweep_folder(composition, identity(composition))
    make(folder, "hydra.sweep.dir")
    with held(folder, ERR.print):
        return _held_sweep(command, composition, folder)


def _held_sweep(command: Command, composition: Composition, folder: Path) -> ExitCode:
    """Run a sweep in a folder that is its own."""
    fixed = jobs.fixed_keys(composition)
    overrides = [
        *command.overrides,
        f"hydra.sweep.dir={quoted(str(folder))}",
        f"hydra.job.config.override_dirname.exclude_keys=[{','.join(map(repr, fixed))}]",
    ]
    running = _sweeps[:] = [_Sweep(composition, jobs.kept(folder, composition))]
    jobs.begin(folder, composition, running[0].kept)
    link_latest(folder)
    try:
        _hydra(command, overrides)
    except KeyboardInterrupt:
        running[0].interrupted = True
    finally:
        # Whatever went wrong in one job, the others are told of.
        found = jobs.end(folder, composition)
        parts = sections(composition.swept, found, running[0].kept, folder)
        keep_summary(parts, folder)
        show(parts, OUT)
    if running[0].interrupted:
        return ExitCode.INTERRUPTED
    codes = [jobs.exit_code(found)]
    if jobs.varies_counters(composition):
        codes.append(_merged(folder, composition))
    return worst(codes)


def _merged(folder: Path, composition: Composition) -> ExitCode:
    """Merge what a sweep over counters measured; say so if that is refused."""
    request = composition.jobs[0].request
    assert request is not None
    try:
        done = merge_runs([folder], folder, request.merge, request.analysis)
    except RefusedError as error:
        ERR.print("\nnot merged:", style="bold red", highlight=False)
        for problem in error.problems:
            ERR.print(f"  {problem}", markup=False, highlight=False, soft_wrap=True)
        return ExitCode.NOT_DELIVERED
    show(done.summary, OUT)
    return done.exit_code


class _Sweep:
    """What the jobs of the sweep in this process share."""

    def __init__(self, composition: Composition, kept: list[bool]) -> None:
        self.composition = composition
        self.kept = kept
        self.started = time.monotonic()
        self.interrupted = False

    def headline(self, number: int) -> None:
        """Say which job begins, how long the sweep has taken, and what is kept."""
        known = sum(self.kept)
        passed = duration((time.monotonic() - self.started) * 1e9)
        notes = [*([f"{passed} so far"] if number else []), *([f"{known} kept"] if known else [])]
        text = jobs.varied_text(self.composition, self.composition.jobs[number])
        headline(ERR, number, len(self.kept), text, ", ".join(notes))


_sweeps: list[_Sweep] = []
"""The one that is running, if any."""
_done: list[RunRecord] = []


def job(config: DictConfig) -> None:
    """Run one job that Hydra composed. Never raises, never exits: the record has the code."""
    run = HydraConfig.get()
    folder = Path(run.runtime.output_dir)
    overrides = tuple(str(text) for text in run.overrides.task)
    chosen = OmegaConf.to_container(run.runtime.choices)
    assert isinstance(chosen, dict)
    request, found = request_of(config, {str(group): chosen[group] for group in chosen})
    if request is None:
        raise RefusedError(found)
    if str(run.mode) == "RunMode.MULTIRUN":
        _one_of_many(_sweeps[0], int(run.job.num), request, folder, overrides)
        return
    link_latest(folder)
    done = _run(request, folder, overrides)
    _done.append(done.record)
    show(done.summary, OUT)


def _one_of_many(
    sweep: _Sweep, number: int, request: Request, folder: Path, overrides: tuple[str, ...]
) -> None:
    """Run a job of a sweep, unless it is kept; its summary stays in its folder."""
    sweep.headline(number)
    if sweep.interrupted:
        ERR.print("not run: the sweep was interrupted")
    elif sweep.kept[number]:
        ERR.print("kept from before; sweep.resume=false runs it again")
    else:
        record = _run(request, folder, overrides).record
        sweep.interrupted |= record.status == "interrupted"
        text = f"{record.verdict.replace('_', ' ')}, exit code {record.exit_code}"
        where = folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
        ERR.print(f"{text}: {where}/summary.md", markup=False, highlight=False, soft_wrap=True)


def _run(request: Request, folder: Path, overrides: tuple[str, ...]) -> Finished:
    with ConsoleProgress(ERR) as screen:
        done = run_job(request, folder, overrides=overrides, listener=screen)
    if done.traceback:
        OUT.print(f"\n{done.traceback.rstrip()}", highlight=False, markup=False)
    return done


def _hydra(command: Command, overrides: Sequence[str]) -> ExitCode:
    """Hand over to Hydra: its flags, composition, output folders, launchers."""
    # Without it Hydra prints a traceback of its own choice and exits with 1.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    sys.argv = ["harness", *command.options, *overrides]
    run = hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")(job)
    try:
        run()
    except (HydraException, OmegaConfBaseException) as error:
        raise RefusedError(
            [
                Problem(
                    setting="configuration",
                    given="",
                    reason="Hydra refuses it: " + " ".join(str(error).split()),
                    fix="see --info defaults",
                )
            ]
        ) from error
    return ExitCode.OK
