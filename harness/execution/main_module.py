"""Run a Python file or a module as Python itself would: as ``__main__``, with its own words."""

from __future__ import annotations

import ast
import builtins
import runpy
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, Final

from msgspec import Struct

from harness.execution.raised import described
from harness.workloads.program import MAIN, Program, function_in

_COUNTED: Final = "__harness_counted__"
"""The name in the program's module of what counts the calls of one of its functions."""
_INTERRUPTED: Final = 130
Counted = Callable[[Callable[..., Any]], Callable[..., Any]]


class StopProgramError(BaseException):
    """Ends the program; no ``except Exception`` of its own keeps it alive."""


class Ending(Struct, frozen=True):
    """How a program ended."""

    exit_code: int = 0
    reason: str = ""
    """What it raised, or its exit code, in one line; empty if it ended well."""


def run_main(program: Program, counted: Counted) -> Ending:
    """Run a program to its end, its threads included; whatever it raises is printed as ever.

    `counted` wraps the function of ``workload.step=__main__:function``.
    """
    try:
        _run(program, counted)
        _join_threads()
    except StopProgramError:
        return Ending()
    except SystemExit as error:
        return _exit_code(error)
    except BaseException as error:  # noqa: BLE001 - the user's program may raise anything
        error.__traceback__ = _of_program(error.__traceback__)
        return _raised(error)
    return Ending()


def _run(program: Program, counted: Counted) -> None:
    if program.script:
        _run_script(program, program.script, counted)
    else:
        assert program.module
        _run_module(program.module, program.args)


def _run_script(program: Program, script: str, counted: Counted) -> None:
    path = Path(script)
    main = ModuleType(MAIN)
    loader = SourceFileLoader(MAIN, str(path.absolute()))
    vars(main).update(__file__=str(path.absolute()), __builtins__=builtins, __loader__=loader)
    sys.modules[MAIN] = main
    sys.argv[:] = [script, *program.args]
    sys.path.insert(0, str(path.resolve().parent))
    code: ast.Module | bytes = path.read_bytes()
    if program.function and program.function[0] == MAIN:
        vars(main)[_COUNTED] = counted
        code = _with_counted(ast.parse(code, script), program.function[1])
    # As Python does, so that tracebacks have their lines wherever the program goes.
    file = str(path.absolute())
    exec(compile(code, file, "exec", dont_inherit=True), vars(main))  # noqa: S102 - its purpose


def _with_counted(tree: ast.Module, function: str) -> ast.Module:
    """Decorate a function of a script, outside of its own decorators."""
    definition = function_in(tree, function)
    if definition is not None:
        decorator = ast.Name(id=_COUNTED, ctx=ast.Load())
        definition.decorator_list.insert(0, ast.copy_location(decorator, definition))
    return ast.fix_missing_locations(tree)


def _run_module(module: str, words: tuple[str, ...]) -> None:
    sys.argv[:] = ["-m", *words]
    sys.path.insert(0, str(Path.cwd()))
    sys.modules[MAIN] = ModuleType(MAIN)
    # What `python -m` calls; run_module would take the module away before the program's threads
    # and what it has registered for the end are done with it.
    runpy._run_module_as_main(module)  # type: ignore[attr-defined]  # noqa: SLF001


def _join_threads() -> None:
    """Wait for the program's threads, as Python does before it ends.

    The threads of an executor wait for work until they are told of the end; so Python does, too.
    """
    at_end: list[Callable[[], object]] = getattr(threading, "_threading_atexits", [])
    while threads := [
        thread
        for thread in threading.enumerate()
        if not thread.daemon and thread is not threading.current_thread()
    ]:
        while at_end:
            at_end.pop()()
        threads[0].join()


def _raised(error: BaseException) -> Ending:
    """Print what the program raised, by its own hook if it has one, which may end it, too."""
    code = _INTERRUPTED if isinstance(error, KeyboardInterrupt) else 1
    try:
        sys.excepthook(type(error), error, error.__traceback__)
    except SystemExit as ended:
        code = _exit_code(ended).exit_code
    except BaseException as second:  # noqa: BLE001 - the program's hook may raise anything
        second.__traceback__ = _of_program(second.__traceback__)
        for each in (second, error):
            sys.__excepthook__(type(each), each, each.__traceback__)
    return Ending(code, f"the program raised {described(error)}")


def _exit_code(error: SystemExit) -> Ending:
    """Return what the system gets from ``sys.exit(…)``; print what is no number, as ever."""
    code = error.code
    if code is None:
        return Ending()
    if not isinstance(code, int):
        # The program may have closed its streams.
        with suppress(Exception):
            print(code, file=sys.stderr)
        code = 1
    code &= 0xFF
    return Ending(code, f"the program ended with exit code {code}" if code else "")


def _of_program(frames: TracebackType | None) -> TracebackType | None:
    """Return the traceback without the frames of this file and of runpy above the program's."""
    ours = {__file__, runpy.__file__, "<frozen runpy>"}
    while frames and frames.tb_frame.f_code.co_filename in ours:
        frames = frames.tb_next
    return frames
