"""The sweep that a job belongs to, read from sweep.json in whatever process the job runs."""

from __future__ import annotations

import time
from pathlib import Path

from msgspec import Struct

from harness.capture.sweep_record import SweepRecord
from harness.configuration.composition import setting_of
from harness.estimate import of_jobs
from harness.execution.protocol import read_json
from harness.paths import RunFolder, SweepFolder


class CurrentJob(Struct, frozen=True, kw_only=True):
    """A job that begins, and its place in the sweep."""

    sweep: Path
    """The folder of the sweep."""
    number: int
    """Counted from 0, in the order of the sweep."""
    total: int
    varied: str
    """The overrides that the sweep varies, as they are typed."""
    kept: bool
    """Whether an earlier run of the same request was delivered."""
    kept_jobs: int
    """How many jobs of the sweep are kept."""
    elapsed_s: float
    """Since the sweep began."""
    run_before: int
    """Jobs of this sweep that have run, without those that were kept."""
    left: int
    """Jobs that are still to run, this one included."""

    @property
    def left_s(self) -> float | None:
        """How long the jobs that are left take, by the mean of those that have run, in seconds."""
        return self.elapsed_s / self.run_before * self.left if self.run_before else None


def current_job(sweep: Path, name: str) -> CurrentJob:
    """Return the job whose folder has this name, in the sweep that was begun in `sweep`."""
    path = SweepFolder(sweep).record
    record = read_json(path, SweepRecord)
    number = [job.folder for job in record.jobs].index(name)
    kept = [job.exit_code is not None for job in record.jobs]
    return CurrentJob(
        sweep=sweep,
        number=number,
        total=len(record.jobs),
        varied=varied_text(record.jobs[number].overrides, record.swept),
        kept=kept[number],
        kept_jobs=sum(kept),
        run_before=number - sum(kept[:number]),
        left=len(kept) - number - sum(kept[number:]),
        # The file is written before the first job, and then after the last one.
        elapsed_s=time.time() - path.stat().st_mtime,
    )


def how_far(sweep: Path) -> str:
    """Return how far the jobs of a sweep are that run at once, and how long the rest takes."""
    path = SweepFolder(sweep).record
    record, began = read_json(path, SweepRecord), path.stat().st_mtime
    folders = [RunFolder(sweep / job.folder) for job in record.jobs if job.exit_code is None]
    begun = sum(_is_newer(folder.record, began) for folder in folders)
    ended = sum(_is_newer(folder.summary, began) for folder in folders)
    return of_jobs(ended, begun - ended, len(folders), time.time() - began)


def _is_newer(path: Path, time_s: float) -> bool:
    try:
        return path.stat().st_mtime > time_s
    except OSError:
        return False


def varied_text(overrides: tuple[str, ...], swept: tuple[str, ...]) -> str:
    """Return those overrides of a job that the sweep varies."""
    varied = [text for text in overrides if setting_of(text) in swept]
    return " ".join(varied) or "(nothing varies)"
