"""Compatibility: which runs can be merged, by what each requested and how it ended.

Kernels of different programs are largely alike: a join of them would succeed and be wrong. Only the
requested settings show whether the runs ran the same program.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import polars as pl
from msgspec import Struct

from harness.capture.load import load_capture
from harness.capture.merge_record import LeftOut
from harness.capture.run_record import RunRecord
from harness.capture.sweep_record import SweepRecord
from harness.devices import TARGETS
from harness.errors import Problem, RefusedError
from harness.execution.protocol import read_json
from harness.merge.sequences import KERNELS, OPERATORS, Layout, Run
from harness.paths import RunFolder, SweepFolder
from harness.settings.added import whole
from harness.settings.marks import mark_of
from harness.settings.request import COUNTERS, Match
from harness.text import command
from harness.waits import waiting

_MAY_DIFFER: Final = (*COUNTERS, "rehearsal.faults")
"""Measured settings, or groups of them, in which runs that are merged may differ."""
_OPERATOR_COUNTERS: Final = "profiler.experimental.performance_events"
_AT_LEAST: Final = 2
_SHOWN: Final = 5
_NOT_REPORTED: Final = "not reported"
_NO_RESULT: Final = "it left no result"


class Candidate(Struct, frozen=True, kw_only=True):
    """A run that may be merged."""

    folder: Path
    record: RunRecord | None = None
    """Null if there is none that this version can read."""
    problem: Problem | None = None
    """Why there is none; null if the run left none."""


class Chosen(Struct, frozen=True, kw_only=True):
    """The runs that will be merged."""

    runs: tuple[Run, ...]
    records: tuple[RunRecord, ...]
    folders: tuple[str, ...]
    layout: Layout
    left_out: tuple[LeftOut, ...]
    notes: tuple[str, ...]


def candidates(paths: Sequence[Path]) -> list[Candidate]:
    """Return the runs of a sweep's folder, missing ones included; or the runs given.

    Raises:
        RefusedError: A path is neither.
    """
    if problems := list(_no_folders(paths)):
        raise RefusedError(problems)
    if len(paths) == 1 and not RunFolder(paths[0]).record.exists():
        return _of_a_sweep(SweepFolder(paths[0]))
    runs = [_candidate(RunFolder(path)) for path in paths]
    problems = [
        run.problem or _refused(run.folder, _NO_RESULT) for run in runs if run.record is None
    ]
    if problems:
        raise RefusedError(problems)
    return runs


def _no_folders(paths: Sequence[Path]) -> Iterator[Problem]:
    first_by_target: dict[Path, Path] = {}
    for path in paths:
        if not path.is_dir():
            why = "this is no folder" if path.exists() else "there is no such folder"
            yield _refused(path, why)
        elif (first := first_by_target.setdefault(path.resolve(), path)) is not path:
            yield _refused(path, f"this run is given twice: {first} is the same")


def _of_a_sweep(sweep: SweepFolder) -> list[Candidate]:
    if sweep.record.exists():
        record = read_json(sweep.record, SweepRecord)
        if record.outside:
            why = f"{sweep.record.name} names a job outside of its folder: {record.outside[0]}"
            raise RefusedError([_refused(sweep.path, why)])
        expected = [sweep.job(job.folder) for job in record.jobs]
    else:
        expected = sweep.jobs()
    if not expected:
        raise RefusedError([_refused(sweep.path, "there is no sweep in this folder")])
    return [_candidate(run) for run in expected]


def _candidate(run: RunFolder) -> Candidate:
    if not run.record.exists():
        return Candidate(folder=run.path)
    try:
        return Candidate(folder=run.path, record=read_json(run.record, RunRecord))
    except RefusedError as error:
        return Candidate(folder=run.path, problem=error.problems[0])


def _refused(path: Path, reason: str) -> Problem:
    fix = "python -m harness merge SWEEP_DIR, or RUN RUN … --out DIR"
    return Problem(setting="merge", given=str(path), reason=reason, fix=fix)


def chosen(runs: Sequence[Candidate], match: Match) -> Chosen:
    """Return the runs to merge, with their tables and labels; leave out those without results.

    Raises:
        RefusedError: The runs do not belong together, or fewer than two are left.
    """
    kept: list[tuple[Candidate, RunRecord, pl.DataFrame]] = []
    left: list[LeftOut] = []
    layout = _layout([run.record for run in runs if run.record is not None])
    with waiting("reading the runs", len(runs), "runs") as more:
        for run in sorted(runs, key=lambda run: str(run.folder)):
            table, reason = _usable(run, layout)
            if run.record is None or table is None:
                left.append(LeftOut(folder=_name(run.folder), reason=reason))
            else:
                kept.append((run, run.record, table))
            more(1)
    records = [record for _, record, _ in kept]
    if len(kept) < _AT_LEAST:
        raise RefusedError([_too_few(len(kept), left)])
    labels = _labels(records, [_name(run.folder) for run, _, _ in kept])
    problems = list(_differences(records, labels))
    if match == "aligned" and any(record.source for record in records):
        problems.append(_unknown_program())
    if problems:
        raise RefusedError(problems)
    return Chosen(
        runs=tuple(
            Run(label=label, table=table) for label, (_, _, table) in zip(labels, kept, strict=True)
        ),
        records=tuple(records),
        folders=tuple(str(run.folder) for run, _, _ in kept),
        layout=layout,
        left_out=tuple(left),
        notes=tuple(_notes(records, labels)),
    )


def _name(folder: Path) -> str:
    return folder.name if folder.name not in {"", ".."} else folder.resolve().name


def _layout(records: Sequence[RunRecord]) -> Layout:
    """Tell what the counters are of: kernels, or operators."""
    counted = any(record.requested.get(_OPERATOR_COUNTERS) for record in records)
    without_kernels = [name for name, target in TARGETS.items() if not target.has_kernels]
    on_host = all(record.device in without_kernels for record in records)
    return OPERATORS if counted or on_host else KERNELS


def _usable(run: Candidate, layout: Layout) -> tuple[pl.DataFrame | None, str]:
    """Return the table of a run; None and the reason where it cannot be merged."""
    record = run.record
    if record is None:
        return None, _reason(run.problem) if run.problem else _NO_RESULT
    if record.unended:
        return None, record.unended
    if record.status != "ok":
        return None, record.reason or f"it {record.status}"
    if record.verdict == "pending":
        read = command(("python", "-m", "harness", "read", str(run.folder)))
        return None, f"its captures are not analysed yet: {read}"
    for item in record.delivery:
        if item.setting in COUNTERS and item.status in {"missing", "substituted"}:
            return None, f"its counters did not arrive, but: {item.arrived or 'nothing'}"
    try:
        table = load_capture(run.folder).tables[layout.table]
    except RefusedError as error:
        return None, _reason(error.problems[0])
    if table["step"].is_null().all():
        return None, f"it has no {layout.table} of any step"
    return table, ""


def _reason(problem: Problem) -> str:
    """Return the reason why a file of a run cannot be read, with its name."""
    return f"{Path(problem.setting).name}: {problem.reason}"


def _labels(records: Sequence[RunRecord], names: Sequence[str]) -> list[str]:
    """Return the labels of the runs: their counters; without any, the names of their folders.

    Equal labels are numbered.
    """
    varied = [
        key for key in COUNTERS if len({str(record.requested.get(key)) for record in records}) > 1
    ]
    keys = varied or [key for key in COUNTERS if records[0].requested.get(key)]
    labels: list[str] = []
    for record, name in zip(records, names, strict=True):
        parts = [_text(record.requested.get(key)) for key in keys]
        label = unnumbered = "+".join(filter(None, parts)) or name
        number = 1
        while label in labels:
            number += 1
            label = f"{unnumbered}#{number}"
        labels.append(label)
    return labels


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "+".join(map(str, value))
    return "" if value is None else str(value)


def _compared(record: RunRecord) -> dict[str, Any]:
    """Return the values of a run that must be the same in all."""
    settings = {
        key: value
        for key, value in whole(record.requested).items()
        if mark_of(key).measured
        and not any(key == path or key.startswith(f"{path}.") for path in _MAY_DIFFER)
    }
    return {
        "device": record.device,
        "the device's name": record.device_name,
        "emulated": record.emulated,
        **settings,
    }


def _differences(records: Sequence[RunRecord], labels: Sequence[str]) -> Iterator[Problem]:
    """Yield the settings that the runs did not all request alike."""
    settings = [_compared(record) for record in records]
    keys = list(dict.fromkeys(key for values in settings for key in values))
    differing = [key for key in keys if len({repr(values.get(key)) for values in settings}) > 1]
    fix = "merge runs that differ in their counters only"
    for key in differing[:_SHOWN]:
        label_by_value: dict[str, str] = {}
        for values, label in zip(settings, labels, strict=True):
            label_by_value.setdefault(_text(values.get(key)) or _NOT_REPORTED, label)
        shown = ", ".join(f"{value} in {label}" for value, label in label_by_value.items())
        reason = f"the runs differ: {shown}; merged runs must have run the same program"
        yield Problem(setting=key, given="", reason=reason, fix=fix)
    if len(differing) > _SHOWN:
        rest = ", ".join(differing[_SHOWN : 3 * _SHOWN])
        reason = f"the runs differ in {len(differing) - _SHOWN} more settings: {rest}"
        yield Problem(setting="merge", given="", reason=reason, fix=fix)


def _unknown_program() -> Problem:
    return Problem(
        setting="merge.match",
        given="aligned",
        reason="imported captures do not record which program ran, and unrelated programs can align"
        " by accident",
        fix="merge.match=strict, which accepts only identical sequences of kernels",
    )


def _too_few(count: int, left: Sequence[LeftOut]) -> Problem:
    reasons = "".join(f"; {run.folder}: {run.reason}" for run in left)
    there = "there is only one" if count else "there is none"
    return Problem(
        setting="merge",
        given="",
        reason=f"it takes two runs or more, and {there}{reasons}",
        fix="mend what failed, and run the same sweep again: finished runs are kept",
    )


def _notes(records: Sequence[RunRecord], labels: Sequence[str]) -> Iterator[str]:
    for record, label in zip(records, labels, strict=True):
        failing = [item.setting for item in record.delivery if item.fails]
        if failing:
            yield f"{label}: not everything arrived: {', '.join(failing)}"
    names = {name for record in records for name in record.versions}
    for name in sorted(names):
        versions = [record.versions.get(name, _NOT_REPORTED) for record in records]
        if len(set(versions)) > 1:
            shown = ", ".join(dict.fromkeys(versions))
            yield f"the runs have different versions of {name}: {shown}"
