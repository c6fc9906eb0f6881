"""Join runs that measured different counters of one program into one table.

A run collects one counter group, so the program is run once for each. Its kernels are paired by
minimal edits in each step and lane, never by their times or by counting: docs/merging.md has the
definition, and what other methods mispair.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
from msgspec import Struct

from harness.errors import Problem, RefusedError
from harness.merge.alignment import TooDifferentError, common_supersequence, embed
from harness.merge.sequences import (
    KERNELS,
    ROW,
    Key,
    Lane,
    Layout,
    Numbers,
    Run,
    RunSequences,
    Sequences,
    sequences_of,
)
from harness.settings.request import Match
from harness.waits import waiting

NONE: Final = -1
_OWN: Final = ("duration_ns", "self_ns")
"""Columns that keep the run's label even if only one run has them."""
_WAY_OUT: Final = "merge.match=aligned pairs the common kernels and lists the others"


class RunRows(Struct, frozen=True, kw_only=True):
    """How many rows of a run were merged."""

    label: str
    rows: int
    """The rows of its table."""
    outside: int
    """The rows outside all steps, which are not merged."""
    unmatched: int
    """The rows that not every run has."""
    missing: int
    """The rows of other runs that this run lacks."""
    streams: dict[str, str]
    """Its stream numbers that differ in the joined table, with the numbers there."""


class Joined(Struct, frozen=True, kw_only=True):
    """The runs as one table."""

    labels: tuple[str, ...]
    table: pl.DataFrame
    """A row for each kernel of the program; docs/merging.md describes its columns."""
    unmatched: pl.DataFrame
    """The kernels that not every run has: what, where, `found_in` and `missing_in`."""
    runs: tuple[RunRows, ...]
    sources: dict[str, str]
    """The run of each column that only one run has."""


def merge(runs: Sequence[Run], *, match: Match, layout: Layout = KERNELS) -> Joined:
    """Join the runs' tables. The order of `runs` makes no difference.

    Raises `RefusedError` if `match` is strict and the runs did not execute the same sequences, or
    if they have too little in common to be aligned.
    """
    # The longest first: the others extend it.
    runs = sorted(runs, key=lambda run: (-len(run.table), run.label))
    sequenced_runs = sequences_of([run.table for run in runs], layout)
    if match == "strict":
        _refuse_differences(runs, sequenced_runs, layout)
    places = []
    keys = _keys(sequenced_runs)
    with waiting(f"aligning the {layout.table} of the runs", len(keys), "steps") as more:
        for key in keys:
            places.append(_places(key, sequenced_runs, layout))
            more(1)
    measured = _measured_columns(runs, layout)
    table = _table(runs, sequenced_runs, places, layout)
    unmatched = _unmatched(table, sorted(run.label for run in runs))
    run_rows = [
        RunRows(
            label=run.label,
            rows=len(run.table),
            outside=sequenced.outside,
            unmatched=_naming(unmatched["found_in"], run.label),
            missing=_naming(unmatched["missing_in"], run.label),
            streams=_renumbered(sequenced_runs, sequenced),
        )
        for run, sequenced in zip(runs, sequenced_runs, strict=True)
    ]
    return Joined(
        labels=tuple(sorted(run.label for run in runs)),
        table=table,
        unmatched=unmatched,
        runs=tuple(sorted(run_rows, key=lambda rows: rows.label)),
        sources={
            name: run.label
            for run, names in zip(runs, measured, strict=True)
            for name in names
            if not _shared(name, measured)
        },
    )


def _naming(labels: pl.Series, label: str) -> int:
    return len(labels.filter(labels.list.contains(label)))


def _keys(sequenced_runs: Sequence[RunSequences]) -> list[Key]:
    keys = {key for sequenced in sequenced_runs for key in sequenced.sequences}
    return sorted(keys, key=lambda key: (-1 if key[0] is None else key[0], *key[1:]))


class _Places(NamedTuple):
    """One step in one lane, joined: the row of each run at each place."""

    key: Key
    rows: list[Numbers]
    """`NONE` where the run lacks it."""
    ambiguous: npt.NDArray[np.bool_]


def _places(key: Key, sequenced_runs: Sequence[RunSequences], layout: Layout) -> _Places:
    executed_by_run = [sequenced.sequences.get(key, _NOTHING) for sequenced in sequenced_runs]
    if len({executed.tokens.tobytes() for executed in executed_by_run}) == 1:
        return _Places(
            key,
            [executed.rows for executed in executed_by_run],
            np.zeros(len(executed_by_run[0].rows), np.bool_),
        )
    tokens = [_sequence(executed.tokens) for executed in executed_by_run]
    try:
        supersequence = common_supersequence(tokens)
        # Names break ties: they are used if pairing them, too, leaves no more kernels unpaired.
        if any(executed.names is not executed.tokens for executed in executed_by_run):
            names = [_sequence(executed.names) for executed in executed_by_run]
            named = common_supersequence(names)
            if len(named.tokens) <= len(supersequence.tokens):
                supersequence, tokens = named, names
    except TooDifferentError as error:
        raise RefusedError([_too_different(_where(key, sequenced_runs, layout))]) from error
    embeddings = {sequence: embed(supersequence.tokens, sequence) for sequence in set(tokens)}
    rows = np.full((len(executed_by_run), len(supersequence.tokens)), NONE)
    for row, sequence, executed in zip(rows, tokens, executed_by_run, strict=True):
        row[embeddings[sequence].places] = executed.rows
    ambiguous = np.zeros(len(supersequence.tokens), np.bool_)
    ambiguous[
        list(
            supersequence.ambiguous.union(
                *(embedding.ambiguous for embedding in embeddings.values())
            )
        )
    ] = True
    # A place that was added for a run may end up unused: the run's embedding may take another.
    used = (rows != NONE).any(axis=0)
    return _Places(key, list(rows[:, used]), ambiguous[used])


def _sequence(numbers: Numbers) -> tuple[int, ...]:
    return tuple(numbers.tolist())


_EMPTY: Final = np.zeros(0, np.int64)
_NOTHING: Final = Sequences(_EMPTY, _EMPTY, _EMPTY)


def _table(
    runs: Sequence[Run],
    sequenced_runs: Sequence[RunSequences],
    places: Sequence[_Places],
    layout: Layout,
) -> pl.DataFrame:
    rows = [
        pl.Series(f"{ROW}@{run.label}", _joint([place.rows[at] for place in places], np.int64))
        for at, run in enumerate(runs)
    ]
    rows = [row.set(row == NONE, None) for row in rows]
    present = pl.DataFrame([row.is_not_null() for row in rows])
    placed = _index(sequenced_runs, places).join(
        _lanes(sequenced_runs, layout),
        on=["rank", "_lane"],
        how="left",
        nulls_equal=True,
        maintain_order="left",
    )
    lane = [name for name in ("device", layout.lane) if name in placed.columns]
    return pl.concat(
        [
            placed.select("rank", *lane, "step", "position"),
            _described(runs, rows, layout),
            present.select(runs=pl.sum_horizontal(pl.all()).cast(pl.Int32)),
            placed.select("ambiguous"),
            *_measured(runs, rows, layout),
        ],
        how="horizontal",
    )


def _index(sequenced_runs: Sequence[RunSequences], places: Sequence[_Places]) -> pl.DataFrame:
    """Return rank, step, lane, position and ambiguous of each row of the joined table."""
    ambiguous = {lane for sequenced in sequenced_runs for lane in sequenced.ambiguous}
    sizes = [len(place.ambiguous) for place in places]
    index = pl.DataFrame(
        {
            "rank": [place.key[0] for place in places],
            "step": [place.key[1] for place in places],
            "_lane": [place.key[2] for place in places],
            "_ambiguous": [(place.key[0], place.key[2]) in ambiguous for place in places],
        },
        schema=_INDEX,
    )
    index = index.select(pl.all().gather(np.repeat(np.arange(len(sizes)), sizes)))
    return index.with_columns(
        position=_joint([np.arange(size) for size in sizes], np.int64),
        ambiguous=pl.Series(_joint([place.ambiguous for place in places], np.bool_))
        | index["_ambiguous"],
    )


_INDEX: Final[dict[str, pl.DataType]] = {
    "rank": pl.Int32(),
    "step": pl.Int64(),
    "_lane": pl.Int64(),
    "_ambiguous": pl.Boolean(),
}


def _joint(parts: Sequence[npt.NDArray[Any]], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    return np.concatenate([np.zeros(0, dtype), *parts], dtype=dtype)


def _first_lane(sequenced_runs: Sequence[RunSequences], rank: int | None, at: int) -> Lane:
    """Return the lane at a place of the common order, of the first run that has it."""
    return next(
        lane for sequenced in sequenced_runs if (lane := sequenced.lane(rank, at)) is not None
    )


def _lanes(sequenced_runs: Sequence[RunSequences], layout: Layout) -> pl.DataFrame:
    rank_lanes = {
        (rank, at)
        for sequenced in sequenced_runs
        for rank in sequenced.lanes
        for at in range(len(sequenced.lanes[rank]))
    }
    rows = [(rank, at, *_first_lane(sequenced_runs, rank, at)[:2]) for rank, at in rank_lanes]
    device = {"device": pl.Int32} if layout is KERNELS else {"_device": pl.Int32}
    schema = {"rank": pl.Int32, "_lane": pl.Int64, **device, layout.lane: pl.Int64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _described(runs: Sequence[Run], rows: Sequence[pl.Series], layout: Layout) -> pl.DataFrame:
    """Return the description of each row, from the first run that has its shapes."""
    names = [name for name in layout.described if any(name in run.table.columns for run in runs)]
    shaped = [
        run.table["input_shapes"].is_not_null().gather(row)
        for run, row in zip(runs, rows, strict=True)
    ]
    order = pl.DataFrame(
        [
            *(
                pl.select(pl.when(has_shapes).then(number)).to_series().alias(f"shaped{number}")
                for number, has_shapes in enumerate(shaped)
            ),
            *(
                pl.select(pl.when(row.is_not_null()).then(number))
                .to_series()
                .alias(f"there{number}")
                for number, row in enumerate(rows)
            ),
        ]
    ).select(source=pl.coalesce(pl.all()))
    parts = []
    for number, (run, row) in enumerate(zip(runs, rows, strict=True)):
        chosen = order.with_row_index("_at").filter(pl.col("source") == number)["_at"]
        described = run.table.select(name for name in names if name in run.table.columns)
        parts.append(described[row.gather(chosen)].with_columns(_at=chosen))
    return pl.concat(parts, how="diagonal_relaxed").sort("_at").select(names)


def _measured_columns(runs: Sequence[Run], layout: Layout) -> list[list[str]]:
    """Return the columns that each run measured."""
    not_measured = {
        *layout.described,
        *layout.other,
        layout.lane,
        "rank",
        "device",
        "step",
        "start_ns",
    }
    return [
        [
            name
            for name, dtype in run.table.schema.items()
            if name in _OWN
            or (
                name not in not_measured
                and dtype.is_numeric()
                and not run.table[name].is_null().all()
            )
        ]
        for run in runs
    ]


def _shared(name: str, measured: Sequence[Sequence[str]]) -> bool:
    return name in _OWN or sum(name in columns for columns in measured) > 1


def _measured(runs: Sequence[Run], rows: Sequence[pl.Series], layout: Layout) -> list[pl.DataFrame]:
    """Return each run's measurements of each row; a column of only one run keeps its name."""
    measured = _measured_columns(runs, layout)
    frames = []
    for number in sorted(range(len(runs)), key=lambda number: runs[number].label):
        label = runs[number].label
        values = runs[number].table.select(measured[number]).select(pl.all().gather(rows[number]))
        shared = {name: f"{name}@{label}" for name in measured[number] if _shared(name, measured)}
        frames += [rows[number].to_frame(), values.rename(shared)]
    return frames


def _unmatched(table: pl.DataFrame, labels: Sequence[str]) -> pl.DataFrame:
    """Return the rows that some run lacks."""
    unmatched = table.filter(pl.col("runs") < len(labels))
    presence = {label: pl.col(f"{ROW}@{label}").is_not_null() for label in labels}
    place_columns = [
        name
        for name in ("rank", "device", "stream", "thread", "step", "position")
        if name in table.columns
    ]
    kernel_columns = [
        name
        for name in ("name", "type", "core", "input_shapes", "input_dtypes")
        if name in table.columns
    ]
    return unmatched.select(
        *place_columns,
        *kernel_columns,
        "ambiguous",
        found_in=pl.concat_list(
            pl.when(present).then(pl.lit(label)) for label, present in presence.items()
        ).list.drop_nulls(),
        missing_in=pl.concat_list(
            pl.when(~present).then(pl.lit(label)) for label, present in presence.items()
        ).list.drop_nulls(),
    )


def _renumbered(sequenced_runs: Sequence[RunSequences], sequenced: RunSequences) -> dict[str, str]:
    changed = {}
    for rank, lanes in sequenced.lanes.items():
        for at, lane in enumerate(lanes):
            first = _first_lane(sequenced_runs, rank, at)
            if lane is not None and lane.number != first.number:
                changed[str(lane.number)] = str(first.number)
    return changed


def _where(key: Key, sequenced_runs: Sequence[RunSequences], layout: Layout) -> str:
    rank, step, at = key
    number = _first_lane(sequenced_runs, rank, at).number
    lane = f"{layout.lane} {number}" if number is not None else "the communication"
    return ("" if rank is None else f"rank {rank}, ") + f"step {step}, {lane}"


def _refuse_differences(
    runs: Sequence[Run], sequenced_runs: Sequence[RunSequences], layout: Layout
) -> None:
    """Refuse runs that are not all the same; name each run's first difference to the first run."""
    problems = []
    for run, sequenced in zip(runs[1:], sequenced_runs[1:], strict=True):
        for key in _keys([sequenced_runs[0], sequenced]):
            one, other = (
                run_sequences.sequences.get(key, _NOTHING)
                for run_sequences in (sequenced_runs[0], sequenced)
            )
            if np.array_equal(one.tokens, other.tokens):
                continue
            at = next(
                place
                for place, (here, there) in enumerate(zip_longest(one.tokens, other.tokens))
                if here != there
            )
            problems.append(
                Problem(
                    setting="merge.match",
                    given="strict",
                    reason=f"{runs[0].label} and {run.label} differ in"
                    f" {_where(key, sequenced_runs, layout)}: at position {at} {runs[0].label} has"
                    f" {_shown(runs[0], one, at)}, {run.label} has {_shown(run, other, at)}",
                    fix=_WAY_OUT,
                )
            )
            break
    if problems:
        raise RefusedError(problems)


def _shown(run: Run, sequences: Sequences, at: int) -> str:
    if at >= len(sequences.rows):
        return "no more kernels"
    row: dict[str, Any] = run.table.row(int(sequences.rows[at]), named=True)
    shapes = row["input_shapes"]
    return f"{row.get('type') or row['name']} {shapes}" if shapes else str(row["name"])


def _too_different(where: str) -> Problem:
    return Problem(
        setting="merge",
        given=where,
        reason="the runs have too little in common here: they are not the same program",
        fix="merge runs of the same workload; or record fewer kernels in a step",
    )
