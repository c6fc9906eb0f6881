"""Exit codes, and every error that the harness raises on purpose.

HarnessError
├── RefusedError    the request was refused before anything ran (exit 2)
└── MachineError    this machine cannot do what was asked (exit 4)

A failing workload is no error of the harness: it is an outcome, recorded in the run folder.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import ClassVar

from msgspec import Struct


class ExitCode(IntEnum):
    """What the process's exit code says."""

    OK = 0
    """Done, and everything asked for was delivered."""
    FAILED = 1
    """The workload failed; what was captured is kept and marked."""
    REFUSED = 2
    """The request was refused before anything ran."""
    NOT_DELIVERED = 3
    """The run worked, but something asked for was not delivered."""
    UNAVAILABLE = 4
    """This machine cannot do it."""
    REGRESSED = 5
    """A comparison found a regression beyond its limit."""
    INTERRUPTED = 130
    """Interrupted; stopped cleanly, the partial capture kept and marked."""


WORST_FIRST = (
    ExitCode.INTERRUPTED,
    ExitCode.FAILED,
    ExitCode.UNAVAILABLE,
    ExitCode.NOT_DELIVERED,
    ExitCode.OK,
)
"""The order in which a sweep chooses its exit code from those of its jobs."""


def worst(codes: Iterable[int]) -> ExitCode:
    """Return the first of `WORST_FIRST` present in `codes`; `OK` for none at all."""
    present = set(codes)
    return next((code for code in WORST_FIRST if code in present), ExitCode.OK)


class Problem(Struct, frozen=True, kw_only=True):
    """One reason to refuse a request, in the user's own words for settings."""

    setting: str
    """The setting as it is typed, e.g. ``profiler.schedule.active``."""
    given: str
    """The value as it was given; empty when the setting itself is the problem."""
    reason: str
    """What is allowed, or why this is not; one sentence without its full stop."""
    fix: str
    """What to write instead."""

    def __str__(self) -> str:
        """Return the problem in two lines: what is wrong, then the fix."""
        given = f"={self.given}" if self.given else ""
        stop = "" if self.reason.endswith("?") else "."
        return f"{self.setting}{given}: {self.reason}{stop}\n    fix: {self.fix}"


class HarnessError(Exception):
    """The base of all errors that the harness raises on purpose."""

    exit_code: ClassVar[ExitCode]


class RefusedError(HarnessError):
    """The request cannot be honoured; carries every problem found."""

    exit_code = ExitCode.REFUSED

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


class MachineError(HarnessError):
    """This machine lacks something; says what, and how to get it."""

    exit_code = ExitCode.UNAVAILABLE
