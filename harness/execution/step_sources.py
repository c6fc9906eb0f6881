"""Find the steps of a program: by its optimizer, its data loader, a function, or its own word."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from types import FunctionType, ModuleType
from typing import Any, Final

from harness import steps as marks
from harness.execution.import_watch import ImportWatch
from harness.execution.main_module import StopProgramError
from harness.execution.program_steps import ProgramSteps
from harness.workloads.program import MAIN, Program

_OPTIMIZER: Final = "torch.optim.optimizer"
_LOADER: Final = "torch.utils.data.dataloader"
_WHOLE: Final = (
    "workload.step=whole records the program as one step, workload.step=package.module:function the"
    " calls of a function"
)
_PROCESSES: Final = "multiprocessing.popen_"
"""Python imports such a module when it starts a process, by each of its start methods."""
_OF_PROCESSES: Final = (
    "; the program started processes of its own, where nothing is recorded: if they are ranks, let"
    " each take its rank from RANK, and execution=torchrun starts them; or write harness.profile()"
    " into each"
)


class StepSource:
    """Tells `ProgramSteps` where the steps of a program begin and end."""

    def __init__(self, program: Program, steps: ProgramSteps) -> None:
        self._program = program
        self._steps = steps
        self._watch = ImportWatch()
        self._undo: list[Callable[[], object]] = []
        self._by_mark = False
        self._first: object = None
        self._compiled = False
        self._wrong = ""

    def open(self) -> None:
        """Look for steps from now on; imports nothing."""
        marks.count_with(self)
        kind, function = self._program.step, self._program.function
        if function is not None:
            if function[0] != MAIN:
                self._watch.watch(function[0], self._count_calls)
        elif kind == "whole":
            self._watch.watch("torch", lambda _module: self._steps.begin())
        elif kind == "dataloader":
            self._watch.watch(_LOADER, self._count_batches)
        else:
            self._watch.watch(_OPTIMIZER, self._count_updates)

    def close(self) -> None:
        """Leave the program's modules as they were; a program that is one step has made it."""
        if self._program.step == "whole":
            # It has ended already, so there is nothing to stop.
            with suppress(StopProgramError):
                self._steps.end()
        marks.count_with(None)
        self._watch.stop()
        while self._undo:
            self._undo.pop()()

    def why_short(self) -> str:
        """Say why the program made fewer steps than the schedule needs, and what to set."""
        if self._wrong:
            return self._wrong
        if self._steps.made == 0:
            started = any(name.startswith(_PROCESSES) for name in sys.modules)
            return f"{self._none_came()}: {_WHOLE}{_OF_PROCESSES if started else ''}"
        made, needed = self._steps.made, self._steps.needed
        return (
            f"the program made {made:,} whole steps ({self._steps.counted}), and the schedule needs"
            f" {needed:,} with warm-up and baseline: let it make more, or set"
            " workload.warmup_steps=0 profiler.baseline.steps=0 and a shorter profiler.schedule"
        )

    def step(self) -> None:
        """Count a call of ``harness.step()``; where it is the program's, the optimizer's do not."""
        if self._program.step != "auto" or not self._steps.counting:
            return
        if not self._by_mark:
            self._by_mark = True
            self._steps.restart()
            self._steps.counted = "calls of harness.step()"
        self._steps.tick()

    def stage(self, name: str) -> AbstractContextManager[None]:
        """Name a part of the step; within torch.compile, which ignores names, do nothing."""
        return nullcontext() if is_compiling() else self._steps.stage(name)

    def counted(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function whose every call is a step; one within another is not."""
        name = self._program.step
        if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
            self._wrong = f"workload.step={name} is no plain function: a call of it does not run it"
            return function
        self._steps.counted = f"calls of {name}"
        running = False

        @functools.wraps(function)
        def counting(*args: object, **kwargs: object) -> object:
            nonlocal running
            if running or not self._steps.counting or is_compiling():
                return function(*args, **kwargs)
            running = True
            try:
                self._steps.begin()
                result = function(*args, **kwargs)
                self._steps.end()
            finally:
                running = False
                self._steps.drop()
            return result

        return counting

    def _none_came(self) -> str:
        waited = self._watch.waiting
        if self._compiled:
            return (
                "the optimizer's step is compiled, and torch.compile leaves out what counts it:"
                " call harness.step() outside of what is compiled"
            )
        return {
            "auto": "neither an optimizer nor harness.step() made a step from one call to the next",
            "optimizer": "no optimizer made a step after its first",
            "dataloader": "no torch.utils.data.DataLoader gave a batch",
            "whole": "the program never imported torch",
        }.get(
            self._program.step,
            f"{waited[0]} was never imported" if waited else f"{self._program.step} never returned",
        )

    def _count_updates(self, module: ModuleType) -> None:
        """Count after torch's own range around an optimizer's step; a hook would lie inside it."""
        optimizers = module.Optimizer
        original = optimizers.profile_hook_step

        def hooked(step: Callable[..., Any]) -> Callable[..., Any]:
            within_range = original(step)

            @functools.wraps(within_range)
            def counting(optimizer: object, *args: Any, **kwargs: Any) -> Any:
                result = within_range(optimizer, *args, **kwargs)
                self._updated(optimizer)
                return result

            return counting

        optimizers.profile_hook_step = staticmethod(hooked)
        self._undo.append(lambda: setattr(optimizers, "profile_hook_step", staticmethod(original)))

    def _updated(self, optimizer: object) -> None:
        """Count a step of the first optimizer that steps."""
        if is_compiling():
            self._compiled = True
            return
        if self._by_mark or not self._steps.counting:
            return
        if self._first is None:
            self._first = optimizer
            self._steps.counted = f"steps of {type(optimizer).__name__}, from one to the next"
        if self._first is optimizer:
            self._steps.tick()

    def _count_batches(self, module: ModuleType) -> None:
        iterator = module._BaseDataLoaderIter  # noqa: SLF001 - there is no public one
        original = iterator.__next__

        @functools.wraps(original)
        def counting(batches: Any) -> object:
            if not self._steps.counting or not self._is_first(batches._dataset):  # noqa: SLF001
                return original(batches)
            self._steps.tick()
            try:
                return original(batches)
            except StopIteration:
                self._steps.drop()
                raise

        iterator.__next__ = counting
        self._undo.append(lambda: setattr(iterator, "__next__", original))

    def _is_first(self, dataset: object) -> bool:
        """Tell whether the batches are of the loader that gave some first; it trains, as a rule."""
        if self._first is None:
            self._first = dataset
            self._steps.counted = "batches of the first DataLoader, from one to the next"
        return self._first is dataset

    def _count_calls(self, module: ModuleType) -> None:
        assert self._program.function is not None
        *owners, name = self._program.function[1].split(".")
        owner: Any = module
        try:
            for part in owners:
                owner = getattr(owner, part)
            function = inspect.getattr_static(owner, name)
        except AttributeError:
            self._wrong = (
                f"workload.step={self._program.step}: {module.__file__} has no"
                f" {self._program.function[1]}; {_WHOLE}"
            )
            return
        if isinstance(function, staticmethod | classmethod):
            wrapped: Any = type(function)(self.counted(function.__func__))
        elif isinstance(function, FunctionType):
            wrapped = self.counted(function)
        else:
            self._wrong = f"workload.step={self._program.step} is no Python function; {_WHOLE}"
            return
        setattr(owner, name, wrapped)
        self._undo.append(lambda: setattr(owner, name, function))


def is_compiling() -> bool:
    """Tell whether torch.compile traces this call, which then is none of the program's steps."""
    torch = sys.modules.get("torch")
    return torch is not None and bool(torch.compiler.is_compiling())
