"""The jobs of a sweep: their folders, what earlier runs left, and sweep.json."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from harness import tables
from harness.capture import kept_record
from harness.capture.run_folder import OUTPUTS
from harness.capture.run_record import as_typed, finished, record_of, request_hash
from harness.capture.sweep_record import SweepJob, SweepRecord
from harness.configuration.composition import Composition, Job, setting_of, slug
from harness.errors import ExitCode, worst
from harness.execution.protocol import json_of, write_json
from harness.files import Reserve
from harness.paths import SweepFolder
from harness.settings.request import COUNTERS
from harness.sweep.table import Jobs, reason_of, sweep_table

_ROOM_OF_A_JOB: Final = 1 << 10
"""Bytes that are reserved in sweep.json for why a job failed."""

_DYING_S: Final = 2.0
"""How long it may take until a process that was killed is gone."""


def sweep_folder(composition: Composition, digest: str) -> Path:
    """Return where the sweep's results lie: the same for the same command."""
    if composition.folder:
        return Path(composition.folder)
    request = composition.jobs[0].request
    assert request is not None
    return OUTPUTS / "sweeps" / f"{request.name}-{digest}"


def fixed_keys(composition: Composition) -> list[str]:
    """Return the keys that all jobs set alike, which their folders' names leave out."""
    keys = {setting_of(text) for text in composition.jobs[0].overrides}
    return sorted(keys - set(composition.swept))


def varies_counters(composition: Composition) -> bool:
    """Tell whether the jobs differ in their group of counters alone, so that they can be joined.

    Other settings change the program, or the profile.
    """
    return (
        len(composition.jobs) > 1
        and len(composition.swept) == 1
        and composition.swept[0] in COUNTERS
    )


def typed(job: Job) -> str:
    """Return a job's settings as they were typed."""
    assert job.request is not None
    return " ".join(as_typed(job.overrides, rehearsed=job.request.rehearsal.emulate))


def kept(folder: Path, composition: Composition, report: Callable[[str], None]) -> list[bool]:
    """Return for each job whether an earlier run of the same request was delivered, and is kept.

    `report` is called with the reason why a record that is there cannot be read.
    """
    return [
        job.request is not None
        and job.request.sweep.resume
        and finished(job.request, folder / folder_name(composition, job), report) is not None
        for job in composition.jobs
    ]


@contextmanager
def recorded(folder: Path, composition: Composition, kept: Sequence[bool]) -> Iterator[Reserve]:
    """Write sweep.json before the jobs run in a block: which are expected, and which are kept.

    Yields the room for what `save` writes there at the end, however full the disk is then.

    Raises:
        WriteError: There is no room for it.
    """
    record = SweepRecord(
        swept=composition.swept,
        jobs=tuple(
            _job(composition, job, code=ExitCode.OK if there else None)
            for job, there in zip(composition.jobs, kept, strict=True)
        ),
    )
    path = SweepFolder(folder).record
    size = len(json_of(record)) + _ROOM_OF_A_JOB * len(record.jobs)
    with Reserve(folder, path, size) as reserve:
        write_json(record, path)
        yield reserve


def close_killed(folder: Path, composition: Composition) -> None:
    """Let the jobs that a second interrupt killed say so in their records."""
    until = time.monotonic() + _DYING_S
    for job in composition.jobs:
        run = folder / folder_name(composition, job)
        while (record := record_of(run)) and record.life == "alive" and time.monotonic() < until:
            time.sleep(_DYING_S / 100)
        kept_record.close_killed(run)


def results(folder: Path, composition: Composition) -> Jobs:
    """Return what became of each expected job.

    A record of another request does not count: this job was to replace it.
    """
    ended = []
    for job in composition.jobs:
        assert job.request is not None
        record = record_of(folder / folder_name(composition, job))
        if record is not None and record.request_hash != request_hash(job.request):
            record = None
        code = None if record is None else record.exit_code
        ended.append((_job(composition, job, code=code, reason=reason_of(record)), record))
    return ended


def save(folder: Path, swept: Sequence[str], ended: Jobs, reserve: Reserve) -> None:
    """Write into sweep.json what became of each job, and the table of them.

    Raises:
        WriteError: The disk is full, or the like.
    """
    record = SweepRecord(swept=tuple(swept), jobs=tuple(job for job, _ in ended))
    reserve.write(json_of(record))
    table = sweep_table(swept, ended, folder)
    tables.keep({"sweep": table}, SweepFolder(folder).tables, folder)


def exit_code(ended: Jobs) -> ExitCode:
    """Return the exit code of a sweep; a job without one has failed."""
    return worst(ExitCode.FAILED if job.exit_code is None else job.exit_code for job, _ in ended)


def folder_name(composition: Composition, job: Job) -> str:
    """Return the name of a job's folder, as Hydra makes it."""
    varied = [text for text in job.overrides if setting_of(text) in composition.swept]
    return slug(",".join(sorted(varied)))


def _job(composition: Composition, job: Job, *, code: int | None, reason: str = "") -> SweepJob:
    values = {setting_of(text): text.partition("=")[2] for text in job.overrides}
    return SweepJob(
        folder=folder_name(composition, job),
        overrides=job.overrides,
        values={key: values[key] for key in composition.swept if key in values},
        exit_code=code,
        reason=reason,
    )
