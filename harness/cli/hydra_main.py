"""Hand a command over to Hydra's own command line."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import hydra
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from harness.cli.arguments import Command
from harness.compose.composition import CONF
from harness.compose.overrides import opened
from harness.errors import ExitCode, Problem, RefusedError


def run_hydra(command: Command, overrides: Sequence[str], job: Callable[[Any], None]) -> ExitCode:
    """Let Hydra do what its flags say, or compose and run `job`: folders, sweeps, launchers.

    Raises:
        RefusedError: Hydra refuses the configuration.
    """
    # Without it Hydra prints a traceback of its own choice and exits with 1.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    sys.argv = ["harness", *command.options, *opened(overrides)]
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
