"""Exit codes, and every error that the harness raises on purpose.

HarnessError
├── RefusedError       the request was refused before anything ran (exit 2)
├── MachineError       this machine cannot do what was requested (exit 4)
├── WriteError         a file cannot be written: the disk is full, or the like (exit 1)
├── RepetitionError    a run that was to be repeated failed (exit 1)
├── RecorderError      a recorder is used where or as it cannot record (exit 1)
├── WindowError        a window in a live engine broke off, and left nothing to read (exit 1)
└── NotDeliveredError  something requested was not delivered (exit 3)

A workload that fails is not an error of the harness: the run folder records how it ended.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import ClassVar

from msgspec import Struct

from harness.text import one_line, shortened, visible


class ExitCode(IntEnum):
    """The exit codes of the process."""

    OK = 0
    """Done, and everything requested was delivered."""
    FAILED = 1
    """The workload failed; what was captured is kept and marked."""
    REFUSED = 2
    """The request was refused before anything ran."""
    NOT_DELIVERED = 3
    """The run worked, but something requested was not delivered."""
    UNAVAILABLE = 4
    """This machine cannot do it."""
    REGRESSED = 5
    """A comparison found a regression beyond its limit."""
    INTERRUPTED = 130
    """Interrupted: stopped cleanly; the partial capture is kept and marked."""


WORST_FIRST = (
    ExitCode.INTERRUPTED,
    ExitCode.FAILED,
    ExitCode.UNAVAILABLE,
    ExitCode.NOT_DELIVERED,
    ExitCode.OK,
)
"""A sweep exits with the first of these that one of its jobs exited with."""


def worst(codes: Iterable[int]) -> ExitCode:
    """Return the first of `WORST_FIRST` that is in `codes`; `OK` if none is."""
    present = set(codes)
    return next((code for code in WORST_FIRST if code in present), ExitCode.OK)


class Problem(Struct, frozen=True, kw_only=True):
    """One reason to refuse a request, with the setting as the user types it."""

    setting: str
    """The setting, flag or word, e.g. ``profiler.schedule.active``."""
    given: str
    """The value as it was typed; empty if the setting itself is the problem."""
    reason: str
    """What is allowed, or why this is not allowed; one sentence without its full stop."""
    fix: str
    """What to write instead."""

    def __str__(self) -> str:
        """Return the problem in two lines: what is wrong, then the fix."""
        given = f"={shortened(self.given)}" if self.given else ""
        stop = "" if self.reason.endswith("?") else "."
        # What was typed or read stays in its line; a reason of our own may have several.
        name = one_line(f"{shortened(self.setting)}{given}")
        return f"{name}: {visible(self.reason)}{stop}\n    fix: {visible(self.fix)}"


class HarnessError(Exception):
    """The base of all errors that the harness raises on purpose."""

    exit_code: ClassVar[ExitCode]


class RefusedError(HarnessError):
    """The request cannot be honoured; carries every problem."""

    exit_code = ExitCode.REFUSED

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))

    def __reduce__(self) -> tuple[type[RefusedError], tuple[tuple[Problem, ...]]]:
        """Keep the problems when a launcher hands the error of a job to its parent process."""
        return type(self), (self.problems,)


class MachineError(HarnessError):
    """This machine lacks something; the message says what, and how to get it."""

    exit_code = ExitCode.UNAVAILABLE


class WriteError(HarnessError):
    """A file of the harness cannot be written; says which, why, and what to do."""

    exit_code = ExitCode.FAILED

    def __init__(self, path: str, reason: str, fix: str, *, full: bool = False) -> None:
        self.path, self.reason, self.fix = path, reason, fix
        self.full = full
        """Whether the disk is full, or its inodes are used up."""
        super().__init__(f"{path} cannot be written: {reason}. {fix[:1].upper()}{fix[1:]}")

    @property
    def fact(self) -> str:
        """What happened, without what to do."""
        return f"{self.path} cannot be written: {self.reason}"

    def __reduce__(self) -> tuple[type[WriteError], tuple[str, str, str], dict[str, bool]]:
        """Keep the parts when a launcher hands the error of a job to its parent process."""
        return type(self), (self.path, self.reason, self.fix), {"full": self.full}


class RepetitionError(HarnessError):
    """A run that was to be repeated failed; says which, and where its record is."""

    exit_code = ExitCode.FAILED


class RecorderError(HarnessError):
    """Another profiler or recorder records in this process, or the calls are in a wrong order."""

    exit_code = ExitCode.FAILED


class WindowError(HarnessError):
    """A window in a live engine broke off; says how, and what became of what it left."""

    exit_code = ExitCode.FAILED


class NotDeliveredError(HarnessError):
    """A run lacks something that was requested; raised where a program has asked for it."""

    exit_code = ExitCode.NOT_DELIVERED


class HarnessWarning(UserWarning):
    """What goes wrong with a profile that must not end the program."""


def refuse(problems: Sequence[Problem]) -> None:
    """Raise `RefusedError` if there is any problem."""
    if problems:
        raise RefusedError(problems)
