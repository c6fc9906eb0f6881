"""What a window is asked for: how many steps, of which kind, and until when they must have come."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from harness.errors import Problem, refuse

_MOST_STEPS: Final = 100_000
"""As for ``profiler.schedule.active``: each recorded step is held in memory until it ends."""
_WITHIN_S: Final = 60.0
_YEAR_S: Final = 31_536_000


class Wanted(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which steps a window records: the next ones that fit all that is said."""

    steps: int | None = None
    """How many are recorded, after those of the profiler's warm-up; ``profiler.schedule.active`` if
    null."""
    when: str = "now"
    """The next steps that fit."""
    at_step: int | None = None
    """The number of the first recorded step, from the beginning of the session."""
    stage: str | None = None
    """Only steps of this stage."""
    min_batch: int | None = None
    """Only steps of at least this batch."""
    within: float | None = None
    """Seconds until the first step must have begun: a minute if null; with `at_step`, no limit."""

    def of_steps(self, active: int) -> Wanted:
        """Return the same with a number of steps: `active` if it has none."""
        return self if self.steps is not None else replace(self, steps=active)

    def fits(self, number: int, stage: str | None, batch: int | None, warmup: int) -> bool:
        """Tell whether a step is one of those wanted; `warmup` steps come before `at_step`."""
        if self.at_step is not None and number < self.at_step - warmup:
            return False
        if self.stage is not None and stage != self.stage:
            return False
        return self.min_batch is None or (batch is not None and batch >= self.min_batch)

    @property
    def waits(self) -> bool:
        """Whether it is for certain steps only."""
        return any(value is not None for value in (self.at_step, self.stage, self.min_batch))

    @property
    def limit_s(self) -> float | None:
        """Seconds until its first step must have begun; null for none."""
        return self.within or (_WITHIN_S if self.at_step is None else None)

    def __str__(self) -> str:
        """Return it in one phrase: "5 steps of stage decode"."""
        number = "steps" if self.steps is None else f"{self.steps:,} steps"
        number = "1 step" if self.steps == 1 else number
        of = f" of stage {self.stage}" if self.stage is not None else ""
        batch = f" of a batch of at least {self.min_batch}" if self.min_batch is not None else ""
        at = f" from step {self.at_step}" if self.at_step is not None else ""
        return f"{number}{of}{batch}{at}"


def check(wanted: Wanted, *, upcoming: int, warmup: int) -> None:
    """Refuse what cannot come.

    Args:
        wanted: What is asked for.
        upcoming: The number of the session's next step.
        warmup: Steps of the profiler's warm-up.

    Raises:
        RefusedError: It has all that is wrong.
    """
    refuse(list(_problems(wanted, upcoming, warmup)))


def _problems(wanted: Wanted, upcoming: int, warmup: int) -> Iterator[Problem]:
    steps = wanted.steps
    if steps is not None and (not _is_whole(steps) or not 1 <= steps <= _MOST_STEPS):
        why = f"a window records from 1 to {_MOST_STEPS:,} steps"
        yield _problem("steps", wanted.steps, why, "steps=5")
    if wanted.when != "now":
        why = 'it is "now", the next steps; other beginnings have words of their own'
        yield _problem("when", wanted.when, why, 'at_step=100, or stage="decode"')
    if wanted.at_step is not None:
        first = upcoming + warmup
        if not _is_whole(wanted.at_step) or wanted.at_step < first:
            before = f", and {warmup} of the profiler's warm-up come first" if warmup else ""
            why = f"the next step of the session is number {upcoming}{before}"
            yield _problem("at_step", wanted.at_step, why, f"at_step={first} or more")
    if wanted.stage == "":
        yield _problem("stage", wanted.stage, "it is the name of a stage", 'stage="decode"')
    if wanted.min_batch is not None and (not _is_whole(wanted.min_batch) or wanted.min_batch < 1):
        yield _problem("min_batch", wanted.min_batch, "it is 1 or more", "min_batch=32")
    if wanted.within is not None and not _is_positive(wanted.within):
        why = "it is a number of seconds above 0"
        yield _problem("within", wanted.within, why, "within=60")


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_positive(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= _YEAR_S


def _problem(name: str, given: Any, reason: str, fix: str) -> Problem:
    return Problem(setting=name, given=str(given), reason=reason, fix=fix)
