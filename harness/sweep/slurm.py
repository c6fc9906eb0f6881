"""A sweep on Slurm: its jobs are submitted, waited for, cancelled, and asked how they ended."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from harness import files
from harness.capture.run_folder import shown
from harness.capture.run_record import RunRecord, record_of
from harness.capture.sweep_record import SweepRecord
from harness.errors import MachineError, Problem, refuse
from harness.estimate import of_jobs
from harness.execution.protocol import read_json, write_json
from harness.paths import RunFolder, SweepFolder
from harness.settings.slurm import OPTIONS, Slurm
from harness.sweep import interrupts, slurm_commands
from harness.sweep.current import varied_text
from harness.sweep.slurm_commands import Ending, Queued
from harness.sweep.slurm_record import SlurmRecord, Submission
from harness.text import one_line, word

_JOB: Final = "harness.cli.slurm_job"
"""The module that runs one job on its node."""
_ARRAY: Final = 1000
"""Jobs in an array; Slurm's own default allows 1001."""
_POLL_S: Final = 1.0
_SLOWEST_POLL_S: Final = 15.0
"""The longer a sweep takes, the more rarely its controller is asked."""
_APPEARS_S: Final = 15.0
"""How long a shared file system may take to show what another machine has written."""

Report = Callable[[str], None]


def options_of(settings: Slurm) -> list[str]:
    """Return sbatch's options for one job; it is one process, which starts all others."""
    values = {option: getattr(settings, name) for option, name in OPTIONS.items()}
    given = [
        f"--{option}" if value is True else f"--{option}={value}"
        for option, value in values.items()
        if value is not None and value is not False
    ]
    return ["--nodes=1", "--ntasks=1", *given, *settings.options]


def script_of(settings: Slurm, folder: Path) -> str:
    """Return the batch script; its argument is the number of the submission, from 0."""
    words = [sys.executable, "-m", _JOB, str(folder)]
    job = " ".join(map(word, words))
    return "\n".join(["#!/bin/bash", *settings.setup, f'exec {job} "$1"', ""])


def check(settings: Slurm) -> None:
    """Ask Slurm whether it would take such jobs; nothing is submitted, and nothing written.

    Raises:
        MachineError: Slurm's commands are not here, or its controller does not answer.
        RefusedError: Slurm refuses it.
    """
    slurm_commands.check_commands()
    slurm_commands.submit([*options_of(settings), "--test-only", "--wrap=true"])


def refuse_queued(folder: Path) -> None:
    """Refuse a sweep whose jobs an earlier command has left in Slurm's queue.

    Raises:
        MachineError: Slurm does not tell.
    """
    path = SweepFolder(folder).slurm_record
    if not path.exists():
        return
    arrays = read_json(path, SlurmRecord).arrays
    queued = slurm_commands.queue(arrays) if arrays else {}
    if queued is None:
        raise MachineError(
            f"squeue does not answer, so it is not known whether jobs {' '.join(arrays)} of an"
            " earlier command of this sweep go on: squeue must work first"
        )
    left = sorted(name for name, job in queued.items() if not job.is_over)
    if left:
        numbers = " ".join(arrays)
        refuse(
            [
                Problem(
                    setting="hydra.sweep.dir",
                    given=str(folder),
                    reason=f"{len(left)} jobs of an earlier command of this sweep are still in"
                    f" Slurm's queue, the first is {left[0]}",
                    fix=f"wait until they have ended, or scancel {numbers}; then the same command"
                    " runs what is missing",
                )
            ]
        )


class Submitted:
    """The jobs of a sweep that were given to Slurm, until each has ended."""

    def __init__(self, folder: Path, record: SlurmRecord, settings: Slurm, report: Report) -> None:
        self.endings: dict[int, Ending] = {}
        """How those that are over ended, by their numbers in sweep.json."""
        folder = folder.absolute()
        self.folder, self.settings, self._record = folder, settings, record
        self._report = report
        self._jobs = read_json(SweepFolder(folder).record, SweepRecord)
        self._running: set[int] = set()
        self._began_s = time.monotonic()
        self._waiting = ""
        self._patience_s = _APPEARS_S

    def submit(self) -> None:
        """Give the jobs to Slurm.

        Raises:
            RefusedError: Slurm refuses it; nothing of it is left in its queue.
            MachineError: Slurm's controller does not answer.
        """
        if not self._record.submissions:
            return
        place = SweepFolder(self.folder)
        script = place.slurm_script
        text = script_of(self.settings, self.folder)
        files.write(self.folder, script, text.encode(errors="surrogateescape"))
        # A job may begin before its array's number is known here.
        write_json(self._record, place.slurm_record)
        limit = f"%{self.settings.at_once}" if self.settings.at_once else ""
        for number, submission in enumerate(self._record.submissions):
            log = str(place.slurm_log("%A_%a")).replace("%A_%a", "\0").replace("%", "%%")
            array = slurm_commands.submit(
                [
                    *options_of(self.settings),
                    f"--job-name={self.folder.name}",
                    f"--array=0-{len(submission.jobs) - 1}{limit}",
                    f"--chdir={Path.cwd()}",
                    f"--output={log.replace(chr(0), '%A_%a')}",
                    str(script),
                    str(number),
                ],
                name=self.folder.name,
            )
            done = list(self._record.submissions)
            done[number] = replace(submission, array=array)
            self._record = replace(self._record, submissions=tuple(done))
            write_json(self._record, place.slurm_record)
            count = len(submission.jobs)
            self._report(f"{count} job{'s' if count > 1 else ''} given to Slurm, as {array}")

    def stop(self) -> None:
        """Let no other job begin, and ask those that run to write down what they have."""
        self._cancelled(slurm_commands.stop)

    def cancel(self) -> None:
        """Let Slurm end those that are not over."""
        self._cancelled(slurm_commands.cancel)

    def _cancelled(self, how: Callable[[Sequence[str]], str]) -> None:
        arrays = self._record.arrays
        if arrays:
            trouble = how(arrays)
            self._report(f"scancel {' '.join(arrays)}" + (f": {trouble}" if trouble else ""))

    def wait(self) -> None:
        """Wait until all have ended; once the sweep is interrupted, stop them first."""
        pause, stopped, answers = _POLL_S, False, True
        while len(self.endings) < len(dict(self.names())):
            if interrupts.marked(self.folder) and not stopped:
                self.stop()
                stopped, pause = True, _POLL_S
            queued = slurm_commands.queue(self._record.arrays)
            if queued is None:
                if answers:
                    self._report("squeue does not answer; the jobs go on, and it is asked again")
                answers = False
            else:
                answers = True
                self._look_at(queued)
            # A second interrupt ends the pause.
            self._pause(pause, stop_early=not stopped)
            pause = min(pause * 1.1, _SLOWEST_POLL_S)
        self._ask_the_accounting()

    def _pause(self, seconds: float, *, stop_early: bool) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until and not (stop_early and interrupts.marked(self.folder)):
            time.sleep(_POLL_S / 5)

    def names(self) -> Iterator[tuple[int, str]]:
        """Yield the number of each job in sweep.json, and Slurm's name for it."""
        for submission in self._record.submissions:
            for task, number in enumerate(submission.jobs):
                yield number, submission.name(task)

    def _look_at(self, queued: dict[str, Queued]) -> None:
        """Say which jobs run now, and how those ended that are over."""
        waits: Counter[str] = Counter()
        for number, name in self.names():
            if number in self.endings:
                continue
            job = queued.get(name)
            if job is None or job.is_over:
                self._over(number, name, job)
            elif job.state == "RUNNING":
                if number not in self._running:
                    self._running.add(number)
                    self._say(number, f"runs on {job.nodes} (Slurm's job {name})")
            else:
                self._running.discard(number)
                if job.state == "PENDING" and job.reason != "None":
                    waits[job.reason] += 1
        # Which ones wait changes with each job that ends; why they do, seldom.
        reasons = ", ".join(sorted(waits))
        if waits and reasons != self._waiting:
            total = sum(waits.values())
            self._report(f"{total} job{'s' if total > 1 else ''} in Slurm's queue: {reasons}")
        self._waiting = reasons or self._waiting

    def _over(self, number: int, name: str, job: Queued | None) -> None:
        ending = slurm_commands.ending(name) if job else None
        ending = ending or Ending(job.state if job else "")
        self.endings[number] = ending
        record = self._appeared(number, ending)
        # Unless the sweep was, a job that was interrupted is a failed one, as in its table.
        is_interrupted = record is not None and record.status == "interrupted"
        summary = RunFolder(shown(self.folder / self._jobs.jobs[number].folder)).summary
        if record is None or record.exit_code is None:
            said = f"ended without a result: {ending.state or 'not known how'}"
        elif is_interrupted and not interrupts.marked(self.folder):
            said = f"stopped by a signal before its end, what it has: {summary}"
        else:
            verdict = "interrupted" if is_interrupted else record.verdict.replace("_", " ")
            said = f"{verdict}, exit code {record.exit_code}: {summary}"
        ended, total = len(self.endings), len(dict(self.names()))
        running = len(self._running - self.endings.keys())
        rest = of_jobs(ended, running, total, time.monotonic() - self._began_s)
        self._say(number, said + (f" ({rest})" if rest else ""))

    def _appeared(self, number: int, ending: Ending) -> RunRecord | None:
        """Return the record of a job that is over, as soon as it can be seen here."""
        folder = self.folder / self._jobs.jobs[number].folder
        # One that Slurm has killed wrote no more.
        until = time.monotonic() + (self._patience_s if ending.by_itself else 0)
        while True:
            record = record_of(folder)
            if record and record.exit_code is not None:
                return record
            if time.monotonic() >= until:
                if ending.by_itself:
                    # The others, perhaps a thousand, would not appear either.
                    self._patience_s = 0.0
                return record
            time.sleep(_POLL_S)
            if folder.exists():
                # Looking into a folder lets NFS ask its server again.
                list(folder.iterdir())

    def _ask_the_accounting(self) -> None:
        """Let Slurm's accounting complete what the controller has told."""
        names = dict(self.names())
        unclear = [
            number for number, ending in self.endings.items() if ending.state in {"", "CANCELLED"}
        ]
        if not unclear:
            return
        known = slurm_commands.accounted(names[number] for number in unclear)
        if known is None and any(not self.endings[number].state for number in unclear):
            self._report(
                "Slurm keeps no accounting here (sacct), and its controller has forgotten jobs"
                " that ended a while ago: how they ended is not known"
            )
        for number in unclear:
            if known and names[number] in known:
                self.endings[number] = known[names[number]]

    def _say(self, number: int, text: str) -> None:
        job = self._jobs.jobs[number]
        varied = varied_text(job.overrides, self._jobs.swept)
        self._report(f"job {number + 1} of {len(self._jobs.jobs)}  {varied}: {one_line(text)}")


def record_for(
    numbers: Sequence[int], config_dir: str | None, config_name: str, overrides: Sequence[str]
) -> SlurmRecord:
    """Return slurm.json for jobs by their numbers in sweep.json, before they are submitted."""
    parts = (tuple(numbers[at : at + _ARRAY]) for at in range(0, len(numbers), _ARRAY))
    return SlurmRecord(
        submissions=tuple(Submission(jobs=part) for part in parts),
        config_dir=str(Path(config_dir).absolute()) if config_dir else None,
        config_name=config_name,
        overrides=tuple(overrides),
    )
