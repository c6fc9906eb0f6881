"""Slurm's own commands: what they are asked, and what they answer."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Final

from msgspec import Struct

from harness.errors import MachineError, Problem, RefusedError, refuse
from harness.text import one_line, word

_NEEDED: Final = ("sbatch", "squeue", "scontrol", "scancel")
_LIMIT_S: Final = 120
"""How long a command may take: a busy controller answers late."""
_UNREACHABLE: Final = (
    *("Unable to contact slurm controller", "Zero Bytes were transmitted"),
    *("configuration source", "Unable to process configuration file", "Munge", "no answer in"),
)
_OVER: Final = frozenset(
    (
        *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL"),
        *("OUT_OF_MEMORY", "PREEMPTED", "TIMEOUT"),
    )
)
"""The states in which a job stays (man squeue)."""

_ELSEWHERE: Final = ("SBATCH_CLUSTERS", "SLURM_CLUSTERS")
_NARROWING: Final = re.compile(r"(SQUEUE|SCANCEL|SACCT)_.*|SBATCH_WAIT")
"""Variables that hide jobs from who asks, or let sbatch wait for them (their manual pages)."""
_NO_ANSWER: Final = -1
"""Stands for the exit code of a command that was given up."""


class Ending(Struct, frozen=True):
    """How Slurm says that a job ended."""

    state: str
    """In Slurm's words, e.g. TIMEOUT; "" if it does not tell."""
    code: int = 0
    signal: int = 0
    by: str = ""
    """Who cancelled it, as the number of a user; "" if that is not known."""

    @property
    def by_itself(self) -> bool:
        """Whether its process ended by itself, with whatever code."""
        return self.state in {"COMPLETED", "FAILED"} and not self.signal

    @property
    def killed_by(self) -> str:
        """The name of the signal that ended it; "" without one."""
        with suppress(ValueError):
            return signal.Signals(self.signal).name
        return f"signal {self.signal}"


class Queued(Struct, frozen=True):
    """A job in Slurm's queue, or one that has just left it."""

    state: str
    nodes: str
    reason: str
    """Why it waits."""

    @property
    def is_over(self) -> bool:
        """Whether it stays in this state."""
        return self.state in _OVER


def check_commands() -> None:
    """Check that Slurm can be asked from here, and would be asked for the jobs that it gets.

    Raises:
        MachineError: This machine does not have Slurm's commands.
        RefusedError: A variable of the environment sends jobs to another cluster.
    """
    missing = [name for name in _NEEDED if shutil.which(name) is None]
    if missing:
        raise MachineError(
            f"{' and '.join(missing)} cannot be found: a sweep on Slurm is started where Slurm's"
            " commands are, as on a login node. Debian has them in slurm-client;"
            " hydra/launcher=basic runs the sweep here"
        )
    refuse(
        [
            Problem(
                setting=name,
                given=os.environ[name],
                reason="this variable of the environment sends jobs to other clusters, where they"
                " are not found again",
                fix=f"env -u {name} python -m harness …, on a login node of that cluster",
            )
            for name in _ELSEWHERE
            if os.environ.get(name)
        ]
    )


def submit(words: Sequence[str], name: str = "") -> str:
    """Give a batch script to Slurm by the words after sbatch, and return the number of the job.

    Args:
        words: After sbatch.
        name: Of the job; empty where sbatch is only asked.

    Raises:
        RefusedError: sbatch refuses it, in its own words.
        MachineError: Slurm's controller does not answer.
    """
    done = _run(["sbatch", "--parsable", *words])
    if done.returncode == 0:
        return done.stdout.strip().partition(";")[0]
    said = _errors(done)
    if name and done.returncode == _NO_ANSWER:
        raise MachineError(
            f"sbatch: {said}. It is not known whether Slurm has taken the jobs:"
            f" squeue --name={word(name)} shows them, scancel --name={word(name)} ends them"
        )
    if any(text in said for text in _UNREACHABLE):
        raise MachineError(f"sbatch: {said}. Slurm does not answer here: sinfo must work first")
    raise RefusedError(
        [
            Problem(
                setting="hydra/launcher",
                given="slurm",
                reason=f"sbatch refuses it: {said}",
                fix="sinfo shows the partitions, their limits and their nodes' features; set"
                " hydra.launcher.partition, .account, .time_min, .gres and so on to match",
            )
        ]
    )


def queue(arrays: Sequence[str]) -> dict[str, Queued] | None:
    """Return the jobs of some arrays that Slurm knows, by name; None if it does not answer."""
    done = _run(["squeue", "-h", "-r", "-t", "all", "-j", ",".join(arrays), "-o", "%F_%K|%T|%N|%r"])
    if done.returncode != 0:
        # So it says that it has forgotten all of them.
        return {} if "Invalid job id" in done.stderr else None
    lines = (line.split("|", 3) for line in done.stdout.splitlines() if line.count("|") > 2)  # noqa: PLR2004
    return {name: Queued(state, nodes, reason) for name, state, nodes, reason in lines}


def stop(arrays: Sequence[str]) -> str:
    """Let no job of some arrays begin, and ask those that run to end, each by its first process.

    That process ends the others. Returns what scancel complains about.
    """
    waiting = _run(["scancel", "--state=PENDING", *arrays])
    running = _run(["scancel", "--batch", "--signal=TERM", *arrays])
    return "; ".join(_errors(done) for done in (waiting, running) if done.returncode)


def cancel(arrays: Sequence[str]) -> str:
    """Let Slurm end all jobs of some arrays, and return what scancel complains about."""
    done = _run(["scancel", *arrays])
    return _errors(done) if done.returncode else ""


def ending(name: str) -> Ending | None:
    """Return how a job ended that Slurm's controller remembers."""
    done = _run(["scontrol", "-o", "show", "job", name])
    fields = {
        key: found[1]
        for key in ("JobState", "ExitCode")
        if (found := re.search(rf"(?<!\S){key}=(\S+)", done.stdout))
    }
    if done.returncode != 0 or fields.get("JobState") not in _OVER:
        return None
    return _ending(fields["JobState"], fields.get("ExitCode", ""))


def accounted(arrays: Iterable[str]) -> Mapping[str, Ending] | None:
    """Return how jobs ended by Slurm's accounting, by name; None where it keeps none."""
    if shutil.which("sacct") is None:
        return None
    words = ["sacct", "-X", "-n", "-P", "-j", ",".join(arrays), "-o", "JobID,State,ExitCode"]
    done = _run(words)
    if done.returncode != 0:
        return None
    lines = (line.split("|") for line in done.stdout.splitlines() if line.count("|") == 2)  # noqa: PLR2004
    return {
        name: _ending(state, code)
        for name, state, code in lines
        if state.partition(" ")[0] in _OVER
    }


def _ending(state: str, code: str) -> Ending:
    """Return an ending from Slurm's words, as ``CANCELLED by 1000`` and ``0:9``."""
    word, _, by = state.partition(" by ")
    number, _, killed = code.partition(":")
    return Ending(word, _number(number), _number(killed), by)


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else 0


def _run(words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run a command that a Ctrl-C in the terminal does not reach."""
    try:
        return subprocess.run(  # noqa: S603 - words of ours, and no shell
            words,
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=_LIMIT_S,
            check=False,
            start_new_session=True,
            env={key: os.environ[key] for key in os.environ if not _NARROWING.fullmatch(key)},
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(words, _NO_ANSWER, "", f"no answer in {_LIMIT_S} s")
    except OSError as error:
        return subprocess.CompletedProcess(words, 1, "", str(error.strerror))


def _errors(done: subprocess.CompletedProcess[str]) -> str:
    """Return what a command complains about, in one line without its name."""
    lines = (
        re.sub(r"^(\w+: (error: |fatal: )?|allocation failure: )", "", line)
        for line in done.stderr.splitlines()
    )
    texts = dict.fromkeys(filter(None, map(str.strip, lines)))
    return one_line("; ".join(texts)) or f"exit code {done.returncode}"
