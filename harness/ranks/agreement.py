"""The ranks that an outer launcher has started agree on one run folder, and that they do the same.

They meet in a folder that is named by their launch. Files that a launch before left there do no
harm: rank 0 clears the place, and answers each rank with the number that it has just thought of.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Struct

from harness import files
from harness.capture.run_folder import OUTPUTS
from harness.errors import Problem, RefusedError, WriteError, refuse
from harness.execution.rank_watch import StopOrder, order_stop
from harness.paths import RunFolder
from harness.settings.ranks import Rank
from harness.settings.schema import show
from harness.waits import waiting

_PERIOD_S: Final = 0.05
_LAUNCHES: Final = ".launches"
_SLURM: Final = ("SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_RESTART_COUNT")
_TORCH: Final = (
    "MASTER_ADDR",
    "MASTER_PORT",
    "TORCHELASTIC_RUN_ID",
    "TORCHELASTIC_RESTART_COUNT",
)
"""Alone, the id says nothing: it is "none" in most launches. On one machine, a port belongs to one
launch at a time."""
_DECLINE_S: Final = 2.0
"""How long rank 0 tells the others that nothing is run."""
_SHOWN: Final = 5
_T = TypeVar("_T")


class _Hello(Struct, frozen=True, kw_only=True):
    """What a rank tells rank 0."""

    number: str
    """Thought of by this process."""
    settings: dict[str, Any]
    """All settings, by their dotted names."""


class _Answer(Struct, frozen=True, kw_only=True):
    """What rank 0 tells the others."""

    numbers: dict[int, str]
    """The numbers of those that it has heard, by rank."""
    folder: str = ""
    """The run folder of the job, absolute; empty if nothing is run."""


class Meeting:
    """The place where the ranks of one launch meet."""

    def __init__(self, rank: Rank, settings: Mapping[str, Any], limit_s: float) -> None:
        """`settings` are those of this rank, which all must share; `limit_s` is for the meeting.

        Raises:
            RefusedError: The launcher's variables do not tell this launch from others.
        """
        self.rank = rank
        # As the others read it.
        self._settings = msgspec.json.decode(msgspec.json.encode(settings))
        self.told = False
        """Whether a rank has been told the folder, and may have begun."""
        self._limit_s = limit_s
        self._place = OUTPUTS.absolute() / _LAUNCHES / launch_key(rank, os.environ)

    def lead(self, folder: Path) -> None:
        """As rank 0, tell the others the run folder, which is there, once all have come.

        Raises:
            RefusedError: A rank did not come, or has other settings; the others are told.
        """
        # What a launch before has left would be taken for those of this one.
        shutil.rmtree(self._place, ignore_errors=True)
        with files.failing_at(self._place):
            self._place.mkdir(parents=True, exist_ok=True)
        try:
            with waiting("waiting for the other ranks to begin"):
                problems = self._led(str(folder))
            if problems and self.told:
                order_stop(RunFolder(folder), StopOrder(reason=problems[0].reason))
            refuse(problems)
        finally:
            self._leave()

    def _led(self, folder: str) -> list[Problem]:
        """Answer the others until each has read it; return why nothing is run."""
        until = time.monotonic() + self._limit_s
        problems: list[Problem] = []
        answered: dict[int, str] = {}
        while missing := [rank for rank in self._others() if not self._has_read(rank, answered)]:
            if time.monotonic() > until:
                return problems or [self._missing(missing)]
            heard = {rank: hello for rank in missing if (hello := self._hello(rank))}
            if answered or len(heard) == len(missing):
                problems = problems or list(self._different(heard))
                answered |= {rank: hello.number for rank, hello in heard.items()}
                self.told = not problems
                self._answer(answered, "" if problems else folder)
            time.sleep(_PERIOD_S)
        return problems

    def decline(self) -> None:
        """As rank 0, tell those that have come that nothing is run; this process says why."""
        with suppress(OSError, WriteError):
            self._place.mkdir(parents=True, exist_ok=True)
            until = time.monotonic() + _DECLINE_S
            while time.monotonic() < until:
                heard = {rank: hello for rank in self._others() if (hello := self._hello(rank))}
                self._answer({rank: hello.number for rank, hello in heard.items()}, "")
                time.sleep(_PERIOD_S)
        self._leave()

    def follow(self) -> Path | None:
        """As another rank, return the job's folder; None if rank 0 refuses, and has said why.

        Raises:
            RefusedError: Rank 0 did not answer.
        """
        hello = _Hello(number=secrets.token_hex(8), settings=self._settings)
        path = self._hello_file(self.rank.rank)
        until = time.monotonic() + self._limit_s
        while time.monotonic() < until:
            answer = _read(self._answer_file, _Answer)
            if answer is not None and answer.numbers.get(self.rank.rank) == hello.number:
                path.unlink(missing_ok=True)
                return Path(answer.folder) if answer.folder else None
            if not path.exists():
                # Rank 0 begins by clearing the place, perhaps in this moment.
                with suppress(OSError, WriteError):
                    self._place.mkdir(parents=True, exist_ok=True)
                    files.write(self._place, path, msgspec.json.encode(hello))
            time.sleep(_PERIOD_S)
        path.unlink(missing_ok=True)
        raise RefusedError([self._missing([0])])

    def _others(self) -> range:
        return range(1, self.rank.world_size)

    def _has_read(self, rank: int, answered: Mapping[int, str]) -> bool:
        return rank in answered and not self._hello_file(rank).exists()

    def _hello_file(self, rank: int) -> Path:
        return self._place / f"{rank}.json"

    @property
    def _answer_file(self) -> Path:
        return self._place / "answer.json"

    def _hello(self, rank: int) -> _Hello | None:
        return _read(self._hello_file(rank), _Hello)

    def _answer(self, numbers: dict[int, str], folder: str) -> None:
        answer = _Answer(numbers=numbers, folder=folder)
        files.write(self._place, self._answer_file, msgspec.json.encode(answer))

    def _different(self, heard: Mapping[int, _Hello]) -> Iterator[Problem]:
        """Yield the settings that another rank has otherwise; of many, the first."""
        for rank, hello in sorted(heard.items()):
            names = [
                name
                for name in {**self._settings, **hello.settings}
                if self._settings.get(name) != hello.settings.get(name)
            ]
            for name in names[:_SHOWN]:
                yield Problem(
                    setting=name,
                    given=show(self._settings.get(name)),
                    reason=f"rank {rank} has {show(hello.settings.get(name))}, and one profile is"
                    " for all ranks",
                    fix="start all ranks with the same settings; profiler.ranks says who records",
                )
            if names:
                return

    def _missing(self, ranks: list[int]) -> Problem:
        numbers = ", ".join(map(str, ranks))
        return Problem(
            setting=f"rank {numbers}",
            given="",
            reason=f"rank {self.rank.rank} of {self.rank.world_size} has not heard of it within"
            f" execution.join_timeout_s={self._limit_s:g}: it never started, or does not see"
            f" {self._place.parent}, where the ranks meet",
            fix="look at what that rank printed; start all ranks in one folder that all machines"
            " share",
        )

    def _leave(self) -> None:
        """Remove the place, and the folders that only it was in."""
        shutil.rmtree(self._place, ignore_errors=True)
        for folder in (self._place.parent, self._place.parent.parent):
            with suppress(OSError):
                folder.rmdir()


def launch_key(rank: Rank, environment: Mapping[str, str]) -> str:
    """Return what tells this launch from all others that go on: the same for all of its ranks.

    Raises:
        RefusedError: The variables do not say it.
    """
    if "RANK" not in environment:
        words = [environment.get(name, "") for name in _SLURM]
    elif "MASTER_ADDR" in environment and "MASTER_PORT" in environment:
        words = [environment.get(name, "") for name in _TORCH]
        if environment.get("LOCAL_WORLD_SIZE") == str(rank.world_size):
            # On one machine, the address is often 127.0.0.1, as on any other.
            words += [socket.gethostname(), _network()]
    else:
        reason = "MASTER_ADDR and MASTER_PORT are not set, so the ranks cannot find each other"
        fix = "start the ranks by torchrun or srun, or set both variables"
        raise RefusedError([Problem(setting="MASTER_ADDR", given="", reason=reason, fix=fix)])
    return hashlib.sha256("\n".join([*words, str(rank.world_size)]).encode()).hexdigest()[:16]


def _network() -> str:
    """Return the network namespace, in which a port belongs to one launch."""
    try:
        return str(Path("/proc/self/ns/net").readlink())
    except OSError:
        return ""


def _read(path: Path, kind: type[_T]) -> _T | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError):
        return None
