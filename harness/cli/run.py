"""The command line without a subcommand, and ``rehearse``: run what the settings ask for."""

from __future__ import annotations

from msgspec.structs import replace

from harness.cli.arguments import Command
from harness.cli.prepare import prepared
from harness.errors import ExitCode, Problem, refuse


def run(command: Command) -> ExitCode:
    """Run what the settings ask for; or show what Hydra's flags ask for, and run nothing."""
    if {"--cfg", "--info", "--hydra-help", "--shell-completion"} & set(command.flags):
        from harness.cli.show import show

        return show(command)
    composition = prepared(command)

    from harness.cli.hydra_app import carry_out

    return carry_out(command, composition)


def rehearse(command: Command) -> ExitCode:
    """Run as if there were an NPU."""
    from harness.capture.run_record import REHEARSED

    devices = [text for text in command.overrides if text.startswith("device=")]
    refuse(
        [
            Problem(
                setting="device",
                given=text.partition("=")[2],
                reason="a rehearsal runs on an emulated NPU, never on another device",
                fix="leave it out, or run without rehearse",
            )
            for text in devices
            if text != REHEARSED[0]
        ]
    )
    added = [text for text in REHEARSED if text not in command.overrides]
    return run(replace(command, overrides=(*added, *command.overrides)))
