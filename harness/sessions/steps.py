"""The steps of a session: counted always, recorded in a window."""

from __future__ import annotations

from itertools import count
from operator import index
from threading import enumerate as living_threads
from threading import get_ident
from typing import TYPE_CHECKING, Final, SupportsIndex

from harness.errors import Problem, RefusedError
from harness.text import is_text

if TYPE_CHECKING:
    from harness.sessions.recordings import Recording
    from harness.sessions.recordings import Step as RecordedStep


_MOST_STAGES: Final = 100


class SeenSteps:
    """What is known of the steps so far, whichever threads make them."""

    def __init__(self) -> None:
        self.numbers = count()
        self.begun = 0
        """How many have begun."""
        self.stages: dict[str, None] = {}
        """The stages that they were of, in order; the first hundred."""
        self.threads: set[int] = set()
        """The threads that have made them."""
        self.recording: Recording | None = None
        """What records them; null outside windows."""

    def add_stage(self, stage: str) -> None:
        """Take a stage that is new.

        Raises:
            RefusedError: It is no name that a trace can hold. It is refused whether or not a window
                is open: no program is to fail in a window only.
        """
        if not isinstance(stage, str) or not is_text(stage) or "\0" in stage:
            why, fix = "it is a name, a text without NUL or half characters", 'stage="decode"'
            raise RefusedError([Problem(setting="stage", given=ascii(stage), reason=why, fix=fix)])
        # A program may make up a name for each request.
        if len(self.stages) < _MOST_STAGES:
            self.stages[stage] = None

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


def whole(batch: SupportsIndex) -> int:
    """Return the size of a batch.

    Raises:
        RefusedError: It is no whole number.
    """
    try:
        return index(batch)
    except TypeError:
        why, fix = "it is how many items the step works on, a whole number", "batch=8"
        raise RefusedError(
            [Problem(setting="batch", given=ascii(batch), reason=why, fix=fix)]
        ) from None


class Step:
    """One step of a session; a context manager that is used once."""

    __slots__ = ("_batch", "_held", "_seen", "_stage")

    def __init__(self, seen: SeenSteps, stage: str | None, batch: int | None) -> None:
        self._seen = seen
        self._stage = stage
        self._batch = batch if batch is None or batch.__class__ is int else whole(batch)

    def __enter__(self) -> None:
        seen = self._seen
        if self._stage is not None and self._stage not in seen.stages:
            seen.add_stage(self._stage)
        number = next(seen.numbers)
        seen.begun = number + 1
        seen.threads.add(get_ident())
        recording = seen.recording
        self._held: RecordedStep | None = (
            None if recording is None else recording.begin(number, self._stage, self._batch)
        )

    def __exit__(self, *_: object) -> None:
        if self._held is not None:
            self._held.end()
