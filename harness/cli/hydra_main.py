"""Hydra itself, without its ``main``: that needs ``sys.argv`` and process-wide state."""

from __future__ import annotations

import os
import re
import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO

from hydra import version
from hydra._internal.hydra import Hydra
from hydra._internal.utils import get_args_parser
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from harness.cli.arguments import Command
from harness.configuration.composition import slug
from harness.configuration.config_files import plainly
from harness.configuration.hydra_loader import JOB_NAME, VERSION_BASE, loader, place_problems
from harness.configuration.overrides import opened
from harness.errors import Problem, RefusedError, refuse
from harness.text import visible


def hydra_for(command: Command) -> Hydra:
    """Return Hydra, with the configuration that a command reads."""
    version.setbase(VERSION_BASE)
    hydra = Hydra(JOB_NAME, loader(command.config_dir))
    OmegaConf.register_new_resolver("harness.slug", slug, replace=True)
    return hydra


@contextmanager
def refusals(setting: str = "hydra", given: str = "") -> Iterator[None]:
    """Turn Hydra's errors into refusals, under the setting that they name, or `setting`."""
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        named = re.search(r"full_key: ([\w.]+)", str(error))
        raise _refused(named[1] if named else setting, given, error) from error
    except ValueError as error:
        # As Python's logging says it of a file of hydra/job_logging.
        if not str(error).startswith("Unable to configure"):
            raise
        raise _refused("hydra/job_logging", "", error) from error


def _refused(setting: str, given: str, error: Exception) -> RefusedError:
    reason = f"Hydra does not take it: {plainly(error)}"
    fix = "leave it out; --info defaults shows which files are used"
    return RefusedError([Problem(setting=setting, given=given, reason=reason, fix=fix)])


def show_with_hydra(command: Command) -> None:
    """Print what Hydra's own flags request.

    Raises:
        RefusedError: Hydra refuses the configuration.
    """
    flags, name, overrides = command.flags, command.config_name, list(opened(command.overrides))
    refuse(place_problems(command.config_dir, name))
    hydra = hydra_for(command)
    if "--hydra-help" in flags:
        with refusals("--hydra-help"):
            hydra.hydra_help(name, get_args_parser(), Namespace(overrides=[]))
    elif "--shell-completion" in flags:
        refuse(_completion_problems(overrides))
        with refusals("--shell-completion"):
            _complete(hydra, name, overrides)
    elif "--cfg" in flags:
        with _only_text(), refusals("--cfg", flags["--cfg"]):
            _show_config(hydra, command, overrides)
    else:
        with _only_text(), refusals("--info", flags["--info"]):
            hydra.show_info(flags["--info"], name, overrides)


@contextmanager
def _only_text() -> Iterator[None]:
    """Print what a block prints once it is done, as text."""
    printed = StringIO()
    with redirect_stdout(printed):
        yield
    sys.stdout.write(visible(printed.getvalue()))


def _show_config(hydra: Hydra, command: Command, overrides: list[str]) -> None:
    flags, package = command.flags, command.flags.get("--package")
    resolve = "--resolve" in flags
    try:
        hydra.show_cfg(command.config_name, overrides, flags["--cfg"], package, resolve=resolve)
    except SystemExit as error:
        # So Hydra ends where there is no such part; it has printed that.
        reason, fix = "there is no such part of the configuration", "-p profiler, or leave it out"
        raise RefusedError(
            [Problem(setting="--package", given=package or "", reason=reason, fix=fix)]
        ) from error


_SHELLS = ("bash", "fish", "zsh")


def _completion_problems(overrides: list[str]) -> list[Problem]:
    """Return why Hydra cannot complete: it needs one of three words, with the name of a shell."""
    words = [text.partition("=") for text in overrides]
    # What a shell asks for while it completes, it says in a variable.
    actions = {"install", "uninstall", *(["query"] if "COMP_LINE" in os.environ else [])}
    asked = [shell for word, _, shell in words if word in actions]
    if len(asked) == 1 and asked[0] in _SHELLS:
        return []
    return [
        Problem(
            setting="--shell-completion",
            given=" ".join(overrides),
            reason=f"install or uninstall must be one of {', '.join(_SHELLS)}",
            fix='eval "$(harness --shell-completion install=bash)"',
        )
    ]


def _complete(hydra: Hydra, config_name: str, overrides: list[str]) -> None:
    """Print what a shell needs to complete the command, whose name Hydra takes from sys.argv."""
    before, sys.argv = sys.argv, [JOB_NAME]
    try:
        hydra.shell_completion(config_name, overrides)
    finally:
        sys.argv = before
