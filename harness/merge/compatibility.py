"""Belonging: which runs can be merged, by what each was asked and what became of it.

Kernels of different programs are largely alike, so that a join of them would succeed and be wrong.
Only what the runs were asked for tells whether they ran the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import polars as pl
from msgspec import Struct

from harness.capture.merge_record import LeftOut
from harness.capture.run_record import RUN_FILE, RunRecord
from harness.capture.sweep_record import SWEEP_FILE, SweepRecord
from harness.errors import Problem, RefusedError
from harness.merge.sequences import KERNELS, OPERATORS, Layout, Run
from harness.settings.request import COUNTERS, Match

_NOT_MEASURED: Final = ("delivery", "execution", "sweep", "merge", "analysis", "name")
"""Groups of settings that change neither the program nor what is recorded of it."""
_NOT_COMPARED: Final = (
    *COUNTERS,
    "profiler.analyse",
    "profiler.analyse_timeout_s",
    "rehearsal.faults",
)
_OF_OPERATORS: Final = "profiler.experimental.performance_events"
_AT_LEAST: Final = 2
_SHOWN: Final = 5


class Candidate(Struct, frozen=True, kw_only=True):
    """A run that may be merged."""

    folder: Path
    record: RunRecord | None
    """None if it left none."""


class Chosen(Struct, frozen=True, kw_only=True):
    """The runs that will be merged."""

    runs: tuple[Run, ...]
    records: tuple[RunRecord, ...]
    folders: tuple[str, ...]
    layout: Layout
    left_out: tuple[LeftOut, ...]
    notes: tuple[str, ...]


def candidates(paths: Sequence[Path]) -> list[Candidate]:
    """Return the runs of a sweep's folder, those that are missing, too; or the runs given.

    Raises `RefusedError` for what is neither.
    """
    if problems := list(_no_folders(paths)):
        raise RefusedError(problems)
    if len(paths) == 1 and not (paths[0] / RUN_FILE).exists():
        return _of_a_sweep(paths[0])
    found = [Candidate(folder=path, record=_record(path)) for path in paths]
    refused = [
        _neither(each.folder, "this is no run that this version can read")
        for each in found
        if each.record is None
    ]
    if refused:
        raise RefusedError(refused)
    return found


def _no_folders(paths: Sequence[Path]) -> Iterator[Problem]:
    known: dict[Path, Path] = {}
    for path in paths:
        if not path.is_dir():
            why = "this is no folder" if path.exists() else "there is no such folder"
            yield _neither(path, why)
        elif (first := known.setdefault(path.resolve(), path)) is not path:
            yield _neither(path, f"this run is given twice, as {first}, too")


def _of_a_sweep(folder: Path) -> list[Candidate]:
    names = sorted(path.parent.name for path in folder.glob(f"*/{RUN_FILE}"))
    try:
        sweep = msgspec.json.decode((folder / SWEEP_FILE).read_bytes(), type=SweepRecord)
    except FileNotFoundError:
        sweep = None
    except (OSError, msgspec.MsgspecError) as error:
        raise RefusedError(
            [_neither(folder / SWEEP_FILE, f"it cannot be read: {error}")]
        ) from error
    expected = [job.folder for job in sweep.jobs] if sweep else names
    if not expected:
        raise RefusedError([_neither(folder, "there is no sweep in this folder")])
    return [Candidate(folder=folder / name, record=_record(folder / name)) for name in expected]


def _record(folder: Path) -> RunRecord | None:
    try:
        return msgspec.json.decode((folder / RUN_FILE).read_bytes(), type=RunRecord)
    except (OSError, msgspec.MsgspecError):
        return None


def _neither(path: Path, reason: str) -> Problem:
    fix = "python -m harness merge SWEEP_DIR, or RUN RUN … --out DIR"
    return Problem(setting="merge", given=str(path), reason=reason, fix=fix)


def chosen(found: Sequence[Candidate], match: Match) -> Chosen:
    """Return the runs to merge, with their tables and labels; leave out what has nothing to say.

    Raises `RefusedError` if the runs do not belong together, or if fewer than two are left.
    """
    kept: list[tuple[Candidate, RunRecord, pl.DataFrame]] = []
    left: list[LeftOut] = []
    layout = _layout(each.record for each in found if each.record is not None)
    for each in sorted(found, key=lambda each: str(each.folder)):
        table, reason = _usable(each, layout)
        if each.record is None or table is None:
            left.append(LeftOut(folder=_name(each.folder), reason=reason))
        else:
            kept.append((each, each.record, table))
    records = [record for _, record, _ in kept]
    if len(kept) < _AT_LEAST:
        raise RefusedError([_too_few(len(kept), left)])
    labels = _labels(records, [_name(each.folder) for each, _, _ in kept])
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
        folders=tuple(str(each.folder) for each, _, _ in kept),
        layout=layout,
        left_out=tuple(left),
        notes=tuple(_notes(records, labels)),
    )


def _name(folder: Path) -> str:
    return folder.name if folder.name not in {"", ".."} else folder.resolve().name


def _layout(records: Iterator[RunRecord] | Sequence[RunRecord]) -> Layout:
    """Tell what the counters are of: kernels, or operators."""
    known = list(records)
    counted = any(record.requested.get(_OF_OPERATORS) for record in known)
    return OPERATORS if counted or all(each.device == "cpu" for each in known) else KERNELS


def _usable(each: Candidate, layout: Layout) -> tuple[pl.DataFrame | None, str]:
    """Return the table of a run that has something to say; else why it has not."""
    record = each.record
    if record is None:
        return None, "it left no result"
    if record.status != "ok":
        return None, record.reason or f"it {record.status}"
    if record.verdict == "pending":
        return None, f"its captures are not analysed yet: python -m harness read {each.folder}"
    for item in record.delivery:
        if item.setting in COUNTERS and item.status in {"missing", "substituted"}:
            return None, f"its counters did not arrive, but: {item.arrived or 'nothing'}"
    path = each.folder / "tables" / f"{layout.table}.parquet"
    if not path.exists():
        return None, f"it has no {layout.table}"
    try:
        table = pl.read_parquet(path)
        steps = table["step"]
    except (OSError, pl.exceptions.PolarsError) as error:
        return None, f"its tables/{path.name} cannot be read: {error}"
    if steps.is_null().all():
        return None, f"it has no {layout.table} of any step"
    return table, ""


def _labels(records: Sequence[RunRecord], names: Sequence[str]) -> list[str]:
    """Return what the runs are called: by their counters, without any by their folders.

    Where these are equal, they are numbered.
    """
    varied = [
        key for key in COUNTERS if len({str(each.requested.get(key)) for each in records}) > 1
    ]
    asked = varied or [key for key in COUNTERS if records[0].requested.get(key)]
    found: list[str] = []
    for record, name in zip(records, names, strict=True):
        parts = [_text(record.requested.get(key)) for key in asked]
        label = own = "+".join(filter(None, parts)) or name
        number = 1
        while label in found:
            number += 1
            label = f"{own}#{number}"
        found.append(label)
    return found


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "+".join(map(str, value))
    return "" if value is None else str(value)


def _compared(record: RunRecord) -> dict[str, Any]:
    asked = {
        key: value
        for key, value in record.requested.items()
        if key.partition(".")[0] not in _NOT_MEASURED
        and not any(key == each or key.startswith(f"{each}.") for each in _NOT_COMPARED)
    }
    return {
        "device": record.device,
        "the device's name": record.device_name,
        "emulated": record.emulated,
        **asked,
    }


def _differences(records: Sequence[RunRecord], labels: Sequence[str]) -> Iterator[Problem]:
    """Yield what the runs were asked that is not the same."""
    asked = [_compared(record) for record in records]
    keys = list(dict.fromkeys(key for each in asked for key in each))
    differing = [key for key in keys if len({repr(each.get(key)) for each in asked}) > 1]
    for key in differing[:_SHOWN]:
        by_value: dict[str, str] = {}
        for each, label in zip(asked, labels, strict=True):
            by_value.setdefault(_text(each.get(key)) or "not told", label)
        told = ", ".join(f"{value} in {label}" for value, label in by_value.items())
        yield Problem(
            setting=key,
            given="",
            reason=f"the runs differ: {told}; what is merged must have run the same",
            fix="merge runs that differ in their counters alone",
        )
    if len(differing) > _SHOWN:
        rest = ", ".join(differing[_SHOWN : 3 * _SHOWN])
        yield Problem(
            setting="merge",
            given="",
            reason=f"the runs differ in {len(differing) - _SHOWN} settings more: {rest}",
            fix="merge runs that differ in their counters alone",
        )


def _unknown_program() -> Problem:
    return Problem(
        setting="merge.match",
        given="aligned",
        reason="captures from elsewhere do not tell what ran, and different programs align well",
        fix="merge.match=strict, which takes nothing but equal sequences of kernels",
    )


def _too_few(count: int, left: Sequence[LeftOut]) -> Problem:
    reasons = "".join(f"; {each.folder}: {each.reason}" for each in left)
    return Problem(
        setting="merge",
        given="",
        reason=f"it takes two runs or more, and there {'is one' if count else 'is none'}{reasons}",
        fix="mend what failed, and run the same sweep again: what is there is kept",
    )


def _notes(records: Sequence[RunRecord], labels: Sequence[str]) -> Iterator[str]:
    for record, label in zip(records, labels, strict=True):
        failing = [item.setting for item in record.delivery if item.fails]
        if failing:
            yield f"{label}: not all arrived: {', '.join(failing)}"
    names = {name for record in records for name in record.versions}
    for name in sorted(names):
        told = list(dict.fromkeys(record.versions.get(name, "not told") for record in records))
        if len(told) > 1:
            yield f"the runs have different versions of {name}: {', '.join(told)}"
