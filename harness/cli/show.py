"""What Hydra's own flags show: the composed configuration, its sources, shell completion."""

from __future__ import annotations

import sys

from omegaconf import OmegaConf

from harness.cli.arguments import Command
from harness.cli.prepare import composed
from harness.configuration.composition import Composition
from harness.errors import ExitCode, refuse
from harness.text import visible


def show(command: Command) -> ExitCode:
    """Print what the flags request; a value that must still be given is no problem here."""
    if {"--cfg", "--info"} & set(command.flags):
        composition = composed(command)
        problems = [item for job in composition.jobs for item in job.problems]
        refuse([*composition.problems, *(item for item in problems if item.given != "???")])
        if _is_plain(command, composition):
            # Hydra would compose it again.
            sys.stdout.write(visible(OmegaConf.to_yaml(OmegaConf.create(composition.unswept))))
            return ExitCode.OK

    from harness.cli.hydra_main import show_with_hydra

    show_with_hydra(command)
    return ExitCode.OK


def _is_plain(command: Command, composition: Composition) -> bool:
    """Return whether the whole configuration of the one job is requested, as it is composed."""
    return (
        command.flags.get("--cfg") == "job"
        and not {"--package", "--resolve"} & set(command.flags)
        and not composition.multirun
    )
