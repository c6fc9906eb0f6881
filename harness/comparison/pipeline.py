"""The order of the stages of a comparison: sides ─ differences ─ step times ─ attribution ─ report.

Nothing is written unless a folder is named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Final

from msgspec import Struct

from harness.capture.capture import Capture
from harness.capture.comparison_record import Attribution, ComparisonRecord
from harness.capture.load import load_capture
from harness.capture.run_record import record_of
from harness.comparison.attribution import TABLES, PerStep, Table, attribution, per_step
from harness.comparison.counts import counts
from harness.comparison.differences import differences, unlike_devices
from harness.comparison.sides import SideRun, Sides
from harness.comparison.times import NotCompared, compared_run, kind_of, remarks, step_times
from harness.errors import Problem, RefusedError
from harness.paths import RunFolder
from harness.settings.request import Compare
from harness.waits import waiting

_PENDING: Final = "its captures are not analysed yet"


class RunFigures(Struct, frozen=True, kw_only=True):
    """What is read of the capture of one run; the tables themselves are let go."""

    began_ns: int | None
    """When its first step began."""
    per_step: dict[Table, PerStep]
    """Its operators and kernels in a step; without those of which nothing was recorded."""
    counts: Mapping[str, Fraction] = {}
    """What it counts in a step, by the names of `CountName`."""
    peak_operator: str = ""
    """The operator that reached the peak of memory."""
    note: str = ""
    """Why there are no tables, or whose they are."""


def figures_of(run: SideRun) -> RunFigures:
    """Read the capture of a run; of a job of several ranks, that of the first that recorded."""
    folder, note = _with_tables(run)
    if run.record.verdict == "pending":
        return RunFigures(began_ns=None, per_step={}, note=f"{run.folder}: {_PENDING}")
    try:
        capture = load_capture(folder)
        found = {table: per_step(capture, table) for table in TABLES}
        began, counted = _began(capture), counts(capture)
    except RefusedError as error:
        first = error.problems[0]
        return RunFigures(began_ns=None, per_step={}, note=f"{first.setting}: {first.reason}")
    return RunFigures(
        began_ns=began,
        per_step={table: figures for table, figures in found.items() if figures is not None},
        counts=counted.values,
        peak_operator=counted.peak_operator,
        note=note,
    )


def _with_tables(run: SideRun) -> tuple[Path, str]:
    """Return the folder that has the tables of a run, and which rank's they are."""
    for rank in run.record.ranks:
        folder = RunFolder(run.folder).rank(rank.rank).path
        record = record_of(folder)
        if rank.records and record is not None and record.records:
            return folder, f"operators and kernels are those of rank {rank.rank}"
    return run.folder, ""


def _began(capture: Capture) -> int | None:
    began = capture.tables["steps"]["start_ns"].min()
    return began if isinstance(began, int) else None


def compare(sides: Sides, settings: Compare) -> ComparisonRecord:
    """Compare two sides.

    Raises:
        RefusedError: They have nothing in common that can be compared.
    """
    figures = figures_of_all(sides)
    with waiting("comparing"):
        return compared(sides, figures, settings)


def figures_of_all(sides: Sides) -> dict[Path, RunFigures]:
    """Read the captures of all runs, one after the other."""
    runs = list(sides.runs)
    figures = {}
    with waiting("reading the runs", len(runs), "runs") as more:
        for run in runs:
            figures[run.folder] = figures_of(run)
            more(1)
    return figures


def compared(
    sides: Sides, figures: Mapping[Path, RunFigures], settings: Compare
) -> ComparisonRecord:
    """Compare two sides whose captures were read.

    Raises:
        RefusedError: They have nothing in common that can be compared.
    """
    kind = kind_of(sides)
    candidate, base = (
        tuple(compared_run(run, kind, figures[run.folder].began_ns) for run in side)
        for side in (sides.candidate, sides.base)
    )
    attributions, not_joined = _attributions(sides, figures)
    if isinstance(kind, NotCompared) and not attributions:
        raise RefusedError([_nothing_in_common(kind.reason)])
    notes = dict.fromkeys(
        [
            *unlike_devices(sides),
            *not_joined,
            *(() if isinstance(kind, NotCompared) else remarks(candidate, base)),
            *filter(None, (figures[run.folder].note for run in sides.runs)),
        ]
    )
    return ComparisonRecord(
        candidate=candidate,
        base=base,
        emulated=any(run.record.emulated for run in sides.runs),
        differences=differences(sides),
        times=None if isinstance(kind, NotCompared) else step_times(sides, kind, settings),
        no_times=kind.reason if isinstance(kind, NotCompared) else "",
        attributions=tuple(attributions),
        left_out=sides.left_out,
        notes=tuple(notes),
    )


def _attributions(
    sides: Sides, figures: Mapping[Path, RunFigures]
) -> tuple[list[Attribution], list[str]]:
    """Return the joined tables, and why there is none of a table that a side has."""
    found, notes = [], []
    for table in TABLES:
        mine, theirs = (_recorded(side, figures, table) for side in (sides.candidate, sides.base))
        joined = attribution(table, mine, theirs) if mine and theirs else None
        if joined is not None:
            found.append(joined)
        elif mine and theirs:
            notes.append(f"{table} are not compared: some runs have steps, and others have none")
        elif mine or theirs:
            having = "the candidate" if mine else "the base"
            notes.append(f"{table} are not compared: {having} alone has them")
    return found, notes


def _recorded(
    runs: Sequence[SideRun], figures: Mapping[Path, RunFigures], table: Table
) -> list[PerStep]:
    found = (figures[run.folder].per_step.get(table) for run in runs)
    return [per_step for per_step in found if per_step is not None]


def _nothing_in_common(why: str) -> Problem:
    return Problem(
        setting="compare",
        given="",
        reason=f"the sides have nothing in common to compare: {why}; and not both have operators,"
        " nor both kernels",
        fix="compare runs that recorded the same activities, or have step times",
    )
