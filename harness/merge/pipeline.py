"""The order of the stages of a merge: runs ─ belonging ─ merge ─ bottlenecks ─ report.

Whatever is refused leaves everything as it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl
from msgspec import Struct

from harness import tables
from harness.bottlenecks.table import bottlenecks
from harness.capture import run_folder as folders
from harness.capture.merge_record import MERGE_FILE, MergedRun, MergeRecord
from harness.errors import ExitCode
from harness.execution.protocol import write_json
from harness.merge.compatibility import Chosen, candidates, chosen
from harness.merge.join import Joined, merge
from harness.merge.sequences import KERNELS
from harness.report.markdown import markdown
from harness.report.merge import join_sections, sections
from harness.report.section import Section
from harness.settings.request import Analysis, Merge

SUMMARY = "merged.md"


class MergedRuns(Struct, frozen=True, kw_only=True):
    """Runs that were merged, and what to show of them."""

    record: MergeRecord
    summary: tuple[Section, ...]

    @property
    def exit_code(self) -> ExitCode:
        """Whether all of the runs are in it."""
        return ExitCode.NOT_DELIVERED if self.record.left_out else ExitCode.OK


def merge_runs(
    paths: Sequence[Path], folder: Path, settings: Merge, analysis: Analysis
) -> MergedRuns:
    """Merge the runs of a sweep's folder, or the runs given, and write into `folder`.

    There are then ``tables/kernels_merged.parquet`` (``operators_merged`` where the counters are
    of operators), ``tables/unmatched.parquet``, ``tables/bottlenecks.parquet``, ``merge.json`` and
    ``merged.md``. Raises `RefusedError` if the runs do not belong together; nothing is written.
    """
    runs = chosen(candidates(paths), settings.match)
    joined = merge(runs.runs, match=settings.match, layout=runs.layout)
    timed = _timed(joined, runs)
    kinds = bottlenecks(timed, joined.labels, analysis, joined.sources)
    record = _record(runs, joined, timed, settings)
    parts = [
        *join_sections(record, joined.unmatched, str(folder)),
        *sections(kinds, joined.labels, emulated=record.emulated),
    ]
    folders.make(folder, "--out")
    tables.put(joined.table, folder / "tables" / f"{runs.layout.table}_merged.parquet")
    tables.put(joined.unmatched, folder / "tables" / "unmatched.parquet")
    tables.put(kinds, folder / "tables" / "bottlenecks.parquet")
    write_json(record, folder / MERGE_FILE)
    (folder / SUMMARY).write_text(markdown(parts), encoding="utf-8")
    return MergedRuns(record=record, summary=tuple(parts))


def _timed(joined: Joined, runs: Chosen) -> pl.DataFrame:
    """Return the joined rows as kernels: of operators, what they spent themselves is their time."""
    if runs.layout is KERNELS:
        return joined.table
    own = {f"self_ns@{label}": f"duration_ns@{label}" for label in joined.labels}
    table = joined.table.drop(own.values()).rename(own)
    absent = {
        name: dtype
        for name, dtype in tables.SCHEMAS["kernels"].items()
        if name not in table.columns
    }
    return table.with_columns(pl.lit(None, dtype).alias(name) for name, dtype in absent.items())


def _record(runs: Chosen, joined: Joined, times: pl.DataFrame, settings: Merge) -> MergeRecord:
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
                label=laid.label,
                folder=folders[laid.label],
                exit_code=codes[laid.label],
                rows=laid.rows,
                outside=laid.outside,
                unmatched=laid.unmatched,
                missing=laid.missing,
                duration_ns=int(times[f"duration_ns@{laid.label}"].sum()),
                streams=laid.streams,
            )
            for laid in joined.runs
        ),
        left_out=runs.left_out,
        notes=runs.notes,
    )
