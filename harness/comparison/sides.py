"""The two sides of a comparison: which runs the paths name, and what cannot be compared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Literal

from msgspec import Struct

from harness.capture.found_runs import Unreadable, find_runs
from harness.capture.merge_record import LeftOut
from harness.capture.run_record import RunRecord
from harness.errors import Problem, RefusedError, refuse
from harness.execution.protocol import read_json
from harness.paths import RunFolder
from harness.text import command

Side = Literal["candidate", "base"]
_FIX: Final = {
    "candidate": "python -m harness compare RUN ... --against BASE ...",
    "base": "python -m harness compare RUN ... --against BASE ...",
}


class SideRun(Struct, frozen=True, kw_only=True):
    """A run of one side."""

    folder: Path
    record: RunRecord


class Sides(Struct, frozen=True, kw_only=True):
    """The runs that are compared."""

    candidate: tuple[SideRun, ...]
    base: tuple[SideRun, ...]
    """Empty where a candidate is held against limits alone."""
    left_out: tuple[LeftOut, ...] = ()

    @property
    def runs(self) -> tuple[SideRun, ...]:
        """Those of both sides."""
        return (*self.candidate, *self.base)


def sides(candidate: Sequence[Path], base: Sequence[Path]) -> Sides:
    """Find the runs of both sides.

    A path is a run folder, or a folder below which runs are: a sweep, or several runs.

    Raises:
        RefusedError: With every path that names no run, names one that goes on, or stands on both
            sides; and each side of which no run is left.
    """
    found = {"candidate": list(_found(candidate)), "base": list(_found(base))}
    refuse([item for side in found.values() for item in side if isinstance(item, Problem)])
    kept: dict[str, list[SideRun]] = {"candidate": [], "base": []}
    left: list[LeftOut] = []
    for side, items in found.items():
        for item in items:
            if isinstance(item, SideRun):
                kept[side].append(item)
            elif isinstance(item, LeftOut):
                left.append(item)
    refuse([*_both_sides(kept), *_running(kept), *_emptied(kept, base, left)])
    return Sides(candidate=tuple(kept["candidate"]), base=tuple(kept["base"]), left_out=tuple(left))


def _found(paths: Sequence[Path]) -> Iterator[SideRun | LeftOut | Problem]:
    seen: dict[Path, Path] = {}
    for path in paths:
        if not path.is_dir():
            yield _no_folder(path)
            continue
        entries = sorted(find_runs(path), key=_folder)
        if not entries:
            yield _no_run(path)
        for entry in entries:
            folder = Path(_folder(entry))
            if (first := seen.setdefault(folder.resolve(), path)) is not path:
                yield _problem(folder, f"this run is given twice: it is in {first}, too")
            elif isinstance(entry, Unreadable):
                yield LeftOut(folder=str(folder), reason=entry.why)
            else:
                yield _run(folder)


def _folder(entry: object) -> str:
    if isinstance(entry, Unreadable):
        path = Path(entry.path)
        return str(path.parent if path.suffix else path)
    return str(getattr(entry, "folder", ""))


def _run(folder: Path) -> SideRun | LeftOut:
    """Return a run, or why it has no result; one that goes on is refused later, by its record."""
    try:
        record = read_json(RunFolder(folder).record, RunRecord)
    except RefusedError as error:
        return LeftOut(folder=str(folder), reason=error.problems[0].reason)
    if record.life == "dead" or (record.life == "ended" and record.status != "ok"):
        reason = record.unended or record.reason or f"it {record.status}"
        return LeftOut(folder=str(folder), reason=reason)
    return SideRun(folder=folder, record=record)


def _no_folder(path: Path) -> Problem:
    if not path.exists():
        return _problem(path, "there is no such folder")
    fix = command(("python", "-m", "harness", "read", str(path), "--out", "DIR"))
    return Problem(
        setting=str(path),
        given="",
        reason="this is a file; a capture is compared once it is imported",
        fix=f"{fix}, and name DIR",
    )


def _no_run(path: Path) -> Problem:
    fix = command(("python", "-m", "harness", "read", str(path), "--out", "DIR"))
    return Problem(
        setting=str(path),
        given="",
        reason="there is no run in this folder",
        fix=f"name a run folder, or a folder with runs; a capture is imported first: {fix}",
    )


def _problem(path: Path, reason: str) -> Problem:
    return Problem(setting=str(path), given="", reason=reason, fix=_FIX["candidate"])


def _both_sides(kept: dict[str, list[SideRun]]) -> Iterator[Problem]:
    bases = {run.folder.resolve() for run in kept["base"]}
    for run in kept["candidate"]:
        if run.folder.resolve() in bases:
            yield _problem(run.folder, "this run is on both sides")


def _running(kept: dict[str, list[SideRun]]) -> Iterator[Problem]:
    for run in (*kept["candidate"], *kept["base"]):
        if run.record.unended:
            yield Problem(
                setting=str(run.folder),
                given="",
                reason=run.record.unended,
                fix="wait until it has ended, or leave it out",
            )


def _emptied(
    kept: dict[str, list[SideRun]], base: Sequence[Path], left: Sequence[LeftOut]
) -> Iterator[Problem]:
    for side, runs in kept.items():
        if runs or (side == "base" and not base):
            continue
        why = "; ".join(f"{item.folder}: {item.reason}" for item in left)
        yield Problem(
            setting=side,
            given="",
            reason=f"no run of this side has a result: {why}",
            fix="run it again, or name other runs",
        )
