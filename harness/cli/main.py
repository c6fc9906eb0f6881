"""The command line: run the subcommand, explain an error, exit with its code."""

from __future__ import annotations

import errno
import gc
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from harness import __version__
from harness.cli import streams
from harness.cli.arguments import parse
from harness.cli.commands import RUN, SUBCOMMANDS
from harness.cli.program_words import split_program
from harness.errors import ExitCode, HarnessError, Problem, RefusedError
from harness.files import full_disk_named

_OBJECTS = 50_000
"""How many more there must be before Python looks for garbage; its own figure is 700."""
_SHOWN = 100
"""Characters of a path that is too long."""


def main() -> None:
    """Run the command line; always ends in ``sys.exit`` with one of `ExitCode`."""
    streams.keep_going()
    # Nearly all that imports and composing make is there to stay: looking for garbage at Python's
    # own pace finds none.
    gc.set_threshold(_OBJECTS, *gc.get_threshold()[1:])
    try:
        with full_disk_named(Path()):
            code = _main(sys.argv[1:])
    except HarnessError as error:
        code = _explain(error)
    except OSError as error:
        if error.errno not in {errno.ENAMETOOLONG, errno.EFBIG}:
            raise
        code = _explain(RefusedError([_too_large(error)]))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        code = ExitCode.INTERRUPTED
    sys.exit(int(code))


def _too_large(error: OSError) -> Problem:
    path = str(error.filename)
    if error.errno == errno.EFBIG:
        reason = str(error.strerror)
        return Problem(setting=path, given="", reason=reason, fix="name another capture or run")
    reason = (
        f"a file system takes no path of {len(os.fsencode(path)):,} bytes, or such a name in it"
    )
    return Problem(setting=path[:_SHOWN] + "…", given="", reason=reason, fix="name another path")


def _main(words: Sequence[str]) -> ExitCode:
    if "--version" in split_program(words)[0]:
        print(f"harness {__version__}")
        return ExitCode.OK
    command, name = parse(words, RUN, SUBCOMMANDS)
    if "--help" in command.flags:
        from harness.cli.help import help_for

        return help_for(command, RUN, SUBCOMMANDS, name)
    code = SUBCOMMANDS.get(name, RUN).run(command)
    if "--json" in command.flags:
        streams.refuse_full_output()
    return code


def _explain(error: HarnessError) -> ExitCode:
    """Print an error for a person, and return its exit code."""
    from harness.cli.console import ERR

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
