"""What the step times of a sweep's jobs say, and what is noise.

Each job is one process, and its steps are no independent samples of it: so jobs are told apart only
where the median step of neither lies among the steps of the other, and no more is claimed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from harness.capture.run_record import RunRecord, Timing
from harness.sweep.table import Jobs, samples_per_s, short_names
from harness.tables.machine_load import most_disturbed

_SAME_WORK: Final = ("profiler", "delivery", "merge", "analysis", "report", "sweep", "name", "seed")
"""Settings that leave the work of an unprofiled step as it is."""
_NAMED: Final = 3
_WHOLE: Final = 1000


class _Timed(NamedTuple):
    name: str
    """The values that the sweep varies."""
    record: RunRecord
    unprofiled: Timing


def remarks(swept: Sequence[str], jobs: Jobs) -> Iterator[str]:
    """Yield which job is the fastest, or what the noise is; nothing of times that are invented."""
    timed = list(_timed(swept, jobs))
    if all(setting.partition(".")[0] in _SAME_WORK for setting in swept):
        yield from _noise(timed)
    else:
        yield from _fastest(timed)
    yield from _overheads(timed)
    yield from _disturbed(timed)


def was_disturbed(record: RunRecord) -> bool:
    """Tell whether others used the cores while a job's steps were timed; not where it is unseen."""
    return not record.emulated and most_disturbed(record.machine_load) is not None


def _timed(swept: Sequence[str], jobs: Jobs) -> Iterator[_Timed]:
    names = dict(zip(swept, short_names(swept), strict=True))
    for job, record in jobs:
        if record is None or record.status != "ok" or record.emulated:
            continue
        if "baseline" not in record.timing:
            continue
        values = (f"{name}={job.values.get(key, '')}" for key, name in names.items())
        yield _Timed(" ".join(values), record, record.timing["baseline"])


def _noise(timed: Sequence[_Timed]) -> Iterator[str]:
    """Say how much the same work differs from process to process."""
    medians = sorted(job.unprofiled.median_ns for job in timed)
    if len(medians) > 1:
        yield (
            "all jobs do the same work: their unprofiled steps differ by"
            f" {medians[-1] / medians[0] - 1:.0%}, which is the noise of this machine"
        )


def _fastest(timed: Sequence[_Timed]) -> Iterator[str]:
    rates = {job.name: samples_per_s(job.record) for job in timed}
    batches = {job.record.requested.get("workload.batch") for job in timed}
    if len(timed) < 2:  # noqa: PLR2004 - one has nothing to be compared with
        return
    # Of batches of several sizes, the time of a step says nothing.
    by_rate = len(batches) > 1 and all(rates.values())
    scaled = {job.name: _scaled(job, per_sample=by_rate) for job in timed}
    best = min(scaled, key=lambda name: scaled[name].median_ns)
    alike = [
        name for name, times in scaled.items() if name != best and times.resembles(scaled[best])
    ]
    unit = "samples per second" if by_rate else "unprofiled step"
    others = f"; not told apart from it: {_some(alike)}" if alike else ""
    yield f"best by {unit}: {best}{others}"


def _scaled(job: _Timed, *, per_sample: bool) -> Timing:
    """Return the times of a job's steps, or of a sample; in thousandths, to be whole."""
    times, batch = job.unprofiled, int(job.record.requested["workload.batch"]) if per_sample else 1
    return Timing(
        steps=times.steps,
        median_ns=times.median_ns * _WHOLE // batch,
        min_ns=times.min_ns * _WHOLE // batch,
        max_ns=times.max_ns * _WHOLE // batch,
    )


def _overheads(timed: Sequence[_Timed]) -> Iterator[str]:
    """Say which costs of profiling are within noise."""
    within = [
        job.name
        for job in timed
        if "active" in job.record.timing and job.unprofiled.resembles(job.record.timing["active"])
    ]
    if within:
        yield f"overhead within the noise of the steps: {_some(within)}"


def _disturbed(timed: Sequence[_Timed]) -> Iterator[str]:
    """Say that jobs ran while the machine was busy, and what is to be done."""
    names = [job.name for job in timed if was_disturbed(job.record)]
    if names:
        yield (
            f"busy machine, times not to be trusted: {_some(names)}; each job's summary says what"
            " was seen. sweep.resume=false runs all again"
        )


def _some(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
