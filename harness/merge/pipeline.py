"""The order of the stages of a merge: runs ─ compatibility ─ join ─ bottlenecks ─ report.

A merge that is refused writes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl
from msgspec import Struct

from harness import files, tables
from harness.bottlenecks.table import bottlenecks
from harness.capture.merge_record import MergedRun, MergeRecord
from harness.capture.run_folder import make
from harness.errors import ExitCode, WriteError
from harness.execution.protocol import json_of
from harness.merge.compatibility import Chosen, candidates, chosen
from harness.merge.join import Joined, merge
from harness.merge.sequences import KERNELS
from harness.paths import MergedFolder
from harness.report.html.merge import joined_page, merged_page
from harness.report.html.page import Page
from harness.report.html.render import html
from harness.report.html.sweep import saved_sweep_page
from harness.report.markdown import markdown
from harness.report.merge import join_sections, sections
from harness.report.section import Section
from harness.settings.request import Analysis, Merge, Peaks
from harness.waits import waiting


class MergedRuns(Struct, frozen=True, kw_only=True):
    """Runs that were merged, and the sections that show them."""

    record: MergeRecord
    summary: tuple[Section, ...]

    @property
    def exit_code(self) -> ExitCode:
        """Not delivered if a run was left out."""
        return ExitCode.NOT_DELIVERED if self.record.left_out else ExitCode.OK


def merge_runs(
    paths: Sequence[Path], folder: Path, settings: Merge, analysis: Analysis
) -> MergedRuns:
    """Merge the runs of a sweep's folder, or the runs given, and write into `folder`.

    Written are ``tables/kernels_merged.parquet`` (``operators_merged`` where the counters are of
    operators), ``tables/unmatched.parquet``, ``tables/bottlenecks.parquet``, ``merge.json``,
    ``merged.md`` and ``report.html``.

    Raises:
        RefusedError: The runs do not belong together; nothing is written.
        WriteError: The disk is full, or the like; what was there stays.
    """
    runs = chosen(candidates(paths), settings.match)
    joined = merge(runs.runs, match=settings.match, layout=runs.layout)
    timed = _timed(joined, runs)
    with waiting("finding what bounds each kind"):
        kinds = bottlenecks(timed, joined.labels, analysis, joined.sources)
    record = _record(runs, joined, timed, settings, analysis.peaks)
    parts = [
        *join_sections(record, joined.unmatched, str(folder)),
        *sections(kinds, joined.labels, emulated=record.emulated),
    ]
    made = make(folder, "--out")
    merged = MergedFolder(folder)
    contents: dict[Path, pl.DataFrame | bytes] = {
        # The first is closed, and takes its place, last.
        merged.record: json_of(record),
        merged.table(f"{runs.layout.table}_merged"): joined.table,
        merged.table("unmatched"): joined.unmatched,
        merged.table("bottlenecks"): kinds,
        merged.summary: markdown(parts).encode(errors="backslashreplace"),
        merged.report: html(_page(record, joined, kinds, folder)),
    }
    try:
        with waiting("writing the tables and pages"):
            tables.write_together(contents, folder)
    except WriteError:
        files.remove_empty([*made, merged.table("").parent])
        raise
    return MergedRuns(record=record, summary=tuple(parts))


def _page(record: MergeRecord, joined: Joined, kinds: pl.DataFrame, folder: Path) -> Page:
    """Return the page of merged runs; of a sweep, together with that of its jobs."""
    page = merged_page(record, joined.unmatched, kinds, folder)
    jobs = saved_sweep_page(folder)
    return page if jobs is None else joined_page(jobs, page)


def _timed(joined: Joined, runs: Chosen) -> pl.DataFrame:
    """Return the joined rows as kernels: the time of an operator is its self time."""
    if runs.layout is KERNELS:
        return joined.table
    names = {f"self_ns@{label}": f"duration_ns@{label}" for label in joined.labels}
    table = joined.table.drop(names.values()).rename(names)
    absent = {
        name: dtype
        for name, dtype in tables.SCHEMAS["kernels"].items()
        if name not in table.columns
    }
    return table.with_columns(pl.lit(None, dtype).alias(name) for name, dtype in absent.items())


def _record(
    runs: Chosen, joined: Joined, times: pl.DataFrame, settings: Merge, peaks: Peaks
) -> MergeRecord:
    first = runs.records[0]
    folders = dict(zip((run.label for run in runs.runs), runs.folders, strict=True))
    codes = {
        run.label: record.exit_code for run, record in zip(runs.runs, runs.records, strict=True)
    }
    return MergeRecord(
        match=settings.match,
        table=runs.layout.table,
        device=first.device,
        device_name=first.device_name,
        emulated=first.emulated,
        rows=joined.table.height,
        in_all=joined.table.height - joined.unmatched.height,
        ambiguous=int(joined.table["ambiguous"].sum()),
        runs=tuple(
            MergedRun(
                label=run.label,
                folder=folders[run.label],
                exit_code=codes[run.label],
                rows=run.rows,
                outside=run.outside,
                unmatched=run.unmatched,
                missing=run.missing,
                duration_ns=int(times[f"duration_ns@{run.label}"].sum()),
                streams=run.streams,
            )
            for run in joined.runs
        ),
        left_out=runs.left_out,
        notes=runs.notes,
        peaks=peaks,
    )
