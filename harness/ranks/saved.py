"""The page of a folder that is there already: of a run, of several ranks, a sweep, a merge."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import polars as pl
from msgspec.structs import replace

from harness import tables
from harness.across.compare import across_ranks
from harness.across.reading import rank_runs, shown_import
from harness.analyses.registry import run_analyses
from harness.capture.capture_record import CaptureRecord
from harness.capture.foreign import check_run
from harness.capture.load import load_capture
from harness.capture.merge_record import MergeRecord
from harness.capture.run_folder import is_run, shown
from harness.capture.run_record import RunRecord, record_of
from harness.capture.sweep_record import SweepRecord
from harness.errors import Problem, RefusedError, refuse
from harness.execution.protocol import read_json
from harness.paths import MergedFolder, RunFolder, SweepFolder
from harness.pipeline.starting import refuse_unended
from harness.ranks.pipeline import rank_figures, shown_job
from harness.ranks.verdict import lead_of
from harness.report.html.merge import joined_page, merged_page
from harness.report.html.page import Page
from harness.report.html.redaction import redacted, redacted_page, secrets_of
from harness.report.html.run import Shown, run_page
from harness.report.html.sweep import saved_sweep_page
from harness.report.results import RunResults
from harness.text import command

_NEEDED: Final = (
    *("workload.name", "execution.kind", "rehearsal.emulate"),
    *("profiler.with_stack", "profiler.profile_memory"),
)
"""Settings that every run records, and that its page is made from."""


def saved_page(folder: Path, *, redact: bool = False) -> Page:
    """Return the page of a folder of results, made again from its records and tables.

    Args:
        folder: Of a run, a sweep, or merged runs.
        redact: Whether to leave out what is private, and the links.

    Raises:
        RefusedError: It is none of these, a run goes on in it, or it was not read yet. Nothing is
            written.
    """
    try:
        return _page(folder, redact=redact)
    except pl.exceptions.PolarsError as error:
        why = f"its tables are not as this version writes them: {error}"
        raise RefusedError([_unread(folder, why)]) from error


def _page(folder: Path, *, redact: bool) -> Page:
    if is_run(folder):
        check_run(folder)
        made_from = _shown(RunFolder(folder))
        if not redact:
            return run_page(made_from)
        secrets = secrets_of([made_from.record], folder)
        return redacted_page(run_page(redacted(made_from)), secrets)
    page = _of_runs(folder)
    return redacted_page(page, secrets_of(_records(folder), folder)) if redact else page


def without_links(page: Page) -> Page:
    """Return a page that does not lie beside what it links to."""
    return replace(page, parts=tuple(replace(part, links=(), pages=()) for part in page.parts))


def _shown(run: RunFolder) -> Shown:
    record = read_json(run.record, RunRecord)
    refuse_unended(record, run.path)
    if record.unended:
        raise RefusedError([_unread(run.path, record.unended)])
    refuse(
        [
            _lacking(run, name)
            for name in _NEEDED
            if not record.source and name not in record.requested
        ]
    )
    place = str(shown(run.path))
    if run.ranks.is_dir():
        return _of_ranks(record, run, place)
    if read_json(run.capture, CaptureRecord).reported is None:
        raise RefusedError([_unread(run.path, "its captures are not in tables")])
    capture = load_capture(run.path)
    results = RunResults(record=record, analyses=run_analyses(capture), folder=place)
    return Shown(results=results, tables=capture.tables)


def _lacking(run: RunFolder, name: str) -> Problem:
    why, fix = f"it is broken: requested lacks {name}", "choose another folder, or run again"
    return Problem(setting=str(run.record), given="", reason=why, fix=fix)


def _of_ranks(record: RunRecord, run: RunFolder, place: str) -> Shown:
    found = [(int(rank.path.name), record_of(rank.path)) for rank in rank_runs(run)]
    records = {rank: each for rank, each in found if each is not None}
    across = across_ranks(run, list(records.values()))
    if not record.ranks:
        return shown_import(record, list(records.values()), across, place)
    figures = rank_figures(run, lead_of(records))
    results = RunResults(record=record, analyses=figures, folder=place)
    return shown_job(results, run, records, across)


def _of_runs(folder: Path) -> Page:
    """Return the page of a sweep, of merged runs, or of both."""
    jobs, merged = saved_sweep_page(folder), MergedFolder(folder)
    if not merged.record.exists():
        if jobs is None:
            raise RefusedError([_nothing(folder)])
        return jobs
    record = read_json(merged.record, MergeRecord)
    page = merged_page(record, _table(merged, "unmatched"), _table(merged, "bottlenecks"), folder)
    return page if jobs is None else joined_page(jobs, page)


def _records(folder: Path) -> list[RunRecord]:
    """Return the records of the runs that a folder's page is of, as far as they can be read."""
    sweep, merged = SweepFolder(folder), MergedFolder(folder)
    folders = []
    if sweep.record.exists():
        folders += [folder / job.folder for job in read_json(sweep.record, SweepRecord).jobs]
    if merged.record.exists():
        folders += [Path(run.folder) for run in read_json(merged.record, MergeRecord).runs]
    return [record for path in folders if (record := record_of(path)) is not None]


def _table(merged: MergedFolder, name: str) -> pl.DataFrame:
    path = merged.table(name)
    try:
        return tables.read(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        reason, fix = f"this table cannot be read: {error}", "merge the runs again"
        problem = Problem(setting=str(path), given="", reason=reason, fix=fix)
        raise RefusedError([problem]) from error


def _unread(folder: Path, why: str) -> Problem:
    fix = command(("python", "-m", "harness", "read", str(folder)))
    return Problem(setting="report", given=str(folder), reason=f"not read yet: {why}", fix=fix)


def _nothing(folder: Path) -> Problem:
    exists = (
        "it has no run.json, sweep.json or merge.json" if folder.exists() else "it is not there"
    )
    fix = "name the folder of a run, of a sweep, or of merged runs; python -m harness list"
    return Problem(setting="report", given=str(folder), reason=exists, fix=fix)
