"""The command line: the verb's own answer, or a launch; and the exit code. Imports no torch."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from harness import __version__
from harness.cli.arguments import parse
from harness.cli.commands import SUBCOMMANDS
from harness.cli.console import ERR, OUT
from harness.cli.hydra_app import carry_out
from harness.errors import ExitCode, HarnessError, RefusedError


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
    command, subcommand = parse(words, SUBCOMMANDS)
    return SUBCOMMANDS[subcommand].run(command) if subcommand else carry_out(command)


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
