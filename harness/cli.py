"""The command line: verbs, exit codes, and Hydra for everything else. Imports no torch."""

from __future__ import annotations

import itertools
import os
import re
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from msgspec import Struct
from msgspec.structs import replace
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console

from harness import __version__, checking, jobs, rendering
from harness.compose import CONF, Composition, choices, compose_jobs, identity, request_of
from harness.doctor import doctor
from harness.errors import ExitCode, HarnessError, Problem, RefusedError, worst
from harness.overrides import opened
from harness.pipeline import check_machine, finished, is_run, read_capture, read_run, run_job
from harness.records import REHEARSED, RUN_FILE, RunRecord, as_typed
from harness.screen import Screen
from harness.validate import problems

_PIPE_WIDTH = 120
OUT = Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH)
ERR = Console(stderr=True, width=None if sys.stderr.isatty() else _PIPE_WIDTH)


class Command(Struct, frozen=True):
    """A command line, taken apart."""

    flags: Namespace
    """Hydra's own flags, and the overrides."""
    options: tuple[str, ...]
    """The words of the flags, to be handed on."""
    overrides: tuple[str, ...]
    """The settings."""
    paths: tuple[str, ...] = ()
    """Of a verb that takes one: what it is to work on."""


def main() -> None:
    """Run the command line; always ends in ``sys.exit`` with one of `ExitCode`."""
    try:
        code = _main(sys.argv[1:])
    except HarnessError as error:
        code = _explain(error)
    except KeyboardInterrupt:
        ERR.print("interrupted")
        code = ExitCode.INTERRUPTED
    sys.exit(int(code))


def _main(words: Sequence[str]) -> ExitCode:
    if "--version" in words:
        OUT.print(f"harness {__version__}", highlight=False)
        return ExitCode.OK
    command, verb = _parse(words)
    if verb:
        return VERBS[verb](command)
    return _carry_out(command)


def _carry_out(command: Command) -> ExitCode:
    """Run what the settings ask for, or show what Hydra's flags ask for."""
    flags = command.flags
    if flags.help:
        return _help(flags)
    if flags.hydra_help or flags.shell_completion:
        return _hydra(command, command.overrides)
    composition = _composed(command)
    if flags.cfg or flags.info:
        _refuse(
            [
                *composition.problems,
                *(item for job in composition.jobs for item in job.problems if item.given != "???"),
            ]
        )
        return _hydra(command, command.overrides)
    _refuse(_all_problems(composition))
    return _sweep(command, composition) if composition.multirun else _single(command, composition)


def _parse(words: Sequence[str]) -> tuple[Command, str]:
    """Tell flags, settings and the verb apart, wherever they stand."""
    parser = get_args_parser()
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--out", metavar="DIR")
    flags = parser.parse_intermixed_args(list(words))
    positional = list(flags.overrides)
    bare = [word for word in positional if "=" not in word and word[:1] not in "+~"]
    verb = next((word for word in bare if word in VERBS), "")
    paths = [word for word in bare if word != verb] if verb in TAKE_A_PATH else []
    unknown = [word for word in bare if word not in VERBS and word not in paths]
    if unknown or len(bare) - len(paths) > 1:
        word = (unknown or bare)[-1]
        raise RefusedError(
            [
                Problem(
                    setting=word,
                    given="",
                    allowed="a bare word is a command, and "
                    + ("there is no such one" if unknown else "only one can be given"),
                    fix=f"one of: {', '.join(VERBS)}; a setting is written name=value",
                )
            ]
        )
    overrides = opened(word for word in positional if word not in bare)
    options = list(words)
    for word in positional:
        options.remove(word)
    for flag, given in (
        ("--config-path", flags.config_path),
        ("--experimental-rerun", flags.experimental_rerun),
    ):
        if given:
            raise RefusedError(
                [
                    Problem(
                        setting=flag,
                        given=given,
                        allowed="the harness needs its own configuration below yours",
                        fix="--config-dir FOLDER adds yours; settings are repeated as overrides",
                    )
                ]
            )
    if flags.json and verb not in ANSWER_IN_JSON:
        raise RefusedError(
            [
                Problem(
                    setting="--json",
                    given="",
                    allowed="only doctor answers in JSON",
                    fix="leave it out; a run's figures are in run.json and tables/",
                )
            ]
        )
    if flags.out is not None and verb not in WRITE_A_FOLDER:
        raise RefusedError(
            [
                Problem(
                    setting="--out",
                    given=flags.out,
                    allowed="only read takes it",
                    fix="hydra.run.dir=FOLDER says where a run goes",
                )
            ]
        )
    return Command(flags, tuple(options), overrides, tuple(paths)), verb


def _composed(command: Command) -> Composition:
    return compose_jobs(
        command.overrides,
        multirun=bool(command.flags.multirun),
        config_dir=command.flags.config_dir,
        config_name=command.flags.config_name or "config",
    )


def _all_problems(composition: Composition) -> list[Problem]:
    """Return what is wrong with any job, each problem once, with the job where not all have it."""
    found = list(composition.problems)
    seen: dict[Problem, list[str]] = {}
    for job in composition.jobs:
        own = [*job.problems, *(problems(job.request) if job.request else ())]
        for problem in own:
            seen.setdefault(problem, []).append(" ".join(job.overrides))
    for problem, where in seen.items():
        some = len(where) < len(composition.jobs)
        note = f" (in {len(where)} of {len(composition.jobs)} jobs, first: {where[0]})"
        allowed = problem.allowed + (note if some else "")
        found.append(replace(problem, allowed=allowed))
    return found


def _refuse(found: Sequence[Problem]) -> None:
    if found:
        raise RefusedError(found)


def _explain(error: HarnessError) -> ExitCode:
    """Print an error for a person, and return its exit code."""
    if isinstance(error, RefusedError):
        count = len(error.problems)
        ERR.print(
            f"refused, nothing was run: {count} problem{'s' if count > 1 else ''}",
            style="bold red",
            highlight=False,
        )
        for problem in error.problems:
            ERR.print(f"  {problem}", markup=False, highlight=False, soft_wrap=True)
    else:
        ERR.print(str(error), style="bold red", markup=False, highlight=False, soft_wrap=True)
    return error.exit_code


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


def _check(command: Command) -> ExitCode:
    """Show what would be done, job by job, and do nothing."""
    composition = _composed(command)
    _refuse(_all_problems(composition))
    for number, job in enumerate(composition.jobs):
        assert job.request is not None
        if composition.multirun:
            jobs.headline(OUT, number, len(composition.jobs), job.overrides)
        checking.show(job.request, OUT)
    return ExitCode.OK


def _doctor(command: Command) -> ExitCode:
    """Say whether this machine is able to."""
    return doctor(command.overrides, OUT, as_json=command.flags.json)


def _rehearse(command: Command) -> ExitCode:
    """Run as if there were an NPU."""
    devices = [text for text in command.overrides if text.startswith("device=")]
    _refuse(
        [
            Problem(
                setting="device",
                given=text.partition("=")[2],
                allowed="a rehearsal stands in for an NPU; other devices are run",
                fix="leave it out, or run without rehearse",
            )
            for text in devices
            if text != REHEARSED[0]
        ]
    )
    added = [text for text in REHEARSED if text not in command.overrides]
    return _carry_out(replace(command, overrides=(*added, *command.overrides)))


def _read(command: Command) -> ExitCode:
    """Take in a capture from elsewhere; of a run, complete the verdict, or judge it again."""
    limit_s = _analysis_limit(command.overrides)
    if len(command.paths) != 1:
        raise RefusedError(
            [
                Problem(
                    setting="read",
                    given=" ".join(command.paths),
                    allowed="it takes one capture, or the folder of one run",
                    fix="python -m harness read PATH",
                )
            ]
        )
    path, out = Path(command.paths[0]), command.flags.out
    if is_run(path):
        _refuse(_run_stays(out))
        with Screen(ERR) as screen:
            done = read_run(path, watch=screen, limit_s=limit_s)
    else:
        _refuse(_nothing_to_analyse(command.overrides))
        folder = Path(out) if out else jobs.new_folder()
        done = read_capture(path, folder)
        jobs.link_latest(folder)
    rendering.show(done.summary, OUT)
    return ExitCode(done.record.exit_code or ExitCode.OK)


def _run_stays(out: str | None) -> list[Problem]:
    if out is None:
        return []
    why = "a run is read where it is; --out is for captures from elsewhere"
    return [Problem(setting="--out", given=out, allowed=why, fix="leave it out")]


def _nothing_to_analyse(overrides: Sequence[str]) -> list[Problem]:
    why = "of a capture from elsewhere, only what is there is read"
    return [
        Problem(setting=text.partition("=")[0], given="", allowed=why, fix="leave it out")
        for text in overrides
    ]


def _analysis_limit(overrides: Sequence[str]) -> float | None:
    """Return the one setting that a run read again can be given: seconds, or none."""
    limit_s: float | None = None
    for text in overrides:
        setting, _, given = text.partition("=")
        known = setting == "profiler.analyse_timeout_s"
        if not known or not re.fullmatch(r"null|\d+(\.\d*)?", given):
            raise RefusedError(
                [
                    Problem(
                        setting=setting,
                        given=given,
                        allowed="it must be seconds, or null"
                        if known
                        else "read takes a run as it was, with its settings",
                        fix="leave it out, or profiler.analyse_timeout_s=SECONDS",
                    )
                ]
            )
        limit_s = None if given == "null" else float(given)
    return limit_s


VERBS: dict[str, Callable[[Command], ExitCode]] = {
    "check": _check,
    "doctor": _doctor,
    "read": _read,
    "rehearse": _rehearse,
}
"""The verbs; a new one is a line here, and a line in conf/hydra/help/harness.yaml."""

TAKE_A_PATH = {"read"}
"""Those that take bare words beside the verb."""

WRITE_A_FOLDER = {"read"}
"""Those that know ``--out``."""

ANSWER_IN_JSON = {"doctor"}
"""Those that know ``--json``; Hydra does not, and never sees it."""


def _single(command: Command, composition: Composition) -> ExitCode:
    (job,) = composition.jobs
    assert job.request is not None
    check_machine(job.request, ERR.print)
    _refuse(_occupied(command.overrides))
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
