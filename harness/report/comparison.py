"""The sections of a comparison: the answer, what differs, what made the difference."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from harness.capture.comparison_record import (
    Attribution,
    ComparedRun,
    ComparisonRecord,
    Contribution,
    StepTimes,
)
from harness.report.section import Column, Section, mark_emulated
from harness.report.units import duration, number

TOP: Final = 10
"""Rows of a table; --json and the tables of --out have them all."""
_DIFFERENCES: Final = 15
_VALUES: Final = 3
_CHANGED: Final = 3
"""Rows whose old and new shapes are spelt out below the table."""
_TITLES: Final = {"operators": "Operators by self time", "kernels": "Kernels by device time"}
_SPURIOUS: Final = 0.01
"""Part of the larger total below which a row without a change is not shown."""


def sections(record: ComparisonRecord) -> list[Section]:
    """Return what a comparison shows."""
    shown = [answer_section(record)]
    if record.differences:
        shown.append(_differences(record))
    for compared in record.attributions:
        part = _attribution(compared)
        shown.append(mark_emulated(part) if record.emulated else part)
    return shown


def answer_section(record: ComparisonRecord) -> Section:
    """Return the answer and the figures that it rests on."""
    notes = list(_answer_notes(record))
    if record.times is None:
        title = "Comparison: step times are not compared"
        rows: tuple[tuple[str | int | float | None, ...], ...] = ()
        columns: tuple[Column, ...] = ()
    else:
        title = f"Comparison: {sentence(record.times)}"
        columns = (
            Column("side"),
            Column("runs", "count"),
            Column("median", "ns"),
            Column("fastest", "ns"),
            Column("slowest", "ns"),
        )
        rows = tuple(
            (name, len(steps), middle, min(steps), max(steps))
            for name, steps, middle in (
                ("candidate", _steps(record.candidate), record.times.candidate_ns),
                ("base", _steps(record.base), record.times.base_ns),
            )
        )
    return Section(title=title, columns=columns, rows=rows, notes=tuple(notes))


def _steps(runs: Sequence[ComparedRun]) -> list[int]:
    return [run.step_ns for run in runs if run.step_ns is not None]


def sentence(times: StepTimes) -> str:
    """Return the answer in one line."""
    change = f"{times.ratio - 1:+.1%}"
    match times.answer:
        case "slower" | "faster":
            return f"{times.answer}, {change}"
        case "no difference":
            return f"no difference beyond {_percent(times.margin)}"
        case "cannot tell":
            return f"cannot tell ({change} in these runs)"
        case _:
            return f"not testable ({change} in these runs)"


def _percent(value: float) -> str:
    return f"{number(value * 100)} %"


def _answer_notes(record: ComparisonRecord) -> Iterator[str]:
    times = record.times
    if times is None:
        yield record.no_times
    else:
        yield (
            f"each run counts once, by the median of its {times.kind} steps; ratio of the medians"
            f" {times.ratio:.3f}"
        )
        yield from _tested(times)
    yield from record.notes
    for left_out in record.left_out:
        yield f"left out: {left_out.folder}: {left_out.reason}"


def _tested(times: StepTimes) -> Iterator[str]:
    if times.answer == "not testable":
        yield f"not testable: {times.reason}"
        return
    if times.interval is not None and times.p_value is not None:
        low, high = times.interval
        yield (
            f"{_percent(times.confidence)} interval of the ratio {low:.3f} to {high:.3f}"
            f" (bootstrap, seed {times.seed});"
            f" Mann-Whitney p = {number(times.p_value)} ({times.method})"
        )
    if times.equivalence_interval is not None and times.equivalence_p is not None:
        low, high = times.equivalence_interval
        yield (
            f"for no difference beyond {_percent(times.margin)}: interval {low:.3f} to {high:.3f},"
            f" p = {number(times.equivalence_p)} (two one-sided tests)"
        )
    if times.noise is not None:
        yield f"noise: standard deviation of one run {_percent(times.noise)}"
    if times.answer == "cannot tell":
        yield _more_runs(times)


def _more_runs(times: StepTimes) -> str:
    if times.more_runs is None:
        return (
            "more runs would hardly tell: the ratio is too near the margin for this noise; a"
            " quieter machine, or another compare.margin, would"
        )
    runs = "run" if times.more_runs == 1 else "runs"
    return f"about {times.more_runs:,} more {runs} on each side would tell, at this noise and ratio"


def _differences(record: ComparisonRecord) -> Section:
    rows = tuple(
        (item.what, _some(item.candidate), _some(item.base))
        for item in record.differences[:_DIFFERENCES]
    )
    more = len(record.differences) - _DIFFERENCES
    return Section(
        title="What differs",
        columns=(Column("what"), Column("candidate", "name"), Column("base", "name")),
        rows=rows,
        notes=(f"{more:,} more: --json",) if more > 0 else (),
    )


def _some(values: Sequence[str]) -> str:
    more = len(values) - _VALUES
    return ", ".join(values[:_VALUES]) + (f" and {more} more" if more > 0 else "")


def _attribution(compared: Attribution) -> Section:
    whole = max(compared.candidate_ns, compared.base_ns)
    telling = [row for row in compared.rows if _tells(row, whole)]
    rows = [_row(row) for row in telling[:TOP]]
    rest = [row for row in compared.rows if row not in telling[:TOP]]
    if rest:
        rows.append(
            (
                f"({len(rest):,} others)",
                None,
                "",
                sum(row.base_count for row in rest),
                sum(row.candidate_count for row in rest),
                sum(row.base_ns for row in rest),
                sum(row.candidate_ns for row in rest),
                sum(row.contribution_ns for row in rest),
            )
        )
    if compared.outside_ns is not None and compared.step_ns is not None:
        mine, theirs = compared.step_ns
        outside = (theirs - compared.base_ns, mine - compared.candidate_ns)
        rows.append(
            (f"(outside {compared.table})", None, "", None, None, *outside, compared.outside_ns)
        )
    return Section(
        title=f"{_TITLES[compared.table]}: a profiled step, candidate less base",
        columns=(
            Column(compared.table.removesuffix("s"), "name"),
            Column("shapes", "shapes"),
            Column("change"),
            Column("base", "number"),
            Column("now", "number"),
            Column("base", "ns"),
            Column("now", "ns"),
            Column("adds", "ns"),
        ),
        rows=tuple(rows),
        notes=(*_attribution_notes(compared, telling), *compared.notes),
    )


def _tells(row: Contribution, whole: float) -> bool:
    """Tell whether a row is worth a line."""
    if row.change in {"same", "within noise"}:
        return abs(row.contribution_ns) >= _SPURIOUS * whole
    return True


def _row(row: Contribution) -> tuple[str | float | list[list[int]] | None, ...]:
    shapes = row.base_shapes if row.candidate_shapes is None else row.candidate_shapes
    return (
        row.name,
        shapes,
        row.change,
        row.base_count,
        row.candidate_count,
        row.base_ns,
        row.candidate_ns,
        row.contribution_ns,
    )


def _attribution_notes(compared: Attribution, telling: Sequence[Contribution]) -> Iterator[str]:
    total = compared.candidate_ns - compared.base_ns
    yield (
        f"{compared.table} add {_signed(total)} in all: {duration(compared.base_ns)} to"
        f" {duration(compared.candidate_ns)}"
    )
    if compared.step_ns is not None:
        mine, theirs = compared.step_ns
        yield (
            f"the profiled step, a mean, adds {_signed(mine - theirs)}: {duration(theirs)} to"
            f" {duration(mine)}"
        )
    changed = [row for row in telling[:TOP] if row.change in {"shape", "shape and dtype", "dtype"}]
    for row in changed[:_CHANGED]:
        yield f"{row.name}: {_before_after(row)}"


def _before_after(row: Contribution) -> str:
    before, after = (
        " ".join(
            f"{dtype or ''}[{','.join(map(str, shape))}]"
            for shape, dtype in zip(shapes or (), dtypes or [""] * len(shapes or ()), strict=False)
            if shape
        )
        for shapes, dtypes in (
            (row.base_shapes, row.base_dtypes),
            (row.candidate_shapes, row.candidate_dtypes),
        )
    )
    return f"{before or 'no shapes'} became {after or 'no shapes'}"


def _signed(nanoseconds: float) -> str:
    return ("+" if nanoseconds > 0 else "") + duration(nanoseconds)
