"""Read a folder with the captures of several ranks: rank by rank, then all compared.

The memory is that of one rank: each is read, checked and written before the next, and little is
kept of it.
"""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from harness import __version__, files, tables
from harness.across.compare import AcrossRanks, across_ranks
from harness.capture.external import agreed
from harness.capture.foreign import check_run
from harness.capture.kept_record import kept
from harness.capture.requested import Requested
from harness.capture.run_folder import files_of, held_run, shown
from harness.capture.run_record import READ, Consistency, Delivery, RunRecord
from harness.capture.sources import RankFolder, no_capture
from harness.errors import ExitCode, Problem, RefusedError
from harness.execution.process import ProgressListener
from harness.execution.protocol import read_json
from harness.paths import RunFolder
from harness.pipeline.concluding import Finished
from harness.pipeline.reading import read_capture, read_run, refuse_taken
from harness.pipeline.starting import made, refuse_unended
from harness.readers.base import CaptureInfo
from harness.report.delivery import consistency, delivery
from harness.report.headline import headline
from harness.report.html.keep import keep_summary
from harness.report.html.run import Shown, run_page
from harness.report.results import SOME, RunResults
from harness.report.run import files as files_section
from harness.report.section import Brief, Column, Row, Section, brief_rows
from harness.waits import waiting

_WORST_FIRST: Final = (
    *("missing", "substituted", "partial", "not_checkable", "delivered", "not_requested"),
)


def _nothing(_folder: Path) -> None:
    """Do nothing when the import begins."""


def read_rank_folder(
    found: RankFolder,
    folder: Path,
    *,
    requested: Requested | None = None,
    begun: Callable[[Path], None] = _nothing,
) -> Finished:
    """Import the captures of several ranks as one run, with a run folder for each rank.

    The captures are linked to, and never changed. They are judged by what was `requested`; null: by
    what their metadata reports.

    Raises:
        RefusedError: There is something in the folder already; or nothing can be read, or the ranks
            were recorded with different settings. Nothing stays written.
        WriteError: The disk is full, or the like.
    """
    refuse_taken(folder, found.path)
    run = RunFolder(folder)
    with made(folder, "--out"), held_run(folder):
        record = _started(found, requested)
        try:
            with kept(record, folder) as ending:
                begun(folder)
                records, lost = _imported(found, run, requested)
                done = _compared(record, run, records, [*found.lost, *lost])
                ending.record = done.record
        except RefusedError:
            _take_back(run)
            raise
    return done


def read_again(folder: Path, *, listener: ProgressListener, limit_s: float | None) -> Finished:
    """Read the folder of an import of several ranks again, and judge it again.

    Raises:
        RefusedError: As `harness.pipeline.reading.read_run` for one of the ranks.
        WriteError: The disk is full, or the like.
    """
    run = RunFolder(folder)
    with held_run(folder):
        record = read_json(run.record, RunRecord)
        refuse_unended(record, folder)
        with kept(record, folder) as ending:
            records = _read_again(rank_runs(run), listener, limit_s)
            lost = [item.reason for item in record.delivery if item.setting == _EVERY]
            done = _compared(record, run, records, lost)
            ending.record = done.record
    return done


def _read_again(
    ranks: Sequence[RunFolder], listener: ProgressListener, limit_s: float | None
) -> list[RunRecord]:
    records = []
    with waiting("reading the ranks", len(ranks), "ranks") as more:
        for rank in ranks:
            records.append(read_run(rank.path, listener=listener, limit_s=limit_s).record)
            more(1)
    return records


def rank_runs(run: RunFolder) -> list[RunFolder]:
    """Return the run folders of the ranks of an import, in the order of the ranks."""
    numbers = [int(path.name) for path in run.ranks.glob("*/") if path.name.isdecimal()]
    return [run.rank(number) for number in sorted(numbers) if run.rank(number).record.exists()]


_EVERY: Final = f"{READ} (every rank)"


def _started(found: RankFolder, requested: Requested | None) -> RunRecord:
    return RunRecord(
        status="running",
        verdict="pending",
        exit_code=None,
        versions={"harness": __version__},
        host=socket.gethostname(),
        source=str(found.path),
        engine=requested.engine if requested else None,
        requested={},
        effective={},
    )


def _imported(
    found: RankFolder, run: RunFolder, requested: Requested | None
) -> tuple[list[RunRecord], list[str]]:
    """Import one rank after the other; return their records, and what could not be read."""
    records: list[RunRecord] = []
    lost: list[str] = []
    problems: list[Problem] = []
    with waiting("reading the ranks", len(found.ranks), "ranks") as more:
        for rank in found.ranks:
            files.make_folder(run.path, run.ranks)
            place = run.rank(rank).path
            try:
                record = read_capture(found.path, place, rank=rank, requested=requested).record
            except RefusedError as error:
                problems += error.problems
                lost += [f"rank {rank}: {problem.reason}" for problem in error.problems]
            else:
                records.append(record)
                _refuse_others(found.path, records)
            more(1)
    if not records:
        raise RefusedError(problems)
    return records, lost


def _refuse_others(path: Path, records: Sequence[RunRecord]) -> None:
    """Refuse ranks with other settings, or of another kind of device.

    A rank that launched nothing reads as one of cpu.
    """
    devices = _devices(records)
    if len(devices) > 1:
        why = f"the ranks are of different devices: {', '.join(sorted(devices))}"
        raise RefusedError([no_capture(path, why, "read each by itself")])
    infos = [(f"rank {record.rank}", CaptureInfo(settings=record.effective)) for record in records]
    agreed(path, infos)


def _devices(records: Sequence[RunRecord]) -> set[str]:
    """Return the kinds of the devices that had work."""
    return {record.device for record in records} - {"cpu"}


def _take_back(run: RunFolder) -> None:
    """Leave nothing of an import that was refused; the folder was empty before it."""
    shutil.rmtree(run.ranks, ignore_errors=True)
    run.record.unlink(missing_ok=True)


def _compared(
    record: RunRecord, run: RunFolder, records: Sequence[RunRecord], lost: Sequence[str]
) -> Finished:
    """Compare the ranks, and write what was found."""
    for each in records:
        check_run(run.rank(each.rank).path)
    with waiting("comparing the ranks"):
        across = across_ranks(run, records)
    filled = {name: table for name, table in across.tables.items() if not table.is_empty()}
    tables.keep(filled, run.analyses, run.path)
    ended = _ended(record, records, across, lost, run)
    place = str(shown(run.path))
    parts = _sections(ended, records, across, place)
    keep_summary(parts, run_page(shown_import(ended, records, across, place)), run.path)
    return Finished(record=ended, summary=tuple(parts), traceback="", analyses=across.tables)


def shown_import(
    record: RunRecord, records: Sequence[RunRecord], across: AcrossRanks, folder: str
) -> Shown:
    """Return what the page of an import of several ranks is made from."""
    return Shown(
        results=RunResults(record=record, analyses={}, folder=folder),
        tables=None,
        across=across.tables,
        across_sections=across.sections,
        more=(_ranks(records, folder),),
        rank_pages=tuple(each.rank for each in records),
    )


def _ended(
    record: RunRecord,
    records: Sequence[RunRecord],
    across: AcrossRanks,
    lost: Sequence[str],
    run: RunFolder,
) -> RunRecord:
    first = records[0]
    delivered = (*_delivery(records), *_of_lost(lost))
    consistent = (*across.consistency, *_broken(records))
    fails = any(item.fails for item in delivered) or any(item.fails for item in consistent)
    # A recording that did not end well did so for all ranks: they were asked together.
    is_ok = first.status == "ok"
    code = ExitCode.NOT_DELIVERED if fails else ExitCode.OK
    return replace(
        record,
        status=first.status,
        reason=first.reason,
        writer=None,
        verdict="not_delivered" if fails else "delivered",
        exit_code=code if is_ok else first.exit_code,
        versions=first.versions,
        host=first.host,
        device=min(_devices(records), default=first.device),
        device_name=first.device_name,
        world_size=len(records),
        emulated=any(each.emulated for each in records),
        requested=first.requested,
        effective=first.effective,
        delivery=delivered,
        consistency=consistent,
        notes=tuple(f"rank {each.rank}: {note}" for each in records for note in each.notes),
        files=(*files_of(run.path), f"{run.ranks.name}/"),
    )


def _delivery(records: Sequence[RunRecord]) -> Iterator[Delivery]:
    """Yield what the ranks delivered, of each setting the worst."""
    found: dict[str, list[tuple[int, Delivery]]] = {}
    for record in records:
        for item in record.delivery:
            found.setdefault(item.setting, []).append((record.rank, item))
    for items in found.values():
        rank, worst = min(items, key=lambda pair: _WORST_FIRST.index(pair[1].status))
        yield replace(worst, arrived=f"rank {rank}: {worst.arrived}") if worst.fails else worst


def _of_lost(lost: Sequence[str]) -> Iterator[Delivery]:
    for reason in lost:
        yield Delivery(
            setting=_EVERY,
            requested="every rank",
            arrived="not all",
            status="partial",
            expectation="the captures of all ranks can be read",
            reason=reason,
        )


def _broken(records: Iterable[RunRecord]) -> Iterator[Consistency]:
    for record in records:
        for check in record.consistency:
            if check.fails:
                yield replace(check, name=f"rank {record.rank}: {check.name}")


def _sections(
    record: RunRecord, records: Sequence[RunRecord], across: AcrossRanks, folder: str
) -> list[Section]:
    results = RunResults(record=record, analyses={}, folder=folder)
    judged = [part for part in (delivery(results), consistency(results)) if part]
    return [
        headline(results),
        _ranks(records, folder),
        *judged,
        *across.sections,
        files_section(results),
    ]


def _ranks(records: Sequence[RunRecord], folder: str) -> Section:
    columns = (
        *(Column("", "status"), Column("rank", "identifier"), Column("verdict")),
        *(Column("steps", "count"), Column("median step", "ns"), Column("host")),
    )
    rows: list[Row] = []
    for record in records:
        timing = record.timing.get("active")
        counts = (timing.steps, timing.median_ns) if timing else (None, None)
        mark = "good" if record.exit_code == 0 else "bad"
        rows.append((mark, record.rank, record.verdict.replace("_", " "), *counts, record.host))
    note = f"each has a run folder: {RunFolder(Path(folder)).ranks}/RANK"
    return Section(
        title=f"Ranks: {len(records)} captures",
        columns=columns,
        rows=tuple(rows),
        notes=(note,),
        brief=Brief(rows=brief_rows(rows, SOME, needed=lambda row: row[0] == "bad")),
    )
