"""The steps of a session: counted always, recorded in a window."""

from __future__ import annotations

from itertools import count
from threading import enumerate as living_threads
from threading import get_ident
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.sessions.recordings import Recording
    from harness.sessions.recordings import Step as RecordedStep


class SeenSteps:
    """What is known of the steps so far, whichever threads make them."""

    def __init__(self) -> None:
        self.numbers = count()
        self.begun = 0
        """How many have begun."""
        self.stages: dict[str, None] = {}
        """The stages that they were of, in order."""
        self.threads: set[int] = set()
        """The threads that have made them."""
        self.recording: Recording | None = None
        """What records them; null outside windows."""

    def living_threads(self) -> int:
        """Return how many threads make steps; those that have ended are forgotten."""
        self.threads &= {thread.ident or 0 for thread in living_threads()}
        return len(self.threads)

    def __str__(self) -> str:
        """Return it in a sentence, for someone who waits for a step."""
        if not self.begun:
            return "no step has begun: the program makes them by `with session.step(): …`"
        stages = ", ".join(self.stages) or "none"
        return f"{self.begun:,} steps have begun, their stages: {stages}"


class Step:
    """One step of a session; a context manager that is used once."""

    __slots__ = ("_batch", "_held", "_seen", "_stage")

    def __init__(self, seen: SeenSteps, stage: str | None, batch: int | None) -> None:
        self._seen = seen
        self._stage = stage
        self._batch = batch

    def __enter__(self) -> None:
        seen = self._seen
        number = next(seen.numbers)
        seen.begun = number + 1
        seen.threads.add(get_ident())
        if self._stage is not None:
            seen.stages[self._stage] = None
        recording = seen.recording
        self._held: RecordedStep | None = (
            None if recording is None else recording.begin(number, self._stage, self._batch)
        )

    def __exit__(self, *_: object) -> None:
        if self._held is not None:
            self._held.end()
