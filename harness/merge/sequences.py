"""The kernels of several runs as sequences of the same tokens, in the same lanes.

A kernel's token is what it has in common in every run: its type, core, shapes and dtypes if the
profiler records types, else its name. A lane is an ordered queue: a stream of a device, or a thread
of the host. A stream may have another number in another run; lanes are matched by their content.
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
"""Names of communication contain a number that differs from launch to launch."""


class Run(Struct, frozen=True, kw_only=True):
    """One of the runs to be merged."""

    label: str
    """Names its columns; unique among the runs."""
    table: pl.DataFrame
    """Its kernels, or its operators."""


class Lane(NamedTuple):
    """An ordered queue: a stream or a thread."""

    device: int | None
    number: int | None
    """The number of the stream or the thread."""
    apart: bool
    """Whether it is communication without a recorded stream."""


class Layout(NamedTuple):
    """The roles of a table's columns in the join."""

    table: str
    lane: str
    """The column of the lane's number."""
    described: tuple[str, ...]
    """Columns that describe a row, with the same value in every run."""
    other: tuple[str, ...]
    """Columns that neither describe nor measure: numbers that are valid in one run only."""


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
    """What one run executed in one lane during one step, in order."""

    tokens: Numbers
    names: Numbers
    """Tokens that also distinguish names; the same object if that makes no difference."""
    rows: Numbers
    """The row numbers in the run's table."""


Key = tuple[int | None, int, int]
"""Rank, step and lane."""


class RunSequences(NamedTuple):
    """One run as sequences."""

    sequences: dict[Key, Sequences]
    lanes: dict[int | None, list[Lane | None]]
    """By rank, the lanes of this run in the common order; None if it lacks one."""
    ambiguous: set[tuple[int | None, int]]
    """Ranks and lanes that several lanes of this run match."""
    outside: int
    """Rows that belong to no step, which are not merged."""

    def lane(self, rank: int | None, at: int) -> Lane | None:
        """Return this run's lane at a place of the common order; None if it lacks one."""
        lanes = self.lanes.get(rank, [])
        return lanes[at] if at < len(lanes) else None


def sequences_of(tables: Sequence[pl.DataFrame], layout: Layout) -> list[RunSequences]:
    """Return the runs' tables as sequences; the first table's lanes come first."""
    tokens = _Tokens(tables, layout)
    parts = [_parts(table, tokens.of(table), layout, named=tokens.named) for table in tables]
    sequenced_runs = [
        RunSequences({}, {}, set(), outside=int(table["step"].null_count())) for table in tables
    ]
    for rank in sorted({part.rank for run in parts for part in run}, key=str):
        parts_by_run = [[part for part in run if part.rank == rank] for run in parts]
        for sequenced, run, mapped in zip(
            sequenced_runs, parts_by_run, _mapped(parts_by_run), strict=True
        ):
            sequenced.lanes[rank] = mapped.lanes
            sequenced.ambiguous.update((rank, number) for number in mapped.ambiguous)
            numbers = {lane: at for at, lane in enumerate(mapped.lanes) if lane is not None}
            for part in run:
                sequenced.sequences[rank, part.step, numbers[part.lane]] = part.sequences
    return sequenced_runs


class _Tokens:
    """The tokens of the rows of all runs: computed once for each distinct row."""

    def __init__(self, tables: Sequence[pl.DataFrame], layout: Layout) -> None:
        first = ("type", "core") if layout is KERNELS else ()
        self._columns = [
            "name",
            *first,
            *(column for column in _SHAPES if column in tables[0].columns),
        ]
        distinct = pl.concat([table.select(self._columns).unique() for table in tables]).unique()
        rows = distinct.with_columns(
            name=pl.col("name").str.replace(_COUNTED, "${1}__*_"),
            _apart=is_communication(distinct) if layout is KERNELS else False,
        )
        if layout is KERNELS and _tells_types(rows):
            # If a type lacks shapes anywhere, its shapes distinguish no rows.
            shapeless_types = rows.filter(pl.col("input_shapes").is_null())["type"].unique()
            shapeless = pl.col("type").is_in(shapeless_types.implode())
            rows = rows.with_columns(
                pl.when(~shapeless).then(pl.col(name)).alias(name)
                for name in _SHAPES
                if name in self._columns
            )
            named = _dense(rows.select(self._columns))
            plain = _dense(
                rows.select(self._columns).with_columns(name=pl.when(rows["_apart"]).then("name"))
            )
        else:
            named = plain = _dense(rows.select(pl.exclude("core", "_apart")))
        self.named = named.n_unique() > plain.n_unique()
        """Whether names distinguish more rows."""
        self._tokens_by_row = distinct.with_columns(
            _apart=rows["_apart"], _token=plain, _name=named
        )

    def of(self, table: pl.DataFrame) -> pl.DataFrame:
        """Return `_token`, `_name` and `_apart`, whether it communicates, of each row."""
        return table.select(self._columns).join(
            self._tokens_by_row,
            on=self._columns,
            how="left",
            nulls_equal=True,
            maintain_order="left",
        )


def _dense(rows: pl.DataFrame) -> pl.Series:
    """Return a number for each row, the same for equal rows."""
    return rows.select(pl.struct(pl.all()).rank("dense")).to_series()


def _tells_types(rows: pl.DataFrame) -> bool:
    """Tell whether types are those of operators, which CANN records above Level0."""
    computes = ~pl.col("_apart") & pl.col("core").is_not_null() & pl.col("type").is_not_null()
    return bool(rows.select(computes.any()).item())


class _Part(NamedTuple):
    rank: int | None
    step: int
    lane: Lane
    sequences: Sequences


def _parts(
    table: pl.DataFrame, tokens: pl.DataFrame, layout: Layout, *, named: bool
) -> list[_Part]:
    """Return what a run executed in its steps, lane by lane."""
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
    plain, names, row_numbers = (
        rows[column].cast(pl.Int64).to_numpy() for column in ("_token", "_name", ROW)
    )
    parts = []
    start = 0
    groups = rows.group_by("rank", "step", *lane, maintain_order=True).len()
    for rank, step, *place, count in groups.iter_rows():
        end = start + count
        lane_tokens = plain[start:end]
        sequences = Sequences(
            lane_tokens, names[start:end] if named else lane_tokens, row_numbers[start:end]
        )
        parts.append(_Part(rank, step, Lane(*place), sequences))
        start = end
    return parts


class _Mapped(NamedTuple):
    lanes: list[Lane | None]
    ambiguous: set[int]


def _mapped(runs: Sequence[Sequence[_Part]]) -> list[_Mapped]:
    """Return the lanes of each run of one rank, in a common order."""
    lanes: list[tuple[Lane, Counter[tuple[int, int]]]] = []
    mapped_runs: list[_Mapped] = []
    for run in runs:
        contents = _contents(run)
        chosen, ambiguous = _assigned(lanes, contents)
        for lane, content in sorted(contents.items(), key=lambda item: _order(item[0])):
            if lane not in chosen.values():
                chosen[len(lanes)] = lane
                lanes.append((lane, content))
        mapped_runs.append(_Mapped([chosen.get(at) for at in range(len(lanes))], ambiguous))
    return [
        _Mapped(mapped.lanes + [None] * (len(lanes) - len(mapped.lanes)), mapped.ambiguous)
        for mapped in mapped_runs
    ]


def _contents(run: Iterable[_Part]) -> dict[Lane, Counter[tuple[int, int]]]:
    contents: dict[Lane, Counter[tuple[int, int]]] = {}
    for part in run:
        content = contents.setdefault(part.lane, Counter())
        tokens, counts = np.unique(part.sequences.tokens, return_counts=True)
        for token, count in zip(tokens.tolist(), counts.tolist(), strict=True):
            content[part.step, token] += count
    return contents


class _Candidate(NamedTuple):
    likeness: float
    same: bool
    """Whether both lanes have the same number."""
    place: int
    lane: Lane


def _assigned(
    lanes: Sequence[tuple[Lane, Counter[tuple[int, int]]]],
    contents: dict[Lane, Counter[tuple[int, int]]],
) -> tuple[dict[int, Lane], set[int]]:
    """Match the lanes of a run to those of the runs before, the most alike first.

    Returns the run's lane at each place, and the ambiguous places. Of several lanes with the same
    content, one with the same number is no ambiguous match.
    """
    candidates = [
        _Candidate(_likeness(content, run_content), lane == run_lane, place, run_lane)
        for place, (lane, content) in enumerate(lanes)
        for run_lane, run_content in contents.items()
    ]
    candidates.sort(key=lambda c: (-c.likeness, not c.same, c.place, _order(c.lane)))
    chosen: dict[int, Lane] = {}
    ambiguous: set[int] = set()
    for candidate in candidates:
        if not candidate.likeness or not _is_free(candidate, chosen):
            continue
        rivals = [
            rival
            for rival in candidates
            if rival.likeness == candidate.likeness
            and (rival.place == candidate.place) != (rival.lane == candidate.lane)
            and _is_free(rival, chosen)
        ]
        chosen[candidate.place] = candidate.lane
        if rivals and not candidate.same:
            ambiguous.update(rival.place for rival in (candidate, *rivals))
    return chosen, ambiguous


def _is_free(candidate: _Candidate, chosen: dict[int, Lane]) -> bool:
    return candidate.place not in chosen and candidate.lane not in chosen.values()


def _likeness(one: Counter[tuple[int, int]], other: Counter[tuple[int, int]]) -> float:
    return (one & other).total() / max(one.total(), other.total())


def _order(lane: Lane) -> tuple[int, int, bool]:
    device, number, apart = lane
    return (-1 if device is None else device, -1 if number is None else number, apart)
