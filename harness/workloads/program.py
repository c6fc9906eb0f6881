"""The user's own program, which runs its own loop: ``python -m harness -- train.py --lr 1e-3``."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

from harness.errors import Problem
from harness.workloads.base import Workload

STEPS: Final = ("auto", "optimizer", "dataloader", "whole")
"""What a step can be, beside the call of a function."""
MAIN: Final = "__main__"
"""Stands for the program itself in ``workload.step=__main__:function``."""

_FUNCTION: Final = re.compile(r"\w+(\.\w+)*:\w+(\.\w+)?")
_PYTHON: Final = re.compile(r"python[\d.]*")
_LAUNCHERS: Final = ("torchrun", "accelerate", "deepspeed", "srun", "mpirun", "msrun")
_TORCHRUN: Final = "torchrun"
_LARGEST: Final = 16 << 20
"""Bytes of a source file that is looked into."""


class Program(Workload, tag="program", frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Run a program of the user's, unchanged; its own steps are counted."""

    script: str | None = None
    """A Python file, from the working directory on. Read by: run."""
    module: str | None = None
    """A module, as for ``python -m``. Read by: run."""
    args: tuple[str, ...] = ()
    """What the program finds in ``sys.argv[1:]``. Read by: run."""
    step: str = "auto"
    """What a step is. auto: from one call of ``harness.step()`` to the next, or, if there is none,
    of an optimizer's step; optimizer: the latter; dataloader: from one batch to the next;
    package.module:function: each call, and of a function of the script, __main__:function; whole:
    the program is one step. Read by: plan, run."""
    after: Literal["continue", "stop"] = "continue"
    """What the program does after the last recorded step. stop: it is ended by an exception.
    Read by: run."""

    @property
    def source(self) -> str:
        """What runs, in one word."""
        return self.script or f"-m {self.module}"

    @property
    def is_one_step(self) -> bool:
        """Whether all of it is recorded as one step, so that there is nothing to repeat."""
        return self.step == "whole"

    @property
    def function(self) -> tuple[str, str] | None:
        """The module and the function, or ``Class.method``, whose calls are the steps."""
        module, colon, function = self.step.partition(":")
        return (module, function) if colon else None

    def problems(self) -> Iterator[Problem]:
        """Yield what keeps the program from starting, and steps that cannot be found."""
        yield from self._source_problems()
        yield from self._step_problems()

    def _source_problems(self) -> Iterator[Problem]:
        if self.script and self.module:
            yield Problem(
                setting="workload.module",
                given=self.module,
                reason=f"workload.script={self.script} names a program, too",
                fix="keep one of them; null takes the other away",
            )
        elif self.script:
            yield from self._script_problems(self.script)
        elif not self.module:
            yield Problem(
                setting="workload.script",
                given="null",
                reason="no program is named",
                fix="python -m harness [settings] -- train.py --lr 1e-3",
            )

    def _script_problems(self, script: str) -> Iterator[Problem]:
        name, path = Path(script).name, Path(script)
        rest = " ".join(self.args)
        if _PYTHON.fullmatch(name):
            why, fix = "the harness starts Python itself", f"-- {rest or 'train.py'}"
        elif name in _LAUNCHERS and not path.exists():
            why = "it starts processes of its own, and each of them needs its own harness"
            fix = f"{name} … -m harness [settings] -- {self._last_script()}"
            if name == _TORCHRUN:
                ranks = f"execution=torchrun execution.nproc={self._ranks()}"
                fix = f"python -m harness {ranks} [settings] -- {self._last_script()}"
        elif not path.exists():
            why, fix = f"there is no such file in {Path.cwd()}", "name a Python file, or -m MODULE"
        elif path.is_dir() or not path.is_file():
            why, fix = "it is no file", "name a Python file, or -m MODULE"
        elif path.suffix == ".ipynb":
            why = "it is a notebook, no Python file"
            fix = f"jupyter nbconvert --to script {script}, then name the .py file"
        else:
            return
        yield Problem(setting="workload.script", given=script, reason=why, fix=fix)

    def _ranks(self) -> str:
        """Return the number of ranks in torchrun's words."""
        words = " ".join(self.args).replace("=", " ")
        number = re.search(r"--nproc[-_]per[-_]node (\d+)", words)
        return number[1] if number else "N"

    def _last_script(self) -> str:
        """Return the words of a launcher's command line from its program on."""
        for place, word in enumerate(self.args):
            if word.endswith(".py"):
                return " ".join(self.args[place:])
        return "train.py"

    def _step_problems(self) -> Iterator[Problem]:
        function = self.function
        if function is None and self.step not in STEPS:
            why = "it names no kind of step"
        elif function is not None and not _FUNCTION.fullmatch(self.step):
            why = "it names no function"
        elif function is not None and self.module in function:
            why = f"{self.module} itself runs as {MAIN}, and its functions are not counted"
        elif function is not None and function[0] == MAIN:
            why = self._lacks(function[1])
        else:
            return
        if why:
            yield Problem(
                setting="workload.step",
                given=self.step,
                reason=why,
                fix=f"one of {', '.join(STEPS)}; or package.module:function, {MAIN}:function for"
                " one of the script's own",
            )

    def _lacks(self, name: str) -> str:
        """Return why the script has no such function; nothing if it has, or cannot be read."""
        tree = parsed(Path(self.script)) if self.script else None
        if self.module:
            return f"{MAIN} stands for a script, and a module runs"
        if tree is None or function_in(tree, name) is not None:
            return ""
        return f"{self.script} defines no function {name} at its top level"


def parsed(script: Path) -> ast.Module | None:
    """Return a script's syntax tree; None if it has none, which Python itself will explain."""
    try:
        if script.stat().st_size > _LARGEST:
            return None
        return ast.parse(script.read_bytes(), str(script))
    except (OSError, SyntaxError, ValueError, RecursionError):
        return None


def function_in(tree: ast.Module, name: str) -> ast.FunctionDef | None:
    """Return the definition of ``function`` or ``Class.method`` at the top level of a script."""
    owner, _, function = name.rpartition(".")
    body = tree.body
    if owner:
        classes = [node for node in body if isinstance(node, ast.ClassDef) and node.name == owner]
        body = classes[-1].body if classes else []
    found = [node for node in body if isinstance(node, ast.FunctionDef) and node.name == function]
    return found[-1] if found else None


def settings_of(words: tuple[str, ...]) -> dict[str, str | list[str]]:
    """Return the settings that the words after ``--`` stand for."""
    if words[0] == "-m":
        return {"module": words[1] if len(words) > 1 else "", "args": list(words[2:])}
    return {"script": words[0], "args": list(words[1:])}
