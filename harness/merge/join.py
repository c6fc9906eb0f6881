"""Merge: runs that measured different counters of one program become one table.

A run collects one group of counters, so the program is run again for each. Its kernels are paired
by minimal edits in each step and lane, never by their times or by counting: the definition, and
what other ways mispair, is in docs/merging.md.
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
from harness.merge.alignment import TooDifferentError, embed, whole
from harness.merge.sequences import (
    KERNELS,
    ROW,
    Key,
    Lane,
    Layout,
    Numbers,
    Program,
    Run,
    Sequences,
    programs,
)
from harness.settings.request import Match

NONE: Final = -1
_OWN: Final = ("duration_ns", "self_ns")
"""What is each run's own even if only one run has it."""
_WAY_OUT: Final = "merge.match=aligned pairs what is the same, and lists the rest"


class Laid(Struct, frozen=True, kw_only=True):
    """What became of the rows of one run."""

    label: str
    rows: int
    """In its table."""
    outside: int
    """Of these, those of no step, which are left out."""
    unmatched: int
    """Of these, those that not every run has."""
    missing: int
    """Rows of others that this run lacks."""
    streams: dict[str, str]
    """Its own numbers of streams that have other ones in the joined table, and those."""


class Joined(Struct, frozen=True, kw_only=True):
    """The runs as one table."""

    labels: tuple[str, ...]
    table: pl.DataFrame
    """A row for each kernel of the program; docs/merging.md says what its columns are."""
    unmatched: pl.DataFrame
    """Those that not every run has: what, where, `found_in` and `missing_in`."""
    runs: tuple[Laid, ...]
    sources: dict[str, str]
    """The run of each column that only one run has."""


def merge(runs: Sequence[Run], *, match: Match, layout: Layout = KERNELS) -> Joined:
    """Join the runs' tables. The order in which the runs are given makes no difference.

    Raises `RefusedError` if `match` is strict and the runs did not execute the same sequences, or
    if they have too little in common to be aligned.
    """
    # The longest first: what the others have beyond it is added to it.
    runs = sorted(runs, key=lambda run: (-len(run.table), run.label))
    found = programs([run.table for run in runs], layout)
    if match == "strict":
        _refuse_differences(runs, found, layout)
    places = [_places(key, found, layout) for key in _keys(found)]
    told = _told(runs, layout)
    table = _table(runs, found, places, layout)
    unmatched = _unmatched(table, sorted(run.label for run in runs))
    laid = [
        Laid(
            label=run.label,
            rows=len(run.table),
            outside=program.outside,
            unmatched=_naming(unmatched["found_in"], run.label),
            missing=_naming(unmatched["missing_in"], run.label),
            streams=_renumbered(found, program),
        )
        for run, program in zip(runs, found, strict=True)
    ]
    return Joined(
        labels=tuple(sorted(run.label for run in runs)),
        table=table,
        unmatched=unmatched,
        runs=tuple(sorted(laid, key=lambda each: each.label)),
        sources={
            name: run.label
            for run, names in zip(runs, told, strict=True)
            for name in names
            if not _shared(name, told)
        },
    )


def _naming(labels: pl.Series, label: str) -> int:
    return len(labels.filter(labels.list.contains(label)))


def _keys(found: Sequence[Program]) -> list[Key]:
    keys = {key for program in found for key in program.sequences}
    return sorted(keys, key=lambda key: (-1 if key[0] is None else key[0], *key[1:]))


class _Places(NamedTuple):
    """One step in one lane, joined: of each run the row at each place, or none."""

    key: Key
    rows: list[Numbers]
    """`NONE` where the run lacks it."""
    doubtful: npt.NDArray[np.bool_]


def _places(key: Key, found: Sequence[Program], layout: Layout) -> _Places:
    own = [program.sequences.get(key, _NOTHING) for program in found]
    if len({each.tokens.tobytes() for each in own}) == 1:
        return _Places(key, [each.rows for each in own], np.zeros(len(own[0].rows), np.bool_))
    tokens = [_sequence(each.tokens) for each in own]
    try:
        held = whole(tokens)
        # Names break ties: they are taken if pairing them, too, leaves no more unpaired.
        if any(each.names is not each.tokens for each in own):
            names = [_sequence(each.names) for each in own]
            named = whole(names)
            if len(named.tokens) <= len(held.tokens):
                held, tokens = named, names
    except TooDifferentError as error:
        raise RefusedError([_too_different(_where(key, found, layout))]) from error
    laid = {sequence: embed(held.tokens, sequence) for sequence in set(tokens)}
    rows = np.full((len(own), len(held.tokens)), NONE)
    for placed, sequence, each in zip(rows, tokens, own, strict=True):
        placed[laid[sequence].places] = each.rows
    doubtful = np.zeros(len(held.tokens), np.bool_)
    doubtful[list(held.doubtful.union(*(each.doubtful for each in laid.values())))] = True
    # A run may find another place for what was added for its sake.
    taken = (rows != NONE).any(axis=0)
    return _Places(key, list(rows[:, taken]), doubtful[taken])


def _sequence(numbers: Numbers) -> tuple[int, ...]:
    return tuple(numbers.tolist())


_EMPTY: Final = np.zeros(0, np.int64)
_NOTHING: Final = Sequences(_EMPTY, _EMPTY, _EMPTY)


def _table(
    runs: Sequence[Run], found: Sequence[Program], places: Sequence[_Places], layout: Layout
) -> pl.DataFrame:
    doubtful = {lane for program in found for lane in program.doubtful}
    sizes = [len(each.doubtful) for each in places]
    index = pl.DataFrame(
        {
            "rank": [each.key[0] for each in places],
            "step": [each.key[1] for each in places],
            "_lane": [each.key[2] for each in places],
            "_doubtful": [(each.key[0], each.key[2]) in doubtful for each in places],
        },
        schema=_INDEX,
    )
    index = index.select(pl.all().gather(np.repeat(np.arange(len(sizes)), sizes)))
    index = index.with_columns(
        position=_joint([np.arange(size) for size in sizes], np.int64),
        ambiguous=pl.Series(_joint([each.doubtful for each in places], np.bool_))
        | index["_doubtful"],
    )
    rows = [
        pl.Series(f"{ROW}@{run.label}", _joint([each.rows[at] for each in places], np.int64))
        for at, run in enumerate(runs)
    ]
    rows = [row.set(row == NONE, None) for row in rows]
    there = pl.DataFrame([row.is_not_null() for row in rows])
    placed = index.join(
        _lanes(found, layout),
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
            there.select(runs=pl.sum_horizontal(pl.all()).cast(pl.Int32)),
            placed.select("ambiguous"),
            *_measured(runs, rows, layout),
        ],
        how="horizontal",
    )


_INDEX: Final[dict[str, pl.DataType]] = {
    "rank": pl.Int32(),
    "step": pl.Int64(),
    "_lane": pl.Int64(),
    "_doubtful": pl.Boolean(),
}


def _joint(parts: Sequence[npt.NDArray[Any]], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    return np.concatenate([np.zeros(0, dtype), *parts], dtype=dtype)


def _first(found: Sequence[Program], rank: int | None, at: int) -> Lane:
    """Return what a lane is in the first run that has it."""
    return next(lane for program in found if (lane := program.lane(rank, at)) is not None)


def _lanes(found: Sequence[Program], layout: Layout) -> pl.DataFrame:
    numbered = {
        (rank, at)
        for program in found
        for rank in program.lanes
        for at in range(len(program.lanes[rank]))
    }
    named = [(rank, at, *_first(found, rank, at)[:2]) for rank, at in numbered]
    device = {"device": pl.Int32} if layout is KERNELS else {"_device": pl.Int32}
    schema = {"rank": pl.Int32, "_lane": pl.Int64, **device, layout.lane: pl.Int64}
    return pl.DataFrame(named, schema=schema, orient="row")


def _described(runs: Sequence[Run], rows: Sequence[pl.Series], layout: Layout) -> pl.DataFrame:
    """Return what each row is, as the first run tells it that knows its shapes."""
    names = [name for name in layout.described if any(name in run.table.columns for run in runs)]
    shaped = [
        run.table["input_shapes"].is_not_null().gather(row)
        for run, row in zip(runs, rows, strict=True)
    ]
    order = pl.DataFrame(
        [
            *(
                pl.select(pl.when(each).then(number)).to_series().alias(f"shaped{number}")
                for number, each in enumerate(shaped)
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
        own = run.table.select(name for name in names if name in run.table.columns)
        parts.append(own[row.gather(chosen)].with_columns(_at=chosen))
    return pl.concat(parts, how="diagonal_relaxed").sort("_at").select(names)


def _told(runs: Sequence[Run], layout: Layout) -> list[list[str]]:
    """Return what each run measured."""
    apart = {*layout.described, *layout.other, layout.lane, "rank", "device", "step", "start_ns"}
    return [
        [
            name
            for name, dtype in run.table.schema.items()
            if name in _OWN
            or (name not in apart and dtype.is_numeric() and not run.table[name].is_null().all())
        ]
        for run in runs
    ]


def _shared(name: str, told: Sequence[Sequence[str]]) -> bool:
    return name in _OWN or sum(name in each for each in told) > 1


def _measured(runs: Sequence[Run], rows: Sequence[pl.Series], layout: Layout) -> list[pl.DataFrame]:
    """Return what each run measured of each row; what only one run has keeps its name."""
    told = _told(runs, layout)
    found = []
    for number in sorted(range(len(runs)), key=lambda number: runs[number].label):
        label = runs[number].label
        taken = runs[number].table.select(told[number]).select(pl.all().gather(rows[number]))
        shared = {name: f"{name}@{label}" for name in told[number] if _shared(name, told)}
        found += [rows[number].to_frame(), taken.rename(shared)]
    return found


def _unmatched(table: pl.DataFrame, labels: Sequence[str]) -> pl.DataFrame:
    """Return the rows that not every run has."""
    lacking = table.filter(pl.col("runs") < len(labels))
    there = {label: pl.col(f"{ROW}@{label}").is_not_null() for label in labels}
    where = [
        name
        for name in ("rank", "device", "stream", "thread", "step", "position")
        if name in table.columns
    ]
    what = [
        name
        for name in ("name", "type", "core", "input_shapes", "input_dtypes")
        if name in table.columns
    ]
    return lacking.select(
        *where,
        *what,
        "ambiguous",
        found_in=pl.concat_list(
            pl.when(found).then(pl.lit(label)) for label, found in there.items()
        ).list.drop_nulls(),
        missing_in=pl.concat_list(
            pl.when(~found).then(pl.lit(label)) for label, found in there.items()
        ).list.drop_nulls(),
    )


def _renumbered(found: Sequence[Program], program: Program) -> dict[str, str]:
    changed = {}
    for rank, lanes in program.lanes.items():
        for at, lane in enumerate(lanes):
            first = _first(found, rank, at)
            if lane is not None and lane.number != first.number:
                changed[str(lane.number)] = str(first.number)
    return changed


def _where(key: Key, found: Sequence[Program], layout: Layout) -> str:
    rank, step, at = key
    number = _first(found, rank, at).number
    lane = f"{layout.lane} {number}" if number is not None else "the communication"
    return ("" if rank is None else f"rank {rank}, ") + f"step {step}, {lane}"


def _refuse_differences(runs: Sequence[Run], found: Sequence[Program], layout: Layout) -> None:
    """Refuse runs that are not all the same; name the first difference of each to the first."""
    problems = []
    for run, program in zip(runs[1:], found[1:], strict=True):
        for key in _keys([found[0], program]):
            one, other = (each.sequences.get(key, _NOTHING) for each in (found[0], program))
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
                    f" {_where(key, found, layout)}: at position {at} the one has"
                    f" {_shown(runs[0], one, at)}, the other {_shown(run, other, at)}",
                    fix=_WAY_OUT,
                )
            )
            break
    if problems:
        raise RefusedError(problems)


def _shown(run: Run, sequences: Sequences, at: int) -> str:
    if at >= len(sequences.rows):
        return "nothing more"
    row: dict[str, Any] = run.table.row(int(sequences.rows[at]), named=True)
    shapes = row["input_shapes"]
    return f"{row.get('type') or row['name']} {shapes}" if shapes else str(row["name"])


def _too_different(where: str) -> Problem:
    return Problem(
        setting="merge",
        given=where,
        reason="the runs have too little in common there to be one program",
        fix="merge runs of the same workload; or record fewer kernels in a step",
    )
