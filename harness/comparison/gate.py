"""The gate: each limit is held against what was measured; the exact ones first, then times."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from statistics import median
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from harness.capture.comparison_record import Attribution, ComparisonRecord, Contribution
from harness.capture.gate_record import GateRecord, Verdict, VerdictStatus, VerdictUnit
from harness.comparison.attribution import TABLES
from harness.comparison.limits import Count, Limits, Memory, Same, StepTime
from harness.comparison.pipeline import RunFigures, compared, figures_of_all
from harness.comparison.sides import SideRun, Sides
from harness.comparison.statistics import not_slower
from harness.comparison.times import NotCompared, kind_of, step_times, steps_of
from harness.settings.request import Compare

_ORDER: Final = ("broken", "not checkable", "not decided", "held", "not recorded")
_CULPRITS: Final = 10
_MIB: Final = 1 << 20
_SETTING: Final[Mapping[str, str]] = {
    "kernels": "profiler.activities=[host,device], on a device that has kernels",
    "launches": "profiler.activities=[host,device], on a device that reports correlations",
    "operators": "profiler.activities=[host]",
    "collective_bytes": "several ranks, and profiler.record_shapes=true",
    "peak_memory": "profiler.profile_memory=true",
    "shapes": "profiler.record_shapes=true",
    "dtypes": "profiler.record_shapes=true",
    "step_time": "profiler.baseline.steps=20",
}
"""What records the data that a limit is about."""
_TABLE_OF: Final[Mapping[str, str]] = {
    "kernels": "kernels",
    "launches": "kernels",
    "operators": "operators",
}


class Held(Struct, frozen=True, kw_only=True):
    """What the limits are held against."""

    sides: Sides
    figures: Mapping[Path, RunFigures]
    comparison: ComparisonRecord | None
    written: bool
    """Whether somebody wrote the limits; else what was not recorded is passed over."""


def gate(sides: Sides, limits: Limits, file: str) -> GateRecord:
    """Hold the runs of a candidate against limits, and against a base if there is one.

    Args:
        sides: The base may have no runs.
        limits: Those of a file, or the default ones.
        file: The name of the file; empty for the default ones.

    Raises:
        RefusedError: The sides have nothing in common that can be compared.
    """
    figures = figures_of_all(sides)
    settings = _settings(limits)
    comparison = compared(sides, figures, settings) if sides.base else None
    held = Held(sides=sides, figures=figures, comparison=comparison, written=bool(file))
    found = [verdict for name, of in _JUDGES.items() for verdict in of(held, limits, name)]
    found.sort(key=lambda verdict: (_ORDER.index(verdict.status), -verdict.excess))
    return GateRecord(
        passed=not any(verdict.fails for verdict in found),
        limits=file,
        verdicts=tuple(found),
        comparison=comparison,
        notes=tuple(f"left out: {item.folder}: {item.reason}" for item in sides.left_out),
    )


def _settings(limits: Limits) -> Compare:
    """Return how the step times are compared: by the limit of the step time."""
    limit = limits.step_time or StepTime()
    margin = limit.max_increase or Compare().margin
    return Compare(margin=min(margin, 1.0), confidence=limit.confidence)


def _counts(held: Held, limits: Limits, name: str) -> Iterator[Verdict]:
    limit: Count | Memory | None = getattr(limits, name)
    if limit is None:
        return
    mine, theirs = (_values(held, side, name) for side in (held.sides.candidate, held.sides.base))
    memory = isinstance(limit, Memory)
    unit: VerdictUnit = "bytes" if memory or name == "collective_bytes" else "number"
    whole = limit.max_mib * _MIB if isinstance(limit, Memory) and limit.max_mib else None
    most = whole if isinstance(limit, Memory) else limit.max
    culprits = _culprits_of_count(held, name)
    if most is not None:
        label = f"{name}.{'max_mib' if memory else 'max'}"
        if mine is None:
            yield _lacking(held, label, name, unit, "the candidate")
        else:
            yield _at_most(label, unit, (max(mine), None, most), culprits)
    if limit.max_increase is not None:
        label = f"{name}.max_increase"
        if mine is None or theirs is None:
            yield _lacking(held, label, name, unit, _who(mine, theirs))
        else:
            most = max(theirs) * (1 + limit.max_increase)
            yield _at_most(label, unit, (max(mine), max(theirs), most), culprits)
    if isinstance(limit, Count) and limit.equal:
        label = f"{name}.equal"
        if mine is None or theirs is None:
            yield _lacking(held, label, name, unit, _who(mine, theirs))
        else:
            total = _equal(label, unit, mine, theirs, culprits)
            others = () if total.fails or name != "operators" else tuple(_other_operators(held))
            yield _as_many_but(total, others) if others else total


def _other_operators(held: Held) -> Iterator[str]:
    """Yield the operators of the candidate that are not called as often as in any run of the base.

    Which kernels an operator launches is the library's choice, and may change with its version;
    which operators are called, the program's.
    """
    mine, theirs = (
        [_calls(held.figures[run.folder]) for run in side]
        for side in (held.sides.candidate, held.sides.base)
    )
    names = dict.fromkeys(name for calls in (*mine, *theirs) for name in calls)
    for name in names:
        known = [calls[name] for calls in theirs]
        strange = [calls[name] for calls in mine if calls[name] not in known]
        if strange:
            yield f"{name}: {_plain(float(known[0]))} to {_plain(float(strange[0]))}"


def _calls(figures: RunFigures) -> defaultdict[str, Fraction]:
    """Count the calls of each operator in a step, whatever its shapes."""
    calls: defaultdict[str, Fraction] = defaultdict(Fraction)
    for key, figure in figures.per_step["operators"].figures.items():
        calls[key.name] += figure.calls
    return calls


def _as_many_but(total: Verdict, others: Sequence[str]) -> Verdict:
    """Return the verdict on a total that is equal, where the calls that it adds up are not."""
    return replace(
        total,
        status="broken",
        fails=True,
        excess=float(len(others)),
        culprits=tuple(others[:_CULPRITS]),
        reason=f"as many in all, but {len(others):,} are not called as often",
    )


def _values(held: Held, runs: Sequence[SideRun], name: str) -> list[float] | None:
    """Return a count in each run of a side; None if one of them has none."""
    found = [held.figures[run.folder].counts.get(name) for run in runs]
    values = [float(value) for value in found if value is not None]
    return values if values and len(values) == len(found) else None


def _who(mine: object, theirs: object) -> str:
    if mine is None and theirs is None:
        return "neither side"
    return "the candidate" if mine is None else "the base"


def _lacking(held: Held, label: str, name: str, unit: VerdictUnit, who: str) -> Verdict:
    """Return the verdict on a limit whose data were not recorded."""
    passed_over = not held.written and who == "neither side"
    unread = next(
        (
            figures.note
            for run in held.sides.runs
            if (figures := held.figures[run.folder]).note and not figures.per_step
        ),
        "",
    )
    lacks = "neither side has" if who == "neither side" else f"{who} has not"
    return Verdict(
        limit=label,
        status="not recorded" if passed_over else "not checkable",
        fails=not passed_over,
        unit=unit,
        reason=unread or f"{lacks} recorded it in all runs; it needs {_SETTING[name]}",
    )


def _at_most(
    label: str,
    unit: VerdictUnit,
    figures: tuple[float, float | None, float],
    culprits: tuple[str, ...] = (),
) -> Verdict:
    """Return whether a value, given with that of the base, is at most the third one."""
    value, base, most = figures
    broken = value > most
    return Verdict(
        limit=label,
        status="broken" if broken else "held",
        fails=broken,
        unit=unit,
        candidate=value,
        base=base,
        most=most,
        excess=value / most - 1 if most else float(broken),
        culprits=culprits if broken else (),
    )


def _equal(
    label: str,
    unit: VerdictUnit,
    mine: Sequence[float],
    theirs: Sequence[float],
    culprits: tuple[str, ...],
) -> Verdict:
    strange = [value for value in mine if value not in theirs]
    worst = max(strange or mine, key=lambda value: abs(value - theirs[0]))
    unsteady = f"the runs of the base differ: {_plain(min(theirs))} to {_plain(max(theirs))}"
    return Verdict(
        limit=label,
        status="broken" if strange else "held",
        fails=bool(strange),
        unit=unit,
        candidate=worst,
        base=theirs[0],
        excess=abs(worst - theirs[0]) / (theirs[0] or 1) if strange else 0.0,
        culprits=culprits if strange else (),
        reason=unsteady if len({*theirs}) > 1 else "",
    )


def _plain(value: float) -> str:
    return f"{value:,.6g}" if value < _MIB else f"{value:,.0f}"


def _culprits_of_count(held: Held, name: str) -> tuple[str, ...]:
    """Return the rows whose number changed, or the operator that reached the peak of memory."""
    if name == "peak_memory":
        found = {held.figures[run.folder].peak_operator for run in held.sides.candidate}
        return tuple(f"reached in {operator}" for operator in sorted(found) if operator)
    rows = [
        row
        for part in _parts(held)
        if part.table == _TABLE_OF.get(name)
        for row in part.rows
        if row.candidate_count != row.base_count
    ]
    rows.sort(key=lambda row: abs(row.candidate_count - row.base_count), reverse=True)
    return tuple(
        f"{row.name} {_shapes(row)}: {_plain(row.base_count)} to {_plain(row.candidate_count)}"
        for row in rows[:_CULPRITS]
    )


def _parts(held: Held) -> tuple[Attribution, ...]:
    return held.comparison.attributions if held.comparison else ()


def _shapes(row: Contribution) -> str:
    shapes = row.base_shapes if row.candidate_shapes is None else row.candidate_shapes
    return " ".join(f"[{','.join(map(str, shape))}]" for shape in shapes or () if shape)


def _same(held: Held, limits: Limits, name: str) -> Iterator[Verdict]:
    """Hold that no operator and no kernel has other shapes, or dtypes, than in the base."""
    limit: Same | None = getattr(limits, name)
    if limit is None or not limit.equal:
        return
    label = f"{name}.equal"
    sides = [
        [held.figures[run.folder] for run in side]
        for side in (held.sides.candidate, held.sides.base)
    ]
    having = [all(map(_has_shapes, side)) for side in sides]
    if not all(having):
        mine, theirs = (True if has else None for has in having)
        yield _lacking(held, label, name, "number", _who(mine, theirs))
        return
    rows = [row for part in _parts(held) for row in _changed(part, name)]
    rows.sort(key=lambda row: abs(row.contribution_ns), reverse=True)
    yield Verdict(
        limit=label,
        status="broken" if rows else "held",
        fails=bool(rows),
        unit="number",
        candidate=len(rows),
        base=0,
        excess=float(len(rows)),
        culprits=tuple(_before_after(row, name) for row in rows[:_CULPRITS]),
        reason=f"{len(rows):,} changed" if rows else "",
    )


def _has_shapes(figures: RunFigures) -> bool:
    parts = [figures.per_step[table] for table in TABLES if table in figures.per_step]
    return any(part.has_shapes for part in parts)


def _changed(part: Attribution, name: str) -> list[Contribution]:
    """Return the rows of one name that have other shapes, or dtypes, than any of the base."""
    base = {row.name for row in part.rows if row.base_count}
    mine = {row.name for row in part.rows if row.candidate_count}
    words = {"shapes": "shape", "dtypes": "dtype"}
    return [
        row
        for row in part.rows
        if words[name] in row.change
        or (name == "shapes" and row.change in {"new", "gone"} and row.name in base & mine)
    ]


def _before_after(row: Contribution, name: str) -> str:
    if row.change in {"new", "gone"}:
        return f"{row.name} {_shapes(row)}: {row.change}"
    before, after = (
        (row.base_shapes, row.candidate_shapes)
        if name == "shapes"
        else (row.base_dtypes, row.candidate_dtypes)
    )
    return f"{row.name}: {_listed(before)} became {_listed(after)}"


def _listed(values: Sequence[object] | None) -> str:
    texts = (
        f"[{','.join(map(str, value))}]" if isinstance(value, list) else str(value)
        for value in values or ()
        if value
    )
    return " ".join(texts) or "nothing"


def _time(held: Held, limits: Limits, name: str) -> Iterator[Verdict]:
    limit = limits.step_time
    if limit is None:
        return
    kind = kind_of(held.sides)
    for rule in ("max_ms", "max_increase"):
        if getattr(limit, rule) is None:
            continue
        label = f"{name}.{rule}"
        if isinstance(kind, NotCompared):
            yield Verdict(
                limit=label,
                status="not checkable" if held.written else "not decided",
                fails=held.written,
                unit="ns",
                reason=kind.reason,
            )
        elif rule == "max_ms":
            most = (limit.max_ms or 0) * 1e6
            value = median(steps_of(held.sides.candidate, kind))
            yield _at_most(label, "ns", (value, None, most))
        else:
            yield _slower(held, limit, label)


def _slower(held: Held, limit: StepTime, label: str) -> Verdict:
    """Hold that a step is not slower by more than the limit, at its confidence."""
    kind = kind_of(held.sides)
    assert not isinstance(kind, NotCompared)
    status: VerdictStatus
    times = step_times(held.sides, kind, _settings(Limits(step_time=limit)))
    increase = limit.max_increase or 0.0
    mine, theirs = (steps_of(side, kind) for side in (held.sides.candidate, held.sides.base))
    if times.answer == "slower":
        status, reason = "broken", f"slower by {times.ratio - 1:.1%}"
    elif times.answer in {"faster", "no difference"} or (
        times.answer == "cannot tell" and not_slower(mine, theirs, increase, limit.confidence)
    ):
        status, reason = "held", f"{times.ratio - 1:+.1%}"
    else:
        more = times.more_runs
        advice = f"; about {more} more runs on each side would tell" if more else ""
        status, reason = "not decided", (times.reason or f"{times.ratio - 1:+.1%}") + advice
    return Verdict(
        limit=label,
        status=status,
        fails=status == "broken" or (status == "not decided" and limit.undecided == "fail"),
        unit="ns",
        candidate=times.candidate_ns,
        base=times.base_ns,
        most=times.base_ns * (1 + increase),
        excess=times.ratio / (1 + increase) - 1,
        culprits=tuple(_slowest(held)) if status == "broken" else (),
        reason=reason,
    )


def _slowest(held: Held) -> Iterator[str]:
    """Yield the operators and kernels that a step is longer by."""
    for part in _parts(held):
        slower = [row for row in part.rows if row.contribution_ns > 0]
        for row in [row for row in slower if row.change != "within noise"][:_CULPRITS]:
            yield f"{row.name} {_shapes(row)}: {row.contribution_ns / 1e3:+,.1f} µs ({row.change})"


_JUDGES: Final[Mapping[str, Callable[[Held, Limits, str], Iterator[Verdict]]]] = {
    **dict.fromkeys(
        ("kernels", "launches", "operators", "collective_bytes", "peak_memory"), _counts
    ),
    "shapes": _same,
    "dtypes": _same,
    "step_time": _time,
}
"""Who judges each limit, the exact ones first; a new one is a field of `Limits` and a line here."""
