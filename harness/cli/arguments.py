"""The words of a command line, taken apart and composed; and where people read the answers."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from hydra._internal.utils import get_args_parser
from msgspec import Struct

from harness.compose.composition import Composition, compose_jobs
from harness.compose.overrides import opened
from harness.compose.validate import problems
from harness.errors import ExitCode, Problem, RefusedError


class Command(Struct, frozen=True):
    """A command line, taken apart."""

    flags: Namespace
    """Hydra's own flags, and the overrides."""
    options: tuple[str, ...]
    """The words of the flags, to be handed on."""
    overrides: tuple[str, ...]
    """The settings."""
    paths: tuple[str, ...] = ()
    """Of a verb that takes them: what it is to work on."""


class Subcommand(Struct, frozen=True, kw_only=True):
    """What a bare word does, and what may stand beside it."""

    run: Callable[[Command], ExitCode]
    paths: bool = False
    """Whether it takes other bare words: files and folders."""
    flags: tuple[str, ...] = ()
    """Those of ``--json`` and ``--out`` that it knows; Hydra does not, and never sees them."""


def parse(words: Sequence[str], subcommands: Mapping[str, Subcommand]) -> tuple[Command, str]:
    """Tell flags, settings and the verb apart, wherever they stand.

    Returns:
        The command, and the name of its verb; empty without one.

    Raises:
        RefusedError: A bare word is no verb, there are two verbs, or a flag has no place here.
    """
    parser = get_args_parser()
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--out", metavar="DIR")
    flags = parser.parse_intermixed_args(list(words))
    positional = list(flags.overrides)
    bare = [word for word in positional if "=" not in word and word[:1] not in "+~"]
    subcommand = next((word for word in bare if word in subcommands), "")
    if subcommand and subcommands[subcommand].paths:
        # The folder of a sweep's job has "=" in its name.
        bare = [word for word in positional if word in bare or _is_path(word)]
    paths = (
        [word for word in bare if word != subcommand]
        if subcommand and subcommands[subcommand].paths
        else []
    )
    unknown = [word for word in bare if word not in subcommands and word not in paths]
    if unknown or len(bare) - len(paths) > 1:
        word = (unknown or bare)[-1]
        raise RefusedError(
            [
                Problem(
                    setting=word,
                    given="",
                    reason="a bare word is a command, and "
                    + ("there is no such one" if unknown else "only one can be given"),
                    fix=f"one of: {', '.join(subcommands)}; a setting is written name=value",
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
                        reason="the harness needs its own configuration below yours",
                        fix="--config-dir FOLDER adds yours; settings are repeated as overrides",
                    )
                ]
            )
    known = subcommands[subcommand].flags if subcommand else ()
    if flags.json and "--json" not in known:
        raise RefusedError(
            [
                Problem(
                    setting="--json",
                    given="",
                    reason="only doctor answers in JSON",
                    fix="leave it out; a run's figures are in run.json and tables/",
                )
            ]
        )
    if flags.out is not None and "--out" not in known:
        raise RefusedError(
            [
                Problem(
                    setting="--out",
                    given=flags.out,
                    reason="only read and merge take it",
                    fix="hydra.run.dir=FOLDER says where a run goes",
                )
            ]
        )
    return Command(flags, tuple(options), overrides, tuple(paths)), subcommand


def _is_path(word: str) -> bool:
    """Tell a path with "=" in it, there or not, from a setting of a verb that takes paths."""
    if "/" in word.partition("=")[0]:
        return True
    try:
        return Path(word).exists()
    except OSError:
        # Longer than a file's name may be.
        return False


def composed(command: Command) -> Composition:
    """Compose all that a command asks for; what is wrong with it is part of the answer."""
    return compose_jobs(
        command.overrides,
        multirun=bool(command.flags.multirun),
        config_dir=command.flags.config_dir,
        config_name=command.flags.config_name or "config",
    )


def all_problems(composition: Composition) -> list[Problem]:
    """Return what is wrong with any job, each problem once, with the jobs where not all have it.

    What is wrong with several values of one setting, in the same way, is one problem.
    """
    found = list(composition.problems)
    seen: dict[tuple[str, str, str], list[tuple[str, str]]] = {}
    for job in composition.jobs:
        for each in [*job.problems, *(problems(job.request) if job.request else ())]:
            same = each.setting, each.reason, each.fix
            seen.setdefault(same, []).append((each.given, " ".join(job.overrides)))
    for (setting, reason, fix), where in seen.items():
        given = ",".join(dict.fromkeys(value for value, _ in where))
        jobs = list(dict.fromkeys(job for _, job in where))
        some = len(jobs) < len(composition.jobs)
        note = f" (in {len(jobs)} of {len(composition.jobs)} jobs, first: {jobs[0]})"
        why = reason + (note if some else "")
        found.append(Problem(setting=setting, given=given, reason=why, fix=fix))
    return found


def refuse(found: Sequence[Problem]) -> None:
    """Raise `RefusedError` if there is any problem."""
    if found:
        raise RefusedError(found)
