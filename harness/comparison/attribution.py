"""Which operators and kernels the difference of a step consists of: an outer join, nothing lost."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any, Final, Literal, NamedTuple

import polars as pl
from msgspec import Struct

from harness.capture.capture import Capture
from harness.capture.comparison_record import Attribution, Change, Contribution
from harness.tables.selection import within_steps

Table = Literal["operators", "kernels"]
TABLES: Final[Mapping[Table, str]] = {"operators": "self_ns", "kernels": "duration_ns"}
"""The tables that are compared, and the column that adds up: self time, device time."""
_NO_SHAPES: Final = (
    "shapes are left out: not all runs recorded them; profiler.record_shapes=true does"
)
_NOT_STEPS: Final = "without steps: the figures are of the whole capture"


class Key(NamedTuple):
    """What two rows have in common to be one operator or kernel."""

    name: str
    shapes: tuple[tuple[int, ...], ...] | None
    dtypes: tuple[str | None, ...] | None


class Figure(NamedTuple):
    """Of one step, exactly: the mean over steps or runs."""

    calls: Fraction
    time_ns: Fraction


class PerStep(Struct, frozen=True, kw_only=True):
    """The operators, or kernels, of one run in one of its steps."""

    figures: dict[Key, Figure]
    steps: int
    """Recorded steps; 0 where the capture has none, and is one piece."""
    step_ns: Fraction | None
    """The mean recorded step."""
    has_shapes: bool


class Row(NamedTuple):
    """An operator or a kernel in the join; a side that lacks it has no key."""

    candidate: Key | None
    base: Key | None
    change: Change
    candidate_figure: Figure
    base_figure: Figure

    @property
    def contribution(self) -> Fraction:
        """What it adds to the difference of a step, in nanoseconds."""
        return self.candidate_figure.time_ns - self.base_figure.time_ns


_NOTHING: Final = Figure(Fraction(0), Fraction(0))


def per_step(capture: Capture, table: Table) -> PerStep | None:
    """Return what a capture's table says of one step; None if it has no rows."""
    rows = within_steps(capture.tables[table])
    if rows.is_empty():
        return None
    durations = _recorded_steps(capture.tables["steps"])
    steps = len(durations) if rows["step"].null_count() < rows.height else 0
    grouped = rows.group_by("name", "input_shapes", "input_dtypes", maintain_order=True).agg(
        pl.len().alias("count"), pl.col(TABLES[table]).sum().alias("time_ns")
    )
    return PerStep(
        figures={
            Key(name or "", _tuples(shapes), None if dtypes is None else tuple(dtypes)): Figure(
                Fraction(count, steps or 1), Fraction(time_ns, steps or 1)
            )
            for name, shapes, dtypes, count, time_ns in grouped.iter_rows()
        },
        steps=steps,
        step_ns=Fraction(sum(durations), steps) if steps else None,
        has_shapes=bool((rows["input_shapes"].list.len() > 0).any()),
    )


def _recorded_steps(steps: pl.DataFrame) -> list[int]:
    """Return the durations of the recorded steps."""
    recorded = steps.filter((pl.col("phase") == "active") & pl.col("step").is_not_null())
    return recorded["duration_ns"].drop_nulls().to_list()


def _tuples(shapes: Sequence[Sequence[int]] | None) -> tuple[tuple[int, ...], ...] | None:
    return None if shapes is None else tuple(tuple(shape or ()) for shape in shapes)


def attribution(
    table: Table, candidates: Sequence[PerStep], bases: Sequence[PerStep]
) -> Attribution | None:
    """Return what the difference of the steps of two sides consists of; None where unlike.

    Unlike are a capture in steps and one without: there is no common unit.
    """
    everyone = [*candidates, *bases]
    if len({run.steps > 0 for run in everyone}) > 1:
        return None
    rows, notes = join(candidates, bases), []
    if len({run.has_shapes for run in everyone}) > 1:
        notes.append(_NO_SHAPES)
    if not everyone[0].steps:
        notes.append(_NOT_STEPS)
    step, outside = _steps(candidates, bases, rows)
    return Attribution(
        table=table,
        rows=tuple(map(_contribution, rows)),
        candidate_ns=float(sum(row.candidate_figure.time_ns for row in rows)),
        base_ns=float(sum(row.base_figure.time_ns for row in rows)),
        step_ns=step,
        outside_ns=outside,
        notes=tuple(notes),
    )


def _steps(
    candidates: Sequence[PerStep], bases: Sequence[PerStep], rows: Sequence[Row]
) -> tuple[tuple[float, float] | None, float | None]:
    """Return the mean steps of both sides, and what of their difference is in no row."""
    of_sides = [[run.step_ns for run in side if run.step_ns] for side in (candidates, bases)]
    if not all(of_sides):
        return None, None
    mine, theirs = (mean(side) for side in of_sides)
    return (float(mine), float(theirs)), float(
        mine - theirs - sum(row.contribution for row in rows)
    )


def mean(figures: Sequence[Fraction]) -> Fraction:
    """Return the exact mean."""
    return sum(figures, Fraction(0)) / len(figures)


def join(candidates: Sequence[PerStep], bases: Sequence[PerStep]) -> list[Row]:
    """Join the runs of two sides; the row that contributes most first.

    The figures of a side are means over its runs, so that the contributions add up exactly to the
    difference of the totals. Rows of one name that only one side has, as often in a step as one of
    the other side, are one row whose shape or dtype changed.
    """
    with_shapes = all(run.has_shapes for run in (*candidates, *bases))
    mine, theirs = (
        [run.figures if with_shapes else _by_name(run.figures) for run in side]
        for side in (candidates, bases)
    )
    means = [{key: _mean(runs, key) for key in _keys(runs)} for runs in (mine, theirs)]
    rows = [
        Row(key, key, _change(key, mine, theirs), means[0][key], means[1][key])
        for key in means[0]
        if key in means[1]
    ]
    new = {key: figure for key, figure in means[0].items() if key not in means[1]}
    gone = {key: figure for key, figure in means[1].items() if key not in means[0]}
    rows += _paired(new, gone)
    rows += [Row(key, None, "new", figure, _NOTHING) for key, figure in new.items()]
    rows += [Row(None, key, "gone", _NOTHING, figure) for key, figure in gone.items()]
    return sorted(rows, key=lambda row: abs(row.contribution), reverse=True)


def _by_name(figures: Mapping[Key, Figure]) -> dict[Key, Figure]:
    added: dict[Key, Figure] = defaultdict(lambda: _NOTHING)
    for key, figure in figures.items():
        name = Key(key.name, None, None)
        added[name] = Figure(added[name].calls + figure.calls, added[name].time_ns + figure.time_ns)
    return dict(added)


def _keys(runs: Iterable[Mapping[Key, Figure]]) -> dict[Key, None]:
    return dict.fromkeys(key for run in runs for key in run)


def _mean(runs: Sequence[Mapping[Key, Figure]], key: Key) -> Figure:
    figures = [run.get(key, _NOTHING) for run in runs]
    return Figure(
        mean([figure.calls for figure in figures]), mean([figure.time_ns for figure in figures])
    )


def _change(
    key: Key, mine: Sequence[Mapping[Key, Figure]], theirs: Sequence[Mapping[Key, Figure]]
) -> Change:
    counts = [{run.get(key, _NOTHING).calls for run in side} for side in (mine, theirs)]
    if counts[0] != counts[1]:
        return "count"
    times = [[run.get(key, _NOTHING).time_ns for run in side] for side in (mine, theirs)]
    if times[0] == times[1]:
        return "same"
    if min(map(len, times)) == 1:
        # What a run differs by from another one of its side is not known.
        return "time"
    apart = min(times[0]) > max(times[1]) or max(times[0]) < min(times[1])
    return "time" if apart else "within noise"


def _paired(new: dict[Key, Figure], gone: dict[Key, Figure]) -> list[Row]:
    """Pair rows of one name and count that differ in shapes or dtypes; take them out of both."""
    names: dict[tuple[str, Fraction], list[Key]] = defaultdict(list)
    for key, figure in gone.items():
        names[key.name, figure.calls].append(key)
    pairs = [
        (_likeness(key, other), key, other)
        for key, figure in new.items()
        for other in names.get((key.name, figure.calls), ())
    ]
    rows = []
    for _, key, other in sorted(pairs, key=lambda pair: pair[0], reverse=True):
        if key in new and other in gone:
            change = _changed(key, other)
            rows.append(Row(key, other, change, new.pop(key), gone.pop(other)))
    return rows


def _likeness(key: Key, other: Key) -> tuple[bool, bool, int]:
    """Return how like two keys of one name are: by shapes, by dtypes, by dimensions."""
    mine, theirs = _flat(key.shapes), _flat(other.shapes)
    same = sum(a == b for a, b in zip(mine, theirs, strict=False)) - abs(len(mine) - len(theirs))
    return key.shapes == other.shapes, key.dtypes == other.dtypes, same


def _flat(shapes: Sequence[Sequence[int]] | None) -> list[int]:
    return [size for shape in shapes or () for size in shape]


def _changed(key: Key, other: Key) -> Change:
    if key.shapes == other.shapes:
        return "dtype"
    return "shape" if key.dtypes == other.dtypes else "shape and dtype"


def _contribution(row: Row) -> Contribution:
    return Contribution(
        name=(row.candidate or row.base or Key("", None, None)).name,
        change=row.change,
        candidate_shapes=_lists(row.candidate),
        base_shapes=_lists(row.base),
        candidate_dtypes=_texts(row.candidate),
        base_dtypes=_texts(row.base),
        candidate_count=float(row.candidate_figure.calls),
        base_count=float(row.base_figure.calls),
        candidate_ns=float(row.candidate_figure.time_ns),
        base_ns=float(row.base_figure.time_ns),
        contribution_ns=float(row.contribution),
    )


def _lists(key: Key | None) -> list[list[int]] | None:
    return None if key is None or key.shapes is None else [list(shape) for shape in key.shapes]


def _texts(key: Key | None) -> list[str | None] | None:
    return None if key is None or key.dtypes is None else list(key.dtypes)


SCHEMA: Final[Mapping[str, Any]] = {
    "name": pl.String,
    "change": pl.String,
    "candidate_shapes": pl.List(pl.List(pl.Int64)),
    "base_shapes": pl.List(pl.List(pl.Int64)),
    "candidate_dtypes": pl.List(pl.String),
    "base_dtypes": pl.List(pl.String),
    "candidate_count": pl.Float64,
    "base_count": pl.Float64,
    "candidate_ns": pl.Float64,
    "base_ns": pl.Float64,
    "contribution_ns": pl.Float64,
}
"""The columns of a table of contributions, as in `Contribution`."""


def frame(compared: Attribution) -> pl.DataFrame:
    """Return the rows as a table."""
    rows = [{name: getattr(row, name) for name in SCHEMA} for row in compared.rows]
    return pl.DataFrame(rows, schema=dict(SCHEMA))
