"""The page of a sweep: its jobs, how their step times spread, and what was merged of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.capture.run_record import RunRecord, Timing, record_of
from harness.capture.sweep_record import SweepRecord
from harness.errors import Problem, RefusedError
from harness.execution.protocol import read_json
from harness.paths import SweepFolder
from harness.report.html.figure import AnyFigure, Range, Ranges, RangeSeries, mark_emulated
from harness.report.html.page import Page, Part, Tile, Tone, link_to
from harness.report.section import Command, Section
from harness.report.sweep import sections
from harness.sweep.table import Jobs, short_names
from harness.text import command

_PHASES = {"baseline": "unprofiled step", "active": "profiled step"}
_HERE = SweepFolder(Path())
JOBS = 60
"""Jobs that are drawn; the table has them all."""


def sweep_page(swept: Sequence[str], jobs: Jobs, kept: Sequence[bool], folder: Path) -> Page:
    """Return the page of a sweep's jobs.

    Args:
        swept: The settings that the sweep varies.
        jobs: In the order in which they run.
        kept: For each job, whether its result is an earlier sweep's.
        folder: The sweep's.
    """
    records = [record for _, record in jobs if record is not None]
    emulated = any(record.emulated for record in records)
    (table,) = sections(swept, jobs, kept, folder)
    figure = _step_ranges(swept, jobs, emulated=emulated)
    pages = tuple(
        link_to(_HERE.job(job.folder).report, job.folder)
        for job, record in jobs
        if record is not None and record.exit_code is not None
    )
    absent = "" if figure else "no job has step times, so none are drawn"
    contents = (figure, table) if figure else (table,)
    return Page(
        title="Sweep",
        subtitle=", ".join(swept),
        warning="EMULATED device: every time and counter on this page is invented"
        if emulated
        else "",
        tiles=tuple(_tiles(jobs, records)),
        parts=(
            Part(
                title="Jobs",
                contents=contents,
                absent=absent,
                links=(link_to(_HERE.tables / "sweep.parquet"),),
                pages=pages,
            ),
            Part(title="Command", contents=(_commands(jobs, emulated=emulated),)),
        ),
    )


def saved_sweep_page(folder: Path) -> Page | None:
    """Return the page of the jobs of a sweep's folder; None if it is the folder of no sweep.

    Raises:
        RefusedError: Its record cannot be read.
    """
    path = SweepFolder(folder).record
    if not path.exists():
        return None
    record = read_json(path, SweepRecord)
    if record.outside or not record.jobs:
        leads = f"a job outside of its folder: {record.outside[0]}" if record.outside else "no job"
        fix = "run the sweep again"
        problem = Problem(setting=str(path), given="", reason=f"it names {leads}", fix=fix)
        raise RefusedError([problem])
    jobs = [(job, _record(folder / job.folder)) for job in record.jobs]
    return sweep_page(record.swept, jobs, [False] * len(jobs), folder)


def _record(job: Path) -> RunRecord | None:
    """Return the record of a job; none of a link, which may lead out of the sweep."""
    return None if job.is_symlink() else record_of(job)


def _tiles(jobs: Jobs, records: Sequence[RunRecord]) -> Iterator[Tile]:
    delivered = sum(record.verdict == "delivered" and not record.exit_code for record in records)
    tone: Tone = "good" if delivered == len(jobs) else "bad"
    yield Tile("jobs", len(jobs), "count")
    yield Tile("delivered", delivered, "count", tone=tone)


def _step_ranges(swept: Sequence[str], jobs: Jobs, *, emulated: bool) -> AnyFigure | None:
    """Return the median, least and greatest step of each job; None if none has step times."""
    names = dict(zip(swept, short_names(swept), strict=True))
    timed = [(job, record) for job, record in jobs if record is not None and record.timing]
    if not timed:
        return None
    one = len(names) == 1
    labels = tuple(
        " ".join(
            ("" if one else f"{name}=") + job.values.get(key, "–") for key, name in names.items()
        )
        for job, _ in timed[:JOBS]
    )
    series = tuple(
        RangeSeries(name, tuple(_range(record.timing.get(phase)) for _, record in timed[:JOBS]))
        for phase, name in _PHASES.items()
        if any(phase in record.timing for _, record in timed[:JOBS])
    )
    figure = Ranges(
        title="Step times of the jobs: median, and from the shortest to the longest step",
        note=f"the first {JOBS} of {len(timed):,} jobs" if len(timed) > JOBS else "",
        unit="ns",
        labels=labels,
        series=series,
    )
    return mark_emulated(figure) if emulated else figure


def _range(timing: Timing | None) -> Range | None:
    return Range(timing.min_ns, timing.median_ns, timing.max_ns) if timing else None


def _commands(jobs: Jobs, *, emulated: bool) -> Section:
    """Show the first job's own settings; sweep.json has those of all."""
    first = jobs[0][0]
    words = ("python", "-m", "harness", *first.overrides)
    return Section(
        title="Command",
        notes=(
            Command(purpose="the first job by itself", line=command(words)),
            "sweep.json has the settings of every job"
            + ("; harness rehearse adds the emulator's settings" if emulated else ""),
        ),
    )
