"""``harness.profile(…)``: one run over a block, or over each call of a function."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Literal, ParamSpec, Self, TypeVar

from harness import steps as marks
from harness.api.reading import read_apart
from harness.api.recording import TRAINED, Asked, OwnRecording, this_rank
from harness.api.requests import compose
from harness.api.results import Run, load
from harness.api.warned import warn
from harness.capture.run_folder import is_run, new_folder, shown
from harness.configuration.validate import problems
from harness.errors import (
    HarnessError,
    NotDeliveredError,
    Problem,
    RecorderError,
    refuse,
)
from harness.paths import RunFolder
from harness.text import command

OnMissing = Literal["warn", "raise", "ignore"]
OnError = Literal["warn", "raise"]
P = ParamSpec("P")
R = TypeVar("R")


class Profile:
    """A profile of the program's own loop: a context manager, and a decorator.

    ::

        with harness.profile("device=npu", "profiler=level1", out="outputs/mine") as p:
            for batch in loader:
                with p.stage("forward"):
                    ...
                p.step()
        p.result.verdict

    One is used once; as a decorator, each call of the function is a run of its own.
    """

    def __init__(
        self,
        *overrides: str,
        config_dir: str | os.PathLike[str] | None = None,
        out: str | os.PathLike[str] | None = None,
        on_missing: OnMissing = "warn",
        on_error: OnError = "warn",
    ) -> None:
        """See `harness.profile`."""
        refuse(
            [
                *_choices("on_missing", on_missing, OnMissing),
                *_choices("on_error", on_error, OnError),
            ]
        )
        request = compose(*overrides, config_dir=config_dir)
        refuse(problems(request, in_program=True))
        self._asked = Asked(request, tuple(overrides))
        self._out = None if out is None else Path(out)
        self._on_missing = on_missing
        self._on_error = on_error
        self._recording: OwnRecording | None = None
        self._result: Run | None = None

    def __repr__(self) -> str:
        recording = self._recording
        if recording is None:
            return "<Profile: not begun>"
        folder = shown(recording.folder)
        if self._result is not None:
            return f"<Profile {folder}: {self._result.status}, {self._result.verdict}>"
        made = recording.steps.made if recording.steps else 0
        needed = recording.steps.needed if recording.steps else 0
        return f"<Profile {folder}: {made} of {needed} steps made>"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        raised: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._end(raised)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Return the function with each of its calls a run, in a numbered folder below `out`."""
        if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
            raise TypeError(
                f"{function.__qualname__} is a coroutine or a generator, and a call of it does not"
                " run it: write `with harness.profile(…):` within it"
            )
        calls = 0

        @functools.wraps(function)
        def profiled(*args: P.args, **kwargs: P.kwargs) -> R:
            nonlocal calls
            out = None if self._out is None else self._out / str(calls)
            calls += 1
            with self._anew(out):
                return function(*args, **kwargs)

        return profiled

    def start(self) -> None:
        """Begin the run and its first step, as ``with`` does.

        Raises:
            RecorderError: A profile or a profiler is open in this process; or this one was used.
            RefusedError: The folder, or the thread, does not fit the settings.
            WriteError: The folder cannot be written into.
        """
        if self._recording is not None:
            raise RecorderError("a profile is used once: make another one with harness.profile()")
        recording = self._made(_folder(self._out))
        recording.begin()
        self._recording = recording
        marks.count_with(self, self.stop)

    def step(self) -> None:
        """Say that a step has ended; the next one begins."""
        if self._recording is not None:
            self._recording.step()

    def stage(self, name: str) -> AbstractContextManager[None]:
        """Name a part of the step: ``with p.stage("forward"): …``."""
        return self._open().stage(name)

    def stop(self) -> None:
        """End the run, as the end of ``with`` does; then there is a `result`.

        Raises:
            NotDeliveredError: Something requested is not there; with ``on_missing="raise"``.
            HarnessError: What has failed, with ``on_error="raise"``.
        """
        self._end(None)

    @property
    def result(self) -> Run:
        """The run, once it has ended.

        Raises:
            RecorderError: It has not ended, or left no record.
        """
        if self._result is None:
            raise RecorderError("this profile has no result: it has not ended, or left no record")
        return self._result

    @property
    def folder(self) -> Path:
        """The run folder, absolute.

        Raises:
            RecorderError: The run has not begun.
        """
        return self._open().folder

    def _made(self, folder: Path) -> OwnRecording:
        return OwnRecording(self._asked, folder, self._failed)

    def _open(self) -> OwnRecording:
        if self._recording is None:
            raise RecorderError("this profile has not begun: use it as `with … as p:`")
        return self._recording

    def _anew(self, out: Path | None) -> Self:
        other = object.__new__(type(self))
        other.__dict__ |= self.__dict__ | {"_out": out, "_recording": None, "_result": None}
        return other

    def _end(self, raised: BaseException | None) -> None:
        recording = self._open()
        if self._result is not None:
            return
        with ExitStack() as ending:
            ending.callback(marks.count_with, None)
            try:
                is_ours = recording.end(raised)
            except HarnessError as error:
                self._failed(error)
                is_ours = True
        if is_ours:
            self._read(recording.folder, raised)

    def _read(self, folder: Path, raised: BaseException | None) -> None:
        """Complete the verdict, and say what is missing."""
        if not RunFolder(folder).record.exists():
            return
        later = command(("python", "-m", "harness", "read", str(shown(folder))))
        profiler = self._asked.request.profiler
        if isinstance(raised, KeyboardInterrupt):
            why = "interrupted"
        elif profiler.analyse == "later":
            why = "profiler.analyse=later"
        else:
            why = read_apart(folder, profiler.analyse_timeout_s)
            if why:
                self._failed(RecorderError(f"{folder}: its verdict is pending: {why}; {later}"))
        self._result = load(folder)
        if self._result.status == "ok" and self._result.verdict == "not_delivered":
            self._not_delivered(self._result)

    def _not_delivered(self, run: Run) -> None:
        text = "\n".join((f"{shown(run.folder)}: not delivered", *run.missing))
        if self._on_missing == "raise":
            raise NotDeliveredError(text)
        if self._on_missing == "warn":
            warn(text)

    def _failed(self, error: HarnessError) -> None:
        if self._on_error == "raise":
            raise error
        warn(f"the recording has failed, the program goes on: {error}")


class TrainerProfile(Profile):
    """A profile of a trainer's loop, which says when a step begins and when it ends.

    Each training is a run of its own, in a numbered folder below `out`.
    """

    def of_next_training(self) -> Self:
        """Return the profile of a training, numbered after those whose folders are there."""
        if self._out is None:
            return self._anew(None)
        number = next(
            number for number in count() if not _of_rank(self._out / str(number)).exists()
        )
        return self._anew(self._out / str(number))

    def begin_step(self) -> None:
        """Begin a step; what runs between steps belongs to none."""
        if self._recording is not None:
            self._recording.begin_step()

    def end_step(self) -> None:
        """End the open step, if there is one."""
        if self._recording is not None:
            self._recording.end_step()

    def step(self) -> None:
        """Do nothing: the trainer says where its steps end, whatever marks the model has."""

    def end(self, raised: BaseException | None) -> None:
        """End the run, as `stop` does; with what has ended the training, if anything has."""
        if self._recording is not None:
            self._end(raised)

    def _made(self, folder: Path) -> OwnRecording:
        return OwnRecording(self._asked, folder, self._failed, TRAINED)


def _choices(setting: str, given: str, allowed: object) -> list[Problem]:
    words: tuple[str, ...] = getattr(allowed, "__args__", ())
    if given in words:
        return []
    listed = " or ".join(f'"{word}"' for word in words)
    why, fix = f"it must be {listed}", f'{setting}="{words[0]}"'
    return [Problem(setting=setting, given=str(given), reason=why, fix=fix)]


def _of_rank(out: Path) -> Path:
    """Return the run folder of this rank, in a job of several; else the folder itself."""
    process = this_rank()
    return RunFolder(out).rank(process.rank).path if process.world_size > 1 else out


def _folder(out: Path | None) -> Path:
    """Return the run folder; of a job of several ranks, that of this one below it."""
    process = this_rank()
    if process.world_size > 1:
        if out is None:
            why = f"this is rank {process.rank} of {process.world_size}, and all need one folder"
            fix = 'out="outputs/NAME", the same on all ranks'
            refuse([Problem(setting="out", given="None", reason=why, fix=fix)])
            raise AssertionError
        return RunFolder(out.absolute()).rank(process.rank).path
    if out is None:
        return new_folder().absolute()
    if out.exists() and not is_run(out) and (not out.is_dir() or any(out.iterdir())):
        why, fix = "there is something in its place that is no run", "choose another folder"
        refuse([Problem(setting="out", given=str(out), reason=why, fix=fix)])
    return out.absolute()


def profile(
    *overrides: str,
    config_dir: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    on_missing: OnMissing = "warn",
    on_error: OnError = "warn",
) -> Profile:
    """Profile the program's own loop: ``with harness.profile("profiler=level1") as p: …``.

    Composes and checks the settings at once. Nothing that goes wrong later ends the program unless
    that is asked for.

    Args:
        overrides: Settings, as the command line takes them.
        config_dir: A folder with more config groups, which come before those of the harness.
        out: The run folder; an earlier run in it is replaced. By default one that is named by the
            time, below ``outputs/``.
        on_missing: What to do when something requested was not delivered: "warn" by a
            `HarnessWarning`, "raise" `NotDeliveredError`, or "ignore" it; the result tells.
        on_error: What to do when the profiler or the harness fails: "warn", or "raise" the error.

    Raises:
        RefusedError: Something is wrong with the settings; it has all that is.
    """
    return Profile(
        *overrides, config_dir=config_dir, out=out, on_missing=on_missing, on_error=on_error
    )
