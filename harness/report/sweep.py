"""The section of a sweep: its jobs, their figures and what became of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from harness.capture.run_record import RunRecord
from harness.capture.sweep_record import SweepJob
from harness.errors import ExitCode
from harness.paths import SweepFolder
from harness.report.section import Brief, Column, Row, Section, brief_rows
from harness.sweep.noise import remarks, was_disturbed
from harness.sweep.table import Jobs, short_names, sweep_table

_NAMED: Final = 3
"""Jobs that are named of those that ended for the same reason."""

_BRIEF_JOBS: Final = 12
"""Jobs on one screen; those that were not delivered are shown, however many they are."""

_FIGURES = {
    "unprofiled_step_ns": Column("unprofiled step", "ns"),
    "profiled_step_ns": Column("profiled step", "ns"),
    "overhead": Column("overhead", "ratio"),
    "device_ns": Column("device per step", "ns"),
    "unprofiled_spread": Column("spread", "share"),
    "samples_per_s": Column("samples/s", "number"),
    "memory_peak": Column("memory", "bytes"),
}
_ORDER = (
    *("unprofiled_step_ns", "unprofiled_spread", "samples_per_s"),
    *("profiled_step_ns", "overhead", "device_ns", "memory_peak"),
)
_IF_ANY = ("device_ns", "samples_per_s", "memory_peak")
"""Figures that are left out where no job has them."""
_MEASURED = ("unprofiled_spread", "samples_per_s")
"""Figures that are left out where times are invented."""


def sections(swept: Sequence[str], jobs: Jobs, kept: Sequence[bool], folder: Path) -> list[Section]:
    """Return the table of a sweep's jobs, with the reasons of those that failed.

    Args:
        swept: The settings that the sweep varies.
        jobs: In the order in which they run.
        kept: For each job, whether its result is an earlier sweep's.
        folder: The sweep's.
    """
    table = sweep_table(swept, jobs, folder)
    records = [record for _, record in jobs if record is not None]
    invented = _MEASURED if any(record.emulated for record in records) else ()
    shown = [
        name
        for name in _ORDER
        if name not in invented and (name not in _IF_ANY or not table[name].is_null().all())
    ]
    figures = table.select(*shown).rows()
    delivered = sum(record.verdict == "delivered" and not record.exit_code for record in records)
    emulated = " (emulated: invented)" if any(record.emulated for record in records) else ""
    settings = (Column(name) for name in short_names(swept))
    rows = tuple(
        (
            *(job.values.get(setting) for setting in swept),
            job.exit_code,
            *values,
            _result(record) + _busy(record) + (" (kept)" if is_kept else ""),
        )
        for (job, record), values, is_kept in zip(jobs, figures, kept, strict=True)
    )
    notes = (*remarks(swept, jobs), *_notes(swept, [job for job, _ in jobs], folder))
    return [
        Section(
            title=f"Sweep{emulated}: {delivered} of {len(jobs)} jobs delivered",
            columns=(
                *settings,
                Column("exit", "identifier"),
                *(_FIGURES[name] for name in shown),
                Column("result"),
            ),
            rows=rows,
            notes=notes,
            brief=_brief(rows, notes, exit_code=len(swept)),
        )
    ]


def _brief(rows: tuple[Row, ...], notes: tuple[str, ...], *, exit_code: int) -> Brief:
    """Return what one screen shows of the jobs; `exit_code` is the place of that column."""
    few = brief_rows(rows, _BRIEF_JOBS, needed=lambda row: row[exit_code] != ExitCode.OK)
    left_out = len(rows) - len(few)
    more = (f"{left_out:,} more jobs, which were delivered",) if left_out else ()
    return Brief(rows=few, notes=(*more, *notes))


def _notes(swept: Sequence[str], jobs: Sequence[SweepJob], folder: Path) -> tuple[str, ...]:
    """Return why jobs failed, where the files are, and how to run what is left."""
    names = dict(zip(swept, short_names(swept), strict=True))
    reasons: dict[str, list[str]] = {}
    for job in jobs:
        if job.reason:
            values = (f"{name}={job.values.get(key, '')}" for key, name in names.items())
            reasons.setdefault(job.reason, []).append(" ".join(values))
    # Without a value that varies, there is but one job.
    notes = [": ".join(filter(None, (_some(at), reason))) for reason, at in reasons.items()]
    sweep = SweepFolder(folder)
    files = f"{sweep.record.name}, {sweep.summary.name}, {sweep.tables.name}/"
    notes.append(f"{folder}/: {files}, and a folder for each job")
    if unfinished := sum(job.exit_code != ExitCode.OK for job in jobs):
        count = f"{unfinished} job{'s' if unfinished > 1 else ''}"
        notes.append(f"the same command again runs {count}, and keeps what was delivered")
    return tuple(notes)


def _some(places: Sequence[str]) -> str:
    """Return the first of the jobs that ended for the same reason, and how many more there are."""
    more = len(places) - _NAMED
    return ", ".join(places[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _result(record: RunRecord | None) -> str:
    if record is None or record.exit_code is None:
        return "running" if record and record.life == "alive" else "no result"
    if record.exit_code in {ExitCode.OK, ExitCode.NOT_DELIVERED}:
        return record.verdict.replace("_", " ")
    return "unavailable" if record.exit_code == ExitCode.UNAVAILABLE else record.status


def _busy(record: RunRecord | None) -> str:
    return ", busy machine" if record is not None and was_disturbed(record) else ""
