"""The jobs of a sweep: their folders, what is left of each, and the table of them all."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from statistics import median

import polars as pl
from rich.console import Console
from rich.markup import escape

from harness import rendering, tables
from harness.compose import Composition, Job, setting_of, slug
from harness.errors import ExitCode, worst
from harness.pipeline import finished, read_record, request_hash
from harness.records import (
    COUNTERS,
    RUN_FILE,
    SWEEP_FILE,
    RunRecord,
    SweepJob,
    SweepRecord,
    as_typed,
    write_json,
)
from harness.rendering import Section, duration

OUTPUTS = Path("outputs")

Jobs = Sequence[tuple[SweepJob, RunRecord | None]]
"""Each expected job, and its record if it left one."""


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

    What else is varied makes other programs, or other profiles, of them.
    """
    return (
        len(composition.jobs) > 1
        and len(composition.swept) == 1
        and composition.swept[0] in COUNTERS
    )


def headline(console: Console, number: int, total: int, text: str, note: str = "") -> None:
    """Print which job begins, and how far the sweep is."""
    console.print(
        f"\n[bold]job {number + 1} of {total}[/bold]  {escape(text)}"
        + (f"  [dim]{escape(note)}[/dim]" if note else ""),
        highlight=False,
        soft_wrap=True,
    )


def typed(job: Job) -> str:
    """Return a job's settings as they were typed."""
    assert job.request is not None
    return " ".join(as_typed(job.overrides, rehearsed=job.request.rehearsal.emulate))


def varied_text(composition: Composition, job: Job) -> str:
    """Return the part of a job's settings that the sweep varies."""
    kept = [text for text in job.overrides if setting_of(text) in composition.swept]
    return " ".join(kept) or "(nothing varies)"


def kept(folder: Path, composition: Composition) -> list[bool]:
    """Tell of each job whether a delivered run of the same request is there already, and counts."""
    return [
        job.request is not None
        and job.request.sweep.resume
        and finished(job.request, folder / folder_name(composition, job)) is not None
        for job in composition.jobs
    ]


def begin(folder: Path, composition: Composition, kept: Sequence[bool]) -> None:
    """Write down which jobs are expected, and which are there already."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(
        SweepRecord(
            swept=composition.swept,
            jobs=tuple(
                _job(composition, job, code=ExitCode.OK if there else None)
                for job, there in zip(composition.jobs, kept, strict=True)
            ),
        ),
        folder / SWEEP_FILE,
    )


def end(folder: Path, composition: Composition) -> Jobs:
    """Write down what became of each expected job, and return it.

    The record of another request, as of an earlier sweep that this job was to replace, is none.
    """
    found = []
    for job in composition.jobs:
        assert job.request is not None
        record = read_record(folder / folder_name(composition, job) / RUN_FILE)
        if record is not None and record.request_hash != request_hash(job.request):
            record = None
        code = None if record is None else record.exit_code
        found.append((_job(composition, job, code=code, reason=_reason(record)), record))
    write_json(
        SweepRecord(swept=composition.swept, jobs=tuple(each for each, _ in found)),
        folder / SWEEP_FILE,
    )
    tables.keep({"sweep": _table(composition.swept, found, folder)}, folder / "tables")
    return found


def exit_code(found: Jobs) -> ExitCode:
    """Return a sweep's code; a job that left none has failed."""
    return worst(ExitCode.FAILED if job.exit_code is None else job.exit_code for job, _ in found)


def sections(
    swept: Sequence[str], found: Jobs, kept: Sequence[bool], folder: Path
) -> list[Section]:
    """Return the table of a sweep's jobs, for people, with the reasons of those that failed."""
    rows = []
    notes = []
    short = _short(swept)
    figures = _table(swept, found, folder).rows(named=True)
    for (job, record), figure, there in zip(found, figures, kept, strict=True):
        times = [figure[name] for name in ("clean_step_ns", "profiled_step_ns", "device_ns")]
        clean, profiled, device = ("–" if time is None else duration(time) for time in times)
        slower = figure["overhead"]
        rows.append(
            (
                *(job.values.get(key, "") for key in swept),
                "–" if job.exit_code is None else str(job.exit_code),
                clean,
                profiled,
                "–" if slower is None else f"{slower:.2f} ×",
                device,
                f"{_result(record)}, kept" if there else _result(record),
            )
        )
        if job.reason:
            values = zip(short, (job.values.get(key, "") for key in swept), strict=True)
            notes.append(f"{' '.join(map('='.join, values))}: {job.reason}")
    records = [record for _, record in found if record is not None]
    done = sum(record.verdict == "delivered" and not record.exit_code for record in records)
    emulated = " (emulated: invented)" if any(each.emulated for each in records) else ""
    notes.append(f"{folder}/: {SWEEP_FILE}, summary.md, tables/, and a folder for each job")
    if left := sum(job.exit_code != ExitCode.OK for job, _ in found):
        jobs = f"{left} job{'s' if left > 1 else ''}"
        notes.append(f"the same command again keeps what was delivered, and runs {jobs}")
    columns = (">exit", ">clean step", ">profiled step", ">overhead", ">device/step", "result")
    return [
        Section(
            title=f"Sweep{emulated}: {done} of {len(found)} jobs delivered",
            columns=(*short, *columns),
            rows=tuple(rows),
            notes=tuple(notes),
        )
    ]


def _result(record: RunRecord | None) -> str:
    if record is None or record.exit_code is None:
        return "no result"
    if record.exit_code in {ExitCode.OK, ExitCode.NOT_DELIVERED}:
        return record.verdict.replace("_", " ")
    return "cannot" if record.exit_code == ExitCode.CANNOT else record.status


def keep_summary(parts: Sequence[Section], folder: Path) -> None:
    """Write the table of a sweep's jobs into its folder."""
    (folder / "summary.md").write_text(rendering.markdown(parts), encoding="utf-8")


def folder_name(composition: Composition, job: Job) -> str:
    """Return the name of a job's folder, as conf/config.yaml has Hydra make it."""
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


def _reason(record: RunRecord | None) -> str:
    """Say in one line why a job is not what was asked for; "" if it is."""
    if record is None:
        return "it left no result"
    if record.exit_code is None:
        return "the harness ended before this job did"
    failing = [
        f"{item.setting.rpartition('.')[2]} {item.status}, arrived: {item.arrived or 'nothing'}"
        + (f" ({item.why})" if item.why else "")
        for item in record.delivery
        if item.fails
    ]
    broken = [f"{item.name}: {item.why}" for item in record.consistency if item.fails]
    return record.reason or record.analysis or "; ".join([*failing, *broken])


def _short(swept: Sequence[str]) -> list[str]:
    """Return the last words of settings, as many as tell them apart."""
    last = [key.rpartition(".")[2] for key in swept]
    return [word if last.count(word) == 1 else key for word, key in zip(last, swept, strict=True)]


def _table(swept: Sequence[str], found: Jobs, folder: Path) -> pl.DataFrame:
    """Return the sweep as a table, a row a job.

    Columns: each swept setting, as it is typed; folder; exit_code, verdict, reason;
    clean_step_ns and profiled_step_ns (medians); overhead (profiled / clean); device_ns (median
    over the recorded steps of the time under kernels, all devices added up).
    """
    rows = []
    for job, record in found:
        timing = record.timing if record else {}
        clean, profiled = (
            timing[phase].median_ns if phase in timing else None for phase in ("baseline", "active")
        )
        rows.append(
            {
                **{key: job.values.get(key) for key in swept},
                "folder": job.folder,
                "exit_code": job.exit_code,
                "verdict": record.verdict if record else None,
                "reason": job.reason or None,
                "clean_step_ns": clean,
                "profiled_step_ns": profiled,
                "overhead": profiled / clean if clean and profiled else None,
                "device_ns": _device_time(folder / job.folder) if record else None,
            }
        )
    return pl.DataFrame(rows, schema=_columns(swept))


def _columns(swept: Iterable[str]) -> Mapping[str, type[pl.DataType]]:
    words = (*swept, "folder", "verdict", "reason")
    numbers = ("exit_code", "clean_step_ns", "profiled_step_ns", "device_ns")
    types: dict[str, type[pl.DataType]] = {
        **dict.fromkeys(words, pl.String),
        **dict.fromkeys(numbers, pl.Int64),
        "overhead": pl.Float64,
    }
    order = ("folder", "exit_code", "verdict", "reason")
    figures = ("clean_step_ns", "profiled_step_ns", "overhead", "device_ns")
    return {name: types[name] for name in (*swept, *order, *figures)}


def _device_time(job: Path) -> int | None:
    """Return how long devices are under kernels in a step; None where none is told."""
    path = job / "analyses" / "step_breakdown.parquet"
    busy = pl.col("compute_ns") + pl.col("communication_ns")
    try:
        steps = pl.read_parquet(path).filter(pl.col("step").is_not_null())
        times = steps.group_by("step").agg(busy.sum())["compute_ns"].to_list()
    except (OSError, pl.exceptions.PolarsError):
        return None
    return round(median(times)) if times else None


def new_folder() -> Path:
    """Return where a run of now goes, as conf/config.yaml says for all others."""
    now = datetime.now().astimezone()
    return OUTPUTS / f"{now:%Y-%m-%d}" / f"{now:%H-%M-%S-%f}"


def link_latest(folder: Path) -> None:
    """Let ``outputs/latest`` lead to a folder below outputs/; others are left alone."""
    target, outputs = folder.absolute(), OUTPUTS.absolute()
    if not target.is_relative_to(outputs):
        return
    outputs.mkdir(exist_ok=True)
    latest = outputs / "latest"
    if latest.is_dir() and not latest.is_symlink():
        # Someone's own.
        return
    unfinished = outputs / f".latest.{os.getpid()}"
    unfinished.symlink_to(target.relative_to(outputs), target_is_directory=True)
    unfinished.replace(latest)
