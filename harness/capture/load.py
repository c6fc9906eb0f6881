"""Load: the capture of any run folder, of a run or an imported capture, whole or partial."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl
from msgspec.structs import replace

from harness import tables
from harness.capture import external
from harness.capture.capture import Capture
from harness.capture.capture_record import CaptureRecord, ReaderReport
from harness.capture.collect import collect
from harness.capture.foreign import check_run
from harness.capture.run_record import DIED, RunRecord
from harness.emulator import calls
from harness.errors import Problem, RefusedError
from harness.execution.protocol import Outcome, Plan, read_json, write_json
from harness.files import read_all
from harness.paths import RunFolder
from harness.readers.ascend import folder as ascend
from harness.settings.expectations import ExpectedSettings

_NOT_ANALYSED = "interrupted while its captures were analysed; they are kept"


def load_capture(folder: Path) -> Capture:
    """Return the capture of a run folder: from its tables, which are made first where they are not.

    Raises:
        RefusedError: It is no run folder, or one of another version; or its tables are lost.
    """
    check_run(folder)
    run = RunFolder(folder)
    if run.ranks.is_dir():
        raise RefusedError([_several_ranks(run)])
    record = _capture_record(run)
    needed = (name for name in tables.SCHEMAS if name not in tables.ADDED)
    missing = [name for name in needed if not run.table(name).exists()]
    if record.reported is not None and not missing:
        return _capture(run, record, record.reported)
    if record.source:
        imported = external.read(Path(record.source), record.rank)
        asked = record.expected if record.expected.asked else None
        record = external.keep(imported, folder, asked)
        return _capture(run, record, record.reported or ReaderReport())
    if record.reported is not None and not (run.cycles.exists() or run.cycle_folders()):
        raise RefusedError([_lost(run.table(missing[0]))])
    return collect_capture(folder)


def collect_capture(folder: Path) -> Capture:
    """Return the capture of a run, its tables made anew from what its profiler wrote.

    Raises:
        RefusedError: It is no run folder, or one of another version.
    """
    run = RunFolder(folder)
    record = _capture_record(run)
    report = collect(run, _outcomes(run)[0], _rank(run))
    record = replace(record, reported=report)
    write_json(record, run.capture)
    return _capture(run, record, report)


def _rank(run: RunFolder) -> int:
    """Return the rank of the process that a run folder is of."""
    return read_json(run.plan, Plan).recording.rank if run.plan.exists() else 0


def _capture_record(run: RunFolder) -> CaptureRecord:
    """Return what a capture is checked against; of a run that was killed as it began, nothing."""
    if run.record.exists() and not run.capture.exists():
        record = read_json(run.record, RunRecord)
        if record.exit_code is None:
            nothing = ExpectedSettings(
                device=record.device, activities=(), effective=record.effective, experimental={}
            )
            return CaptureRecord(expected=nothing)
    return read_json(run.capture, CaptureRecord)


def _capture(run: RunFolder, record: CaptureRecord, report: ReaderReport) -> Capture:
    outcome, analysis = _outcomes(run)
    return Capture(
        folder=run.path,
        source=record.source,
        expected=record.expected,
        outcome=outcome,
        analysis=analysis,
        tables=_StoredTables(run),
        raw=tuple(_raw_files(run)),
        event_counts=report.event_counts,
        notes=(*report.lost, *report.remarks, *outcome.notes),
        lost=report.lost,
        emulation=report.emulation,
        settings=report.settings,
        calls=tuple(_calls(run.calls)),
    )


def _outcomes(run: RunFolder) -> tuple[Outcome, Outcome | None]:
    """Return how the run ended, and its analysis; an interrupted one is none, and can be redone."""
    outcome = read_json(run.outcome, Outcome) if run.outcome.exists() else _ended_early(run)
    if not run.analysis.exists():
        return outcome, None
    analysis = read_json(run.analysis, Outcome)
    if analysis.status == "interrupted":
        return replace(outcome, status="interrupted", reason=_NOT_ANALYSED), None
    return outcome, analysis


def _ended_early(run: RunFolder) -> Outcome:
    """Return the outcome of a run that left none: its harness was killed."""
    return Outcome(status="failed", reason=DIED, emulated=left_by_the_emulator(run))


def left_by_the_emulator(run: RunFolder) -> bool:
    """Tell from a run's files whether the emulator made them; the child may not have said so."""
    return run.calls.exists() or any(map(ascend.emulated, run.cycle_folders()))


def _raw_files(run: RunFolder) -> Iterator[str]:
    """Yield the files that the profiler wrote, relative to the run folder; links are followed."""
    for path in sorted(run.raw.glob("*")):
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        yield from (str(file.relative_to(run.path)) for file in files if file.is_file())


def _calls(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    try:
        return calls.decoded(read_all(path))
    except OSError as error:
        reason = f"it cannot be read: {error.strerror}"
    except (ValueError, RecursionError) as error:
        reason = f"it is broken: {error}"
    fix = "remove it: only the list of profiling calls comes from it"
    raise RefusedError([Problem(setting=str(path), given="", reason=reason, fix=fix)])


def _several_ranks(run: RunFolder) -> Problem:
    reason = "it is a job of several ranks, and each of them has tables of its own"
    return Problem(setting=str(run.path), given="", reason=reason, fix=f"name {run.rank(0).path}")


def _lost(path: Path) -> Problem:
    reason = "this table is gone, and so is what it was made from"
    return Problem(setting=str(path), given="", reason=reason, fix="run again")


class _StoredTables(Mapping[str, pl.DataFrame]):
    """The tables of a run folder, each read when it is first used."""

    def __init__(self, run: RunFolder) -> None:
        self._run = run
        self._tables: dict[str, pl.DataFrame] = {}

    def __getitem__(self, name: str) -> pl.DataFrame:
        if name not in tables.SCHEMAS:
            raise KeyError(name)
        if name not in self._tables:
            path = self._run.table(name)
            lacks = name in tables.ADDED and not path.exists()
            self._tables[name] = tables.empty(name) if lacks else stored_table(path)
        return self._tables[name]

    def __iter__(self) -> Iterator[str]:
        return iter(tables.SCHEMAS)

    def __len__(self) -> int:
        return len(tables.SCHEMAS)


def stored_table(path: Path) -> pl.DataFrame:
    """Return a table of a run folder.

    Raises:
        RefusedError: It cannot be read, or is not as this version writes it.
    """
    try:
        return tables.read_stored(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        reason, fix = f"this table cannot be read: {error}", "run again"
        raise RefusedError(
            [Problem(setting=str(path), given="", reason=reason, fix=fix)]
        ) from error
