"""One rank of a job that an outer launcher has started: each runs its own, rank 0 sums up."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from harness.capture.run_folder import held_run
from harness.capture.run_record import RunRecord, record_of
from harness.execution.plan import plan
from harness.execution.process import ProgressListener
from harness.paths import RunFolder
from harness.pipeline.concluding import Finished
from harness.pipeline.running import run_process
from harness.ranks.pipeline import Ranks, concluded, of_job
from harness.settings.ranks import Rank
from harness.settings.request import Request
from harness.waits import waiting

_PERIOD_S: Final = 0.1
_HYDRA: Final = ".hydra"


class Place(NamedTuple):
    """What one rank is to do, and where."""

    request: Request
    """A valid one."""
    rank: Rank
    folder: Path
    """Of the rank, in that of the job."""


def run_rank(
    place: Place,
    *,
    overrides: Sequence[str],
    listener: ProgressListener,
) -> Finished:
    """Carry out a request as one rank other than 0.

    If it does not end well, it ends after the job: a launcher ends all ranks with the first that
    fails, and rank 0 must still read the others.
    """
    request, rank, folder = place
    planned = plan(request, folder, rank)
    finished = run_process(request, planned, overrides=overrides, listener=listener)
    if finished.record.exit_code:
        limit_s = request.execution.exit_barrier_timeout_s
        _wait(lambda: _is_over(record_of(RunFolder(folder).of_job.path)), limit_s)
    return finished


def lead_ranks(
    place: Place,
    *,
    overrides: Sequence[str],
    listener: ProgressListener,
    begun: Callable[[Path], None],
) -> Finished:
    """Carry out a request as rank 0, wait for the others, and conclude the job.

    `begun` is called with the job's folder. The result is that of the job.
    """
    request, rank, folder = place
    job = RunFolder(folder).of_job
    record = of_job(request, job.path, overrides, rank.world_size)

    def led() -> Ranks:
        begun(job.path)
        if (folder / _HYDRA).is_dir():
            shutil.copytree(folder / _HYDRA, job.path / _HYDRA, dirs_exist_ok=True)
        planned = plan(request, folder, rank)
        own = run_process(request, planned, overrides=overrides, listener=listener)
        others = [job.rank(number).path for number in range(1, rank.world_size)]
        limit_s = request.execution.exit_barrier_timeout_s
        with waiting("waiting for the other ranks to end"):
            _wait(lambda: all(_is_over(record_of(other)) for other in others), limit_s)
        return Ranks(lead=own)

    with held_run(job.path):
        return concluded(record, job, led, listener)


def _is_over(record: RunRecord | None) -> bool:
    """Tell whether a rank has ended, well or not; one that has not begun yet has not."""
    return record is not None and record.life in {"ended", "dead"}


def _wait(is_over: Callable[[], bool], limit_s: float | None) -> None:
    until = None if limit_s is None else time.monotonic() + limit_s
    while not is_over() and (until is None or time.monotonic() < until):
        time.sleep(_PERIOD_S)
