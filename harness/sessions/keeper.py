"""Records, writes and reads the windows of a session, in threads of the session's own.

Both threads live as long as the session does, since a process that a thread has started may end
with that thread.
"""

from __future__ import annotations

import gc
import sys
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Final

from msgspec.structs import replace

from harness.api.reading import read_apart
from harness.api.recording import (
    Asked,
    in_this_process,
    only_one,
    refuse_other_profilers,
    this_rank,
)
from harness.api.results import load
from harness.capture.run_folder import shown
from harness.errors import HarnessError, HarnessWarning, RecorderError
from harness.execution.plan import plan
from harness.execution.program import end_of, recorded
from harness.execution.protocol import Outcome, Plan
from harness.execution.raised import described
from harness.pipeline.own_run import open_run
from harness.sessions.recordings import ManyThreads, OneThread, Recording, Tell
from harness.sessions.steps import SeenSteps
from harness.sessions.wanted import Wanted
from harness.sessions.window import Progress
from harness.settings.request import Request
from harness.text import command

_STACK: Final = 2


class Keeper:
    """Takes windows, and brings each to its end."""

    def __init__(self, asked: Asked, seen: SeenSteps, *, many: bool, reads: bool) -> None:
        """Start its threads.

        Args:
            asked: The settings of all windows.
            seen: The program's steps.
            many: Record the steps of all threads, not of one.
            reads: Let the windows be analysed and checked.
        """
        self._asked, self._seen = asked, seen
        self._many, self._reads = many, reads
        self._closing = False
        self._windows = SimpleQueue[Progress | None]()
        self._unread = SimpleQueue[Progress | None]()
        self._workers = [
            threading.Thread(target=self._work, name="harness-session", daemon=True),
            threading.Thread(target=self._read_all, name="harness-reader", daemon=True),
        ]
        for worker in self._workers:
            worker.start()

    def take(self, window: Progress) -> None:
        """Take a window; the one before it has been written."""
        self._windows.put(window)

    def close(self, timeout: float | None) -> None:
        """Return when all windows are over, or after `timeout` seconds; take no more."""
        self._closing = True
        self._windows.put(None)
        for worker in self._workers:
            worker.join(timeout)

    def _work(self) -> None:
        """Record and write the windows, one after the other."""
        for window in iter(self._windows.get, None):
            error = _failure_of(lambda: self._record(window))  # noqa: B023 - called at once
            if error is not None:
                if window.state != "opening":  # Else whoever asks for it is told.
                    _warn(f"window {window.number} has failed, the program goes on: {error}")
                window.finish(None, error)
            elif self._reads:
                window.move("reading")
                self._unread.put(window)
            else:
                window.finish(load(window.folder))
        self._unread.put(None)

    def _record(self, window: Progress) -> None:
        steps = window.wanted.steps
        assert steps is not None
        request = _for_steps(self._asked.request, steps)
        planned = in_this_process(plan(request, window.folder, this_rank()))
        overrides = (*self._asked.overrides, f"profiler.schedule.active={steps}")
        with only_one():
            refuse_other_profilers()
            with open_run(request, planned, overrides=overrides) as run:
                recording = self._recorded(window, planned)
                window.move("writing")
                failure = _written(recording)
                why_short = self._why_short(recording, window)
                outcome = _outcome(recording, why_short)
                if failure and outcome.status == "ok":
                    outcome = replace(outcome, status="failed", reason=failure)
                run.outcome = outcome
                window.reason = outcome.reason or why_short
        if window.reason:
            _warn(f"window {window.number}, {shown(window.folder)}: {window.reason}")

    def _recorded(self, window: Progress, planned: Plan) -> Recording:
        def stuck(why: str) -> None:
            if not window.reason:
                window.reason = why
                _warn(f"window {window.number}: {why}")

        tell = Tell(lambda: window.move("recording"), stuck, lambda: self._closing)
        kind = ManyThreads if self._many else OneThread
        recording: Recording = kind(planned, window.wanted, window.limits, tell)
        self._seen.recording = recording
        first = window.wanted.at_step
        warmup = planned.recording.profiler.schedule.warmup
        if first is not None and self._seen.begun > first - warmup and not recording.has_begun:
            window.limits.asked = f"as step {self._seen.begun - 1} had begun before it was ready"
        window.move("waiting")
        try:
            recording.run(_deadline(window.wanted, self._seen.__str__))
        finally:
            self._seen.recording = None
        return recording

    @staticmethod
    def _why_short(recording: Recording, window: Progress) -> str:
        steps = recording.steps
        if steps.made >= steps.needed:
            return ""
        why = recording.cut or "the recording has failed"
        return (
            f"the window ({window.wanted}) was ended {why}: it has {steps.made:,} of the"
            f" {steps.needed:,} steps that it needs with the profiler's warm-up"
        )

    def _read_all(self) -> None:
        """Let processes analyse and check the windows."""
        for window in iter(self._unread.get, None):
            error = _failure_of(lambda: self._read(window))  # noqa: B023 - called at once
            if error is not None:
                _warn(f"window {window.number} cannot be read: {error}")
                window.finish(None, error)

    def _read(self, window: Progress) -> None:
        limit = self._asked.request.profiler.analyse_timeout_s
        why = read_apart(window.folder, limit, aside=True)
        result = load(window.folder)
        if why:
            later = command(("python", "-m", "harness", "read", str(shown(window.folder))))
            window.reason = f"its verdict is pending: {why}; {later}"
            _warn(f"window {window.number}, {shown(window.folder)}: {window.reason}")
        elif result.status == "ok" and result.verdict == "not_delivered" and not window.reason:
            window.reason = "not delivered"
            _warn("\n".join((f"{shown(window.folder)}: not delivered", *result.missing)))
        window.finish(result)


def _deadline(wanted: Wanted, seen: Callable[[], str]) -> Callable[[], str]:
    """Return what tells why a window whose first step does not come is given up, once it is."""
    begun = time.monotonic()

    def passed() -> str:
        limit = wanted.limit_s
        if limit is None or time.monotonic() - begun < limit:
            return ""
        return f"as none of these steps began within {limit:g} s; {seen()}"

    return passed


def _written(recording: Recording) -> str:
    """Write what a recording has left to be written; return why that failed, if it did."""
    failure = _failure_of_writing(recording.later)
    recording.later.clear()
    if failure:
        # torch keeps the file that it could not write, and its room, until its results are gone.
        gc.collect()
    return failure


def _failure_of_writing(later: Sequence[Callable[[], None]]) -> str:
    try:
        for write in later:
            write()
    except (HarnessError, RuntimeError) as error:  # torch raises the latter
        return str(error)
    return ""


def _outcome(recording: Recording, why_short: str) -> Outcome:
    ended = Outcome(status="ok", program=end_of(recording.steps, why_short))
    outcome = recorded(ended, recording.steps)
    return replace(outcome, notes=(*outcome.notes, *recording.notes))


def _for_steps(request: Request, steps: int) -> Request:
    """Return the request for a window of some steps."""
    schedule = replace(request.profiler.schedule, active=steps)
    return replace(request, profiler=replace(request.profiler, schedule=schedule))


def _failure_of(task: Callable[[], None]) -> HarnessError | None:
    """Carry out a task; return what it raises, since the thread lives on."""
    try:
        task()
    except HarnessError as error:
        return error
    except Exception as error:  # noqa: BLE001 - whatever it is, whoever waits is to be told
        return RecorderError(f"the harness has failed: {described(error)}")
    return None


def _warn(text: str) -> None:
    try:
        warnings.warn(text, HarnessWarning, stacklevel=_STACK)
    except HarnessWarning:
        # The program has warnings raised; here there is nobody to catch them.
        print(f"HarnessWarning: {text}", file=sys.stderr)
