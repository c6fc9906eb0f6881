"""What the settings ask for is run by Hydra, job by job. Imports no torch."""

from __future__ import annotations

import itertools
import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hydra import version
from hydra._internal.hydra import Hydra
from hydra._internal.utils import get_args_parser
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from harness.capture.run_folder import held, link_latest, make
from harness.capture.run_record import RUN_FILE
from harness.cli.arguments import Command, all_problems, composed, refuse
from harness.cli.console import ERR, OUT
from harness.cli.hydra_job import job
from harness.compose.composition import CONF, Composition, choices, identity, slug
from harness.compose.hydra_loader import JOB_NAME, VERSION_BASE, loader
from harness.compose.overrides import quoted
from harness.doctor.preflight import check_machine
from harness.errors import ExitCode, Problem, RefusedError, worst
from harness.merge.pipeline import merge_runs
from harness.report.sweep import keep_summary, sections
from harness.report.terminal import show
from harness.sweep import interrupts, jobs


def carry_out(command: Command) -> ExitCode:
    """Run what the settings ask for, or show what Hydra's flags ask for."""
    flags = command.flags
    if flags.help:
        return _help(flags)
    if flags.hydra_help or flags.shell_completion:
        return _show(command)
    composition = composed(command)
    if flags.cfg or flags.info:
        refuse(
            [
                *composition.problems,
                *(item for job in composition.jobs for item in job.problems if item.given != "???"),
            ]
        )
        return _show(command)
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
    request = composition.jobs[0].request
    assert request is not None
    check_machine(request, ERR.print)
    refuse(_occupied(composition.folder))
    make(Path(composition.folder), "hydra.run.dir")
    overrides = [
        *command.overrides,
        # Else it would be that of another moment.
        f"hydra.run.dir={quoted(composition.folder)}",
        "hydra.mode=RUN",
    ]
    with _refusals():
        code = _hydra(command).run(_config_name(command), job, overrides).return_value
    return ExitCode(code if code is not None else ExitCode.FAILED)


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
        kept = jobs.kept(folder, composition)
        interrupts.clear(folder)
        jobs.begin(folder, composition, kept)
        link_latest(folder)
        try:
            _launch(command, composition, folder)
        except KeyboardInterrupt:
            interrupts.mark(folder)
        finally:
            # Whatever goes wrong in one job, what became of the others is shown.
            results = jobs.end(folder, composition)
            parts = sections(composition.swept, results, kept, folder)
            keep_summary(parts, folder)
            show(parts, OUT)
        if interrupts.marked(folder):
            return ExitCode.INTERRUPTED
        codes = [jobs.exit_code(results)]
        if jobs.varies_counters(composition):
            codes.append(_merged(folder, composition))
        return worst(codes)


def _launch(command: Command, composition: Composition, folder: Path) -> None:
    """Let Hydra's launcher run the jobs, here or in processes of its own."""
    fixed = jobs.fixed_keys(composition)
    overrides = [
        *command.overrides,
        # A launcher's process may have another current folder.
        f"hydra.sweep.dir={quoted(str(folder.absolute()))}",
        "hydra.sweep.subdir='${harness.slug:${hydra.job.override_dirname}}'",
        f"hydra.job.config.override_dirname.exclude_keys=[{','.join(map(repr, fixed))}]",
        "hydra.mode=MULTIRUN",
    ]
    hydra = _hydra(command)
    if composition.in_this_process:
        with _refusals():
            hydra.multirun(_config_name(command), job, overrides)
        return
    try:
        with interrupts.first_marks(folder, ERR.print), _refusals():
            ERR.print("jobs that run at once slow each other down: do not compare their times")
            hydra.multirun(_config_name(command), job, overrides)
    except RuntimeError as error:
        # A launcher's own error, as when a worker was killed: jobs raise none.
        if not interrupts.marked(folder):
            name = composition.launcher.rpartition(".")[2]
            text = f"{name}: {type(error).__name__}: {' '.join(str(error).split())}"
            ERR.print(text, style="bold red", markup=False, highlight=False, soft_wrap=True)


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


def _show(command: Command) -> ExitCode:
    """Show what Hydra's own flags ask for."""
    flags, name, overrides = command.flags, _config_name(command), list(command.overrides)
    hydra = _hydra(command)
    with _refusals():
        if flags.hydra_help:
            flags.overrides = overrides
            hydra.hydra_help(name, get_args_parser(), flags)
        elif flags.shell_completion:
            _complete(hydra, name, overrides)
        elif flags.cfg:
            hydra.show_cfg(name, overrides, flags.cfg, flags.package, resolve=flags.resolve)
        else:
            hydra.show_info(flags.info, name, overrides)
    return ExitCode.OK


def _complete(hydra: Hydra, config_name: str, overrides: list[str]) -> None:
    """Print what a shell needs to complete the command, whose name Hydra takes from sys.argv."""
    before, sys.argv = sys.argv, [JOB_NAME]
    try:
        hydra.shell_completion(config_name, overrides)
    finally:
        sys.argv = before


def _config_name(command: Command) -> str:
    return command.flags.config_name or "config"


def _hydra(command: Command) -> Hydra:
    """Return Hydra itself; its ``main`` would need ``sys.argv`` and an environment variable."""
    version.setbase(VERSION_BASE)
    hydra = Hydra(JOB_NAME, loader(command.flags.config_dir))
    OmegaConf.register_new_resolver("harness.slug", slug, replace=True)
    return hydra


@contextmanager
def _refusals() -> Iterator[None]:
    """Turn Hydra's errors into refusals."""
    try:
        yield
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
