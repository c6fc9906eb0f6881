"""A window: asked for, recorded, written, read; each state is told when it has been reached."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal, NamedTuple, get_args

from harness.api.results import Run
from harness.errors import HarnessError, Problem, RecorderError, RefusedError
from harness.sessions.recordings import Limits
from harness.sessions.wanted import Wanted

State = Literal["opening", "waiting", "recording", "writing", "reading", "over"]
STATES: Final[tuple[State, ...]] = get_args(State)
_SOUNDS: Final = {
    "opening": "is being prepared",
    "waiting": "waits for its first step",
    "recording": "is being recorded",
    "writing": "is being written",
    "reading": "is being read",
    "over": "is over",
}


def state_of(word: str) -> State:
    """Return the state of this name.

    Raises:
        RefusedError: There is none.
    """
    for state in STATES:
        if state == word:
            return state
    why, fix = f"it must be one of {', '.join(STATES)}", "until=over"
    raise RefusedError([Problem(setting="until", given=word, reason=why, fix=fix)])


class Progress:
    """What becomes of a window, as the session's threads say it."""

    def __init__(self, number: int, folder: Path, wanted: Wanted, limits: Limits) -> None:
        self.number, self.folder, self.wanted, self.limits = number, folder, wanted, limits
        self.state: State = "opening"
        self.reason = ""
        """Why there is no result, or not all that was asked for."""
        self.result: Run | None = None
        self.error: HarnessError | None = None
        """What it has failed with, if it left no record."""
        self.changed = threading.Condition()

    def __str__(self) -> str:
        """Return what becomes of it in one phrase."""
        return f"{self.wanted}: {_SOUNDS[self.state]}"

    def move(self, state: State) -> None:
        """Say that it has come to a state."""
        with self.changed:
            self.state = state
            self.changed.notify_all()

    def finish(self, result: Run | None, error: HarnessError | None = None) -> None:
        """Say that it is over; with an error, why it has no result."""
        self.result, self.error = result, error
        if error is not None:
            self.reason = str(error)
        self.move("over")


class Window:
    """One window of a session, a run folder of its own. Any thread may ask it."""

    def __init__(
        self, progress: Progress, end: Callable[[], None], needs_caller: Callable[[], bool]
    ) -> None:
        """Make the handle.

        Args:
            progress: What becomes of it.
            end: Called to end the recording early.
            needs_caller: Tells whether the recording cannot end unless the calling thread goes on.
        """
        self._progress = progress
        self._end = end
        self._needs_caller = needs_caller
        self._process = os.getpid()

    def __repr__(self) -> str:
        return f"<Window {self.number}: {self._progress}>"

    @property
    def number(self) -> int:
        """From 0, in the folder of the session."""
        return self._progress.number

    @property
    def folder(self) -> Path:
        """The run folder, absolute."""
        return self._progress.folder

    @property
    def state(self) -> State:
        """How far it is: opening, waiting for its first step, recording, writing, reading, over."""
        return self._progress.state

    @property
    def reason(self) -> str:
        """Why there is no result, or not all that was asked for; empty if there is nothing."""
        return self._progress.reason

    @property
    def result(self) -> Run:
        """The run, once the window is over; if it was not read, its verdict is pending.

        Raises:
            RecorderError: It is not over, or left no record; says why.
        """
        result = self._progress.result
        if result is None:
            why = self.reason or f"it {_SOUNDS[self.state]}"
            raise RecorderError(f"window {self.number} has no result: {why}")
        return result

    @property
    def verdict(self) -> str:
        """As of the result; empty while there is none."""
        result = self._progress.result
        return "" if result is None else result.verdict

    def wait(self, until: State = "over", timeout: float | None = None) -> bool:
        """Return once the window has come to a state, or beyond it.

        The thread that makes the steps must not wait for what its own steps bring about.

        Args:
            until: The state.
            timeout: Seconds; null for none.

        Returns:
            False if the time was up first.

        Raises:
            RecorderError: There is no timeout, and it would never return: the window records the
                steps of the calling thread, or is another process's.
        """
        place = STATES.index(state_of(until))
        self._refuse_other_process()
        if timeout is None and place > STATES.index("recording") and self._needs_caller():
            raise RecorderError(
                f"window {self.number} ends when this thread has made its steps, so that this"
                " thread would wait for ever: wait in another thread, or after the steps; from"
                " within a step, stop(timeout=0) lets the window end with it"
            )
        with self._progress.changed:
            return self._progress.changed.wait_for(
                lambda: STATES.index(self._progress.state) >= place, timeout
            )

    def stop(self, timeout: float | None = None) -> bool:
        """End the recording before it is full; what was recorded is kept.

        Where one thread makes the steps, only that thread can stop its profiler: it does at the end
        of its step. Called in that thread, between two steps, it happens at once.

        Args:
            timeout: Seconds to wait until it has happened; null for no limit, 0 not to wait.

        Returns:
            Whether it has happened.

        Raises:
            RecorderError: There is no timeout, and it is called within a step of that thread, or in
                another process. It ends with that step all the same.
        """
        self._refuse_other_process()
        self._end()
        return self.wait("writing", timeout)

    def _refuse_other_process(self) -> None:
        if os.getpid() != self._process:
            raise RecorderError(
                f"window {self.number} belongs to the process that this one was forked from, and"
                " only that one records it"
            )


class Status(NamedTuple):
    """What a session has seen, and what it does."""

    steps: int
    """Steps that have begun, in all threads."""
    stages: tuple[str, ...]
    """Their stages so far."""
    window: Window | None
    """The last window; null before the first."""
