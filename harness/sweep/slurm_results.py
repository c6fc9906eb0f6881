"""What became of the jobs that Slurm ran: its word counts where a job could not say it itself."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from harness.capture import kept_record
from harness.capture.run_folder import shown
from harness.capture.run_record import RunRecord, record_of
from harness.capture.sweep_record import SweepJob
from harness.errors import ExitCode
from harness.files import read_all
from harness.paths import SweepFolder
from harness.settings.schema import show
from harness.sweep import interrupts
from harness.sweep.slurm import Submitted
from harness.sweep.slurm_commands import Ending
from harness.sweep.table import Jobs
from harness.text import one_line, shortened

_LARGEST_LOG: Final = 1 << 24
_SAID: Final = 200
"""Characters of what a process printed last."""


def told(results: Jobs, submitted: Submitted) -> Jobs:
    """Return the results with Slurm's word where a job left none of its own.

    The record of a run that goes on says that it has ended, where Slurm says so.
    """
    names = dict(submitted.names())
    ended = list(results)
    for number, ending in submitted.endings.items():
        job, record = results[number]
        if interrupts.marked(submitted.folder) and (record is None or record.exit_code is not None):
            # The sweep was interrupted, and so were its jobs.
            continue
        place = _Place(submitted, job, names[number])
        if record is None or record.exit_code is None or record.status == "interrupted":
            why = place.why(ending, record)
            kept_record.close_ended(submitted.folder / job.folder, why)
            record = record_of(submitted.folder / job.folder) if record else None
            ended[number] = replace(job, exit_code=int(ExitCode.FAILED), reason=why), record
        elif ending.state in _WORDS and record.exit_code != ExitCode.OK:
            why = f"{place.why(ending, record)}; {job.reason}"
            ended[number] = replace(job, reason=why), record
    return ended


_WORDS: Final = {
    "BOOT_FAIL": "its node could not be started",
    "CANCELLED": "it was cancelled",
    "DEADLINE": "it could not end before its deadline",
    "NODE_FAIL": "its node failed",
    "OUT_OF_MEMORY": "it took more memory than it may have",
    "PREEMPTED": "another job took its place",
    "TIMEOUT": "its time was over",
}
"""What the states mean in which Slurm itself has ended a job (man squeue)."""


class _Place:
    """A job that Slurm ran."""

    def __init__(self, submitted: Submitted, job: SweepJob, name: str) -> None:
        self._settings = submitted.settings
        self._folder = submitted.folder / job.folder
        self._name = name
        self._log = SweepFolder(submitted.folder).slurm_log(name)

    def why(self, ending: Ending, record: RunRecord | None) -> str:
        """Return one line that says how a job without a result ended."""
        return f"Slurm's job {self._name}: {self._words(ending, record)}"

    def _words(self, ending: Ending, record: RunRecord | None) -> str:
        if ending.state in _WORDS:
            by = f" by user {ending.by}" if ending.by else ""
            return f"{_WORDS[ending.state]} ({ending.state}{by}{self._limit(ending.state)})"
        if not ending.state:
            return "how it ended is not known: Slurm has forgotten it, and tells of no accounting"
        if ending.signal:
            killer = f"it was killed by {ending.killed_by} ({ending.state})"
            return f"{killer}{self._last_words()}"
        if ending.code == ExitCode.INTERRUPTED and record and record.status == "interrupted":
            return "a signal stopped it before its end, and it wrote down what it had"
        if ending.code:
            return f"its process ended with exit code {ending.code}{self._last_words()}"
        if record is None and self._folder.exists():
            return (
                "its settings are no longer those of the command: a file of the configuration was"
                f" changed while it waited, or reads the environment{self._last_words()}"
            )
        if record is not None:
            return f"it ended well ({ending.state}), and {shown(self._folder)} does not say so"
        return (
            f"it ended well ({ending.state}), and {shown(self._folder)} is not here: the folder of"
            " a sweep must be on a file system that all nodes share"
        )

    def _limit(self, state: str) -> str:
        limits = {
            "TIMEOUT": ("time_min", self._settings.time_min),
            "OUT_OF_MEMORY": ("memory", self._settings.memory),
        }
        name, value = limits.get(state, ("", None))
        return f"; hydra.launcher.{name}={show(value)}" if name else ""

    def _last_words(self) -> str:
        """Return the last line that the process printed, if it can be read."""
        try:
            text = read_all(self._log, _LARGEST_LOG).decode(errors="replace")
        except OSError:
            return ""
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return f": {shortened(one_line(lines[-1]), _SAID)}" if lines else ""
