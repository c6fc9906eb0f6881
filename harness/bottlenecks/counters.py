"""CANN's names of AI-core counters on each chip, and the runs that a column comes from.

Names follow CANN's ``op_summary``, by chip: the cores of A2 and A3 are split into cube (``aic_``)
and vector (``aiv_``) halves; those of 910A and 310P are not, and their names have no prefix; Ascend
950 has other names for its L2 cache. A name that a capture does not have gives null, never 0.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import polars as pl

HALVES: Final = ("aic_", "aiv_", "")
"""Cube cores, vector cores, cores that are not split."""
CYCLES: Final[Mapping[str, str]] = {
    "aic_": "aic_total_cycles",
    "aiv_": "aiv_total_cycles",
    "": "total_cycles",
}
"""The cycles of all cores of a half together. Every counter group has them."""
TIMES: Final[Mapping[str, str]] = {
    "aic_": "aicore_time(us)",
    "aiv_": "aiv_time(us)",
    "": "aicore_time(us)",
}
"""The time of a half. Every counter group has it."""


class Rate(NamedTuple):
    """A figure that is averaged by cycles: a share of them, or a bandwidth."""

    column: str
    """Its name in the table of bottlenecks."""
    half: str | None
    """The half whose cycles weight it; None: the kernel's duration does."""
    group: str
    """The counter group that has it, by torch_npu's name."""
    names: tuple[str, ...]
    """CANN's names for it; the first that exists counts."""


class Count(NamedTuple):
    """A figure that is added up over kernels, and over the halves of a core."""

    column: str
    group: str
    names: tuple[str, ...]
    """CANN's names for it, without the prefix of the half."""
    unit: int = 1
    """How many of the column's unit one of CANN's units is."""


PIPES: Final[Mapping[str, tuple[str, ...]]] = {
    "aic_": ("mac", "scalar", "mte1", "mte2", "fixpipe"),
    "aiv_": ("vec", "scalar", "mte2", "mte3"),
    "": ("mac", "vec", "scalar", "mte1", "mte2", "mte3", "fixpipe"),
}
CONFLICTS: Final = ("vec_bankgroup_cflt_ratio", "vec_bank_cflt_ratio", "vec_resc_cflt_ratio")
_BOTH_WAYS: Final = ("read_bw", "write_bw")


def _bandwidths(*memories: str, suffix: str = "") -> tuple[str, ...]:
    return tuple(f"{memory}_{way}{suffix}(GB/s)" for memory in memories for way in _BOTH_WAYS)


_L0: Final = (*_bandwidths("l0a", "l0b"), *_bandwidths("l0c", suffix="_cube"))
_BY_HALF: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "PipeUtilization": dict.fromkeys(HALVES, ("icache_miss_rate",)),
    "Memory": {
        "aic_": _bandwidths("main_mem", "l2", "l1"),
        "aiv_": _bandwidths("main_mem", "l2", "ub"),
        "": _bandwidths("main_mem", "l2", "l1", "ub"),
    },
    "MemoryL0": {"aic_": _L0, "": _L0},
    "MemoryUB": {
        "aic_": _bandwidths("ub", suffix="_scalar"),
        "aiv_": (
            *_bandwidths("ub", suffix="_vector"),
            *_bandwidths("ub", suffix="_scalar"),
            "ub_fixp2ub_write_bw(GB/s)",
        ),
        "": (*_bandwidths("ub", suffix="_vector"), *_bandwidths("ub", suffix="_scalar")),
    },
    "ResourceConflictRatio": {"aiv_": CONFLICTS, "": CONFLICTS},
}
_OTHER_NAMES: Final[Mapping[str, str]] = {
    **{f"{pipe}_ratio": f"{pipe}_exe_ratio" for pipes in PIPES.values() for pipe in pipes},
    # The sources of msprof and its documents disagree.
    "ub_fixp2ub_write_bw(GB/s)": "fixp2ub_write_bw(GB/s)",
    "l2_read_bw(GB/s)": "l2_read_bw",
    "l2_write_bw(GB/s)": "l2_write_bw",
}
"""Other names, by the usual one: for example those of PipelineExecuteUtilization."""


def _rate(half: str, name: str, group: str) -> Rate:
    other = (f"{half}{_OTHER_NAMES[name]}",) if name in _OTHER_NAMES else ()
    return Rate(f"{half}{name}", half, group, (f"{half}{name}", *other))


RATES: Final[tuple[Rate, ...]] = (
    *(
        _rate(half, f"{pipe}_ratio", "PipeUtilization")
        for half, pipes in PIPES.items()
        for pipe in pipes
    ),
    *(
        _rate(half, name, group)
        for group, halves in _BY_HALF.items()
        for half, names in halves.items()
        for name in names
    ),
    Rate("cube_utilization(%)", None, "PipeUtilization", ("cube_utilization(%)",)),
)

PRECISIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "cube": ("fp16", "int8"),
    "vector": ("fp32", "fp16", "int32", "misc"),
}
"""The kinds of work that ArithmeticUtilization counts; misc is not arithmetic: conversions, …"""
PRECISION_RATES: Final[tuple[Rate, ...]] = tuple(
    Rate(
        f"{half}|{unit}|{precision}",
        half,
        "ArithmeticUtilization",
        (f"{half}{pipe}_{precision}_ratio",),
    )
    for unit, pipe, halves in (("cube", "mac", ("aic_", "")), ("vector", "vec", ("aiv_", "")))
    for half in halves
    for precision in PRECISIONS[unit]
)
"""In no table: `bottlenecks` turns them into shares."""

MOVED: Final = ("gm_to_l1", "l0c_to_l1", "l0c_to_gm", "gm_to_ub", "ub_to_gm")
"""The paths of MemoryAccess."""
COUNTS: Final[tuple[Count, ...]] = (
    Count("cube_fops", "ArithmeticUtilization", ("cube_fops",)),
    Count("vector_fops", "ArithmeticUtilization", ("vector_fops",)),
    # In units of 1024 bytes: msprof multiplies counts of 128 and 256 bytes by 1/8 and 1/4.
    Count("main_memory_read_bytes", "MemoryAccess", ("read_main_memory_datas(KB)",), 1024),
    Count("main_memory_write_bytes", "MemoryAccess", ("write_main_memory_datas(KB)",), 1024),
    *(
        Count(
            f"{path}_bytes",
            "MemoryAccess",
            (f"{path.upper().replace('_TO_', '_to_')}_datas(KB)", f"{path}_datas(KB)"),
            1024,
        )
        for path in MOVED
    ),
)
L2_COUNTS: Final[tuple[Count, ...]] = tuple(
    Count(f"{which}|{end}", "L2Cache", names)
    for which, end, names in (
        ("write", "hit", ("write_cache_hit", "write_local_l2_hit")),
        ("write", "miss", ("write_cache_miss_allocate", "write_local_l2_miss")),
        ("r0", "hit", ("r0_read_cache_hit",)),
        ("r0", "miss", ("r0_read_cache_miss_allocate",)),
        ("r1", "hit", ("r1_read_cache_hit",)),
        ("r1", "miss", ("r1_read_cache_miss_allocate",)),
        ("local", "hit", ("read_local_l2_hit",)),
        ("local", "miss", ("read_local_l2_miss",)),
    )
)
"""Accesses of the L2 cache; `local` are the reads of an Ascend 950, which has no r0 and r1."""


class MeasuredColumn(NamedTuple):
    """A column of the merged table, and the runs that it was measured in."""

    column: str
    runs: tuple[str, ...]


class Columns:
    """Finds a counter's columns in the merged table, and the columns that weight it."""

    def __init__(
        self, columns: Collection[str], runs: Sequence[str], sources: Mapping[str, str]
    ) -> None:
        """Take the table's columns, the runs' labels, and the run of columns where known."""
        self._columns = columns
        self._runs = tuple(runs)
        self._sources = sources

    def columns_of(self, names: Sequence[str], group: str) -> list[MeasuredColumn]:
        """Return the columns of the first of `names` that exists: one for each run that has it.

        A column without a run belongs to its run in `sources`; else to the runs whose labels
        contain the group's name; else to all runs.
        """
        for name in names:
            columns_by_run = [
                MeasuredColumn(f"{name}@{run}", (run,))
                for run in self._runs
                if f"{name}@{run}" in self._columns
            ]
            if columns_by_run:
                return columns_by_run
            if name in self._columns:
                return [MeasuredColumn(name, self._runs_of(name, group))]
        return []

    def _runs_of(self, name: str, group: str) -> tuple[str, ...]:
        if name in self._sources:
            return (self._sources[name],)
        named = tuple(run for run in self._runs if re.search(rf"\b{group}\b", run))
        return named or self._runs

    def mean(self, name: str, runs: Sequence[str]) -> pl.Expr | None:
        """Return the mean of `name` over those of `runs` that have it; None if none has it."""
        measured = [f"{name}@{run}" for run in runs if f"{name}@{run}" in self._columns]
        if not measured and name in self._columns:
            measured = [name]
        return mean_of(measured) if measured else None

    def weight(self, half: str | None, runs: Sequence[str]) -> pl.Expr:
        """Return the weight of a rate of `runs`: the cycles of the half, else the duration."""
        cycles = None if half is None else self.mean(CYCLES[half], runs)
        return self.duration(runs) if cycles is None else cycles

    def duration(self, runs: Sequence[str]) -> pl.Expr:
        """Return the mean duration in `runs`, in ns."""
        return mean_of([f"duration_ns@{run}" for run in runs])

    def count(self, count: Count) -> pl.Expr:
        """Return a count of each kernel: the mean over the runs, the sum over the halves."""
        halves = [
            mean_of([measured.column for measured in columns])
            for half in HALVES
            if (columns := self.columns_of([f"{half}{name}" for name in count.names], count.group))
        ]
        if not halves:
            return pl.lit(None, pl.Float64)
        any_measured = pl.any_horizontal(*(half.is_not_null() for half in halves))
        return pl.when(any_measured).then(pl.sum_horizontal(*halves) * count.unit)

    def measured(self, rate: Rate) -> Iterator[tuple[pl.Expr, pl.Expr]]:
        """Yield the value and the weight of a rate, for each column that has it."""
        for column, runs in self.columns_of(rate.names, rate.group):
            yield pl.col(column).cast(pl.Float64), self.weight(rate.half, runs)


def mean_of(columns: Sequence[str]) -> pl.Expr:
    """Return the mean of the values that are not null; null where all are."""
    (first, *others) = columns
    if not others:
        return pl.col(first).cast(pl.Float64)
    return pl.mean_horizontal(*(pl.col(column).cast(pl.Float64) for column in columns))
