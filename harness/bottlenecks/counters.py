"""What CANN calls the counters of AI cores, on each chip, and which runs a column comes from.

Names follow CANN's ``op_summary``, by chip: A2 and A3 have cores that are split into cube
(``aic_``) and vector (``aiv_``) halves; 910A and 310P have whole ones, without a prefix; Ascend 950
counts its L2 cache by other names. A name that a capture does not have gives null, never 0.
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
"""The cycles of a half, of all its cores together. Comes with every group of counters."""
TIMES: Final[Mapping[str, str]] = {
    "aic_": "aicore_time(us)",
    "aiv_": "aiv_time(us)",
    "": "aicore_time(us)",
}
"""The time of a half. Comes with every group of counters."""


class Rate(NamedTuple):
    """What is averaged, weighted by cycles: a share of them, or a bandwidth."""

    column: str
    """Its name in the table of bottlenecks."""
    half: str | None
    """Whose cycles it is a rate of; None: of the kernel's duration."""
    group: str
    """The group of counters that has it, in torch_npu's words."""
    names: tuple[str, ...]
    """What CANN calls it; the first that is there counts."""


class Count(NamedTuple):
    """What is added up over kernels, and over the halves of a core."""

    column: str
    group: str
    names: tuple[str, ...]
    """What CANN calls it behind the prefix of the half."""
    unit: int = 1
    """What one of them is in the column's unit."""


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
"""By the usual name: PipelineExecuteUtilization's of the pipes, among others."""


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
"""What ArithmeticUtilization tells apart; misc is what is no arithmetic, as conversions."""
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
"""Columns of no table: `bottlenecks` makes shares of them."""

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


class Found(NamedTuple):
    """A column of the merged table, and the runs that it was measured in."""

    column: str
    runs: tuple[str, ...]


class Columns:
    """Finds a counter's columns in the merged table, and those that go with it."""

    def __init__(
        self, columns: Collection[str], runs: Sequence[str], sources: Mapping[str, str]
    ) -> None:
        """Take the table's columns, the runs' labels, and what is known of columns' runs."""
        self._columns = columns
        self._runs = tuple(runs)
        self._sources = sources

    def found(self, names: Sequence[str], group: str) -> list[Found]:
        """Return the columns of the first of `names` that is there: one for each run that has it.

        A column without a run is of the run that `sources` says; else of those whose labels hold
        the group's name; else of any.
        """
        for name in names:
            several = [
                Found(f"{name}@{run}", (run,))
                for run in self._runs
                if f"{name}@{run}" in self._columns
            ]
            if several:
                return several
            if name in self._columns:
                return [Found(name, self._runs_of(name, group))]
        return []

    def _runs_of(self, name: str, group: str) -> tuple[str, ...]:
        if name in self._sources:
            return (self._sources[name],)
        named = tuple(run for run in self._runs if re.search(rf"\b{group}\b", run))
        return named or self._runs

    def mean(self, name: str, runs: Sequence[str]) -> pl.Expr | None:
        """Return the mean over `runs` of what each of them has as `name`; None if none has it."""
        each = [f"{name}@{run}" for run in runs if f"{name}@{run}" in self._columns]
        if not each and name in self._columns:
            each = [name]
        return mean_of(each) if each else None

    def weight(self, half: str | None, runs: Sequence[str]) -> pl.Expr:
        """Return what a rate of `runs` is weighted by: cycles of the half, else the duration."""
        cycles = None if half is None else self.mean(CYCLES[half], runs)
        return self.duration(runs) if cycles is None else cycles

    def duration(self, runs: Sequence[str]) -> pl.Expr:
        """Return the mean duration in `runs`, in ns."""
        return mean_of([f"duration_ns@{run}" for run in runs])

    def count(self, count: Count) -> pl.Expr:
        """Return a count of each kernel: the mean over the runs, the sum over the halves."""
        halves = [
            mean_of([each.column for each in found])
            for half in HALVES
            if (found := self.found([f"{half}{name}" for name in count.names], count.group))
        ]
        if not halves:
            return pl.lit(None, pl.Float64)
        known = pl.any_horizontal(*(each.is_not_null() for each in halves))
        return pl.when(known).then(pl.sum_horizontal(*halves) * count.unit)

    def measured(self, rate: Rate) -> Iterator[tuple[pl.Expr, pl.Expr]]:
        """Yield value and weight of a rate, for each column that has it."""
        for column, runs in self.found(rate.names, rate.group):
            yield pl.col(column).cast(pl.Float64), self.weight(rate.half, runs)


def mean_of(columns: Sequence[str]) -> pl.Expr:
    """Return the mean over columns of what is not null; null where all are."""
    (first, *others) = columns
    if not others:
        return pl.col(first).cast(pl.Float64)
    return pl.mean_horizontal(*(pl.col(each).cast(pl.Float64) for each in columns))
