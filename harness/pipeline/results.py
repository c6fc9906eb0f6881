"""A capture becomes results: checked, analysed, reported."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import NamedTuple

import polars as pl
from msgspec.structs import replace

from harness import tables
from harness.analyses.operators import linked
from harness.analyses.registry import run_analyses
from harness.analyses.steps import step_times
from harness.capture.capture import Capture
from harness.capture.run_folder import files_of, shown
from harness.capture.run_record import Consistency, Delivery, RunRecord
from harness.paths import RunFolder
from harness.pipeline.starting import ended_program, exit_code
from harness.report.html.keep import keep_summary
from harness.report.html.run import Shown, run_page
from harness.report.results import RunResults
from harness.report.run import sections
from harness.report.section import Section
from harness.verification.completeness import completeness
from harness.verification.consistency import consistency
from harness.verification.delivery import verify
from harness.waits import waiting


class Results(NamedTuple):
    """What a capture has become."""

    record: RunRecord
    """Of the run that is over; not written yet."""
    sections: tuple[Section, ...]
    analyses: Mapping[str, pl.DataFrame]
    """By name; empty ones included."""


def written(record: RunRecord, capture: Capture, more: tuple[Delivery, ...]) -> Results:
    """Check and analyse a capture, and write the results into its folder, except for run.json.

    `more` is added to the delivery that the checks find.
    """
    folder, run_folder = capture.folder, RunFolder(capture.folder)
    nothing = _pending(capture) or capture.outcome.status == "unavailable"
    with waiting("checking what arrived"):
        delivery = () if nothing else verify(capture)
        consistent = () if nothing else consistency(capture)
        if not nothing and capture.analysis is not None:
            delivery += completeness(capture, consistent)
    analyses = run_analyses(capture)
    filled = {name: table for name, table in analyses.items() if not table.is_empty()}
    tables.keep(filled, run_folder.analyses, folder)
    ended = ended_record(record, capture, delivery + more, consistent)
    place = str(shown(folder))
    parts = sections(ended, analyses, place)
    results = RunResults(record=ended, analyses=analyses, folder=place)
    with waiting(f"writing {run_folder.report.name}"):
        page = run_page(Shown(results=results, tables=capture.tables))
        keep_summary(parts, page, folder)
    shutil.rmtree(run_folder.cycles, ignore_errors=True)
    return Results(ended, tuple(parts), analyses)


def ended_record(
    record: RunRecord,
    capture: Capture,
    delivery: tuple[Delivery, ...],
    consistent: tuple[Consistency, ...],
) -> RunRecord:
    """Return the record of a run that is over."""
    outcome, analysis = capture.outcome, capture.analysis
    pending = _pending(capture)
    # The metadata of an imported capture may report no settings at all.
    # Nothing is requested of a rank that does not record.
    checked = bool(delivery or record.source or not record.records)
    failing = any(item.fails for item in delivery) or any(item.fails for item in consistent)
    delivered = checked and not failing
    return replace(
        record,
        writer=None,
        status="failed" if outcome.status == "unavailable" else outcome.status,
        verdict="pending" if pending else "delivered" if delivered else "not_delivered",
        exit_code=exit_code(outcome, delivered=delivered or pending),
        reason=outcome.reason,
        analysis=analysis.reason if analysis else "",
        notes=capture.notes,
        versions=record.versions | outcome.versions,
        device_name=outcome.device_name,
        program=ended_program(record, outcome),
        emulated=outcome.emulated,
        emulation=capture.emulation,
        delivery=delivery,
        consistency=consistent,
        timing=step_times(capture),
        machine_load=outcome.machine_load,
        event_counts=capture.event_counts,
        compilation=outcome.compilation,
        linked=linked(capture),
        files=files_of(capture.folder),
    )


def _pending(capture: Capture) -> bool:
    """Tell whether there are captures that are not analysed yet."""
    return bool(capture.cycle_folders) and capture.analysis is None
