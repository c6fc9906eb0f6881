"""The kernels of several runs as sequences of the same tokens, in the same lanes.

A kernel's token is what is the same of it in every run: its type, core, shapes and dtypes where
the profiler tells types, else its name. A lane is what keeps an order: a stream of a device, or a
thread of the host. Streams have other numbers in other runs; what they run tells which is which.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
from msgspec import Struct

from harness.tables.selection import is_communication

ROW: Final = "row"
"""The row's number in the table of its run."""

_SHAPES: Final = ("input_shapes", "input_dtypes", "output_shapes")
_COUNTED: Final = r"^(hcom_\w+?)__\d+_"
"""Names of communication hold a number that is another one in each launch."""


class Run(Struct, frozen=True, kw_only=True):
    """One of the runs to be merged."""

    label: str
    """Names its columns; unlike those of the others."""
    table: pl.DataFrame
    """Its kernels, or its operators."""


class Lane(NamedTuple):
    """What keeps an order."""

    device: int | None
    number: int | None
    """Of the stream, or of the thread."""
    apart: bool
    """Whether it communicates, and no stream is told."""


class Layout(NamedTuple):
    """What a table is to the join."""

    table: str
    lane: str
    """The column of what keeps an order."""
    described: tuple[str, ...]
    """Columns of what a row is, the same in every run."""
    other: tuple[str, ...]
    """Columns that are neither that nor measured: numbers of one run."""


KERNELS: Final = Layout(
    table="kernels",
    lane="stream",
    described=(
        *("stage", "name", "type", "core", "input_shapes", "input_dtypes", "input_formats"),
        *("output_shapes", "output_dtypes", "output_formats"),
        *("OP State", "HF32 Eligible"),
        *("Block Dim", "Mix Block Dim", "Block Num", "Mix Block Num"),
    ),
    other=("operator", "correlation", "Model ID", "Task ID", "Context ID", "Step Id", "Step ID"),
)
OPERATORS: Final = Layout(
    table="operators",
    lane="thread",
    described=("stage", "name", "input_shapes", "input_dtypes"),
    other=("id", "stack_id"),
)


Numbers = npt.NDArray[np.int64]


class Sequences(NamedTuple):
    """What one run executed in one lane in one step, in order."""

    tokens: Numbers
    names: Numbers
    """Tokens that tell names apart, too; the same object if that makes no difference."""
    rows: Numbers
    """In the table of the run."""


Key = tuple[int | None, int, int]
"""Rank, step and lane."""


class Program(NamedTuple):
    """One run as sequences."""

    sequences: dict[Key, Sequences]
    lanes: dict[int | None, list[Lane | None]]
    """By rank, what each lane is in this run; None if it has none."""
    doubtful: set[tuple[int | None, int]]
    """Ranks and lanes that several lanes of this run could be."""
    outside: int
    """Rows that belong to no step, which are left out."""

    def lane(self, rank: int | None, at: int) -> Lane | None:
        """Return what a lane is in this run; None if it has none."""
        lanes = self.lanes.get(rank, [])
        return lanes[at] if at < len(lanes) else None


def programs(tables: Sequence[pl.DataFrame], layout: Layout) -> list[Program]:
    """Return the runs' tables as sequences; the first table's lanes come first."""
    tokens = _Tokens(tables, layout)
    parts = [_parts(table, tokens.of(table), layout, named=tokens.named) for table in tables]
    found = [Program({}, {}, set(), outside=int(table["step"].null_count())) for table in tables]
    for rank in sorted({part.rank for run in parts for part in run}, key=str):
        own = [[part for part in run if part.rank == rank] for run in parts]
        for program, run, mapped in zip(found, own, _mapped(own), strict=True):
            program.lanes[rank] = mapped.lanes
            program.doubtful.update((rank, number) for number in mapped.doubtful)
            numbers = {lane: at for at, lane in enumerate(mapped.lanes) if lane is not None}
            for part in run:
                program.sequences[rank, part.step, numbers[part.lane]] = part.sequences
    return found


class _Tokens:
    """What the rows of all runs are, as numbers: worked out once for each different row."""

    def __init__(self, tables: Sequence[pl.DataFrame], layout: Layout) -> None:
        first = ("type", "core") if layout is KERNELS else ()
        self._columns = ["name", *first, *(each for each in _SHAPES if each in tables[0].columns)]
        alike = pl.concat([table.select(self._columns).unique() for table in tables]).unique()
        known = alike.with_columns(
            name=pl.col("name").str.replace(_COUNTED, "${1}__*_"),
            _apart=is_communication(alike) if layout is KERNELS else False,
        )
        if layout is KERNELS and _tells_types(known):
            # A type that lacks its shapes anywhere can only be told by its order.
            bare = known.filter(pl.col("input_shapes").is_null())["type"].unique()
            lacks = pl.col("type").is_in(bare.implode())
            known = known.with_columns(
                pl.when(~lacks).then(pl.col(name)).alias(name)
                for name in _SHAPES
                if name in self._columns
            )
            named = _dense(known.select(self._columns))
            plain = _dense(
                known.select(self._columns).with_columns(name=pl.when(known["_apart"]).then("name"))
            )
        else:
            named = plain = _dense(known.select(pl.exclude("core", "_apart")))
        self.named = named.n_unique() > plain.n_unique()
        """Whether names tell more rows apart."""
        self._known = alike.with_columns(_apart=known["_apart"], _token=plain, _name=named)

    def of(self, table: pl.DataFrame) -> pl.DataFrame:
        """Return `_token`, `_name` and `_apart`, whether it communicates, of each row."""
        return table.select(self._columns).join(
            self._known, on=self._columns, how="left", nulls_equal=True, maintain_order="left"
        )


def _dense(rows: pl.DataFrame) -> pl.Series:
    """Return a number for each row, the same for equal rows."""
    return rows.select(pl.struct(pl.all()).rank("dense")).to_series()


def _tells_types(known: pl.DataFrame) -> bool:
    """Tell whether types are those of operators, as CANN tells above Level0."""
    computes = ~pl.col("_apart") & pl.col("core").is_not_null() & pl.col("type").is_not_null()
    return bool(known.select(computes.any()).item())


class _Part(NamedTuple):
    rank: int | None
    step: int
    lane: Lane
    sequences: Sequences


def _parts(
    table: pl.DataFrame, tokens: pl.DataFrame, layout: Layout, *, named: bool
) -> list[_Part]:
    """Return what the table's run executed in its steps, lane by lane."""
    lane = ["_device", "_lane", "_apart"]
    device = pl.col("device") if "device" in table.columns else pl.lit(None, pl.Int32)
    rows = (
        table.select("rank", "step", "start_ns", _device=device, _lane=layout.lane)
        .with_columns(tokens.select(pl.col("_token", "_name").cast(pl.Int64), "_apart"))
        .with_columns(pl.col("_apart") & pl.col("_lane").is_null())
        .with_row_index(ROW)
        .filter(pl.col("step").is_not_null())
        .sort("rank", "step", *lane, "start_ns", maintain_order=True)
    )
    plain, names, own = (
        rows[column].cast(pl.Int64).to_numpy() for column in ("_token", "_name", ROW)
    )
    found = []
    start = 0
    groups = rows.group_by("rank", "step", *lane, maintain_order=True).len()
    for rank, step, *place, count in groups.iter_rows():
        end = start + count
        told = plain[start:end]
        sequences = Sequences(told, names[start:end] if named else told, own[start:end])
        found.append(_Part(rank, step, Lane(*place), sequences))
        start = end
    return found


class _Mapped(NamedTuple):
    lanes: list[Lane | None]
    doubtful: set[int]


def _mapped(runs: Sequence[Sequence[_Part]]) -> list[_Mapped]:
    """Return the lanes of each run of one rank, those that are alike at the same place."""
    known: list[tuple[Lane, Counter[tuple[int, int]]]] = []
    found: list[_Mapped] = []
    for run in runs:
        own = _contents(run)
        chosen, doubtful = _assigned(known, own)
        for lane, content in sorted(own.items(), key=lambda each: _order(each[0])):
            if lane not in chosen.values():
                chosen[len(known)] = lane
                known.append((lane, content))
        found.append(_Mapped([chosen.get(at) for at in range(len(known))], doubtful))
    return [
        _Mapped(each.lanes + [None] * (len(known) - len(each.lanes)), each.doubtful)
        for each in found
    ]


def _contents(run: Iterable[_Part]) -> dict[Lane, Counter[tuple[int, int]]]:
    found: dict[Lane, Counter[tuple[int, int]]] = {}
    for part in run:
        content = found.setdefault(part.lane, Counter())
        tokens, counts = np.unique(part.sequences.tokens, return_counts=True)
        for token, count in zip(tokens.tolist(), counts.tolist(), strict=True):
            content[part.step, token] += count
    return found


def _assigned(
    known: Sequence[tuple[Lane, Counter[tuple[int, int]]]],
    own: dict[Lane, Counter[tuple[int, int]]],
) -> tuple[dict[int, Lane], set[int]]:
    """Return which lane is which by what they run, the most alike first, and which may be others.

    Lanes of one content are told apart by their numbers only, if these are the same.
    """
    pairs = [
        (_likeness(content, ours), lane == mine, at, mine)
        for at, (lane, content) in enumerate(known)
        for mine, ours in own.items()
    ]
    pairs.sort(key=lambda each: (-each[0], not each[1], each[2], _order(each[3])))
    chosen: dict[int, Lane] = {}
    doubtful: set[int] = set()
    for alike, same, at, mine in pairs:
        if not alike or at in chosen or mine in chosen.values():
            continue
        rivals = [
            each
            for each in pairs
            if each[0] == alike
            and (each[2] == at) != (each[3] == mine)
            and each[2] not in chosen
            and each[3] not in chosen.values()
        ]
        chosen[at] = mine
        if rivals and not same:
            doubtful.add(at)
            doubtful.update(rival[2] for rival in rivals)
    return chosen, doubtful


def _likeness(one: Counter[tuple[int, int]], other: Counter[tuple[int, int]]) -> float:
    return (one & other).total() / max(one.total(), other.total())


def _order(lane: Lane) -> tuple[int, int, bool]:
    device, number, apart = lane
    return (-1 if device is None else device, -1 if number is None else number, apart)
