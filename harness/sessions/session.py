"""``harness.Session``: what lives long is profiled in windows, while it goes on."""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self

from harness.api.recording import Asked, this_rank
from harness.api.requests import compose
from harness.capture.run_folder import make, new_folder
from harness.configuration.validate import problems
from harness.errors import Problem, RecorderError, RefusedError, refuse
from harness.files import remove_empty
from harness.paths import RunFolder
from harness.sessions.keeper import Keeper
from harness.sessions.recordings import ALL_THREADS, Limits, OneThread
from harness.sessions.rules import DEFAULTS, session_problems
from harness.sessions.steps import SeenSteps, Step
from harness.sessions.wanted import Wanted, check
from harness.sessions.window import Progress, Status, Window

_STACK: Final = 2


class Session:
    """Profiles a process that lives long, in windows of some steps, each a run folder.

    ::

        with harness.Session("device=npu", "profiler=level1", out="outputs/server") as session:
            while batch := queue.get():
                with session.step(batch.kind, batch=len(batch)):
                    model(batch)
                    ...
        session.window(steps=5, stage="decode")  # in any thread

    Outside windows a step costs some hundred nanoseconds. A window is recorded between two steps of
    the thread that makes them, or, with ``profiler.experimental.profile_all_threads=true``, beside
    all threads that do. It is written in a thread of the session's, and analysed and checked in a
    process of its own. What fails is a `HarnessWarning`, and the reason of its window.
    """

    def __init__(
        self,
        *overrides: str,
        config_dir: str | os.PathLike[str] | None = None,
        out: str | os.PathLike[str] | None = None,
        read: Literal["now", "later"] = "now",
        trigger_file: bool = False,
        http_port: int | None = None,
    ) -> None:
        """Compose and check the settings, and make the folder of the windows.

        Args:
            overrides: Settings, as the command line takes them.
            config_dir: A folder with more config groups, which come before those of the harness.
            out: The folder of the windows; they are numbered after those that are there. By default
                one that is named by the time, below ``outputs/``.
            read: "later" leaves analysis and verification to ``python -m harness read``.
            trigger_file: Let a file in the folder ask for windows: see docs/sessions.md.
            http_port: Let requests to this port of 127.0.0.1 ask for them; 0: any free port. They
                need the token in the file ``http-token`` of the folder. Of several ranks, the files
                of each end in its number: ``http-token.3``.

        Raises:
            RefusedError: Something is wrong; it has all that is.
            WriteError: The disk is full, or the like.
        """
        refuse(list(_words("read", read, ("now", "later"))))
        request = compose(*DEFAULTS, *overrides, config_dir=config_dir)
        refuse([*problems(request, in_program=True), *session_problems(request)])
        self._asked = Asked(request, tuple(overrides))
        self._root, self._made = _root(out)
        self._many = bool(getattr(request.profiler.experimental, "profile_all_threads", False))
        self._process = os.getpid()
        self._seen = SeenSteps()
        # A signal's handler may ask for a window, or close the session, while its thread does.
        self._lock = threading.RLock()
        self._is_opening = False
        self._progress: Progress | None = None
        self._window: Window | None = None
        self._closed = False
        reads = read == "now" and request.profiler.analyse == "now"
        self._keeper = Keeper(self._asked, self._seen, many=self._many, reads=reads)
        self._triggers = ExitStack()
        self._address = ""
        with ExitStack() as opening:
            opening.callback(self.close)
            atexit.register(self.close)
            self._open_triggers(trigger_file=trigger_file, http_port=http_port)
            opening.pop_all()

    def _open_triggers(self, *, trigger_file: bool, http_port: int | None) -> None:
        process = this_rank()
        # All ranks share the folder, and each has a session.
        suffix = f".{process.rank}" if process.world_size > 1 else ""
        if trigger_file:
            from harness.sessions.trigger_file import TriggerFile

            self._triggers.enter_context(TriggerFile(self._ask, self._root, suffix))
        if http_port is not None:
            from harness.sessions.http import Endpoint

            self._address = self._triggers.enter_context(
                Endpoint(self._ask, lambda: self.status, self._root, http_port, suffix)
            ).url

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _raised: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def folder(self) -> Path:
        """The folder of the windows, absolute."""
        return self._root

    @property
    def address(self) -> str:
        """Where requests ask for windows: ``http://127.0.0.1:PORT``; empty without `http_port`."""
        return self._address

    @property
    def status(self) -> Status:
        """What the session has seen, and what it does."""
        return Status(self._seen.begun, tuple(self._seen.stages), self._window)

    def step(self, stage: str | None = None, *, batch: int | None = None) -> Step:
        """Make a step: ``with session.step("decode", batch=8): …``.

        Args:
            stage: What the step does; windows may be for one stage.
            batch: How many items it works on; windows may be for large ones.

        Raises:
            RefusedError: One of them is no such thing, in a window or not; the stage, as the step
                begins.
        """
        return Step(self._seen, stage, batch)

    def window(  # noqa: PLR0913 - each a condition of its own
        self,
        steps: int | None = None,
        *,
        when: Literal["now"] = "now",
        at_step: int | None = None,
        stage: str | None = None,
        min_batch: int | None = None,
        within: float | None = None,
    ) -> Window:
        """Ask for a window over the next steps that fit all that is said.

        Returns when it is ready for them: the steps that begin from now on count.
        Besides by its steps, it is bounded by ``profiler.max_seconds`` and
        ``profiler.max_memory_gib``.

        Args:
            steps: How many steps are recorded, after those of ``profiler.schedule.warmup``; by
                default ``profiler.schedule.active``.
            when: "now": the next ones.
            at_step: Not before this step of the session, numbered from 0.
            stage: Only steps of this stage.
            min_batch: Only steps of at least this batch.
            within: Seconds until its first step must have begun, else it is given up; by default a
                minute, and no limit with `at_step`.

        Raises:
            RefusedError: What is asked for cannot come.
            RecorderError: Another window is not recorded yet, or another profiler is open in this
                process; or the session is closed.
            WriteError: The disk is full, or the like.
        """
        wanted = Wanted(
            steps=steps,
            when=when,
            at_step=at_step,
            stage=stage,
            min_batch=min_batch,
            within=within,
        )
        return self._ask(wanted)

    def _ask(self, wanted: Wanted) -> Window:
        schedule = self._asked.request.profiler.schedule
        check(wanted, upcoming=self._seen.begun, warmup=schedule.warmup)
        self._refuse_other_process()
        with self._one_at_a_time():
            progress = self._open(wanted.of_steps(schedule.active))
            window = Window(
                progress,
                lambda: self._end(progress, "by request"),
                lambda: self._needs_caller(progress),
            )
            self._progress, self._window = progress, window
            self._keeper.take(progress)
            window.wait("waiting")
        if progress.error is not None:
            raise progress.error
        return window

    def _refuse_other_process(self) -> None:
        if os.getpid() != self._process:
            raise RecorderError(
                "the session belongs to the process that this one was forked from: make one here"
            )

    @contextmanager
    def _one_at_a_time(self) -> Iterator[None]:
        """Let one window be opened at a time, also where a signal's handler asks for another."""
        with self._lock:
            if self._is_opening:
                raise RecorderError(
                    "a window of the session is being opened by what this signal's handler has"
                    " interrupted: ask again later"
                )
            self._is_opening = True
            try:
                yield
            finally:
                self._is_opening = False

    def _open(self, wanted: Wanted) -> Progress:
        last, profiler = self._progress, self._asked.request.profiler
        if self._closed:
            raise RecorderError("the session is closed")
        if last is not None and last.state not in {"reading", "over"}:
            raise RecorderError(
                f"window {last.number} of the session is under way ({last}), and torch runs one"
                " profiler at a time: wait for it, or stop it"
            )
        self._refuse_threads()
        number, folder = _numbered(self._root, 0 if last is None else last.number + 1)
        limits = Limits(profiler.max_seconds, profiler.max_memory_gib)
        return Progress(number, folder, wanted, limits)

    def _refuse_threads(self) -> None:
        """Refuse a window where several threads make steps and the profiler sees one."""
        living = self._seen.living_threads()
        if self._many or living <= 1:
            return
        why = (
            f"{living} threads make steps of the session, and the profiler records the"
            " thread that starts it"
        )
        problem = Problem(setting=ALL_THREADS, given="false", reason=why, fix=f"{ALL_THREADS}=true")
        if not hasattr(self._asked.request.profiler.experimental, "profile_all_threads"):
            fix = "make the steps in one thread: this device's profiler has no setting for more"
            problem = Problem(setting="threads", given=str(living), reason=why, fix=fix)
        raise RefusedError([problem])

    def close(self, timeout: float | None = None) -> None:
        """End the open window, wait until all are read, and let go of threads and files.

        Args:
            timeout: Seconds to wait at most; null for no limit.
        """
        if os.getpid() != self._process:
            return
        with self._lock:
            if self._closed:
                return
            self._closed = True
        atexit.unregister(self.close)
        self._triggers.close()
        if self._progress is not None:
            self._end(self._progress, "as the session was closed")
        self._keeper.close(timeout)
        remove_empty(self._made)

    def _end(self, progress: Progress, why: str) -> None:
        progress.limits.asked = progress.limits.asked or why
        recording = self._seen.recording
        if progress is self._progress and isinstance(recording, OneThread) and recording.is_mine:
            recording.end_if_due()

    def _needs_caller(self, progress: Progress) -> bool:
        """Tell whether a window cannot end unless the calling thread goes on."""
        recording = self._seen.recording
        return (
            progress is self._progress
            and isinstance(recording, OneThread)
            and recording.needs_caller
        )


def _words(setting: str, given: object, allowed: Sequence[str]) -> Iterator[Problem]:
    if given not in allowed:
        listed = " or ".join(f'"{word}"' for word in allowed)
        yield Problem(
            setting=setting,
            given=str(given),
            reason=f"it must be {listed}",
            fix=f'{setting}="{allowed[0]}"',
        )


def _root(out: str | os.PathLike[str] | None) -> tuple[Path, list[Path]]:
    """Make the folder of the windows; return it, and the folders that were not there before."""
    process = this_rank()
    if out is None and process.world_size > 1:
        why = f"this is rank {process.rank} of {process.world_size}, and all need one folder"
        fix = 'out="outputs/NAME", the same on all ranks'
        refuse([Problem(setting="out", given="None", reason=why, fix=fix)])
    root = Path(out) if out is not None else new_folder()
    if root.exists() and not root.is_dir():
        why, fix = "there is something in its place that is no folder", "choose another folder"
        refuse([Problem(setting="out", given=str(out), reason=why, fix=fix)])
    return root.absolute(), make(root.absolute(), "out")


def _numbered(root: Path, first: int) -> tuple[int, Path]:
    """Return the number and the run folder of a new window; of a job, that of this rank in it."""
    process = this_rank()
    for number in count(first):
        folder = root / f"{number:03d}"
        if process.world_size > 1:
            folder = RunFolder(folder).rank(process.rank).path
        if not folder.exists():
            return number, folder
    raise AssertionError
