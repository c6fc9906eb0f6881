"""Launch: what the settings ask for is run by Hydra, job by job. Imports no torch."""

from __future__ import annotations

import itertools
import os
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from harness import jobs, rendering
from harness.command import ERR, OUT, Command, all_problems, composed, refuse
from harness.compose import CONF, Composition, choices, identity, request_of
from harness.errors import ExitCode, Problem, RefusedError, worst
from harness.pipeline import check_machine, finished, run_job
from harness.records import RUN_FILE, RunRecord, as_typed
from harness.screen import Screen


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
    refuse(_occupied(command.overrides))
    _done.clear()
    _hydra(command, command.overrides)
    (record,) = _done
    return ExitCode(record.exit_code if record.exit_code is not None else ExitCode.FAILED)


def _occupied(overrides: Sequence[str]) -> list[Problem]:
    """Refuse to overwrite an earlier run in a folder that the user chose."""
    folders = [text.partition("=")[2] for text in overrides if text.startswith("hydra.run.dir=")]
    return [
        Problem(
            setting="hydra.run.dir",
            given=folder,
            allowed="there is a run in this folder already, and it would be lost",
            fix="choose another folder, or remove this one",
        )
        for folder in folders[-1:]
        if (Path(folder) / RUN_FILE).exists()
    ]


def _sweep(command: Command, composition: Composition) -> ExitCode:
    folder = jobs.sweep_folder(command.overrides, composition, identity(composition))
    fixed = jobs.fixed_keys(composition)
    overrides = [
        *command.overrides,
        f"hydra.sweep.dir={folder}",
        f"hydra.job.config.override_dirname.exclude_keys=[{','.join(map(repr, fixed))}]",
    ]
    _state.total, _state.interrupted = len(composition.jobs), False
    jobs.link_latest(folder)
    _hydra(command, overrides)
    records = jobs.records(folder, composition)
    jobs.show(OUT, records, folder)
    return worst(
        record.exit_code if record and record.exit_code is not None else ExitCode.FAILED
        for _, record in records
    )


class _State:
    """What the jobs of a sweep in this process share."""

    total = 1
    interrupted = False


_state = _State()
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
    sweeping = str(run.mode) == "RunMode.MULTIRUN"
    if sweeping:
        typed = as_typed(overrides, rehearsed=request.rehearsal.emulate)
        jobs.headline(ERR, run.job.num, _state.total, typed)
        if _state.interrupted:
            ERR.print("not run: the sweep was interrupted")
            return
        if request.sweep.resume and finished(request, folder):
            ERR.print("kept from before; sweep.resume=false runs it again")
            return
    else:
        jobs.link_latest(folder)
    with Screen(ERR) as screen:
        done = run_job(request, folder, overrides=overrides, watch=screen)
    _state.interrupted |= done.record.status == "interrupted"
    _done.append(done.record)
    if done.traceback:
        OUT.print(f"\n{done.traceback.rstrip()}", highlight=False, markup=False)
    rendering.show(done.summary, OUT)


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
                    allowed="Hydra refuses it: " + " ".join(str(error).split()),
                    fix="see --info defaults",
                )
            ]
        ) from error
    return ExitCode.OK
