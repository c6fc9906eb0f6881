"""Hydra itself, without its ``main``: that needs ``sys.argv`` and process-wide state."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager

from hydra import version
from hydra._internal.hydra import Hydra
from hydra._internal.utils import get_args_parser
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from harness.cli.arguments import Command
from harness.compose.composition import slug
from harness.compose.hydra_loader import JOB_NAME, VERSION_BASE, loader
from harness.compose.overrides import opened
from harness.errors import Problem, RefusedError


def hydra_for(command: Command) -> Hydra:
    """Return Hydra, with the configuration that a command reads."""
    version.setbase(VERSION_BASE)
    hydra = Hydra(JOB_NAME, loader(command.config_dir))
    OmegaConf.register_new_resolver("harness.slug", slug, replace=True)
    return hydra


@contextmanager
def refusals() -> Iterator[None]:
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


def show_with_hydra(command: Command) -> None:
    """Print what Hydra's own flags request.

    Raises:
        RefusedError: Hydra refuses the configuration.
    """
    flags, name, overrides = command.flags, command.config_name, list(opened(command.overrides))
    hydra = hydra_for(command)
    with refusals():
        if "--hydra-help" in flags:
            hydra.hydra_help(name, get_args_parser(), Namespace(overrides=overrides))
        elif "--shell-completion" in flags:
            _complete(hydra, name, overrides)
        elif "--cfg" in flags:
            package, resolve = flags.get("--package"), "--resolve" in flags
            hydra.show_cfg(name, overrides, flags["--cfg"], package, resolve=resolve)
        else:
            hydra.show_info(flags["--info"], name, overrides)


def _complete(hydra: Hydra, config_name: str, overrides: list[str]) -> None:
    """Print what a shell needs to complete the command, whose name Hydra takes from sys.argv."""
    before, sys.argv = sys.argv, [JOB_NAME]
    try:
        hydra.shell_completion(config_name, overrides)
    finally:
        sys.argv = before
