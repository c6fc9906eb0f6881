"""What the host did, as any export tells it, becomes operators, and the places of kernels in them.

Nesting, self time, marks and the choice of step and stage are those of
`harness.devices.torch_events`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import numpy as np
import polars as pl

from harness import tables
from harness.readers import nesting
from harness.readers.base import ReadContext
from harness.tables.intervals import StepLookup
from harness.tables.markers import STAGE_MARK, STEP_MARK

TORCH_MARK: Final = "ProfilerStep#"
NO_ROW: Final = -1

# What torch's dispatcher calls is `namespace::name`; what lies below (aclnn…, empty_tensor) are
# torch_npu's own steps, without shapes.
_QUALIFIED: Final = r"^[A-Za-z_]\w*::\w"
_AUTOGRAD: Final = r"^(autograd|torch)::"


class Marker(NamedTuple):
    """A range that names a step or a stage."""

    start_ns: int
    end_ns: int
    name: str


def is_mark(name: str) -> bool:
    """Tell whether a range of this name is no operator but a mark."""
    if name.startswith(STEP_MARK):
        return name.removeprefix(STEP_MARK).isdecimal()
    return name.startswith((STAGE_MARK, TORCH_MARK))


class StepMarkers:
    """The steps and stages of a capture."""

    def __init__(self, found: list[Marker], context: ReadContext) -> None:
        """Take what the capture has; where it has no mark of a step, `context` tells the steps."""
        steps = _numbered(found, STEP_MARK)
        stages: list[tuple[int, int, int | str]] = [
            (mark.start_ns, mark.end_ns, mark.name.removeprefix(STAGE_MARK))
            for mark in found
            if mark.name.startswith(STAGE_MARK)
        ]
        if not steps and context.steps:
            steps = [(each.start_ns, each.end_ns, each.step) for each in context.steps]
            stages += [(r.start_ns, r.end_ns, r.stage) for r in context.steps if r.stage]
        self._cycle = _numbered(found, TORCH_MARK)
        self._ranges = steps or self._cycle
        self._ours = bool(steps)
        self.steps = StepLookup(self._ranges, pl.Int64())
        self._starts = sorted((start, int(step)) for start, _, step in steps)
        self.stages = StepLookup(stages, pl.String())

    def ranges(self) -> list[tuple[int, int, int]]:
        """Return start, end and number of each step, in order."""
        return sorted((start, end, int(step)) for start, end, step in self._ranges)

    def places(self, host_times: pl.Series) -> dict[str, pl.Series]:
        """Return the step and the stage of each time; null outside of all, and for null."""
        times = host_times.fill_null(NO_ROW)
        return {"step": self.steps.at(times), "stage": self.stages.at(times)}

    def torch_numbers(self, times: pl.Series) -> pl.Series:
        """Return the number of the ``ProfilerStep#`` that holds each time, or null."""
        return StepLookup(self._cycle, pl.Int64()).at(times)

    def of_torch(self, numbers: pl.Series) -> pl.Series:
        """Return the step of each number of a ``ProfilerStep#``, null where it is not known."""
        if not self._ours:
            return numbers
        # The mark of a step begins within the range that torch_npu opened for it.
        within = {
            int(number): next((s for at, s in self._starts if start <= at < end), None)
            for start, end, number in self._cycle
        }
        return numbers.replace_strict(within, default=None, return_dtype=pl.Int64)


def _numbered(found: list[Marker], prefix: str) -> list[tuple[int, int, int | str]]:
    return [
        (mark.start_ns, mark.end_ns, int(number))
        for mark in found
        if (number := mark.name.removeprefix(prefix)) != mark.name and number.isdecimal()
    ]


def first(keys: pl.Series, asked: pl.Series) -> pl.Series:
    """Return where each asked number stands first among the keys, null where it does not.

    A join takes several times the memory.
    """
    places, known = keys.is_not_null().arg_true(), keys.drop_nulls()
    if known.is_empty():
        return pl.repeat(None, len(asked), dtype=pl.Int64, eager=True)
    order = pl.Series(np.argsort(known.to_numpy(), kind="stable").astype(np.uint32))
    found = known.gather(order).search_sorted(asked.fill_null(0)).clip(upper_bound=len(known) - 1)
    rows = places.gather(order.gather(found)).cast(pl.Int64)
    return rows.set((keys.gather(rows) != asked) | asked.is_null(), None)


class CallTree:
    """The operators of a capture, each with its row in the table."""

    def __init__(self, operators: pl.DataFrame, frames: pl.DataFrame, marks: StepMarkers) -> None:
        """Nest the events of each thread.

        Args:
            operators: Columns of the table `operators`: at least thread, name, start_ns and
                duration_ns, in any order.
            frames: thread, start_ns and duration_ns of the Python frames: children, no rows.
            marks: The steps and stages.
        """
        self._marks = marks
        rows = nesting.order(operators["start_ns"], operators["duration_ns"])
        self._table = operators if rows.is_sorted() else operators[rows]
        ranges = ("thread", "start_ns", "duration_ns")
        self._nest(pl.concat([self._table.select(ranges), frames.select(ranges)]))

    def _nest(self, ranges: pl.DataFrame) -> None:
        """Take the ranges of the operators, in the order of their rows, and of frames behind."""
        rows = nesting.order(*(ranges[name] for name in ("start_ns", "duration_ns", "thread")))
        threads, starts, durations = (ranges[name].gather(rows) for name in ranges.columns)
        del ranges
        holding = nesting.holders(
            threads.rle_id().to_numpy(), starts.to_numpy(), durations.to_numpy()
        )
        places = rows.to_numpy().astype(np.int32)
        known = places < self.count
        # The last is the row of what no range holds.
        row = np.append(np.where(known, places, NO_ROW), np.int32(NO_ROW))
        self._own = self._table["duration_ns"].to_numpy().copy()
        held_by = row[holding]
        held = held_by != NO_ROW
        # All direct children count, Python's frames among them.
        np.subtract.at(self._own, held_by[held], durations.to_numpy()[held])
        around = np.append(nesting.nearest(holding, known), np.int32(nesting.NONE))
        self._parents = np.full(self.count, NO_ROW, np.int32)
        self._parents[row[:-1][known]] = row[around[holding[known]]]

    @property
    def count(self) -> int:
        """How many operators there are."""
        return self._table.height

    def innermost(self, threads: pl.Series, times: pl.Series) -> pl.Series:
        """Return the row of the innermost operator open at each time on its thread, else null."""
        if not self.count:
            return pl.repeat(None, len(times), dtype=pl.Int64, eager=True)
        ends = pl.col("start_ns") + pl.col("duration_ns")
        rows = self._table.select("thread", "start_ns", end_ns=ends).with_row_index("row")
        found = (
            pl.DataFrame({"thread": threads, "time": times})
            .with_row_index("n")
            .sort("time", maintain_order=True)
            .join_asof(
                rows,
                left_on="time",
                right_on="start_ns",
                by="thread",
                coalesce=False,
                check_sortedness=False,
            )
            .sort("n")
        )
        # An operator without duration holds its own start.
        open_ = (pl.col("time") < pl.col("end_ns")) | (pl.col("time") == pl.col("start_ns"))
        known = found.select(pl.when(open_).then("row").cast(pl.Int64)).to_series()
        ended = found.filter(~open_)
        climbed = self._climb(ended["row"], ended["time"], rows["end_ns"])
        return known.scatter(ended["n"], climbed)

    def _climb(self, rows: pl.Series, times: pl.Series, ends: pl.Series) -> pl.Series:
        """Return the innermost operator that holds each row and is still open at its time."""
        at, until, when = rows.cast(pl.Int64).to_numpy().copy(), ends.to_numpy(), times.to_numpy()
        while (over := (at != NO_ROW) & (when >= until[at])).any():
            at[over] = self._parents[at[over]]
        found = pl.Series(at)
        return found.set(found == NO_ROW, None)

    def launchers(self, innermost: pl.Series) -> pl.Series:
        """Climb to the operator of torch's dispatcher that holds each; to itself if none does."""
        names = self._table["name"]
        named = names.str.contains(_QUALIFIED) & ~names.str.contains(_AUTOGRAD)
        named = named.fill_null(value=False)
        outer = pl.Series(nesting.nearest(self._parents, named.to_numpy()), dtype=pl.Int64).gather(
            innermost
        )
        return (
            pl.DataFrame({"outer": outer, "inner": innermost})
            .select(pl.when(pl.col("outer") == NO_ROW).then("inner").otherwise("outer"))
            .to_series()
        )

    def numbered(self, numbers: pl.Series) -> pl.Series:
        """Return the row of the operator with each number in its column `external`, else null."""
        return first(self._table["external"], numbers)

    def paths(self, rows: list[int]) -> tuple[list[list[Any]], list[int]]:
        """Return the distinct paths of names outwards, the first empty, and that of each row."""
        names, parents = self._table["name"].to_list(), self._parents.tolist()
        codes: dict[tuple[Any, int], int] = {}
        ways: list[tuple[Any, int]] = [(None, 0)]  # a name, and the way outwards from there
        of_row: list[int | None] = [*[None] * self.count, 0]  # the last is that of NO_ROW
        for row in rows:
            way = [row]
            while (outer := of_row[way[-1]]) is None:
                way.append(parents[way[-1]])
            for at in reversed(way[:-1]):
                key = names[at], outer
                if key not in codes:
                    codes[key] = len(ways)
                    ways.append(key)
                outer = of_row[at] = codes[key]
        # Only those asked for: all together, the others take many times as much.
        paths: dict[int, list[Any]] = {0: []}
        places = {0: 0}
        found = []
        for row in rows:
            code = of_row[row] or 0
            if code not in paths:
                places[code] = len(paths)
                paths[code] = list(_outwards(ways, code))
            found.append(places[code])
        return list(paths.values()), found

    def starts(self, rows: pl.Series) -> pl.Series:
        """Return when the operators of these rows began; null for null."""
        return self._table["start_ns"].gather(rows)

    def named(self, names: pl.Series, times: pl.Series) -> pl.Series:
        """Return the row of the last operator of each name that was open at each time, or null."""
        rows = self._table.select(
            "name", "start_ns", end_ns=pl.col("start_ns") + pl.col("duration_ns")
        ).with_row_index("row")
        found = (
            pl.DataFrame({"name": names, "time": times})
            .with_row_index("n")
            .sort("time", maintain_order=True)
            .join_asof(rows, left_on="time", right_on="start_ns", by="name", check_sortedness=False)
            .sort("n")
        )
        inside = pl.when(pl.col("time") <= pl.col("end_ns")).then("row")
        return found.select(inside.cast(pl.Int64)).to_series()

    def operators(self, context: ReadContext, rank: int, kernels: pl.DataFrame) -> pl.DataFrame:
        """Build the table.

        Args:
            context: Where ids start.
            rank: Goes into every row.
            kernels: `row`, that of the operator, and `duration_ns` of every linked kernel.
        """
        count = self.count
        on_device = kernels.group_by("row").agg(pl.col("duration_ns").sum())
        device = pl.repeat(None, count, dtype=pl.Int64, eager=True)
        columns: dict[str, object] = {name: self._table[name] for name in self._table.columns}
        columns |= self._marks.places(self._table["start_ns"])
        columns |= {
            "id": pl.int_range(context.first_operator, context.first_operator + count, eager=True),
            "rank": pl.repeat(rank, count, dtype=pl.Int32, eager=True),
            "self_ns": pl.Series(self._own),
            "device_ns": device.scatter(on_device["row"], on_device["duration_ns"]),
        }
        return tables.frame("operators", columns)


def _outwards(ways: list[tuple[Any, int]], code: int) -> Iterator[Any]:
    while code:
        name, code = ways[code]
        yield name
