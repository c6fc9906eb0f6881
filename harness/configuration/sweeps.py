"""What a sweep varies: how many jobs that makes, and what cannot be part of a sweep."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from decimal import Decimal, DecimalException
from typing import Final

from hydra.core.override_parser.types import ChoiceSweep, Override, RangeSweep, Sweep

from harness.errors import Problem
from harness.settings.request import MOST_JOBS
from harness.text import assignment

_FIGURES: Final = 10**12


def as_typed(override: Override) -> str:
    """Return the value as it was typed; a sweep's, too."""
    return str(override.input_line).partition("=")[2]


def enumerable(override: Override) -> bool:
    """Return whether the override has one value, or values that can be counted."""
    return not override.is_sweep_override() or override.is_discrete_sweep()


def values_problems(override: Override) -> Iterator[Problem]:
    """Yield why the values of one override cannot be counted or have no end."""
    value, key = override.value(), override.get_key_element()
    if isinstance(value, ChoiceSweep) and any(isinstance(item, Sweep) for item in value.list):
        reason, fix = "a sweep cannot stand within another", f"{key}=1,2,3, all values in one list"
    elif isinstance(value, RangeSweep) and (why := _range_mistake(value)):
        reason, fix = why, f"{key}=range(1,4), or {key}=1,2,3"
    else:
        return
    yield Problem(setting=key, given=as_typed(override), reason=reason, fix=fix)


def _range_mistake(sweep: RangeSweep) -> str:
    assert sweep.start is not None
    assert sweep.stop is not None
    if not all(map(math.isfinite, (sweep.start, sweep.stop, sweep.step))):
        return "a range needs finite numbers"
    if not sweep.step:
        return "a range with a step of 0 never ends"
    try:
        start, step = Decimal(sweep.start), Decimal(sweep.step)
        stands = start + step == start or Decimal(sweep.stop) + step == sweep.stop
    except DecimalException:
        return "its numbers are too large for a range"
    whole = isinstance(sweep.start, int) and isinstance(sweep.step, int)
    if stands and not (whole and isinstance(sweep.stop, int)):
        return "its step is too small for its numbers, so it never ends"
    return ""


def value_count(override: Override) -> int:
    """Count the values of an override, without making them."""
    value = override.value()
    if not isinstance(value, RangeSweep):
        return sum(1 for _ in override.sweep_string_iterator()) if _varies(override) else 1
    assert value.start is not None
    assert value.stop is not None
    if isinstance(value.start, int) and isinstance(value.stop, int) and isinstance(value.step, int):
        # len() takes no more than fits into a machine's word.
        whole, step = abs(value.stop - value.start), abs(value.step)
        forward = (value.stop > value.start) == (value.step > 0)
        return -(-whole // step) if forward else 0
    steps = (Decimal(value.stop) - Decimal(value.start)) / Decimal(value.step)
    return max(0, math.ceil(steps))


def _varies(override: Override) -> bool:
    return override.is_sweep_override() and override.is_discrete_sweep()


def size_problems(overrides: Sequence[Override], max_jobs: int) -> Iterator[Problem]:
    """Yield why there are no jobs, or too many of them; as in Hydra, the last value counts."""
    last = {override.get_key_element(): override for override in overrides}
    counts = {key: value_count(override) for key, override in last.items()}
    for key, count in counts.items():
        if not count:
            reason = "there is no value that it stands for, so the sweep has no job"
            given = as_typed(last[key])
            yield Problem(setting=key, given=given, reason=reason, fix=f"{key}=1,2,3")
    jobs = math.prod(counts.values())
    if jobs > max_jobs:
        varied = [f"{key} has {_figure(count)}" for key, count in counts.items() if count > 1]
        raised = f", or sweep.max_jobs={jobs}" if jobs <= MOST_JOBS else ""
        yield Problem(
            setting="sweep.max_jobs",
            given=str(max_jobs),
            reason=f"this sweep has {_figure(jobs)} jobs ({', '.join(varied)}), and each is a run"
            " of several seconds",
            fix=f"sweep fewer values{raised}",
        )


def _figure(count: int) -> str:
    return f"{count:,}" if count <= _FIGURES else f"more than {_FIGURES:,}"


def sweep_problems(overrides: Sequence[Override]) -> Iterator[Problem]:
    """Yield what cannot be part of a sweep."""
    for override in overrides:
        key, typed = override.key_or_group, as_typed(override)
        if key in _NOT_IN_A_SWEEP:
            reason, fix = _NOT_IN_A_SWEEP[key]
            yield Problem(setting=key, given=typed, reason=reason, fix=fix)
        if not override.is_sweep_override():
            continue
        if override.is_hydra_override():
            reason = "settings of Hydra itself cannot be swept"
            yield Problem(setting=key, given=typed, reason=reason, fix=f"{key}= with one value")
        elif not enumerable(override):
            yield Problem(
                setting=override.get_key_element(),
                given=typed,
                reason="an interval cannot be swept: it has infinitely many values",
                fix=f"{key}=1,2,3 or {key}=range(1,4)",
            )


_NOT_IN_A_SWEEP = {
    "hydra.run.dir": ("Hydra ignores it in a sweep", "hydra.sweep.dir=FOLDER"),
    "hydra.sweep.subdir": (
        "a job's folder is named after what the sweep varies, to be found again",
        "leave it out; sweep.json says which folder belongs to which job",
    ),
}


def repeated_values(override: Override) -> Iterator[Problem]:
    """Refuse two jobs that would be the same, and write into the same folder."""
    counts = Counter(map(str, override.sweep_string_iterator()))
    for value in (value for value, count in counts.items() if count > 1):
        yield Problem(
            setting=override.get_key_element(),
            given=as_typed(override),
            reason=f"the value {value} occurs twice, and both would be the same job",
            fix=assignment(str(override.key_or_group), ",".join(counts)),
        )


def added_twice(in_file: Sequence[Override], typed: Sequence[Override]) -> Iterator[Problem]:
    """Yield what a + adds though the sweep's file varies it: each job would have two values."""
    varied = {override.key_or_group for override in in_file}
    for override in typed:
        key, value = override.key_or_group, as_typed(override)
        if key in varied and override.get_key_element() != key:
            yield Problem(
                setting=override.get_key_element(),
                given=value,
                reason="the sweep varies this setting under its plain name",
                fix=f"{assignment(key, value)}, which then replaces the values of the sweep",
            )


def ambiguous(override: Override) -> Problem:
    """Say that several values were written where there is no sweep."""
    key, typed = str(override.key_or_group), as_typed(override)
    return Problem(
        setting=override.get_key_element(),
        given=typed,
        reason="several values make a sweep, and a sweep needs -m",
        fix="add -m to run each value, or write one value"
        + (f", or a list: {assignment(key, f'[{typed}]')}" if "." in key else ""),
    )
