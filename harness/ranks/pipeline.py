"""The order of the stages of a job of several ranks: launch, conclude each rank, compare them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import polars as pl
from msgspec.structs import replace

from harness import tables
from harness.across.compare import AcrossRanks, across_ranks
from harness.analyses.registry import run_analyses
from harness.capture.kept_record import kept
from harness.capture.load import load_capture
from harness.capture.run_folder import clear, files_of, held_run, shown
from harness.capture.run_record import RunRecord, record_of
from harness.configuration.validate import problems
from harness.errors import HarnessError, RefusedError
from harness.execution.launcher import Launch, launch
from harness.execution.plan import environment, plan
from harness.execution.process import ProgressListener
from harness.execution.protocol import Outcome, read_json, write_json
from harness.execution.rank_watch import stop_order
from harness.paths import RunFolder
from harness.pipeline.concluding import Finished
from harness.pipeline.reading import read_run
from harness.pipeline.starting import made, program_of, refuse_unended, started
from harness.ranks.job import Job
from harness.ranks.verdict import JobEnd, ended, lead_of, result_of
from harness.report.html.keep import keep_summary
from harness.report.html.run import Shown, run_page
from harness.report.results import RunResults
from harness.report.run import sections
from harness.settings.ranks import Rank
from harness.settings.request import Request
from harness.waits import waiting
from harness.workloads.program import Program

_THREADS: Final = "OMP_NUM_THREADS"
_ONE_THREAD: Final = (
    f"each rank ran with {_THREADS}=1, as torchrun sets it where it is not set: steps take other"
    f" times than in one process; device.environment.{_THREADS}=N sets it"
)


def _nothing(_folder: Path) -> None:
    """Do nothing when a job begins."""


def run_ranks(
    request: Request,
    folder: Path,
    *,
    overrides: Sequence[str],
    listener: ProgressListener,
    begun: Callable[[Path], None] = _nothing,
) -> Finished:
    """Carry out one request on several ranks of this machine, which this process starts.

    As `harness.pipeline.running.run_job`; the ranks have run folders below ``ranks/``.

    Raises:
        RefusedError: As for `run_job`.
        WriteError: As for `run_job`.
    """
    if invalid := problems(request):
        raise RefusedError(invalid)
    nproc, run = request.execution.nproc, RunFolder(folder)
    record = of_job(request, folder, overrides, nproc)
    lends = isinstance(request.workload, Program) and listener.lends_streams
    job = Job(request=request, overrides=tuple(overrides), lends_streams=lends)

    def launched() -> Ranks:
        begun(folder)
        write_json(job, run.job)
        start = Launch(
            folder=folder,
            nproc=nproc,
            grace_s=request.execution.grace_s,
            environment=dict(os.environ) | environment(request) | _threads(request),
            lends_streams=lends,
        )
        return Ranks(launcher=launch(start, listener))

    with made(folder, "hydra.run.dir"), held_run(folder):
        refuse_unended(record_of(folder), folder)
        clear(folder)
        return concluded(record, run, launched, listener)


def of_job(request: Request, folder: Path, overrides: Sequence[str], world_size: int) -> RunRecord:
    """Return the record of a job that begins."""
    ranks = request.profiler.ranks
    first = Rank(rank=min(ranks) if ranks else 0, world_size=world_size)
    record = started(request, plan(request, folder, first), overrides, program_of(request))
    by_torchrun = "TORCHELASTIC_RUN_ID" in os.environ and os.environ.get(_THREADS) == "1"
    notes = (_ONE_THREAD,) if by_torchrun or _threads(request) else ()
    ranks_expected = tuple(result_of(rank, None) for rank in range(world_size))
    return replace(record, rank=0, records=True, ranks=ranks_expected, notes=notes)


def _threads(request: Request) -> dict[str, str]:
    """Return what torchrun would set in each of several ranks, with a warning of five lines."""
    execution, there = request.execution, {*os.environ, *environment(request)}
    starts_several = execution.kind == "torchrun" and execution.nproc > 1
    return {_THREADS: "1"} if starts_several and _THREADS not in there else {}


def read_ranks(folder: Path, *, listener: ProgressListener, limit_s: float | None) -> Finished:
    """Read the folder of a job again, rank by rank, and complete its verdict.

    Raises:
        RefusedError: As `harness.pipeline.reading.read_run` for one of the ranks. The job's own
            record and summary stay what they were.
        MachineError: The captures cannot be analysed on this machine.
        WriteError: The disk is full, or the like.
    """
    run = RunFolder(folder)

    def read() -> Ranks:
        lead: Finished | None = None
        with waiting("reading the ranks", len(record.ranks), "ranks") as more:
            for rank in range(len(record.ranks)):
                if run.rank(rank).record.exists():
                    done = read_run(run.rank(rank).path, listener=listener, limit_s=limit_s)
                    # The figures of one rank are shown; those of the others need not be held.
                    if lead is None and done.record.records and done.record.timing:
                        lead = done
                more(1)
        return Ranks(lead=lead)

    with held_run(folder):
        record = read_json(run.record, RunRecord)
        refuse_unended(record, folder)
        return concluded(record, run, read, listener)


class Ranks(NamedTuple):
    """Ranks that have ended, in their folders."""

    launcher: str = ""
    """What went wrong with the launcher; empty if nothing did."""
    lead: Finished | None = None
    """One of them that this process has read; null if it has read none that recorded."""


def concluded(
    record: RunRecord,
    run: RunFolder,
    carried_out: Callable[[], Ranks],
    listener: ProgressListener,
) -> Finished:
    """Let the ranks run, and write the results of the job; run.json is true meanwhile, and after.

    `listener` hears of the reading of a rank that could not do so itself.
    """
    with kept(record, run.path) as ending:
        ranks = carried_out()
        records = _records(run, len(record.ranks), listener)
        with waiting("comparing the ranks"):
            across = across_ranks(run, list(records.values()))
        tables.keep(
            {name: table for name, table in across.tables.items() if not table.is_empty()},
            run.analyses,
            run.path,
        )
        end = JobEnd(
            ranks=tuple(result_of(rank, records.get(rank)) for rank in range(len(record.ranks))),
            records=records,
            order=stop_order(run),
            launcher=ranks.launcher,
            consistency=across.consistency,
        )
        last = ended(record, end)
        last = replace(last, files=(*files_of(run.path), f"{run.ranks.name}/"))
        figures = rank_figures(run, lead_of(records), ranks.lead)
        place = str(shown(run.path))
        parts = sections(last, figures, place, across.sections)
        results = RunResults(record=last, analyses=figures, folder=place)
        page = run_page(shown_job(results, run, records, across))
        keep_summary(parts, page, run.path)
        ending.record = last
    return Finished(
        record=last,
        summary=tuple(parts),
        traceback=_traceback(run, last),
        analyses=figures,
    )


def _records(run: RunFolder, world_size: int, listener: ProgressListener) -> dict[int, RunRecord]:
    """Return the records of the ranks that left one; what a dead one has left is read now."""
    records = {}
    for rank in range(world_size):
        folder = run.rank(rank).path
        record = record_of(folder)
        if record is not None and record.life == "dead":
            try:
                record = read_run(folder, listener=listener, limit_s=None).record
            except HarnessError as error:
                record = replace(record, reason=str(error))
        if record is not None:
            records[rank] = record
    return records


def rank_figures(
    run: RunFolder, lead: RunRecord | None, read: Finished | None = None
) -> Mapping[str, pl.DataFrame]:
    """Return the analyses of the rank whose figures are shown; anew, unless it was `read` here."""
    if lead is None:
        return {}
    if read is not None and read.record.rank == lead.rank:
        return read.analyses
    try:
        return run_analyses(load_capture(run.rank(lead.rank).path))
    except RefusedError:
        # Its own record says so.
        return {}


def shown_job(
    results: RunResults, run: RunFolder, records: Mapping[int, RunRecord], across: AcrossRanks
) -> Shown:
    """Return what the page of a job is made from.

    Args:
        results: The job's record, and the analyses of the rank that is shown.
        run: Its folder.
        records: Of the ranks that left one.
        across: The ranks together.
    """
    return Shown(
        results=results,
        tables=_tables(run, lead_of(records)),
        across=across.tables,
        across_sections=across.sections,
        rank_pages=tuple(rank for rank in sorted(records) if run.rank(rank).report.exists()),
    )


def _tables(run: RunFolder, lead: RunRecord | None) -> Mapping[str, pl.DataFrame] | None:
    """Return the tables of the rank whose figures are shown; None if they cannot be read."""
    if lead is None:
        return None
    try:
        return load_capture(run.rank(lead.rank).path).tables
    except RefusedError:
        # Its own record says so.
        return None


def _traceback(run: RunFolder, record: RunRecord) -> str:
    """Return the traceback of the rank that has ended a job, with its number."""
    order = stop_order(run)
    if record.status != "failed" or order is None or order.rank is None:
        return ""
    path = run.rank(order.rank).outcome
    traceback = read_json(path, Outcome).traceback if path.exists() else ""
    return f"rank {order.rank}:\n{traceback}" if traceback else ""
