"""The table bottlenecks: one row for each kind of kernel, from runs over all counter groups."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import polars as pl

from harness.bottlenecks import roofline
from harness.bottlenecks.classes import judge
from harness.bottlenecks.counters import (
    COUNTS,
    L2_COUNTS,
    MOVED,
    PRECISION_RATES,
    PRECISIONS,
    RATES,
    TIMES,
    Columns,
    Rate,
)
from harness.settings.request import Analysis, Bound, Perturbed
from harness.tables.selection import is_communication

KEY: Final = (
    "type",
    "core",
    "name",
    "input_shapes",
    "input_dtypes",
    "output_shapes",
    "output_dtypes",
)
_L2_RATES: Final[Mapping[str, tuple[str, ...]]] = {
    "l2_write_hit_rate": ("write",),
    "l2_r0_hit_rate": ("r0",),
    "l2_r1_hit_rate": ("r1",),
    "l2_read_hit_rate": ("r0", "r1", "local"),
    "l2_hit_rate": ("write", "r0", "r1", "local"),
}
_TO_L2: Final = ("gm_to_l1_bytes", "l0c_to_gm_bytes", "gm_to_ub_bytes", "ub_to_gm_bytes")
"""The bytes moved between the cores and the L2 cache."""
_SHARES: Final = tuple(
    f"{unit}_{precision}_share" for unit, names in PRECISIONS.items() for precision in names
)
_INTEGERS: Final = ("fops", "main_memory_bytes", *(count.column for count in COUNTS))
_FIGURES: Final = (
    "dominant_pipe",
    "dominant_ratio",
    "bound",
    "evidence",
    "needs",
    "memory_bound",
    "core_time_ratio",
    *(count.column for count in COUNTS[:2]),
    "fops",
    *_SHARES,
    *(count.column for count in COUNTS[2:4]),
    "main_memory_bytes",
    *(f"{path}_bytes" for path in MOVED),
    "intensity",
    "achieved_tops",
    "main_memory_gbps",
    "l2_gbps",
    *roofline.COLUMNS,
    *_L2_RATES,
    *(rate.column for rate in RATES),
)
_TEXTS: Final = ("dominant_pipe", "bound", "evidence", "needs", "roof")


def bottlenecks(
    merged: pl.DataFrame,
    runs: Sequence[str],
    analysis: Analysis,
    sources: Mapping[str, str] | None = None,
) -> pl.DataFrame:
    """Return the bottleneck of each kind of kernel, the kind with the most time first.

    A kind is a type, a core, and the shapes and dtypes of inputs and outputs (`KEY`). If core or
    input shapes are unknown, the name is part of it; kernels without input shapes are not averaged.
    Every column, with its unit, formula and run, is explained in docs/bottlenecks.md. Ratios are
    from 0 to 1; what was not measured is null.

    Args:
        merged: A row for each kernel of the merged runs: the columns of kernels; runs (how many
            runs have it); for each run R duration_ns@R, and as COUNTER@R each counter that several
            runs have; the others under their own names.
        runs: The labels R, at least one.
        analysis: The thresholds, and the chip's peaks.
        sources: The run of counters that only one run has, by their names. A counter that is not
            here belongs to the runs whose labels contain its group's name, else to all.

    Raises polars' ColumnNotFoundError if a column of the kernels or a run's duration is missing.
    """
    columns = Columns(merged.columns, runs, sources or {})
    keys = _by_key(_with_measures(merged, columns, runs), runs)
    keys = _with_rates(_derived(keys, runs, analysis.perturbed))
    keys = _with_verdicts(roofline.roofline(keys, analysis.peaks), analysis.bound)
    return _ordered(keys, runs)


def _by_key(kernels: pl.DataFrame, runs: Sequence[str]) -> pl.DataFrame:
    """Add up the measures of all kernels of a kind."""
    return (
        kernels.group_by(KEY)
        .agg(
            pl.len().cast(pl.Int64).alias("count"),
            (pl.col("runs") == len(runs)).sum().cast(pl.Int64).alias("matched"),
            pl.col("communicates").first(),
            _sum("_duration").fill_null(0.0),
            _timed(runs).sum().alias("compared"),
            *(expression for run in runs for expression in _durations(run, runs)),
            *(_sum(count.column) for count in (*COUNTS, *L2_COUNTS)),
            pl.col("^(num|den|only|timed|roofline)\\|.*$").sum(),
        )
        .with_columns(averaged=pl.col("input_shapes").is_not_null())
    )


def _with_verdicts(keys: pl.DataFrame, bound: Bound) -> pl.DataFrame:
    """Add the bottleneck of each kind, and its evidence."""
    verdicts = [judge(row, bound) for row in keys.iter_rows(named=True)]
    for field in ("dominant_pipe", "dominant_ratio", "bound", "evidence", "needs"):
        dtype = pl.Float64 if field == "dominant_ratio" else pl.String
        values = [getattr(verdict, field) for verdict in verdicts]
        keys = keys.with_columns(pl.Series(field, values, dtype=dtype))
    return keys


def _ordered(keys: pl.DataFrame, runs: Sequence[str]) -> pl.DataFrame:
    """Return the columns of the table in their order, the kind with the most time first."""
    # An average over kernels of unknown shapes is meaningless.
    averages = [name for name in _FIGURES if name not in (*_INTEGERS, *_TEXTS)]
    averages += ["mean_ns", *(f"mean_ns@{run}" for run in runs)]
    return (
        keys.with_columns(
            *(pl.when("averaged").then(pl.col(name)).alias(name) for name in averages),
            pl.when("averaged").then("roof").alias("roof"),
            *(pl.col(name).round().cast(pl.Int64) for name in _INTEGERS),
            tie=pl.struct(KEY).struct.json_encode(),
        )
        .sort("_duration", "tie", descending=[True, False])
        .select(
            *KEY,
            "averaged",
            "count",
            "matched",
            "duration_ns",
            "share",
            "mean_ns",
            "spread",
            "perturbed",
            *_FIGURES,
            *(
                f"{statistic}@{run}"
                for run in runs
                for statistic in ("count", "duration_ns", "mean_ns", "min_ns", "max_ns")
            ),
        )
    )


def _with_measures(merged: pl.DataFrame, columns: Columns, runs: Sequence[str]) -> pl.DataFrame:
    """Add to each kernel the values to sum, and keep only the part of its name that is a kind's."""
    # Names of communication contain a number of the call, and of the group by launch.
    unnumbered = pl.col("name").str.replace(r"^(hcom_[A-Za-z0-9]+_?)_.*$", "$1")
    table = merged.with_columns(
        is_communication(merged).alias("communicates"),
        columns.duration(runs).alias("_duration"),
        *(columns.count(count).alias(count.column) for count in (*COUNTS, *L2_COUNTS)),
        *_weighed(columns),
        *_core_times(columns, runs),
        # With a core, the type identifies a kind; on a GPU, the type is just "kernel".
        name=pl.when(pl.any_horizontal(pl.col("input_shapes", "core").is_null())).then(unnumbered),
    )
    return table.with_columns(_masked(columns))


def _masked(columns: Columns) -> Iterator[pl.Expr]:
    """Yield work and time of the kernels that have both, 0 for the others."""
    arithmetic = [count.column for count in COUNTS[:2]]
    memory = [count.column for count in COUNTS[2:4]]
    computed, moved = _all_known(arithmetic), _all_known(memory)
    both = computed & moved
    fops, volume = pl.sum_horizontal(*arithmetic), pl.sum_horizontal(*memory)
    to_l2 = pl.sum_horizontal(*_TO_L2)
    in_arithmetic = _duration_of(columns, COUNTS[0].names, COUNTS[0].group)
    in_memory = _duration_of(columns, COUNTS[2].names, COUNTS[2].group)
    masked = {
        # Work and time of the same run, over its kernels.
        "timed|fops": (computed, fops),
        "timed|fops_ns": (computed, in_arithmetic),
        "timed|memory": (moved, volume),
        "timed|memory_ns": (moved, in_memory),
        "timed|l2": (_all_known(_TO_L2), to_l2),
        "timed|l2_ns": (_all_known(_TO_L2), in_memory),
        # Work of two runs, over the kernels that both have.
        "roofline|cube": (both, pl.col(arithmetic[0])),
        "roofline|vector": (both, pl.col(arithmetic[1])),
        "roofline|main_memory": (both, volume),
        "roofline|l2": (both & _all_known(_TO_L2), to_l2),
        "roofline|ns": (both, in_arithmetic),
        "only|both": (both, pl.lit(1.0)),
        "only|l2": (both & _all_known(_TO_L2), pl.lit(1.0)),
    }
    for name, (mask, value) in masked.items():
        yield pl.when(mask).then(value).otherwise(0.0).alias(name)


def _weighed(columns: Columns) -> list[pl.Expr]:
    """Return, for each rate, the sums over its runs of value times weight and of the weight."""
    sums = []
    for rate in (*RATES, *PRECISION_RATES):
        measured = list(columns.measured(rate))
        products = [value * weight for value, weight in measured]
        weights = [pl.when(value.is_not_null()).then(weight) for value, weight in measured]
        for name, parts in (("num", products), ("den", weights)):
            total = pl.sum_horizontal(*parts) if parts else pl.lit(0.0)
            sums.append(total.alias(f"{name}|{rate.column}"))
    return sums


def _core_times(columns: Columns, runs: Sequence[str]) -> list[pl.Expr]:
    """Return the time of each half in the runs that measured pipes, and the longer half's."""
    times = []
    for half in ("aic_", "aiv_"):
        pipe_rates = [
            rate for rate in RATES if rate.half == half and rate.group == "PipeUtilization"
        ]
        measured = next(
            (hit for rate in pipe_rates for hit in columns.columns_of(rate.names, rate.group)),
            None,
        )
        time = columns.mean(TIMES[half], measured.runs) if measured else None
        times.append((pl.lit(0.0) if time is None else time.fill_null(0.0)).alias(f"only|{half}"))
    pairs = [
        (pl.max_horizontal(*halves), columns.duration([run]))
        for run in runs
        if (halves := _times_in(columns, run))
    ]
    busy = [core * 1e3 for core, _ in pairs]
    durations = [pl.when(core.is_not_null()).then(duration) for core, duration in pairs]
    for name, parts in (("only|core_ns", busy), ("only|core_of_ns", durations)):
        times.append((pl.sum_horizontal(*parts) if parts else pl.lit(0.0)).alias(name))
    return times


def _times_in(columns: Columns, run: str) -> list[pl.Expr]:
    times = (columns.mean(TIMES[half], [run]) for half in ("aic_", "aiv_"))
    return [time for time in times if time is not None]


def _all_known(names: Sequence[str]) -> pl.Expr:
    return pl.all_horizontal(*(pl.col(name).is_not_null() for name in names))


def _duration_of(columns: Columns, names: Sequence[str], group: str) -> pl.Expr:
    """Return the duration in the runs that have a count; null if none has it."""
    halves = [[f"{half}{name}" for name in names] for half in ("aic_", "aiv_", "")]
    runs = [run for half in halves for hit in columns.columns_of(half, group) for run in hit.runs]
    return columns.duration(list(dict.fromkeys(runs))) if runs else pl.lit(None, pl.Float64)


def _sum(column: str) -> pl.Expr:
    """Return the sum; null if all values are null."""
    return pl.when(pl.col(column).is_not_null().any()).then(pl.col(column).sum()).alias(column)


def _timed(runs: Sequence[str]) -> pl.Expr:
    """Tell the kernels that have a duration in every run."""
    return pl.all_horizontal(*(pl.col(f"duration_ns@{run}").is_not_null() for run in runs))


def _durations(run: str, runs: Sequence[str]) -> list[pl.Expr]:
    time = pl.col(f"duration_ns@{run}")
    return [
        time.count().cast(pl.Int64).alias(f"count@{run}"),
        time.filter(_timed(runs)).sum().cast(pl.Float64).alias(f"matched|{run}"),
        pl.when(time.is_not_null().any()).then(time.sum()).alias(f"sum|{run}"),
        time.min().alias(f"min_ns@{run}"),
        time.max().alias(f"max_ns@{run}"),
    ]


def _derived(keys: pl.DataFrame, runs: Sequence[str], limits: Perturbed) -> pl.DataFrame:
    """Add durations, shares, and the spread between the runs."""
    total = pl.col("_duration").sum()
    matched = [pl.col(f"matched|{run}") for run in runs]
    middle = pl.mean_horizontal(*matched)
    apart = (pl.max_horizontal(*matched) - pl.min_horizontal(*matched)) / middle
    comparable = (pl.col("compared") > 0) & (middle > 0) if len(runs) > 1 else pl.lit(value=False)
    return (
        keys.with_columns(
            duration_ns=pl.col("_duration").round().cast(pl.Int64),
            share=pl.when(total > 0).then(pl.col("_duration") / total),
            mean_ns=(pl.col("_duration") / pl.col("count")).round().cast(pl.Int64),
            spread=pl.when(comparable).then(apart),
            limit=_limit(middle / pl.col("compared") / 1e3, limits),
        )
        .with_columns(
            pl.col(f"sum|{run}").cast(pl.Int64).alias(f"duration_ns@{run}") for run in runs
        )
        .with_columns(
            (pl.col(f"sum|{run}") / pl.col(f"count@{run}"))
            .round()
            .cast(pl.Int64)
            .alias(f"mean_ns@{run}")
            for run in runs
        )
        .with_columns(perturbed=pl.col("spread") > pl.col("limit"))
    )


def _limit(mean_us: pl.Expr, limits: Perturbed) -> pl.Expr:
    """Return the largest spread that counts as noise, for a mean duration."""
    slope = (limits.long - limits.short) / (limits.long_us - limits.short_us)
    between = mean_us.clip(limits.short_us, limits.long_us) - limits.short_us
    return limits.short + slope * between


def _with_rates(keys: pl.DataFrame) -> pl.DataFrame:
    """Add every ratio of sums."""
    return (
        keys.with_columns(
            *(_rate(rate) for rate in RATES),
            *_shares(),
            *(_hit_rate(name, kinds) for name, kinds in _L2_RATES.items()),
            *_scales(),
            core_time_ratio=_ratio("only|core_ns", "only|core_of_ns"),
            achieved_tops=_ratio("timed|fops", "timed|fops_ns") / 1e3,
            main_memory_gbps=_ratio("timed|memory", "timed|memory_ns"),
            l2_gbps=_ratio("timed|l2", "timed|l2_ns"),
            fops=pl.col("cube_fops") + pl.col("vector_fops"),
            main_memory_bytes=pl.col("main_memory_read_bytes") + pl.col("main_memory_write_bytes"),
            intensity=pl.when(pl.col("roofline|main_memory") > 0).then(
                (pl.col("roofline|cube") + pl.col("roofline|vector"))
                / pl.col("roofline|main_memory")
            ),
        )
        .with_columns(
            memory_bound=pl.max_horizontal(
                _over("aic_mte2_ratio", ["aic_mac_ratio"]),
                _over("aiv_mte2_ratio", ["aiv_vec_ratio"]),
                _over("mte2_ratio", ["mac_ratio", "vec_ratio"]),
            )
        )
        .with_columns(
            pl.when(pl.col("only|both") > 0)
            .then(pl.col(f"roofline|{name}"))
            .alias(f"roofline|{name}")
            for name in ("cube", "vector", "main_memory", "ns")
        )
        .with_columns(
            pl.when(pl.col("only|l2") == pl.col("only|both"))
            .then(pl.col("roofline|l2"))
            .alias("roofline|l2")
        )
    )


def _scales() -> Iterator[pl.Expr]:
    """Yield the time of each half as a share of the longer half's."""
    longer = pl.max_horizontal("only|aic_", "only|aiv_")
    for half in ("aic_", "aiv_"):
        share = pl.when(longer > 0).then(pl.col(f"only|{half}") / longer)
        yield share.otherwise(1.0).alias(f"{half}scale")


def _ratio(part: str, whole: str) -> pl.Expr:
    return pl.when(pl.col(whole) > 0).then(pl.col(part) / pl.col(whole))


def _rate(rate: Rate) -> pl.Expr:
    return _ratio(f"num|{rate.column}", f"den|{rate.column}").alias(rate.column)


def _over(part: str, whole: Sequence[str]) -> pl.Expr:
    most = pl.max_horizontal(*whole)
    return pl.when(most > 0).then(pl.col(part) / most)


def _shares() -> list[pl.Expr]:
    """Return the share of each precision in the cycles of all that its unit counts."""
    shares = []
    for unit, names in PRECISIONS.items():
        cycles = {
            name: pl.sum_horizontal(
                *(
                    f"num|{rate.column}"
                    for rate in PRECISION_RATES
                    if rate.column.split("|")[1:] == [unit, name]
                )
            )
            for name in names
        }
        total = pl.sum_horizontal(*cycles.values())
        shares += [
            pl.when(total > 0).then(part / total).alias(f"{unit}_{name}_share")
            for name, part in cycles.items()
        ]
    return shares


def _hit_rate(name: str, kinds: Sequence[str]) -> pl.Expr:
    hits = pl.sum_horizontal(*(f"{kind}|hit" for kind in kinds))
    accesses = hits + pl.sum_horizontal(*(f"{kind}|miss" for kind in kinds))
    return pl.when(accesses > 0).then(hits / accesses).alias(name)
